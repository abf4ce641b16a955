"""Runs that plots have to bear: poor, strange and hostile ones, by what is odd about them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from made_results import (
    BEGIN,
    EVALUATION,
    SPACE,
    confirmed,
    draw_sweep,
    population,
    report,
    source_of,
    trial,
)

from sweeper.plots.source import PlotSource
from sweeper.results.records import Launch

HOSTILE = "<script>alert('$x_1$ %{x} %s')</script>\x1b[31m\x00\u202e"


def _rows(*values: float, replicas: int = 2) -> list[dict[str, Any]]:
    return [report(i, [value + k for k in range(replicas)]) for i, value in enumerate(values, 1)]


def _hostile() -> PlotSource:
    space = {HOSTILE: {"choice": [HOSTILE, "_hidden", "x" * 500]}, "_lr": {"uniform": [0.0, 1.0]}}
    values = [HOSTILE, "_hidden", "x" * 500, HOSTILE, HOSTILE]
    trials = [
        trial(n, _rows(n, n + 1), "PRUNED" if n == 2 else "TERMINATED",
              parameters={HOSTILE: value, "_lr": n / 10}, node=HOSTILE, reason=HOSTILE)
        for n, value in enumerate(values, start=1)
    ]  # fmt: skip
    trials.append(trial(6, (), "ERROR", error=HOSTILE, reason=HOSTILE, parameters={HOSTILE: "_"}))
    return replace(source_of(trials, space=space), name=HOSTILE)


def _foreign() -> PlotSource:
    trials = [
        trial(n, [{"training_iteration": i, "loss": 1.0 / (i + n), "config": {"a": 1}}
                  for i in (1, 2, 3)], replicas=0, parameters={"lr": 10.0**-n, "nested": {"a": n}},
              started=None, ended=None, node=None)
        for n in range(1, 7)
    ]  # fmt: skip
    return source_of(trials, metric="loss", mode="min", results={"launches": (), "started": None})


def _odd_parameters() -> PlotSource:
    space = {
        "layers": {"choice": [[64, 64], [256], []]},
        "buffer": {"choice": [{"type": "a", "size": 1}, {"type": "b"}]},
        "flag": {"choice": [True, 1, None]},
        "scale": {"randn": [0.0, 1.0]},
        "lr": {"loguniform": [1e-5, 1e-1]},
    }
    points = [
        {
            "layers": [64, 64],
            "buffer": {"type": "a", "size": 1},
            "flag": True,
            "scale": -1.0,
            "lr": 0.1,
        },
        {"layers": [], "buffer": {"type": "b"}, "flag": 1, "scale": 0.5, "lr": 0.0},
        {"layers": [256], "flag": None, "scale": 2.0, "lr": "text"},
        {"layers": "other", "buffer": {}, "flag": 3, "scale": math.nan, "lr": -1.0},
    ]
    return source_of(
        [trial(n, _rows(n, 2 * n), parameters=one) for n, one in enumerate(points, start=1)],
        space=space,
    )


RUNS: dict[str, Callable[[], PlotSource]] = {
    "no trials": lambda: source_of([], space=SPACE),
    "no trials yet": lambda: source_of([], space=SPACE, results={"is_live": True}),
    "trials that wait": lambda: source_of([trial(1, (), "PENDING", started=None)]),
    "one trial": lambda: source_of([trial(1, _rows(1.0, 2.0))]),
    "one report": lambda: source_of([trial(1, _rows(1.0))], space={"lr": {"uniform": [0, 1]}}),
    "all failed": lambda: source_of([trial(n, _rows(1.0), "ERROR") for n in (1, 2)], space=SPACE),
    "all pruned": lambda: source_of([trial(n, _rows(n), "PRUNED") for n in (1, 2, 3)]),
    "no evaluation": lambda: source_of([trial(1, _rows(1.0))], metric=EVALUATION),
    "nan": lambda: source_of(
        [trial(1, _rows(math.nan, math.nan)), trial(2, _rows(1.0, math.inf)), trial(3, _rows(2.0))]
    ),
    "huge": lambda: source_of([trial(1, _rows(1e308, -1e308)), trial(2, _rows(1.0, 1e49))]),
    "equal": lambda: source_of(
        [trial(n, _rows(5.0, 5.0, replicas=1), replicas=1, parameters={"lr": 0.5}) for n in (1, 2)],
        space={"lr": {"uniform": [0.0, 1.0]}},
    ),
    "no distributions": lambda: source_of([trial(1, _rows(1.0, 2.0))], space={"lr": 0.1}),
    "lists and mappings": _odd_parameters,
    "a Tune experiment": _foreign,
    "live": lambda: source_of(
        [trial(1, _rows(1.0, 2.0)), trial(2, _rows(3.0), "RUNNING"), trial(3, (), "PENDING")],
        space={"lr": {"uniform": [0, 1]}},
        results={"is_live": True, "ended_by": None},
    ),
    "paused": lambda: source_of([trial(1, _rows(1.0), "PAUSED"), trial(2, _rows(2.0), "PAUSED")]),
    "less is better": lambda: draw_sweep(12, mode="min"),
    "several launches": lambda: source_of(
        [trial(n, _rows(n, n), retries=n) for n in (1, 2, 3)],
        results={"launches": (Launch(BEGIN, BEGIN + 150), Launch(BEGIN + 5000, BEGIN + 9000))},
    ),
    "hostile text": _hostile,
    "confirmed": confirmed,
    "confirmed, less is better": lambda: confirmed(mode="min"),
    "a population": population,
    "a sweep": lambda: draw_sweep(40),
}


@cache
def plotted_run(name: str) -> PlotSource:
    """One of `RUNS`, made once."""
    return RUNS[name]()
