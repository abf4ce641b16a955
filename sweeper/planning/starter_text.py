"""The text of a first spec: a search space that suits the task, or one around a preset."""

from __future__ import annotations

import re
import shlex

import gymnasium

from sweeper.environments.building import EnvironmentDescription
from sweeper.planning.preset_space import write_space_around
from sweeper.planning.presets import Preset
from sweeper.planning.starter_space import Task, write_space
from sweeper.printable import printable
from sweeper.spec import ExperimentSpec, dump_environment, dump_value
from sweeper.spec.keys.names import algorithms
from sweeper.spec.keys.support import supports
from sweeper.trainables.spaces import can_act

__all__ = ["quoted", "write_around", "write_starter"]

_PRESET_TRIALS = 16


def write_starter(task: Task, file: str | None) -> str:
    """A spec for an environment that nothing is known of.

    Args:
        task: what is to be learned.
        file: where the text will be; by default ``NAME.yaml``.
    """
    support, described = task.support, task.environment
    name = _name(task)
    others = [
        other
        for other in algorithms()
        if other != support.algorithm
        and supports(support.backend, other)
        and can_act(other, described.action_space)
    ]
    instead = f"  # or {', '.join(others)}, with hyperparameters of its own" if others else ""
    return f"""\
# {support.algorithm} on {task.env_id}, a first sweep. Episodes {_limit(described)};
# actions: {_one_line(described.action_space)},
# observations: {_one_line(described.observation_space)}
{_commands(file, name)}
name: {name}
environment: {quoted(task.env_id)}
algorithm: {support.algorithm}{instead}
backend: {support.backend}

{_seeds(task)}

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


def write_around(task: Task, preset: Preset, file: str | None) -> str:
    """A spec that searches around a preset and holds the champion against it.

    Args:
        task: the preset's.
        preset: whose environment, hyperparameters, length and evaluation it takes over.
        file: where the text will be; by default ``NAME.yaml``.
    """
    spec, name = preset.spec, _name(task)
    about = "\n".join(f"# {line}" for line in preset.about)
    stop = "\n".join(f"  {key}: {dump_value(value)}" for key, value in spec.stop.items())
    return f"""\
# {spec.algorithm} on {task.env_id}, a sweep around the preset {preset.name},
# RL Baselines3 Zoo's hyperparameters in RLlib's names. docs/zoo.md has what ten seeds of it reach.
{about}
{_commands(file, name)}
name: {name}
{dump_environment(spec.environment)}
algorithm: {spec.algorithm}
backend: {spec.backend}

{_seeds(task)}

# What is not named here has RLlib's default.
param_space:
{write_space_around(spec.param_space)}

# So few configurations are too few for tpe to learn from (docs/choosing.md).
search:
  algorithm: random
  num_samples: {_PRESET_TRIALS}
  seed: 0

# As long as the preset is trained; env steps are those of each replica.
stop:
{stop}
{_evaluation(spec)}
# The best trials are trained again on fresh seeds, beside the preset: is anything better than it?
selection:
  baseline: {preset.name}
{_solved_at(task)}"""


def _evaluation(spec: ExperimentSpec) -> str:
    if spec.evaluation is None:
        return ""
    kind, explore = (
        ("exploring", "\n  explore: true") if spec.evaluation.explore else ("greedy", "")
    )
    return f"""
# The preset's own evaluation: {kind} episodes of the trained agent, on environment seeds that
# training never sees. The champion is chosen by them, and no trial is stopped before.
evaluation:
  episodes: {spec.evaluation.episodes}
  every_env_steps: {spec.evaluation.every_env_steps}{explore}
"""


def _name(task: Task) -> str:
    short = re.sub(r"-v\d+$", "", task.env_id.rpartition(":")[2].rpartition("/")[2])
    name = re.sub(r"[^a-z0-9]+", "-", f"{short}-{task.support.algorithm}".lower())
    return name.strip("-")[:100]


def _limit(described: EnvironmentDescription) -> str:
    steps = described.max_episode_steps
    return "have no time limit" if steps is None else f"last {steps:,} steps at most"


def _commands(file: str | None, name: str) -> str:
    """How to plan and run the file, as comments."""
    path = printable(shlex.quote(file or f"{name}.yaml")).replace("\n", r"\n")
    width = len(path) + len("sweeper plan ")
    return f"""\
#   {f"sweeper plan {path}":<{width}}    what this will do
#   {f"sweeper run {path}":<{width}}    do it"""


def _seeds(task: Task) -> str:
    cost = "" if task.support.trains_replicas_together else ", and each is a run more"
    return f"""\
# Replicas of each configuration; several tell skill from luck{cost}.
seeds: {task.support.default_seeds}"""


def _selection(task: Task) -> str:
    """What counts as solved, where the environment says it and something asks."""
    solved_at = _solved_at(task)
    if not solved_at or not task.support.default_finalists:
        return ""
    return f"""
# The best trials are trained again on fresh seeds, beside RLlib's defaults. How many of these runs
# reach gymnasium's own mark of success is part of the verdict.
selection:
{solved_at}"""


def _solved_at(task: Task) -> str:
    threshold = task.environment.reward_threshold
    return "" if threshold is None else f"  solved_at: {threshold:g}\n"


def _one_line(space: gymnasium.Space[object]) -> str:
    text = " ".join(str(space).split())
    return text if len(text) <= 70 else f"{text[:68]} …"


def quoted(env_id: str) -> str:
    """An environment's id as a spec has it."""
    return f'"{env_id}"' if ":" in env_id else env_id
