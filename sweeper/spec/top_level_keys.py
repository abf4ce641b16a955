"""What to write instead of an unknown key at the top level of a spec."""

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
_NEAR = 0.75  # similarity from which on a key was probably meant


def find_meant(key: str) -> str | None:
    """The known key that an unknown one was probably meant to be; None if none is near."""
    return nearest(key, TOP_LEVEL_KEYS, cutoff=_NEAR)


def explain_unknown_key(
    key: str, raw: Mapping[str, Any], sections: Mapping[str, type[Section]]
) -> str:
    """What to write instead of an unknown key.

    Args:
        key: the unknown one.
        raw: the spec's data.
        sections: models of the spec's sections, which the key may belong to.
    """
    near = find_meant(key)
    if near:
        return f"unknown key; did you mean {near}?"
    above, dot, below = key.partition(".")
    if dot and above in TOP_LEVEL_KEYS:
        return f"unknown key; keys are nested here, write {above}: {{{below}: …}}"
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
