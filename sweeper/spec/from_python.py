"""A spec's dictionary from Python, in the plain values that YAML has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

__all__ = ["plain_values"]

_TUNE = "ray.tune.search.sample"
# Tune's samplers by the name of their class: the kind's name for floats, and for whole numbers.
_SAMPLERS = {
    "_Uniform": ("uniform", "randint"),
    "_LogUniform": ("loguniform", "lograndint"),
    "_Normal": ("randn", ""),
}


def plain_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """The dictionary with Ray Tune's distributions as the spec writes them, and plain numbers.

    What has no plain form stays, for the spec's own check to name.
    """
    return {key: _plain(value) for key, value in given.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain_values(value)
    if isinstance(value, list | tuple | range):
        return [_plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    kind = type(value)
    if kind.__module__ == _TUNE:
        return _plain_domain(value)
    if kind.__module__ == "numpy":
        return value.tolist()
    return value


def _plain_domain(domain: Any) -> Any:
    """One of Ray Tune's distributions, told by its attributes: importing Tune takes seconds."""
    name = type(domain).__name__
    if name == "Categorical":
        return {"choice": [_plain(one) for one in domain.categories]}
    sampler: Any = getattr(domain, "sampler", None)
    quantum = getattr(sampler, "q", None)
    if quantum is not None:
        sampler = sampler.sampler
    kinds = _SAMPLERS.get(type(sampler).__name__)
    if name not in ("Float", "Integer") or kinds is None:
        return domain
    kind = kinds[name == "Integer"]
    if type(sampler).__name__ == "_Normal":
        arguments = [sampler.mean, sampler.sd]
    else:
        arguments = [domain.lower, domain.upper]
    if quantum is None:
        return {kind: arguments}
    return {f"q{kind}": [*arguments, quantum]}
