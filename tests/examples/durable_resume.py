"""Go on from the point of failure: what has completed is not done again.

    python durable_resume.py                     # kill it in the middle: Ctrl-\\, or kill -9
    headgate flow-run retry NAME --force         # it goes on where it was; --force: it was killed

A retry of the flow's own goes on in the same way, and so does a deployed run whose process or
machine was lost; it is started anew without being asked for. There are no rules to keep: a call
with other arguments, or of a task whose code has changed, simply runs.
"""

import sys

from headgate import flow, task


@task
def download(part: int) -> str:
    print(f"downloading part {part}")
    return f"content of part {part}"


@task
def publish(parts: list[str]) -> int:
    if not publish_works:
        raise ConnectionError("the site is down")
    return len(parts)


publish_works = False


@flow(durable=True, retries=1)
def mirror(count: int = 3) -> int:
    parts = [download(part) for part in range(count)]
    return publish(parts)


@mirror.on_running
def repair(flow: object, flow_run: object, state: object) -> None:
    """Let the second attempt succeed, for the sake of the example."""
    global publish_works
    publish_works = getattr(state, "name", "") == "Retrying"


if __name__ == "__main__":
    sys.exit(mirror() != 3)
