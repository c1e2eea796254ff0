"""Caching: a call with the same arguments is not made twice, in this run or in any other.

Run it: ``python caching.py``
"""

from __future__ import annotations

from datetime import timedelta

from headgate import flow, task
from headgate.cache_policies import INPUTS

calls = []


class Client:
    """Something that cannot be hashed, and makes no difference."""

    def __init__(self) -> None:
        self.connection = open(__file__)  # noqa: SIM115  # a thing that no cache key can be made of


# The client is left out of the key; the result may be used for an hour.
@task(cache_policy=INPUTS - "client", cache_expiration=timedelta(hours=1))
def square(number: int, client: Client) -> int:
    """Return a square, slowly, as we pretend."""
    calls.append(number)
    return number * number


@flow(log_prints=True)
def squares(numbers: list[int]) -> None:
    """Square numbers; those that were squared before are taken from the cache."""
    client = Client()
    try:
        for number in numbers:
            state = square(number, client, return_state=True)
            print(f"{number} squared is {state.result()} ({state.name})")
    finally:
        client.connection.close()


if __name__ == "__main__":
    squares([2, 3, 2])
    squares([3])  # another run, and still known
    print(f"The function was called for {calls}")
