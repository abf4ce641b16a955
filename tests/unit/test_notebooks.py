"""The notebooks' form; `make notebooks` executes them."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from run_notebooks import ORDER, make_fast  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# What a notebook may use beside the public interface.
LIBRARIES = {"IPython", "pandas", "sweeper", "sys", "torch_policy"}


def read_cells(notebook: Path, kind: str) -> list[dict[str, Any]]:
    document = json.loads(notebook.read_text(encoding="utf-8"))
    return [cell for cell in document["cells"] if cell["cell_type"] == kind]


def read_code(notebook: Path) -> list[str]:
    sources = ["".join(cell["source"]) for cell in read_cells(notebook, "code")]
    return [source for source in sources if not source.startswith("%%")]


def test_every_notebook_is_executed() -> None:
    assert sorted(ORDER) == [path.stem for path in NOTEBOOKS]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_stores_no_outputs_and_uses_the_public_interface(notebook: Path) -> None:
    for cell in read_cells(notebook, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
    for source in read_code(notebook):
        for node in ast.walk(ast.parse(source)):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
                assert node.module != "sweeper" or [one.name for one in node.names] == ["space"]
            assert {name.partition(".")[0] for name in names} <= LIBRARIES
            assert not any(name.startswith("sweeper.") for name in names)
            if isinstance(node, ast.Attribute):
                assert not node.attr.startswith("_")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_between_notebooks_lead_somewhere(notebook: Path) -> None:
    text = "".join("".join(cell["source"]) for cell in read_cells(notebook, "markdown"))
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (notebook.parent / target).is_file(), target


def test_the_fast_form_has_the_values_behind_the_comment_and_is_still_python() -> None:
    assert make_fast("A, B = 40_000, 6  # fast: 4_000, 3\nC = 1") == "A, B = 4_000, 3\nC = 1"
    changed = 0
    for notebook in NOTEBOOKS:
        for source in read_code(notebook):
            fast = make_fast(source)
            ast.parse(fast)
            assert "# fast" not in fast
            changed += fast != source
    assert changed >= 4
