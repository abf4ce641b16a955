"""Hyperparameter sweeps for reinforcement learning, with evidence.

The names below are the interface for notebooks. Each is imported at its first use, so
``import sweeper`` is fast and imports neither ray, torch, mlflow nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.api import Run, open_run, open_tune, run, train
    from sweeper.compared_runs import RunComparison, compare_runs
    from sweeper.errors import Problem, RunError, SpecError, SweeperError, UserError
    from sweeper.exporting.export import export_agent
    from sweeper.opened_agent import load_agent
    from sweeper.planning.plan import SweepPlan
    from sweeper.running.tune.tuner import to_tune
    from sweeper.spec import ExperimentSpec, load_spec

__all__ = [
    "ExperimentSpec",
    "Problem",
    "Run",
    "RunComparison",
    "RunError",
    "SpecError",
    "SweepPlan",
    "SweeperError",
    "UserError",
    "compare_runs",
    "export_agent",
    "load_agent",
    "load_spec",
    "open_run",
    "open_tune",
    "run",
    "to_tune",
    "train",
]

_HOMES = {
    "ExperimentSpec": "spec",
    "Problem": "errors",
    "Run": "api",
    "RunComparison": "compared_runs",
    "RunError": "errors",
    "SpecError": "errors",
    "SweepPlan": "planning.plan",
    "SweeperError": "errors",
    "UserError": "errors",
    "compare_runs": "compared_runs",
    "export_agent": "exporting.export",
    "load_agent": "opened_agent",
    "load_spec": "spec",
    "open_run": "api",
    "open_tune": "api",
    "run": "api",
    "to_tune": "running.tune.tuner",
    "train": "api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sweeper' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sweeper.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
