"""A run's trials as pandas tables, with plain columns: numbers, truth values and text.

A parameter that is a list or a mapping is its JSON text, so that a table can be grouped by it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sweeper.json_values import to_json
from sweeper.metrics import ENV_STEPS, ITERATION, Objective, examined_metric
from sweeper.results.lineage import lineage_rows
from sweeper.results.records import SweepResults, TrialRecord, judge_trial
from sweeper.results.scoring import as_float, is_nan
from sweeper.results.spread import spread_of
from sweeper.search.configuration import flatten_parameters
from sweeper.states import TrialState

__all__ = [
    "confirmation_frame",
    "history_frame",
    "lineage_frame",
    "replicas_frame",
    "trials_frame",
    "write_parquet",
]

_REPLICA = "replica/"  # before the name of a metric, a list with one value per replica

_AGAIN = ("of", "seeds")  # columns of a confirmation's trials only
# Columns of `trials_frame` that are ours, whatever a trial reports.
_OWN = (
    *("trial_id", "of", "seeds", "state", "score", "deviation", "replicas", "reason", "error"),
    *("retries", "started", "ended"),
)


def trials_frame(results: SweepResults, objective: Objective) -> pd.DataFrame:
    """One row per trial: state, score, parameters under their dotted names, the last metrics.

    What the search varied stands between ``error`` and the metrics. Each replica's own values are
    in `replicas_frame`.

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
            **{f"metric.{k}" if k in _OWN else k: v for k, v in _metrics(record.last_report)},
            "retries": record.retries,
            "started": record.started,
            "ended": record.ended,
        }
        for record in results.trials
    ]
    return pd.DataFrame(
        rows, columns=None if rows else [name for name in _OWN if name not in _AGAIN]
    )


def _score_columns(record: TrialRecord, objective: Objective) -> dict[str, Any]:
    score, spread = judge_trial(record, objective).value, spread_of(record, objective)
    deviation = None if spread is None else spread.deviation
    return {
        "score": math.nan if score is None else score,
        "deviation": math.nan if deviation is None else deviation,
        "replicas": 0 if spread is None else len(spread.values),
    }


def history_frame(results: SweepResults) -> pd.DataFrame:
    """One row per trial and report, with the parameters of that time beside the metrics.

    An evaluation's values stay until the next one; ``evaluation/is_new`` says which report an
    evaluation was made for. Each replica's own values are in `replicas_frame`.
    """
    rows = [
        {
            "trial_id": record.trial_id,
            **_parameter_columns(record, record.parameters_at(index)),
            **dict(_metrics(report)),
        }
        for record in results.trials
        for index, report in enumerate(record.reports)
    ]
    return pd.DataFrame(rows, columns=None if rows else ["trial_id"])


def replicas_frame(results: SweepResults) -> pd.DataFrame:
    """One row per trial, report and replica.

    - ``trial_id``, ``replica`` (int64, from 0) and ``seed`` (NaN where the run recorded none);
    - ``training_iteration``, ``num_env_steps_sampled_lifetime``, ``time_total_s`` and
      ``evaluation/is_new`` of the report, as far as it has them;
    - every metric of which each replica has a value, under its own name; NaN for one that has
      none yet. Whether it has diverged is in ``diverged``; it then has the run's worst value.
    """
    rows = [
        {"trial_id": record.trial_id, **row}
        for record in results.trials
        for report in record.reports
        for row in _replica_rows(record, report)
    ]
    return pd.DataFrame(rows, columns=None if rows else ["trial_id", "replica", "seed"])


_OF_REPORT = (ITERATION, ENV_STEPS, "time_total_s", "evaluation/is_new")


def _replica_rows(record: TrialRecord, report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    lists = {
        name.removeprefix(_REPLICA): values
        for name, values in report.items()
        if name.startswith(_REPLICA) and isinstance(values, list)
    }
    known = {name: report[name] for name in _OF_REPORT if name in report}
    for place in range(max(map(len, lists.values()), default=0)):
        seed = record.seeds[place] if place < len(record.seeds) else math.nan
        own = {name: values[place] for name, values in lists.items() if place < len(values)}
        yield {"replica": place, "seed": seed, **known, **own}


def confirmation_frame(results: SweepResults, objective: Objective) -> pd.DataFrame:
    """One row per configuration and training run of the confirmation; empty without one.

    - ``of`` (text): the search's trial that was trained again, or ``baseline``;
    - ``trial_id`` (text), of the confirmation, ``state`` (text), ``replica`` and ``seed`` (int64);
    - ``value`` (float64): what its episodes came to, the run's worst for one that has diverged;
      NaN for one that failed or is not over;
    - ``diverged`` (bool), ``env_steps`` (float64) and ``time_total_s`` (float64): of its trial.

    Runs that an earlier rule of the confirmation judged are left out, as in the verdict.
    """
    metric = examined_metric(objective.metric)
    rows = [
        {
            "of": record.of,
            "trial_id": record.trial_id,
            "state": str(record.state),
            "replica": place,
            "seed": seed,
            "value": _value_of(record, f"{_REPLICA}{metric}", place),
            "diverged": bool(_listed(record.last_report, "replica/diverged", place)),
            "env_steps": math.nan if record.env_steps is None else float(record.env_steps),
            "time_total_s": math.nan if record.time_total_s is None else record.time_total_s,
        }
        for record in results.retrained
        if not record.is_outdated
        for place, seed in enumerate(record.seeds)
    ]
    return pd.DataFrame(rows, columns=_OF_CONFIRMATION)


_OF_CONFIRMATION = [
    *("of", "trial_id", "state", "replica", "seed", "value", "diverged", "env_steps"),
    "time_total_s",
]


def _value_of(record: TrialRecord, name: str, place: int) -> float:
    if record.state is TrialState.ERROR:
        return math.nan
    value = as_float(_listed(record.last_report, name, place))
    return math.nan if value is None else value


def _listed(report: Mapping[str, Any], name: str, place: int) -> Any:
    values = report.get(name)
    return values[place] if isinstance(values, list) and place < len(values) else None


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
        f"config.{name}" if name in record.last_report or name in others else name: _plain(value)
        for name, value in flatten_parameters(parameters).items()
    }


def _plain(value: Any) -> Any:
    is_nested = isinstance(value, list | tuple | Mapping)
    return json.dumps(to_json(value)) if is_nested else value


def _metrics(report: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """A report's metrics without those of single replicas."""
    return ((name, value) for name, value in report.items() if not name.startswith(_REPLICA))
