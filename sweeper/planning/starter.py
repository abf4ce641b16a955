"""Writes a first spec for an environment: commented, with a search space that suits it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import gymnasium

from sweeper.environments.building import describe
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings
from sweeper.errors import UserError
from sweeper.hints import join_words
from sweeper.planning.feasibility import check_feasibility
from sweeper.planning.proposal import Proposal
from sweeper.planning.starter_space import Task, write_space
from sweeper.printable import printable
from sweeper.spec import parse
from sweeper.spec.keys.names import algorithms, check_algorithm
from sweeper.spec.keys.support import (
    BACKENDS,
    DEFAULT_ALGORITHM,
    REFERENCE_BACKEND,
    default_backend,
    find_support,
    supports,
)
from sweeper.spec.text.yaml import parse_yaml
from sweeper.trainables.spaces import can_act

__all__ = ["Starter", "make_starter", "write_new"]


@dataclass(frozen=True)
class Starter:
    """A first spec: the name of its sweep, and its text."""

    name: str
    text: str


def make_starter(
    env_id: str,
    algorithm: str | None = None,
    backend: str | None = None,
    *,
    file: str | None = None,
) -> Starter:
    """Write a spec for an environment; builds the environment once.

    Args:
        env_id: a gymnasium id, or ``module:id`` with a module in the working directory.
        algorithm: by default PPO, which can act in every action space.
        backend: by default the spec's default.
        file: where the text will be; its comments say how to run it. By default ``NAME.yaml``.

    Raises:
        UserError: the environment can't be built, or the algorithm can't be trained on it.
    """
    chosen = algorithm or DEFAULT_ALGORITHM
    problem = check_algorithm(chosen)
    if problem is not None:
        raise UserError(problem)
    support = find_support(_check_backend(chosen, backend), chosen)
    settings = EnvironmentSettings(env_id, search_paths=(str(Path.cwd()),))
    try:
        described = describe(settings)
    except EnvironmentBuildError as error:
        raise UserError(f"{error}{_by_hand(str(error), env_id)}") from error
    if described.probe.fault is not None:
        raise UserError(f"{env_id}: {described.probe.fault}")
    text = _write(Task(env_id, support, described), file)
    spec = parse(parse_yaml(text, "starter").value)
    refusals = [
        problem.message
        for problem in check_feasibility(Proposal.of_spec(spec)).problems
        if problem.key != "storage"  # the spec may be moved before it runs
    ]
    if refusals:
        text = "; ".join(refusals)
        raise UserError(f"{text}{_by_hand(text, env_id)}")
    return Starter(spec.name, text)


# Words of a refusal, and the keys of a spec that mend it, of which a starter has none.
_KEYS_BY_HAND = {
    "required": "environment.kwargs",
    "wrapper": "environment.wrappers",
    "conv_filters": "param_space.model_config",
}


def _by_hand(refusal: str, env_id: str) -> str:
    """What to write by hand where the environment can be trained in, but not as it is."""
    keys = [key for words, key in _KEYS_BY_HAND.items() if words in refusal]
    if not keys:
        return ""
    return (
        f"; init can't write that: put {join_words(keys, 'or')} into a spec by hand, beside "
        f"environment.id: {_quoted(env_id)} (docs/environments.md has examples)"
    )


def write_new(path: Path, text: str) -> None:
    """Write a new file.

    Raises:
        UserError: the file exists, or can't be written.
    """
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise UserError(f"{path} is there already; give another --output, or delete it") from error
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}") from error


def _check_backend(algorithm: str, backend: str | None) -> str:
    if backend is None:
        return default_backend(algorithm)
    if backend not in BACKENDS:
        raise UserError(f"unknown backend {backend!r}; must be one of {', '.join(BACKENDS)}")
    if not supports(backend, algorithm):
        raise UserError(f"{backend} has no {algorithm}; --backend {REFERENCE_BACKEND} has it")
    return backend


# --- the text --------------------------------------------------------------------------------


def _write(task: Task, file: str | None) -> str:
    support, described = task.support, task.environment
    short = re.sub(r"-v\d+$", "", task.env_id.rpartition(":")[2].rpartition("/")[2])
    name = re.sub(r"[^a-z0-9]+", "-", f"{short}-{support.algorithm}".lower()).strip("-")[:100]
    cost = "" if support.trains_replicas_together else ", and each is a run more"
    others = [
        other
        for other in algorithms()
        if other != support.algorithm
        and supports(support.backend, other)
        and can_act(other, described.action_space)
    ]
    instead = f"  # or {', '.join(others)}, with hyperparameters of its own" if others else ""
    path = printable(shlex.quote(file or f"{name}.yaml")).replace("\n", r"\n")
    width = len(path) + len("sweeper plan ")
    steps = described.max_episode_steps
    limit = "have no time limit" if steps is None else f"last {steps:,} steps at most"
    return f"""\
# {support.algorithm} on {task.env_id}, a first sweep. Episodes {limit};
# actions: {_one_line(described.action_space)},
# observations: {_one_line(described.observation_space)}
#   {f"sweeper plan {path}":<{width}}    what this will do
#   {f"sweeper run {path}":<{width}}    do it
name: {name}
environment: {_quoted(task.env_id)}
algorithm: {support.algorithm}{instead}
backend: {support.backend}

# Replicas of each configuration; several tell skill from luck{cost}.
seeds: {support.default_seeds}

# What is not named here has RLlib's default. A distribution is a mapping of one key: uniform,
# loguniform, randint, choice, grid_search, ...
param_space:
{write_space(task)}

# Stopped early, these take about as many env steps as 16 configurations trained to their end. For
# that budget the median rule found better ones than random search alone on real results, and was
# worse at no smaller one; tpe had too few trials to learn from (docs/choosing.md).
search:
  algorithm: random
  num_samples: 30  # configurations
  seed: 0
scheduler: median  # from 30% of a trial on, stops what is worse than the median of the others

# Every trial has the same budget: one that ended at a good training return would be compared
# half-trained.
stop:
  num_env_steps_sampled_lifetime: {task.steps}  # of each replica

# Episodes on environment seeds that training never sees; the champion is chosen by them.
evaluation:
  episodes: 20
  every_env_steps: {task.steps // 10}
{_selection(task)}"""


def _selection(task: Task) -> str:
    """What counts as solved, where the environment says it and something asks."""
    threshold = task.environment.reward_threshold
    if threshold is None or not task.support.default_finalists:
        return ""
    return f"""
# The best trials are trained again on fresh seeds, beside RLlib's defaults. How many of these runs
# reach gymnasium's own mark of success is part of the verdict.
selection:
  solved_at: {threshold:g}
"""


def _one_line(space: gymnasium.Space[object]) -> str:
    text = " ".join(str(space).split())
    return text if len(text) <= 70 else f"{text[:68]} …"


def _quoted(env_id: str) -> str:
    return f'"{env_id}"' if ":" in env_id else env_id
