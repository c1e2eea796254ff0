"""Which files of a folder to leave out, in the language of ``.gitignore``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

__all__ = ["IGNORE_FILE", "included_files", "matcher", "read"]

#: The file whose patterns hold for the folder that it is in.
IGNORE_FILE = ".headgateignore"

_Matcher = Callable[[str, bool], bool]


def read(file: Path) -> _Matcher:
    """Return the matcher of a file of patterns."""
    return matcher(file.read_text("utf-8").splitlines())


def matcher(lines: Iterable[str]) -> _Matcher:
    """Return a function that says whether a path is left out.

    It takes the path, relative and with slashes, and whether it is a folder. The last pattern that
    fits decides; one that starts with ``!`` brings back.
    """
    rules = [rule for line in lines if (rule := _rule(line)) is not None]

    def is_ignored(path: str, is_folder: bool) -> bool:
        ignored = False
        for pattern, brings_back, folders_only in rules:
            if (is_folder or not folders_only) and pattern.fullmatch(path):
                ignored = not brings_back
        return ignored

    return is_ignored


def included_files(root: Path, is_ignored: _Matcher | None) -> Iterator[Path]:
    """Yield the files below a folder that are not left out, in order."""
    for path in sorted(root.iterdir()):
        yield from _included(root, path, is_ignored)


def _included(root: Path, path: Path, is_ignored: _Matcher | None) -> Iterator[Path]:
    is_folder = path.is_dir()
    relative = path.relative_to(root).as_posix()
    # What is in a folder that is left out is not even looked at: nothing brings it back.
    if is_ignored is not None and is_ignored(relative, is_folder):
        return
    if not is_folder:
        yield path
    elif not path.is_symlink():
        for child in sorted(path.iterdir()):
            yield from _included(root, child, is_ignored)


def _rule(line: str) -> tuple[re.Pattern[str], bool, bool] | None:
    text = line.strip()
    if not text or text.startswith("#"):
        return None
    brings_back = text.startswith("!")
    text = text.removeprefix("!").removeprefix("\\")
    folders_only = text.endswith("/")
    text = text.rstrip("/")
    if not text:
        return None
    anchored = "/" in text
    parts = PurePosixPath(text.lstrip("/")).parts
    pattern = _translate(parts) if anchored else f"(?:.*/)?{_translate(parts)}"
    return re.compile(pattern, re.DOTALL), brings_back, folders_only


def _translate(parts: tuple[str, ...]) -> str:
    found: list[str] = []
    for place, part in enumerate(parts):
        is_last = place == len(parts) - 1
        if part == "**":
            found.append(".*" if is_last else "(?:.*/)?")
        else:
            found.append(_translate_name(part) + ("" if is_last else "/"))
    return "".join(found)


def _translate_name(name: str) -> str:
    found = ""
    place = 0
    while place < len(name):
        character = name[place]
        end = name.find("]", place + 2) if character == "[" else -1
        if character == "*":
            found += "[^/]*"
        elif character == "?":
            found += "[^/]"
        elif end > 0:
            within = name[place + 1 : end].replace("\\", "\\\\")
            found += f"[{'^' + within[1:] if within[0] in '!^' else within}]"
            place = end
        else:
            found += re.escape(character)
        place += 1
    return found
