"""The parts of the engine that only decide, and its pool of threads."""

import dataclasses
import gc
import threading
from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

import pydantic
import pytest

from headgate import states
from headgate.core import errors
from headgate.engine import blocking, hooks, outcomes, resolve, timeouts
from headgate.engine.lineage import Lineage
from headgate.engine.outbox import Numbered
from headgate.engine.pool import Pool
from headgate.engine.window import Window
from headgate.futures import Future
from headgate.states import StateType
from headgate.utilities.annotations import allow_failure, opaque, quote, unmapped


def a_future(value: Any = 1, **fields: Any) -> Future[Any]:
    future: Future[Any] = Future("run")
    future.end(states.Completed(data=value, task_run_id="run", **fields))
    return future


# --- What is logged ---


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.25, "0.25"), (2.3456, "2.35"), (99.6, "100"), (4583.2, "4583"), (1e6, "1000000")],
)
def test_a_time_is_shown_as_people_read_it(seconds: float, shown: str):
    assert hooks.shown_seconds(seconds) == shown


def test_an_error_of_ours_is_logged_once_where_no_line_of_the_users_led_to_it():
    def raises() -> None:
        raise errors.UsageError("no")

    assert hooks.shown_error(errors.UsageError("no")) is None
    assert hooks.shown_error(ValueError("no")) is not None
    with pytest.raises(errors.UsageError) as told:
        raises()
    assert hooks.shown_error(told.value) is not None
    caused = errors.UsageError("no")
    caused.__cause__ = told.value
    assert hooks.shown_error(caused) is not None


# --- Numbers ---


def test_numbers_are_given_by_taking_and_kept_until_committed():
    numbered: Numbered[str] = Numbered()
    numbered.inbox.extend("abcd")
    assert numbered.take(3) == (1, ["a", "b", "c"])
    assert numbered.commit(2) == 2
    assert numbered.commit(1) == 0
    numbered.rewind(2)
    assert numbered.take(9) == (3, ["c", "d"])
    assert not numbered.is_settled
    assert numbered.commit(99) == 2
    assert numbered.is_settled


def test_numbers_begin_where_another_process_stopped():
    numbered: Numbered[str] = Numbered()
    numbered.inbox.append("a")
    numbered.rewind(41)
    assert numbered.take(1) == (42, ["a"])


def test_the_window_counts_items_and_bytes_until_they_are_acknowledged():
    window = Window(10, 100)
    window.send("a", 4, 4, 30)
    window.send("b", 3, 3, 60)
    assert window.room == 3
    window.send("a", 5, 1, 10)
    assert window.room == 0
    assert not window.acknowledge("a", 3)
    assert window.acknowledge("a", 4)
    assert window.room == 6
    assert window.acknowledge("b", 9)
    assert window.acknowledge("a", 9)
    assert window.room == 10


# --- Outcomes ---


@pytest.mark.parametrize(
    ("value", "type", "message"),
    [
        (5, StateType.COMPLETED, ""),
        (None, StateType.COMPLETED, ""),
        ([], StateType.COMPLETED, ""),
        (["ok"], StateType.COMPLETED, "All states completed."),
        (["ok", "failed", "ok"], StateType.FAILED, "1/3 states failed."),
        (["ok", "crashed"], StateType.FAILED, "1/2 states failed."),
        (["failed", "cancelled"], StateType.CANCELLED, "1/2 states cancelled."),
        (["failed", "paused"], StateType.PAUSED, "1/2 states paused."),
        (["ok", "running"], StateType.FAILED, "1/2 states are not final."),
    ],
    ids=str,
)
def test_states_decide_together(value: Any, type: StateType, message: str):
    made = {
        "ok": states.Completed(task_run_id="1"),
        "failed": states.Failed(task_run_id="2"),
        "crashed": states.Crashed(task_run_id="3"),
        "cancelled": states.Cancelled(task_run_id="4"),
        "paused": states.Paused(task_run_id="5"),
        "running": states.Running(task_run_id="6"),
    }
    if isinstance(value, list):
        value = [made[name] for name in value]
    state = outcomes.of_value(value)
    assert (state.type, state.message) == (type, message)


def test_a_state_made_by_hand_is_the_outcome_itself():
    made = states.Completed(name="Skipped")
    assert outcomes.of_value(made) is made
    of_a_run = states.Completed(name="Skipped", task_run_id="1")
    assert outcomes.of_value(of_a_run).name == "Completed"


def test_a_state_that_ends_no_run_is_a_failure_and_not_tried_again():
    for made in (states.Running(), states.Pending(name="Mine")):
        state = outcomes.of_value(made)
        assert state.is_failed()
        assert repr(made) in state.message
        assert state.details.retriable is False


@pytest.mark.parametrize("made", [states.Scheduled(), states.Paused()], ids=repr)
def test_a_flow_may_wait_by_a_state_and_a_task_may_not(made: states.State[Any]):
    assert outcomes.of_value(made) is made
    assert outcomes.of_task_value(made).is_failed()
    skipped = states.Completed(name="Skipped")
    assert outcomes.of_task_value(skipped) == skipped


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyboardInterrupt(), "interrupt signal"),
        (errors.TerminationSignal(15), "termination signal"),
        (SystemExit(3), "code 3"),
        (GeneratorExit(), "generator"),
        (errors.LeaseFenced("r", 1, 2), "token"),
        (MemoryError("x"), "MemoryError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
def test_a_crash_says_what_tore_the_run_down(error: BaseException, words: str):
    state = outcomes.crashed(error)
    assert state.type is StateType.CRASHED
    assert words in state.message


# --- States ---


def test_the_result_of_a_state_is_its_value_or_what_it_failed_with():
    boom = ValueError("boom")
    assert states.Completed(data=3).result() == 3
    assert states.Completed().result() is None
    assert states.Failed(data=boom).result(raise_on_failure=False) is boom
    with pytest.raises(ValueError, match="boom"):
        states.Failed(data=[states.Completed(), states.Failed(data=boom)]).result()
    with pytest.raises(errors.FailedRun, match="because"):
        states.Failed(message="because").result()
    with pytest.raises(errors.CrashedRun):
        states.Crashed().result()
    with pytest.raises(errors.CancelledRun):
        states.Cancelled().result()
    with pytest.raises(errors.PausedRun):
        states.Paused().result()
    with pytest.raises(errors.UnfinishedRun):
        states.Running().result()


def test_a_state_from_the_server_has_no_result_of_its_own():
    kept = states.from_record(states.Completed(data=3).record())
    with pytest.raises(errors.MissingResult):
        kept.result()
    assert kept.is_completed()


def test_states_print_as_they_are_written():
    assert repr(states.Completed()) == "Completed()"
    made = states.Scheduled(name="Late", message="x")
    assert repr(made) == "Late('x', type=SCHEDULED)"
    assert repr(states.Failed(message="it's no use")) == 'Failed("it\'s no use")'


# --- Arguments ---


def test_futures_are_found_and_replaced_at_any_depth():
    @dataclasses.dataclass
    class Box:
        content: Any

    class Model(pydantic.BaseModel):
        content: Any

    class Point(NamedTuple):
        x: Any
        y: Any

    future = a_future(7)
    value = {
        "list": [future, (1, {2: future})],
        "box": Box(future),
        "model": Model(content=[future]),
        "point": Point(future, 2),
        "ordered": OrderedDict(a=future),
        "default": defaultdict(list, a=[future]),
        "quoted": quote(future),
        "opaque": opaque([future]),
        "unmapped": unmapped([future]),
    }
    upstream = resolve.find([value])
    assert len(upstream.futures) == 8
    assert upstream.replace
    replaced = resolve.values_of(value)
    assert replaced["list"] == [7, (1, {2: 7})]
    assert replaced["box"] == Box(7)
    assert replaced["model"] == Model(content=[7])
    assert replaced["point"] == Point(7, 2)
    assert type(replaced["ordered"]) is OrderedDict
    assert replaced["default"]["new"] == []
    assert replaced["quoted"] is future
    assert replaced["opaque"] == [future]
    assert replaced["unmapped"] == [7]


def test_what_has_no_future_in_it_is_passed_as_it_is():
    value = {"a": [1, {"b": (2,)}]}
    assert resolve.values_of(value) is value
    loop: list[Any] = []
    loop.append(loop)
    assert resolve.values_of(loop) is loop
    assert not resolve.find([loop]).replace


def test_a_failure_that_is_allowed_becomes_its_exception():
    failed: Future[Any] = Future("run")
    boom = ValueError("boom")
    failed.end(states.Failed(data=boom, task_run_id="run"))
    upstream = resolve.find([allow_failure([failed])])
    assert list(upstream.wait()) == []
    assert resolve.values_of(allow_failure([failed])) == [boom]
    with pytest.raises(errors.UpstreamTaskError):
        list(resolve.find([failed]).wait())


def test_lineage_knows_values_by_identity_and_forgets_those_nobody_holds():
    lineage = Lineage()
    held = [1]
    lineage.add(held, "held")
    lineage.add(5, "number")
    for n in range(1_000):
        lineage.add([n], str(n))
    gc.collect()
    assert lineage.find(held) == "held"
    assert lineage.find([1]) is None
    assert lineage.find(5) is None
    assert len(lineage._known) < 200


# --- Threads ---


def test_a_pool_runs_every_job_and_its_threads_are_reused():
    pool = Pool(None, name="test")
    done = threading.Semaphore(0)
    threads = set()

    def job() -> None:
        threads.add(threading.get_ident())
        done.release()

    for _ in range(50):
        pool.submit(job)
        assert done.acquire(timeout=5)
    assert len(threads) < 10
    pool.close()
    with pytest.raises(RuntimeError, match="ended"):
        pool.submit(job)


def test_jobs_that_wait_for_jobs_cannot_lock_a_pool():
    pool = Pool(2, name="test")
    done = threading.Semaphore(0)

    def wait_for(depth: int) -> None:
        ready = threading.Event()

        def next_one() -> None:
            wait_for(depth - 1)
            ready.set()

        if depth:
            pool.submit(next_one)
            with blocking.released():
                assert ready.wait(5)
        done.release()

    for _ in range(5):
        pool.submit(lambda: wait_for(4))
    for _ in range(25):
        assert done.acquire(timeout=5)
    pool.close()


def test_jobs_that_have_not_begun_can_be_cancelled():
    pool = Pool(1, name="test")
    gate, begun = threading.Event(), threading.Event()

    def held() -> None:
        begun.set()
        gate.wait(5)

    pool.submit(held)
    assert begun.wait(5)
    pool.submit(lambda: None)
    assert pool.cancel() == 1
    gate.set()
    pool.close()


def test_limits_within_limits_each_hold():
    event = threading.Event()
    with (
        pytest.raises(KeyError),
        timeouts.limit(5, lambda: ValueError("outer")),
        timeouts.limit(0.01, lambda: KeyError("inner")),
    ):
        event.wait(5)
    with (
        pytest.raises(ValueError, match="outer"),
        timeouts.limit(0.01, lambda: ValueError("outer")),
        timeouts.limit(5, lambda: KeyError("inner")),
    ):
        event.wait(5)
    with timeouts.limit(0.02, lambda: ValueError("late")):
        pass
    event.wait(0.03)
