"""The benchmarks of training speed: their tables, and that their targets can be measured."""

from __future__ import annotations

import importlib
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = str(Path(__file__).parents[3] / "benchmarks")


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


def load(name: str) -> Any:
    return importlib.import_module(name)


def run(speed: float, *, cpu_speed: float | None = None, memory_mb: float = 100.0) -> Any:
    return load("contest").Measurement(speed, cpu_speed or speed, [10.0], 7, memory_mb)


@pytest.mark.parametrize("name", ["ppo_throughput", "dqn_throughput"])
def test_targets_of_unmeasured_entries_are_refused(name: str) -> None:
    contest = load(name).CONTEST
    entry = contest.targets[0].entry
    for shape, who in (("no-such-shape", entry.who), (entry.shape, "ours:77")):
        stray = replace(contest.targets[0], entry=type(entry)(shape, who))
        with pytest.raises(ValueError, match=who if who != entry.who else shape):
            replace(contest, targets=(stray,))


def printed_targets(capsys: pytest.CaptureFixture[str], ours: list[Any], theirs: list[Any]) -> Any:
    contest, benchmark = load("contest"), load("ppo_throughput").CONTEST
    results = {
        contest.Entry("cartpole", "RLlib"): theirs,
        contest.Entry("cartpole", "ours:5"): ours,
        contest.Entry("cartpole", "ours:16"): ours,
    }
    contest._print_targets(benchmark, results, {"cartpole": [{"share": 0.29}]})
    lines = capsys.readouterr().out.strip().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_median_of_the_ratios_of_each_repeat_decides(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The second repeat was ten times slower on both sides: the ratio hardly changes.
    ours, theirs = [run(1600.0), run(150.0), run(1400.0)], [run(100.0), run(10.0), run(100.0)]
    rows = printed_targets(capsys, ours, theirs)
    assert rows[0][1:] == [
        "15 x (25)",
        "15.00 x (14.00 to 16.00)",
        "15.00 x (14.00 to 16.00)",
        "yes",
    ]


def test_wall_time_decides_and_cpu_time_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours, theirs = [run(1499.0, cpu_speed=3000.0)], [run(100.0)]
    rows = printed_targets(capsys, ours, theirs)
    assert rows[0][1:] == ["15 x (25)", "14.99 x", "30.00 x", "**no**"]


def test_arithmetic_and_memory_have_targets(capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed_targets(capsys, [run(2500.0, memory_mb=1025.0)], [run(100.0)])
    assert [row[-1] for row in rows] == ["the aim too", "-", "**no**", "**no**"]


def test_a_skipped_contestant_has_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed_targets(capsys, [run(2000.0)], [run(100.0)])
    assert not any("Stable-Baselines3" in row[0] for row in rows)


def test_a_busy_machine_causes_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    conditions = load("conditions")
    for load_average, is_said in ((0.4, False), (0.6, True)):
        monkeypatch.setattr("os.getloadavg", lambda at=load_average: (at, 0.0, 0.0))
        text = conditions.Conditions(("numpy", "no-such-package")).describe()
        assert ("not quiet" in text) is is_said
        assert ("warning" in capsys.readouterr().err) is is_said
        assert f"numpy {metadata.version('numpy')}" in text
        assert "no-such-package" not in text
