"""From the worker's result to measurements, warnings and errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sweeper.errors import RunError, UserError
from sweeper.formatting import format_parameters
from sweeper.hints import did_you_mean
from sweeper.metrics import ENV_STEPS
from sweeper.planning.plan import SweepPlan

__all__ = ["Probe", "Rehearsal", "read_result"]


@dataclass(frozen=True)
class Probe:
    """The measurements of one configuration.

    Attributes:
        index: of the configuration in the search, from 0.
        parameters: what the search varies, nested.
        env_steps: of each replica, in the rehearsal.
        iteration_steps: env steps of a replica per iteration.
        step_s: seconds for one env step of all replicas, while learning.
        collect_step_s: the same before learning starts; None if it starts at once.
        learning_starts: env steps of a replica before the first update.
        build_s: time to load another configuration in the same process.
        evaluation_s: time of one evaluation; 0 without evaluations.
        evaluation_steps: mean length of its episodes.
        episode_limit: the environment's time limit.
        save_s: time to write a checkpoint.
        checkpoint_bytes: of all replicas, without a replay memory.
        kept_bytes: the part of it that a finished trial keeps.
        report_bytes: of one row of metrics, as JSON.
        report_values: numbers in that row.
        memory_bytes: peak memory of the trial's process.
        value: of the metric that trials are judged by; None if there is none yet.
    """

    index: int
    parameters: Mapping[str, Any]
    env_steps: int
    iteration_steps: float
    step_s: float
    collect_step_s: float | None
    learning_starts: float
    build_s: float
    evaluation_s: float
    evaluation_steps: float
    episode_limit: int | None
    save_s: float
    checkpoint_bytes: int
    kept_bytes: int
    report_bytes: int
    report_values: int
    memory_bytes: int
    value: float | None


@dataclass(frozen=True)
class Rehearsal:
    """The measurements of a rehearsal.

    Attributes:
        probes: one for each configuration that could be trained.
        concurrent: how many trained side by side.
        seconds: of training, in all rounds.
        start_s: until Ray was ready.
        worker_s: from then until the first trial trained.
        end_s: to shut Ray down.
        memory_bytes: of all processes together; None if unknown.
        warnings: about configurations that failed, or problems the sweep may have.
    """

    probes: tuple[Probe, ...]
    concurrent: int
    seconds: float
    start_s: float
    worker_s: float
    end_s: float
    memory_bytes: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def startup_s(self) -> float:
        """Until the first trial trained."""
        return self.start_s + self.worker_s


def read_result(
    result: Mapping[str, Any], plan: SweepPlan, *, concurrent: int, seconds: float
) -> Rehearsal:
    """Read the worker's result.

    Raises:
        RunError: something failed that would fail in the sweep, too.
        UserError: no trial reports the metric that trials are judged by.
    """
    failed = [probe for probe in result["probes"] if "error" in probe]
    passed = [probe for probe in result["probes"] if "error" not in probe]
    # An environment that fails once will fail the sweep. A configuration that the algorithm
    # refuses only fails its own trial, unless all are refused.
    fatal = [probe for probe in failed if not probe["is_its_own"]]
    if fatal or not passed:
        raise RunError(f"the rehearsal failed while {_describe_failure((fatal or failed)[0])}")
    _check_metric(plan.spec.selection.metric, passed)
    names = [field.name for field in fields(Probe)]
    return Rehearsal(
        probes=tuple(Probe(**{name: probe[name] for name in names}) for probe in passed),
        concurrent=concurrent,
        seconds=seconds,
        start_s=result["start_s"],
        worker_s=result["workers_s"],
        end_s=result["end_s"],
        memory_bytes=result["memory_bytes"],
        warnings=tuple(_find_warnings(plan, passed, failed)),
    )


def _describe_failure(probe: Mapping[str, Any]) -> str:
    parameters = format_parameters(probe["parameters"])
    with_ = f" with {parameters}" if parameters else ""
    place = f" ({probe['place']})" if probe["place"] else ""
    return f"{probe['doing']}{with_}: {probe['error']}{place}"


def _check_metric(metric: str, passed: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a learner's metric that no update reported; returns may come after more episodes."""
    for probe in passed:
        if metric.startswith("learner/") and probe["has_learned"] and probe["value"] is None:
            known = [name for name in probe["metrics"] if name.startswith("learner/")]
            raise UserError(
                f"no trial reports selection.metric {metric}; there are {', '.join(known)}"
                f"{did_you_mean(metric, known)}"
            )


def _find_warnings(
    plan: SweepPlan, passed: Sequence[Mapping[str, Any]], failed: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    if failed:
        yield (
            f"{len(failed)} of {len(failed) + len(passed)} rehearsed configurations failed, as "
            f"some of the sweep's will: while {_describe_failure(failed[0])}"
        )
    without = [probe for probe in passed if probe["value"] is None]
    if without:
        steps = max(probe["env_steps"] for probe in without)
        limit = without[0]["episode_limit"]
        may = f" (one may take {limit:,} steps)" if limit else ""
        stop = plan.spec.stop.get(ENV_STEPS)
        more = "" if stop is None else f"; a trial goes on to {int(stop):,}"
        yield (
            f"{plan.spec.selection.metric} has no value after the rehearsal's {steps:,} env steps "
            f"a replica: it needs a finished episode{may}{more}"
        )
    if not all(probe["has_learned"] for probe in passed):
        yield (
            "the rehearsal was too short for an update, so training will be slower than "
            "estimated; rehearse longer with --seconds"
        )
