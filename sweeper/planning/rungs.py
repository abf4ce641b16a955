"""Warnings about where a scheduler compares trials: too early, or before there is a score."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from sweeper.planning.schedulers import make_scheduler
from sweeper.planning.values import batch_steps
from sweeper.schedulers.rungs import FIRST_RUNG_SHARE
from sweeper.spec import ExperimentSpec
from sweeper.spec.schedulers import RUNGED, find_length

__all__ = ["find_rung_warnings"]

# Rank correlation of a score with the final one, and how many of the best 5 % a rung that keeps a
# quarter loses: over 27 tables of 256 configurations by 10 seeds (see docs/schedulers.md).
_EVIDENCE = (
    "in 27 tables of real results, keeping a quarter at 10% of a trial lost 48% of the best, and "
    "at 30% it lost 20%"
)


def find_rung_warnings(spec: ExperimentSpec) -> Iterator[str]:
    """Find the warnings of the scheduler's rungs."""
    if spec.scheduler.type not in RUNGED:
        return
    rungs = make_scheduler(spec).rung_env_steps
    if not rungs:
        return
    first, length = rungs[0], find_length(spec.scheduler, spec.stop)
    name = "scheduler.grace_period" if _is_given(spec) else "the first rung"
    evaluation = spec.evaluation
    every = evaluation.every_env_steps if evaluation is not None else None
    if spec.selection.metric.startswith("evaluation/") and every is not None:
        gaps = [after - before for before, after in itertools.pairwise(rungs)]
        if first < every:
            yield (
                f"{name} ({first:,}) lies before the first evaluation ({every:,} env steps): "
                "trials have no score at their first rung"
            )
        elif min(gaps, default=every) < every:
            yield (
                f"rungs lie {min(gaps):,} env steps apart, and evaluations {every:,}: trials are "
                "compared at two rungs by the same evaluation; lower evaluation.every_env_steps"
            )
    batch = batch_steps(spec)
    if batch is not None and first <= batch:
        yield (
            f"{name} ({first:,}) is an iteration or less ({batch:,} env steps): trials are judged "
            "before they have learned anything"
        )
    elif length is not None and first < FIRST_RUNG_SHARE * length:
        remedy = (
            "leave scheduler.grace_period out for 30%"
            if _is_given(spec)
            else "a scheduler.reduction_factor of 3 puts it at 33%"
        )
        yield f"{name} ({first:,}) lies at {first / length:.0%} of a trial: {_EVIDENCE}; {remedy}"


def _is_given(spec: ExperimentSpec) -> bool:
    return "grace_period" in spec.scheduler.given_options()
