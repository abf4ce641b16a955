"""A scheduler's options, and how it goes with the searcher, the space and the budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sweeper.metrics import ENV_STEPS
from sweeper.search.expansion import Distribution, distributions
from sweeper.spec.draft import Draft
from sweeper.spec.schedulers import Scheduler
from sweeper.spec.sections import Search
from sweeper.spec.text.documents import KeyPath

__all__ = ["check_scheduler"]

Finding = tuple[KeyPath, str]

_POPULATION = ("pbt", "pb2")
# Options counted in env steps that must lie inside a trial, and what happens if they don't.
_WITHIN_BUDGET = {
    "grace_period": "none is ever stopped",
    "perturbation_interval": "nothing is ever exchanged",
    "burn_in_period": "nothing is ever exchanged",
}


def check_scheduler(draft: Draft) -> Iterator[Finding]:
    """What is wrong with the spec's scheduler."""
    scheduler = draft.get(Scheduler)
    if scheduler is None:
        return
    yield from _check_budget(draft, scheduler.given_options())
    if scheduler.type in _POPULATION:
        yield from _check_population(draft, scheduler.type)


def _check_budget(draft: Draft, given: Mapping[str, Any]) -> Iterator[Finding]:
    steps = draft.stop.get(ENV_STEPS)
    limit = given.get("max_t")
    if limit is not None and steps is not None and limit > steps > 0:
        yield (
            ("scheduler", "max_t"),
            f"must not lie beyond a trial's end (stop.{ENV_STEPS}: {steps:,g}); found {limit:,g}",
        )
    end, source = (limit, "max_t") if limit is not None else (steps, f"stop.{ENV_STEPS}")
    for key, consequence in _WITHIN_BUDGET.items():
        value = given.get(key)
        if value is not None and end is not None and value >= end > 0:
            yield (
                ("scheduler", key),
                f"must lie before a trial's end ({source}: {end:,g}), else {consequence}; found "
                f"{value:,g}",
            )


def _check_population(draft: Draft, kind: str) -> Iterator[Finding]:
    search = draft.get(Search)
    if search is not None and search.algorithm not in {"grid", "random"}:
        yield (
            ("search", "algorithm"),
            f"{kind} chooses configurations itself and can't go with {search.algorithm}; use "
            "search.algorithm: random",
        )
    leaves = list(distributions(draft.space))
    if not leaves:
        yield ("param_space",), f"{kind} varies searched parameters, and there are none"
    for path, leaf in leaves:
        problem = _explain_unvaried(kind, leaf)
        if problem is not None:
            yield ("param_space", *path), problem


def _explain_unvaried(kind: str, leaf: Distribution) -> str | None:
    if leaf.values is not None and any(isinstance(value, list | dict) for value in leaf.values):
        return (
            f"{kind} varies single values, not lists or mappings; fix it, or use another scheduler"
        )
    if kind == "pb2" and leaf.bounds is None:
        return f"pb2 varies ranges of numbers, not {leaf.kind}; use uniform or loguniform"
    return None
