"""Facts that somebody waits for until they are committed, and runs that a process takes."""

from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime

import pytest

from headgate.codec import session as frames
from headgate.core import errors, ids, states
from headgate.engine.link import Link
from tests.processes import eventually
from tests.unit.sdk.fake_session import FakeSession

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def server() -> FakeSession:
    return FakeSession()


@pytest.fixture
def link(server: FakeSession) -> Iterator[Link]:
    link = Link(server.connect, name="test", connect_timeout_seconds=5.0)
    link.start()
    yield link
    link.stop(5.0)


def fact(name: str = "x") -> frames.Reported:
    return frames.Reported("t", states.StateType.COMPLETED, name, ids.new_id(), NOW)


def test_a_committed_fact_is_stored_before_its_future_is_done(link: Link, server: FakeSession):
    outbox = link.create_run("run")
    for n in range(20):
        outbox.record(fact("before"))
        outbox.commit(fact(str(n))).result(5)
        assert server.items["run"][-1].report.state.name == str(n)
    assert server.batches[-1].barrier


def test_what_comes_behind_a_fact_does_not_keep_it_waiting(link: Link, server: FakeSession):
    outbox = link.create_run("run")
    server.deaf = True
    first, second = outbox.commit(fact("1")), outbox.commit(fact("2"))
    eventually(lambda: len(server.items.get("run", ())) == 2)
    server.deaf = False
    server.say(frames.Committed("run", 1))
    first.result(5)
    assert not second.done()
    server.say(frames.Committed("run", 2))
    second.result(5)


def test_a_fact_whose_acknowledgement_was_lost_is_known_after_the_break(
    link: Link, server: FakeSession
):
    outbox = link.create_run("run")
    server.deaf = True
    done = outbox.commit(fact())
    eventually(lambda: server.items.get("run"))
    server.deaf = False
    server.cut()
    done.result(5)
    assert len(server.items["run"]) == 1


def test_who_waits_for_a_fact_hears_that_nothing_is_taken_any_more(link: Link, server: FakeSession):
    outbox = link.create_run("run")
    server.deaf = True
    done = outbox.commit(fact())
    eventually(lambda: server.items.get("run"))
    server.say(frames.RunRefused("run", errors.LeaseFenced("run", 1, 2)))
    with pytest.raises(errors.LeaseFenced):
        done.result(5)
    with pytest.raises(errors.LeaseFenced):
        outbox.commit(fact()).result(5)


def test_the_run_and_the_link_may_tell_those_who_wait_at_the_same_time(link: Link):
    class EmptiedMeanwhile(dict[str, Future[None]]):
        def popitem(self) -> tuple[str, Future[None]]:
            self.clear()  # as the other thread does
            return super().popitem()

    outbox = link.create_run("run")
    outbox._commits = EmptiedMeanwhile(id=Future())
    outbox.fail(errors.LeaseFenced("run", 1, 2))


def test_a_result_rides_along_with_a_fact(link: Link, server: FakeSession):
    outbox = link.create_run("run")
    data = states.Payload(serializer="pickle", inline=b"\x80")
    details = states.StateDetails(call_key="key")
    outbox.commit(fact()._replace(data=data, details=details)).result(5)
    (item,) = server.items["run"]
    assert item.report.state.data.inline == b"\x80"
    assert item.report.state.details.call_key == "key"


def test_a_run_is_claimed_when_it_is_opened(link: Link, server: FakeSession):
    outbox = link.claim_run("run")
    outbox.opened.result(5)
    # Once more, perhaps, where it was added while the stream was being opened.
    cursors = [run for opened in server.opens for run in opened.runs]
    assert {(cursor.claim, cursor.fencing_token) for cursor in cursors} == {(True, 0)}


def test_a_claim_is_made_once(link: Link):
    outbox = link.claim_run("run")
    outbox.opened.result(5)
    outbox.accept_token(7)
    assert (outbox.cursor.fencing_token, outbox.cursor.claim) == (7, False)
    outbox.accept_token(8)
    assert outbox.fencing_token == 7
