"""What a run took: trials, env steps, time and cores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.metrics import ENV_STEPS
from sweeper.results.records import SweepResults, TrialRecord, count_states
from sweeper.results.scoring import as_float
from sweeper.states import TrialState

__all__ = ["Cost", "count_core_hours", "count_steps", "find_cost"]


@dataclass(frozen=True)
class Cost:
    """What a run took, of all that its journal tells.

    Attributes:
        trials: of the search.
        states: how many of these are in each state; states without one are left out.
        retrained: trials of the confirmation, the baseline's among them.
        env_steps: of all replicas of the search together.
        confirmation_env_steps: the same of the confirmation.
        time_s: from the first to the last event of each launch, all launches together.
        core_hours: the cores of each trial times its time of training; None if that is not known.
    """

    trials: int
    states: Mapping[TrialState, int]
    retrained: int
    env_steps: int
    confirmation_env_steps: int
    time_s: float
    core_hours: float | None

    def to_json(self) -> dict[str, Any]:
        """The cost in JSON types."""
        return {**vars(self), "states": {str(key): one for key, one in self.states.items()}}


def find_cost(results: SweepResults, cpus: float | None) -> Cost:
    """What a run took.

    Args:
        results: of the run.
        cpus: cores of a trial; None if that is not known.
    """
    return Cost(
        trials=len(results.trials),
        states=count_states(results.trials),
        retrained=len(results.retrained),
        env_steps=count_steps(results.trials),
        confirmation_env_steps=count_steps(results.retrained),
        time_s=math.fsum(max(0.0, one.updated - one.started) for one in results.launches),
        core_hours=count_core_hours((*results.trials, *results.retrained), cpus),
    )


def count_core_hours(records: Sequence[TrialRecord], cpus: float | None) -> float | None:
    """The cores of each trial times its time of training; None if one's time is not known."""
    times = [one.time_total_s for one in records if one.reports]
    known = [time for time in times if time is not None and time >= 0]
    if cpus is None or not known or len(known) < len(times):
        return None
    return math.fsum(known) * cpus / 3600


def count_steps(records: Iterable[TrialRecord]) -> int:
    """Env steps of all replicas, by the last report of each trial."""
    return sum(_steps_of(record) for record in records)


def _steps_of(record: TrialRecord) -> int:
    listed = record.last_report.get(f"replica/{ENV_STEPS}")
    steps = [as_float(one) for one in listed] if isinstance(listed, list) else []
    if steps and all(one is not None and 0 <= one < math.inf for one in steps):
        return int(math.fsum(one for one in steps if one is not None))
    return max(0, record.env_steps or 0) * max(1, len(record.seeds))
