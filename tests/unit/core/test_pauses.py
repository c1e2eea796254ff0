"""The keys under which a pause and its answer are kept."""

import pytest

from headgate.core import ids, pauses


@pytest.mark.parametrize(
    "key", ["0", "approve", "pause-0-x", "a" * pauses.PAUSE_KEY_CHARACTERS_MAX]
)
def test_an_answer_is_told_from_all_else(key: str):
    state_id = ids.new_id()
    keys = {part: pauses.input_key(key, state_id, part) for part in pauses.Part}
    assert all(text.startswith(pauses.input_prefix(key)) for text in keys.values())
    assert max(map(len, keys.values())) <= 255
    assert [part for part, text in keys.items() if pauses.is_answer(key, text)] == [
        pauses.Part.ANSWER
    ]


def test_the_answer_to_a_pause_whose_key_begins_alike_is_another():
    longer = pauses.input_key("1-2", ids.new_id(), pauses.Part.ANSWER)
    assert longer.startswith(pauses.input_prefix("1"))
    assert not pauses.is_answer("1", longer)
