"""What users' type checkers see, in a project of theirs: pyright, strict, none of our settings."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


def findings(folder: Path) -> list[str]:
    """What pyright says of the files in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["summary"]["filesAnalyzed"] == len(list(folder.glob("*.py")))
    return [
        f"{Path(item['file']).name}:{item['range']['start']['line'] + 1} {item['message']}"
        for item in told["generalDiagnostics"]
    ]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
    return tmp_path


def test_flow_files_check_strictly_and_mistakes_in_them_are_found(project: Path):
    # Each mistake in `refused` has a waiver, and one that is not needed is an error itself.
    for name in ("accepted.py", "refused.py"):
        shutil.copy(HERE / name, project)
    assert findings(project) == []


def test_a_mistake_without_waiver_would_be_seen(project: Path):
    (project / "flows.py").write_text(
        "from headgate import flow\n\n\n@flow\ndef etl(day: str) -> int:\n    return len(day)\n\n\n"
        "text: str = etl('monday')\n"
    )
    (found,) = findings(project)
    assert found.startswith('flows.py:9 Type "int" is not assignable to declared type "str"')
