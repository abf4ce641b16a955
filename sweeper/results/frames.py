"""A run's trials as pandas tables."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sweeper.json_values import to_json
from sweeper.metrics import Objective
from sweeper.results.lineage import lineage_rows
from sweeper.results.records import SweepResults, TrialRecord, judge_trial
from sweeper.results.scoring import is_nan
from sweeper.results.spread import spread_of
from sweeper.search.configuration import flatten_parameters

__all__ = ["history_frame", "lineage_frame", "trials_frame", "write_parquet"]


# Columns of `trials_frame` that are ours, whatever a trial reports.
_OWN = (
    *("trial_id", "of", "seeds", "state", "score", "deviation", "replicas", "reason", "error"),
    *("retries", "started", "ended"),
)


def trials_frame(results: SweepResults, objective: Objective) -> pd.DataFrame:
    """One row per trial: state, score, parameters under their dotted names, the last metrics.

    What the search varied stands between ``error`` and the metrics.

    - ``score`` (float64): by the objective; NaN for a trial without one.
    - ``deviation`` (float64): of its replicas' own scores, with n - 1; NaN below two.
    - ``replicas`` (int64): how many have a score of their own.
    - ``of`` and ``seeds`` (text), of a confirmation's trials: whom it trains again, and on which
      seeds, as ``[0, 1, 2]``.

    A parameter with the name of a metric, or of a column above, is in the column
    ``config.<name>``; a metric with the name of such a column in ``metric.<name>``.
    """
    rows = [
        {
            "trial_id": record.trial_id,
            **({"of": record.of, "seeds": json.dumps(record.seeds)} if record.of else {}),
            "state": str(record.state),
            **_score_columns(record, objective),
            "reason": record.reason,
            "error": record.error,
            **_parameter_columns(record, record.parameters, _OWN),
            **{f"metric.{k}" if k in _OWN else k: v for k, v in record.last_report.items()},
            "retries": record.retries,
            "started": record.started,
            "ended": record.ended,
        }
        for record in results.trials
    ]
    return pd.DataFrame(rows, columns=None if rows else ["trial_id", "state", "reason", "error"])


def _score_columns(record: TrialRecord, objective: Objective) -> dict[str, Any]:
    score, spread = judge_trial(record, objective).value, spread_of(record, objective)
    deviation = None if spread is None else spread.deviation
    return {
        "score": math.nan if score is None else score,
        "deviation": math.nan if deviation is None else deviation,
        "replicas": 0 if spread is None else len(spread.values),
    }


def history_frame(results: SweepResults) -> pd.DataFrame:
    """One row per trial and report, with the parameters of that time beside the metrics."""
    rows = [
        {
            "trial_id": record.trial_id,
            **_parameter_columns(record, record.parameters_at(index)),
            **report,
        }
        for record in results.trials
        for index, report in enumerate(record.reports)
    ]
    return pd.DataFrame(rows, columns=None if rows else ["trial_id"])


def lineage_frame(results: SweepResults) -> pd.DataFrame:
    """One row per exchange of a population: see `lineage.lineage_rows`."""
    rows = lineage_rows(results)
    return pd.DataFrame(rows, columns=None if rows else ["env_steps", "trial_id", "donor"])


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame to a Parquet file, completely or not at all.

    A column of values that Parquet can't hold together, or at all, becomes JSON.

    Raises:
        OSError: the file can't be written.
    """
    frame = frame.copy(deep=False)
    for column in frame.columns:
        if frame[column].dtype != object:
            continue
        values = [None if is_nan(value) else value for value in frame[column]]
        if not _is_storable(values):
            values = [None if value is None else json.dumps(to_json(value)) for value in values]
        frame[column] = pd.Series(values, dtype=object, index=frame.index)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        frame.to_parquet(temporary, index=False)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _is_storable(values: list[Any]) -> bool:
    """Whether the values can be one column: its type, and that of lists and mappings, is one."""
    import pyarrow
    from pyarrow import parquet

    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1 and not kinds <= {int, float, bool}:
        return False
    try:
        table = pyarrow.table({"values": pyarrow.array(values, from_pandas=True)})
        parquet.write_table(table, pyarrow.BufferOutputStream())
    except (pyarrow.ArrowException, ValueError, OverflowError):
        return False
    return True


def _parameter_columns(
    record: TrialRecord, parameters: Mapping[str, Any], others: Container[str] = ()
) -> dict[str, Any]:
    return {
        f"config.{name}" if name in record.last_report or name in others else name: value
        for name, value in flatten_parameters(parameters).items()
    }
