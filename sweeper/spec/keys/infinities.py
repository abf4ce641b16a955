"""Infinity as JSON has it: the text ``inf`` where a hyperparameter takes numbers.

`best --json` prints a configuration with ``.inf`` as that text, since JSON has no infinity. As a
param space it must mean the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sweeper.search.distributions import KINDS, flatten
from sweeper.spec.keys.names import defaults, domain

__all__ = ["read_infinite_points", "read_infinities"]

_INFINITIES: Mapping[str, float] = {"inf": math.inf, "-inf": -math.inf}


def read_infinities(space: Mapping[str, Any], algorithm: str, backend: str) -> dict[str, Any]:
    """The param space with numbers in the place of such texts; all else as it is.

    Args:
        space: as read from the document; leaves may be distributions in their written form.
        algorithm: whose hyperparameters they are.
        backend: that trains it.
    """
    numbers = {
        path
        for path, _ in flatten(defaults(algorithm, backend))
        if domain(algorithm, path, backend).is_number
    }

    def read(value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, str):
            return _INFINITIES.get(value, value) if path in numbers else value
        if isinstance(value, list):
            return [read(item, path) for item in value]
        if isinstance(value, Mapping):
            return {
                key: read(item, path if key in KINDS else (*path, key))
                for key, item in value.items()
            }
        return value

    return {key: read(value, (key,)) for key, value in space.items()}


def read_infinite_points(raw: Mapping[str, Any], algorithm: str, backend: str) -> dict[str, Any]:
    """A document with numbers in the place of such texts in ``search.points_to_evaluate``."""
    search = raw.get("search")
    points = search.get("points_to_evaluate") if isinstance(search, Mapping) else None
    if not isinstance(search, Mapping) or not isinstance(points, list):
        return dict(raw)
    read = [
        read_infinities(point, algorithm, backend) if isinstance(point, Mapping) else point
        for point in points
    ]
    return {**raw, "search": {**search, "points_to_evaluate": read}}
