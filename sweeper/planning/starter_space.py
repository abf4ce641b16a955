"""The search space of a first spec: what suits an algorithm and the length of its episodes.

The ranges are RL Zoo's (rl_zoo3/hyperparams_opt.py and its tuned files), narrowed by what studies
of PPO's, DQN's and SAC's hyperparameters agree on: the learning rate matters most, on a log scale;
then the discount; then exploration and how often a batch is reused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gymnasium import spaces

from sweeper.environments.building import EnvironmentDescription
from sweeper.spec.keys.names import defaults
from sweeper.spec.keys.support import Support

__all__ = ["Task", "write_space"]

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
class Task:
    """What the search space depends on."""

    env_id: str
    support: Support
    environment: EnvironmentDescription

    @property
    def is_discrete(self) -> bool:
        """Whether actions are chosen among several."""
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


def write_space(task: Task) -> str:
    """The search space as YAML, indented below ``param_space``."""
    if task.support.learns_from == "batch":
        return _ppo(task)
    if task.support.learns_from == "queue":
        return _asynchronous(task)
    has_actor = "actor_lr" in defaults(task.support.algorithm, task.support.backend)
    return _sac(task) if has_actor else _dqn(task)


def _join(
    task: Task, *, rates: str, searched: str, fixed: str, hiddens: str, activation: str = "tanh"
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


def _ppo(task: Task) -> str:
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


def _dqn(task: Task) -> str:
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


def _sac(task: Task) -> str:
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


def _asynchronous(task: Task) -> str:
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
