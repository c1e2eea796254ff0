"""Which files are left out, as ``.gitignore`` has it."""

from pathlib import Path

import pytest

from headgate import _ignore_patterns


@pytest.mark.parametrize(
    ("pattern", "path", "is_folder", "ignored"),
    [
        ("*.pyc", "a.pyc", False, True),
        ("*.pyc", "deep/er/a.pyc", False, True),
        ("*.pyc", "a.py", False, False),
        ("build/", "build", True, True),
        ("build/", "build", False, False),
        ("build/", "sub/build", True, True),
        ("/build", "build", True, True),
        ("/build", "sub/build", True, False),
        ("a/b", "a/b", False, True),
        ("a/b", "x/a/b", False, False),
        ("**/b", "x/y/b", False, True),
        ("**/b", "b", False, True),
        ("a/**", "a/x/y", False, True),
        ("a/**/z", "a/z", False, True),
        ("a/**/z", "a/x/y/z", False, True),
        ("?.txt", "a.txt", False, True),
        ("?.txt", "ab.txt", False, False),
        ("[ab].txt", "b.txt", False, True),
        ("[!ab].txt", "b.txt", False, False),
        ("[", "[", False, True),
        ("a+b.txt", "a+b.txt", False, True),
        ("# a", "# a", False, False),
        ("\\#a", "#a", False, True),
        ("", "a", False, False),
        ("/", "a", True, False),
    ],
)
def test_a_pattern_fits_what_git_says_it_fits(
    pattern: str, path: str, is_folder: bool, ignored: bool
):
    assert _ignore_patterns.matcher([pattern])(path, is_folder) is ignored


def test_the_last_pattern_that_fits_decides():
    is_ignored = _ignore_patterns.matcher(["*.log", "!keep.log", "keep.log.old"])
    assert is_ignored("a.log", False)
    assert not is_ignored("sub/keep.log", False)


def test_what_is_in_a_folder_that_is_left_out_is_left_out(tmp_path: Path):
    for name in ("a.py", "out/b.py", "sub/c.py", "sub/d.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    is_ignored = _ignore_patterns.matcher(["out/", "!out/b.py", "*.log"])
    found = _ignore_patterns.included_files(tmp_path, is_ignored)
    assert [file.relative_to(tmp_path).as_posix() for file in found] == ["a.py", "sub/c.py"]
