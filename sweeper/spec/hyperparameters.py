"""What an algorithm's hyperparameters are called, and which values they take.

The names and defaults are RLlib's, from a table recorded for one version of it
(``tools/record_rllib_table.py``), so that a spec is checked without importing Ray; a test holds
the table against the installed version.
"""

from __future__ import annotations

import difflib
import functools
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweeper.space import Distribution, SpaceProblem
from sweeper.spec.domains import check_value, describe_domain, domain_of
from sweeper.spec.foreign_names import dead_reason, explain_foreign_name

__all__ = [
    "algorithms",
    "check_algorithm",
    "check_param_space",
    "default",
    "defaults",
    "recorded_version",
]

KeyPath = tuple[str | int, ...]

_REFUSED: Mapping[str, str] = {
    "BC": "it learns from recorded data, which a spec has no place for",
    "CQL": "it learns from recorded data, which a spec has no place for",
    "IQL": "it learns from recorded data, which a spec has no place for",
    "MARWIL": "it learns from recorded data, which a spec has no place for",
    "DreamerV3": "not available yet",
    "TQC": "not available yet",
}
_NESTED = ("model_config", "replay_buffer_config")


@functools.cache
def _table() -> dict[str, Any]:
    text = (Path(__file__).parent / "data" / "rllib.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def recorded_version() -> str:
    """The Ray version that the table was recorded for."""
    return str(_table()["ray"])


def algorithms() -> tuple[str, ...]:
    """The algorithms that a spec can name."""
    return tuple(sorted(_table()["algorithms"]))


def check_algorithm(name: str) -> str | None:
    """What is wrong with an algorithm's name; None if it can be trained."""
    if name in algorithms():
        return None
    if name in _REFUSED:
        reason = _REFUSED[name]
        later = "not available yet: algorithm " + name
        return later if reason == "not available yet" else f"{name} can't be swept: {reason}"
    folded = {known.lower(): known for known in algorithms()}
    near = difflib.get_close_matches(name.lower(), folded, n=1)
    hint = f"; did you mean {folded[near[0]]}?" if near else ""
    return f"unknown algorithm {name!r}; one of {', '.join(algorithms())}{hint}"


@functools.cache
def defaults(algorithm: str) -> Mapping[str, Any]:
    """The defaults of every key that a spec may set, nested; RLlib's, but without env runners.

    A trial is one process: env runners and learners beside it are 0 unless the spec says
    otherwise.
    """
    entry = _table()["algorithms"][algorithm]
    found = {
        key: value
        for key, value in entry["defaults"].items()
        if dead_reason(algorithm, key) is None and explain_foreign_name(algorithm, key) is None
    }
    found["model_config"] = {**_table()["model_config"], **entry["model_config"]}
    return {**found, "num_env_runners": 0, "num_learners": 0}


def default(algorithm: str, path: tuple[str, ...]) -> Any:
    """The default of one key; None for a key without one."""
    value: Any = defaults(algorithm)
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def check_param_space(algorithm: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    """Everything wrong with a param space of an algorithm; paths are below ``param_space``.

    Every value that could be drawn is checked: constants, choices, the bounds of ranges.
    """
    known = defaults(algorithm)
    for key, value in space.items():
        if key not in known:
            yield SpaceProblem((key,), _explain_unknown(algorithm, key))
        elif key in _NESTED:
            yield from _check_nested(algorithm, key, value)
        else:
            yield from _check_leaf(algorithm, (key,), value)
    yield from _check_combinations(algorithm, space)


def _explain_unknown(algorithm: str, key: str) -> str:
    foreign = explain_foreign_name(algorithm, key)
    if foreign is not None:
        return foreign
    known = defaults(algorithm)
    if key in _table()["model_config"]:
        return f"belongs to the network; its name here is model_config.{key}"
    if key in _table()["algorithms"][algorithm]["others"]:
        return "RLlib knows this key, but a spec can't set it"
    owners = [other for other in algorithms() if key in defaults(other)]
    if owners:
        return (
            f"{algorithm} has no such hyperparameter; {', '.join(owners)} have it"
            if len(owners) > 1
            else f"{algorithm} has no such hyperparameter; {owners[0]} has it"
        )
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; {algorithm} has {', '.join(known)}"
    return f"unknown hyperparameter of {algorithm}{hint}"


def _check_nested(algorithm: str, key: str, value: Any) -> Iterator[SpaceProblem]:
    if isinstance(value, Distribution):
        for number, one in enumerate(value.values or ()):
            for problem in _check_nested(algorithm, key, one):
                where = (key, value.kind, number)
                yield SpaceProblem(where, problem.message)
        if value.values is None:
            yield SpaceProblem((key,), f"{key} is a mapping, not a number")
        return
    if not isinstance(value, Mapping):
        yield SpaceProblem((key,), f"{key} is a mapping of its own keys; found {value!r}")
        return
    known = defaults(algorithm)[key]
    for inner, leaf in value.items():
        if inner not in known:
            near = difflib.get_close_matches(inner, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; one of {', '.join(known)}"
            yield SpaceProblem((key, inner), f"unknown key of {key}{hint}")
        else:
            yield from _check_leaf(algorithm, (key, inner), leaf)


def _check_leaf(algorithm: str, path: tuple[str, ...], value: Any) -> Iterator[SpaceProblem]:
    name = ".".join(path)
    fallback = default(algorithm, path)
    domain = domain_of(name, fallback)
    if not isinstance(value, Distribution):
        problem = check_value(domain, value)
        if problem is not None:
            yield SpaceProblem(path, problem)
        return
    here = (*path, value.kind)
    if value.values is not None:
        for number, one in enumerate(value.values):
            problem = check_value(domain, one)
            if problem is not None:
                yield SpaceProblem((*here, number), problem)
        return
    if domain.is_free:
        return
    if not domain.is_number:
        yield SpaceProblem(here, f"a range of numbers, but {describe_domain(domain)} is due")
    elif domain.is_integer and not value.is_integer:
        yield SpaceProblem(
            here, "draws fractions, but whole numbers are due; use randint, lograndint or choice"
        )
    elif value.bounds is None:
        if domain.is_bounded:
            yield SpaceProblem(
                here,
                f"draws values without bounds, but {describe_domain(domain)} is "
                "due; use uniform or loguniform",
            )
    else:
        for number, bound in enumerate(value.bounds):
            problem = check_value(domain, bound)
            if problem is not None:
                yield SpaceProblem((*here, number), problem)
                return


def _extremes(algorithm: str, space: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    """The least and greatest number that a key can have; None if that can't be said."""
    value = space.get(key, default(algorithm, (key,)))
    if isinstance(value, Distribution):
        candidates = list(value.values or value.bounds or ())
    else:
        candidates = [value]
    numbers = [one for one in candidates if isinstance(one, int | float)]
    return (min(numbers), max(numbers)) if numbers else None


def _check_combinations(algorithm: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    for check in (
        _minibatch_fits,
        _minibatch_is_of_fragments,
        _fragment_fits,
        _n_step_fits,
        _gae_fits,
        _atoms_fit,
    ):
        yield from check(algorithm, space)


def _minibatch_fits(algorithm: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    if algorithm not in {"PPO", "IMPALA", "APPO"}:
        return
    minibatch = _extremes(algorithm, space, "minibatch_size")
    batch = _extremes(algorithm, space, "train_batch_size_per_learner")
    if minibatch is None or batch is None or minibatch[1] <= batch[0]:
        return
    named = "minibatch_size" if "minibatch_size" in space else "train_batch_size_per_learner"
    yield SpaceProblem(
        (named,),
        f"a minibatch can be larger than its train batch: minibatch_size up to {minibatch[1]}, "
        f"train_batch_size_per_learner down to {batch[0]}",
    )


def _minibatch_is_of_fragments(algorithm: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    if algorithm not in {"IMPALA", "APPO"}:
        return
    minibatch = space.get("minibatch_size")
    key = "rollout_fragment_length"
    fragment = space.get(key, default(algorithm, (key,)))
    sizes = minibatch.values if isinstance(minibatch, Distribution) else (minibatch,)
    if not isinstance(fragment, int) or fragment < 1:
        return
    wrong = [size for size in sizes or () if isinstance(size, int) and size % fragment]
    if wrong:
        yield SpaceProblem(
            ("minibatch_size",),
            f"a multiple of {key} ({fragment}) is due; found {wrong[0]}",
        )


def _fragment_fits(algorithm: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    """PPO's batch must be a multiple of a fragment of all environments, to within a tenth."""
    fragment = space.get("rollout_fragment_length")
    if algorithm != "PPO" or not isinstance(fragment, int):
        return
    sizes = []
    for key in ("num_envs_per_env_runner", "num_env_runners", "train_batch_size_per_learner"):
        value = space.get(key, default(algorithm, (key,)))
        if isinstance(value, bool) or not isinstance(value, int):
            return
        sizes.append(value)
    envs, runners, batch = sizes
    unit = max(runners, 1) * envs * fragment
    if unit < 1 or batch < 1:
        return
    collected = math.ceil(batch / unit) * unit
    if collected - batch > 0.1 * batch:
        yield SpaceProblem(
            ("rollout_fragment_length",),
            f"{fragment} steps of {max(runners, 1) * envs} environments make batches of "
            f"{collected}, more than a tenth off train_batch_size_per_learner {batch}; use auto",
        )


def _n_step_fits(algorithm: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    fragment = space.get("rollout_fragment_length", "auto")
    if algorithm not in {"DQN", "SAC"} or not isinstance(fragment, int):
        return
    value = space.get("n_step", 1)
    candidates = (
        list(value.values or value.bounds or ()) if isinstance(value, Distribution) else [value]
    )
    if any(isinstance(one, list) for one in candidates):
        message = "an n_step range needs rollout_fragment_length: auto"
        yield SpaceProblem(("n_step",), message)
    elif any(isinstance(one, int) and one > fragment for one in candidates):
        message = f"n_step can be larger than rollout_fragment_length ({fragment})"
        yield SpaceProblem(("n_step",), message)


def _gae_fits(algorithm: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    truncates = space.get("batch_mode", "truncate_episodes") == "truncate_episodes"
    if algorithm == "PPO" and space.get("use_gae") is False and truncates:
        message = "without GAE whole episodes are needed: batch_mode: complete_episodes"
        yield SpaceProblem(("use_gae",), message)


def _atoms_fit(algorithm: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    if algorithm != "DQN":
        return
    low, high = (_extremes(algorithm, space, key) for key in ("v_min", "v_max"))
    if low is not None and high is not None and low[1] >= high[0]:
        key = "v_min" if "v_min" in space else "v_max"
        yield SpaceProblem((key,), f"v_min (up to {low[1]}) must lie below v_max ({high[0]})")
