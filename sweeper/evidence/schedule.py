"""The winner of a population as a spec: its values over env steps, for `train` to repeat."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.hints import join_words, show
from sweeper.results.lineage import trace_ancestry, values_over_time
from sweeper.results.records import SweepResults
from sweeper.search.configuration import merge_configuration
from sweeper.search.distributions import assign
from sweeper.spec import ExperimentSpec, dump_spec
from sweeper.spec.keys.names import domain
from sweeper.spec.training import for_training

__all__ = ["WinnersSchedule", "as_schedule", "trace_schedule"]

Steps = Sequence[tuple[int, Any]]


@dataclass(frozen=True)
class WinnersSchedule:
    """What a trial's weights were trained with, from their first ancestor on.

    Attributes:
        ancestors: the trials that trained them, the first one first, with where each began.
        scheduled: each value that changed, with the env steps from which it held, by dotted name;
            of the keys that take a schedule.
        lost: the same of the keys that take none: the spec has their last value.
        spec: trains with the schedules.
    """

    ancestors: tuple[tuple[int, str], ...]
    scheduled: Mapping[str, Steps]
    lost: Mapping[str, Steps]
    spec: ExperimentSpec

    @property
    def is_exact(self) -> bool:
        """Whether every value is repeated at the env steps at which it held."""
        return not self.lost

    def describe(self) -> list[str]:
        """In words, a sentence each."""
        path = ", then ".join(
            trial_id if not env_steps else f"{trial_id} from {env_steps:,}"
            for env_steps, trial_id in self.ancestors
        )
        lines = [f"These weights were trained by {path} env steps on."]
        if self.is_exact:
            lines.append(
                "Every value that changed is a schedule here, so training repeats all of them at "
                "the same env steps (with other random numbers)."
            )
        else:
            names = join_words(list(self.lost), "and")
            takes = "takes" if len(self.lost) == 1 else "take"
            lines.append(
                f"Not exact: {names} {takes} no schedule on backend {self.spec.backend}, so "
                "training takes the last value from the start on."
            )
            lines += [f"{name} was {_in_words(steps)}." for name, steps in self.lost.items()]
        return lines

    def to_yaml(self) -> str:
        """The spec, with the description as comments."""
        comments = "".join(f"# {line}\n" for line in self.describe())
        return comments + dump_spec(self.spec)


def trace_schedule(
    spec: ExperimentSpec, results: SweepResults, trial_id: str
) -> WinnersSchedule | None:
    """The schedule of a trial of a population; None if its values never changed.

    Args:
        spec: the run's.
        results: the run's.
        trial_id: whose weights.
    """
    segments = trace_ancestry(results, trial_id)
    if len(segments) < 2:
        return None
    changed = values_over_time(segments)
    scheduled = {name: steps for name, steps in changed.items() if _can_follow(spec, name, steps)}
    values: dict[str, Any] = {}
    for name, steps in scheduled.items():
        assign(values, tuple(name.split(".")), as_schedule(steps))
    configuration = copy.deepcopy(dict(results.trial(trial_id).configuration))
    return WinnersSchedule(
        ancestors=tuple((segment.env_steps, segment.trial_id) for segment in segments),
        scheduled=scheduled,
        lost={name: steps for name, steps in changed.items() if name not in scheduled},
        spec=for_training(spec, merge_configuration(configuration, values), "schedule"),
    )


def as_schedule(steps: Steps) -> list[list[Any]]:
    """Values and the env steps from which they held, as a schedule ``[[0, v], [step, v], …]``.

    Schedules are linear between their points, so each value is repeated one env step before the
    next: at the ends of iterations, where schedules are read, the values are exact.
    """
    points = [[0, steps[0][1]]]
    for (_, before), (env_steps, value) in itertools.pairwise(steps):
        if env_steps - 1 > points[-1][0]:
            points.append([env_steps - 1, before])
        points.append([env_steps, value])
    return points


def _can_follow(spec: ExperimentSpec, name: str, steps: Steps) -> bool:
    is_numeric = all(
        isinstance(value, int | float) and not isinstance(value, bool) for _, value in steps
    )
    return is_numeric and domain(spec.algorithm, tuple(name.split(".")), spec.backend).has_schedule


def _in_words(steps: Steps) -> str:
    first, *later = steps
    begun = [f"{show(first[1])} at first"]
    return ", ".join([*begun, *(f"{show(value)} from {at:,} env steps on" for at, value in later)])
