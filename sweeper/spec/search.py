"""The search section: which configurations are tried, and one model per algorithm for its options.

Options have Optuna's names and, but for two of QMC's and TPE's, its defaults.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    SerializationInfo,
    Tag,
    model_serializer,
    model_validator,
)

from sweeper.hints import did_you_mean, join_words, show
from sweeper.spec.sections import AtLeast0, AtLeast1, Section, Text, Whole

__all__ = [
    "CMAES",
    "GP",
    "QMC",
    "SEARCH_OPTIONS",
    "TPE",
    "BestOf",
    "NoOptions",
    "Search",
    "explain_unknown_search_option",
    "resolve_search_options",
]


# TPE draws and weighs them all at once: more would take gigabytes.
_MAX_CANDIDATES = 100_000


class NoOptions(Section):
    """Grid and random search have no options of their own."""


class TPE(Section):
    """Tree-structured Parzen estimators: what is likely among good trials, and not among others."""

    n_startup_trials: AtLeast1 = 10
    """Trials drawn at random before the first estimate."""
    n_ei_candidates: Annotated[AtLeast1, Field(le=_MAX_CANDIDATES)] = 24
    """Candidates drawn for each configuration, of which the best is taken."""
    multivariate: bool = True
    """Estimate the parameters together rather than each on its own."""
    group: bool | None = None
    """Estimate parameters that occur together apart from the others; by default where the space
    has conditions."""
    constant_liar: bool = True
    """Count running trials as bad ones, so that trials at the same time differ."""

    @model_validator(mode="before")
    @classmethod
    def _go_together(cls, values: Any) -> Any:
        given = values if isinstance(values, Mapping) else {}
        if given.get("group") is True and given.get("multivariate") is False:
            raise ValueError(
                "group: true estimates parameters together, which multivariate: false forbids; "
                "leave one of them out"
            )
        return values


class GP(Section):
    """A Gaussian process and its expected improvement."""

    n_startup_trials: AtLeast1 = 10
    """Trials drawn at random before the first model."""
    deterministic_objective: bool = False
    """Take the values to be free of noise."""


class CMAES(Section):
    """Covariance matrix adaptation over the ranges of numbers; choices are drawn at random."""

    n_startup_trials: AtLeast1 = 1
    """Trials drawn at random before the first generation."""
    popsize: Annotated[Whole, Field(ge=4)] | None = None
    """Trials of a generation; at most num_samples."""
    consider_pruned_trials: bool | None = None
    """Learn from pruned trials too, by their last value; by default from those that asha and
    hyperband stop."""
    use_separable_cma: bool = False
    """Adapt each dimension's deviation alone, for spaces of many dimensions."""
    with_margin: bool = False
    """Keep whole and quantised numbers from getting stuck."""
    lr_adapt: bool = False
    """Adapt the learning rate, for values with noise or several optima."""

    @model_validator(mode="before")
    @classmethod
    def _go_together(cls, values: Any) -> Any:
        chosen = [
            key
            for key in ("use_separable_cma", "with_margin", "lr_adapt")
            if isinstance(values, Mapping) and values.get(key) is True
        ]
        if len(chosen) > 1:
            raise ValueError(f"{join_words(chosen, 'and')} can't go together; keep one")
        return values


class QMC(Section):
    """A sequence that covers the space more evenly than random draws; learns nothing."""

    qmc_type: Literal["sobol", "halton"] = "sobol"
    """The sequence; sobol is most even at a power of two of trials."""
    scramble: bool = True
    """Randomise the sequence by the seed; without it every seed gives the same trials."""


SEARCH_OPTIONS: Mapping[str, type[Section]] = {
    "grid": NoOptions,
    "random": NoOptions,
    "tpe": TPE,
    "gp": GP,
    "cmaes": CMAES,
    "qmc": QMC,
}


def _auto_or_whole(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"must be auto or a whole number from 1 on; found {show(value)}")


class BestOf(Section):
    """The best configurations of an earlier run, to begin with."""

    from_run: Annotated[Text, Field(alias="from")]
    """The run: a path, a folder's name under storage, or last."""
    top: AtLeast1
    """How many of its best configurations."""


def _points_or_best(value: Any) -> str:
    return "<best>" if isinstance(value, Mapping | BestOf) else "<points>"


# The tags are left out of a problem's key.
_Points = Annotated[
    Annotated[list[dict[str, Any]], Tag("<points>")] | Annotated[BestOf, Tag("<best>")],
    Discriminator(_points_or_best),
]


class Search(Section):
    """Which configurations are tried."""

    algorithm: Literal["grid", "random", "tpe", "gp", "cmaes", "qmc"]
    """How configurations are chosen; by default grid if every distribution is grid_search, else
    random."""
    num_samples: AtLeast1
    """Configurations to draw; for a grid, passes over it."""
    seed: AtLeast0 = 0
    """Of the generators that draw the configurations."""
    max_concurrent: Annotated[int | Literal["auto"], BeforeValidator(_auto_or_whole)] = "auto"
    """Trials at a time; auto: as many as this machine's cores allow, or a cluster has room for."""
    points_to_evaluate: _Points = Field(default_factory=list)
    """Values of searched parameters to begin with; each counts inside num_samples. Or the best of
    an earlier run, as {from: RUN, top: K}."""

    _options: Section = PrivateAttr()

    def model_post_init(self, _: object) -> None:
        """Take the algorithm's default options."""
        self._options = SEARCH_OPTIONS[self.algorithm]()

    @property
    def options(self) -> Section:
        """All options with their defaults, as the algorithm's model in `SEARCH_OPTIONS`."""
        return self._options

    @property
    def points(self) -> list[dict[str, Any]]:
        """The points to begin with; none while an earlier run is still to be looked up."""
        given = self.points_to_evaluate
        return [] if isinstance(given, BestOf) else given

    def with_options(self, options: Section) -> Search:
        """The same search with other options."""
        copy = self.model_copy()
        copy._options = options
        return copy

    def given_options(self, mode: str = "python") -> dict[str, Any]:
        """The options that the spec sets, without the defaults."""
        return self._options.model_dump(mode=mode, exclude_unset=True, exclude_none=True)

    @model_serializer(mode="wrap")
    def _add_options(self, write: Any, info: SerializationInfo) -> dict[str, Any]:
        """Write the options beside the keys that all algorithms have, as a spec does."""
        written = write(self)
        if isinstance(self.points_to_evaluate, BestOf):
            written["points_to_evaluate"] = self.points_to_evaluate.model_dump(by_alias=True)
        return {**written, **self.given_options(info.mode)}


def resolve_search_options(search: Search, scheduler: str) -> dict[str, Any]:
    """All options as `sweeper.search.registry.build_search` takes them.

    CMA-ES compares the trials of a generation. Those that ASHA or HyperBand stop lie behind the
    others, and are most of them: without them it waits for most of a sweep for its first
    generation. The median rule stops fewer, and Optuna advises against counting these
    (https://github.com/optuna/optuna/pull/1229).

    Args:
        search: the section.
        scheduler: its type.
    """
    options = search.options.model_dump()
    if "consider_pruned_trials" in options and options["consider_pruned_trials"] is None:
        options["consider_pruned_trials"] = scheduler in ("asha", "hyperband")
    return options


def explain_unknown_search_option(key: str, options: type[Section]) -> str | None:
    """What to write instead of an option that an algorithm lacks; None: something similar."""
    if options not in SEARCH_OPTIONS.values():
        return None
    shared = [name for name in Search.model_fields if name != "algorithm"]
    own = list(options.model_fields)
    owners = [name for name, model in SEARCH_OPTIONS.items() if key in model.model_fields]
    if owners:
        which = join_words(owners, "and")
        return f"unknown key; an option of {which}: give search.algorithm"
    if key in ("metric", "mode"):
        return f"not an option here; use selection.{key}"
    known = ["algorithm", *shared, *own]
    hint = did_you_mean(key, known) or f"; one of {', '.join(known)}"
    return f"unknown key{hint}"
