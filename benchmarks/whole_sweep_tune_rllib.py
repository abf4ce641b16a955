"""The sweep of `whole_sweep.py` by Ray Tune and RLlib, as their documentation has it.

A `Tuner` of ``PPO`` with a `PPOConfig` as its param space. Seeds are a grid ("How can I get
reproducible results" in Tune's FAQ names ``seed``; `BasicVariantGenerator` keeps what was sampled
for all values of a grid). RLlib evaluates at the last iteration. Neither has anything that trains
the best again: a second `Tuner` does it, with their values as `points_to_evaluate`.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.rllib.algorithms.ppo import PPOConfig
from ray.tune.search.basic_variant import BasicVariantGenerator
from whole_sweep_task import (
    DEFAULTS,
    ENVIRONMENT,
    ENVS,
    EPOCHS,
    FIRST_FRESH_SEED,
    FIRST_FURTHER_SEED,
    HIDDENS,
    MINIBATCH,
    SPACE,
    STEPS,
    Work,
    answer,
    mark,
    read_work,
)

Parameters = Mapping[str, float]
KEYS = {name: name.rstrip("_") for name in SPACE}  # as `PPOConfig` spells them in its dict


def configure(env_steps: int, episodes: int, seeds: Sequence[int]) -> PPOConfig:
    """The algorithm with the searched ranges, evaluated after its last iteration."""
    batch = ENVS * STEPS
    searched = {
        name: tune.loguniform(low, high) if is_log else tune.uniform(low, high)
        for name, (low, high, is_log) in SPACE.items()
    }
    return (
        PPOConfig()
        .environment(ENVIRONMENT)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=ENVS)
        .training(
            train_batch_size_per_learner=batch,
            minibatch_size=MINIBATCH,
            num_epochs=EPOCHS,
            use_kl_loss=False,
            vf_loss_coeff=0.5,
            vf_clip_param=float("inf"),
            grad_clip=0.5,
            **searched,
        )
        .rl_module(model_config={"fcnet_hiddens": HIDDENS})
        .evaluation(
            evaluation_interval=-(-env_steps // batch),
            evaluation_duration=episodes,
            evaluation_duration_unit="episodes",
            evaluation_num_env_runners=0,
        )
        .debugging(seed=tune.grid_search(list(seeds)))
    )


def tune_all(
    config: PPOConfig,
    folder: Path,
    *,
    env_steps: int,
    number: int,
    points: Sequence[Parameters] = (),
) -> dict[tuple[float, ...], list[float]]:
    """Train so many configurations, ``points`` first; the returns of each by its values."""
    searcher = BasicVariantGenerator(
        constant_grid_search=True,
        random_state=0,
        points_to_evaluate=[{KEYS[name]: value for name, value in one.items()} for one in points]
        or None,
    )
    tuner = tune.Tuner(
        "PPO",
        param_space=config,
        tune_config=tune.TuneConfig(num_samples=number, search_alg=searcher),
        run_config=tune.RunConfig(
            stop={"num_env_steps_sampled_lifetime": env_steps},
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
            storage_path=str(folder),
            verbose=0,
        ),
    )
    grid = tuner.fit()
    if grid.num_errors:
        sys.exit(f"{grid.num_errors} trials failed")
    found: dict[tuple[float, ...], list[float]] = {}
    for result in grid:
        values = tuple(float(result.config[key]) for key in KEYS.values())
        evaluated = result.metrics["evaluation"]["env_runners"]
        found.setdefault(values, []).append(float(evaluated["episode_return_mean"]))
    return found


def retrain(
    work: Work, folder: Path, configurations: Sequence[Parameters], seeds: Sequence[int]
) -> list[list[float]]:
    """Train every configuration with every seed; one list of returns per configuration."""
    config = configure(work.env_steps, work.confirm_episodes, seeds)
    found = tune_all(
        config,
        folder,
        env_steps=work.env_steps,
        number=len(configurations),
        points=configurations,
    )
    return [found[tuple(float(one[name]) for name in SPACE)] for one in configurations]


def main() -> None:
    """Search and confirm, or train a champion with further seeds."""
    work, folder = read_work(sys.argv[1]), Path(sys.argv[2])
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False}
    ray.init(num_cpus=work.cores, logging_level="ERROR", **options)
    if len(sys.argv) > 3:
        champion, number = json.loads(sys.argv[3]), int(sys.argv[4])
        seeds = range(FIRST_FURTHER_SEED, FIRST_FURTHER_SEED + number)
        answer(further=retrain(work, folder, [champion], seeds)[0])
        return
    mark("begun")
    found = tune_all(
        configure(work.env_steps, work.search_episodes, range(work.seeds)),
        folder,
        env_steps=work.env_steps,
        number=work.configurations,
    )
    mark("searched")
    ranked = sorted(found, key=lambda values: statistics.mean(found[values]), reverse=True)
    finalists = [dict(zip(SPACE, values, strict=True)) for values in ranked[: work.finalists]]
    seeds = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + work.confirm_seeds)
    runs = retrain(work, folder, [*finalists, DEFAULTS], seeds)
    means = [statistics.mean(one) for one in runs]
    mark("confirmed")
    best = max(range(len(finalists)), key=lambda index: means[index])
    answer(champion=finalists[best], confirmed=means[best], baseline=means[-1])


if __name__ == "__main__":
    main()
