# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""What a type checker must not let pass: each waiver names the error that has to be there."""

from __future__ import annotations

from headgate import apause_flow_run, flow, pause_flow_run, task


@task
def count(text: str) -> int:
    return len(text)


@task
async def fetch(url: str) -> bytes:
    return url.encode()


@flow
def etl(day: str, limit: int = 3) -> int:
    return limit


@flow
async def nightly(day: str) -> int:
    return len(day)


class Pipeline:
    @flow
    def run(self, day: str) -> int:
        return len(day)


# Arguments that do not fit the function.
count()  # pyright: ignore[reportCallIssue]  # text is missing
count(3)  # pyright: ignore[reportArgumentType]  # text is no number
count("x", "y")  # pyright: ignore[reportCallIssue]  # one too many
count(word="x")  # pyright: ignore[reportCallIssue]  # no such name
count.delay(3)  # pyright: ignore[reportArgumentType]  # text is no number
etl(3)  # pyright: ignore[reportArgumentType]  # day is no number
etl("monday", limit="x")  # pyright: ignore[reportArgumentType]  # limit is no text
etl.generate_mermaid_graph()  # pyright: ignore[reportCallIssue]  # day is missing
Pipeline().run()  # pyright: ignore[reportCallIssue]  # day is missing
Pipeline().run(3)  # pyright: ignore[reportArgumentType]  # day is no number

# Results of another type.
text: str = count("x")  # pyright: ignore[reportAssignmentType]  # it is a number
futures: list[str] = count.map(["x"]).result()  # pyright: ignore[reportAssignmentType]  # they are numbers
state: str = count("x", return_state=True).result()  # pyright: ignore[reportAssignmentType]  # no text
submitted: str = etl.submit("x").result()  # pyright: ignore[reportAssignmentType]  # it is a number
delayed: str = fetch.delay("x").result()  # pyright: ignore[reportAssignmentType]  # it is bytes
count("x").upper()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # no text
paused: int = pause_flow_run(str)  # pyright: ignore[reportAssignmentType]  # the type asked for


async def forgotten() -> None:
    number: int = nightly("x")  # pyright: ignore[reportAssignmentType]  # not awaited
    fetched: bytes = fetch("x")  # pyright: ignore[reportAssignmentType]  # not awaited
    asked: int = await apause_flow_run(str)  # pyright: ignore[reportAssignmentType]  # it is a text
    await etl("x")  # pyright: ignore[reportGeneralTypeIssues]  # no coroutine
    print(number, fetched, asked)


# Options that there are not, or of another type.
@flow(retrys=3)  # pyright: ignore[reportCallIssue, reportUntypedFunctionDecorator]  # misspelt name
def misspelt() -> None: ...


@task(retries="3")  # pyright: ignore[reportArgumentType]  # it is a number
def mistyped() -> None: ...


etl.with_options(nmae="x")  # pyright: ignore[reportCallIssue]  # it is called name
count.with_options(retries="x")  # pyright: ignore[reportArgumentType]  # it is a number
flow(3)  # pyright: ignore[reportArgumentType]  # no function
