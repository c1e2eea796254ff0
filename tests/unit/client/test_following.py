import pytest

from headgate.api.v1 import log_pb2, log_service_pb2, watch_service_pb2
from headgate.client import following
from headgate.codec import journal
from headgate.core import errors, runs
from tests.unit.codec import records

GONE = errors.Unavailable("The server has gone; come again.")


def transition(revision: int) -> watch_service_pb2.WatchResponse:
    record = runs.TransitionRecord(
        revision=revision,
        kind=runs.RunKind.FLOW_RUN,
        run_id="run",
        run_name="name",
        flow_run_id="run",
        root_flow_run_id="",
        deployment_id=None,
        state=records.STATE,
        commit_time=records.NOW,
    )
    return watch_service_pb2.WatchResponse(transition=journal.transition_record_to_proto(record))


def bookmark(revision: int) -> watch_service_pb2.WatchResponse:
    return watch_service_pb2.WatchResponse(bookmark=watch_service_pb2.Bookmark(revision=revision))


def lines_with_ids(*line_ids: int) -> log_service_pb2.TailLogsResponse:
    return log_service_pb2.TailLogsResponse(
        records=[log_pb2.LogRecord(id=each) for each in line_ids]
    )


def test_a_watch_goes_on_after_the_last_revision_it_has_seen():
    watch = following.watch(flow_run_ids=["run"])
    assert not watch.request().HasField("after_revision")  # now
    assert list(watch.received(bookmark(7))) == []
    assert watch.request().after_revision == 7
    assert [record.revision for record in watch.received(transition(9))] == [9]
    watch.broken(GONE)
    assert watch.request().after_revision == 9
    assert list(watch.request().filter.flow_run_ids) == ["run"]


def test_a_watch_from_the_beginning_is_not_a_watch_from_now():
    assert following.watch(after_revision=0).request().HasField("after_revision")


def test_a_tail_goes_on_after_the_last_line_it_has_seen():
    tail = following.tail_logs("run", level_min=20)
    lines = list(tail.received(lines_with_ids(3, 5)))
    assert [line.id for line in lines] == [3, 5]
    assert tail.request().after_id == 5
    list(tail.received(log_service_pb2.TailLogsResponse()))
    assert tail.request().after_id == 5


def test_a_stream_that_never_stood_gives_up_after_some_attempts():
    watch = following.watch()
    delays = [watch.broken(GONE) for _ in range(4)]
    assert delays == sorted(delays)
    with pytest.raises(errors.Unavailable):
        watch.broken(GONE)


def test_a_stream_that_stood_is_opened_again_for_as_long_as_it_takes():
    watch = following.watch()
    watch.received(bookmark(1))
    delays = [watch.broken(GONE) for _ in range(100)]
    assert max(delays) <= 4.5
    watch.received(bookmark(1))
    assert watch.broken(GONE) < 0.1


@pytest.mark.parametrize(
    "error",
    [errors.RevisionCompacted(1, 5), errors.NotFound("flow run", "x"), errors.Internal("i")],
    ids=lambda error: type(error).__name__,
)
def test_what_no_patience_helps_is_raised_at_once(error: errors.ControlPlaneError):
    watch = following.watch()
    watch.received(bookmark(1))
    with pytest.raises(type(error)):
        watch.broken(error)
