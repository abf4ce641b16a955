"""Read the reports of one Ray Tune trial, under Tune's names and ours."""

from __future__ import annotations

import csv
import io
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.json_values import LARGEST, parse_json
from sweeper.metrics import ITERATION, canonical_metric
from sweeper.results.scoring import as_float
from sweeper.results.tune_import.files import read_file

__all__ = ["Row", "as_row", "finite_time", "plain", "read_rows"]

_MAX_TIME = 1e11  # seconds; `datetime` knows no year 5138

_logger = logging.getLogger(__name__)

# Tune adds these to each row for its own use.
_BOOKKEEPING = frozenset(
    {
        "checkpoint_dir_name",
        "config",
        "date",
        "done",
        "experiment_tag",
        "hostname",
        "iterations_since_restore",
        "node_ip",
        "pid",
        "should_checkpoint",
        "time_since_restore",
        "time_this_iter_s",
        "timestamp",
        "trial_id",
    }
)


@dataclass(frozen=True)
class Row:
    """One report as Tune wrote it (``raw``), and its metrics under our names."""

    raw: Mapping[str, Any]
    metrics: Mapping[str, Any]


def read_rows(folder: Path) -> list[Row]:
    """A trial's reports in order, one per iteration, from ``result.json`` or ``progress.csv``."""
    rows: list[Row] = []
    for raw in _raw_rows(folder):
        row = as_row(raw)
        # After a failure Tune resumes from the last checkpoint and reports iterations again.
        while rows and _iteration(raw) <= _iteration(rows[-1].raw):
            rows.pop()
        rows.append(row)
    return rows


def _iteration(raw: Mapping[str, Any]) -> float:
    """A report's iteration; NaN, which is not before any other, if it has none."""
    iteration = raw.get(ITERATION)
    return iteration if isinstance(iteration, int) else math.nan


def _raw_rows(folder: Path) -> Iterator[Mapping[str, Any]]:
    text = read_file(folder / "result.json")
    if text is None:
        yield from _raw_csv_rows(folder)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            document = parse_json(line)
        except ValueError:
            _logger.warning("%s:%d: dropped a damaged line", folder / "result.json", number)
            continue
        if isinstance(document, dict):
            yield document


def _raw_csv_rows(folder: Path) -> Iterator[Mapping[str, Any]]:
    text = read_file(folder / "progress.csv")
    lines = csv.DictReader(io.StringIO(text or "", newline=""))
    try:
        for line in lines:
            yield {
                name: _parse_cell(cell)
                for name, cell in line.items()
                if isinstance(name, str) and isinstance(cell, str) and cell
            }
    except csv.Error as error:
        where = folder / "progress.csv"
        _logger.warning("%s:%d: damaged, the rest is not read: %s", where, lines.line_num, error)


def _parse_cell(cell: str) -> Any:
    if cell in ("True", "False"):
        return cell == "True"
    for kind in (int, float):
        try:
            number = kind(cell)
        except ValueError:
            continue
        return number if isinstance(number, float) or abs(number) <= LARGEST else float(cell)
    return cell


def as_row(raw: Mapping[str, Any]) -> Row:
    """Convert a report from Tune's form, nested or flat."""
    flat = {
        name: value
        for name, value in _flatten(raw, "")
        if name not in _BOOKKEEPING and not name.startswith("config/") and _is_fit(name, value)
    }
    metrics = {canonical_metric(name): value for name, value in flat.items()}
    # If two names become the same, the one that was ours already wins.
    metrics.update({name: value for name, value in flat.items() if canonical_metric(name) == name})
    return Row(raw, metrics)


def _is_fit(name: str, value: Any) -> bool:
    """Whether a value is what our name promises: under ``replica/``, one for each replica."""
    is_list = isinstance(value, list) and all(isinstance(one, int | float | None) for one in value)
    return is_list or not canonical_metric(name).startswith("replica/")


def _flatten(nested: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        if not prefix and key in _BOOKKEEPING:
            continue
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", plain(value)


def plain(value: Any) -> Any:
    """Convert to plain Python data: arrays to lists, objects to text, pickles to their kind.

    Unlike `json_values.to_json` it keeps NaN and infinities, which are metrics here.
    """
    if isinstance(value, Mapping):
        if "_type" in value and "value" in value:
            return f"<{str(value['_type']).lower()}>"
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.tolist() if hasattr(value, "tolist") else str(value)


def finite_time(value: Any) -> float | None:
    """A time in seconds since the epoch; None for anything else."""
    time = as_float(value)
    return time if time is not None and 0 <= time <= _MAX_TIME else None
