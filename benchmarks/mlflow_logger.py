"""Measure what Ray's MLflowLoggerCallback takes of the driver's time for each result.

It gets the results of a run of `sweeper`, from its journal, as Tune would hand them over one by
one, and writes them to an SQLite database of its own.

    python benchmarks/mlflow_logger.py RUN DATABASE RESULTS
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class LoggerCost:
    """What the callback took, on average, for a result.

    Attributes:
        results: how many.
        values: of metrics in its database.
        wall_ms: of the driver's thread, which waits for it.
        cpu_ms: part of it.
    """

    results: int
    values: int
    wall_ms: float
    cpu_ms: float


class Trial:
    """As much of Tune's as the callback asks for."""

    def __init__(self, trial_id: str, config: dict[str, Any]) -> None:
        self.trial_id, self.config = trial_id, config

    def __str__(self) -> str:
        return self.trial_id


def measure(run: Path, database: Path, results: int) -> LoggerCost:
    """Hand over the first results of a run; its setup and its trials' starts are not counted."""
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    from sweeper.journal import TrialAsked, TrialReported, read_journal
    from sweeper.paths import RunPaths

    callback = MLflowLoggerCallback(tracking_uri=f"sqlite:///{database}", experiment_name="e")
    callback.setup()
    trials: dict[str, Trial] = {}
    taken, wall_s, cpu_s = 0, 0.0, 0.0
    for event in read_journal(RunPaths(run).journal):
        if isinstance(event, TrialAsked):
            trials[event.trial_id] = Trial(event.trial_id, dict(event.configuration))
            callback.log_trial_start(trials[event.trial_id])
        elif isinstance(event, TrialReported):
            began, before = time.perf_counter(), time.thread_time()
            row = dict(event.metrics)
            callback.log_trial_result(row["training_iteration"], trials[event.trial_id], row)
            wall_s += time.perf_counter() - began
            cpu_s += time.thread_time() - before
            taken += 1
            if taken == results:
                break
    with closing(sqlite3.connect(database)) as connection:
        values = connection.execute("SELECT count(*) FROM metrics").fetchone()[0]
    return LoggerCost(taken, values, 1000 * wall_s / taken, 1000 * cpu_s / taken)


if __name__ == "__main__":
    cost = measure(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps(vars(cost)))
