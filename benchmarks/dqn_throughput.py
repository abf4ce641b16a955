"""Training speed of the torch backend's DQN, compared with RLlib and Stable-Baselines3.

This file defines the shapes, contestants and targets; `contest` runs them.

    python benchmarks/dqn_throughput.py --short

Stable-Baselines3 is skipped unless it is installed: ``pip install -e '.[bench]'``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import contest
from arithmetic import count_multiplications
from contest import Contest, Entry, Target, main
from image_env import IMAGES_ID
from measuring import (
    build_trainer,
    matmul_peak,
    shortest,
    start_ray,
    train_ours,
    train_rllib,
    train_stable_baselines3,
)
from ppo_contestants import ATARI_FILTERS

RLLIB_DEFAULTS: dict[str, Any] = {}  # batch 32, one update a step, prioritised, double, dueling
UNIFORM = {"type": "EpisodeReplayBuffer", "capacity": 50_000}
# RL Zoo's hyperparameters under RLlib's names. Stable-Baselines3 uses ReLU, and neither double Q
# nor dueling. 128 updates of 64 rows every 256 steps replay 32 steps for each step taken.
ZOO: dict[str, Any] = {
    "lr": 2.3e-3,
    "gamma": 0.99,
    "train_batch_size_per_learner": 64,
    "rollout_fragment_length": 256,
    "training_intensity": 32.0,
    "num_steps_sampled_before_learning_starts": 1000,
    "target_network_update_freq": 10,
    "epsilon": [[0, 1.0], [8000, 0.04]],
    "grad_clip": 10.0,
    "double_q": False,
    "dueling": False,
    "replay_buffer_config": {"type": "EpisodeReplayBuffer", "capacity": 100_000},
}

# Its hyperparameters for Atari, but for a replay that begins, and a target that follows, sooner.
ATARI: dict[str, Any] = {
    **ZOO,
    "lr": 1e-4,
    "train_batch_size_per_learner": 32,
    "rollout_fragment_length": 4,
    "training_intensity": 8.0,
    "num_steps_sampled_before_learning_starts": 200,
    "target_network_update_freq": 1000,
    "epsilon": [[0, 1.0], [1000, 0.05]],
    "replay_buffer_config": {"type": "EpisodeReplayBuffer", "capacity": 10_000},
}


@dataclass(frozen=True, kw_only=True)
class Shape(contest.Shape):
    """A training. Hyperparameters have RLlib's names.

    Attributes:
        updates_per_step: gradient steps per env step.
        starts: env steps before the first of them.
        is_image: whether observations are images; their network is that of the Atari papers.
    """

    hyperparameters: dict[str, Any]
    model_config: dict[str, Any]
    updates_per_step: float = 1.0
    starts: int = 1000
    is_image: bool = False
    env: str = "CartPole-v1"
    against: tuple[str, ...] = ("RLlib",)


SHAPES = {
    "default": Shape(
        title="RLlib's defaults, [256, 256]",
        env_steps=(20_000, 4_000),
        hyperparameters=RLLIB_DEFAULTS,
        model_config={"fcnet_hiddens": [256, 256]},
        replicas=(1, 5),
    ),
    "small": Shape(
        title="RLlib's defaults, [64, 64]",
        env_steps=(20_000, 4_000),
        hyperparameters=RLLIB_DEFAULTS,
        model_config={"fcnet_hiddens": [64, 64]},
        replicas=(1, 5),
    ),
    "uniform": Shape(
        title="RLlib's defaults but uniform replay, [64, 64]",
        env_steps=(20_000, 4_000),
        hyperparameters={"replay_buffer_config": UNIFORM},
        model_config={"fcnet_hiddens": [64, 64]},
        against=(),
    ),
    "uniform-256": Shape(
        title="RLlib's defaults but uniform replay, [256, 256]",
        env_steps=(20_000, 4_000),
        hyperparameters={"replay_buffer_config": UNIFORM},
        model_config={"fcnet_hiddens": [256, 256]},
        against=(),
    ),
    "zoo": Shape(
        title="RL Zoo, [256, 256]",
        env_steps=(50_000, 12_032),
        hyperparameters=ZOO,
        model_config={"fcnet_hiddens": [256, 256], "fcnet_activation": "relu"},
        updates_per_step=0.5,
        replicas=(1, 5),
        against=("Stable-Baselines3",),
    ),
    "zoo-512": Shape(
        title="RL Zoo with [512, 512]",
        env_steps=(25_000, 6_144),
        hyperparameters=ZOO,
        model_config={"fcnet_hiddens": [512, 512], "fcnet_activation": "relu"},
        updates_per_step=0.5,
        replicas=(1, 5),
        against=("Stable-Baselines3",),
    ),
    "images": Shape(
        title="images of 84 x 84 x 4, RL Zoo's Atari",
        env_steps=(8_000, 2_000),
        hyperparameters=ATARI,
        model_config={"conv_filters": ATARI_FILTERS, "conv_activation": "relu"},
        updates_per_step=0.25,
        starts=200,
        is_image=True,
        env=IMAGES_ID,
        replicas=(1, 5),
        against=("Stable-Baselines3",),
    ),
}


def count_updates(shape: Shape, env_steps: int) -> int:
    """The gradient steps of one seed; its first env steps have none."""
    return int((env_steps - shape.starts) * shape.updates_per_step)


def build_ours(shape: Shape, replicas: int, seed: int) -> Any:
    """Build a trainer of ``replicas`` seeds."""
    from sweeper.environments.settings import EnvironmentSettings, NormalizeSettings

    return build_trainer(
        "DQN",
        EnvironmentSettings(shape.env, normalize=NormalizeSettings(images=shape.is_image)),
        {**shape.hyperparameters, "model_config": shape.model_config},
        replicas=replicas,
        seed=seed,
    )


def measure_ours(shape: Shape, env_steps: int, replicas: int, seed: int) -> dict[str, Any]:
    """Train ``replicas`` seeds with the torch backend."""
    training = train_ours(build_ours(shape, replicas, seed), env_steps, replicas=replicas)
    return {**training.measured, "gradient_steps": count_updates(shape, training.env_steps)}


def measure_rllib(shape: Shape, env_steps: int, _: int, seed: int) -> dict[str, Any]:
    """Train one seed with an RLlib Algorithm in this process."""
    from ray.rllib.algorithms.dqn import DQNConfig

    start_ray()
    algorithm = (
        DQNConfig()
        .environment(shape.env)
        .env_runners(num_env_runners=0)
        .training(**shape.hyperparameters)
        .rl_module(model_config=dict(shape.model_config))
        .debugging(seed=10_000 * (seed + 1))
        .build_algo()
    )
    algorithm.local_replay_buffer.rng.bit_generator.state = type(
        algorithm.local_replay_buffer.rng.bit_generator
    )(seed).state
    training = train_rllib(algorithm, env_steps)
    return {**training.measured, "gradient_steps": count_updates(shape, training.env_steps)}


def build_stable_baselines3(
    env_id: str, given: Mapping[str, Any], *, env_steps: int, seed: int, env_seed: int
) -> Any:
    """Build Stable-Baselines3's DQN from RLlib's hyperparameters, all of which must be given."""
    from stable_baselines3 import DQN
    from stable_baselines3.common.env_util import make_vec_env

    fragment, batch = given["rollout_fragment_length"], given["train_batch_size_per_learner"]
    (_, _), (epsilon_steps, final_epsilon) = given["epsilon"]
    hiddens = given["model_config"].get("fcnet_hiddens")
    return DQN(
        "CnnPolicy" if hiddens is None else "MlpPolicy",
        make_vec_env(env_id, n_envs=1, seed=env_seed),
        learning_rate=given["lr"],
        batch_size=batch,
        buffer_size=given["replay_buffer_config"]["capacity"],
        learning_starts=given["num_steps_sampled_before_learning_starts"],
        gamma=given["gamma"],
        target_update_interval=given["target_network_update_freq"],
        train_freq=fragment,
        gradient_steps=round(given["training_intensity"] * fragment / batch),
        exploration_fraction=epsilon_steps / env_steps,
        exploration_final_eps=final_epsilon,
        policy_kwargs=None if hiddens is None else {"net_arch": hiddens},
        seed=seed,
        device="cpu",
    )


def measure_stable_baselines3(shape: Shape, env_steps: int, _: int, seed: int) -> dict[str, Any]:
    """Train one seed with Stable-Baselines3; only for RL Zoo's shapes."""
    given = {**shape.hyperparameters, "model_config": shape.model_config}
    model = build_stable_baselines3(
        shape.env, given, env_steps=env_steps, seed=seed, env_seed=10_000 * (seed + 1)
    )
    measured = train_stable_baselines3(model, env_steps)
    return {**measured, "gradient_steps": int(model._n_updates)}


def measure_arithmetic(shape: Shape, replicas: int) -> dict[str, Any]:
    """Measure an update: its share of one core's peak, and the time of its parts."""
    peak = matmul_peak()
    trainer = build_ours(shape, replicas, 0)
    trainer.train()  # fills the replay memory
    times = 20 if shape.is_image else 200
    dqn, buffer, learner = trainer._dqn, trainer._buffer, trainer._learner
    sample = buffer.sample(dqn.batch)
    errors = learner.update(sample, 1000)
    parts = {
        "draw": shortest(lambda: buffer.sample(dqn.batch), times),
        "learn": shortest(lambda: learner.update(sample, 1000), times),
        "priorities": shortest(lambda: buffer.update_priorities(sample.slots, errors), times),
    }
    seconds = sum(parts.values())
    count = count_multiplications(trainer._networks.online.architecture, has_value=dqn.dueling)
    # Forward: the online network on the first observations, the target network on the next ones,
    # with double Q also the online network there.
    multiplications = (2 + dqn.double_q) * count.forward + count.backward
    operations = 2 * dqn.batch * replicas * multiplications
    return {
        "update_ms": 1000 * seconds,
        "parts_ms": {name: 1000 * part for name, part in parts.items()},
        "gflops": operations / seconds / 1e9,
        "peak_gflops": peak / 1e9,
        "share": operations / seconds / peak,
    }


CONTEST = Contest(
    script=__file__,
    description=__doc__.splitlines()[0],
    shapes=SHAPES,
    contestants={
        "ours": measure_ours,
        "RLlib": measure_rllib,
        "Stable-Baselines3": measure_stable_baselines3,
    },
    modules={"Stable-Baselines3": "stable_baselines3"},
    targets=(
        Target(Entry("default", "ours:5"), Entry("default", "RLlib"), minimum=7, aim=14),
        Target(Entry("small", "ours:5"), Entry("small", "RLlib"), minimum=20, aim=35),
        Target(Entry("zoo", "ours:5"), Entry("zoo", "Stable-Baselines3"), minimum=2, aim=4),
        Target(Entry("zoo", "ours:1"), Entry("zoo", "Stable-Baselines3"), minimum=1.5, aim=2.5),
        Target(Entry("zoo-512", "ours:5"), Entry("zoo-512", "Stable-Baselines3"), 1.2, aim=2),
        Target(Entry("images", "ours:1"), Entry("images", "Stable-Baselines3"), 1.3, aim=1.7),
        Target(Entry("images", "ours:5"), Entry("images", "Stable-Baselines3"), 1.3, aim=1.7),
        # Prioritised compared with uniform replay.
        Target(Entry("default", "ours:5"), Entry("uniform-256", "ours:5"), minimum=0.6, aim=0.8),
        Target(Entry("small", "ours:5"), Entry("uniform", "ours:5"), minimum=0.6, aim=0.8),
    ),
    arithmetic=measure_arithmetic,
    shares={
        "default": (0.25, 0.45),
        "zoo": (0.25, 0.45),
        "zoo-512": (0.4, 0.6),
        "images": (0.5, 0.75),
    },
)

if __name__ == "__main__":
    main(CONTEST)
