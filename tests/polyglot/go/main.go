// Command watchrun asks for a run of a Headgate deployment and watches it to its end.
//
// It knows nothing of Headgate but the contract in proto/. It stops watching after the first
// transition and resumes, to show that a resumed watch neither loses nor repeats one. It
// prints a line of JSON for each transition.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	headgatev1 "headgate.dev/api/v1"
)

// line is what the program prints: one for each transition, and one for the refused call.
type line struct {
	Revision uint64 `json:"revision,omitempty"`
	Watch    int    `json:"watch,omitempty"`
	Kind     string `json:"kind,omitempty"`
	Run      string `json:"run,omitempty"`
	State    string `json:"state,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

func main() {
	target := flag.String("target", "127.0.0.1:4200", "address of the server, e.g. unix:///tmp/headgate.sock")
	deployment := flag.String("deployment", "", "\"flow name/deployment name\" to run")
	timeout := flag.Duration("timeout", time.Minute, "how long to wait for the end of the run")
	flag.Parse()

	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if err := run(ctx, *target, *deployment); err != nil {
		fmt.Fprintln(os.Stderr, "watchrun:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, target, deployment string) error {
	connection, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	runs := headgatev1.NewFlowRunServiceClient(connection)

	if err := printRefusal(ctx, runs); err != nil {
		return err
	}
	created, err := runs.CreateFlowRun(ctx, &headgatev1.CreateFlowRunRequest{
		Deployment: &headgatev1.CreateFlowRunRequest_DeploymentName{DeploymentName: deployment},
	})
	if err != nil {
		return fmt.Errorf("asking for a run of %q: %w", deployment, err)
	}
	flowRun := created.GetFlowRun()

	// The revision of the new run is that of its first state: start just before it.
	after := flowRun.GetRevision() - 1
	watcher := headgatev1.NewWatchServiceClient(connection)
	for watch := 1; ; watch++ {
		most := 1 // Break the first watch off after one transition; the others run on.
		if watch > 1 {
			most = 0
		}
		state, last, err := follow(ctx, watcher, flowRun.GetId(), after, watch, most)
		if err != nil {
			return err
		}
		after = last
		if terminal(state) {
			if state != headgatev1.StateType_STATE_TYPE_COMPLETED {
				return fmt.Errorf("the run ended as %s", state)
			}
			return nil
		}
	}
}

// printRefusal asks for a run that does not exist and prints the reason of the refusal.
func printRefusal(ctx context.Context, runs headgatev1.FlowRunServiceClient) error {
	_, err := runs.GetFlowRun(ctx, &headgatev1.GetFlowRunRequest{Id: "00000000-0000-7000-8000-000000000000"})
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return show(line{Reason: info.GetReason()})
		}
	}
	return fmt.Errorf("a run that does not exist was not refused with an ErrorInfo: %v", err)
}

// follow watches a run with its task runs and subflows, until the run has ended or most
// transitions (0: any number) have come. It returns the last state of the run itself and the
// last revision.
func follow(
	ctx context.Context,
	watcher headgatev1.WatchServiceClient,
	flowRunID string,
	after uint64,
	watch, most int,
) (headgatev1.StateType, uint64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := watcher.Watch(ctx, &headgatev1.WatchRequest{
		AfterRevision: &after,
		Filter:        &headgatev1.WatchFilter{RootFlowRunIds: []string{flowRunID}},
	})
	if err != nil {
		return 0, after, err
	}
	state := headgatev1.StateType_STATE_TYPE_UNSPECIFIED
	for seen := 0; ; {
		response, err := stream.Recv()
		if err != nil {
			return state, after, err
		}
		switch frame := response.GetFrame().(type) {
		case *headgatev1.WatchResponse_Bookmark:
			after = frame.Bookmark.GetRevision()
		case *headgatev1.WatchResponse_Transition:
			transition := frame.Transition
			if transition.GetRevision() <= after {
				return state, after, errors.New("a transition came twice, or out of order")
			}
			after = transition.GetRevision()
			if err := show(line{
				Revision: after,
				Watch:    watch,
				Kind:     transition.GetKind().String(),
				Run:      transition.GetRunName(),
				State:    transition.GetState().GetName(),
			}); err != nil {
				return state, after, err
			}
			if transition.GetRunId() == flowRunID {
				state = transition.GetState().GetType()
			}
			if seen++; seen == most || terminal(state) {
				return state, after, nil
			}
		}
	}
}

func terminal(state headgatev1.StateType) bool {
	switch state {
	case headgatev1.StateType_STATE_TYPE_COMPLETED, headgatev1.StateType_STATE_TYPE_FAILED,
		headgatev1.StateType_STATE_TYPE_CANCELLED, headgatev1.StateType_STATE_TYPE_CRASHED:
		return true
	default:
		return false
	}
}

func show(l line) error {
	return json.NewEncoder(os.Stdout).Encode(l)
}
