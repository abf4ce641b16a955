"""Names, defaults and domains of an algorithm's hyperparameters.

Names and defaults are RLlib's, from a table recorded for one version
(``tools/record_rllib_table.py``), so checking a spec does not import Ray. A test compares the table
with the installed version. What a backend has beyond RLlib is in `support`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeper.hints import did_you_mean, show
from sweeper.spec.keys.domains import Domain, domain_of
from sweeper.spec.keys.foreign import dead_network_reason, dead_reason, explain_foreign_name
from sweeper.spec.keys.support import BACKENDS, REFERENCE_BACKEND, find_support

__all__ = [
    "algorithms",
    "check_algorithm",
    "default",
    "defaults",
    "domain",
    "extending_backend",
    "is_network_key",
    "is_refused_key",
    "recorded_version",
]

_LATER = ("DreamerV3", "TQC")  # of the design, but not of this version
_OFFLINE = ("BC", "CQL", "IQL", "MARWIL")


@functools.cache
def _table() -> dict[str, Any]:
    text = (Path(__file__).parent / "rllib.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def recorded_version() -> str:
    """The Ray version of the table."""
    return str(_table()["ray"])


def algorithms() -> tuple[str, ...]:
    """The algorithms that a spec can name."""
    return tuple(sorted(_table()["algorithms"]))


def check_algorithm(name: str) -> str | None:
    """Why an algorithm can't be trained; None if it can."""
    if name in algorithms():
        return None
    if name in _LATER:
        return f"not available yet: algorithm {name}"
    if name in _OFFLINE:
        return f"{name} can't be swept: it learns from recorded data, which a spec can't name"
    hint = did_you_mean(name, algorithms(), cutoff=0.7)
    return f"unknown algorithm {show(name)}; must be one of {', '.join(algorithms())}{hint}"


@functools.cache
def defaults(algorithm: str, backend: str = REFERENCE_BACKEND) -> Mapping[str, Any]:
    """The defaults of every key that a spec may set, nested.

    A trial is one process, so ``num_env_runners`` and ``num_learners`` are 0 by default.
    """
    entry = _table()["algorithms"][algorithm]
    support = find_support(backend, algorithm)
    found = {
        key: value
        for key, value in entry["defaults"].items()
        if dead_reason(algorithm, key) is None and explain_foreign_name(algorithm, key) is None
    }
    network = {
        key: value
        for key, value in {**_table()["model_config"], **entry["model_config"]}.items()
        if dead_network_reason(algorithm, key) is None
    }
    everything = {
        **found,
        "model_config": {**_only(network, support.network), **support.extensions},
        "num_env_runners": 0,
        "num_learners": 0,
    }
    return _only(everything, support.keys)


def _only(values: Mapping[str, Any], keys: frozenset[str] | None) -> dict[str, Any]:
    return {key: value for key, value in values.items() if keys is None or key in keys}


def default(algorithm: str, path: tuple[str, ...], backend: str = REFERENCE_BACKEND) -> Any:
    """The default of one key; None for a key without one."""
    value: Any = defaults(algorithm, backend)
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def domain(algorithm: str, path: tuple[str, ...], backend: str = REFERENCE_BACKEND) -> Domain:
    """The values that one key takes."""
    name, support = ".".join(path), find_support(backend, algorithm)
    found = domain_of(name, default(algorithm, path, backend))
    if name in support.scheduled:
        found = replace(found, has_schedule=True)
    if name in support.fractions:
        found = replace(found, is_integer=False)
    return replace(found, words=support.words[name]) if name in support.words else found


def extending_backend(algorithm: str, key: str) -> str | None:
    """The backend that has a key of ``model_config`` beyond RLlib's; None if none has."""
    return next((one for one in BACKENDS if key in find_support(one, algorithm).extensions), None)


def is_network_key(key: str) -> bool:
    """Whether a key belongs under ``model_config``, on any backend."""
    return key in _table()["model_config"] or any(
        extending_backend(algorithm, key) for algorithm in algorithms()
    )


def is_refused_key(algorithm: str, key: str) -> bool:
    """Whether RLlib knows a key that a spec can't set."""
    return key in _table()["algorithms"][algorithm]["others"]
