"""Learning curves as numbers: each replica's points, aligned, and their mean with a band.

A replica's curve has its reports as points, at its own env steps. Between two neighbouring reports
it is interpolated; before its first and after its last it is unknown. An evaluation that is
carried forward is no point (`scoring.is_point`). A report without a finite number leaves a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sweeper.evidence.statistics import interquartile_mean
from sweeper.metrics import ENV_STEPS, ITERATION
from sweeper.results.records import TrialRecord
from sweeper.results.scoring import as_float, env_steps_of, is_comparable, is_point, iteration_of

__all__ = [
    "BANDS",
    "CUT_BANDS",
    "Bundle",
    "MeanCurve",
    "ReplicaCurve",
    "average",
    "choose_steps",
    "frame_values",
    "is_beyond",
    "reach_out",
    "read_bundle",
    "read_mean",
]

Array = NDArray[np.float64]
BANDS = ("interval", "range")
LEVEL = 0.95
CUT_BANDS = "Bands are cut at the edge: they reach further than any run has come."


@dataclass(frozen=True)
class ReplicaCurve:
    """One curve: of a replica, or of a trial that tells no replicas apart.

    Attributes:
        seed: of the replica; None if unknown.
        x: float64[points], ascending.
        y: float64[points]; NaN where a report had no finite number.
        is_diverged: whether the replica is frozen and counts as the run's worst.
    """

    seed: int | None
    x: Array
    y: Array
    is_diverged: bool = False

    def at(self, x: Array) -> Array:
        """The values at some places; NaN outside its reports and beside a gap."""
        if not len(self.x):
            return np.full(len(x), np.nan)
        return np.interp(x, self.x, self.y, left=np.nan, right=np.nan)


@dataclass(frozen=True)
class Bundle:
    """The curves of one trial, one per replica."""

    record: TrialRecord
    curves: tuple[ReplicaCurve, ...]

    @property
    def has_points(self) -> bool:
        """Whether there is anything to draw."""
        return any(np.isfinite(one.y).any() for one in self.curves)


@dataclass(frozen=True)
class MeanCurve:
    """What several curves come to, where each of them is known.

    Attributes:
        x: float64[points], ascending.
        y: float64[points].
        low: float64[points], the lower end of the band; NaN where there is none.
        high: float64[points].
        number: how many curves there are.
    """

    x: Array
    y: Array
    low: Array
    high: Array
    number: int


def choose_steps(records: Iterable[TrialRecord], metric: str) -> tuple[str, tuple[str, ...]]:
    """What the horizontal axis counts, and a note if that is not env steps.

    Env steps if every report with a value has them; else training iterations; else reports.
    """
    rows = [
        report
        for record in records
        for report in record.reports
        if as_float(report.get(metric)) is not None
    ]
    for name, read in ((ENV_STEPS, env_steps_of), (ITERATION, iteration_of)):
        if all(read(row) is not None for row in rows):
            if name == ENV_STEPS:
                return name, ()
            return name, ("Not all reports have env steps: training iterations stand in.",)
    return "", ("Not all reports have env steps or iterations: their order stands in.",)


def read_bundle(record: TrialRecord, metric: str, steps: str = ENV_STEPS) -> Bundle:
    """A trial's curves.

    Args:
        record: the trial.
        metric: by our name, or as reported.
        steps: what the horizontal axis counts, from `choose_steps`.
    """
    name, own_steps = f"replica/{metric}", f"replica/{steps}"
    rows = [
        (place, report)
        for place, report in enumerate(record.reports)
        if is_point(report, metric) and (metric in report or isinstance(report.get(name), list))
    ]
    number = min(
        (len(report[name]) for _, report in rows if isinstance(report.get(name), list)), default=0
    )
    if not number:
        own = [(_steps(report, steps, place), report.get(metric)) for place, report in rows]
        curve = _curve(own)
        return Bundle(record, (ReplicaCurve(_seed(record, 0, 1), *curve),) if len(curve[0]) else ())
    flags = record.last_report.get("replica/diverged") or ()
    curves = []
    for replica in range(number):
        points = []
        for place, report in rows:
            values, counts = report.get(name), report.get(own_steps)
            if not isinstance(values, list):
                continue
            x = _steps(report, steps, place)
            if isinstance(counts, list) and len(counts) == len(values):
                x = as_float(counts[replica]) or x
            points.append((x, values[replica]))
        is_diverged = replica < len(flags) and bool(flags[replica])
        curves.append(ReplicaCurve(_seed(record, replica, number), *_curve(points), is_diverged))
    return Bundle(record, tuple(curves))


def _steps(report: Any, steps: str, place: int) -> float | None:
    if steps == ENV_STEPS:
        return env_steps_of(report)
    return iteration_of(report) if steps == ITERATION else float(place + 1)


def _seed(record: TrialRecord, replica: int, number: int) -> int | None:
    return record.seeds[replica] if len(record.seeds) == number else None


def _curve(points: Sequence[tuple[float | None, Any]]) -> tuple[Array, Array]:
    """Points in order; of several at the same place the last one; None is no point."""
    found: dict[float, float] = {}
    for x, value in points:
        number = as_float(value)
        if x is not None and number is not None and np.isfinite(x):
            found[x] = number if is_comparable(number) else np.nan
    ordered = sorted(found)
    return np.array(ordered, dtype=np.float64), np.array([found[x] for x in ordered], np.float64)


def read_mean(bundle: Bundle, band: str = "interval") -> MeanCurve | None:
    """A trial's mean over its replicas; None before each of them has a value."""
    return average(bundle.curves, band)


def average(curves: Sequence[ReplicaCurve], band: str = "interval") -> MeanCurve | None:
    """The mean of curves where all are known, or their interquartile mean.

    Args:
        curves: at least one.
        band: ``interval``: the mean, with its 95 % interval by Student's t; ``range``: the
            interquartile mean, from the lowest to the highest curve. There is no band where all
            curves are equal, or below two.

    Returns:
        None if they are nowhere all known.
    """
    if not curves or any(not len(one.x) for one in curves):
        return None
    begin, end = max(one.x[0] for one in curves), min(one.x[-1] for one in curves)
    x = np.unique(np.concatenate([one.x for one in curves]))
    x = x[(x >= begin) & (x <= end)]
    table = np.stack([one.at(x) for one in curves])  # [curves, points]
    if not np.isfinite(table).all(axis=0).any():
        return None
    number = len(curves)
    spread = np.ptp(table, axis=0)
    with np.errstate(invalid="ignore"):
        mean = table.mean(axis=0)
        if band == "range":
            y = np.array(
                [interquartile_mean(one) if np.isfinite(one).all() else np.nan for one in table.T]
            )
            low, high = table.min(axis=0), table.max(axis=0)
        else:
            y, low, high = mean, *_student(table, mean)
        is_flat = ~(spread > 1e-12 * np.maximum(1.0, np.abs(mean)))
    low, high = np.where(is_flat, np.nan, low), np.where(is_flat, np.nan, high)
    return MeanCurve(x, y, low, high, number)


def _student(table: Array, mean: Array) -> tuple[Array, Array]:
    number = len(table)
    if number < 2:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    quantile = float(special.stdtrit(number - 1, (1 + LEVEL) / 2))
    half = quantile * table.std(axis=0, ddof=1) / np.sqrt(number)
    return mean - half, mean + half


def frame_values(*groups: Iterable[Array]) -> tuple[float, float] | None:
    """The ends of a y axis on which all values lie, with a little room.

    Bands do not count: of few runs that differ much they reach far beyond what any run came to,
    and would flatten everything else.

    Args:
        groups: of values; NaN does not count.

    Returns:
        None without a finite value.
    """
    known = [one[np.isfinite(one)] for group in groups for one in group]
    known = [one for one in known if len(one)]
    if not known:
        return None
    low, high = min(float(one.min()) for one in known), max(float(one.max()) for one in known)
    room = 0.06 * (high - low) or max(0.5, 0.05 * abs(high))
    return low - room, high + room


def is_beyond(band: tuple[Array, Array], limits: tuple[float, float] | None) -> bool:
    """Whether a band reaches further than an axis does."""
    if limits is None:
        return False
    with np.errstate(invalid="ignore"):
        return bool((band[0] < limits[0]).any() or (band[1] > limits[1]).any())


def reach_out(
    limits: tuple[float, float] | None, at: float
) -> tuple[tuple[float, float] | None, bool]:
    """An axis made longer so that it shows a value, unless that would more than double it.

    Returns:
        The ends, and whether the value is between them.
    """
    if limits is None:
        return None, True
    low, high = min(limits[0], at), max(limits[1], at)
    if high - low > 2 * (limits[1] - limits[0]):
        return limits, False
    return (low, high), True
