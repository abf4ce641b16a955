"""Hyperparameters that must fit each other, or RLlib fails the trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sweeper.search.distributions import Distribution, SpaceProblem
from sweeper.spec.keys.names import default, defaults
from sweeper.spec.keys.network import check_initialisers
from sweeper.spec.keys.support import REFERENCE_BACKEND, find_support

__all__ = ["check_combinations"]


def _candidates(value: Any) -> tuple[Any, ...]:
    """A key's values or the bounds of its range; empty if unknown.

    Unknown for a conditional key, whose condition may rule out the wrong combination: the drawn
    configurations are checked instead.
    """
    if not isinstance(value, Distribution):
        return (value,)
    return () if value.when is not None else value.values or value.bounds or ()


def _extremes(algorithm: str, space: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    """The smallest and largest number that a key can have; None if unknown."""
    candidates = _candidates(space.get(key, default(algorithm, (key,))))
    numbers = [one for one in candidates if isinstance(one, int | float)]
    return (min(numbers), max(numbers)) if numbers else None


def check_combinations(
    algorithm: str, space: Mapping[str, Any], backend: str = REFERENCE_BACKEND
) -> Iterator[SpaceProblem]:
    """Hyperparameters that don't fit each other; paths are below ``param_space``."""
    support = find_support(backend, algorithm)
    # A wrong value of a fixed key is reported already, and so is an unknown key.
    known = defaults(algorithm, backend)
    space = {key: one for key, one in _only_known(space, known).items() if key not in support.fixed}
    for check in _CHECKS[support.learns_from]:
        yield from check(algorithm, space)


def _only_known(space: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The space without keys that the algorithm lacks on this backend, at any depth."""
    return {
        key: _only_known(value, known[key])
        if isinstance(value, Mapping) and isinstance(known[key], Mapping)
        else value
        for key, value in space.items()
        if key in known
    }


def _minibatch_fits(algorithm: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    minibatch = _extremes(algorithm, space, "minibatch_size")
    key = "train_batch_size_per_learner"
    batch = _extremes(algorithm, space, key)
    learners = _extremes(algorithm, space, "num_learners")
    if batch is not None and learners is not None and key not in space:
        # The default is the whole batch, divided among the learners.
        batch = (batch[0] // max(1, learners[1]), batch[1])
    if minibatch is None or batch is None or minibatch[1] <= batch[0]:
        return
    sizes = f"minibatch_size up to {minibatch[1]}, {key} down to {batch[0]}"
    message = f"a minibatch can be larger than its train batch: {sizes}"
    yield SpaceProblem(("minibatch_size" if "minibatch_size" in space else key,), message)


def _minibatch_is_of_fragments(algorithm: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    minibatch = space.get("minibatch_size")
    key = "rollout_fragment_length"
    fragment = space.get(key, default(algorithm, (key,)))
    sizes = minibatch.values if isinstance(minibatch, Distribution) else (minibatch,)
    if not isinstance(fragment, int) or fragment < 1:
        return
    wrong = [size for size in sizes or () if isinstance(size, int) and size % fragment]
    if wrong:
        message = f"must be a multiple of {key} ({fragment}); found {wrong[0]}"
        yield SpaceProblem(("minibatch_size",), message)


def _fragment_fits(algorithm: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    """Fragments of all environments must make up the batch to within a tenth, as RLlib checks."""
    fragment = space.get("rollout_fragment_length")
    if not isinstance(fragment, int):
        return
    sizes = []
    for key in ("num_envs_per_env_runner", "num_env_runners", "train_batch_size_per_learner"):
        value = space.get(key, default(algorithm, (key,)))
        if isinstance(value, bool) or not isinstance(value, int):
            return
        sizes.append(value)
    envs, batch = sizes[0] * max(sizes[1], 1), sizes[2]
    unit = envs * fragment
    if unit < 1 or batch < 1:
        return
    collected = math.ceil(batch / unit) * unit
    if collected - batch > 0.1 * batch:
        made = f"{fragment} steps of {envs} environments make batches of {collected}"
        message = f"{made}, more than a tenth off train_batch_size_per_learner {batch}; use auto"
        yield SpaceProblem(("rollout_fragment_length",), message)


def _n_step_fits(_: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    fragment = space.get("rollout_fragment_length", "auto")
    if not isinstance(fragment, int):
        return
    candidates = _candidates(space.get("n_step", 1))
    if any(isinstance(one, list) for one in candidates):
        message = "an n_step range needs rollout_fragment_length: auto"
        yield SpaceProblem(("n_step",), message)
    elif any(isinstance(one, int) and one > fragment for one in candidates):
        message = f"n_step can be larger than rollout_fragment_length ({fragment})"
        yield SpaceProblem(("n_step",), message)


def _gae_fits(_: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    truncates = space.get("batch_mode", "truncate_episodes") == "truncate_episodes"
    if space.get("use_gae") is False and truncates:
        message = "without GAE whole episodes are needed: batch_mode: complete_episodes"
        yield SpaceProblem(("use_gae",), message)


def _atoms_fit(algorithm: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    if "num_atoms" not in defaults(algorithm):
        return
    low, high = (_extremes(algorithm, space, key) for key in ("v_min", "v_max"))
    if low is not None and high is not None and low[1] >= high[0]:
        key = "v_min" if "v_min" in space else "v_max"
        yield SpaceProblem((key,), f"v_min (up to {low[1]}) must lie below v_max ({high[0]})")


def _initialisers_fit(_: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    network = space.get("model_config")
    if isinstance(network, Mapping):
        for problem in check_initialisers(network):
            yield SpaceProblem(("model_config", *problem.path), problem.message)


def _log_std_fits(algorithm: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    """A first log deviation needs deviations of their own, and a value that can change."""
    network = space.get("model_config")
    if not isinstance(network, Mapping) or "log_std_init" not in network:
        return
    here = ("model_config", "log_std_init")
    first = [one for one in _candidates(network["log_std_init"]) if isinstance(one, int | float)]
    free = network.get("free_log_std", default(algorithm, ("model_config", "free_log_std")))
    if any(first) and False in _candidates(free):
        remedy = "; give it when: {model_config.free_log_std: true}" if free is not False else ""
        message = "is where a deviation of its own starts, which needs free_log_std: true"
        yield SpaceProblem(here, f"{message}{remedy}")
    given = _candidates(network.get("log_std_clip_param"))
    clips = [one for one in given if isinstance(one, int | float)]
    if first and clips and (most := max(map(abs, first))) > min(clips):
        bound = f"log_std_clip_param ({min(clips):g}), or it never changes"
        yield SpaceProblem(here, f"must lie within plus or minus {bound}; found {most:g}")


def _replay_fits(algorithm: str, space: Mapping[str, Any]) -> Iterator[SpaceProblem]:
    replay = space.get("replay_buffer_config")
    capacity = replay.get("capacity") if isinstance(replay, Mapping) else None
    if not isinstance(capacity, int) or capacity < 1:
        return
    for key in ("train_batch_size_per_learner", "num_steps_sampled_before_learning_starts"):
        needed = _extremes(algorithm, space, key)
        if needed is not None and capacity < needed[1]:
            message = f"must hold {key} ({needed[1]:g}) at least; found {capacity}"
            yield SpaceProblem(("replay_buffer_config", "capacity"), message)
            return


_Check = Callable[[str, Mapping[str, Any]], Iterator[SpaceProblem]]
# By what an algorithm learns from.
_CHECKS: Mapping[str, tuple[_Check, ...]] = {
    "batch": (_minibatch_fits, _fragment_fits, _gae_fits, _initialisers_fit, _log_std_fits),
    "queue": (_minibatch_fits, _minibatch_is_of_fragments, _initialisers_fit),
    "replay": (_n_step_fits, _atoms_fit, _initialisers_fit, _replay_fits),
}
