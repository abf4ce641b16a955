"""Optuna's samplers, each made for one trial from the search's seed and the trial's number.

A sampler that lives on has a generator whose state depends on all that it was asked. Made anew,
it gives the same next trial for the same study, also after a resume.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.study import Study
from optuna.trial import FrozenTrial

from sweeper.search.sampling.dimensions import Dimension, Form

__all__ = ["CMAES", "GP", "QMC", "SAMPLERS", "TPE", "SamplerFactory"]

Space = Mapping[str, Form]

# Options that Optuna calls experimental; which of them a spec offers is our own decision.
warnings.filterwarnings(
    "ignore",
    "Argument ``(group|consider_pruned_trials|use_separable_cma|with_margin|lr_adapt|"
    "deterministic_objective)`` is an experimental",
    ExperimentalWarning,
)


class SamplerFactory(Protocol):
    """Makes the sampler of one trial.

    Attributes:
        attributes: the beginning of the names of what a sampler notes at the trials it suggests,
            and needs later.
    """

    attributes: str | None

    def __call__(self, seed: int, place: int) -> BaseSampler:
        """The sampler of one trial.

        Args:
            seed: of its generator.
            place: how many trials the study has before it.
        """


def _searched(dimensions: Mapping[Any, Dimension], *, conditional: bool) -> dict[str, Any]:
    """The dimensions that have more than one value, by name in Optuna's order."""
    found = {
        one.name: one.optuna
        for one in dimensions.values()
        if not one.optuna.single() and (conditional or one.leaf.when is None)
    }
    return dict(sorted(found.items()))


class _KnownSpace(BaseSampler):
    """The space that all trials share is known, so it is not looked for in the trials."""

    space: Space

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:  # noqa: ARG002
        """The space that was given."""
        return dict(self.space)


class _Generators:
    """The two generators of a sampler, seeded anew for the next one.

    Making one takes numpy 0.15 ms, which is a fifth of what CMA-ES takes to suggest a trial.
    """

    def __init__(self) -> None:
        self._states = np.random.RandomState(0), np.random.RandomState(0)

    def seed(self, seed: int, *holders: LazyRandomState) -> None:
        """Give a sampler made without a seed the generators that it would make from one."""
        for state, holder in zip(self._states, holders, strict=True):
            state.seed(seed)
            holder._rng = state


# Optuna's constructors look at their own signature at each call, to warn of positional
# arguments, which takes as long as a suggestion.
_INIT_TPE = inspect.unwrap(TPESampler.__init__)
_INIT_CMAES = inspect.unwrap(CmaEsSampler.__init__)


class _TPE(TPESampler):
    def __init__(self, seed: int, generators: _Generators, **options: Any) -> None:
        _INIT_TPE(self, **options)
        generators.seed(seed, self._rng, self._random_sampler._rng)


class _SharedTPE(_KnownSpace, _TPE):
    pass


class _GP(_KnownSpace, GPSampler):
    pass


class _CMAES(_KnownSpace, CmaEsSampler):
    def __init__(self, seed: int, generators: _Generators, **options: Any) -> None:
        independent = RandomSampler()
        _INIT_CMAES(self, independent_sampler=independent, **options)
        generators.seed(seed, self._cma_rng, independent._rng)


class TPE:
    """Tree-structured Parzen estimators.

    With conditions there is one for each group of parameters that occur together.
    """

    attributes: str | None = None

    def __init__(self, dimensions: Mapping[Any, Dimension], seed: int, **options: Any) -> None:  # noqa: ARG002
        is_conditional = any(one.leaf.when is not None for one in dimensions.values())
        self._options = {"multivariate": True, **options}
        if self._options.get("group") is None:
            self._options["group"] = is_conditional and self._options["multivariate"]
        self._space = _searched(dimensions, conditional=False)
        self._generators = _Generators()

    def __call__(self, seed: int, place: int) -> BaseSampler:  # noqa: ARG002
        """The sampler of one trial; the one before is not used any more."""
        if self._options["group"] or not self._options["multivariate"]:
            return _TPE(seed, self._generators, **self._options)
        sampler = _SharedTPE(seed, self._generators, **self._options)
        sampler.space = self._space
        return sampler


class GP:
    """A Gaussian process over the parameters that every configuration has."""

    attributes: str | None = None

    def __init__(self, dimensions: Mapping[Any, Dimension], seed: int, **options: Any) -> None:  # noqa: ARG002
        self._options = options
        self._space = _searched(dimensions, conditional=False)

    def __call__(self, seed: int, place: int) -> BaseSampler:  # noqa: ARG002
        """The sampler of one trial."""
        sampler = _GP(seed=seed, warn_independent_sampling=False, **self._options)
        sampler.space = self._space
        return sampler


class CMAES:
    """CMA-ES over the ranges that every configuration has; all else is drawn at random."""

    def __init__(self, dimensions: Mapping[Any, Dimension], seed: int, **options: Any) -> None:  # noqa: ARG002
        self._options = options
        self._space = {
            name: form
            for name, form in _searched(dimensions, conditional=False).items()
            if not isinstance(form, CategoricalDistribution)
        }
        self.attributes: str | None = (
            "sepcma:"
            if options.get("use_separable_cma")
            else "cmawm:"
            if options.get("with_margin")
            else "cma:"
        )
        self._generators = _Generators()

    def __call__(self, seed: int, place: int) -> BaseSampler:  # noqa: ARG002
        """The sampler of one trial; the one before is not used any more."""
        sampler = _CMAES(seed, self._generators, warn_independent_sampling=False, **self._options)
        sampler.space = self._space
        return sampler


class QMC:
    """A sequence that covers the space evenly; its point depends on the trial's place alone."""

    attributes: str | None = None

    def __init__(
        self,
        dimensions: Mapping[Any, Dimension],
        seed: int,
        *,
        qmc_type: str = "sobol",
        scramble: bool = True,
    ) -> None:
        self._space = _searched(dimensions, conditional=True)
        self._sequence = _Sequence(qmc_type, max(1, len(self._space)), seed, scramble)

    def __call__(self, seed: int, place: int) -> BaseSampler:
        """The sampler of one trial."""
        return _SequenceSampler(self._space, self._sequence, place, seed)


@dataclass
class _Sequence:
    """The points of a low-discrepancy sequence by their number; asked in order, it goes on."""

    kind: str
    dimension: int
    seed: int
    scramble: bool
    _next: int = 0
    _engine: Any = field(default=None)

    def point(self, number: int) -> np.ndarray:
        """The point of that number, from 0: float64[dimension], each in [0, 1)."""
        if self._engine is None or number < self._next:
            from scipy.stats import qmc  # which takes a while to import

            engine = {"sobol": qmc.Sobol, "halton": qmc.Halton}[self.kind]
            self._engine = engine(self.dimension, scramble=self.scramble, rng=self.seed)
            self._next = 0
        if number > self._next:
            self._engine.fast_forward(number - self._next)
        self._next = number + 1
        return np.asarray(self._engine.random(1)[0])


class _SequenceSampler(BaseSampler):
    """Suggests one point of a sequence.

    Optuna's `QMCSampler` makes a new engine for every trial and winds it forward to its point; it
    draws the first trial, and whatever is conditional, at random.
    """

    def __init__(self, space: Space, sequence: _Sequence, number: int, seed: int) -> None:
        self._space, self._sequence, self._number = space, sequence, number
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:  # noqa: ARG002
        """The space that was given."""
        return dict(self._space)

    def sample_relative(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, Any],
    ) -> dict[str, Any]:
        """All parameters of the point."""
        point = self._sequence.point(self._number)
        return {
            name: _stretch(form, float(share))
            for (name, form), share in zip(search_space.items(), point, strict=False)
        }

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Not used: the point has every parameter."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)


def _stretch(form: Form, share: float) -> Any:
    """A number of [0, 1) as a value of a distribution, whose values are as likely as drawn."""
    if isinstance(form, CategoricalDistribution):
        return form.choices[int(share * len(form.choices))]
    if isinstance(form, IntDistribution):
        if not form.log:
            return form.low + int(share * (form.high - form.low + 1))
        low, high = math.log(form.low - 0.5), math.log(form.high + 0.5)
        value = round(math.exp(low + share * (high - low)))
        return min(max(value, form.low), form.high)
    if not form.log:
        return min(form.low + share * (form.high - form.low), form.high)
    low, high = math.log(form.low), math.log(form.high)
    return min(max(math.exp(low + share * (high - low)), form.low), form.high)


SAMPLERS: Mapping[str, Callable[..., SamplerFactory]] = {
    "tpe": TPE,
    "gp": GP,
    "cmaes": CMAES,
    "qmc": QMC,
}
