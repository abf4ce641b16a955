"""Coefficients that a restored RLlib Algorithm would use too late."""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm

__all__ = ["follow_schedules"]


def follow_schedules(algorithm: Algorithm, env_steps: int) -> None:
    """Give a restored Algorithm's learners the coefficients of their own configuration.

    RLlib sets learning rate and entropy coefficient after an iteration, for the next one. A
    restored optimiser has the learning rate that it was saved with (torch_learner.py,
    `_set_optimizer_state`), and a schedule begins at its first value: a full iteration would
    learn with either.

    Args:
        algorithm: built with the configuration that is to hold, and restored.
        env_steps: real env steps so far, by which schedules go.
    """
    algorithm.learner_group.foreach_learner(_follow, env_steps=env_steps)


def _follow(learner: Any, env_steps: int) -> None:
    for optimizer, schedule in learner._optimizer_lr_schedules.items():
        learner._set_optimizer_lr(optimizer, lr=schedule.update(timestep=env_steps))
    schedules = getattr(learner, "entropy_coeff_schedulers_per_module", None)
    if schedules is not None:  # PPO, IMPALA and APPO
        for module_id in learner.module.keys():  # noqa: SIM118 - no mapping
            schedules[module_id].update(timestep=env_steps)
