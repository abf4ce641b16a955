"""The rules of a spec that look at more than one key: each a small function over the draft."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sweeper.metrics import BOUNDS, ENV_STEPS, canonical_metric, explain_metric
from sweeper.space import check_points, distributions
from sweeper.spec.documents import KeyPath
from sweeper.spec.draft import Draft
from sweeper.spec.hyperparameters import check_param_space
from sweeper.spec.sections import (
    Budget,
    Checkpoint,
    Environment,
    Scheduler,
    Search,
    Selection,
)

__all__ = ["apply_rules"]

Finding = tuple[KeyPath, str]
Rule = Callable[[Draft], Iterator[Finding]]


def apply_rules(draft: Draft) -> None:
    """Add to the draft's problems whatever breaks a rule; broken sections are left alone."""
    for rule in _RULES:
        for path, message in rule(draft):
            draft.complain(path, message)


def _hyperparameters_exist(draft: Draft) -> Iterator[Finding]:
    if draft.algorithm is not None:
        for problem in check_param_space(draft.algorithm, draft.space):
            yield ("param_space", *problem.path), problem.message


def _trials_end(draft: Draft) -> Iterator[Finding]:
    stop = draft.raw.get("stop", {})
    budget = draft.get(Budget)
    if not isinstance(stop, Mapping) or "budget" in draft.broken:
        return
    if budget is not None and budget.time_s is not None:
        return
    strange = [
        key
        for key, _ in _given_stop(draft)
        if explain_metric(canonical_metric(key), draft.algorithm, has_evaluation=True)
    ]
    if strange:
        return  # one of them may have been meant as the bound
    if not any(canonical_metric(key) in BOUNDS for key in stop):
        yield (
            ("stop",),
            (f"nothing bounds a trial: give {ENV_STEPS} or time_total_s here, or budget.time_s"),
        )


def _bounds_can_be_reached(draft: Draft) -> Iterator[Finding]:
    for key, value in _given_stop(draft):
        if canonical_metric(key) in BOUNDS and value <= 0:
            yield ("stop", key), f"a number above 0 is due; found {value!r}"


def _metrics_are_reported(draft: Draft) -> Iterator[Finding]:
    evaluates = "evaluation" in draft.raw
    for key, _ in _given_stop(draft):
        problem = explain_metric(canonical_metric(key), draft.algorithm, has_evaluation=evaluates)
        if problem is not None:
            yield ("stop", key), problem
    selection = draft.get(Selection)
    if selection is not None:
        name = canonical_metric(selection.metric)
        problem = explain_metric(name, draft.algorithm, has_evaluation=evaluates)
        if problem is not None:
            yield ("selection", "metric"), problem


def _search_fits_space(draft: Draft) -> Iterator[Finding]:
    search = draft.get(Search)
    if search is None:
        return
    for path, leaf in distributions(draft.space):
        if search.algorithm == "grid" and not leaf.is_grid:
            yield (
                ("param_space", *path),
                (
                    f"a grid search tries grid_search values only, not {leaf.kind}; use "
                    "search.algorithm: random, or grid_search here"
                ),
            )
        elif search.algorithm not in {"grid", "random"} and leaf.is_grid:
            yield (
                ("param_space", *path),
                (f"{search.algorithm} can't do grid_search; use choice, or search.algorithm: grid"),
            )


def _points_lie_in_space(draft: Draft) -> Iterator[Finding]:
    given = draft.raw.get("search", {})
    points = given.get("points_to_evaluate") if isinstance(given, Mapping) else None
    if not isinstance(points, list):
        return
    # What is no mapping is the section's own problem; an empty point keeps the numbering.
    mappings = [point if isinstance(point, Mapping) else {} for point in points]
    for problem in check_points(draft.space, mappings):
        yield ("search", "points_to_evaluate", *problem.path), problem.message
    search = draft.get(Search)
    if search is None or "search" in draft.broken:
        return
    if len(points) > search.num_samples:
        yield (
            ("search", "points_to_evaluate"),
            (f"{len(points)} points count inside num_samples, which is {search.num_samples}"),
        )


def _scheduler_has_options(draft: Draft) -> Iterator[Finding]:
    scheduler = draft.get(Scheduler)
    if scheduler is not None and scheduler.type == "fifo":
        for key in scheduler.model_extra or {}:
            near = difflib.get_close_matches(key, ["type"], n=1)
            hint = "; did you mean type?" if near else "; fifo has no options"
            yield ("scheduler", key), f"unknown key{hint}"


def _is_available(draft: Draft) -> Iterator[Finding]:
    """What the design has and this version has not; listed beside the other problems."""
    for path, words in _not_available(draft):
        yield path, f"not available yet: {words}"


def _not_available(draft: Draft) -> Iterator[tuple[KeyPath, str]]:
    if draft.backend == "torch":
        yield ("backend",), "backend torch"
    if "://" in draft.storage:
        yield ("storage",), f"storage {draft.storage}"
    search, scheduler = draft.get(Search), draft.get(Scheduler)
    if search is not None and search.algorithm not in {"grid", "random"}:
        yield ("search", "algorithm"), f"search algorithm {search.algorithm}"
    if scheduler is not None and scheduler.type != "fifo":
        yield ("scheduler", "type"), f"scheduler {scheduler.type}"
    environment = draft.get(Environment)
    if environment is not None:
        if environment.vectorization == "envpool":
            yield ("environment", "vectorization"), "vectorization envpool"
        for key in ("observations", "rewards"):
            if getattr(environment.normalize, key):
                yield ("environment", "normalize", key), f"normalize.{key}"
    selection, checkpoint = draft.get(Selection), draft.get(Checkpoint)
    if selection is not None:
        if selection.finalists > 0:
            yield ("selection", "finalists"), "confirmation of finalists"
        if selection.solved_at is not None:
            yield ("selection", "solved_at"), "selection.solved_at"
        if selection.baseline not in {"defaults", "none"}:
            yield ("selection", "baseline"), "a baseline from a file"
    if checkpoint is not None and checkpoint.replay:
        yield ("checkpoint", "replay"), "checkpoint.replay"


def _given_stop(draft: Draft) -> Iterator[tuple[str, Any]]:
    stop = draft.raw.get("stop", {})
    if isinstance(stop, Mapping):
        for key, value in stop.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield key, value


_RULES: tuple[Rule, ...] = (
    _hyperparameters_exist,
    _trials_end,
    _bounds_can_be_reached,
    _metrics_are_reported,
    _search_fits_space,
    _points_lie_in_space,
    _scheduler_has_options,
    _is_available,
)
