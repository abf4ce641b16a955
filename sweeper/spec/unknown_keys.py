"""The keys at the top of a spec, and what to write instead of a stranger among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.hints import nearest
from sweeper.spec.keys.descriptions import TOP_LEVEL_KEYS
from sweeper.spec.keys.foreign import explain_foreign_name
from sweeper.spec.keys.names import check_algorithm, defaults
from sweeper.spec.keys.support import DEFAULT_ALGORITHM
from sweeper.spec.sections import Section

__all__ = ["explain_unknown_key", "find_meant"]

_ALSO_CALLED: Mapping[str, str] = {
    "algo": "algorithm",
    "env": "environment",
    "mlflow": "tracking",
    **dict.fromkeys(
        (
            "config", "hyperparameters", "hyperparams", "parameters", "params", "search_space",
            "space",
        ),
        "param_space",
    ),
}  # fmt: skip
_NEAR = 0.75  # so like a key of ours that it was probably meant


def find_meant(key: str) -> str | None:
    """The key that a stranger was probably meant to be; None if it is like none."""
    return nearest(key, TOP_LEVEL_KEYS, cutoff=_NEAR)


def explain_unknown_key(
    key: str, raw: Mapping[str, Any], sections: Mapping[str, type[Section]]
) -> str:
    """What to write instead of a key that a spec has not.

    Args:
        key: the stranger.
        raw: the spec's data.
        sections: the models of the spec's sections, whose keys it may be one of.
    """
    near = find_meant(key)
    if near:
        return f"unknown key; did you mean {near}?"
    algorithm = raw.get("algorithm")
    known = isinstance(algorithm, str) and check_algorithm(algorithm) is None
    if known and key in defaults(str(algorithm)):
        return f"a hyperparameter stands under param_space: param_space.{key}"
    if key in _ALSO_CALLED:
        return f"unknown key; its name here is {_ALSO_CALLED[key]}"
    for name, model in sections.items():
        if key in model.model_fields:
            return f"stands under {name}: {name}.{key}"
    foreign = explain_foreign_name(str(algorithm) if known else DEFAULT_ALGORITHM, key)
    if foreign is not None and foreign.startswith("its name here"):
        return f"unknown key; as a hyperparameter {foreign}, under param_space"
    return f"unknown key; a spec has {', '.join(TOP_LEVEL_KEYS)}"
