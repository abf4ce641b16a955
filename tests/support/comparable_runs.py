"""Runs that can be held against each other, made without a launch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from run_folders import SPEC, add_confirmation, make_run

from sweeper.metrics import ENV_STEPS
from sweeper.opened_run import Run, open_run
from sweeper.paths import RunPaths
from sweeper.results.records import TrialRecord

# Of five runs each, all of the second beat all of the first.
LOW, HIGH = (28.0, 31.0, 29.0, 30.5, 30.0), (38.0, 41.0, 39.0, 40.5, 40.0)
IDENTITY: Mapping[str, Any] = {
    "observation_space": {"type": "Discrete", "n": 4, "start": 0},
    "action_space": {"type": "Discrete", "n": 2, "start": 0},
    "sources": {"maze.py": "a" * 64},
    "packages": {"gymnasium": "1.2.2"},
}


def make_confirmed(
    storage: Path,
    name: str,
    values: Sequence[float] = LOW,
    *,
    spec: str = SPEC,
    environment: Mapping[str, Any] | None = IDENTITY,
    **confirmation: Any,
) -> RunPaths:
    """A run whose champion t0002 came to these values when it was trained again."""
    paths = make_run(
        storage, name, ["TERMINATED", "TERMINATED"], spec=spec, environment=environment
    )
    baseline = [9.0 + place / 10 for place in range(len(values))]
    add_confirmation(paths, values={"t0002": values, "baseline": baseline}, **confirmation)
    return paths


def open_confirmed(storage: Path, name: str, values: Sequence[float] = LOW, **more: Any) -> Run:
    """The same, opened."""
    return open_run(make_confirmed(storage, name, values, **more).root)


def with_curves(run: Run, curves: Sequence[Sequence[float]], step: int = 500) -> Run:
    """The run with these curves of its confirmation's runs: one list of values each."""
    rows = [
        {ENV_STEPS: step * number, "replica/episode_return_mean": list(values)}
        for number, values in enumerate(zip(*curves, strict=True), start=1)
    ]

    def change(record: TrialRecord) -> TrialRecord:
        return replace(record, reports=(*rows[:-1], {**record.last_report, **rows[-1]}))

    retrained = tuple(change(one) for one in run.results.retrained)
    return replace(run, results=replace(run.results, retrained=retrained))
