"""`sweeper plot`: files of every kind, and one clear error for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import sweeper_here
from run_folders import add_confirmation, make_run

from sweeper.opened_run import open_run
from sweeper.plots.catalogue import KINDS


@pytest.fixture
def run(tmp_path: Path) -> str:
    ends = ("TERMINATED", "TERMINATED", "PRUNED", "ERROR")
    add_confirmation(make_run(tmp_path / "runs", "a-20260101-000000", ends))
    return "a-20260101-000000"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_a_file_in_the_working_directory(
    tmp_path: Path, run: str, kind: str
) -> None:
    done = sweeper_here("plot", run, kind, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{kind} written to {kind}.png\n"
    assert (tmp_path / f"{kind}.png").read_bytes().startswith(b"\x89PNG")


def test_the_last_run_is_meant_where_none_is_named(tmp_path: Path, run: str) -> None:
    done = sweeper_here("plot", "finalists", "-o", "f.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "f.json").read_text())["data"]


def test_options_reach_the_plot(tmp_path: Path, run: str) -> None:
    done = sweeper_here(
        *("plot", run, "learning_curves", "--trials", "t0002,t0001", "--trials", "c0001"),
        *("--metric", "episode_return_mean", "--replicas", "-o", "curves.svg", "--json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["kind"], said["file"], said["missing"]) == ("learning_curves", "curves.svg", None)
    assert "t0002" in (tmp_path / "curves.svg").read_text()


def test_a_plot_that_has_nothing_to_show_says_so(tmp_path: Path, run: str) -> None:
    done = sweeper_here("plot", run, "lineage", cwd=tmp_path)
    assert done.returncode == 0
    assert "nothing to show: No trial took over another's weights" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("learning_curve",), "there is no plot 'learning_curve'; did you mean learning_curves?"),
        (("timeline", "-o", "a.gif"), "needs an ending that says what to write"),
        (("timeline", "-o", "no/a.png"), "there is no folder no"),
        (("timeline", "--by", "lr"), "timeline has no option 'by'"),
        (("aggregate_curves", "--by", "rl"), "no searched parameter 'rl'"),
        (("slices", "--param", "lrr"), "did you mean lr?"),
        (("learning_curves", "--trials", "t9"), "has no trial 't9'"),
        (("learning_curves", "--metric", "retrun"), "no trial of a-20260101-000000 reported"),
        ((), "name the kind of plot"),
    ],
)
def test_a_mistake_is_one_clear_error(
    tmp_path: Path, run: str, arguments: tuple[str, ...], said: str
) -> None:
    done = sweeper_here("plot", run, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["runs"]


def test_the_kinds_are_listed_with_their_options(tmp_path: Path) -> None:
    done = sweeper_here("plot", "--list", "--json", cwd=tmp_path)
    assert [one["kind"] for one in json.loads(done.stdout)] == [*KINDS]
    told = sweeper_here("plot", "--list", cwd=tmp_path).stdout
    assert all(kind.shows in told for kind in KINDS.values())
    assert all(name in sweeper_here("plot", "--help", cwd=tmp_path).stdout for name in KINDS)


def test_a_notebook_has_the_same_plots(tmp_path: Path, run: str) -> None:
    plots = open_run(tmp_path / "runs" / run).plot
    assert plots.finalists().data
    assert "learning_curves()" in repr(plots)
