"""Read the reports of one Ray Tune trial, under Tune's names and ours."""

from __future__ import annotations

import csv
import json
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.metrics import ITERATION, canonical_metric

__all__ = ["Row", "as_row", "finite_time", "plain", "read_rows"]

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
        iteration = raw.get(ITERATION)
        # After a failure Tune resumes from the last checkpoint and reports iterations again.
        while isinstance(iteration, int) and rows and rows[-1].raw.get(ITERATION, -1) >= iteration:
            rows.pop()
        rows.append(row)
    return rows


def _raw_rows(folder: Path) -> Iterator[Mapping[str, Any]]:
    try:
        lines = (folder / "result.json").read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        yield from _raw_csv_rows(folder)
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
        except ValueError:
            _logger.warning("%s:%d: dropped a damaged line", folder / "result.json", number)
            continue
        if isinstance(document, dict):
            yield document


def _raw_csv_rows(folder: Path) -> Iterator[Mapping[str, Any]]:
    try:
        stream = (folder / "progress.csv").open(encoding="utf-8", errors="replace", newline="")
    except OSError:
        return
    with stream:
        for line in csv.DictReader(stream):
            yield {
                name: _parse_cell(cell)
                for name, cell in line.items()
                if isinstance(name, str) and isinstance(cell, str) and cell
            }


def _parse_cell(cell: str) -> Any:
    if cell in ("True", "False"):
        return cell == "True"
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            pass
    return cell


def as_row(raw: Mapping[str, Any]) -> Row:
    """Convert a report from Tune's form, nested or flat."""
    flat = {
        name: value
        for name, value in _flatten(raw, "")
        if name not in _BOOKKEEPING and not name.startswith("config/")
    }
    metrics = {canonical_metric(name): value for name, value in flat.items()}
    # If two names become the same, the one that was ours already wins.
    metrics.update({name: value for name, value in flat.items() if canonical_metric(name) == name})
    return Row(raw, metrics)


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
    """A finite number as seconds; None for anything else."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
