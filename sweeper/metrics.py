"""Names of metrics, and the objective that ranks trials."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeper.errors import UserError

__all__ = [
    "BOUNDS",
    "ENV_STEPS",
    "EPISODE_STATISTICS",
    "EVALUATION",
    "EXAMINED",
    "IS_NEW_EVALUATION",
    "ITERATION",
    "MODES",
    "NUM_CAPPED_EPISODES",
    "SCORES",
    "Objective",
    "canonical_metric",
    "examined_metric",
    "explain_metric",
    "is_of_evaluation",
    "repeats_evaluation",
]

ENV_STEPS = "num_env_steps_sampled_lifetime"
ITERATION = "training_iteration"
EVALUATION = "evaluation/"  # before the name of what an evaluation's episodes came to
NUM_CAPPED_EPISODES = "evaluation/num_capped_episodes"
IS_NEW_EVALUATION = "evaluation/is_new"  # of a report; absent before the first evaluation
EXAMINED = "confirmation/"  # before the name of what a confirmation's episodes came to
BOUNDS = (ENV_STEPS, "time_total_s", ITERATION)
MODES = ("max", "min")
SCORES = ("last", "best", "auc")


@dataclass(frozen=True)
class Objective:
    """What ranks trials: a metric, its direction, and which of its values counts.

    Attributes:
        metric: by our name, or as an imported experiment reported it.
        mode: ``max`` or ``min``.
        score: ``last``, ``best`` or ``auc``; see `sweeper.results.scoring.score_reports`.

    Raises:
        UserError: an unknown mode or score.
    """

    metric: str = "episode_return_mean"
    mode: str = "max"
    score: str = "last"

    def __post_init__(self) -> None:
        for what, word, known in (("mode", self.mode, MODES), ("score", self.score, SCORES)):
            if word not in known:
                raise UserError(f"unknown {what} {word!r}: one of {', '.join(known)}")

    def merit(self, value: float | None) -> float:
        """The value with its sign set so that more is better; ``-inf`` if it is no score."""
        if value is None or not math.isfinite(value):
            return -math.inf
        return value if self.mode == "max" else -value


_REPORTED = (
    "episode_return_mean",
    "episode_return_min",
    "episode_return_max",
    "episode_len_mean",
    "num_episodes",
    *BOUNDS,
    "env_steps_per_s",
)
_EVALUATION = (
    "evaluation/episode_return_mean",
    "evaluation/episode_len_mean",
    NUM_CAPPED_EPISODES,
)
_LEARNER_SHARED = (
    "total_loss",
    "default_optimizer_learning_rate",
    "gradients_default_optimizer_global_norm",
)
_OURS: Mapping[str, str] = {
    "env_steps": ENV_STEPS,
    "timesteps_total": ENV_STEPS,
    "num_env_steps": ENV_STEPS,
    "time_s": "time_total_s",
    "episode_reward_mean": "episode_return_mean",
    "mean_reward": "episode_return_mean",
    "reward": "episode_return_mean",
    "score": "episode_return_mean",
    "loss": "learner/total_loss",
    "timesteps": ENV_STEPS,
    "total_timesteps": ENV_STEPS,
    "n_timesteps": ENV_STEPS,
}


def canonical_metric(name: str) -> str:
    """Our name of a metric, from ours or RLlib's."""
    for theirs, ours in (
        ("evaluation/env_runners/", "evaluation/"),
        ("env_runners/", ""),
        ("learners/default_policy/", "learner/"),
    ):
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def is_of_evaluation(metric: str) -> bool:
    """Whether evaluations tell a metric, by our name."""
    return metric.startswith(EVALUATION)


def repeats_evaluation(metric: str, *, is_evaluation: bool) -> bool:
    """Whether a report's value of a metric is only that of an evaluation before it.

    Every report has the values of the last evaluation. They are news in one, and no further
    points of a curve in the others.

    Args:
        metric: by our name.
        is_evaluation: whether the report follows an evaluation.
    """
    return is_of_evaluation(metric) and not is_evaluation


EPISODE_STATISTICS = (
    "episode_return_mean",
    "episode_return_min",
    "episode_return_max",
    "episode_len_mean",
)


def examined_metric(metric: str) -> str | None:
    """The metric of a confirmation that answers to a metric of the search.

    None if episodes can't tell it, as ``learner/total_loss``.
    """
    name = metric.removeprefix(EVALUATION)
    return f"{EXAMINED}{name}" if name in EPISODE_STATISTICS else None


def explain_metric(name: str, learner: Sequence[str] | None, *, has_evaluation: bool) -> str | None:
    """Why no trial reports a metric; None if trials do.

    Args:
        name: from `canonical_metric`.
        learner: the algorithm's metrics below ``learner/``; None accepts any.
        has_evaluation: whether the spec has an evaluation section.
    """
    if name.startswith("learner/") and learner is None:
        return None
    known = [*_REPORTED, *_EVALUATION]
    known += [f"learner/{key}" for key in (*(learner or ()), *_LEARNER_SHARED)]
    if name in _EVALUATION and not has_evaluation:
        return f"{name} is reported only with an evaluation section, e.g. evaluation: {{}}"
    if name in known:
        return None
    ours = _OURS.get(name) or next(iter(difflib.get_close_matches(name, known, n=1)), None)
    hint = f"; did you mean {ours}?" if ours else f"; trials report {', '.join(known)}"
    return f"no trial reports {name!r}{hint}"
