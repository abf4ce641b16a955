"""The module map holds: rooms and files form no circle, and heavy libraries stay at the edge."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import sweeper

PACKAGE = Path(sweeper.__file__).parent

# What a notebook wants of a spec and of a plan, `spec.plan()` and the plan's own words, is imported
# when it is asked for.
EXCEPTIONS = {("spec.experiment", "planning.plan"), ("planning.plan", "views.plan")}
# Rooms and files that may import a heavy library; a room stands for all that is in it.
HEAVY = {
    "ray": {
        "agents.rllib_policy",
        "agents.rllib_runners",
        "references",  # where a launch keeps variables for its workers; never the first to import
        "rehearsal.worker",
        "running.tune",
        "trainables.rllib_backend",
        "trainables.trial",
    },
    "torch": {
        "agents.rllib_policy",
        "agents.playing",
        "agents.torch_policy.convolutions",
        "exporting.conversion",
        "exporting.onnx_file",
        "exporting.onnx_graph",
        "trainables.generators",
        "trainables.rllib_backend",
        "trainables.torch_backend",
    },
    "mlflow": {"tracking"},
    "optuna": {"opened_run", "search.sampling"},
    "plotly": {"plots.plotly_figure"},
    "matplotlib": {"plots.matplotlib_figure", "plots.matplotlib_marks"},
}


@cache
def _modules() -> dict[str, Path]:
    """Every file by its dotted name below ``sweeper``; a package's face is ``room.__init__``."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """All that a file imports, at its top, in a function, or for types alone."""
    return tuple(_find_imports(path))


def _find_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if _find(name) else node.module


def _find(name: str) -> str | None:
    """The file of ours that an imported name means; None if it is someone else's."""
    inner = name.removeprefix("sweeper.")
    if inner == name:
        return None
    return next((one for one in (inner, f"{inner}.__init__") if one in _modules()), None)


@cache
def _arrows() -> frozenset[tuple[str, str]]:
    arrows = {
        (module, target)
        for module, path in _modules().items()
        for name in _imports(path)
        if (target := _find(name)) and target != module
    }
    # The package's own face and `python -m sweeper` stand above everything.
    return frozenset(arrow for arrow in arrows if arrow[0] not in ("__init__", "__main__"))


def _rooms() -> list[str]:
    return sorted({"", *(name.rpartition(".")[0] for name in _modules())})


@pytest.mark.parametrize("room", _rooms(), ids=lambda room: room or "sweeper")
def test_what_a_room_holds_forms_no_circle(room: str) -> None:
    inside = f"{room}." if room else ""
    graph: dict[str, set[str]] = {}
    for source, target in _arrows() - EXCEPTIONS:
        if source.startswith(inside) and target.startswith(inside):
            ends = [name.removeprefix(inside).split(".")[0] for name in (source, target)]
            if ends[0] != ends[1]:
                graph.setdefault(ends[0], set()).add(ends[1])
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"{room or 'sweeper'} has a circle: {' <- '.join(error.args[1])}")


def test_every_exception_is_needed_and_there_are_at_most_two() -> None:
    assert len(EXCEPTIONS) <= 2
    assert _arrows() >= EXCEPTIONS


@pytest.mark.parametrize("library", HEAVY)
def test_only_adapters_import_a_heavy_library(library: str) -> None:
    for module, path in _modules().items():
        if library in {name.split(".")[0] for name in _imports(path)}:
            homes = {module, *(module[:end] for end, sign in enumerate(module) if sign == ".")}
            assert homes & HEAVY[library], f"{module} imports {library}"


def test_no_module_is_longer_than_400_lines() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in _modules().items()}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}


def test_the_map_names_files_that_exist() -> None:
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("## To change X, open Y")[2]
    rows = [row.split("|")[2] for row in table.splitlines() if row.startswith("| ")][1:]
    assert len(rows) >= 12
    for row in rows:
        first = row.split("`")[1]
        assert (PACKAGE / first).exists() or (PACKAGE.parent / first).exists(), first


def test_every_public_name_can_be_imported() -> None:
    for name in sweeper.__all__:
        if name != "to_tune":  # which needs Ray
            assert getattr(sweeper, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'sweep'"):
        sweeper.sweep  # noqa: B018


# Each in turn in one process: what it may not have imported by then.
_LIGHT = """
import contextlib, io, os, sys
from importlib import import_module

def without(*heavy):
    found = sorted({"ray", "torch", "mlflow", "optuna", "pandas", *heavy} & sys.modules.keys())
    if found:
        sys.exit(f"{doing} imported {', '.join(found)}")

def words(*arguments):
    global doing
    doing = " ".join(arguments)
    said = io.TextIOWrapper(io.BytesIO())
    code = 0
    try:
        with contextlib.redirect_stdout(said):
            import_module("sweeper.cli").cli.main(arguments, "sweeper", standalone_mode=False)
    except SystemExit as end:  # completion's
        code = end.code
    if code or not said.tell():
        sys.exit(f"{doing} failed or said nothing")

for arguments in ("--help",), ("--version",), ("run", "--help"), ("plot", "--help"):
    words(*arguments)
    without("numpy", "scipy", "gymnasium", "rich")
os.environ |= {
    "_SWEEPER_COMPLETE": "bash_complete", "COMP_WORDS": "sweeper run conf", "COMP_CWORD": "2"
}
words("completion")
del os.environ["_SWEEPER_COMPLETE"]
without("numpy", "scipy", "gymnasium", "rich")
doing = "sweeper.views.watch"
import_module(doing)
without("rich")
words("plan", "configs/quickstart.yaml")
without()
words("plan", "configs/cartpole_dqn.yaml")
words("plan", "configs/quickstart.yaml", "search.algorithm=tpe")
without()
for doing in "sweeper.views.runs", "sweeper.views.compare", "sweeper.tracking.tracker":
    import_module(doing)
    without()
doing = "sweeper.compare_runs"
import_module("sweeper").compare_runs
without()
"""


def test_words_come_without_heavy_imports() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIGHT],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        env={**os.environ, "PYTHONWARNINGS": "error::DeprecationWarning:sweeper"},
    )
    assert done.returncode == 0, done.stderr
