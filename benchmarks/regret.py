"""How good the choice of a simulated sweep is: its regret, judged by seeds that it did not see."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from result_table import ResultTable
from scipy import stats

__all__ = ["Judge", "difference", "foresee", "make_judge", "split_seeds", "worth"]

_RESAMPLES = 2000


def split_seeds(replicas: int, held_out: int, repeat: int) -> tuple[list[int], list[int]]:
    """The seeds that a sweep sees, and those that judge it; all for both if none is held out.

    Every set of seeds judges equally often over the repeats.
    """
    if not held_out:
        return list(range(replicas)), list(range(replicas))
    sets = list(itertools.combinations(range(replicas), held_out))
    judges = sets[repeat % len(sets)]
    return [one for one in range(replicas) if one not in judges], list(judges)


@dataclass(frozen=True)
class Judge:
    """What every configuration of a table is worth, by the seeds of one repeat.

    Attributes:
        values: ``float64[configurations]``, more is better.
        best: the mean of the best twentieth of the configurations, by all seeds.
        span: from the median to that.
    """

    values: NDArray[np.float64]
    best: float
    span: float

    def regret(self, incumbents: Sequence[int]) -> float:
        """The mean of a sweep's incumbents; one that has none yet is charged with the worst."""
        value = self.values[list(incumbents)].mean() if incumbents else self.values.min()
        return float((self.best - value) / self.span)


@cache
def make_judge(table: ResultTable, held_out: int, repeat: int) -> Judge:
    """The judge of one repeat.

    What the best choice from the whole table by the same seeds is worth would be no yardstick: on a
    task where runs get stuck it is a configuration whose few seeds were lucky.
    """
    final = _scores(table)
    _, judges = split_seeds(table.replicas, held_out, repeat)
    means = np.sort(final.mean(axis=1))
    best = float(means[-max(1, len(means) // 20) :].mean())
    return Judge(final[:, judges].mean(axis=1), best, best - float(np.median(means)))


@cache
def _scores(table: ResultTable) -> NDArray[np.float64]:
    """``float64[configurations, replicas]``, more is better."""
    return table.scores() * (1.0 if table.objective.mode == "max" else -1.0)


def foresee(table: ResultTable, share: float) -> tuple[float, float]:
    """What a rung at a share of the trials' env steps knows of their end, over all seeds.

    Returns:
        Spearman's rank correlation of the evaluation there with the score at the end; and how many
        of the best 5 % (one at least) are not among the best quarter there.
    """
    scores = _scores(table).mean(axis=1)
    sign = 1.0 if table.objective.mode == "max" else -1.0
    early = np.full(len(scores), -np.inf)
    for index, curve in enumerate(table.curves):
        reached = np.flatnonzero(curve.env_steps >= share * table.budget)
        if len(reached) and not curve.has_failed:
            early[index] = sign * curve.returns[reached[0]].mean()
    best = scores >= np.sort(scores)[-max(1, len(scores) // 20)]
    kept = early >= np.sort(early)[-max(1, len(scores) // 4)]
    correlation = stats.spearmanr(early, scores).statistic
    return float(correlation), float(1 - kept[best].mean())


def _resample(repeats: int, seed: int = 0) -> NDArray[np.int64]:
    """``int64[resamples, repeats]``: the repeats of each bootstrap sample."""
    generator = np.random.default_rng(seed)
    return generator.integers(repeats, size=(_RESAMPLES, repeats))


def difference(*paired: NDArray[np.float64]) -> tuple[float, float, float]:
    """The mean paired difference of two methods, and its 95 % bootstrap interval.

    Args:
        paired: ``float64[repeats]`` for each table, which all count alike; each table's repeats
            are drawn anew for themselves.
    """
    means = [one[_resample(len(one), seed)].mean(axis=1) for seed, one in enumerate(paired)]
    middle = np.mean([one.mean() for one in paired])
    return float(middle), *map(float, np.quantile(np.mean(means, axis=0), [0.025, 0.975]))


def worth(
    regrets: NDArray[np.float64],
    control: NDArray[np.float64],
    *,
    budgets: Sequence[float],
    reference: float,
) -> tuple[float, float, float]:
    """How many times fewer env steps reach the control's mean regret at some budget.

    The control itself may have reached it earlier: that is what others are compared with, so its
    own factor is 1.

    Args:
        regrets: ``float64[repeats, budgets]`` of a method, which may end at a smaller budget.
        control: the same of the control; as many repeats at least.
        budgets: in trials that run to their end, increasing.
        reference: that budget, one of these.

    Returns:
        The factor and its 95 % bootstrap interval; 0 where the regret is never reached.
    """
    column, counts = list(budgets).index(reference), np.array(budgets, dtype=np.float64)

    def factor(rows: NDArray[np.int64]) -> float:
        curve, mine = control[rows].mean(axis=0), regrets[rows].mean(axis=0)
        goal = curve[column] + 1e-12
        reached = mine <= goal
        if not reached.any():
            return 0.0
        return float(counts[(curve <= goal).argmax()] / counts[reached.argmax()])

    everything = factor(np.arange(len(regrets)))
    factors = [factor(rows) for rows in _resample(len(regrets))]
    return everything, *map(float, np.quantile(factors, [0.025, 0.975]))
