import os
import random

import pytest

from headgate.core import ids, names


def test_ids_sort_by_the_time_they_were_made():
    made = [ids.new_id() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert all(ids.is_id(each) for each in made)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "01A1FDFE-8227-7794-8676-E6A4623F4A04",  # upper case would be a second name for one thing
        "01a1fdfe82277794 8676e6a4623f4a04",
        "{01a1fdfe-8227-7794-8676-e6a4623f4a04}",
        "01a1fdfe-8227-7794-8676-e6a4623f4a04\n",
    ],
)
def test_what_is_no_id_is_told_apart(text: str):
    assert not ids.is_id(text)


def test_a_forked_child_makes_other_ids():
    reading, writing = os.pipe()
    # Straight into the child and out again: nothing of this process may run there.
    child = os.fork()
    if child == 0:
        os.write(writing, ids.new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 100).decode()
    os.close(reading)
    os.close(writing)
    assert ids.is_id(theirs)
    assert theirs[14:] != ids.new_id()[14:]


def test_names_are_two_words_and_repeat_with_the_same_chance():
    name = names.random_name(random.Random(1))
    assert name == names.random_name(random.Random(1))
    adjective, animal = name.split("-")
    assert adjective.isalpha()
    assert animal.isalpha()


def test_there_are_enough_names():
    rng = random.Random(1)
    assert len({names.random_name(rng) for _ in range(20_000)}) > 10_000
