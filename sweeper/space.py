"""Distributions of a param space, for specs that are written in Python.

    from sweeper import load_spec, space

    spec = load_spec({
        "environment": "CartPole-v1",
        "algorithm": "PPO",
        "param_space": {"lr": space.loguniform(1e-5, 1e-2), "gamma": space.choice([0.98, 0.99])},
        "search": {"num_samples": 16},
        "stop": {"num_env_steps_sampled_lifetime": 50_000},
    })

They are called as in Ray Tune, and each returns what the YAML file has in its place. All take
``when``: the values of other parameters at which this one applies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "choice",
    "grid_search",
    "lograndint",
    "loguniform",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "uniform",
]

_When = Mapping[str, Any] | None


def choice(values: Sequence[Any], *, when: _When = None) -> dict[str, Any]:
    """One of the values, each as likely as any other."""
    return _make("choice", list(values), when)


def grid_search(values: Sequence[Any], *, when: _When = None) -> dict[str, Any]:
    """Every one of the values."""
    return _make("grid_search", list(values), when)


def uniform(lower: float, upper: float, *, when: _When = None) -> dict[str, Any]:
    """A number of ``[lower, upper)``."""
    return _make("uniform", [lower, upper], when)


def quniform(lower: float, upper: float, q: float, *, when: _When = None) -> dict[str, Any]:
    """A multiple of ``q`` in ``[lower, upper]``."""
    return _make("quniform", [lower, upper, q], when)


def loguniform(lower: float, upper: float, *, when: _When = None) -> dict[str, Any]:
    """A number of ``[lower, upper)`` whose logarithm is uniform."""
    return _make("loguniform", [lower, upper], when)


def qloguniform(lower: float, upper: float, q: float, *, when: _When = None) -> dict[str, Any]:
    """The same, rounded to a multiple of ``q``."""
    return _make("qloguniform", [lower, upper, q], when)


def randint(lower: int, upper: int, *, when: _When = None) -> dict[str, Any]:
    """A whole number of ``[lower, upper)``."""
    return _make("randint", [lower, upper], when)


def qrandint(lower: int, upper: int, q: int, *, when: _When = None) -> dict[str, Any]:
    """A multiple of ``q`` in ``[lower, upper]``, which Tune includes here."""
    return _make("qrandint", [lower, upper, q], when)


def lograndint(lower: int, upper: int, *, when: _When = None) -> dict[str, Any]:
    """A whole number of ``[lower, upper)`` whose logarithm is uniform."""
    return _make("lograndint", [lower, upper], when)


def qlograndint(lower: int, upper: int, q: int, *, when: _When = None) -> dict[str, Any]:
    """The same, rounded to a multiple of ``q``; ``upper`` is included."""
    return _make("qlograndint", [lower, upper, q], when)


def randn(mean: float, sd: float, *, when: _When = None) -> dict[str, Any]:
    """A number of a normal distribution."""
    return _make("randn", [mean, sd], when)


def qrandn(mean: float, sd: float, q: float, *, when: _When = None) -> dict[str, Any]:
    """The same, rounded to a multiple of ``q``."""
    return _make("qrandn", [mean, sd, q], when)


def _make(kind: str, arguments: list[Any], when: _When) -> dict[str, Any]:
    return {kind: arguments} if when is None else {kind: arguments, "when": dict(when)}
