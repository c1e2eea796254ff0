"""The link, against a server's end that is told how to misbehave."""

import dataclasses
import threading
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from headgate.codec import session as frames
from headgate.core import errors, ids, runs, states
from headgate.engine import outbox as outboxes
from headgate.engine.link import Link
from tests.processes import eventually
from tests.unit.sdk.fake_session import FakeSession

NOW = datetime(2026, 1, 2, tzinfo=UTC)
COMPLETED = states.StateType.COMPLETED


@pytest.fixture
def server() -> FakeSession:
    return FakeSession()


@pytest.fixture
def link(server: FakeSession) -> Iterator[Link]:
    link = Link(server.connect, name="test", connect_timeout_seconds=5.0)
    link.start()
    yield link
    link.stop(5.0)


def report(name: str = "x") -> frames.Reported:
    return frames.Reported("t", COMPLETED, name, ids.new_id(), NOW)


def a_state(**fields) -> states.State:
    return states.new_state(states.StateType.RUNNING, id=ids.new_id(), now=NOW, **fields)


def names(server: FakeSession, flow_run_id: str) -> list[str]:
    return [item.report.state.name for item in server.items[flow_run_id]]


def a_line(flow_run_id: str, message: str) -> runs.LogRecord:
    return runs.LogRecord(
        flow_run_id=flow_run_id, timestamp=NOW, level=20, logger="l", message=message
    )


def test_items_arrive_in_order_in_few_batches(link: Link, server: FakeSession):
    outbox = link.create_run("run")
    for n in range(2_500):
        outbox.record(report(str(n)))
    outbox.flush().result(5)
    assert names(server, "run") == [str(n) for n in range(2_500)]
    assert max(len(batch.items) for batch in server.batches) <= outboxes.BATCH_ITEMS_MAX


def test_a_frame_that_would_be_too_big_is_sent_in_parts(
    link: Link, server: FakeSession, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(frames, "FRAME_BYTES_MAX", 10_000)
    outbox = link.create_run("run")
    for n in range(100):
        outbox.record(report(f"{n}-".ljust(1_000, "x")))
    outbox.flush().result(5)
    assert [name.split("-")[0] for name in names(server, "run")] == [str(n) for n in range(100)]
    assert max(batch.ByteSize() for batch in server.batches) <= 10_000


def test_a_proposal_is_answered_and_asks_for_a_commit_at_once(link: Link, server: FakeSession):
    outbox = link.create_run("run")
    outbox.record(report())
    proposed = a_state()
    answer = outbox.propose(proposed).result(5)
    assert answer.verdict.kind is states.VerdictKind.ACCEPT
    assert answer.verdict.state is not None
    assert answer.verdict.state.id == proposed.id
    assert server.batches[-1].barrier


def test_what_was_not_committed_is_sent_again_and_stored_once(link: Link, server: FakeSession):
    outbox = link.create_run("run")
    outbox.record(report("a"))
    outbox.flush().result(5)
    server.deaf = True
    for name in "bcd":
        outbox.record(report(name))
    flushed = outbox.flush()
    eventually(lambda: len(server.items["run"]) == 4)
    assert not flushed.done()
    server.deaf = False
    server.cut()
    flushed.result(5)
    assert names(server, "run") == ["a", "b", "c", "d"]
    resumed = server.opens[-1]
    assert (resumed.session_id, resumed.resume_token) == ("session", "token")
    assert [(run.flow_run_id, run.next_seq) for run in resumed.runs] == [("run", 2)]


def test_a_lost_verdict_is_asked_for_again_with_the_same_state(link: Link, server: FakeSession):
    outbox = link.create_run("run")
    server.deaf = True
    proposed = a_state()
    answer = outbox.propose(proposed)
    eventually(lambda: server.items.get("run"))
    server.deaf = False
    server.cut()
    assert answer.result(5).verdict.state is not None
    proposals = [item.propose.state.id for item in server.items["run"]]
    assert proposals == [proposed.id, proposed.id]


def test_log_lines_have_numbers_of_their_own(link: Link, server: FakeSession):
    outbox = link.create_run("run")
    outbox.record(report())
    server.deaf = True
    outbox.log(a_line("run", "one"))
    outbox.log(a_line("run", "two"))
    eventually(lambda: len(server.logs.get("run", ())) == 2)
    server.deaf = False
    server.cut()
    outbox.log(a_line("run", "three"))
    outbox.flush().result(5)
    assert server.logs["run"] == ["one", "two", "three"]


def test_the_first_connection_is_tried_for_a_while(server: FakeSession):
    server.refuse = [errors.Unavailable("not yet")] * 3
    link = Link(server.connect, name="test")
    link.start()
    outbox = link.create_run("run")
    outbox.record(report())
    outbox.flush().result(5)
    assert link.stop(5.0)
    assert server.closed.is_set()


def test_a_server_that_is_never_there_fails_who_waits(server: FakeSession):
    server.refuse = [errors.Unavailable("nobody there")] * 1_000
    link = Link(server.connect, name="test", connect_timeout_seconds=0.05)
    link.start()
    outbox = link.create_run("run")
    with pytest.raises(errors.Unavailable, match="nobody there"):
        outbox.propose(a_state()).result(5)
    with pytest.raises(errors.Unavailable):
        outbox.record(report())
    assert link.failure is not None


def test_an_error_that_trying_again_cannot_mend_fails_at_once(server: FakeSession):
    server.refuse = [errors.Unauthenticated()]
    link = Link(server.connect, name="test")
    link.start()
    outbox = link.create_run("run")
    with pytest.raises(errors.Unauthenticated):
        outbox.propose(a_state()).result(5)


def test_a_fenced_run_takes_nothing_more_and_the_others_go_on(link: Link, server: FakeSession):
    fenced, other = link.create_run("fenced"), link.create_run("other")
    fenced.record(report())
    fenced.flush().result(5)
    server.deaf = True
    waiting = fenced.propose(a_state())
    eventually(lambda: len(server.items["fenced"]) == 2)
    server.deaf = False
    server.say(frames.RunRefused("fenced", errors.LeaseFenced("fenced", 1, 2)))
    with pytest.raises(errors.LeaseFenced):
        waiting.result(5)
    with pytest.raises(errors.LeaseFenced):
        fenced.record(report())
    fenced.flush().result(5)
    other.record(report())
    other.flush().result(5)
    assert len(server.items["other"]) == 1


def test_a_run_that_is_taken_up_again_is_not_ended_by_a_word_about_its_former_lease(
    link: Link, server: FakeSession
):
    link.create_run("run").propose(a_state()).result(5)
    again = link.open_run("run", 2)
    again.opened.result(5)
    server.say(frames.RunRefused("run", errors.LeaseFenced("run", 1, 2)))
    again.record(report())
    again.flush().result(5)
    assert again.failure is None
    server.say(frames.RunRefused("run", errors.LeaseFenced("run", 2, 3)))
    eventually(lambda: again.failure)


def test_the_last_log_lines_of_a_lease_are_sent_before_the_run_is_taken_up_again(
    link: Link, server: FakeSession
):
    first = link.create_run("run")
    first.propose(a_state()).result(5)
    first.log(a_line("run", "the last words"))
    link.claim_run("run").opened.result(5)
    assert server.logs["run"] == ["the last words"]


def test_what_was_refused_of_a_former_lease_takes_no_room_from_the_next_one():
    server = FakeSession(window_items=9)
    link = Link(server.connect, name="test", connect_timeout_seconds=5.0)
    link.start()
    first = link.create_run("run")
    first.propose(a_state()).result(5)
    server.deaf = True
    for _ in range(9):
        first.record(report())
    eventually(lambda: len(server.items["run"]) == 10)
    server.deaf = False
    again = link.claim_run("run")
    again.opened.result(5)
    server.say(frames.RunRefused("run", errors.LeaseFenced("run", 1, 2)))
    server.items.clear()  # the items of the new lease count from 1
    other = link.create_run("other")
    for _ in range(10):
        other.record(report())
    other.flush().result(5)
    link.stop(5.0)


def test_a_run_that_was_fenced_meanwhile_is_told_on_resuming(link: Link, server: FakeSession):
    outbox = link.create_run("run")
    outbox.record(report())
    outbox.flush().result(5)
    server.fence = {"run"}
    server.cut()
    eventually(lambda: outbox.failure)
    assert isinstance(outbox.failure, errors.LeaseFenced)


def test_one_refused_item_does_not_end_the_run(link: Link, server: FakeSession):
    outbox = link.create_run("run")
    outbox.record(report())
    outbox.flush().result(5)
    server.say(frames.RunRefused("run", errors.FailedPrecondition("a move", "task run", "t")))
    outbox.record(report())
    outbox.flush().result(5)
    assert len(server.items["run"]) == 2


def test_what_cannot_be_said_fails_its_run_and_no_other(link: Link, server: FakeSession):
    wrong, other = link.create_run("wrong"), link.create_run("other")
    not_a_time: Any = "yesterday"
    wrong.record(report()._replace(time=not_a_time))
    eventually(lambda: wrong.failure)
    assert isinstance(wrong.failure, errors.SerializationError)
    with pytest.raises(errors.SerializationError, match="wrong"):
        wrong.record(report())
    other.log(a_line("other", "fine"))
    other.record(report())
    other.flush().result(5)
    assert len(server.items["other"]) == 1
    other.log(dataclasses.replace(a_line("other", "when?"), timestamp=not_a_time))
    eventually(lambda: other.failure)


def test_a_leased_run_is_opened_and_goes_on_where_another_process_stopped(
    link: Link, server: FakeSession
):
    link.create_run("warm").propose(a_state()).result(5)
    server.items["run"] = [*server.items["warm"]] * 7
    outbox = link.open_run("run", 3)
    assert outbox.opened.result(5).committed_seq == 7
    outbox.record(report())
    outbox.flush().result(5)
    assert (server.batches[-1].first_seq, server.batches[-1].fencing_token) == (8, 3)


def test_no_more_is_on_its_way_than_the_window_lets(server: FakeSession):
    server.window_items = 10
    link = Link(server.connect, name="test")
    link.start()
    outbox = link.create_run("run")
    outbox.record(report())
    outbox.flush().result(5)
    server.deaf = True
    for _ in range(50):
        outbox.record(report())
    eventually(lambda: len(server.items["run"]) == 11)
    server.deaf = False
    server.say(frames.Committed("run", 11))
    outbox.flush().result(5)
    assert len(server.items["run"]) == 51
    assert link.stop(5.0)


def test_a_run_waits_when_too_much_waits_to_be_sent(
    server: FakeSession, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(outboxes, "INBOX_ITEMS_MAX", 20)
    server.refuse = [errors.Unavailable("later")] * 2
    link = Link(server.connect, name="test")
    outbox = link.create_run("run")
    recorded = threading.Event()

    def put() -> None:
        for _ in range(100):
            outbox.record(report())
        recorded.set()

    thread = threading.Thread(target=put)
    thread.start()
    eventually(lambda: len(outbox._items.inbox) == 20)
    assert not recorded.is_set()
    link.start()
    thread.join(5)
    outbox.flush().result(5)
    assert len(server.items["run"]) == 100
    assert link.stop(5.0)


def test_silence_is_broken_by_beats(server: FakeSession):
    server.beat_interval_seconds = 0.01
    link = Link(server.connect, name="test")
    link.start()
    eventually(lambda: server.beats >= 3)
    assert link.stop(5.0)


def test_the_end_waits_for_what_is_not_committed(server: FakeSession):
    server.refuse = [errors.Unavailable("later")] * 2
    link = Link(server.connect, name="test")
    link.start()
    outbox = link.create_run("run")
    outbox.record(report())
    link.close_run(outbox)
    assert link.stop(5.0)
    assert len(server.items["run"]) == 1
    assert server.closed.is_set()


def test_a_server_that_says_go_away_is_come_back_to(link: Link, server: FakeSession):
    outbox = link.create_run("run")
    outbox.record(report())
    outbox.flush().result(5)
    server.say(frames.GoAway(0.01, "restart"))
    outbox.record(report())
    outbox.flush().result(5)
    assert len(server.items["run"]) == 2


def test_requests_of_the_server_reach_the_run(link: Link, server: FakeSession):
    outbox = link.create_run("run")
    heard: list[frames.Event] = []
    outbox.on_control = heard.append
    outbox.propose(a_state()).result(5)
    server.say(frames.CancelRequested("run", 30.0, "because"))
    eventually(lambda: heard)
    assert heard == [frames.CancelRequested("run", 30.0, "because")]


def test_a_fork_records_nothing_and_its_tasks_run_on():
    server = FakeSession()
    link = Link(server.connect, name="test")
    outbox = link.create_run("run")
    link.detach()
    outbox.record(report())
    outbox.log(a_line("run", "x"))
    with pytest.raises(errors.MissingContextError, match="fork"):
        outbox.propose(a_state()).result(1)


def test_a_refused_run_leaves_the_window_to_the_others(server: FakeSession):
    server.window_items = 10
    link = Link(server.connect, name="test")
    link.start()
    refused, other = link.create_run("refused"), link.create_run("other")
    server.deaf = True
    for _ in range(50):
        refused.record(report())
    refused.log(a_line("refused", "one"))
    eventually(lambda: len(server.items.get("refused", ())) == 10)
    server.deaf = False
    server.say(frames.RunRefused("refused", errors.LeaseFenced("refused", 1, 2)))
    eventually(lambda: refused.failure)
    answer = other.propose(a_state())
    assert answer.result(5).verdict.kind is states.VerdictKind.ACCEPT
    link.stop(5.0)


def test_a_text_that_is_no_text_ends_neither_the_link_nor_the_run(link: Link, server: FakeSession):
    """A file name that is no UTF-8 has such characters."""
    outbox = link.create_run("run")
    outbox.log(a_line("run", "a\udcffb"))
    outbox.record(frames.Reported("t", COMPLETED, "x", ids.new_id(), NOW, "a\udcffb"))
    outbox.propose(a_state(message="a\udcffb")).result(5)
    outbox.flush().result(5)
    assert [
        message.replace("?", "\N{REPLACEMENT CHARACTER}") for message in server.logs["run"]
    ] == ["a\N{REPLACEMENT CHARACTER}b"]
    assert len(server.items["run"]) == 2


def test_a_run_is_forgotten_when_its_last_answer_has_come(link: Link, server: FakeSession):
    outbox = link.create_run("run")
    server.deaf = True
    answer = outbox.propose(a_state())
    link.close_run(outbox)
    assert link.outbox("run") is outbox
    eventually(lambda: server.items.get("run"))
    server.deaf = False
    verdict = states.Verdict(kind=states.VerdictKind.ACCEPT, state=a_state())
    server.say(frames.Answered("run", 1, verdict, 1))
    answer.result(5)
    eventually(lambda: link.outbox("run") is None)


def test_what_is_taken_is_never_out_of_sight():
    """Who asks for a flush in another thread must not be told that all is committed."""
    numbered: outboxes.Numbered[int] = outboxes.Numbered()
    seen: list[bool] = []

    class Watched(deque[int]):
        def popleft(self) -> int:
            taken = super().popleft()
            seen.append(numbered.is_settled)
            return taken

    numbered.inbox = Watched([1, 2])
    assert numbered.take(5) == (1, [1, 2])
    assert seen == [False, False]


def test_a_flush_that_is_overtaken_by_the_commit_is_done():
    class Silent:
        def wake(self, outbox: outboxes.Outbox, *, urgent: bool) -> None:
            del outbox, urgent

    carrier: Any = Silent()
    outbox = outboxes.Outbox("run", fencing_token=1, link=carrier, created=True)
    outbox.record(report())
    outbox.take_items(10)

    class Slow(deque[Any]):
        def append(self, thing: Any) -> None:
            outbox.commit_items(1)  # on the link's thread, just now
            super().append(thing)

    outbox._flushes = Slow()
    assert outbox.flush().done()


@pytest.mark.parametrize(
    "error",
    [errors.AlreadyExists("flow run", "run"), errors.FailedPrecondition("x", "flow run", "run")],
    ids=["taken", "lost"],
)
def test_who_waits_for_a_refused_run_does_not_wait_for_ever(
    link: Link, server: FakeSession, error: errors.ControlPlaneError
):
    outbox = link.create_run("run")
    server.deaf = True
    waiting = outbox.propose(a_state())
    eventually(lambda: server.items.get("run"))
    server.say(frames.RunRefused("run", error))
    with pytest.raises(type(error)):
        waiting.result(5)
