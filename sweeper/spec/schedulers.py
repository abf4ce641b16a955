"""The options of each scheduler, under Tune's names; times are env steps of one replica."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from sweeper.spec.sections import AtLeast0, AtLeast1, Positive, Section

__all__ = ["PB2", "PBT", "SCHEDULER_OPTIONS", "Asha", "HyperBand", "Median"]

_Factor = Annotated[float, Field(gt=1, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Half = Annotated[float, Field(gt=0, le=0.5, allow_inf_nan=False)]


class Asha(Section):
    """Asynchronous successive halving: at each rung the best 1/reduction_factor go on."""

    grace_period: AtLeast1 | None = None
    """Env steps before a trial can be stopped: the first rung."""
    max_t: AtLeast1 | None = None
    """Env steps of a whole trial; by default stop's."""
    reduction_factor: _Factor = 4
    """One in so many trials passes a rung; the next rung is so many times further."""
    brackets: AtLeast1 = 1
    """Ladders of rungs, each beginning later than the one before."""


class HyperBand(Section):
    """Successive halving over several trade-offs of trials against env steps."""

    max_t: AtLeast1 | None = None
    """Env steps of a whole trial; by default stop's."""
    reduction_factor: Annotated[float, Field(ge=2, allow_inf_nan=False)] = 3
    """One in so many trials passes a rung; the next rung is so many times further."""


class Median(Section):
    """Stops a trial whose best is below the median of the others' running means."""

    grace_period: AtLeast1 | None = None
    """Env steps before a trial can be stopped."""
    min_samples_required: AtLeast1 = 3
    """Trials that the median needs."""
    min_time_slice: AtLeast0 = 0
    """Env steps that a trial gets after it was resumed."""


class PBT(Section):
    """Population-based training: bad trials take over a good one's weights, and vary its values."""

    perturbation_interval: AtLeast1 | None = None
    """Env steps from one exchange to the next."""
    burn_in_period: AtLeast0 = 0
    """Env steps before the first exchange."""
    quantile_fraction: _Half = 0.25
    """The share of trials that take over another's weights."""
    resample_probability: _Share = 0.25
    """How often a value is drawn anew instead of multiplied."""
    perturbation_factors: tuple[Positive, Positive] = (1.2, 0.8)
    """What a value is multiplied with."""
    synch: bool = False
    """Whether all trials wait for each other."""


class PB2(Section):
    """PBT that chooses new values by a Gaussian process."""

    perturbation_interval: AtLeast1 | None = None
    """Env steps from one exchange to the next."""
    quantile_fraction: _Half = 0.25
    """The share of trials that take over another's weights."""
    synch: bool = False
    """Whether all trials wait for each other."""


SCHEDULER_OPTIONS: Mapping[str, type[Section]] = {
    "asha": Asha,
    "hyperband": HyperBand,
    "median": Median,
    "pbt": PBT,
    "pb2": PB2,
}
