"""Stable-Baselines3 itself on Zoo's two specs that were tuned with state-dependent exploration.

The same hyperparameters as configs/zoo, the same evaluation as benchmarks/zoo.py (the final
agent plays 100 greedy episodes, averaged per run), with gSDE as RL Baselines3 Zoo has it and
without, as RLlib's PPO and so our specs have it. Needs the extra ``bench``.

    python benchmarks/zoo_reference.py pendulum --seeds 5
    python benchmarks/zoo_reference.py mountaincar_continuous --seeds 3
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from sweeper.evidence.statistics import summarise_sample

_EPISODES = 100
_EVALUATION_SEED = 1_000_000  # far from any that trained


def play_pendulum(seed: int, variant: Mapping[str, Any]) -> float:
    """Train one agent; its mean return over the evaluation's episodes."""
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
    """As `play_pendulum`, with normalised observations and rewards."""
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


def _evaluate(agent: PPO, envs: VecEnv) -> float:
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
}


def main() -> None:
    """Train every variant on every seed, print a row each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    play, variants = TASKS[arguments.task]
    print("| variant | seeds | mean | 95 % interval | least to greatest |")
    print("|---" * 5 + "|", flush=True)
    for name, variant in variants.items():
        values = [play(seed, variant) for seed in range(arguments.seeds)]
        summary = summarise_sample(values)
        interval = summary.interval_reason
        if summary.interval:
            interval = "{:.1f} to {:.1f}".format(*summary.interval)
        print(
            f"| {name} | {len(values)} | {summary.mean:.1f} | {interval} "
            f"| {min(values):.1f} to {max(values):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
