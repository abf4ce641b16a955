"""Read the results of a Ray Tune experiment that was made without a spec of ours.

A folder is read without Ray and without unpickling: Tune's own restore would run code from the
files. What Tune does not record stays unknown; nothing is guessed. The object that
``Tuner.fit()`` returned also has the metrics of the checkpoints.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from sweeper.errors import UserError
from sweeper.metrics import ITERATION, Objective, canonical_metric
from sweeper.paths import is_run
from sweeper.results.records import SweepResults, TrialCheckpoint, TrialRecord
from sweeper.results.scoring import as_float, is_nan
from sweeper.results.tune_import.files import (
    find_state,
    find_trials,
    is_folder,
    is_name,
    parse_mapping,
    read_file,
    read_mapping,
)
from sweeper.results.tune_import.rows import Row, as_row, finite_time, plain, read_rows
from sweeper.search.configuration import flatten_parameters
from sweeper.states import FailureReason, LaunchEnd, TrialState

__all__ = ["find_objective", "is_tune_experiment", "open_tune"]

_logger = logging.getLogger(__name__)

_UNFINISHED = "not finished when Tune last wrote its state"
_UNRECORDED = "no record of its end"
# A save follows its report at once. A folder much younger than the last report was copied, so its
# time means nothing.
_LONGEST_SAVE_S = 600.0
_MAX_RETRIES = 2**31
_MAX_DEPTH = 50  # of a configuration
_CHECKPOINT = re.compile(r"checkpoint_(\d+)$")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def open_tune(source: Any) -> SweepResults:
    """Open a Tune experiment.

    Args:
        source: its folder (``<storage_path>/<name>``, or that of a single trial), or the
            ``ResultGrid`` that ``Tuner.fit()`` returned.

    Raises:
        UserError: there is no experiment in the folder.
    """
    if isinstance(source, str | Path):
        return _open_folder(Path(source).absolute())
    return _open_grid(source)


def is_tune_experiment(folder: Path) -> bool:
    """Whether `open_tune` finds an experiment in a folder; a run of ours does not count."""
    if not folder.is_dir() or is_run(folder):
        return False
    has_state = find_state(folder) is not None
    return has_state or bool(find_trials(folder))


def find_objective(
    source: Any, *, metric: str | None = None, mode: str | None = None, score: str | None = None
) -> Objective:
    """The objective to judge an experiment by: as given, or as it was tuned by.

    Tune's files hold the metric but not its mode; the object that ``fit()`` returned has both.
    Only of a return is the mode assumed: ``max``.

    Args:
        source: as `open_tune` takes it.
        metric: under Tune's name or ours.
        mode: ``max`` or ``min``.
        score: ``last`` (the default), ``best`` or ``auc``.

    Raises:
        UserError: the metric's mode is unknown.
    """
    tuned_by, tuned_mode = _recorded_objective(source)
    chosen = canonical_metric(metric or tuned_by or Objective.metric)
    if mode is None and chosen == tuned_by:
        mode = tuned_mode
    if mode is None and not chosen.endswith("episode_return_mean"):
        raise UserError(
            f"is more {chosen} better, or less? Tune does not record it: give the mode, max or min"
        )
    return Objective(metric=chosen, mode=mode or "max", score=score or Objective.score)


def _recorded_objective(source: Any) -> tuple[str | None, str | None]:
    if isinstance(source, str | Path):
        path = find_state(Path(source))
        runner = read_mapping(path).get("runner_data") if path else None
        metric = runner.get("_metric") if isinstance(runner, dict) else None
        mode = None
    else:
        analysis = getattr(source, "_experiment_analysis", None)
        metric = getattr(analysis, "default_metric", None)
        mode = getattr(analysis, "default_mode", None)
    return (canonical_metric(metric) if isinstance(metric, str) else None), mode


@dataclass(frozen=True)
class _TuneState:
    """Tune's own state of one trial."""

    trial: Mapping[str, Any] = field(default_factory=dict)
    runtime: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder_name(self) -> str:
        """The name of the trial's folder, which lies in the experiment's and nowhere else."""
        names = (self.trial.get(key) for key in ("relative_logdir", "trial_id"))
        return next((str(name) for name in names if is_name(name)), "unknown")


def _open_folder(root: Path) -> SweepResults:
    if not is_tune_experiment(root):
        raise UserError(
            f"no Ray Tune experiment in {root}: give the folder with experiment_state-*.json, "
            "or with one folder per trial that holds result.json"
        )
    by_name = {state.folder_name: state for state in _read_states(root)}
    records = []
    for folder in find_trials(root):
        state = by_name.pop(folder.name, None) or _TuneState()
        records.append(_read_trial(root, folder, state))
    # Trials without a file: not started, or failed at the start.
    records.extend(_read_trial(root, root / name, state) for name, state in by_name.items())
    return _results(root, records)


def _results(root: Path, records: Iterable[TrialRecord]) -> SweepResults:
    trials = tuple(sorted(_with_parameters(list(records)), key=lambda record: record.trial_id))
    is_finished = all(record.state.is_over for record in trials)
    times = [time for record in trials for time in (record.started, record.ended) if time]
    return SweepResults(
        root=root,
        trials=trials,
        ended_by=LaunchEnd.FINISHED if is_finished else None,
        started=min(times, default=None),
        updated=max(times, default=None),
    )


def _read_trial(root: Path, folder: Path, state: _TuneState) -> TrialRecord:
    is_there = folder == root or is_folder(folder)
    rows = read_rows(folder) if is_there else []
    last_result = state.runtime.get("last_result")
    if not rows and isinstance(last_result, Mapping) and ITERATION in last_result:
        rows = [as_row(last_result)]  # no logger kept a history
    first, last = (rows[0].raw, rows[-1].raw) if rows else ({}, {})
    config = state.trial.get("config")
    configuration = read_mapping(folder / "params.json") if is_there else {}
    if not configuration and isinstance(config, dict):
        configuration = {name: plain(value) for name, value in config.items()}
    error = _read_error(folder / "error.txt") if is_there else None
    status = state.trial.get("status")
    if status is None:
        status = TrialState.ERROR if error else TrialState.TERMINATED if last.get("done") else None
    is_error = status == TrialState.ERROR
    reason: str | None = FailureReason.CRASHED if is_error else None
    if not is_error and status != TrialState.TERMINATED:
        reason = _UNRECORDED if status is None else _UNFINISHED
        status = TrialState.PAUSED
    evaluated = state.trial.get("evaluated_params")
    evaluated = evaluated if isinstance(evaluated, dict) else {}
    failures = as_float(state.runtime.get("num_failures")) or 0.0
    return TrialRecord(
        trial_id=str(state.trial.get("trial_id") or last.get("trial_id") or folder.name),
        state=TrialState(str(status)),
        reason=reason,
        error=error if is_error else None,
        configuration=configuration,
        parameters=_nest({name: plain(value) for name, value in evaluated.items()}),
        reports=tuple(row.metrics for row in rows),
        checkpoints=tuple(_read_checkpoints(root, folder, rows)) if is_there else (),
        log=folder / "error.txt" if error else None,
        node=str(last["node_ip"]) if "node_ip" in last else None,
        started=finite_time(state.runtime.get("start_time")) or finite_time(first.get("timestamp")),
        ended=finite_time(state.runtime.get("last_result_time"))
        or finite_time(last.get("timestamp")),
        retries=int(min(max(0.0, failures - is_error), _MAX_RETRIES)),
    )


def _with_parameters(records: list[TrialRecord]) -> list[TrialRecord]:
    """If Tune's state does not tell what was searched, take what differs between the trials."""
    if any(record.parameters for record in records) or len(records) < 2:
        return records
    flat = [flatten_parameters(record.configuration) for record in records]
    names = list(dict.fromkeys(name for item in flat for name in item))
    varied = [
        name
        for name in names
        if len({json.dumps(item.get(name), sort_keys=True, default=str) for item in flat}) > 1
    ]
    return [
        dataclasses.replace(
            record, parameters=_nest({name: item[name] for name in varied if name in item}, ".")
        )
        for record, item in zip(records, flat, strict=True)
    ]


# --- checkpoints -----------------------------------------------------------------------------


def _read_checkpoints(root: Path, folder: Path, rows: Sequence[Row]) -> Iterator[TrialCheckpoint]:
    found = sorted(
        (int(match[1]), entry)
        for entry in folder.glob("checkpoint_*")
        if (match := _CHECKPOINT.match(entry.name)) and is_folder(entry)
    )
    owners = _match_reports(found, rows)
    for (_, path), owner in zip(found, owners, strict=True):
        yield TrialCheckpoint(_relative(path, root), {} if owner is None else rows[owner].metrics)


def _match_reports(found: Sequence[tuple[int, Path]], rows: Sequence[Row]) -> list[int | None]:
    """Find the report that each checkpoint was made after; None where that is ambiguous.

    If the trainable is a function, the row names the checkpoint. If it is a class, two facts
    narrow it down: the k-th checkpoint was the k-th made, at most one per report, and its
    folder's time lies between its report and the next one.
    """
    named = {
        name: index
        for index, row in enumerate(rows)
        if isinstance(name := row.raw.get("checkpoint_dir_name"), str)
    }
    if named:
        return [named.get(path.name) for _, path in found]
    if not found or not rows:
        return [None] * len(found)
    ranges = [_possible_reports(index, path, rows) for index, path in found]
    gaps = [right[0] - left[0] for left, right in pairwise(found)]
    for index, gap in enumerate(gaps):
        low, high = ranges[index + 1]
        ranges[index + 1] = (max(low, ranges[index][0] + gap), high)
    for index, gap in reversed(list(enumerate(gaps))):
        low, high = ranges[index]
        ranges[index] = (low, min(high, ranges[index + 1][1] - gap))
    if any(low > high for low, high in ranges):
        return [None] * len(found)
    return [low if low == high else None for low, high in ranges]


def _possible_reports(index: int, path: Path, rows: Sequence[Row]) -> tuple[int, int]:
    low, high = index, len(rows) - 1
    times = [finite_time(row.raw.get("timestamp")) for row in rows]
    made = path.stat().st_mtime
    if any(time is None for time in times) or made > (times[-1] or 0.0) + _LONGEST_SAVE_S:
        return low, high
    # Tune writes whole seconds: a report of second t was made before t + 1.
    before = [i for i, time in enumerate(times) if time is not None and time <= made]
    after = [i for i, time in enumerate(times) if time is not None and time + 1 > made]
    return max(low, min(after, default=len(rows)) - 1), min(high, max(before, default=-1))


# --- what fit() returned ---------------------------------------------------------------------


def _open_grid(grid: Any) -> SweepResults:
    results = list(getattr(grid, "_results", None) or grid)
    location = str(getattr(grid, "experiment_path", "") or "")
    root = Path(location).absolute()
    on_disk: dict[str, TrialRecord] = {}
    if location and is_tune_experiment(root):
        on_disk = {record.trial_id: record for record in _open_folder(root).trials}
    records = [_from_result(root, result, on_disk) for result in results]
    return _results(root, records)


def _from_result(root: Path, result: Any, on_disk: Mapping[str, TrialRecord]) -> TrialRecord:
    metrics: Mapping[str, Any] = getattr(result, "metrics", None) or {}
    path = Path(str(getattr(result, "path", "") or ""))
    trial_id = str(metrics.get("trial_id") or path.name)
    error = getattr(result, "error", None)
    record = on_disk.get(trial_id)
    if record is None:
        rows = _history(result)
        record = TrialRecord(
            trial_id=trial_id,
            state=TrialState.ERROR if error else TrialState.TERMINATED,
            reason=FailureReason.CRASHED if error else None,
            configuration=plain(getattr(result, "config", None) or metrics.get("config") or {}),
            reports=tuple(row.metrics for row in rows),
            node=metrics.get("node_ip"),
            ended=finite_time(metrics.get("timestamp")),
        )
    checkpoints = {item.path: item for item in record.checkpoints}
    for checkpoint, its_metrics in _result_checkpoints(result):
        key = _relative(Path(str(checkpoint.path)), root)
        checkpoints[key] = TrialCheckpoint(key, as_row(its_metrics).metrics)
    return dataclasses.replace(
        record,
        error=_last_line(str(error)) if error and not record.error else record.error,
        checkpoints=tuple(checkpoints[key] for key in sorted(checkpoints, key=_checkpoint_key)),
    )


def _result_checkpoints(result: Any) -> list[tuple[Any, Mapping[str, Any]]]:
    pairs = [
        (checkpoint, metrics or {})
        for checkpoint, metrics in (getattr(result, "best_checkpoints", None) or [])
    ]
    latest = getattr(result, "checkpoint", None)
    if latest is not None and all(latest.path != checkpoint.path for checkpoint, _ in pairs):
        pairs.append((latest, {}))
    return pairs


def _history(result: Any) -> list[Row]:
    frame = getattr(result, "metrics_dataframe", None)
    metrics = getattr(result, "metrics", None) or {}
    rows: list[Row] = []
    if frame is not None and len(frame):
        # A missing value is NaN in a table, too. The last report is taken from `metrics` instead.
        rows = [
            as_row({name: value for name, value in row.items() if not is_nan(value)})
            for row in frame.to_dict("records")[:-1]
        ]
    if metrics:
        rows.append(as_row(metrics))
    return rows


# --- files and values ------------------------------------------------------------------------


def _read_states(root: Path) -> list[_TuneState]:
    path = find_state(root)
    states = []
    pairs = read_mapping(path).get("trial_data", []) if path else []
    for pair in pairs if isinstance(pairs, list) else []:
        try:
            trial, runtime = map(parse_mapping, pair)
        except (ValueError, TypeError):
            _logger.warning("%s: a trial's state can't be read", path)
            continue
        states.append(_TuneState(trial, runtime))
    return states


def _read_error(path: Path) -> str | None:
    text = read_file(path)
    return None if text is None else _last_line(text) or "unknown"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in _COLOURS.sub("", text).splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _nest(flat: Mapping[str, Any], separator: str = "/") -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, key = name.split(separator)
        if len(parents) > _MAX_DEPTH:
            *parents, key = (name,)
        level = nested
        for parent in parents:
            below = level.setdefault(parent, {})
            if not isinstance(below, dict):
                below = level[parent] = {}
            level = below
        level[key] = value
    return nested


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _checkpoint_key(path: str) -> tuple[int, str]:
    match = _CHECKPOINT.search(path)
    return (int(match[1]) if match else -1), path
