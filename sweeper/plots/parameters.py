"""Searched parameters: where a value lies on an axis, and which of them tell most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.formatting import format_number
from sweeper.hints import show
from sweeper.plots.chart import Axis, categories
from sweeper.plots.source import PlotSource
from sweeper.plots.texts import label_parameters, show_value
from sweeper.results.records import TrialRecord
from sweeper.results.scoring import as_float, is_comparable
from sweeper.search.configuration import flatten_parameters
from sweeper.search.distributions import Distribution

__all__ = ["Parameter", "describe_parameter", "describe_parameters", "most_telling", "value_of"]

_MIN_NUMBERS = 4  # of different values, for an unknown parameter of numbers to be a range
_LOG_SPAN = 50.0
_GROUPS = 4


@dataclass(frozen=True)
class Parameter:
    """A searched parameter on an axis.

    Attributes:
        name: dotted.
        label: short.
        is_number: whether its values lie on a range; if not, they are categories.
        is_log: whether that is a range of orders of magnitude.
        low: the lower end of the axis.
        high: the upper end, above ``low``.
        keys: of categories, each as a text that is the same for equal ones.
        words: the same, short.
    """

    name: str
    label: str
    is_number: bool
    is_log: bool
    low: float
    high: float
    keys: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def place(self, value: Any) -> float:
        """Where a value lies on the axis; NaN for one that has no place there."""
        if not self.is_number:
            key = show(value)
            return float(self.keys.index(key)) if key in self.keys else math.nan
        number = as_float(value)
        if number is None or not is_comparable(number) or (self.is_log and number <= 0):
            return math.nan
        return number

    def is_placed(self, value: Any) -> bool:
        """Whether a value has a place on the axis."""
        return not math.isnan(self.place(value))

    def share(self, place: float) -> float:
        """How far along the axis a place is, from 0 to 1 on its scale."""
        low, high = self.low, self.high
        if self.is_log:
            low, high, place = math.log(low), math.log(high), math.log(place)
        return (place - low) / (high - low)

    def at(self, share: float) -> float:
        """The place so far along the axis."""
        if self.is_log:
            low, high = math.log(self.low), math.log(self.high)
            return math.exp(low + share * (high - low))
        return self.low + share * (self.high - self.low)

    @property
    def axis(self) -> Axis:
        """The axis of it."""
        pad = 0.03
        return Axis(
            title=self.label,
            is_log=self.is_log,
            ticks=categories(self.words),
            limits=(self.at(-pad), self.at(1 + pad)),
        )

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """Some places, as shares of the axis, and their texts."""
        if not self.is_number:
            step = max(1, len(self.words) // 12)
            return tuple((self.share(float(place)), word) for place, word in enumerate(self.words))[
                ::step
            ]
        return tuple((share, format_number(float(f"{self.at(share):.3g}")))
                     for share in (0.0, 0.25, 0.5, 0.75, 1.0))  # fmt: skip


def value_of(record: TrialRecord, name: str) -> tuple[bool, Any]:
    """Whether a trial has a parameter, and its value."""
    flat = flatten_parameters(record.parameters)
    return name in flat, flat.get(name)


def describe_parameters(source: PlotSource, names: Sequence[str] = ()) -> list[Parameter]:
    """Searched parameters with their axes; all of them by default.

    One whose values are all the same, or which no trial has, is left out.
    """
    wanted = list(names) or list(source.searched)
    labels = label_parameters(list(source.searched))
    flats = [flatten_parameters(one.parameters) for one in source.trials]
    found = []
    for name in wanted:
        values = [flat[name] for flat in flats if name in flat]
        made = _describe(name, labels.get(name, name), source.searched.get(name), values)
        if made is not None:
            found.append(made)
    return found


def describe_parameter(source: PlotSource, name: str) -> Parameter | None:
    """One searched parameter with its axis; None if its values are all the same."""
    return next(iter(describe_parameters(source, [name])), None)


def _describe(
    name: str, label: str, leaf: Distribution | None, values: Sequence[Any]
) -> Parameter | None:
    keys = {show(value): value for value in values}
    if leaf is not None and leaf.values is not None:
        listed = {show(value): value for value in leaf.values}
        return _categories(name, label, {**listed, **keys})
    numbers = [one for value in values if (one := as_float(value)) is not None]
    numbers = [one for one in numbers if is_comparable(one)]
    is_range = leaf is not None or (
        len(numbers) == len(values) and len(set(numbers)) >= _MIN_NUMBERS
    )
    if not is_range:
        return _categories(name, label, keys)
    low, high = min(numbers, default=math.inf), max(numbers, default=-math.inf)
    if leaf is not None and leaf.bounds is not None:
        low, high = min(low, float(leaf.bounds[0])), max(high, float(leaf.bounds[1]))
    is_log = leaf.is_log if leaf is not None else low > 0 and high / low >= _LOG_SPAN
    if is_log and low <= 0:
        low = min((one for one in numbers if one > 0), default=math.inf)
    if not low < high:
        return None
    return Parameter(name, label, True, is_log, low, high)


def _categories(name: str, label: str, found: Mapping[str, Any]) -> Parameter | None:
    if len(found) < 2:
        return None
    keys = list(found)
    if all(as_float(value) is not None and is_comparable(value) for value in found.values()):
        keys.sort(key=lambda key: float(found[key]))
    words = tuple(show_value(found[key]) for key in keys)
    return Parameter(name, label, False, False, 0.0, float(len(keys) - 1), tuple(keys), words)


def most_telling(source: PlotSource, number: int) -> list[str]:
    """The searched parameters by which scores differ most, the first the most.

    By the share of the variance of ranks that lies between groups of values (quarters of a range),
    less what chance makes of it. It is a rough guide to what is worth a look, no importance.
    """
    parameters = describe_parameters(source)
    if not parameters or len(source.scored) < 3:
        return [one.name for one in parameters][:number]
    merits = np.array([source.objective.merit(one.score) for one in source.scored])
    ranks = np.argsort(np.argsort(merits, kind="stable"), kind="stable").astype(np.float64)
    _, first, same = np.unique(merits, return_inverse=True, return_index=True)
    ranks = (np.bincount(same, ranks) / np.bincount(same))[same] if len(first) else ranks
    flats = [flatten_parameters(one.record.parameters) for one in source.scored]
    telling = []
    for order, parameter in enumerate(parameters):
        places = np.array(
            [
                parameter.place(flat[parameter.name]) if parameter.name in flat else math.nan
                for flat in flats
            ]
        )
        # One that few trials have says little of the others.
        is_rare = 2 * int((~np.isnan(places)).sum()) < len(places)
        telling.append((is_rare, -_explained(parameter, places, ranks), order, parameter.name))
    return [name for *_, name in sorted(telling)][:number]


def _explained(
    parameter: Parameter, places: NDArray[np.float64], ranks: NDArray[np.float64]
) -> float:
    known = ~np.isnan(places)
    groups = np.zeros(len(places), dtype=int)
    if parameter.is_number and known.any():
        edges = np.quantile(places[known], np.linspace(0, 1, _GROUPS + 1)[1:-1])
        groups[known] = 1 + np.searchsorted(edges, places[known], side="right")
    else:
        groups[known] = 1 + places[known].astype(int)
    _, groups = np.unique(groups, return_inverse=True)
    counts = np.bincount(groups)
    number, kinds = len(ranks), len(counts)
    total = float(((ranks - ranks.mean()) ** 2).sum())
    if kinds < 2 or number <= kinds or total <= 0:
        return -1.0
    means = np.bincount(groups, ranks) / counts
    inside = float(((ranks - means[groups]) ** 2).sum())
    return 1 - (inside / (number - kinds)) / (total / (number - 1))
