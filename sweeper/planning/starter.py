"""Writes a first spec for an environment: commented, with a search space that suits it.

The ranges are RL Zoo's (rl_zoo3/hyperparams_opt.py and its tuned files), narrowed by what studies
of PPO's, DQN's and SAC's hyperparameters agree on: the learning rate matters most, on a log scale;
then the discount; then exploration and how often a batch is reused.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gymnasium
from gymnasium import spaces

from sweeper.environments.building import EnvironmentDescription, describe
from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import UserError
from sweeper.planning.feasibility import check_feasibility
from sweeper.planning.proposal import Proposal
from sweeper.printable import printable
from sweeper.spec import parse
from sweeper.spec.keys.names import algorithms, check_algorithm, defaults
from sweeper.spec.keys.support import (
    BACKENDS,
    DEFAULT_ALGORITHM,
    REFERENCE_BACKEND,
    Support,
    default_backend,
    find_support,
    supports,
)
from sweeper.spec.text.yaml import parse_yaml
from sweeper.trainables.spaces import can_act

__all__ = ["Starter", "make_starter", "write_new"]

# RL Zoo's budgets for the environments that it has tuned.
_KNOWN_STEPS: Mapping[tuple[str, str], int] = {
    ("CartPole-v1", "PPO"): 100_000,
    ("CartPole-v1", "DQN"): 50_000,
    ("Acrobot-v1", "PPO"): 300_000,
    ("Acrobot-v1", "DQN"): 100_000,
    ("MountainCar-v0", "PPO"): 1_000_000,
    ("MountainCar-v0", "DQN"): 120_000,
    ("LunarLander-v3", "PPO"): 1_000_000,
    ("LunarLander-v3", "DQN"): 100_000,
    ("Pendulum-v1", "PPO"): 100_000,
    ("Pendulum-v1", "SAC"): 20_000,
    ("MountainCarContinuous-v0", "PPO"): 100_000,
    ("MountainCarContinuous-v0", "SAC"): 50_000,
    ("FrozenLake-v1", "PPO"): 100_000,
}
_EPISODES = 200  # budget of other environments, in episodes of full length
_MIN_STEPS, _MAX_STEPS = 50_000, 1_000_000


@dataclass(frozen=True)
class Starter:
    """A first spec: the name of its sweep, and its text."""

    name: str
    text: str


@dataclass(frozen=True)
class _Task:
    """What the search space depends on."""

    env_id: str
    support: Support
    environment: EnvironmentDescription

    @property
    def is_discrete(self) -> bool:
        return not isinstance(self.environment.action_space, spaces.Box)

    @property
    def steps(self) -> int:
        """Env steps of a trial."""
        known = _KNOWN_STEPS.get((self.env_id, self.support.algorithm))
        if known is not None:
            return known
        full = (self.environment.max_episode_steps or 1000) * _EPISODES
        steps = max(_MIN_STEPS, min(_MAX_STEPS, round(full, -4)))
        # A replay memory's steps are learned from many times, and take longer.
        return max(20_000, steps // 4) if self.support.learns_from == "replay" else steps


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
    described = describe(settings)
    if described.probe.fault is not None:
        raise UserError(f"{env_id}: {described.probe.fault}")
    text = _write(_Task(env_id, support, described), file)
    spec = parse(parse_yaml(text, "starter").value)
    refusals = [
        problem.message
        for problem in check_feasibility(Proposal.of_spec(spec)).problems
        if problem.key != "storage"  # the spec may be moved before it runs
    ]
    if refusals:
        raise UserError("; ".join(refusals))
    return Starter(spec.name, text)


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


def _write(task: _Task, file: str | None) -> str:
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
{_write_space(task)}

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


def _selection(task: _Task) -> str:
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


# --- the spaces ------------------------------------------------------------------------------


def _write_space(task: _Task) -> str:
    """The search space as YAML, indented below ``param_space``."""
    if task.support.learns_from == "batch":
        return _ppo(task)
    if task.support.learns_from == "queue":
        return _asynchronous(task)
    has_actor = "actor_lr" in defaults(task.support.algorithm, task.support.backend)
    return _sac(task) if has_actor else _dqn(task)


def _join(
    task: _Task, *, rates: str, searched: str, fixed: str, hiddens: str, activation: str = "tanh"
) -> str:
    """Join the parts of a search space, and add what all algorithms have."""
    network = f"""\
  model_config:
    fcnet_hiddens: {hiddens}
    fcnet_activation: {activation}"""
    observations = task.environment.observation_space
    if isinstance(observations, spaces.Box) and len(observations.shape) == 3:
        network = "  # The network for images is RLlib's default one for their size."
    # Discounts whose horizon, 1 / (1 - gamma) steps, suits the length of the episodes.
    limit = task.environment.max_episode_steps or math.inf
    discounts = "[0.98, 0.99, 0.995, 0.999]"
    if limit <= 2000:
        discounts = "[0.9, 0.95, 0.98, 0.99]" if limit <= 250 else "[0.97, 0.98, 0.99, 0.995]"
    return f"""\
{rates}
  # A reward counts over some 1 / (1 - gamma) steps.
  gamma: {{choice: {discounts}}}
{searched}

{fixed}
{network}"""


def _rate(span: str) -> str:
    return f"""\
  # The learning rate matters most.
  lr: {{loguniform: {span}}}"""


def _entropy(distribution: str) -> str:
    return f"""\
  # How long the policy stays random.
  entropy_coeff: {{{distribution}}}"""


def _replay(capacity: int) -> str:
    return f"""\
  num_steps_sampled_before_learning_starts: 1000
  replay_buffer_config:
    type: EpisodeReplayBuffer
    capacity: {capacity}"""


def _ppo(task: _Task) -> str:
    entropy = "loguniform: [1.0e-5, 3.0e-2]" if task.is_discrete else "choice: [0.0, 0.001, 0.01]"
    return _join(
        task,
        rates=_rate("[1.0e-4, 3.0e-3]" if task.is_discrete else "[5.0e-5, 1.0e-3]"),
        searched=f"""\
  lambda_: {{choice: [0.9, 0.95, 0.98]}}
{_entropy(entropy)}
  # How often a batch is learned from, and in what pieces.
  num_epochs: {{choice: [5, 10, 20]}}
  minibatch_size: {{choice: [64, 128, 256]}}""",
        fixed="""\
  # Fixed: 8 environments of 256 steps make a batch.
  train_batch_size_per_learner: 2048
  num_envs_per_env_runner: 8
  clip_param: 0.2
  use_kl_loss: false  # clipping alone keeps updates small
  vf_loss_coeff: 0.5
  vf_clip_param: .inf  # RLlib's 10 would cut the errors of returns in the hundreds
  grad_clip: 0.5""",
        hiddens="[64, 64]",
    )


def _dqn(task: _Task) -> str:
    return _join(
        task,
        rates=_rate("[1.0e-4, 3.0e-3]"),
        searched=f"""\
  # The share of random actions falls over an eighth, or half, of the budget.
  epsilon:
    choice:
      - [[0, 1.0], [{task.steps // 8}, 0.05]]
      - [[0, 1.0], [{task.steps // 2}, 0.05]]
  # Env steps from one copy to the target network to the next.
  target_network_update_freq: {{choice: [100, 500, 2000]}}
  n_step: {{choice: [1, 3]}}""",
        fixed=f"""\
  # Fixed: an update of 64 steps for every 4 env steps.
  train_batch_size_per_learner: 64
  training_intensity: 16
{_replay(min(task.steps, 100_000))}""",
        hiddens="[128, 128]",
        activation="relu",
    )


def _sac(task: _Task) -> str:
    return _join(
        task,
        rates="""\
  # The learning rates matter most.
  actor_lr: {loguniform: [1.0e-4, 2.0e-3]}
  critic_lr: {loguniform: [1.0e-4, 2.0e-3]}""",
        searched="""\
  # How fast the target networks follow.
  tau: {choice: [0.005, 0.01, 0.02]}""",
        fixed=f"""\
  # Fixed: an update of 256 steps for every env step.
  alpha_lr: 3.0e-4
  train_batch_size_per_learner: 256
{_replay(min(task.steps, 1_000_000))}""",
        hiddens="[256, 256]",
        activation="relu",
    )


def _asynchronous(task: _Task) -> str:
    return _join(
        task,
        rates=_rate("[1.0e-4, 2.0e-3]"),
        searched=_entropy("loguniform: [1.0e-4, 3.0e-2]"),
        fixed="""\
  # Fixed: batches of 500 steps.
  train_batch_size_per_learner: 500
  num_envs_per_env_runner: 5
  vf_loss_coeff: 0.5""",
        hiddens="[64, 64]",
    )
