"""Exchanges of population-based training: who took over whose weights, when, with which values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sweeper.journal import TrialReported
from sweeper.results.scoring import env_steps_of, iteration_of
from sweeper.search.configuration import merge_configuration
from sweeper.search.distributions import assign, flatten

__all__ = [
    "Exchange",
    "TrialCheckpoint",
    "count_env_steps",
    "describe_copy",
    "read_exchange",
    "replace_parameters",
]

Report = Mapping[str, Any]


class TrialCheckpoint(NamedTuple):
    """A checkpoint as recorded; it may have been deleted since.

    Attributes:
        path: relative to the run folder with forward slashes, or absolute.
        metrics: scalar metrics of the report it was made after; empty if that is unknown.
    """

    path: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Exchange:
    """A trial went on from another's checkpoint, with other values.

    Attributes:
        trial_id: who copied.
        time: when, in seconds since the epoch.
        env_steps: of the trial at the report that it was decided on.
        donor: whose checkpoint it took over.
        donor_env_steps: of that checkpoint.
        checkpoint: that checkpoint; None if the journal has none of it.
        score: the trial's value that was compared; None in a journal without it.
        donor_score: the donor's.
        replaced: the trial's parameters until then, nested.
        copied: the donor's, nested.
        parameters: the trial's from then on, nested.
        donor_exchanges: how often the donor itself had copied another by then.
        donor_report: the donor's row at the checkpoint.
        taken_env_steps: how many env steps more the donor's weights had taken than its own, all
            replicas together: the trial counts them without having trained them.
        first_report: the index of the trial's first report with its new parameters.
        reason: in words.
    """

    trial_id: str
    time: float
    env_steps: int
    donor: str
    donor_env_steps: int
    checkpoint: TrialCheckpoint | None = None
    score: float | None = None
    donor_score: float | None = None
    replaced: Mapping[str, Any] = field(default_factory=dict)
    copied: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    donor_exchanges: int = 0
    donor_report: Report = field(default_factory=dict)
    taken_env_steps: int = 0
    first_report: int = 0
    reason: str = ""


def describe_copy(event: TrialReported) -> str | None:
    """``ranks 4 of 4 at 1,500 env steps with 9; copies …``; None if the trial copies none."""
    decision = event.decision or {}
    return str(decision.get("reason") or "") if decision.get("action") == "copy" else None


def read_exchange(
    event: TrialReported,
    *,
    parameters: Mapping[str, Any],
    donor_parameters: Mapping[str, Any],
    donor_reports: Sequence[Report],
    donor_checkpoints: Mapping[str, Mapping[str, Any]],
    donor_exchanges: int,
) -> Exchange | None:
    """The exchange that was decided on a report; None if none was.

    Args:
        event: the report with its decision.
        parameters: the trial's until then.
        donor_parameters: the donor's by now, like the next two.
        donor_reports: in the order of training.
        donor_checkpoints: metrics by path, in the order they were made.
        donor_exchanges: how often the donor has copied another.
    """
    if describe_copy(event) is None:
        return None
    decision = event.decision or {}
    donor, steps = str(decision.get("donor")), int(decision.get("donor_env_steps") or 0)
    found = [
        TrialCheckpoint(path, metrics)
        for path, metrics in donor_checkpoints.items()
        if env_steps_of(metrics) == steps
    ]
    checkpoint = found[-1] if found else None
    iteration = None if checkpoint is None else iteration_of(checkpoint.metrics)
    rows = [row for row in donor_reports if iteration_of(row) == iteration is not None]
    row = rows[-1] if rows else {}
    scores = list(decision.get("scores") or (None, None))
    return Exchange(
        trial_id=event.trial_id,
        time=event.time,
        env_steps=int(env_steps_of(event.metrics) or 0),
        donor=donor,
        donor_env_steps=steps,
        checkpoint=checkpoint,
        score=scores[0],
        donor_score=scores[1],
        replaced=parameters,
        copied=donor_parameters,
        parameters=decision.get("parameters") or {},
        donor_exchanges=donor_exchanges,
        donor_report=row,
        taken_env_steps=count_env_steps(row) - count_env_steps(event.metrics) if row else 0,
        reason=str(decision.get("reason") or ""),
    )


def count_env_steps(report: Report) -> int:
    """The env steps of all replicas together, since the start of their weights."""
    replicas = report.get("replica/num_env_steps_sampled_lifetime")
    if isinstance(replicas, list) and all(isinstance(steps, int) for steps in replicas):
        return sum(replicas)
    return int(env_steps_of(report) or 0)


def replace_parameters(
    configuration: Mapping[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]
) -> dict[str, Any]:
    """A configuration with other values of its parameters; all nested."""
    searched = {path for path, _ in flatten(old)}
    constants: dict[str, Any] = {}
    for path, value in flatten(configuration):
        if path not in searched:
            assign(constants, path, value)
    return merge_configuration(constants, new)
