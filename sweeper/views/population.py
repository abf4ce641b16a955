"""Population-based training in a plan, in words."""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.formatting import count_noun
from sweeper.hints import join_words
from sweeper.planning.plan import SweepPlan
from sweeper.search.distributions import distributions
from sweeper.spec.population import explain_kept
from sweeper.spec.schedulers import PBT
from sweeper.spec.text.yaml import dotted

__all__ = ["describe_population"]


def describe_population(plan: SweepPlan) -> Iterator[str]:
    """What is exchanged, when, what may change, what stays with the weights."""
    spec, options = plan.spec, plan.spec.scheduler.options
    interval = spec.perturbation_interval
    if not isinstance(options, PBT) or interval is None:
        return
    count = max(1, int(options.quantile_fraction * plan.max_trials))
    exchange = "the worst one takes over the checkpoint of the best"
    if count > 1:
        exchange = f"the worst {count} take over the checkpoints of the best {count}"
    since = f" from {options.burn_in_period:,} on" if options.burn_in_period else ""
    yield (
        f"a population of {count_noun(plan.max_trials, 'trial')} (pbt): every {interval:,} env "
        f"steps{since} {exchange}, all replicas together"
    )
    kept = explain_kept(spec.param_space, spec.support)
    mutable = [path for path, _ in distributions(spec.param_space) if path not in kept]
    up, down = options.perturbation_factors
    yield (
        f"it goes on with other values of {join_words(list(map(dotted, mutable)), 'and')}: times "
        f"{up:g} or {down:g} or the next in a list, and with {options.resample_probability:.0%} "
        "drawn anew; always inside the range"
    )
    if kept:
        names = "; ".join(f"{dotted(path)} ({why})" for path, why in kept.items())
        yield f"copied with the weights and never varied: {names}"
    if spec.checkpoint.every_env_steps is not None:
        yield f"a checkpoint every {spec.checkpoint.every_env_steps:,} env steps, for the exchanges"
    if plan.concurrent < plan.max_trials and not spec.follows_cluster:
        yield (
            f"only {plan.concurrent} of {plan.max_trials} run at a time, so a trial that reaches "
            "an exchange is saved and waits until each of the others is there, too, or runs"
        )
