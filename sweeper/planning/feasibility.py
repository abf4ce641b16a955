"""Whether a spec can run in its environment and on this machine; builds the environment once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from sweeper.environments.building import EnvironmentDescription, describe
from sweeper.environments.envpool import check_envpool
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings
from sweeper.environments.spaces import explain_shape, has_channels_first
from sweeper.errors import Problem
from sweeper.hints import show
from sweeper.machine import usable_cores
from sweeper.planning.proposal import Proposal
from sweeper.planning.replay_memory import explain_too_much, find_largest_replay
from sweeper.planning.values import max_integer, possible_values
from sweeper.search.distributions import Distribution
from sweeper.spec.keys.names import default
from sweeper.spec.keys.support import (
    REFERENCE_BACKEND,
    Support,
    find_support,
    suggested_algorithms,
    supports,
)
from sweeper.spec.sections import Resources
from sweeper.spec.text.yaml import KeyPath, dotted
from sweeper.trainables.torch_backend.replay.memory import ReplayMemory

__all__ = ["Feasibility", "can_act", "check_feasibility", "count_fitting", "gpus"]


@dataclass(frozen=True)
class Feasibility:
    """The result of the check.

    Attributes:
        problems: what can't work, each at the key that asks for it.
        environment: None if it can't be built.
        replay: the largest replay memories of a trial; None if sweeper allocates none.
    """

    problems: tuple[Problem, ...]
    environment: EnvironmentDescription | None
    replay: ReplayMemory | None = None


def check_feasibility(proposal: Proposal, trials_at_once: int = 1) -> Feasibility:
    """Build the environment, and compare the proposal with it and with this machine."""
    described, replay, found = None, None, []
    if proposal.environment is not None:
        try:
            described = describe(proposal.environment)
        except EnvironmentBuildError as error:
            found.append((("environment", *error.key), str(error)))
        else:
            found.extend(_check_environment(proposal, proposal.environment, described))
            replay = _describe_replay(proposal, described)
            if replay is not None and proposal.is_local:
                problem = explain_too_much(replay, proposal.replicas, trials_at_once)
                if problem is not None:
                    found.append((("param_space", *replay.cause.split(".")), problem))
    found.extend(_check_resources(proposal))
    found.extend(_check_storage(proposal))
    problems = (Problem(proposal.locate(path), dotted(path), words) for path, words in found)
    return Feasibility(tuple(problems), described, replay)


# --- the environment -------------------------------------------------------------------------


def _check_environment(
    proposal: Proposal, settings: EnvironmentSettings, described: EnvironmentDescription
) -> Iterator[tuple[KeyPath, str]]:
    refusal = None
    if proposal.algorithm is not None:
        refusal = _refuse_spaces(proposal, proposal.algorithm, described)
    refusal = refusal or described.probe.fault
    if refusal is not None:
        yield ("environment", "id"), f"{settings.id}: {refusal}"
    if proposal.algorithm is None:
        return
    if _has_free_log_std(proposal) and not isinstance(described.action_space, spaces.Box):
        yield (
            ("param_space", "model_config"),
            f"free_log_std goes with continuous actions; {settings.id} has "
            f"{_short(described.action_space)}",
        )
    yield from _check_replay(proposal, described)
    yield from _check_vectorization(proposal, settings, described)


# Images that the networks have default filters for (rllib/models/utils.py, get_filter_config).
_IMAGE_SIZES = (96, 84, 64, 42, 10)


def can_act(algorithm: str, actions: gymnasium.Space[Any]) -> bool:
    """Whether an algorithm has a policy for a space of actions."""
    return _is_one_of(actions, find_support(REFERENCE_BACKEND, algorithm).actions)


def _is_one_of(space: gymnasium.Space[Any], names: Iterable[str]) -> bool:
    """Whether a space is of one of the named classes of `gymnasium.spaces`."""
    return isinstance(space, tuple(getattr(spaces, name) for name in names))


def _refuse_spaces(
    proposal: Proposal, algorithm: str, described: EnvironmentDescription
) -> str | None:
    action = described.action_space
    if not can_act(algorithm, action):
        names = " or ".join(proposal.support.actions)
        able = [
            other.algorithm
            if supports(proposal.backend, other.algorithm)
            else f"{other.algorithm} (backend: {other.backend})"
            for other in suggested_algorithms()
            if can_act(other.algorithm, action)
        ]
        hint = f"; {' and '.join(able)} can" if able else ""
        return f"{algorithm} can't act in {_short(action)}, only in {names}{hint}"
    if isinstance(action, spaces.Box) and action.dtype.kind != "f":
        return f"actions are a Box of {action.dtype}; must be a Box of floats, or a MultiDiscrete"
    refusal = _refuse_action_shape(proposal.support, action)
    if refusal is not None:
        return refusal
    observation = described.observation_space
    for leaf in _leaves(observation):
        if not _can_see(proposal.support, leaf):
            refusal = f"{algorithm} can't see observations of {_short(leaf)}"
            if _can_see(find_support(REFERENCE_BACKEND, algorithm), leaf):
                return f"{refusal} on backend {proposal.backend}; backend: {REFERENCE_BACKEND} can"
            return f"{refusal}; {_suggest_filter(proposal.support, observation)}"
    if isinstance(observation, spaces.Box):
        return _refuse_shape(proposal, observation)
    return None


def _can_see(support: Support, leaf: gymnasium.Space[Any]) -> bool:
    is_flat = not isinstance(leaf, spaces.MultiDiscrete) or len(leaf.shape) == 1
    return _is_one_of(leaf, support.observations) and is_flat


def _refuse_action_shape(support: Support, action: gymnasium.Space[Any]) -> str | None:
    is_number = action.shape == () and isinstance(action, spaces.Box)
    if len(action.shape or ()) <= 1 and (support.takes_scalar_actions or not is_number):
        return None
    return (
        f"actions are {_short(action)}; must be a vector: put a wrapper of your own around the "
        "environment that reshapes them"
    )


def _suggest_filter(support: Support, observation: gymnasium.Space[Any]) -> str:
    """How to leave out what can't be seen."""
    if isinstance(observation, spaces.Dict | spaces.Tuple):
        is_dict = isinstance(observation, spaces.Dict)
        parts = observation.spaces.items() if is_dict else enumerate(observation.spaces)
        seen = [
            key for key, part in parts if all(_can_see(support, leaf) for leaf in _leaves(part))
        ]
        if seen:
            keys = show(seen).replace("'", "")
            return f"leave it out: wrappers: [{{FilterObservation: {{filter_keys: {keys}}}}}]"
    if observation.is_np_flattenable:
        return "wrappers: [FlattenObservation] makes a vector of it"
    return "put a wrapper of your own around the environment that makes numbers of it"


def _refuse_shape(proposal: Proposal, observation: spaces.Box) -> str | None:
    shape = observation.shape
    if len(shape) == 1:
        return None
    if len(shape) != 3:
        return explain_shape(observation)
    height, width = shape[1:] if has_channels_first(shape) else shape[:2]
    network = proposal.param_space.get("model_config", {})
    has_filters = not isinstance(network, Mapping) or network.get("conv_filters") is not None
    if has_filters or (height == width and height in _IMAGE_SIZES):
        return None
    sizes = ", ".join(f"{n} x {n}" for n in reversed(_IMAGE_SIZES))
    remedy = "make a vector of them (wrappers: [FlattenObservation])"
    is_photo = not has_channels_first(shape) and observation.dtype == np.uint8
    if is_photo and (observation.high == 255).all() and not observation.low.any():
        # gymnasium's ResizeObservation takes no others.
        remedy = "resize them (wrappers: [{ResizeObservation: {shape: [84, 84]}}], with opencv)"
    return (
        f"images of {height} x {width} have no default filters, only {sizes}; {remedy}, or "
        "give model_config.conv_filters, as in [[16, 4, 2], [32, 4, 2]]"
    )


def _check_replay(
    proposal: Proposal, described: EnvironmentDescription
) -> Iterator[tuple[KeyPath, str]]:
    """RLlib evicts whole episodes, and fails if one is longer than its buffer."""
    if proposal.backend != REFERENCE_BACKEND:
        return
    replay = proposal.param_space.get("replay_buffer_config")
    capacity = replay.get("capacity") if isinstance(replay, Mapping) else None
    limit = described.max_episode_steps
    sizes = capacity.values or () if isinstance(capacity, Distribution) else (capacity,)
    smallest = min((size for size in sizes if isinstance(size, int)), default=None)
    if smallest is not None and limit is not None and smallest < limit:
        yield (
            ("param_space", "replay_buffer_config", "capacity"),
            f"must hold an episode, of {limit} steps here, at least; found {smallest}",
        )


def _describe_replay(proposal: Proposal, described: EnvironmentDescription) -> ReplayMemory | None:
    support = proposal.support
    if not support.has_own_replay or _refuse_spaces(proposal, support.algorithm, described):
        return None
    return find_largest_replay(proposal.param_space, described, proposal.replicas, proposal.stop)


def _has_free_log_std(proposal: Proposal) -> bool:
    values = possible_values(proposal.param_space, ("model_config", "free_log_std"), None)
    return any(value is True for value in values)


def _leaves(space: gymnasium.Space[Any]) -> Iterator[gymnasium.Space[Any]]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        for inner in space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces:
            yield from _leaves(inner)
    else:
        yield space


def _short(space: gymnasium.Space[Any]) -> str:
    text = " ".join(str(space).split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def _check_vectorization(
    proposal: Proposal, settings: EnvironmentSettings, described: EnvironmentDescription
) -> Iterator[tuple[KeyPath, str]]:
    if settings.vectorization == "envpool" and proposal.support.builds_vector_envs:
        try:
            check_envpool(settings, described)
        except EnvironmentBuildError as error:
            yield ("environment", *error.key), str(error)
    if settings.vectorization != "vector_entry_point":
        return
    here = ("environment", "vectorization")
    if settings.wrappers or _max_value(proposal, "num_env_runners"):
        yield (
            here,
            "vector_entry_point goes with neither wrappers nor num_env_runners above 0; use auto, "
            "sync or async",
        )
    elif gymnasium.spec(settings.id).vector_entry_point is None:
        yield here, f"{settings.id} has no vector entry point; use auto, sync or async"


# --- the machine -----------------------------------------------------------------------------


def _check_resources(proposal: Proposal) -> Iterator[tuple[KeyPath, str]]:
    resources = proposal.resources
    if resources is None or not proposal.is_local:
        return  # unreadable resources have been reported already; a cluster's size is unknown
    asked, has = _cpus_per_trial(proposal), usable_cores()
    if asked > has:
        runners = [key for key in _PROCESSES if _max_value(proposal, key)]
        path = ("param_space", runners[0]) if runners else ("resources", "cpus")
        beside = f" with its {_PROCESSES[runners[0]]}" if runners else ""
        yield path, f"a trial asks for {asked:g} cores{beside}; this machine has {has}"
    available = gpus()
    if resources.gpus > available:
        found = f"has {available}" if available else "has none that can be seen"
        yield (
            ("resources", "gpus"),
            f"a trial asks for {_gpu(resources.gpus)}; this machine {found}",
        )


def _gpu(number: float) -> str:
    return f"{number:g} GPU{'' if number == 1 else 's'}" if number >= 1 else f"{number:g} of a GPU"


_PROCESSES = {"num_env_runners": "env runners", "num_learners": "learners"}


def _max_value(proposal: Proposal, key: str) -> int:
    """The largest integer that a configuration can have under a key."""
    algorithm = proposal.algorithm
    usual = int((default(algorithm, (key,)) if algorithm else 0) or 0)
    if algorithm and key in proposal.support.fixed:
        return usual  # another value has been reported already
    return max_integer(possible_values(proposal.param_space, (key,), usual), 0)


def count_fitting(proposal: Proposal) -> int:
    """How many trials fit on this machine at a time."""
    fits = _count_shares(usable_cores(), _cpus_per_trial(proposal))
    asked = proposal.resources.gpus if proposal.resources else 0
    if not asked:
        return fits
    # A fraction of a GPU can't be spread over two GPUs.
    on_gpus = gpus() * _count_shares(1, asked) if asked < 1 else _count_shares(gpus(), asked)
    return min(fits, on_gpus)


def _count_shares(whole: int, share: float) -> int:
    """How many times a share fits into a whole, counted in Ray's units of 1/10,000."""
    return whole * 10_000 // round(share * 10_000)


def _cpus_per_trial(proposal: Proposal) -> float:
    """Cores of the trial's process, and one for each env runner and learner of each replica."""
    resources = proposal.resources or Resources()
    learners = 0 if resources.gpus else _max_value(proposal, "num_learners")
    runners = _max_value(proposal, "num_env_runners")
    return resources.cpus + proposal.replicas * (runners + learners)


def gpus() -> int:
    """The number of NVIDIA GPUs that this process may use; CUDA would take seconds to tell."""
    devices = [path for path in Path("/dev").glob("nvidia*") if path.name[6:].isdecimal()]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return len(devices)
    chosen = [one for one in visible.split(",") if one.strip() not in {"", "-1"}]
    return min(len(chosen), len(devices)) if devices else 0


def _check_storage(proposal: Proposal) -> Iterator[tuple[KeyPath, str]]:
    if "://" in proposal.storage:
        return
    path = Path(proposal.storage).expanduser().absolute()
    try:
        existing = next(one for one in (path, *path.parents) if one.exists())
        if not existing.is_dir():
            yield ("storage",), f"must be a folder for runs; {existing} is a file"
        elif not os.access(existing, os.W_OK | os.X_OK):
            message = f"the folder {existing} can't be written; give another with storage=PATH"
            yield ("storage",), message
    except OSError as error:
        yield ("storage",), f"{show(proposal.storage)} can't be a folder: {error.strerror}"
