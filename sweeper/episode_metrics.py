"""Metrics of episodes: how a trial's value follows from its replicas', and which value is worst."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sweeper.metrics import EPISODE_STATISTICS, EVALUATION, EXAMINED, Objective

__all__ = ["combine_replicas", "find_mode", "is_of_episodes", "pick_worst"]

_RETURN = "episode_return_"


def is_of_episodes(metric: str) -> bool:
    """Whether a metric, by our name, is a statistic of episodes, so that each replica has one."""
    return _statistic(metric) in EPISODE_STATISTICS


def combine_replicas(metric: str, values: Sequence[float]) -> float:
    """A trial's value of a metric of episodes: its replicas' mean.

    Of the smallest and the largest return while training it is the smallest and the largest one.

    Args:
        metric: by our name.
        values: one per replica, at least one.
    """
    if metric == "episode_return_min":
        return float(min(values))
    if metric == "episode_return_max":
        return float(max(values))
    return float(np.mean(values))


def pick_worst(metric: str, objective: Objective) -> Callable[[float, float], float]:
    """Which of two values of a metric of episodes is the worse one: ``min`` or ``max``."""
    return max if find_mode(metric, objective) == "min" else min


def find_mode(metric: str, objective: Objective) -> str:
    """Whether ``max`` or ``min`` of a metric is better.

    Returns are judged as the objective's if that is a return, and lengths likewise. Of what the
    objective does not speak of, more is better.
    """
    return objective.mode if _kind(metric) == _kind(objective.metric) else "max"


def _kind(metric: str) -> str:
    statistic = _statistic(metric)
    return _RETURN if statistic.startswith(_RETURN) else statistic


def _statistic(metric: str) -> str:
    for prefix in (EVALUATION, EXAMINED):
        metric = metric.removeprefix(prefix)
    return metric
