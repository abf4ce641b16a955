"""Whether the environment and this machine can carry a spec out; builds the environment once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from sweeper.environments.building import EnvironmentDescription, describe
from sweeper.environments.envpool import check_envpool
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings
from sweeper.errors import Location, Problem
from sweeper.hints import show
from sweeper.planning.replay_memory import explain_too_much, find_largest_replay
from sweeper.planning.values import possible_values
from sweeper.search.distributions import Distribution
from sweeper.spec import ExperimentSpec
from sweeper.spec.draft import Draft
from sweeper.spec.keys.names import default
from sweeper.spec.keys.support import (
    BACKENDS,
    REFERENCE_BACKEND,
    Support,
    find_support,
    suggested_algorithms,
    supports,
)
from sweeper.spec.sections import Environment, Ray, Resources
from sweeper.spec.text.yaml import KeyPath, dotted
from sweeper.trainables.torch_backend.dqn.memory import ReplayMemory

__all__ = [
    "Candidate",
    "Feasibility",
    "can_act",
    "check_feasibility",
    "cores",
    "count_fitting",
    "gpus",
]


@dataclass(frozen=True)
class Candidate:
    """What is asked of the environment and the machine; None where it could not be read."""

    algorithm: str | None
    backend: str
    environment: EnvironmentSettings | None
    param_space: Mapping[str, Any]
    replicas: int
    resources: Resources | None
    is_local: bool
    storage: str
    stop: Mapping[str, float]
    locate: Callable[[KeyPath], Location]

    @property
    def support(self) -> Support:
        """What the backend supports of the algorithm."""
        return find_support(self.backend, self.algorithm or "")

    @classmethod
    def of_spec(cls, spec: ExperimentSpec) -> Candidate:
        """All that a whole spec asks."""
        return cls(
            algorithm=spec.algorithm,
            backend=spec.backend,
            environment=spec.environment.settings(),
            param_space=spec.param_space,
            replicas=len(spec.seeds),
            resources=spec.resources,
            is_local=spec.ray.address is None,
            storage=spec.storage,
            stop=spec.stop,
            locate=spec.locate,
        )

    @classmethod
    def of_draft(cls, draft: Draft) -> Candidate:
        """What a spec with problems asks, where it could be read."""
        environment, ray = draft.get(Environment), draft.get(Ray)
        is_whole = environment is not None and "environment" not in draft.broken
        return cls(
            algorithm=draft.algorithm,
            backend=draft.backend,
            environment=environment.settings() if environment and is_whole else None,
            param_space=draft.space,
            replicas=len(draft.seeds),
            resources=draft.get(Resources),
            is_local=ray is not None and ray.address is None,
            storage=draft.storage,
            stop=draft.stop,
            locate=draft.document.locate,
        )


@dataclass(frozen=True)
class Feasibility:
    """What came of looking.

    Attributes:
        problems: everything that can't be carried out, at the keys that ask for it.
        environment: what was built; None if it could not be.
        replay: the most that a trial's replay memories take; None if it has none of ours.
    """

    problems: tuple[Problem, ...]
    environment: EnvironmentDescription | None
    replay: ReplayMemory | None = None


def check_feasibility(candidate: Candidate, trials_at_once: int = 1) -> Feasibility:
    """Build the environment and look at the machine."""
    described, replay, found = None, None, []
    if candidate.environment is not None:
        try:
            described = describe(candidate.environment)
        except EnvironmentBuildError as error:
            found.append((("environment", *error.key), str(error)))
        else:
            found.extend(_check_environment(candidate, candidate.environment, described))
            replay = _describe_replay(candidate, described)
            found.extend(_check_memory(candidate, replay, trials_at_once))
    found.extend(_check_resources(candidate))
    found.extend(_check_storage(candidate))
    problems = (Problem(candidate.locate(path), dotted(path), words) for path, words in found)
    return Feasibility(tuple(problems), described, replay)


# --- the environment -------------------------------------------------------------------------


def _check_environment(
    candidate: Candidate, settings: EnvironmentSettings, described: EnvironmentDescription
) -> Iterator[tuple[KeyPath, str]]:
    if candidate.algorithm is None:
        return
    refusal = _refuse_spaces(candidate, candidate.algorithm, described)
    if refusal is not None:
        yield ("environment", "id"), f"{settings.id}: {refusal}"
    if _wants_free_log_std(candidate) and not isinstance(described.action_space, spaces.Box):
        yield (
            ("param_space", "model_config"),
            f"free_log_std goes with continuous actions; {settings.id} has "
            f"{_short(described.action_space)}",
        )
    yield from _check_replay(candidate, described)
    yield from _check_vectorization(candidate, settings, described)


# Images that the networks have default filters for (rllib/models/utils.py, get_filter_config).
_IMAGE_SIZES = (96, 84, 64, 42, 10)


def can_act(algorithm: str, actions: gymnasium.Space[Any]) -> bool:
    """Whether an algorithm has a policy for a space of actions."""
    return _is_one_of(actions, find_support(REFERENCE_BACKEND, algorithm).actions)


def _is_one_of(space: gymnasium.Space[Any], names: Iterable[str]) -> bool:
    """Whether a space is of one of the named classes of `gymnasium.spaces`."""
    return isinstance(space, tuple(getattr(spaces, name) for name in names))


def _refuse_spaces(
    candidate: Candidate, algorithm: str, described: EnvironmentDescription
) -> str | None:
    action = described.action_space
    if not can_act(algorithm, action):
        names = " or ".join(candidate.support.actions)
        able = [
            other.algorithm
            if supports(candidate.backend, other.algorithm)
            else f"{other.algorithm} (backend: {other.backend})"
            for other in suggested_algorithms()
            if can_act(other.algorithm, action)
        ]
        hint = f"; {' and '.join(able)} can" if able else ""
        return f"{algorithm} can't act in {_short(action)}, only in {names}{hint}"
    if isinstance(action, spaces.Box) and action.dtype.kind != "f":
        return f"actions are a Box of {action.dtype}; must be a Box of floats, or a MultiDiscrete"
    refusal = _refuse_actions_on_backend(candidate.support, action)
    if refusal is not None:
        return refusal
    observation = described.observation_space
    for leaf in _leaves(observation):
        if not _can_see(candidate.support, leaf):
            refusal = f"{algorithm} can't see observations of {_short(leaf)}"
            if _can_see(find_support(REFERENCE_BACKEND, algorithm), leaf):
                return f"{refusal} on backend {candidate.backend}; backend: {REFERENCE_BACKEND} can"
            return f"{refusal}; wrap the environment"
    if isinstance(observation, spaces.Box):
        return _refuse_shape(candidate, observation)
    return None


def _can_see(support: Support, leaf: gymnasium.Space[Any]) -> bool:
    is_flat = not isinstance(leaf, spaces.MultiDiscrete) or len(leaf.shape) == 1
    return _is_one_of(leaf, support.observations) and is_flat


def _refuse_actions_on_backend(support: Support, action: gymnasium.Space[Any]) -> str | None:
    if not support.takes_action_arrays and len(action.shape or ()) > 1:
        return (
            f"actions are {_short(action)}; backend {support.backend} takes vectors only; backend: "
            f"{REFERENCE_BACKEND} takes them"
        )
    # RLlib's policies count from 0, and nothing adds the offset on the way to the environment.
    is_counted = isinstance(action, spaces.Discrete | spaces.MultiDiscrete)
    if not support.takes_action_offsets and is_counted and np.any(action.start):
        able = [name for name in BACKENDS if supports(name, support.algorithm)]
        remedy = "".join(
            f"use backend: {name}, or "
            for name in able
            if find_support(name, support.algorithm).takes_action_offsets
        )
        return (
            f"actions are {_short(action)}, but RLlib sends numbers from 0 on; {remedy}number "
            "them from 0"
        )
    return None


def _refuse_shape(candidate: Candidate, observation: spaces.Box) -> str | None:
    shape = observation.shape
    if len(shape) == 1:
        return None
    if len(shape) != 3:
        return (
            f"observations have the shape {list(shape)}; must be a vector or an image (height, "
            "width, channels): wrappers: [FlattenObservation] makes a vector of it"
        )
    network = candidate.param_space.get("model_config", {})
    has_filters = not isinstance(network, Mapping) or network.get("conv_filters") is not None
    if has_filters or any(shape[:2] == (n, n) or shape[1:] == (n, n) for n in _IMAGE_SIZES):
        return None
    sizes = ", ".join(f"{n} x {n}" for n in reversed(_IMAGE_SIZES))
    return (
        f"images of {shape[0]} x {shape[1]} have no default filters, only {sizes}; resize them "
        "(wrappers: [{ResizeObservation: {shape: [84, 84]}}]), or give model_config.conv_filters"
    )


def _check_replay(
    candidate: Candidate, described: EnvironmentDescription
) -> Iterator[tuple[KeyPath, str]]:
    """RLlib evicts whole episodes, and fails over one that is longer than its buffer."""
    if candidate.backend != REFERENCE_BACKEND:
        return
    replay = candidate.param_space.get("replay_buffer_config")
    capacity = replay.get("capacity") if isinstance(replay, Mapping) else None
    limit = described.max_episode_steps
    sizes = capacity.values or () if isinstance(capacity, Distribution) else (capacity,)
    least = min((size for size in sizes if isinstance(size, int)), default=None)
    if least is not None and limit is not None and least < limit:
        yield (
            ("param_space", "replay_buffer_config", "capacity"),
            f"must hold an episode, of {limit} steps here, at least; found {least}",
        )


def _describe_replay(
    candidate: Candidate, described: EnvironmentDescription
) -> ReplayMemory | None:
    support = candidate.support
    if not support.has_own_replay or _refuse_spaces(candidate, support.algorithm, described):
        return None
    return find_largest_replay(candidate.param_space, described, candidate.replicas, candidate.stop)


def _wants_free_log_std(candidate: Candidate) -> bool:
    asked = possible_values(candidate.param_space, ("model_config", "free_log_std"), None)
    return any(one is True for one in asked)


def _leaves(space: gymnasium.Space[Any]) -> Iterator[gymnasium.Space[Any]]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        inner = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        for one in inner:
            yield from _leaves(one)
    else:
        yield space


def _short(space: gymnasium.Space[Any]) -> str:
    text = " ".join(str(space).split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def _check_vectorization(
    candidate: Candidate, settings: EnvironmentSettings, described: EnvironmentDescription
) -> Iterator[tuple[KeyPath, str]]:
    if settings.vectorization == "envpool" and candidate.support.builds_vector_envs:
        try:
            check_envpool(settings, described)
        except EnvironmentBuildError as error:
            yield ("environment", *error.key), str(error)
    if settings.vectorization != "vector_entry_point":
        return
    here = ("environment", "vectorization")
    if settings.wrappers or _greatest(candidate, "num_env_runners"):
        yield (
            here,
            "vector_entry_point goes with neither wrappers nor num_env_runners above 0; use auto, "
            "sync or async",
        )
    elif gymnasium.spec(settings.id).vector_entry_point is None:
        yield here, f"{settings.id} has no vector entry point; use auto, sync or async"


# --- the machine -----------------------------------------------------------------------------


def _check_resources(candidate: Candidate) -> Iterator[tuple[KeyPath, str]]:
    resources = candidate.resources
    if resources is None or not candidate.is_local:
        return  # what could not be read says so itself; a cluster decides when it is asked
    asked, has = _cpus_per_trial(candidate), cores()
    if asked > has:
        runners = [key for key in _PROCESSES if _greatest(candidate, key)]
        path = ("param_space", runners[0]) if runners else ("resources", "cpus")
        beside = f" with its {_PROCESSES[runners[0]]}" if runners else ""
        yield path, f"a trial asks for {asked:g} cores{beside}; this machine has {has}"
    there = gpus()
    if resources.gpus > there:
        found = f"has {there}" if there else "has none that can be seen"
        yield (
            ("resources", "gpus"),
            f"a trial asks for {_gpu(resources.gpus)}; this machine {found}",
        )


def _check_memory(
    candidate: Candidate, replay: ReplayMemory | None, trials_at_once: int
) -> Iterator[tuple[KeyPath, str]]:
    if replay is None or not candidate.is_local:
        return
    problem = explain_too_much(replay, candidate.replicas, trials_at_once)
    if problem is not None:
        yield ("param_space", *replay.cause.split(".")), problem


def _gpu(number: float) -> str:
    return f"{number:g} GPU{'' if number == 1 else 's'}" if number >= 1 else f"{number:g} of a GPU"


_PROCESSES = {"num_env_runners": "env runners", "num_learners": "learners"}


def _greatest(candidate: Candidate, key: str) -> int:
    """The greatest whole number that a configuration can have under a key."""
    algorithm = candidate.algorithm
    if algorithm and key in candidate.support.fixed:
        return int(default(algorithm, (key,)) or 0)  # another value has its own problem
    usual = default(algorithm, (key,)) if algorithm else 0
    found = possible_values(candidate.param_space, (key,), usual or 0)
    return max((one for one in found if isinstance(one, int)), default=0)


def count_fitting(candidate: Candidate) -> int:
    """How many trials this machine has room for at a time."""
    fits = _count_shares(cores(), _cpus_per_trial(candidate))
    asked = candidate.resources.gpus if candidate.resources else 0
    if not asked:
        return fits
    # A share of a GPU never spans two.
    on_gpus = gpus() * _count_shares(1, asked) if asked < 1 else _count_shares(gpus(), asked)
    return min(fits, on_gpus)


def _count_shares(whole: int, share: float) -> int:
    """How often a share goes into a whole, in Ray's ten-thousandths: 0.2 five times into 1."""
    return whole * 10_000 // round(share * 10_000)


def _cpus_per_trial(candidate: Candidate) -> float:
    """A core for each env runner and learner of each replica, beside the trial's process."""
    resources = candidate.resources or Resources()
    learners = 0 if resources.gpus else _greatest(candidate, "num_learners")
    runners = _greatest(candidate, "num_env_runners")
    return resources.cpus + candidate.replicas * (runners + learners)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> int:
    """The NVIDIA GPUs that this process may use, without asking CUDA, which takes seconds."""
    devices = [path for path in Path("/dev").glob("nvidia*") if path.name[6:].isdecimal()]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return len(devices)
    chosen = [one for one in visible.split(",") if one.strip() not in {"", "-1"}]
    return min(len(chosen), len(devices)) if devices else 0


def _check_storage(candidate: Candidate) -> Iterator[tuple[KeyPath, str]]:
    if "://" in candidate.storage:
        return
    path = Path(candidate.storage).expanduser().absolute()
    try:
        there = next(one for one in (path, *path.parents) if one.exists())
        if not there.is_dir():
            yield ("storage",), f"must be a folder for runs; {there} is a file"
        elif not os.access(there, os.W_OK | os.X_OK):
            message = f"the folder {there} can't be written; give another with storage=PATH"
            yield ("storage",), message
    except OSError as error:
        yield ("storage",), f"{show(candidate.storage)} can't be a folder: {error.strerror}"
