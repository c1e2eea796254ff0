"""Mapping: one task over many values, in parallel, with bounded memory.

Run it: ``python mapping.py``
"""

from __future__ import annotations

from headgate import flow, task, unmapped
from headgate.futures import as_completed
from headgate.task_runners import ThreadPoolTaskRunner


@task
def measure(word: str, alphabet: str) -> int:
    """Count the letters of a word that are in an alphabet."""
    return sum(letter in alphabet for letter in word)


@task
def add_up(numbers: list[int]) -> int:
    """Return the sum."""
    return sum(numbers)


@flow(task_runner=ThreadPoolTaskRunner(max_workers=4), log_prints=True)
def vowels(words: list[str]) -> int:
    """Count the vowels of many words."""
    # ``words`` is mapped over, ``unmapped`` is passed whole to each call.
    counts = measure.map(words, unmapped("aeiou"))
    for future in as_completed(counts):
        future.result()
    # A task may be given the futures of others: it waits for them.
    total = add_up.submit(counts).result()
    print(f"{total} vowels in {len(words)} words")
    return total


@flow
def letters(word: str) -> int:
    """Do the same for one word; flows can be mapped as well."""
    return measure(word, "abcdefghijklmnopqrstuvwxyz")


@flow(log_prints=True)
def many() -> None:
    """Map a flow, and a task over more values than fit into memory as futures at once."""
    print(sum(letters.map(["one", "three"]).result()), "letters")
    futures = measure.map([str(n) for n in range(1_000)], unmapped("5"), max_concurrency=8)
    print(sum(futures.result()), "times the digit 5")


if __name__ == "__main__":
    vowels(["orchestration", "is", "a", "kind", "of", "music"])
    many()
