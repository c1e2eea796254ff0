"""What a class of blocks tells about itself: its slug, its version, its docstring."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap

from headgate.core.blocks import NO_VERSION

__all__ = ["code_example", "description", "package_version", "slug"]

_SECTION = re.compile(r"^(Args|Arguments|Attributes|Examples?|Note|Raises|Returns|Yields):\s*$")
_EXAMPLE = re.compile(r"^Examples?:\s*$")
_RELEASE = re.compile(r"v?(\d+(?:\.\d+)*(?:(?:a|b|rc)\d+)?)")


def slug(name: str) -> str:
    """Return a name as it is written in paths: ``Slack Webhook`` is ``slack-webhook``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def package_version(kind: type) -> str:
    """Return the version of the package that a class is in, without what follows a plus."""
    package = sys.modules.get(kind.__module__.partition(".")[0])
    found = _RELEASE.match(str(getattr(package, "__version__", "")))
    return found[1] if found else NO_VERSION


def description(kind: type) -> str | None:
    """Return the first paragraphs of a docstring, up to its first section; None without one."""
    lines: list[str] = []
    for line in _docstring(kind).splitlines():
        if _SECTION.match(line):
            break
        lines.append(line)
    return "\n".join(lines).strip() or None


def code_example(kind: type, given: str | None) -> str:
    """Return the example that a class gives, or its docstring; else one that loads the block."""
    if given is not None:
        return textwrap.dedent(given)
    lines: list[str] | None = None
    for line in _docstring(kind).splitlines():
        if lines is not None and line and not line.startswith(" "):
            break  # the section has ended
        if lines is not None:
            lines.append(line)
        elif _EXAMPLE.match(line):
            lines = []
    found = textwrap.dedent("\n".join(lines or [])).strip()
    return found or _default_example(kind)


def _docstring(kind: type) -> str:
    # Its own alone: what a base class says of itself would be wrong here.
    return inspect.cleandoc(kind.__dict__.get("__doc__") or "")


def _default_example(kind: type) -> str:
    variable = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()
    return (
        f"```python\nfrom {kind.__module__} import {kind.__name__}\n\n"
        f'{variable} = {kind.__name__}.load("BLOCK_NAME")\n```'
    )
