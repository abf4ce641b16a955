"""The notebook that reads results, executed on runs of every sort."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from comparable_runs import make_confirmed
from nbclient import NotebookClient
from run_folders import SPEC, make_run

NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "reading_results.ipynb"
OWN = SPEC.replace("environment: CartPole-v1", "environment: {id: Maze-v0, module: no_such_module}")


def make_folder(kind: str, storage: Path) -> None:
    if kind == "confirmed":
        make_confirmed(storage, "r-20260101-000000")
        return
    ends = {
        "all failed": ["ERROR", "ERROR"],
        "still live": ["TERMINATED", "PRUNED", "RUNNING"],
        "no trial yet": [],
        "an environment whose module is not here": ["TERMINATED"],
    }[kind]
    spec = SPEC if "module" not in kind else OWN
    reason = None if kind == "still live" else "finished"
    make_run(storage, "r-20260101-000000", ends, spec=spec, reason=reason)


@pytest.mark.parametrize(
    "kind",
    [
        "all failed",
        "still live",
        "confirmed",
        pytest.param("no trial yet", marks=pytest.mark.acceptance),
        pytest.param("an environment whose module is not here", marks=pytest.mark.acceptance),
    ],
)
def test_it_goes_through_whatever_became_of_the_run(kind: str, tmp_path: Path) -> None:
    make_folder(kind, tmp_path / "runs")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=120, resources=resources).execute()
    shown = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type != "stream"
    ]
    assert sum("application/vnd.plotly.v1+json" in one.get("data", {}) for one in shown) == 7
    text = " ".join(str(one.get("data", {}).get("text/html", "")) for one in shown)
    assert "<b>r-20260101-000000</b>" in text
    assert (tmp_path / "runs" / "r-20260101-000000" / "report.html").is_file()
