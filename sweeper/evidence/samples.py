"""What is known of one configuration from training it again: its runs, and what they say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sweeper.evidence.statistics import (
    Interval,
    Limits,
    TwoGroups,
    clopper_pearson,
    explain_no_interval,
    interquartile_mean,
    is_far_from_normal,
    mean_interval,
    order_statistics_interval,
    prediction_interval,
    two_group_interval,
)

__all__ = ["Evidence", "Sample", "Solved", "keep_promise", "weigh_sample"]


@dataclass(frozen=True)
class Sample:
    """A finalist's or the baseline's training runs of the confirmation.

    Attributes:
        name: a trial id, or ``baseline``.
        values: one per training seed, in the same order of seeds for all samples; None: the run
            failed. A diverged run already counts as the worst.
        env_steps: of one run, on average: what the configuration costs.
        search_score: what the search thought of it; None for the baseline.
        diverged: which of the runs diverged, by their place.
        search_runs: the values of its runs in the search, if known, and if told by episodes as the
            others are. They are no evidence of the mean, for they chose the finalist, but show
            whether runs get stuck.
        failure: why a part of its training failed for good, so that it can't win; None if none did.
        is_score_comparable: False if the search's score is another quantity than the values, such
            as an area under a curve.

    Raises:
        ValueError: a value is NaN or infinite.
    """

    name: str
    values: tuple[float | None, ...]
    env_steps: float
    search_score: float | None = None
    diverged: tuple[int, ...] = ()
    search_runs: tuple[float, ...] = ()
    failure: str | None = None
    is_score_comparable: bool = True

    def __post_init__(self) -> None:
        plain = tuple(None if value is None else float(value) for value in self.values)
        object.__setattr__(self, "values", plain)
        for value in (*self.values, self.env_steps, self.search_score, *self.search_runs):
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{self.name} has a value that is no number: {value}")

    @property
    def finished(self) -> tuple[float, ...]:
        """The values of the runs that did not fail."""
        return tuple(value for value in self.values if value is not None)


@dataclass(frozen=True)
class Solved:
    """How many runs solved the task.

    Attributes:
        number: of runs at least (with mode ``min``: at most) ``at``.
        runs: that did not fail.
        at: what counts as solved.
        interval: of the share of runs that solve it.
    """

    number: int
    runs: int
    at: float
    interval: Interval


@dataclass(frozen=True)
class Evidence:
    """What a sample says of its configuration.

    Attributes:
        name: of the sample.
        runs: every run's value; None: it failed.
        mean: of the runs that did not fail, like all that follows; None if all failed.
        median: of these.
        iqm: their interquartile mean.
        deviation: their standard deviation, with n - 1; None below two runs.
        interval: where the mean of endlessly many runs lies; of a finalist it covers together
            with those of the other finalists, and however often was looked.
        interval_reason: why there is none.
        prediction: where one more training run would land.
        prediction_reason: why there is none, or why its level is lower than asked for.
        solved: None if nothing counts as solved.
        in_lower_group: how many runs lie below the gap; None if runs form one group.
        env_steps: of one run, on average.
        search_score: what the search thought of it.
        diverged: how many of the runs diverged.
        failure: why a part of its training failed for good; None if none did.
        diverged_runs: which of the runs diverged, by their place.
    """

    name: str
    runs: tuple[float | None, ...]
    mean: float | None
    median: float | None
    iqm: float | None
    deviation: float | None
    interval: Interval | None
    interval_reason: str | None
    prediction: Interval | None
    prediction_reason: str | None
    solved: Solved | None
    in_lower_group: int | None
    env_steps: float
    search_score: float | None
    diverged: int
    failure: str | None = None
    diverged_runs: tuple[int, ...] = ()

    @property
    def finished(self) -> tuple[float, ...]:
        """The values of the runs that did not fail."""
        return tuple(value for value in self.runs if value is not None)

    @property
    def undiverged(self) -> tuple[float, ...]:
        """The values of the runs that neither failed nor diverged."""
        return tuple(
            value
            for place, value in enumerate(self.runs)
            if value is not None and place not in self.diverged_runs
        )

    def to_json(self) -> dict[str, Any]:
        """The evidence in JSON types: intervals as ``[low, high]``, level and method beside."""
        document: dict[str, Any] = {}
        for key, value in asdict(self).items():
            field = getattr(self, key)
            if isinstance(field, Interval):
                document |= _interval_json(key, field)
            elif isinstance(field, Solved):
                document[key] = {"number": field.number, "runs": field.runs, "at": field.at}
                document[key] |= _interval_json("interval", field.interval)
            else:
                document[key] = list(value) if isinstance(value, tuple) else value
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Evidence:
        """Read what `to_json` made, or an earlier version's did; other keys are ignored."""
        document = {"failure": None, "diverged_runs": (), **document}
        solved = document["solved"]
        if solved is not None:
            interval = interval_from_json(solved, "interval")
            if interval is None:
                raise ValueError("the share of solved runs has no interval")
            solved = Solved(solved["number"], solved["runs"], solved["at"], interval)
        special = {
            "runs": tuple(document["runs"]),
            "diverged_runs": tuple(document["diverged_runs"]),
            "interval": interval_from_json(document, "interval"),
            "prediction": interval_from_json(document, "prediction"),
            "solved": solved,
        }
        plain = {key: document[key] for key in cls.__dataclass_fields__ if key not in special}
        return cls(**plain, **special)


def weigh_sample(
    sample: Sample,
    *,
    mode: str,
    level: float,
    look_level: float,
    promise: str,
    groups: TwoGroups | None,
    limits: Limits,
    solved_at: float | None,
) -> Evidence:
    """What a sample says of its configuration.

    Args:
        sample: its runs.
        mode: ``max`` or ``min``.
        level: what intervals promise, e.g. 0.95.
        look_level: at which an interval of the mean is made to keep that promise over all
            finalists and looks.
        promise: over what it is kept, in words, e.g. ``over 3 finalists``; may be empty.
        groups: if runs in this environment succeed or get stuck.
        limits: of what a run in this environment can come to, as far as they are known.
        solved_at: what counts as solved.
    """
    values = sample.finished
    interval = prediction = solved = None
    reason = prediction_reason = explain_no_interval(values)
    if groups is not None and values:
        interval = two_group_interval(values, groups, look_level)
    else:
        interval = mean_interval(values, look_level)
    if groups is not None or is_far_from_normal(values):
        prediction = order_statistics_interval(values, level)
        if prediction is not None and prediction.level < level:
            shape = "in two groups" if groups is not None else "far from a normal distribution"
            prediction_reason = f"{len(values)} runs {shape} allow no higher level"
    else:
        prediction = prediction_interval(values, level)
    interval, prediction = limits.cut(interval), limits.cut(prediction)
    if interval is not None:
        interval, reason = keep_promise(interval, level, promise), None
    if solved_at is not None and values:
        sign = 1 if mode == "max" else -1
        number = sum(sign * value >= sign * solved_at for value in values)
        number = min(number, len(values) - len(sample.diverged))  # whatever those count as
        share = replace(clopper_pearson(number, len(values), look_level), level=level)
        solved = Solved(number, len(values), solved_at, share)
    return Evidence(
        name=sample.name,
        runs=sample.values,
        mean=float(np.mean(values)) if values else None,
        median=float(np.median(values)) if values else None,
        iqm=interquartile_mean(values) if values else None,
        deviation=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        interval=interval,
        interval_reason=reason,
        prediction=prediction,
        prediction_reason=prediction_reason,
        solved=solved,
        in_lower_group=None if groups is None else sum(value < groups.split for value in values),
        env_steps=sample.env_steps,
        search_score=sample.search_score,
        diverged=len(sample.diverged),
        failure=sample.failure,
        diverged_runs=sample.diverged,
    )


def keep_promise(interval: Interval, level: float, promise: str) -> Interval:
    """An interval of a higher level, as what it promises: a lower level over several of them."""
    method = f"{interval.method}, {promise}" if promise else interval.method
    return replace(interval, level=level, method=method)


def interval_from_json(document: Mapping[str, Any], key: str) -> Interval | None:
    """Read an interval that `Evidence.to_json` wrote below a key."""
    ends: Sequence[float] | None = document[key]
    if ends is None:
        return None
    return Interval(ends[0], ends[1], document[f"{key}_level"], document[f"{key}_method"])


def _interval_json(key: str, interval: Interval) -> dict[str, Any]:
    return {
        key: [interval.low, interval.high],
        f"{key}_level": interval.level,
        f"{key}_method": interval.method,
    }
