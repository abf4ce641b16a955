"""Which parameters tell trials apart, as columns that fit a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.formatting import format_value, short_names
from sweeper.search.configuration import flatten_parameters

__all__ = ["Column", "VariedParameters", "fit_columns"]

_MAX_VALUE = 20
_MIN_HEADING = 14  # a heading may be as wide as its values, or as this
_GAP = 2


@dataclass(frozen=True)
class Column:
    """One parameter's column.

    Attributes:
        name: the parameter's, dotted.
        heading: the same, cut short.
        width: in characters.
    """

    name: str
    heading: str
    width: int

    def show(self, flat: Mapping[str, Any]) -> str:
        """A trial's value, aligned right; ``-`` if it has none."""
        text = format_value(flat[self.name]) if self.name in flat else "-"
        return f"{_cut(text, self.width):>{self.width}}"


@dataclass
class VariedParameters:
    """The values of every parameter that the trials of a launch have had so far."""

    _values: dict[str, set[str]] = field(default_factory=dict)
    _added: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def add(self, trial_id: str, parameters: Mapping[str, Any]) -> None:
        """Count a trial's values; the same ones again, or those of an exchange, do no harm."""
        if self._added.get(trial_id) is parameters:
            return
        self._added[trial_id] = parameters
        for name, value in flatten_parameters(parameters).items():
            self._values.setdefault(name, set()).add(format_value(value))

    def columns(self) -> list[Column]:
        """The parameters with several values, those with the most first; all while none has."""
        counts = {name: len(values) for name, values in self._values.items()}
        names = [name for name, count in counts.items() if count > 1] or list(counts)
        names.sort(key=lambda name: -counts[name])  # stable: ties stay in the spec's order
        columns = []
        for name, short in zip(names, short_names(names), strict=True):
            widest = min(_MAX_VALUE, max(map(len, self._values[name])))
            width = min(max(widest, len(short)), max(widest, _MIN_HEADING))
            columns.append(Column(name, _shorten(short, width), width))
        return columns


def fit_columns(columns: list[Column], room: int) -> tuple[list[Column], int]:
    """The first columns that fit, with a gap before each, and how many are left out."""
    shown: list[Column] = []
    for position, column in enumerate(columns):
        is_last = position == len(columns) - 1
        left_out = 0 if is_last else len(f"+{len(columns)}") + _GAP
        if column.width + _GAP + left_out > room:
            break
        shown.append(column)
        room -= column.width + _GAP
    return shown, len(columns) - len(shown)


def _shorten(name: str, width: int) -> str:
    """Leave out the middle of a name: what tells it from others is at either end."""
    if len(name) <= width:
        return name
    tail = (width - 1) // 2
    return f"{name[: width - 1 - tail]}…{name[len(name) - tail :]}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"
