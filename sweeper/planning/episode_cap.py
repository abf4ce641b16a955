"""After how many steps an evaluation episode is cut where the environment never ends it."""

from __future__ import annotations

from sweeper.metrics import ENV_STEPS
from sweeper.spec import ExperimentSpec
from sweeper.trainables.contract import MAX_EPISODE_STEPS

__all__ = ["cap_evaluation", "default_episode_cap"]

_MIN_STEPS = 1_000  # a usual episode, for the agents of very short trials


def default_episode_cap(spec: ExperimentSpec) -> int:
    """A trial's env steps, from 1,000 to 27,000.

    No episode of its training can be longer, so a longer one in an evaluation would only take
    time. A policy that never ends its episode takes it for every episode of every evaluation.
    """
    trained = spec.stop.get(ENV_STEPS, MAX_EPISODE_STEPS)
    return int(min(MAX_EPISODE_STEPS, max(_MIN_STEPS, trained)))


def cap_evaluation(spec: ExperimentSpec) -> ExperimentSpec:
    """The spec of a sweep in an environment without a time limit, with its default cap.

    The run's spec records it, so a resumed run and a later evaluation have the same.
    """
    evaluation = spec.evaluation
    if evaluation is None or evaluation.max_episode_steps is not None:
        return spec
    capped = evaluation.model_copy(update={"max_episode_steps": default_episode_cap(spec)})
    return spec.model_copy(update={"evaluation": capped})
