"""Keeps the house tidy: what no other tool looks for, each finding with its remedy.

Long functions and files are reported, not forbidden.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = [".ci", "proto", "runner", "sdk", "server", "tests"]
LINES_OF_A_FUNCTION = 60
LINES_OF_A_FILE = 700


def is_ours(path: Path) -> bool:
    """Whether someone wrote it: neither generated, nor compiled, nor a tool's cache."""
    parts = path.relative_to(ROOT).parts
    return not (
        "_pb2" in path.name
        or any(part == "__pycache__" or part.endswith((".egg-info", "_cache")) for part in parts)
    )


@cache
def texts() -> dict[str, str]:
    """Every text file that is ours, by its path from the root."""
    found = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    result: dict[str, str] = {}
    for path in sorted(found):
        if is_ours(path):
            try:
                result[path.relative_to(ROOT).as_posix()] = path.read_text("utf-8")
            except UnicodeDecodeError:
                continue  # a picture or an archive
    return result


def python_files() -> dict[str, str]:
    return {path: text for path, text in texts().items() if path.endswith(".py")}


def fail_if_any(findings: list[str], remedy: str) -> None:
    if findings:
        pytest.fail("\n".join([remedy, *(f"  {finding}" for finding in findings)]), pytrace=False)


# File names

BANNED_FILES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}


def test_no_file_is_named_after_nothing():
    findings = [
        path
        for path in texts()
        if BANNED_FILES & {Path(path).stem, *Path(path).parent.parts} and path.endswith(".py")
    ]
    fail_if_any(
        findings,
        "A name that fits everything tells nothing: name the file after the noun it is about "
        "(retry.py, channel.py), or put the code where it is used.",
    )


# Words

WORDS = {
    "status": "state: where a run stands is its State, where anything else stands is a state too",
    "agent": "runner: the process that leases runs and executes them",
}
# Names that come from outside: gRPC's and HTTP's status, a process's, a browser's.
FOREIGN_WORDS = re.compile(r"(exit|for|grpc|http|rpc)_status|status_(code|server)|user_agent")
# gRPC's status is a word of its own where the wire is.
FOREIGN_PLACES = (
    "runner/headgate_runner/stream",
    "sdk/headgate/client/",
    "sdk/headgate/codec/errors.py",
    "sdk/headgate/testing/",
    "server/headgate_server/dashboard/",
    "server/headgate_server/transport/",
    "tests/",
)


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def defined_names(path: str, text: str) -> Iterator[tuple[int, str]]:
    if path.endswith(".py"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.lineno, node.name
    elif path.endswith(".proto"):
        pattern = re.compile(r"^\s*(?:message|enum|service|rpc|oneof|[\w.<>, ]+?)\s+(\w+)\s*[={(]")
        for number, line in enumerate(text.splitlines(), 1):
            if found := pattern.match(line.split("//")[0]):
                yield number, found[1]


@pytest.mark.parametrize("word", WORDS)
def test_one_word_for_one_thing(word: str):
    findings: list[str] = []
    for path, text in texts().items():
        if path.startswith(FOREIGN_PLACES):
            continue
        for line, name in defined_names(path, text):
            words = FOREIGN_WORDS.sub("", snake(name)).split("_")
            if word in words or f"{word}es" in words or f"{word}s" in words:
                findings.append(f"{path}:{line} {name}")
    fail_if_any(findings, f"Not {word!r} but {WORDS[word]}.")


# Waivers

# What ruff, pyright, coverage and the formatter obey; what else the comment says is the reason.
WAIVER = re.compile(
    r"#\s*(?:"
    r"noqa\b(?::\s*[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*)?"
    r"|pyright:\s*ignore\b(?:\s*\[[^\]]*\])?"
    r"|pragma:\s*no (?:cover|branch)\b"
    r"|fmt:\s*(?:off|skip)\b"
    r")"
)
OF_A_WHOLE_FILE = re.compile(
    r"#\s*(?:(?:ruff|flake8):\s*noqa|pyright:\s*(?:basic|standard|report\w+\s*=))"
)
TYPE_IGNORE = re.compile(r"#\s*type:\s*ignore\b")
A_REASON = re.compile(r"[A-Za-z]{2,}\W+\w+")  # two words at least


def comments(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def test_every_waiver_has_its_reason_on_the_line():
    findings = [
        f"{path}:{line} {comment}"
        for path, text in python_files().items()
        for line, comment in comments(text)
        if WAIVER.search(comment) and not A_REASON.search(WAIVER.sub("", comment))
    ]
    fail_if_any(findings, "Say why, on the same line: `# noqa: E501  # the URL is one word`.")


def test_types_are_waived_by_rule():
    findings = [
        f"{path}:{line} {comment}"
        for path, text in python_files().items()
        for line, comment in comments(text)
        if TYPE_IGNORE.match(comment)
    ]
    fail_if_any(
        findings, "`# type: ignore` waives everything: `# pyright: ignore[rule]  # reason`."
    )


def test_no_file_waives_a_rule_for_itself():
    findings = [
        f"{path}:{line} {comment}"
        for path, text in python_files().items()
        for line, comment in comments(text)
        if OF_A_WHOLE_FILE.match(comment)
    ]
    fail_if_any(
        findings, "What a whole file is excused from stands in pyproject.toml, with its reason."
    )


# Paths of one machine

MACHINE_PATH = re.compile(r"(?<![\w./$}-])/(?:work/|tmp/v\b)")


def test_no_file_knows_the_machine_it_was_written_on():
    findings = [
        f"{path}:{number} {line.strip()}"
        for path, text in texts().items()
        if path != Path(__file__).relative_to(ROOT).as_posix()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    fail_if_any(findings, "Use a path from the root of the repository, or tmp_path in a test.")


# Length


def test_long_files_and_functions_are_reported(capsys: pytest.CaptureFixture[str]):
    rows: list[tuple[int, str]] = []
    for path, text in python_files().items():
        lines = text.count("\n")
        if lines > LINES_OF_A_FILE:
            rows.append((lines, path))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LINES_OF_A_FUNCTION:
                    rows.append((lines, f"{path}:{node.lineno} {node.name}"))
    if rows:
        with capsys.disabled():
            print(
                f"\nLonger than a sitting ({LINES_OF_A_FILE}) or a screen ({LINES_OF_A_FUNCTION}):"
            )
            for lines, what in sorted(rows, reverse=True):
                print(f"  {lines:5} lines  {what}")
