"""How fast the torch backend's DQN trains, beside RLlib and Stable-Baselines3.

The shapes, the contestants and the targets; `contest` is the frame.

    python benchmarks/dqn_throughput.py --short

Stable-Baselines3 is left out where it is not installed: ``pip install -e '.[bench]'``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import contest
from contest import Contest, Entry, Target, main
from measuring import Stopwatch, matmul_peak, mean_of_last, shortest, start_ray

RLLIB_DEFAULTS: dict[str, Any] = {}  # batch 32, one update a step, prioritised, double, dueling
UNIFORM = {"type": "EpisodeReplayBuffer", "capacity": 50_000}
# RL Zoo's, in RLlib's names; Stable-Baselines3's network has ReLU, and neither double Q nor
# dueling. 128 updates of 64 every 256 steps replay 32 steps for each taken.
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


@dataclass(frozen=True, kw_only=True)
class Shape(contest.Shape):
    """What is trained on CartPole-v1; hyperparameters have RLlib's names.

    Attributes:
        updates_per_step: to count gradient steps.
    """

    hyperparameters: dict[str, Any]
    model_config: dict[str, Any]
    updates_per_step: float = 1.0
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
}


def count_updates(shape: Shape, env_steps: int) -> int:
    """Gradient steps of one seed: none before the 1000th env step."""
    return int((env_steps - 1000) * shape.updates_per_step)


def build_ours(shape: Shape, replicas: int, seed: int) -> Any:
    """A trainer of ``replicas`` seeds."""
    from sweeper.environments.settings import EnvironmentSettings
    from sweeper.trainables.contract import TrialSettings
    from sweeper.trainables.torch_backend.dqn.trainer import TorchDQNTrainer

    settings = TrialSettings(
        algorithm="DQN",
        backend="torch",
        environment=EnvironmentSettings("CartPole-v1"),
        constants={},
        seeds=tuple(range(seed * replicas, (seed + 1) * replicas)),
    )
    return TorchDQNTrainer(settings, {**shape.hyperparameters, "model_config": shape.model_config})


def measure_ours(shape: Shape, env_steps: int, replicas: int, seed: int) -> dict[str, Any]:
    """Train ``replicas`` seeds with the torch backend."""
    trainer = build_ours(shape, replicas, seed)
    returns: list[list[float]] = [[] for _ in range(replicas)]
    taken = 0
    stopwatch = Stopwatch()
    while taken < env_steps:
        progress = trainer.train()
        taken = progress[0].env_steps
        for mine, replica in zip(returns, progress, strict=True):
            mine += replica.episode_returns
    return {
        **stopwatch.speeds(taken * replicas),
        "episode_returns": [mean_of_last(mine) for mine in returns],
        "gradient_steps": count_updates(shape, taken),
    }


def measure_rllib(shape: Shape, env_steps: int, _: int, seed: int) -> dict[str, Any]:
    """Train one seed with an RLlib Algorithm in this process."""
    from ray.rllib.algorithms.dqn import DQNConfig

    start_ray()
    algorithm = (
        DQNConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .training(**shape.hyperparameters)
        .rl_module(model_config=dict(shape.model_config))
        .debugging(seed=10_000 * (seed + 1))
        .build_algo()
    )
    algorithm.local_replay_buffer.rng.bit_generator.state = type(
        algorithm.local_replay_buffer.rng.bit_generator
    )(seed).state
    taken, returns = 0, float("nan")
    stopwatch = Stopwatch()
    while taken < env_steps:
        runners = algorithm.train()["env_runners"]
        taken = int(runners["num_env_steps_sampled_lifetime"])
        returns = runners.get("episode_return_mean", returns)
    return {
        **stopwatch.speeds(taken),
        "episode_returns": [float(returns)],
        "gradient_steps": count_updates(shape, taken),
    }


def measure_stable_baselines3(shape: Shape, env_steps: int, _: int, seed: int) -> dict[str, Any]:
    """Train one seed with Stable-Baselines3; only the zoo's shape."""
    from stable_baselines3 import DQN
    from stable_baselines3.common.env_util import make_vec_env

    given = shape.hyperparameters
    model = DQN(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=1, seed=10_000 * (seed + 1)),
        learning_rate=given["lr"],
        batch_size=given["train_batch_size_per_learner"],
        buffer_size=given["replay_buffer_config"]["capacity"],
        learning_starts=given["num_steps_sampled_before_learning_starts"],
        gamma=given["gamma"],
        target_update_interval=given["target_network_update_freq"],
        train_freq=given["rollout_fragment_length"],
        gradient_steps=128,
        exploration_fraction=given["epsilon"][1][0] / env_steps,
        exploration_final_eps=given["epsilon"][1][1],
        policy_kwargs={"net_arch": shape.model_config["fcnet_hiddens"]},
        seed=seed,
        device="cpu",
    )
    stopwatch = Stopwatch()
    model.learn(env_steps)
    return {
        **stopwatch.speeds(model.num_timesteps),
        "episode_returns": [mean_of_last(episode["r"] for episode in model.ep_info_buffer)],
        "gradient_steps": int(model._n_updates),
    }


def measure_arithmetic(shape: Shape, replicas: int) -> dict[str, Any]:
    """The share of one core's peak that an update reaches, and its parts."""
    peak = matmul_peak()
    trainer = build_ours(shape, replicas, 0)
    trainer.train()  # fills the replay memory
    dqn, buffer, learner = trainer._dqn, trainer._buffer, trainer._learner
    sample = buffer.sample(dqn.batch)
    errors = learner.update(sample, 1000)
    parts = {
        "draw": shortest(lambda: buffer.sample(dqn.batch), 200),
        "learn": shortest(lambda: learner.update(sample, 1000), 200),
        "priorities": shortest(lambda: buffer.update_priorities(sample.slots, errors), 200),
    }
    seconds = sum(parts.values())
    first, second = shape.model_config["fcnet_hiddens"]
    layers = 4 * first + first * second + second * (2 + dqn.dueling)
    # Forward: the online network at the start, the target's at the end, with double Q the
    # online one's there too. Backward twice a forward, but for the first layer's input.
    multiplications = (2 + dqn.double_q) * layers + 2 * layers - 4 * first
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
        Target(Entry("default", "ours:5"), Entry("default", "RLlib"), least=7, aim=14),
        Target(Entry("small", "ours:5"), Entry("small", "RLlib"), least=20, aim=35),
        Target(Entry("zoo", "ours:5"), Entry("zoo", "Stable-Baselines3"), least=2, aim=4),
        Target(Entry("zoo", "ours:1"), Entry("zoo", "Stable-Baselines3"), least=1.5, aim=2.5),
        # Prioritised against uniform replay.
        Target(Entry("default", "ours:5"), Entry("uniform-256", "ours:5"), least=0.6, aim=0.8),
        Target(Entry("small", "ours:5"), Entry("uniform", "ours:5"), least=0.6, aim=0.8),
    ),
    arithmetic=measure_arithmetic,
    shares={"default": (0.25, 0.45), "zoo": (0.25, 0.45)},
)

if __name__ == "__main__":
    main(CONTEST)
