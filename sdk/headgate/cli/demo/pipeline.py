"""Measure the source of Python's standard library: an ordinary flow file.

By hand:

    python pipeline.py

Deployed, and executed by a runner:

    headgate deploy pipeline.py:measure_library --name demo
    headgate deployment run measure-library/demo --watch
"""

import ast
import csv
import dataclasses
import json
import platform
import sysconfig
from pathlib import Path

from headgate import flow, get_run_logger, task, unmapped
from headgate.runtime import task_run
from headgate.task_runners import ThreadPoolTaskRunner

NOT_THE_LIBRARY = {"__pycache__", "dist-packages", "idle_test", "site-packages", "test", "tests"}


@dataclasses.dataclass
class Measures:
    """What was counted in the files of one package, or of several."""

    package: str
    files: int = 0
    lines: int = 0
    functions: int = 0
    classes: int = 0
    documented: int = 0

    @property
    def documented_percent(self) -> int:
        """The share of modules, functions and classes that have a docstring."""
        return round(100 * self.documented / (self.files + self.functions + self.classes))


@task
def extract(library: Path) -> dict[str, list[Path]]:
    """List the library's source files by package; a module of its own is a package of one."""
    packages: dict[str, list[Path]] = {}
    for entry in sorted(library.iterdir()):
        if entry.name not in NOT_THE_LIBRARY:
            files = [entry] if entry.suffix == ".py" else sorted(entry.rglob("*.py"))
            files = [f for f in files if NOT_THE_LIBRARY.isdisjoint(f.relative_to(library).parts)]
            if files:
                packages[entry.stem] = files
    get_run_logger().info(
        "%d files in %d packages", sum(map(len, packages.values())), len(packages)
    )
    return packages


@task(retries=2, retry_delay_seconds=0.5)
def ask_for_release() -> str:
    """Stand in for a service that does not answer the first time it is asked."""
    if task_run.run_count == 1:
        raise ConnectionError("The release service did not answer")
    return f"{platform.python_implementation()} {platform.python_version()}"


@task(task_run_name="measure {package}")
def measure(package: str, library: Path, files: list[Path]) -> Measures:
    """Parse the files of a package and count what is in them."""
    measures = Measures(package, files=len(files))
    for file in files:
        source = file.read_bytes()
        measures.lines += source.count(b"\n")
        for node in ast.walk(ast.parse(source, file.relative_to(library))):
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    measures.functions += 1
                case ast.ClassDef():
                    measures.classes += 1
                case ast.Module():
                    pass
                case _:
                    continue
            measures.documented += ast.get_docstring(node, clean=False) is not None
    return measures


@task
def add_up(packages: list[Measures]) -> Measures:
    """Count the whole library."""
    fields = [field.name for field in dataclasses.fields(Measures) if field.name != "package"]
    sums = {name: sum(getattr(package, name) for package in packages) for name in fields}
    return Measures("all", **sums)


@task
def find_largest(packages: list[Measures], count: int) -> list[Measures]:
    """Return the packages with the most lines, the largest first."""
    return sorted(packages, key=lambda package: package.lines, reverse=True)[:count]


@flow
def aggregate(packages: list[Measures], count: int) -> tuple[Measures, list[Measures]]:
    """Return the sum of all packages, and the largest ones: a flow within the flow."""
    total = add_up.submit(packages)
    largest = find_largest.submit(packages, count)
    return total.result(), largest.result()


@task
def report(folder: Path, release: str, total: Measures, largest: list[Measures]) -> Path:
    """Write the largest packages as CSV, and everything as JSON."""
    rows = [
        {**dataclasses.asdict(row), "documented_percent": row.documented_percent}
        for row in [*largest, total]
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "report.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows[:-1])
    document = {"release": release, "largest": rows[:-1], "total": rows[-1]}
    path = folder / "report.json"
    path.write_text(json.dumps(document, indent=2))
    return path


@flow(task_runner=ThreadPoolTaskRunner(max_workers=4), log_prints=True)
def measure_library(folder: Path = Path("report"), count: int = 10) -> Path:
    """Measure the standard library of the Python that runs this; return the report's path."""
    library = Path(sysconfig.get_path("stdlib"))
    packages = extract(library)
    release = ask_for_release.submit()
    measured = measure.map(list(packages), unmapped(library), list(packages.values()))
    total, largest = aggregate(measured.result(), count)
    print(f"{total.lines:,} lines in {total.files} files; the largest is {largest[0].package}")
    return report(folder.absolute(), release.result(), total, largest)


if __name__ == "__main__":
    print(measure_library())
