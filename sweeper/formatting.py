"""Numbers, times, sizes, parameters and paths in few characters, the same in every view."""

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

__all__ = [
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
    "short_path",
    "shorten_names",
]

_STATE_WORDS: dict[str, str] = {
    TrialState.TERMINATED: "done",
    TrialState.PRUNED: "pruned",
    TrialState.ERROR: "failed",
    TrialState.RUNNING: "running",
    TrialState.PENDING: "waiting",
    TrialState.PAUSED: "paused",
}


def format_duration(seconds: float) -> str:
    """``42s``, ``3m07s``, ``2h05m``, ``3d04h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def format_number(value: Any) -> str:
    """A number in at most 4 significant digits, anything else as it is; ``-`` for nothing."""
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
    """A hyperparameter as a spec has it, numbers as `format_number` does: ``true``, ``.inf``."""
    if value is None or isinstance(value, bool):
        return show(value)
    if isinstance(value, float) and not math.isfinite(value):
        return show(value)
    return format_number(value)


def format_parameters(parameters: Mapping[str, Any]) -> str:
    """``lr=0.0003 model_config.vf_share_layers=true``."""
    return _join_parameters(flatten_parameters(parameters))


def shorten_names(parameters: Mapping[str, Any]) -> str:
    """As `format_parameters`, with names cut to their last part where that tells them apart."""
    flat = flatten_parameters(parameters)
    return _join_parameters(dict(zip(last_parts(list(flat)), flat.values(), strict=True)))


def last_parts(names: Sequence[str]) -> list[str]:
    """Dotted names cut to their last part, those that would be the same then left as they are."""
    lasts = [name.rpartition(".")[2] for name in names]
    return [
        last if lasts.count(last) == 1 else name for name, last in zip(names, lasts, strict=True)
    ]


def fold_parameters(words: str, width: int, most: int | None = None) -> list[str]:
    """Break what `format_parameters` made between parameters, into lines of a width.

    Args:
        words: as it made them.
        width: in characters; a parameter that is longer has a line of its own.
        most: so many lines at most, the last one then of any width.
    """
    lines: list[str] = []
    for word in re.split(r" (?=[\w.]+=)", words):
        if lines and (len(lines) == most or len(lines[-1]) + len(word) < width):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return [line for line in lines if line]


def _join_parameters(flat: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={format_value(value)}" for name, value in flat.items())


def format_bytes(size: float) -> str:
    """``512 B``, ``1.5 kB``, ``20 MB``, ``3.1 GB``: powers of ten, as ``df -H`` has them."""
    units = ("B", "kB", "MB", "GB", "TB")
    for unit in units:
        if size < 999.5 or unit == units[-1]:
            digits = 1 if size < 9.95 and unit != "B" else 0
            return f"{size:.{digits}f} {unit}"
        size /= 1000
    raise AssertionError(size)


def format_clock(moment: float, now: float) -> str:
    """The time of day, with the date where it is another day: ``14:32``, ``Nov 25 03:10``."""
    then = datetime.fromtimestamp(moment)
    is_today = then.date() == datetime.fromtimestamp(now).date()
    return f"{then:%H:%M}" if is_today else f"{then:%b %d %H:%M}"


def count_noun(number: int, noun: str) -> str:
    """``1 trial``, ``2 trials``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def describe_state(state: str) -> str:
    """A trial's state as people read it: ``done`` for Tune's ``TERMINATED``."""
    return _STATE_WORDS.get(state, state)


def describe_counts(counts: Mapping[TrialState, int], total: int) -> str:
    """Trials by state in plain words: ``3 of 32 done, 2 pruned, 1 failed, 2 running``."""
    parts = [f"{counts.get(TrialState.TERMINATED, 0)} of {total} done"]
    parts += [
        f"{counts[state]} {_STATE_WORDS[state]}"
        for state in TrialState
        if state not in (TrialState.TERMINATED, TrialState.PENDING) and counts.get(state)
    ]
    return ", ".join(parts)


def short_path(path: str | Path | None) -> str:
    """A path relative to the working directory where it lies below it."""
    if path is None:
        return "-"
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)
