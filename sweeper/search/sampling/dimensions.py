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
from sweeper.search.expansion import grid_index, quantise

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
        if self._is_normal:
            mean, deviation, quantum = _normal(self.leaf)
            value = NormalDist(mean, deviation).inv_cdf(suggested)
            return value if quantum is None else quantise(value, quantum)
        quantum = _quantum(self.leaf)
        if quantum is None:
            return suggested
        return (
            int(suggested * quantum)
            if self.leaf.is_integer
            else quantise(suggested * quantum, quantum)
        )

    def to_optuna(self, value: Any) -> Any:
        """What a sampler would have suggested for a value of the parameter."""
        form = self.optuna
        if isinstance(form, CategoricalDistribution):
            return next(n for n, one in enumerate(self.values) if is_same(one, value))
        if self._is_normal:
            mean, deviation, _ = _normal(self.leaf)
            return min(max(NormalDist(mean, deviation).cdf(value), _TAIL), 1 - _TAIL)
        quantum = _quantum(self.leaf)
        if quantum is not None:
            value = round(value / quantum)
        # A point may be written as a whole number, or lie between two multiples.
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
    low, high = leaf.bounds
    quantum = _quantum(leaf)
    if quantum is not None:
        first, last = grid_index(low, quantum, up=True), grid_index(high, quantum, up=False)
        return Dimension(name, leaf, IntDistribution(int(first), int(last), log=leaf.is_log))
    if leaf.is_integer:
        return Dimension(name, leaf, IntDistribution(int(low), int(high), log=leaf.is_log))
    return Dimension(name, leaf, FloatDistribution(float(low), float(high), log=leaf.is_log))


def _quantum(leaf: Distribution) -> float | None:
    return leaf.args[2] if len(leaf.args) > 2 else None


def _normal(leaf: Distribution) -> tuple[float, float, float | None]:
    mean = leaf.args[0] if leaf.args else 0.0
    deviation = leaf.args[1] if len(leaf.args) > 1 else 1.0
    return mean, deviation, _quantum(leaf)
