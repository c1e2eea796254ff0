"""Results of flows and tasks that are kept, and caching: what runs, what is used again."""

import asyncio
import logging
import pickle
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headgate import exceptions, flow, results, settings, task
from headgate.cache_policies import DEFAULT, FLOW_PARAMETERS, INPUTS, NO_CACHE, TASK_SOURCE
from headgate.client.orchestration import SyncHeadgateClient
from headgate.context import FlowRunContext, TaskRunContext
from headgate.core import clock, states
from headgate.locking.memory import MemoryLockManager
from headgate.states import Completed
from headgate.tasks import task_input_hash
from headgate.transactions import IsolationLevel

Calls = list[Any]


@pytest.fixture(autouse=True)
def storage(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "storage"
    with settings.temporary_settings({"results_local_storage_path": folder}):
        yield folder


@pytest.fixture
def calls() -> Calls:
    return []


def files(folder: Path) -> list[str]:
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path) for path in found if path.parts[0] != ".headgate")


def kept_state(server: SyncHeadgateClient, state: Any) -> Any:
    """The state of a run as another process sees it."""
    if state.task_run_id is not None:
        return server.read_task_run(state.task_run_id).state
    return server.read_flow_run(state.flow_run_id).state


# --- Persistence ---


def test_a_kept_result_of_a_flow_is_there_for_other_processes(
    server: SyncHeadgateClient, storage: Path
):
    @flow(persist_result=True)
    def answer():
        return {"answer": 42}

    state = kept_state(server, answer(return_state=True))
    assert state.result() == {"answer": 42}
    assert len(files(storage)) == 1


def test_a_result_that_is_not_kept_is_missing(server: SyncHeadgateClient, storage: Path):
    @flow
    def answer():
        return 42

    with pytest.raises(exceptions.MissingResult):
        kept_state(server, answer(return_state=True)).result()
    assert not storage.exists()


def test_a_flow_that_returns_none_has_a_result(server: SyncHeadgateClient):
    @flow(persist_result=True)
    def nothing():
        return None

    assert kept_state(server, nothing(return_state=True)).result() is None


def test_a_big_result_is_in_storage_only(server: SyncHeadgateClient, storage: Path):
    @flow(persist_result=True)
    def big():
        return "x" * 100_000

    state = kept_state(server, big(return_state=True))
    assert isinstance(state.data, states.Payload)
    assert state.data.inline is None
    assert Path(state.data.storage_key or "").parent == storage
    assert state.result() == "x" * 100_000


def test_a_named_storage_keeps_even_small_results_from_the_server(
    server: SyncHeadgateClient, tmp_path: Path
):
    @flow(result_storage=tmp_path / "mine", result_serializer="json")
    def small():
        return 1

    state = kept_state(server, small(return_state=True))
    assert state.data == states.Payload(
        serializer="json", storage_key=str(tmp_path / "mine" / files(tmp_path / "mine")[0])
    )
    assert state.result() == 1


async def test_an_async_flow_keeps_its_result_too(server: SyncHeadgateClient, tmp_path: Path):
    @task(persist_result=True)
    async def double(x: int):
        return 2 * x

    @flow(result_storage=tmp_path / "mine")
    async def answer():
        return await double(21)

    state = await answer(return_state=True)
    assert await kept_state(server, state).aresult() == 42
    assert len(files(tmp_path / "mine")) == 2


@pytest.mark.parametrize("persist", [True, False])
def test_the_exception_of_a_failed_run_is_kept_where_results_are(
    server: SyncHeadgateClient, persist: bool
):
    @task(persist_result=persist)
    def fail():
        raise KeyError("day")

    @flow(persist_result=persist)
    def around():
        return fail(return_state=True)

    state = around(return_state=True)
    failed = kept_state(server, state.data)
    expected = KeyError if persist else exceptions.FailedRun
    with pytest.raises(expected, match="day"):
        failed.result()


def test_a_flow_that_raises_keeps_its_exception(server: SyncHeadgateClient):
    @flow(persist_result=True)
    def fail():
        raise KeyError("day")

    with pytest.raises(KeyError, match="day"):
        kept_state(server, fail(return_state=True)).result()


def test_a_result_that_cannot_be_kept_is_a_warning_and_no_failure(
    server: SyncHeadgateClient, caplog: Any
):
    line = socket.socket()

    @task(persist_result=True)
    def connect():
        return line

    @flow(persist_result=True)
    def around():
        assert connect() is line
        return line

    state = around(return_state=True)
    assert state.is_completed()
    assert state.result() is line
    with pytest.raises(exceptions.MissingResult):
        kept_state(server, state).result()
    line.close()


class Broken:
    def read_path(self, path: str) -> bytes:
        raise ConnectionError("no route to the bucket")

    write_path: Any = read_path


def test_a_storage_that_fails_does_not_fail_the_run(server: SyncHeadgateClient, calls: Calls):
    @task(result_storage=Broken(), cache_policy=INPUTS)
    def add(x: int):
        calls.append(x)
        return x + 1

    @flow
    def around():
        return add(1) + add(1)

    assert around() == 4
    assert calls == [1, 1]


# --- Precedence ---


def test_the_task_decides_before_the_flow_and_the_flow_before_the_settings(
    server: SyncHeadgateClient,
):
    found: dict[str, bool] = {}

    def say(name: str) -> None:
        found[name] = results.should_persist_result()

    @task
    def as_flow():
        say("as flow")

    @task(persist_result=False)
    def never():
        say("never")

    @task(persist_result=True)
    def always():
        say("always")

    @flow
    def within():
        say("subflow")

    @flow(persist_result=True)
    def around():
        say("flow")
        as_flow()
        never()
        within()

    @flow
    def plain():
        say("plain")
        always()

    around()
    plain()
    assert found == {
        "flow": True,
        "as flow": True,
        "never": False,
        "subflow": True,
        "plain": False,
        "always": True,
    }
    with settings.temporary_settings({"results_persist_by_default": True}):
        plain()
    assert found["plain"]


def test_storage_and_serializer_come_from_the_task_the_flow_and_the_calling_flow(
    server: SyncHeadgateClient, tmp_path: Path
):
    seen: dict[str, tuple[str, str]] = {}

    def see(name: str) -> None:
        store = results.get_result_store()
        seen[name] = (Path(store.result_storage.identity()).name, store.serializer.type)

    @task
    def plain():
        see("task")

    @task(result_storage=tmp_path / "task", result_serializer="compressed/pickle")
    def own():
        see("own")

    @flow(result_serializer="json")
    def within():
        see("subflow")
        plain()

    @flow(result_storage=tmp_path / "flow")
    def around():
        see("flow")
        own()
        within()

    around()
    assert seen == {
        "flow": ("flow", "pickle"),
        "own": ("task", "compressed/pickle"),
        "subflow": ("flow", "json"),
        "task": ("flow", "json"),
    }


def test_a_task_outside_of_flows_keeps_its_result_too(
    server: SyncHeadgateClient, storage: Path, calls: Calls
):
    @task(cache_policy=INPUTS)
    def add(x: int):
        calls.append(x)
        return x + 1

    assert [add(1), add(1), add(2)] == [2, 2, 3]
    assert calls == [1, 2]
    assert len(files(storage)) == 2


def test_a_state_without_its_result_in_memory_reads_it(server: SyncHeadgateClient, storage: Path):
    @task(persist_result=True, cache_result_in_memory=False)
    def make():
        return [1]

    @flow(persist_result=True, cache_result_in_memory=False)
    def around():
        future = make.submit()
        state = make(return_state=True)
        assert make() == [1]
        assert future.result() == [1]
        assert state.result() is not state.result()
        return state.result()

    state = around(return_state=True)
    assert state.data != [1]
    assert state.result() == [1]
    assert state.result() is not state.result()


# --- Caching ---


def test_by_default_a_call_is_cached_within_its_flow_run_only(
    server: SyncHeadgateClient, calls: Calls
):
    @task(persist_result=True)
    def add(x: int):
        calls.append(x)
        return x + 1

    @flow
    def around():
        return [add(1), add(1), add(2)]

    assert around() == around() == [2, 2, 3]
    assert calls == [1, 2, 1, 2]


def test_nothing_is_cached_where_nothing_is_kept(server: SyncHeadgateClient, calls: Calls):
    @task
    def add(x: int):
        calls.append(x)

    @flow
    def around():
        add(1)
        add(1)

    around()
    assert calls == [1, 1]


def test_a_cached_run_says_so_and_tells_hooks_and_the_server(
    server: SyncHeadgateClient, calls: Calls
):
    heard: list[str] = []

    @task(cache_policy=INPUTS, on_completion=[lambda _t, _r, state: heard.append(state.name)])
    def add(x: int):
        calls.append(x)
        return x + 1

    @flow
    def around():
        first, second = add(1, return_state=True), add.submit(1, return_state=True)
        assert second.result() == 2
        return [first, second]

    first, second = around(return_state=True).data
    assert (first.name, second.name) == ("Completed", "Cached")
    assert heard == ["Completed", "Cached"]
    stored = kept_state(server, second)
    assert (stored.name, stored.result()) == ("Cached", 2)
    assert stored.details.cache_key == first.details.cache_key
    assert calls == [1]


def test_a_cached_result_survives_the_flow_run(server: SyncHeadgateClient, calls: Calls):
    @task(cache_policy=INPUTS + TASK_SOURCE)
    def add(x: int):
        calls.append(x)
        return x + 1

    @flow
    def around(x: int):
        return add(x)

    assert [around(1), around(1), around(2)] == [2, 2, 3]
    assert calls == [1, 2]


def test_a_result_expires(server: SyncHeadgateClient, calls: Calls):
    @task(cache_policy=INPUTS, cache_expiration=timedelta(hours=1))
    def add(x: int):
        calls.append(x)
        return x + 1

    @flow
    def around():
        return add(1, return_state=True)

    moved = clock.ManualClock(clock.SystemClock().now())
    clock.process_clock.use(moved)
    try:
        expires = around(return_state=True).data.details.cache_expire_time
        assert expires == moved.now() + timedelta(hours=1)
        moved.advance(3_599)
        around()
        moved.advance(1)
        around()
    finally:
        clock.process_clock.use(clock.SystemClock())
    assert calls == [1, 1]


def test_a_cached_result_may_be_refreshed(server: SyncHeadgateClient, calls: Calls):
    @task(cache_policy=INPUTS)
    def count(x: int):
        calls.append(x)
        return len(calls)

    @flow
    def around():
        fresh = count.with_options(refresh_cache=True)
        return [count(1), count(1), fresh(1), count(1)]

    assert around() == [1, 1, 2, 2]
    with settings.temporary_settings({"tasks_refresh_cache": True}):
        assert around() == [3, 4, 5, 6]
        stays = count.with_options(refresh_cache=False)
        assert stays(1) == 6


def test_caching_may_be_disabled_from_outside(server: SyncHeadgateClient, calls: Calls):
    @task(cache_policy=INPUTS)
    def add(x: int):
        calls.append(x)

    @flow
    def around():
        add(1)
        add(1)

    with settings.temporary_settings({"tasks_disable_caching": True}):
        around()
    assert calls == [1, 1]


def test_no_cache_keeps_and_does_not_cache(server: SyncHeadgateClient, storage: Path, calls: Calls):
    @task(cache_policy=NO_CACHE, persist_result=True)
    def add(x: int):
        calls.append(x)

    @flow
    def around():
        add(1)
        add(1)

    around()
    assert calls == [1, 1]
    assert len(files(storage)) == 2


def test_a_function_may_make_the_key(server: SyncHeadgateClient, storage: Path, calls: Calls):
    def by_day(context: TaskRunContext, parameters: dict[str, Any]) -> str:
        assert context.task_run.name.startswith("load")
        return f"load-{parameters['day']}"

    @task(cache_key_fn=by_day)
    def load(day: int, client: object = None):
        calls.append(day)
        return day

    @flow
    def around():
        return [load(1, object()), load(1, client=object()), load(2)]

    assert around() == [1, 1, 2]
    assert calls == [1, 2]
    assert files(storage) == ["load-1", "load-2"]


def test_the_input_hash_may_be_the_key(server: SyncHeadgateClient, calls: Calls):
    @task(cache_key_fn=task_input_hash)
    def load(day: int):
        calls.append(day)

    @flow
    def around():
        load(1)
        load(day=1)

    around()
    assert calls == [1]


def test_flow_parameters_may_be_the_key(server: SyncHeadgateClient, calls: Calls):
    @task(cache_policy=FLOW_PARAMETERS)
    def load(noise: object):
        calls.append(1)

    @flow
    def around(day: int):
        load(object())

    around(1)
    around(1)
    around(2)
    assert calls == [1, 1]


def test_the_storage_key_is_a_template_and_found_again(
    server: SyncHeadgateClient, tmp_path: Path, calls: Calls
):
    @task(
        result_storage=tmp_path / "mine",
        result_serializer="json",
        result_storage_key="{flow_run.flow_name}/{parameters[day]}-{task_run.task_name}.json",
    )
    def load(day: int):
        calls.append(day)
        return day

    @flow
    def around(day: int):
        return load(day)

    assert [around(1), around(1), around(2)] == [1, 1, 2]
    assert calls == [1, 2]
    assert files(tmp_path / "mine") == ["around/1-load.json", "around/2-load.json"]


@pytest.mark.parametrize(("policy", "times"), [(INPUTS, 1), (NO_CACHE, 2)])
def test_the_storage_key_is_used_whatever_the_policy(
    server: SyncHeadgateClient, storage: Path, calls: Calls, policy: Any, times: int
):
    @task(cache_policy=policy, persist_result=True, result_storage_key="keep-{parameters[x]}")
    def load(x: int):
        calls.append(x)
        return x

    @flow
    def around():
        return load(7), load(7)

    assert around() == (7, 7)
    assert calls == [7] * times
    assert files(storage) == ["keep-7"]


def test_the_argument_that_has_no_key_is_named_and_the_task_runs(
    server: SyncHeadgateClient, storage: Path, caplog: Any
):
    line = socket.socket()

    @task(cache_policy=INPUTS)
    def send(text: str, client: Any):
        return text

    @flow
    def around():
        return send("a", line)

    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())
    logger = logging.getLogger("headgate.task_runs")
    logger.addHandler(handler)
    try:
        assert around() == "a"
    finally:
        logger.removeHandler(handler)
        line.close()
    [message] = [text for text in logged if "cache key" in text]
    assert message.startswith("Error encountered when computing cache key - result will not be")
    assert "argument 'client', a socket.socket" in message
    assert not storage.exists()


def test_a_cached_result_that_cannot_be_read_any_more_is_made_anew(
    server: SyncHeadgateClient, storage: Path, calls: Calls
):
    @task(cache_key_fn=lambda _context, _parameters: "k")
    def make():
        calls.append(1)
        return 7

    around = flow(name="around")(lambda: make())
    assert around() == 7
    header = (storage / "k").read_bytes().partition(b"\n")[0]
    (storage / "k").write_bytes(header + b"\n" + pickle.dumps(7)[:-1])
    assert around() == 7
    assert around() == 7
    assert calls == [1, 1]


def test_keys_may_be_kept_apart_from_results(
    server: SyncHeadgateClient, tmp_path: Path, storage: Path, calls: Calls
):
    @task(cache_policy=INPUTS.configure(key_storage=tmp_path / "keys"))
    def add(x: int):
        calls.append(x)
        return x + 1

    around = flow(name="around")(lambda: add(1))
    assert around() == around() == 2
    assert calls == [1]
    [key] = files(tmp_path / "keys")
    [place] = files(storage)
    assert key != place


async def test_isolated_runs_with_one_key_call_the_function_once(
    server: SyncHeadgateClient, calls: Calls
):
    policy = INPUTS.configure(
        isolation_level=IsolationLevel.SERIALIZABLE, lock_manager=MemoryLockManager()
    )

    @task(cache_policy=policy)
    async def add(x: int):
        calls.append(x)
        await asyncio.sleep(0)
        return x + 1

    @flow
    async def around():
        futures = [add.submit(1) for _ in range(5)]
        return [await future for future in futures]

    assert await around() == [2] * 5
    assert calls == [1]


def test_isolated_runs_on_threads_take_turns_too(server: SyncHeadgateClient, calls: Calls):
    policy = INPUTS.configure(
        isolation_level=IsolationLevel.SERIALIZABLE, lock_manager=MemoryLockManager()
    )

    @task(cache_policy=policy)
    def add(x: int):
        calls.append(x)
        return x + 1

    @flow
    def around():
        return add.map([2] * 5).result()

    assert around() == [3] * 5
    assert calls == [2]


def test_isolation_without_locks_fails_the_run(server: SyncHeadgateClient, calls: Calls):
    @task(cache_policy=INPUTS.configure(isolation_level=IsolationLevel.SERIALIZABLE))
    def add(x: int):
        calls.append(x)

    around = flow(name="around")(lambda: add(1))
    with pytest.raises(
        exceptions.ConfigurationError, match=r"locks its key; .* INPUTS\.configure\(lock_manager="
    ):
        around()
    assert calls == []


def test_a_retried_flow_uses_what_its_tasks_kept(server: SyncHeadgateClient, calls: Calls):
    @task(persist_result=True)
    def load(x: int):
        calls.append(x)
        return x

    @flow(retries=1)
    def around():
        loaded = [load(1), load(2)]
        context = FlowRunContext.get()
        assert context is not None
        if context.attempt == 1:
            raise ValueError
        return loaded

    assert around() == [1, 2]
    assert calls == [1, 2]


def test_the_default_policy_has_a_name():
    assert task(lambda: 1).cache_policy is DEFAULT


def test_a_state_made_by_hand_keeps_its_data_too(server: SyncHeadgateClient):
    @task(persist_result=True)
    def skip():
        return Completed(name="Skipped", message="Nothing new", data=5)

    @flow(persist_result=True)
    def around():
        found = skip(return_state=True)
        kept.append(found)
        return Completed(name="Skipped", data=6)

    kept: list[Any] = []
    state = kept_state(server, around(return_state=True))
    assert (state.name, state.result()) == ("Skipped", 6)
    inner = kept_state(server, kept[0])
    assert (inner.name, inner.message, inner.result()) == ("Skipped", "Nothing new", 5)


def test_a_block_that_cannot_be_loaded_is_a_warning_and_no_failure(server: SyncHeadgateClient):
    @task(result_storage="local-file-system/nowhere", cache_policy=INPUTS)
    def add(x: int):
        return x + 1

    assert flow(name="around")(lambda: add(1))() == 2
