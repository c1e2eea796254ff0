"""Keys: where they come from, how they are exchanged, and what happens without the right one."""

import base64
import os
import stat
from pathlib import Path

import pytest

from headgate.core import errors, ids
from headgate.core.clock import ManualClock
from headgate_server.services.encryption import Encryption, Unreadable, parse_keys
from headgate_server.settings import Settings
from headgate_server.storage.interface import Storage
from headgate_server.storage.memory import MemoryStorage


def a_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


@pytest.fixture
def storage() -> Storage:
    return MemoryStorage(ManualClock(), ids.new_id)


async def test_the_key_is_made_once_and_kept_in_the_database(storage: Storage):
    sealed = await storage.write(lambda tx: Encryption().seal(tx, "höchst geheim"))
    assert "geheim" not in sealed
    again = await storage.write(lambda tx: Encryption().seal(tx, "more"))
    assert await storage.read(lambda tx: Encryption().open(tx, sealed)) == "höchst geheim"
    assert await storage.read(lambda tx: Encryption().open(tx, again)) == "more"


async def test_the_key_file_is_for_its_user_alone_and_whole(storage: Storage, tmp_path: Path):
    file = tmp_path / "headgate.db.key"
    encryption = Encryption(key_file=file)
    sealed = await storage.write(lambda tx: encryption.seal(tx, "x"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [file.name]
    assert await storage.read(lambda tx: tx.blocks.encryption_key()) is None
    other = Encryption(key_file=file)
    assert await storage.read(lambda tx: other.open(tx, sealed)) == "x"


async def test_a_key_is_exchanged_by_putting_the_new_one_first(storage: Storage):
    old, new = a_key(), a_key()
    sealed = await storage.write(lambda tx: Encryption([old]).seal(tx, "x"))
    both = Encryption([new, old])
    assert await storage.read(lambda tx: both.open(tx, sealed)) == "x"
    sealed = await storage.write(lambda tx: both.seal(tx, "y"))
    assert await storage.read(lambda tx: Encryption([new]).open(tx, sealed)) == "y"


async def test_a_key_of_the_setting_does_not_lock_out_what_the_file_sealed(
    storage: Storage, tmp_path: Path
):
    file = tmp_path / "key"
    sealed = await storage.write(lambda tx: Encryption(key_file=file).seal(tx, "x"))
    encryption = Encryption([a_key()], key_file=file)
    assert await storage.read(lambda tx: encryption.open(tx, sealed)) == "x"


async def test_what_another_key_sealed_is_not_readable(storage: Storage, tmp_path: Path):
    sealed = await storage.write(lambda tx: Encryption([a_key()]).seal(tx, "x"))
    for encryption in (Encryption(), Encryption([a_key()]), Encryption(key_file=tmp_path / "no")):
        with pytest.raises(Unreadable):
            await storage.read(lambda tx, encryption=encryption: encryption.open(tx, sealed))
    assert not (tmp_path / "no").exists(), "Reading makes no key."


async def test_a_key_file_without_a_key_is_named_and_not_overwritten(
    storage: Storage, tmp_path: Path
):
    file = tmp_path / "key"
    file.write_text("nonsense")
    with pytest.raises(errors.FailedPrecondition, match=r"key, does not hold a key; put it right"):
        await storage.write(lambda tx: Encryption(key_file=file).seal(tx, "x"))
    assert file.read_text() == "nonsense"


async def test_a_folder_that_takes_no_key_file_is_named(storage: Storage, tmp_path: Path):
    file = tmp_path / "gone" / "key"
    with pytest.raises(errors.FailedPrecondition, match="cannot be written"):
        await storage.write(lambda tx: Encryption(key_file=file).seal(tx, "x"))


def test_keys_are_read_off_the_setting_and_a_wrong_one_tells_how_to_make_one():
    one, two = a_key(), a_key()
    assert parse_keys("") == ()
    assert parse_keys(f" {one} ,{two},") == (one, two)
    for wrong in ("short", f"{one},x", "ä" * 44):
        with pytest.raises(ValueError, match="make one with"):
            parse_keys(wrong)


def test_the_settings_refuse_a_wrong_key_and_never_show_a_right_one(tmp_path: Path):
    with pytest.raises(ValueError, match="make one with"):
        Settings.model_validate({"encryption_key": "short"})
    key = a_key()
    settings = Settings.model_validate(
        {"encryption_key": key, "database_url": f"sqlite:///{tmp_path}/x.db"}
    )
    assert settings.key_file == tmp_path / "x.db.key"
    shown = {name: (value, changed) for name, value, changed in settings.public()}
    assert shown["HEADGATE_SERVER_ENCRYPTION_KEY"] == ("**********", True)
    assert key not in repr(settings)
