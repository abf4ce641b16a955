"""The distributions of a param space as Optuna's, and values between the two.

Optuna has no distribution for half of ours. A choice is searched by the index of its value, so
values can be lists. A quantised range is searched by the multiple of its quantum. A normal
distribution is searched by the quantile, which is uniform.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from sweeper.search.distributions import Distribution, Path, distributions, is_same

__all__ = ["Dimension", "Form", "describe_dimensions", "order_dimensions"]

Form = CategoricalDistribution | IntDistribution | FloatDistribution

_TAIL = 1e-6  # the quantiles of a normal distribution end here, 4.75 deviations from its mean


@dataclass(frozen=True)
class Dimension:
    """One searched parameter as Optuna sees it.

    Attributes:
        name: its dotted path.
        leaf: the distribution in the param space.
        optuna: the distribution of what the sampler suggests.
        values: the distinct values of a choice; empty for a range.
    """

    name: str
    leaf: Distribution
    optuna: Form
    values: tuple[Any, ...] = ()

    def suggest(self, trial: Trial) -> Any:
        """Have a trial's sampler suggest a value, in our terms."""
        form = self.optuna
        if isinstance(form, CategoricalDistribution):
            return self.from_optuna(trial.suggest_categorical(self.name, form.choices))
        if isinstance(form, IntDistribution):
            return self.from_optuna(trial.suggest_int(self.name, form.low, form.high, log=form.log))
        return self.from_optuna(trial.suggest_float(self.name, form.low, form.high, log=form.log))

    def from_optuna(self, suggested: Any) -> Any:
        """The parameter's value for what a sampler suggests."""
        if self.values:
            return copy.deepcopy(self.values[suggested])
        quantum = self.leaf.quantum
        if self._is_normal:
            value = NormalDist(*_normal(self.leaf)).inv_cdf(suggested)
            return value if quantum is None else self.leaf.multiple(round(value / quantum))
        return suggested if quantum is None else self.leaf.multiple(suggested)

    def to_optuna(self, value: Any) -> Any:
        """What a sampler would have suggested for a value of the parameter."""
        form = self.optuna
        if isinstance(form, CategoricalDistribution):
            return next(n for n, one in enumerate(self.values) if is_same(one, value))
        if self._is_normal:
            return min(max(NormalDist(*_normal(self.leaf)).cdf(value), _TAIL), 1 - _TAIL)
        quantum = self.leaf.quantum
        if quantum is not None:
            value = round(value / quantum)  # a point may lie between two multiples
        value = min(max(value, form.low), form.high)
        return int(value) if isinstance(form, IntDistribution) else float(value)

    @property
    def _is_normal(self) -> bool:
        return self.leaf.values is None and self.leaf.bounds is None


def describe_dimensions(space: Mapping[str, Any]) -> dict[Path, Dimension]:
    """The dimensions of a param space by their paths, in its order; grids are among them."""
    return {path: _describe(".".join(path), leaf) for path, leaf in distributions(space)}


def order_dimensions(dimensions: Mapping[Path, Dimension]) -> list[Path]:
    """The paths, each after those that its condition names."""
    ordered: dict[Path, None] = {}

    def visit(path: Path) -> None:
        for name in dimensions[path].leaf.when or {}:
            other = tuple(name.split("."))
            if other in dimensions and other not in ordered:
                visit(other)
        ordered[path] = None

    for path in dimensions:
        visit(path)
    return list(ordered)


def _describe(name: str, leaf: Distribution) -> Dimension:
    if leaf.values is not None:
        values: list[Any] = []
        for value in leaf.values:
            if not any(is_same(value, one) for one in values):
                values.append(value)
        return Dimension(
            name, leaf, CategoricalDistribution(tuple(range(len(values)))), tuple(values)
        )
    if leaf.bounds is None:
        return Dimension(name, leaf, FloatDistribution(_TAIL, 1 - _TAIL))
    if leaf.quantum is not None:
        first, last = leaf.indices
        return Dimension(name, leaf, IntDistribution(first, last, log=leaf.is_log))
    low, high = leaf.bounds
    return Dimension(name, leaf, FloatDistribution(float(low), float(high), log=leaf.is_log))


def _normal(leaf: Distribution) -> tuple[float, float]:
    """A normal distribution's mean and deviation."""
    mean = leaf.args[0] if leaf.args else 0.0
    return mean, leaf.args[1] if len(leaf.args) > 1 else 1.0
