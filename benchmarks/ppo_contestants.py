"""The shapes of `ppo_throughput.py`, and one function per contestant that trains them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import contest
from image_env import IMAGES_ID
from measuring import (
    build_trainer,
    start_ray,
    train_ours,
    train_rllib,
    train_stable_baselines3,
)


@dataclass(frozen=True, kw_only=True)
class Shape(contest.Shape):
    """A training. Hyperparameters have RLlib's names.

    Attributes:
        decays: whether lr and clip_param decay linearly to 0.
        is_image: whether observations are images; their network is that of the Atari papers, with
            one encoder.
    """

    env: str
    envs: int
    steps: int
    minibatch: int
    epochs: int
    gamma: float
    lambda_: float
    lr: float
    clip_param: float = 0.2
    entropy_coeff: float = 0.0
    hiddens: tuple[int, ...] = (64, 64)
    activation: str = "tanh"
    is_image: bool = False
    decays: bool = False
    is_normalized: bool = False
    is_continuous: bool = False
    against: tuple[str, ...] = ("Stable-Baselines3",)
    vectorization: str = "auto"


SHAPES = {
    "cartpole": Shape(
        title="CartPole-v1, RL Zoo",
        env="CartPole-v1",
        env_steps=(100_000, 20_480),
        envs=8,
        steps=32,
        minibatch=256,
        epochs=20,
        gamma=0.98,
        lambda_=0.8,
        lr=1e-3,
        decays=True,
        replicas=(1, 5, 16),
        against=("RLlib", "Stable-Baselines3"),
    ),
    "acrobot": Shape(
        title="Acrobot-v1, RL Zoo",
        env="Acrobot-v1",
        env_steps=(102_400, 12_288),
        envs=16,
        steps=256,
        minibatch=64,
        epochs=4,
        gamma=0.99,
        lambda_=0.94,
        lr=3e-4,
        is_normalized=True,
    ),
    "pendulum": Shape(
        title="Pendulum-v1, RL Zoo (without state-dependent exploration)",
        env="Pendulum-v1",
        env_steps=(102_400, 12_288),
        envs=4,
        steps=1024,
        minibatch=64,
        epochs=10,
        gamma=0.9,
        lambda_=0.95,
        lr=1e-3,
        is_continuous=True,
    ),
    "lunarlander": Shape(
        title="LunarLander-v3, RL Zoo",
        env="LunarLander-v3",
        env_steps=(98_304, 16_384),
        envs=16,
        steps=1024,
        minibatch=64,
        epochs=4,
        gamma=0.999,
        lambda_=0.98,
        lr=3e-4,
        entropy_coeff=0.01,
        needs=("Box2D", "pygame"),
    ),
    "rllib-default": Shape(
        title="CartPole-v1, RLlib's defaults",
        env="CartPole-v1",
        env_steps=(40_000, 12_000),
        envs=1,
        steps=4000,
        minibatch=128,
        epochs=30,
        gamma=0.99,
        lambda_=1.0,
        lr=5e-5,
        clip_param=0.3,
        hiddens=(256, 256),
        against=("RLlib",),
    ),
}

# The filters of the Atari papers; the last one is their dense layer of 512 units.
ATARI_FILTERS = [
    [32, 8, 4, "valid"],
    [64, 4, 2, "valid"],
    [64, 3, 1, "valid"],
    [512, 7, 1, "valid"],
]
SHAPES["images"] = Shape(
    title="images of 84 x 84 x 4, RL Zoo's Atari",
    env=IMAGES_ID,
    env_steps=(8_192, 2_048),
    envs=8,
    steps=128,
    minibatch=256,
    epochs=4,
    gamma=0.99,
    lambda_=0.95,
    lr=2.5e-4,
    clip_param=0.1,
    entropy_coeff=0.01,
    is_image=True,
    replicas=(1, 5),
)
SHAPES["halfcheetah"] = Shape(
    title="HalfCheetah-v5, [256, 256], RL Zoo's but for its own initialisation",
    env="HalfCheetah-v5",
    env_steps=(51_200, 10_240),
    envs=1,
    steps=512,
    minibatch=64,
    epochs=20,
    gamma=0.98,
    lambda_=0.92,
    lr=2.0633e-5,
    clip_param=0.1,
    entropy_coeff=4.01762e-4,
    hiddens=(256, 256),
    activation="relu",
    is_normalized=True,
    is_continuous=True,
    replicas=(1, 5),
    needs=("mujoco",),
)
for _units in (256, 512):
    SHAPES[f"cartpole-{_units}"] = replace(
        SHAPES["cartpole"],
        title=f"CartPole-v1, RL Zoo with [{_units}, {_units}]",
        env_steps=(51_200, 10_240),
        hiddens=(_units, _units),
        replicas=(1, 5),
        against=("Stable-Baselines3",),
    )

# Environments whose simulator is the bottleneck. Stable-Baselines3 keeps gymnasium's.
for _key in ("acrobot", "lunarlander"):
    SHAPES[f"{_key}-envpool"] = replace(
        SHAPES[_key],
        title=f"{SHAPES[_key].title}; ours on envpool",
        vectorization="envpool",
        needs=("envpool", *SHAPES[_key].needs),
    )


def schedule(shape: Shape, value: float, env_steps: int) -> Any:
    """A constant, or a linear decay to 0 over the run."""
    return [[0, value], [env_steps, 0.0]] if shape.decays else value


def hyperparameters(shape: Shape, env_steps: int) -> dict[str, Any]:
    """Hyperparameters for RLlib and ours; RL Zoo's shapes get Stable-Baselines3's losses."""
    given: dict[str, Any] = {
        "lr": schedule(shape, shape.lr, env_steps),
        "gamma": shape.gamma,
        "lambda_": shape.lambda_,
        "clip_param": shape.clip_param,
        "entropy_coeff": shape.entropy_coeff,
        "num_epochs": shape.epochs,
        "minibatch_size": shape.minibatch,
        "train_batch_size_per_learner": shape.envs * shape.steps,
        "num_envs_per_env_runner": shape.envs,
        "model_config": {
            "fcnet_hiddens": list(shape.hiddens),
            "fcnet_activation": shape.activation,
            "free_log_std": shape.is_continuous,
        },
    }
    if shape.is_image:
        given["model_config"] = {
            "conv_filters": ATARI_FILTERS,
            "conv_activation": "relu",
            "vf_share_layers": True,
        }
    if shape.clip_param != 0.3:
        given |= {
            "use_kl_loss": False,
            "vf_loss_coeff": 0.5,
            "vf_clip_param": float("inf"),
            "grad_clip": 0.5,
        }
    return given


def build_ours(shape: Shape, env_steps: int, replicas: int, seed: int) -> Any:
    """Build a trainer of ``replicas`` seeds."""
    from sweeper.environments.settings import EnvironmentSettings, NormalizeSettings

    given = hyperparameters(shape, env_steps)
    given["clip_param"] = schedule(shape, shape.clip_param, env_steps)
    environment = EnvironmentSettings(
        shape.env,
        vectorization=shape.vectorization,
        normalize=NormalizeSettings(shape.is_normalized, shape.is_normalized, shape.is_image),
    )
    return build_trainer("PPO", environment, given, replicas=replicas, seed=seed)


def measure_ours(shape: Shape, env_steps: int, replicas: int, seed: int) -> dict[str, Any]:
    """Train ``replicas`` seeds with the torch backend."""
    trainer = build_ours(shape, env_steps, replicas, seed)
    training = train_ours(trainer, env_steps, replicas=replicas)
    return {**training.measured, "gradient_steps": _count_updates(shape, training.iterations)}


def _count_updates(shape: Shape, iterations: int) -> int:
    """Ours and RLlib's: a minibatch may straddle two epochs."""
    return iterations * math.ceil(shape.epochs * shape.envs * shape.steps / shape.minibatch)


def measure_rllib(shape: Shape, env_steps: int, _: int, seed: int) -> dict[str, Any]:
    """Train one seed with an RLlib Algorithm in this process."""
    from ray.rllib.algorithms.ppo import PPOConfig

    start_ray()
    given = hyperparameters(shape, env_steps)
    model_config = given.pop("model_config")
    envs = given.pop("num_envs_per_env_runner")
    algorithm = (
        PPOConfig()
        .environment(shape.env)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=envs)
        .training(**given)
        .rl_module(model_config=model_config)
        .debugging(seed=10_000 * (seed + 1))
        .build_algo()
    )
    training = train_rllib(algorithm, env_steps)
    return {**training.measured, "gradient_steps": _count_updates(shape, training.iterations)}


def measure_stable_baselines3(shape: Shape, env_steps: int, _: int, seed: int) -> dict[str, Any]:
    """Train one seed with Stable-Baselines3."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    envs = make_vec_env(shape.env, n_envs=shape.envs, seed=10_000 * (seed + 1))
    if shape.is_normalized:
        envs = VecNormalize(envs, gamma=shape.gamma)

    def decaying(value: float) -> Any:
        return (lambda left: left * value) if shape.decays else value

    policy_kwargs: dict[str, Any] = {"net_arch": list(shape.hiddens)}
    if shape.activation == "relu":
        policy_kwargs["activation_fn"] = torch.nn.ReLU
    model = PPO(
        "CnnPolicy" if shape.is_image else "MlpPolicy",
        envs,
        learning_rate=decaying(shape.lr),
        clip_range=decaying(shape.clip_param),
        n_steps=shape.steps,
        batch_size=shape.minibatch,
        n_epochs=shape.epochs,
        gamma=shape.gamma,
        gae_lambda=shape.lambda_,
        ent_coef=shape.entropy_coeff,
        policy_kwargs=None if shape.is_image else policy_kwargs,
        seed=seed,
        device="cpu",
    )
    measured = train_stable_baselines3(model, env_steps)
    batch = shape.envs * shape.steps
    updates = model.num_timesteps // batch * shape.epochs * math.ceil(batch / shape.minibatch)
    return {**measured, "gradient_steps": updates}
