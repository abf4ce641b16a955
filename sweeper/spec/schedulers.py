"""The scheduler section: one model per scheduler, under Tune's names.

Times are env steps of one replica.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, SerializationInfo, model_serializer

from sweeper.hints import did_you_mean, join_words
from sweeper.metrics import ENV_STEPS
from sweeper.schedulers.registry import SCHEDULERS
from sweeper.schedulers.rungs import first_rung
from sweeper.spec.sections import MAX_NUMBER, AtLeast0, AtLeast1, Positive, Section

__all__ = [
    "PB2",
    "PBT",
    "RUNGED",
    "SCHEDULER_OPTIONS",
    "Asha",
    "Fifo",
    "HyperBand",
    "Median",
    "Scheduler",
    "bound_by_max_t",
    "explain_unknown_option",
    "find_length",
    "resolve_options",
]

# Closer to 1 there would be thousands of rungs.
_Factor = Annotated[float, Field(ge=1.1, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Half = Annotated[float, Field(gt=0, le=0.5, allow_inf_nan=False)]
# YAML has lists only.
_AsTuple = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)


class Fifo(Section):
    """Every trial runs to its end."""


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

    grace_period: AtLeast1 | None = None
    """Env steps before a trial can be stopped: no rung lies below."""

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
    """Only 0: a trial never yields its place to another."""


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
    perturbation_factors: Annotated[tuple[Positive, Positive], _AsTuple] = (1.2, 0.8)
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
    "fifo": Fifo,
    "asha": Asha,
    "hyperband": HyperBand,
    "median": Median,
    "pbt": PBT,
    "pb2": PB2,
}


# Schedulers that compare trials at env steps which follow from a trial's length.
RUNGED = frozenset({"asha", "hyperband", "median"})


class Scheduler(Section):
    """Which trials are stopped early; all but ``fifo`` have options of their own."""

    type: Literal["fifo", "asha", "hyperband", "median", "pbt", "pb2"] = "fifo"
    """fifo lets every trial run to its end."""

    _options: Section = PrivateAttr()

    def model_post_init(self, _: object) -> None:
        """Take the type's default options."""
        self._options = SCHEDULER_OPTIONS[self.type]()

    @property
    def options(self) -> Section:
        """All options with their defaults, as the type's model in `SCHEDULER_OPTIONS`."""
        return self._options

    def with_options(self, options: Section) -> Scheduler:
        """The same scheduler with other options."""
        copy = self.model_copy()
        copy._options = options
        return copy

    def given_options(self, mode: str = "python") -> dict[str, Any]:
        """The options that the spec sets, without the defaults."""
        return self._options.model_dump(mode=mode, exclude_unset=True)

    @model_serializer(mode="wrap")
    def _add_options(self, write: Any, info: SerializationInfo) -> dict[str, Any]:
        """Write the options beside the type, as a spec does."""
        return {**write(self), **self.given_options(info.mode)}


def bound_by_max_t(stop: Mapping[str, float], scheduler: Any) -> dict[str, float]:
    """The stop criteria of a trial: ``max_t`` bounds its env steps as ``stop`` does.

    So a trial that comes to a lower ``max_t`` has run to its own end, with its last evaluation and
    its last checkpoint.

    Args:
        stop: as read.
        scheduler: the section as written, right or wrong.
    """
    bounded = dict(stop)
    given = scheduler if isinstance(scheduler, Mapping) else {}
    options, limit = SCHEDULER_OPTIONS.get(str(given.get("type")), Fifo), given.get("max_t")
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        return bounded
    if "max_t" in options.model_fields and 1 <= limit < bounded.get(ENV_STEPS, MAX_NUMBER):
        bounded[ENV_STEPS] = int(limit)
    return bounded


def find_length(scheduler: Scheduler, stop: Mapping[str, float]) -> int | None:
    """The env steps of a whole trial; None if nothing bounds them."""
    bounds = (getattr(scheduler.options, "max_t", None), stop.get(ENV_STEPS))
    return min((int(bound) for bound in bounds if bound is not None), default=None)


def resolve_options(scheduler: Scheduler, stop: Mapping[str, float]) -> dict[str, Any]:
    """All options as `sweeper.schedulers.registry.build_scheduler` takes them.

    Those that follow from a trial's length are filled in: ``max_t``, and where trials are first
    compared. Rules of the spec see to it that there is a length where one is needed.
    """
    options = scheduler.options.model_dump()
    length = find_length(scheduler, stop)
    if length is None:
        return options
    if "max_t" in options:
        options["max_t"] = length
    if scheduler.type in RUNGED and options["grace_period"] is None:
        # HyperBand's last rung lies there.
        at_most = length / options["reduction_factor"] if scheduler.type == "hyperband" else length
        options["grace_period"] = first_rung(length, at_most)
    return options


def explain_unknown_option(key: str, options: type[Section]) -> str | None:
    """What to write instead of an option that a scheduler lacks; None: no scheduler's options."""
    if options not in SCHEDULER_OPTIONS.values():
        return None
    if options is not Fifo and key in ("metric", "mode"):
        return f"not an option here; use selection.{key}"
    if options is not Fifo and key == "time_attr":
        return f"not an option here: time is {ENV_STEPS}"
    owners = [name for name in SCHEDULERS if key in SCHEDULER_OPTIONS[name].model_fields]
    if owners:
        own = next(name for name, model in SCHEDULER_OPTIONS.items() if model is options)
        remedy = ": give scheduler.type" if options is Fifo else f", not of {own}"
        return f"unknown key; an option of {join_words(owners)}{remedy}"
    known = ["type", *options.model_fields]
    otherwise = "fifo has no options" if options is Fifo else f"one of {', '.join(known)}"
    return f"unknown key{did_you_mean(key, known) or f'; {otherwise}'}"
