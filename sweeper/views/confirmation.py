"""The confirmation in words: what it will train, before it does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from sweeper.errors import SpecError
from sweeper.formatting import count_noun, short_path
from sweeper.planning.confirmation import PlannedConfirmation, plan_confirmation
from sweeper.planning.plan import SweepPlan
from sweeper.search.distributions import distributions
from sweeper.spec.finalists import has_own_end, is_told_by_episodes

__all__ = ["describe_confirmation", "describe_stage"]


def describe_confirmation(plan: SweepPlan) -> Iterator[str]:
    """Who is trained again and what it costs, or what it would cost if it were switched on."""
    planned = plan.confirmation
    if planned is not None:
        yield describe_stage(planned)
        if "time_total_s" in plan.spec.stop and plan.spec.support.trains_replicas_together:
            yield (
                f"stop.time_total_s bounds all of a trial's seeds together: {len(planned.seeds)} "
                f"get fewer env steps each than the search's {plan.replicas}"
            )
        yield (
            "the best mean of these runs makes the champion; their seeds have streams of their "
            "own, which the search never used"
        )
        return
    spec = plan.spec
    finalists = min(3, plan.max_trials)
    can_confirm = has_own_end(spec.stop) and is_told_by_episodes(spec.selection.metric)
    if not (can_confirm and any(distributions(spec.param_space))):
        return
    with suppress(SpecError):  # of a baseline that would not do; it is off
        possible = plan_confirmation(spec, finalists=finalists, fits=plan.concurrent)
        if possible is not None:
            yield f"off; selection.finalists: {finalists} would add {describe_stage(possible)}"


def describe_stage(planned: PlannedConfirmation) -> str:
    """``3 finalists and the defaults on 10 fresh seeds each: 40 training runs, …``."""
    baseline = planned.baseline
    who = count_noun(planned.finalists, "finalist")
    if baseline is not None:
        other = "the defaults" if baseline.name == "defaults" else short_path(baseline.name)
        who += f" and {other}"
    first = planned.step or len(planned.seeds)
    seeds = f"{first} fresh seeds each"
    fewest = ""
    if first < len(planned.seeds):
        seeds += (
            f", and {first} more at a time while they can't be told apart, up to "
            f"{len(planned.seeds)}"
        )
        fewest = f"{planned.samples * first} to "
    steps = "" if planned.env_steps is None else f", at most {planned.env_steps:,} env steps"
    return (
        f"{who} on {seeds}: {fewest}{count_noun(planned.runs, 'training run')}{steps}, then "
        f"{planned.episodes} episodes each"
    )
