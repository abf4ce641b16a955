"""Hyperparameter sweeps for reinforcement learning, with evidence.

The names below are the interface for notebooks. Each is imported at its first use, so
``import sweeper`` is fast and imports neither ray, torch, mlflow nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper import space
    from sweeper.api import confirm, resume, run, train
    from sweeper.compared_runs import RunComparison, compare_runs
    from sweeper.errors import Problem, RunError, SpecError, SweeperError, UserError
    from sweeper.evidence.evaluation import evaluate
    from sweeper.exporting.export import export_agent
    from sweeper.exporting.spec import export_spec
    from sweeper.listed_runs import list_runs
    from sweeper.opened_agent import load_agent
    from sweeper.opened_run import Run, open_run, open_tune
    from sweeper.planning.plan import SweepPlan
    from sweeper.planning.starter import starting_spec
    from sweeper.running.tune.tuner import to_tune
    from sweeper.spec import ExperimentSpec, load_spec
    from sweeper.stopping import stop

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
    "confirm",
    "evaluate",
    "export_agent",
    "export_spec",
    "list_runs",
    "load_agent",
    "load_spec",
    "open_run",
    "open_tune",
    "resume",
    "run",
    "space",
    "starting_spec",
    "stop",
    "to_tune",
    "train",
]

_HOMES = {
    "ExperimentSpec": "spec",
    "Problem": "errors",
    "Run": "opened_run",
    "RunComparison": "compared_runs",
    "RunError": "errors",
    "SpecError": "errors",
    "SweepPlan": "planning.plan",
    "SweeperError": "errors",
    "UserError": "errors",
    "compare_runs": "compared_runs",
    "confirm": "api",
    "evaluate": "evidence.evaluation",
    "export_agent": "exporting.export",
    "export_spec": "exporting.spec",
    "list_runs": "listed_runs",
    "load_agent": "opened_agent",
    "load_spec": "spec",
    "open_run": "opened_run",
    "open_tune": "opened_run",
    "resume": "api",
    "run": "api",
    "space": "",
    "starting_spec": "planning.starter",
    "stop": "stopping",
    "to_tune": "running.tune.tuner",
    "train": "api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sweeper' has no attribute {name!r}")
    if name == "space":  # a module
        return importlib.import_module("sweeper.space")
    return getattr(importlib.import_module(f"sweeper.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
