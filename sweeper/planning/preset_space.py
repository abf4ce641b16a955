"""The search space around a preset: each searched key's own value, and values on both sides of it.

Learning rates are searched on a log scale, from a third of the preset's to three times it. A
discount is compared by its horizon, 1 / (1 - gamma): half of it, the same, twice. Of a schedule
varies where it begins (a rate) or when it ends (epsilon): a distribution can't be part of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sweeper.spec import dump_value

__all__ = ["write_space_around"]

_FACTOR = 3  # between a value and the ends of its range


def write_space_around(space: Mapping[str, Any]) -> str:
    """A preset's param space as YAML, indented below ``param_space``, with some keys searched."""
    searched = {key: vary(space[key]) for key, vary in _VARIED.items() if key in space}
    lines = ["  # Searched: the preset's values, and some on both sides of them."]
    for key, distribution in searched.items():
        lines += _write_searched(key, distribution, space[key])
    lines += ["", "  # Fixed, as the preset has them."]
    for key, value in space.items():
        if key not in searched:
            lines += _write_fixed(key, value, "  ")
    return "\n".join(lines)


def _write_searched(key: str, distribution: Mapping[str, list[Any]], usual: Any) -> Iterator[str]:
    whose = f"# the preset's: {dump_value(usual)}"
    line = f"  {key}: {dump_value(distribution)}"
    if not isinstance(usual, list):
        yield f"{line}  {whose}"
        return
    yield f"  {key}:  {whose}"
    ((kind, values),) = distribution.items()
    yield f"    {kind}:"
    yield from (f"      - {dump_value(value)}" for value in values)


def _write_fixed(key: str, value: Any, indent: str) -> Iterator[str]:
    if not isinstance(value, Mapping) or not value:
        yield f"{indent}{key}: {dump_value(value)}"
        return
    yield f"{indent}{key}:"
    for inner, one in value.items():
        # Arguments of an initialiser stay in one line.
        is_short = isinstance(one, Mapping)
        below = f"{indent}  "
        yield from (
            [f"{below}{inner}: {dump_value(one)}"] if is_short else _write_fixed(inner, one, below)
        )


def _around(value: Any) -> dict[str, list[Any]]:
    """A rate, or where a schedule of it begins."""
    if isinstance(value, list):
        first = value[0][1]
        starts = [_round(first / _FACTOR), first, _round(first * _FACTOR)]
        return {"choice": [[[value[0][0], start], *value[1:]] for start in starts]}
    return {"loguniform": [_round(value / _FACTOR), _round(value * _FACTOR)]}


def _horizons(value: float) -> dict[str, list[Any]]:
    return {"choice": [round(1 - 2 * (1 - value), 6), value, round(1 - (1 - value) / 2, 6)]}


def _bonuses(value: float) -> dict[str, list[Any]]:
    return _around(value) if value else {"choice": [0.0, 0.001, 0.01]}


def _apart(value: int) -> dict[str, list[Any]]:
    """An interval that libraries set to anything from 10 to 10,000."""
    return {"choice": [max(1, value // 5), value, 5 * value]}


def _doubled(value: int) -> dict[str, list[Any]]:
    return {"choice": [value // 2, value, 2 * value]}


def _stretched(value: list[list[Any]]) -> dict[str, list[Any]]:
    """A schedule that ends after half the steps, as many, and twice as many."""
    return {"choice": [[[int(step * one), end] for step, end in value] for one in (0.5, 1, 2)]}


def _round(value: float) -> float:
    return float(f"{value:.2g}")


_VARIED: Mapping[str, Callable[[Any], dict[str, list[Any]]]] = {
    "lr": _around,
    "gamma": _horizons,
    "lambda_": _horizons,
    "entropy_coeff": _bonuses,
    "num_epochs": _doubled,
    "epsilon": _stretched,
    "target_network_update_freq": _apart,
}
