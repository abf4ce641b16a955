"""Numbers, times, parameters and paths in few characters, the same in every view."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeper.records import flatten_parameters

__all__ = ["format_duration", "format_number", "format_parameters", "short_path"]


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
    return f"{value:.4g}"


def format_parameters(parameters: Mapping[str, Any]) -> str:
    """``lr=0.0003 model_config.vf_share_layers=True``."""
    flat = flatten_parameters(parameters)
    return " ".join(f"{name}={format_number(value)}" for name, value in flat.items())


def short_path(path: str | Path | None) -> str:
    """A path relative to the working directory where it lies below it."""
    if path is None:
        return "-"
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return str(path)
