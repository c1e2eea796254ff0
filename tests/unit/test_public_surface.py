"""The public surface is a list: each name in an `__all__` can be imported, the list is in order."""

import importlib
import re
from pathlib import Path

import pytest

import headgate

ROOT = Path(headgate.__file__).parent
GENERATED = "api"


def public_modules() -> list[str]:
    """The public modules that say what they offer, found without importing any."""
    names: list[str] = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if any(part.startswith("_") for part in parts) or parts[:1] == (GENERATED,):
            continue
        if re.search(r"^__all__\b", path.read_text("utf-8"), re.MULTILINE):
            names.append(".".join(("headgate", *parts)))
    return names


def order(name: str) -> tuple[int, list[tuple[int, int]]]:
    """As ruff's RUF022 sorts and `ruff check --fix` writes: CONSTANTS, Classes, then the rest."""
    kind = 0 if len(name) > 1 and name.isupper() else 1 if name[0].isupper() else 2
    chunks = re.findall(r"\d+|\D", name)
    return kind, [(ord("0"), int(c)) if c.isdigit() else (ord(c), 0) for c in chunks]


@pytest.mark.parametrize("name", public_modules())
def test_every_name_a_module_offers_can_be_imported(name: str):
    module = importlib.import_module(name)
    assert [offered for offered in module.__all__ if not hasattr(module, offered)] == []


@pytest.mark.parametrize("name", public_modules())
def test_what_a_module_offers_is_sorted_and_named_once(name: str):
    offered = list(importlib.import_module(name).__all__)
    assert offered == sorted(set(offered), key=order), "`ruff check --fix` sorts it"
