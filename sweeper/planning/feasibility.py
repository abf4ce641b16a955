"""Whether a spec can run in its environment and on this machine; builds the environment once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import gymnasium
from gymnasium import spaces

from sweeper.environments.building import EnvironmentDescription, describe
from sweeper.environments.containment import contained
from sweeper.environments.envpool import check_envpool
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings
from sweeper.environments.vector import explain_native
from sweeper.errors import Problem
from sweeper.hints import show
from sweeper.machine import usable_cores
from sweeper.planning.proposal import Proposal
from sweeper.planning.replay_memory import explain_too_much, find_largest_replay
from sweeper.planning.values import max_integer, possible_values
from sweeper.search.distributions import Distribution
from sweeper.spec.keys.names import default
from sweeper.spec.keys.support import REFERENCE_BACKEND
from sweeper.spec.sections import Resources
from sweeper.spec.text.yaml import KeyPath, dotted
from sweeper.storage.address import parse_address
from sweeper.trainables.spaces import explain_spaces, shorten
from sweeper.trainables.torch_backend.replay.memory import ReplayMemory, count_frames

__all__ = ["Feasibility", "check_feasibility", "count_fitting", "gpus"]


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
            folders = proposal.environment.search_paths or proposal.folders
            described = describe(replace(proposal.environment, search_paths=folders))
        except EnvironmentBuildError as error:
            found.append((("environment", *error.key), str(error)))
        else:
            found.extend(_check_environment(proposal, proposal.environment, described))
            replay = _describe_replay(proposal, proposal.environment, described)
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
        refusal = _refuse_spaces(proposal, settings, described)
    refusal = refusal or described.probe.fault
    if refusal is not None:
        yield ("environment", "id"), f"{settings.id}: {refusal}"
    if proposal.algorithm is None:
        return
    if _has_free_log_std(proposal) and not isinstance(described.action_space, spaces.Box):
        yield (
            ("param_space", "model_config"),
            f"free_log_std goes with continuous actions; {settings.id} has "
            f"{shorten(described.action_space)}",
        )
    yield from _check_replay(proposal, described)
    yield from _check_vectorization(proposal, settings, described)


def _refuse_spaces(
    proposal: Proposal, settings: EnvironmentSettings, described: EnvironmentDescription
) -> str | None:
    network = proposal.param_space.get("model_config")
    seen, done = described.observation_space, described.action_space
    return explain_spaces(proposal.support, settings, seen, done, network)


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


def _describe_replay(
    proposal: Proposal, settings: EnvironmentSettings, described: EnvironmentDescription
) -> ReplayMemory | None:
    support = proposal.support
    if not support.has_own_replay or _refuse_spaces(proposal, settings, described):
        return None
    frames = count_frames(settings, described.observation_space)
    return find_largest_replay(
        proposal.param_space, described, proposal.replicas, proposal.stop, frames
    )


def _has_free_log_std(proposal: Proposal) -> bool:
    values = possible_values(proposal.param_space, ("model_config", "free_log_std"), None)
    return any(value is True for value in values)


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
    else:
        spaces_of_one = described.observation_space, described.action_space
        with contained():
            problem = explain_native(settings, *spaces_of_one)
        if problem is not None:
            yield here, problem


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
    if parse_address(proposal.storage) is not None:
        return  # whether it can be written is asked when the run begins
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
