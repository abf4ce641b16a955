"""Execute the notebooks in a folder of their own, and write what came of it into build/notebooks.

    python tools/run_notebooks.py            # as they are
    python tools/run_notebooks.py --fast     # with the small numbers behind "# fast:"
    python tools/run_notebooks.py first_sweep reading_results

They run in one folder, in the order below, so the second one reads the run of the first. The first
cell that raises ends it with exit code 1.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

__all__ = ["ORDER", "make_fast"]

ROOT = Path(__file__).parents[1]
ORDER = [
    "first_sweep",
    "reading_results",
    "comparing_runs",
    "from_champion_to_agent",
    "own_environment",
]
_FAST = re.compile(r"^(?P<names>[A-Z_, ]+) = .*?  # fast: (?P<values>.+)$", re.MULTILINE)
_CELL_S = 1800


def make_fast(source: str) -> str:
    """A cell with the values behind ``# fast:`` in place of its own."""
    return _FAST.sub(r"\g<names> = \g<values>", source)


def _execute(name: str, folder: Path, *, is_fast: bool) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    if is_fast:
        for cell in notebook.cells:
            cell.source = make_fast(cell.source) if cell.cell_type == "code" else cell.source
    client = NotebookClient(
        notebook, timeout=_CELL_S, resources={"metadata": {"path": str(folder)}}
    )
    try:
        client.execute()
    finally:
        nbformat.write(notebook, folder.parent / f"{name}.ipynb")


def main() -> int:
    """Execute the notebooks; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="[default: all]")
    parser.add_argument("--fast", action="store_true")
    given = parser.parse_args()
    unknown = set(given.names) - set(ORDER)
    if unknown:
        parser.error(f"no notebook {', '.join(sorted(unknown))}; there are {', '.join(ORDER)}")
    folder = ROOT / "build" / "notebooks" / "work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in [one for one in ORDER if not given.names or one in given.names]:
        began = time.monotonic()
        try:
            _execute(name, folder, is_fast=given.fast)
        except CellExecutionError as error:
            print(f"{name}: failed\n{error}", file=sys.stderr)  # noqa: T201
            return 1
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201
    print(f"executed notebooks are in {folder.parent}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
