"""Train Stable-Baselines3 on some of Zoo's specs, as a reference for benchmarks/zoo.py.

Hyperparameters and evaluation are the same: the final agent plays 100 greedy episodes, averaged
per run. Zoo tuned the two specs of PPO with state-dependent exploration (gSDE), which RLlib's PPO
and our specs don't have, so they run with it and without. Needs the extra ``bench``, and ``box2d``
for LunarLander.

    python benchmarks/zoo_reference.py pendulum --seeds 5
    python benchmarks/zoo_reference.py mountaincar_continuous --seeds 3
    python benchmarks/zoo_reference.py cartpole_dqn --seeds 10
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from dqn_throughput import build_stable_baselines3
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from tables import print_head, print_row
from zoo import ZOO, describe_interval

from sweeper import load_spec
from sweeper.evidence.statistics import summarise_sample
from sweeper.metrics import ENV_STEPS

_EPISODES = 100
_EVALUATION_SEED = 1_000_000  # far from the training seeds


def play_pendulum(seed: int, variant: Mapping[str, Any]) -> float:
    """Train one agent and return its mean return over the evaluation episodes."""
    agent = PPO(
        "MlpPolicy",
        make_vec_env("Pendulum-v1", n_envs=4, seed=seed),
        n_steps=1024,
        gae_lambda=0.95,
        gamma=0.9,
        n_epochs=10,
        learning_rate=1e-3,
        clip_range=0.2,
        seed=seed,
        device="cpu",
        **variant,
    ).learn(100_000)
    return _evaluate(agent, make_vec_env("Pendulum-v1", n_envs=10, seed=_EVALUATION_SEED + seed))


def play_mountaincar_continuous(seed: int, variant: Mapping[str, Any]) -> float:
    """Like `play_pendulum`, with normalised observations and rewards."""
    env_id, gamma = "MountainCarContinuous-v0", 0.9999
    training = VecNormalize(make_vec_env(env_id, n_envs=1, seed=seed), gamma=gamma)
    agent = PPO(
        "MlpPolicy",
        training,
        n_steps=8,
        batch_size=8,  # Zoo says 256, which a rollout of 8 steps can't fill
        gae_lambda=0.9,
        gamma=gamma,
        n_epochs=10,
        learning_rate=7.77e-5,
        clip_range=0.1,
        ent_coef=0.00429,
        vf_coef=0.19,
        max_grad_norm=5.0,
        seed=seed,
        device="cpu",
        **variant,
    ).learn(20_000)
    held_out = make_vec_env(env_id, n_envs=10, seed=_EVALUATION_SEED + seed)
    evaluation = VecNormalize(held_out, training=False, norm_reward=False)
    evaluation.obs_rms = training.obs_rms
    return _evaluate(agent, evaluation)


def play_dqn(seed: int, variant: Mapping[str, Any]) -> float:
    """Like `play_pendulum`, with DQN; ``variant`` names the spec of configs/zoo."""
    spec = load_spec(ZOO / variant["spec"])
    env_id, env_steps = spec.environment.id, int(spec.stop[ENV_STEPS])
    agent = build_stable_baselines3(
        env_id, spec.param_space, env_steps=env_steps, seed=seed, env_seed=seed
    ).learn(env_steps)
    return _evaluate(agent, make_vec_env(env_id, n_envs=10, seed=_EVALUATION_SEED + seed))


def _evaluate(agent: BaseAlgorithm, envs: VecEnv) -> float:
    returns, _ = evaluate_policy(
        agent, envs, n_eval_episodes=_EPISODES, return_episode_rewards=True
    )
    return float(np.mean(returns))


Play = Callable[[int, Mapping[str, Any]], float]
TASKS: Mapping[str, tuple[Play, Mapping[str, Mapping[str, Any]]]] = {
    "pendulum": (
        play_pendulum,
        {"with gSDE": {"use_sde": True, "sde_sample_freq": 4}, "without": {}},
    ),
    "mountaincar_continuous": (
        play_mountaincar_continuous,
        {
            "with gSDE from exp(-3.29)": {
                "use_sde": True,
                "policy_kwargs": {"log_std_init": -3.29, "ortho_init": False},
            },
            "without, from 1": {"policy_kwargs": {"ortho_init": False}},
        },
    ),
    **{
        name: (play_dqn, {"as Zoo": {"spec": f"{name}.yaml"}})
        for name in ("cartpole_dqn", "mountaincar_dqn", "lunarlander_dqn")
    },
}


def main() -> None:
    """Train every variant on every seed and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    play, variants = TASKS[arguments.task]
    print_head("variant", "seeds", "mean", "95 % interval", "least to greatest")
    for name, variant in variants.items():
        values = []
        for seed in range(arguments.seeds):
            began = time.perf_counter()
            values.append(play(seed, variant))
            seconds = time.perf_counter() - began
            print(f"{name}, seed {seed}: {values[-1]:.1f} ({seconds:.0f} s)", file=sys.stderr)
        summary = summarise_sample(values)
        extremes = f"{min(values):.1f} to {max(values):.1f}"
        interval = describe_interval(summary)
        print_row(name, str(len(values)), f"{summary.mean:.1f}", interval, extremes)


if __name__ == "__main__":
    main()
