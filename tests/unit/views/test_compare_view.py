"""Runs side by side on a terminal: narrow or wide, with many runs, in a poor encoding."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest
from comparable_runs import HIGH, LOW, open_confirmed, with_curves

from sweeper import RunComparison, compare_runs
from sweeper.evidence.comparing.sparklines import BLOCKS, PLAIN_BLOCKS
from sweeper.opened_run import Run
from sweeper.streams import PLAIN
from sweeper.views.compare import print_comparison

Show = Callable[[RunComparison, int], list[str]]


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Show:
    """Prints a comparison on a terminal of some width, and returns the lines."""

    def print_on_terminal(comparison: RunComparison, width: int) -> list[str]:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("LINES", "24")  # or a terminal that rich takes for dumb has 80 columns
        monkeypatch.setenv("COLUMNS", str(width))
        print_comparison(comparison)
        return click.unstyle(capsys.readouterr().out).splitlines()

    return print_on_terminal


def runs(storage: Path, number: int) -> list[Run]:
    """Runs with long names, each better than the one before."""
    made = []
    for place in range(number):
        values = [12_345.678 * (place + 1) + value for value in LOW]
        run = open_confirmed(storage, f"cartpole-ppo-small-network-2026010{place}-000000", values)
        made.append(with_curves(run, [[value * (place + 1), value] for value in LOW]))
    return made


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("number", [2, 3, 7])
def test_no_line_is_wider_than_the_terminal(
    tmp_path: Path, show: Show, width: int, number: int
) -> None:
    comparison = compare_runs(*runs(tmp_path, number))
    shown = show(comparison, width)
    legend = {f"{run.label}  {run.name}" for run in comparison.runs}  # names are never broken
    assert [line for line in shown if len(line) > width and line not in legend] == []
    assert legend <= set(shown)
    # Every run has its column somewhere, each cell whole.
    for row in comparison.results:
        start = f"{row.heading}  "
        found = [line.removeprefix(start) for line in shown if line.startswith(start)]
        assert [cell for line in found for cell in re.split("  +", line.strip())] == [*row.cells]


def test_runs_that_do_not_fit_beside_the_others_come_below(tmp_path: Path, show: Show) -> None:
    comparison = compare_runs(*runs(tmp_path, 7))
    heads = {
        width: [
            line.split()
            for line in show(comparison, width)
            if line.split() and set(line.split()) <= set("ABCDEFG")
        ]
        for width in (80, 250)
    }
    assert heads[250] == [list("ABCDEFG")]
    assert len(heads[80]) > 1
    assert [label for head in heads[80] for label in head] == list("ABCDEFG")


def test_curves_stand_below_each_other_on_a_scale_that_is_said(tmp_path: Path, show: Show) -> None:
    a = with_curves(open_confirmed(tmp_path, "a"), [[5.0, 5.0, 22.5]] * 5, step=300)
    b = with_curves(open_confirmed(tmp_path, "b", HIGH), [[5.0, 5.0, 40.0]] * 5, step=240)
    shown = show(compare_runs(a, b), 80)
    text = " ".join(" ".join(shown).split())
    assert (
        "Curves: episode_return_mean while training, the mean over the champion's runs, from 5 "
        "to 40, over 0 to 900 env steps"
    ) in text
    rows = [line for line in shown if "ends at" in line]
    assert [row[0] for row in rows] == ["A", "B"]
    assert rows[0].endswith("5 runs of the confirmation, ends at 22.5")
    assert rows[1].endswith("5 runs of the confirmation, ends at 40")
    curves = [row[3:].partition("  5 runs")[0] for row in rows]
    assert curves[0][-1] == BLOCKS[4]  # half as far up as B's last
    assert curves[1].rstrip()[-1] == BLOCKS[7]
    assert len(curves[1].rstrip()) == pytest.approx(0.8 * len(curves[1]), abs=1)


def test_a_run_without_a_curve_is_said(tmp_path: Path, show: Show) -> None:
    a = with_curves(open_confirmed(tmp_path, "a"), [[0.0, 20.0]] * 5)
    b = open_confirmed(tmp_path, "b", HIGH)
    shown = show(compare_runs(a, b), 80)
    assert any(line.split() == ["B", "no", "curve"] for line in shown)
    assert not any("±" in line for line in shown)  # of one replica there is none
    without = show(compare_runs(open_confirmed(tmp_path, "c"), b), 80)
    assert not any("Curves" in line or "no curve" in line for line in without)


def test_an_encoding_without_blocks_gets_plain_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (
        with_curves(open_confirmed(tmp_path, name, values), [[0.0, top]] * 5)
        for name, values, top in (("a", LOW, 20.0), ("b", HIGH, 40.0))
    )
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", errors=PLAIN))
    print_comparison(compare_runs(a, b))
    sys.stdout.flush()
    (row,) = (line for line in written.getvalue().decode().splitlines() if "ends at 40" in line)
    curve = row.removeprefix("B  ").partition("  5 runs")[0]
    assert set(curve) == set(PLAIN_BLOCKS + " ")
    assert curve.endswith(PLAIN_BLOCKS[-1])


def test_what_a_run_says_can_not_act_on_the_terminal(tmp_path: Path, show: Show) -> None:
    a = open_confirmed(tmp_path, "a[bold]\x1b[2J")
    evil = open_confirmed(tmp_path, "b", HIGH)
    trials = tuple(
        replace(one, configuration={**one.configuration, "\x1b]0;x\x07": "[red]\x1b[2J"})
        for one in evil.results.trials
    )
    evil = replace(evil, results=replace(evil.results, trials=trials))
    shown = "\n".join(show(compare_runs(a, evil), 80))
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "a[bold]\\x1b[2J" in shown
    assert "[red]\\x1b[2J" in shown


def test_a_mean_without_an_interval_says_why(tmp_path: Path, show: Show) -> None:
    a = open_confirmed(tmp_path, "a", [500.0] * 5)
    b = open_confirmed(tmp_path, "b", HIGH)
    shown = show(compare_runs(a, b), 80)
    (row,) = (line for line in shown if line.startswith("its 95 % interval"))
    assert "all 5 values are equal" in row
