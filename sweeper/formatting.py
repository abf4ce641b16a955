"""Numbers, times, sizes, parameters and paths for people, short and the same in every view."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sweeper.hints import show
from sweeper.search.configuration import flatten_parameters
from sweeper.states import TrialState
from sweeper.storage.address import address_of

__all__ = [
    "align_columns",
    "count_noun",
    "describe_counts",
    "describe_state",
    "fold_parameters",
    "format_bytes",
    "format_clock",
    "format_duration",
    "format_number",
    "format_parameters",
    "format_value",
    "last_line",
    "short_names",
    "short_path",
]

_LONGEST_S = 86400e6

_STATE_WORDS: dict[str, str] = {
    TrialState.TERMINATED: "done",
    TrialState.PRUNED: "pruned",
    TrialState.ERROR: "failed",
    TrialState.RUNNING: "running",
    TrialState.PENDING: "waiting",
    TrialState.PAUSED: "paused",
}


def format_duration(seconds: float) -> str:
    """``42s``, ``3m07s``, ``2h05m``, ``3d04h``; ``-`` for NaN and infinities."""
    if not math.isfinite(seconds):
        return "-"
    if seconds >= _LONGEST_S:
        return f"{seconds / 86400:.3g}d"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def format_score(score: float | None, diverged: int = 0) -> str:
    """A score, and how many replicas are frozen and count in it as the run's worst."""
    return format_number(score) + (f" ({diverged} frozen)" if diverged else "")


def format_number(value: Any) -> str:
    """A number with at most 4 significant digits; ``-`` for None, other values as text."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e6):
        return f"{int(value):,}" if abs(value) >= 10_000 else str(int(value))
    if 10_000 <= abs(value) < 1e6:
        return f"{float(f'{value:.4g}'):,.0f}"
    return f"{value:.4g}"


def format_value(value: Any) -> str:
    """A hyperparameter as a spec writes it (``true``, ``.inf``), numbers by `format_number`."""
    is_non_finite = isinstance(value, float) and not math.isfinite(value)
    if value is None or isinstance(value, bool) or is_non_finite:
        return show(value)
    return format_number(value)


def format_parameters(parameters: Mapping[str, Any], *, is_short: bool = False) -> str:
    """``lr=0.0003 model_config.vf_share_layers=true``.

    Args:
        parameters: nested or flat.
        is_short: cut dotted names by `short_names`.
    """
    flat = flatten_parameters(parameters)
    names = short_names(list(flat)) if is_short else flat
    return " ".join(
        f"{name}={format_value(value)}" for name, value in zip(names, flat.values(), strict=True)
    )


def short_names(names: Sequence[str]) -> list[str]:
    """Cut dotted names to their last part, except where two would become the same."""
    lasts = [name.rpartition(".")[2] for name in names]
    return [
        last if lasts.count(last) == 1 else name for name, last in zip(names, lasts, strict=True)
    ]


def fold_parameters(text: str, width: float, max_lines: int | None = None) -> list[str]:
    """Break the text of `format_parameters` into lines, between parameters.

    Args:
        text: what `format_parameters` returned.
        width: in characters; a longer parameter gets a line of its own.
        max_lines: the last of them may be longer than ``width``.
    """
    lines: list[str] = []
    for parameter in re.split(r" (?=[\w.]+=)", text):
        if lines and (len(lines) == max_lines or len(lines[-1]) + len(parameter) < width):
            lines[-1] += f" {parameter}"
        else:
            lines.append(parameter)
    return [line for line in lines if line]


def format_bytes(size: float) -> str:
    """``512 B``, ``1.5 kB``, ``20 MB``, ``3.1 GB``: powers of ten, like ``df -H``."""
    units = ["TB", "GB", "MB", "kB", "B"]
    while size >= 999.5 and len(units) > 1:
        units.pop()
        size /= 1000
    digits = 1 if size < 9.95 and units[-1] != "B" else 0
    return f"{size:.{digits}f} {units[-1]}"


def format_clock(moment: float, now: float) -> str:
    """The time of day, with the date if it is not today: ``14:32``, ``Nov 25 03:10``.

    ``-`` for a time that no calendar has.
    """
    try:
        then = datetime.fromtimestamp(moment)
    except (ValueError, OverflowError, OSError):
        return "-"
    is_today = then.date() == datetime.fromtimestamp(now).date()
    return f"{then:%H:%M}" if is_today else f"{then:%b %d %H:%M}"


def count_noun(number: int, noun: str) -> str:
    """``1 trial``, ``2 trials``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def describe_state(state: str) -> str:
    """A trial's state in plain words: ``done`` for Tune's ``TERMINATED``."""
    return _STATE_WORDS.get(state, state)


def describe_counts(counts: Mapping[TrialState, int], total: int) -> str:
    """``3 of 32 done, 2 pruned, 1 failed, 2 running``."""
    parts = [f"{counts.get(TrialState.TERMINATED, 0)} of {total} done"]
    parts += [
        f"{counts[state]} {_STATE_WORDS[state]}"
        for state in TrialState
        if state not in (TrialState.TERMINATED, TrialState.PENDING) and counts.get(state)
    ]
    return ", ".join(parts)


def align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row, with every column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def last_line(text: str) -> str:
    """The last line that isn't blank; empty if there is none."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""


def short_path(path: str | Path | None) -> str:
    """A path, relative if it lies below the working directory; ``-`` for None.

    What stands for a folder in a bucket is shown as that.
    """
    if path is None:
        return "-"
    place = Path(path)
    if not place.is_file() and (address := address_of(place)) is not None:
        return str(address)
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)
