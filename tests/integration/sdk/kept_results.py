"""A script that other processes run: keeps a result, and uses it again where it is there."""

import json
import sys

from headgate import flow, task
from headgate.cache_policies import INPUTS
from headgate.client.orchestration import get_client


@task(cache_policy=INPUTS)
def add(x: int) -> int:
    print("called", file=sys.stderr)
    return x + 1


@flow(persist_result=True)
def around(x: int) -> list[int]:
    return [add(x)] * 10_000


def main() -> None:
    [what, value] = sys.argv[1:]
    if what == "run":
        state = around(int(value), return_state=True)
        print(json.dumps({"flow_run_id": state.flow_run_id}))
    else:
        with get_client(sync_client=True) as client:
            print(json.dumps({"result": client.read_flow_run(value).state.result()[:2]}))


if __name__ == "__main__":
    main()
