"""Which searched parameters a score depends on: PED-ANOVA by Optuna, held against chance.

PED-ANOVA (Watanabe et al., IJCAI 2023) says how far the values of the best trials are distributed
otherwise than those of all. It is never 0, and of few trials large by chance. So the scores are
shuffled among the trials, again and again, and a parameter counts only if it lies above what the
largest of all parameters reaches then.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.importance import PedAnovaImportanceEvaluator

from sweeper.metrics import Objective
from sweeper.search.base import Observation
from sweeper.search.sampling.export import build_study
from sweeper.search.sampling.study import quiet
from sweeper.states import TrialState

__all__ = ["Importance", "estimate_importances"]

_SHUFFLES = 199
_MAX_TRIALS = 250  # of more, so many are drawn: they suffice, and a shuffle stays at milliseconds
# The best trials, whose values are compared with everybody's: a quarter, or of few trials more. Of
# 16 trials, a tenth (Optuna's default) shows a parameter on which nearly everything depends in one
# sweep of ten, these in three of four.
_BEST_SHARE, _MIN_BEST, _MAX_SHARE = 0.25, 8, 0.4


# The last question and its answer, which takes seconds: a report asks twice, for its advice and for
# its chart.
_last: dict[str, list[Importance]] = {}


@dataclass(frozen=True)
class Importance:
    """How much depends on a searched parameter.

    Attributes:
        name: dotted.
        value: its importance by PED-ANOVA; comparable within a run.
        floor: what chance makes of it: it reaches that without meaning anything, in as many cases
            as the level of the estimate says.
        p_value: how often chance makes any parameter as important, for its own kind.
    """

    name: str
    value: float
    floor: float
    p_value: float

    @property
    def is_real(self) -> bool:
        """Whether it lies above the floor."""
        return self.value > self.floor


def estimate_importances(
    param_space: Mapping[str, Any],
    trials: Sequence[tuple[Mapping[str, Any], float]],
    *,
    level: float = 0.02,
    seed: int = 0,
) -> list[Importance]:
    """The importance of every parameter that all trials have a value of, the largest first.

    Args:
        param_space: nested; leaves are constants or distributions.
        trials: of each what the search chose, nested, and its merit: more is better.
        level: how often any parameter of a search whose scores are noise lies above its floor.
        seed: of the shuffles.
    """
    asked = repr((param_space, list(trials), level, seed))
    if asked not in _last:
        found = _estimate(param_space, trials, level=level, seed=seed)
        _last.clear()
        _last[asked] = found
    return list(_last[asked])


def _estimate(
    param_space: Mapping[str, Any],
    trials: Sequence[tuple[Mapping[str, Any], float]],
    *,
    level: float,
    seed: int,
) -> list[Importance]:
    generator = np.random.default_rng(seed)
    if len(trials) > _MAX_TRIALS:
        kept = np.sort(generator.choice(len(trials), _MAX_TRIALS, replace=False))
        trials = [trials[index] for index in kept]
    observations = [
        Observation(number, parameters, TrialState.TERMINATED, score=merit)
        for number, (parameters, merit) in enumerate(trials, start=1)
    ]
    study = build_study(param_space, observations, name="importance", objective=Objective("merit"))
    _share_distributions(study)
    merits = np.array([merit for _, merit in trials])
    share = min(max(_BEST_SHARE, _MIN_BEST / len(trials)), _MAX_SHARE)
    evaluator = PedAnovaImportanceEvaluator(target_quantile=share)

    def evaluate(shuffled: NDArray[np.float64]) -> dict[str, float]:
        # Optuna takes less of the target for better.
        return evaluator.evaluate(study, target=lambda trial: -float(shuffled[trial.number]))

    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = evaluate(merits)
        chance = [evaluate(generator.permutation(merits)) for _ in range(_SHUFFLES)]
    names = [*found]
    if not names:
        return []
    null = np.array([[one[name] for name in names] for one in chance])
    observed = np.array([found[name] for name in names])
    # Parameters differ in what chance makes of them: a choice of two varies less than a range.
    mean, deviation = null.mean(axis=0), np.maximum(null.std(axis=0), 1e-12)
    largest = ((null - mean) / deviation).max(axis=1)
    bound = float(np.quantile(largest, 1 - level, method="higher"))
    above = (largest[:, None] >= (observed - mean) / deviation).sum(axis=0)
    importances = [
        Importance(name, float(value), float(floor), float(p_value))
        for name, value, floor, p_value in zip(
            names,
            observed,
            mean + bound * deviation,
            (1 + above) / (1 + _SHUFFLES),
            strict=True,
        )
    ]
    return sorted(importances, key=lambda one: -one.value)


def _share_distributions(study: optuna.Study) -> None:
    """Give all trials the same objects for equal distributions.

    The evaluator groups trials by them, and compares copies value by value: a quarter of its time.
    """
    shared: dict[tuple[str, BaseDistribution], BaseDistribution] = {}
    for trial in study.get_trials(deepcopy=False):
        trial.distributions = {
            name: shared.setdefault((name, form), form)
            for name, form in trial.distributions.items()
        }
