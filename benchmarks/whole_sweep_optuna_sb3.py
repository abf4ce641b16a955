"""The sweep of `whole_sweep.py` by Optuna and Stable-Baselines3, as their documentation has it.

Processes share a study through a journal ("Easy Parallelization" in Optuna's tutorial); a trial
trains a model per seed and returns their mean, by `evaluate_policy`. Stable-Baselines3 recommends
several runs of the best ones on other seeds, and has nothing that does it: a pool of processes.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
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

STUDY = "ppo"
Parameters = Mapping[str, float]


def train(parameters: Parameters, seed: int, env_steps: int, episodes: int) -> float:
    """Train a model, and play so many greedy episodes; return their mean return."""
    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy",
        make_vec_env(ENVIRONMENT, n_envs=ENVS, seed=seed),
        learning_rate=parameters["lr"],
        gamma=parameters["gamma"],
        gae_lambda=parameters["lambda_"],
        clip_range=parameters["clip_param"],
        n_steps=STEPS,
        batch_size=MINIBATCH,
        n_epochs=EPOCHS,
        policy_kwargs={"net_arch": HIDDENS},
        seed=seed,
        device="cpu",
    )
    model.learn(env_steps)
    held_out = make_vec_env(ENVIRONMENT, n_envs=ENVS, seed=seed + 10_000_000)
    mean, _ = evaluate_policy(model, held_out, n_eval_episodes=episodes)
    return float(mean)


def open_storage(folder: Path) -> JournalStorage:
    """The file that all processes write their trials to."""
    return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def search(work: Work, folder: Path, index: int) -> None:
    """Run trials of the study until all processes together have run as many as asked for."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: optuna.Trial) -> float:
        parameters = {
            name: trial.suggest_float(name, low, high, log=is_log)
            for name, (low, high, is_log) in SPACE.items()
        }
        return statistics.mean(
            train(parameters, seed, work.env_steps, work.search_episodes)
            for seed in range(work.seeds)
        )

    sampler = optuna.samplers.RandomSampler(seed=index)
    study = optuna.load_study(study_name=STUDY, storage=open_storage(folder), sampler=sampler)
    share = range(index, work.configurations, work.cores)
    study.optimize(objective, n_trials=len(share))


def train_all(
    work: Work, configurations: Sequence[Parameters], seeds: Sequence[int]
) -> list[list[float]]:
    """Train every configuration with every seed; one list of returns per configuration."""
    jobs = [
        (parameters, seed, work.env_steps, work.confirm_episodes)
        for parameters in configurations
        for seed in seeds
    ]
    with multiprocessing.get_context("spawn").Pool(work.cores) as pool:
        returns = pool.starmap(train, jobs, chunksize=1)
    number = len(seeds)
    return [returns[start : start + number] for start in range(0, len(returns), number)]


def main() -> None:
    """Search and confirm, or train a champion with further seeds."""
    work, folder = read_work(sys.argv[1]), Path(sys.argv[2])
    if len(sys.argv) > 3:
        champion, number = json.loads(sys.argv[3]), int(sys.argv[4])
        seeds = range(FIRST_FURTHER_SEED, FIRST_FURTHER_SEED + number)
        answer(further=train_all(work, [champion], seeds)[0])
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=STUDY, storage=open_storage(folder), direction="maximize"
    )
    mark("begun")
    spawn = multiprocessing.get_context("spawn")
    processes = [
        spawn.Process(target=search, args=(work, folder, index)) for index in range(work.cores)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        sys.exit("a process of the search failed")
    mark("searched")
    ranked = sorted(study.trials, key=lambda trial: trial.value or 0.0, reverse=True)
    finalists = [trial.params for trial in ranked[: work.finalists]]
    seeds = range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + work.confirm_seeds)
    means = [statistics.mean(runs) for runs in train_all(work, [*finalists, DEFAULTS], seeds)]
    mark("confirmed")
    best = max(range(len(finalists)), key=lambda index: means[index])
    answer(champion=finalists[best], confirmed=means[best], baseline=means[-1])


if __name__ == "__main__":
    main()
