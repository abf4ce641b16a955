"""Rules of a spec whose scheduler exchanges weights within a population."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sweeper.formatting import count_noun
from sweeper.metrics import ENV_STEPS, canonical_metric
from sweeper.schedulers.mutation import find_gates, find_mutable
from sweeper.schedulers.pbt import MIN_POPULATION
from sweeper.search.distributions import Path, distributions
from sweeper.search.expansion import count
from sweeper.spec.draft import Draft
from sweeper.spec.finalists import count_trials
from sweeper.spec.keys.support import Support
from sweeper.spec.search import Search
from sweeper.spec.sections import Budget, Checkpoint, Evaluation, Section, Selection
from sweeper.spec.text.yaml import KeyPath, dotted

__all__ = ["check_population", "explain_kept"]

Finding = tuple[KeyPath, str]


def explain_kept(space: Mapping[str, Any], support: Support) -> dict[Path, str]:
    """The searched parameters that a population never varies, in the space's order, and why.

    Args:
        space: nested; leaves are constants or distributions.
        support: of the algorithm.
    """

    def is_held(path: Path) -> bool:
        return support.why_held(path) is not None

    mutable, gates = find_mutable(space, is_held), find_gates(space, is_held)
    return {
        path: support.why_held(path)
        or (f"{dotted(gates[path])} depends on it" if path in gates else "it has one value only")
        for path, _ in distributions(space)
        if path not in mutable
    }


def check_population(draft: Draft, kind: str, options: Section) -> Iterator[Finding]:
    """Whether space, search and checkpoints go with a population.

    Args:
        draft: the spec.
        kind: the scheduler's type, ``pbt`` or ``pb2``.
        options: the scheduler's.
    """
    search = draft.get(Search)
    if search is not None and search.algorithm not in {"grid", "random"}:
        clash = f"{kind} chooses configurations itself and can't go with {search.algorithm}"
        yield ("search", "algorithm"), f"{clash}; use search.algorithm: random"
    yield from _space_can_change(draft, kind)
    if not draft.is_training:
        yield from _population_is_large(draft, search, kind)
    selection = draft.get(Selection)
    if selection is not None and selection.score != "last":
        message = (
            f"{kind} gives up a trial's weights for better ones, so a trial's {selection.score} "
            "can be that of weights which are gone; use last"
        )
        yield ("selection", "score"), message
    if getattr(options, "synch", False):
        yield (
            ("scheduler", "synch"),
            f"{kind} here never lets all trials wait for each other: they are compared by their "
            "values at the same env steps, whenever these come; leave it out",
        )
    yield from _exchanges_fit(draft, kind, getattr(options, "perturbation_interval", None))


def _space_can_change(draft: Draft, kind: str) -> Iterator[Finding]:
    leaves = list(distributions(draft.space))
    if not leaves:
        yield ("param_space",), f"{kind} varies searched parameters, and there are none"
    listed = False
    for path, leaf in leaves:
        here = ("param_space", *path)
        if any(isinstance(value, list | dict) for value in leaf.values or ()):
            listed = True
            remedy = "fix it, or use another scheduler"
            yield here, f"{kind} varies single values, not lists or mappings; {remedy}"
        elif kind == "pb2" and leaf.bounds is None:
            what = f"pb2 varies ranges of numbers, not {leaf.kind}"
            yield here, f"{what}; use uniform or loguniform"
    kept = explain_kept(draft.space, draft.support)
    if leaves and not listed and len(kept) == len(leaves):
        reasons = [f"{dotted(path)}: {why}" for path, why in kept.items()]
        message = f"{kind} has nothing to vary while trials train ({'; '.join(reasons)})"
        yield ("param_space",), f"{message}; search another parameter, e.g. lr"


def _population_is_large(draft: Draft, search: Search | None, kind: str) -> Iterator[Finding]:
    if search is None or "search" in draft.broken:
        return
    needs = f"{kind} needs a population of {MIN_POPULATION} trials or more"
    trials = count(draft.space, search.num_samples, search.points)
    if trials < MIN_POPULATION:
        few = f"{needs}; these are {trials}: the worst of so few may only be unlucky"
        yield ("search", "num_samples"), few
        return
    if "param_space" not in draft.broken and any(distributions(draft.space)):
        distinct = count_trials(draft.space, search, MIN_POPULATION)
        if distinct < MIN_POPULATION:
            found = f"the space has {count_noun(distinct, 'configuration')}, each trained once"
            yield ("param_space",), f"{needs}, and {found}; give more values, or use ranges"
    budget = draft.get(Budget)
    if budget is not None and budget.trials is not None and budget.trials < MIN_POPULATION:
        yield ("budget", "trials"), f"{needs}; found {budget.trials}"


def _exchanges_fit(draft: Draft, kind: str, given: int | None) -> Iterator[Finding]:
    """Whether there is a checkpoint, and a new value, at every exchange."""
    checkpoint, evaluation = draft.get(Checkpoint), draft.get(Evaluation)
    every = None if checkpoint is None else checkpoint.every_env_steps
    interval = given or every
    if interval is None:
        if "checkpoint" not in draft.broken and "scheduler" not in draft.broken:
            yield (
                ("scheduler", "perturbation_interval"),
                f"is missing: env steps from one exchange to the next; by default a tenth of "
                f"stop.{ENV_STEPS}, which is not given",
            )
        return
    steps = draft.stop.get(ENV_STEPS)
    if given is None and steps is not None and interval >= steps > 0:
        yield (
            ("scheduler", "perturbation_interval"),
            f"is checkpoint.every_env_steps by default ({interval:,}), which must lie before a "
            f"trial's end (stop.{ENV_STEPS}: {steps:,g}), else nothing is ever exchanged",
        )
    if every is not None and interval % every:
        yield (
            ("checkpoint", "every_env_steps"),
            f"{kind} copies checkpoints, so one must be made at every exchange: "
            f"scheduler.perturbation_interval ({interval:,}) must be a multiple of it; found "
            f"{every:,}",
        )
    selection = draft.get(Selection)
    metric = "" if selection is None else canonical_metric(selection.metric)
    rhythm = None if evaluation is None else evaluation.every_env_steps
    if metric.startswith("evaluation/") and rhythm is not None and interval % rhythm:
        yield (
            ("evaluation", "every_env_steps"),
            f"{kind} compares evaluations at every exchange: scheduler.perturbation_interval "
            f"({interval:,}) must be a multiple of it; found {rhythm:,}",
        )
