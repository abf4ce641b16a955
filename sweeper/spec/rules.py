"""Rules about more than one key of a spec, each a function over the draft."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sweeper.hints import join_words, show
from sweeper.metrics import (
    BOUNDS,
    ENV_STEPS,
    canonical_metric,
    explain_metric,
)
from sweeper.schedulers.registry import SCHEDULERS
from sweeper.search.distinct import expand_distinct
from sweeper.search.registry import ENUMERATIONS, SEARCH_ALGORITHMS
from sweeper.spec.draft import Draft
from sweeper.spec.finalists import count_trials, has_own_end, is_told_by_episodes
from sweeper.spec.keys.combinations import check_combinations
from sweeper.spec.keys.param_space import check_param_space
from sweeper.spec.keys.support import BACKENDS, REFERENCE_BACKEND, find_support, supports
from sweeper.spec.population import check_population
from sweeper.spec.scheduler_rules import compares_trials_well
from sweeper.spec.schedulers import Scheduler
from sweeper.spec.search import Search
from sweeper.spec.search_rules import points_lie_in_space, search_fits_space, sweep_is_finite
from sweeper.spec.sections import Budget, Checkpoint, Environment, Selection
from sweeper.spec.text.yaml import KeyPath

__all__ = ["apply_rules"]

Finding = tuple[KeyPath, str]
Rule = Callable[[Draft], Iterator[Finding]]

_MAX_CHECKED = 100  # configurations; drawing them takes about a millisecond

_POPULATION = ("pbt", "pb2")
# Options in env steps that must lie within a trial, and what happens otherwise.
_WITHIN_BUDGET = {
    "grace_period": "none is ever stopped",
    "perturbation_interval": "nothing is ever exchanged",
    "burn_in_period": "nothing is ever exchanged",
}


def apply_rules(draft: Draft) -> None:
    """Add every broken rule to the draft's problems; unreadable sections are skipped."""
    for rule in _RULES:
        for path, message in rule(draft):
            draft.complain(path, message)


def _backend_has_algorithm(draft: Draft) -> Iterator[Finding]:
    algorithm = draft.algorithm
    if algorithm is not None and not supports(draft.backend, algorithm):
        message = f"{draft.backend} has no {algorithm}; backend: {REFERENCE_BACKEND} has it"
        yield ("backend",), message


def _hyperparameters_exist(draft: Draft) -> Iterator[Finding]:
    if draft.algorithm is not None:
        for problem in check_param_space(draft.algorithm, draft.space, draft.backend):
            yield ("param_space", *problem.path), problem.message


def _configurations_fit(draft: Draft) -> Iterator[Finding]:
    """Whether the hyperparameters of the first drawn configurations fit each other."""
    search = draft.get(Search)
    if draft.is_training or draft.algorithm is None or search is None or draft.problems:
        return  # other problems come first, and would show up here again
    points = search.points
    is_known = search.algorithm in ENUMERATIONS
    samples = expand_distinct(draft.space, search.num_samples, search.seed, points)
    for number, sample in enumerate(itertools.islice(samples, _MAX_CHECKED), start=1):
        for problem in check_combinations(draft.algorithm, sample.configuration, draft.backend):
            shown = show(sample.parameters)
            tried = f"configuration {number} will be" if is_known else "a configuration can be"
            message = f"{tried} {shown}: {problem.message}"
            yield ("param_space", *problem.path), message
            return


def _trials_end(draft: Draft) -> Iterator[Finding]:
    stop, budget = draft.raw.get("stop", {}), draft.get(Budget)
    if not isinstance(stop, Mapping) or "budget" in draft.broken or draft.document.is_partial:
        return
    if budget is not None and (budget.time_s is not None or budget.env_steps is not None):
        return
    learner = draft.support.learner_metrics
    unknown = [
        key
        for key, _ in _given_stop(draft)
        if explain_metric(canonical_metric(key), learner, has_evaluation=True)
    ]
    if unknown or draft.misspelt & {"stop", "budget"}:
        return  # the bound may be among the misspelt keys
    if not any(canonical_metric(key) in BOUNDS for key, bound in stop.items() if bound is not None):
        bounds = f"{ENV_STEPS} or time_total_s here, or budget.time_s"
        yield ("stop",), f"nothing bounds a trial: give {bounds}"


def _bounds_can_be_reached(draft: Draft) -> Iterator[Finding]:
    for key, value in _given_stop(draft):
        if canonical_metric(key) in BOUNDS and value <= 0:
            yield ("stop", key), f"must be a number above 0; found {show(value)}"


def _metrics_are_reported(draft: Draft) -> Iterator[Finding]:
    evaluates, learner = "evaluation" in draft.raw, draft.support.learner_metrics
    selection, plateau = draft.get(Selection), draft.plateau
    # A null leaves a criterion out, but not one that nobody knows.
    stop = draft.raw.get("stop")
    empty = [key for key, one in stop.items() if one is None] if isinstance(stop, Mapping) else []
    given = [key for key, _ in _given_stop(draft)] + [key for key in empty if key != "plateau"]
    watched: list[tuple[KeyPath, str]] = [(("stop", key), key) for key in given]
    if selection is not None:
        watched.append((("selection", "metric"), selection.metric))
    # By default the plateau watches selection's metric, which is reported already.
    if plateau is not None and (selection is None or plateau.metric != selection.metric):
        watched.append((("stop", "plateau", "metric"), plateau.metric))
    for path, name in watched:
        problem = explain_metric(canonical_metric(name), learner, has_evaluation=evaluates)
        if problem is not None:
            yield path, problem


def _plateau_has_a_side(draft: Draft) -> Iterator[Finding]:
    plateau = draft.plateau
    if plateau is None or "stop" in draft.broken:
        return
    here = ("stop", "plateau", "mode")
    if plateau.metric_threshold is not None and plateau.mode is None:
        yield here, "is missing: max, if metric_threshold is to be reached from below, else min"
    if plateau.metric_threshold is None and plateau.mode is not None:
        side = "says from which side metric_threshold is reached"
        yield here, f"{side}, and there is none; give it, or leave mode out"


def _scheduler_fits(draft: Draft) -> Iterator[Finding]:
    """Whether the scheduler fits the budget, the search and the space."""
    scheduler = draft.get(Scheduler)
    if scheduler is None:
        return
    yield from _options_lie_in_budget(draft, scheduler.given_options())
    if scheduler.type in _POPULATION:
        yield from check_population(draft, scheduler.type, scheduler.options)


def _options_lie_in_budget(draft: Draft, given: Mapping[str, Any]) -> Iterator[Finding]:
    steps = draft.stop.get(ENV_STEPS)
    limit = given.get("max_t")
    if limit is not None and steps is not None and limit > steps > 0:
        end = f"a trial's end (stop.{ENV_STEPS}: {steps:,g})"
        yield ("scheduler", "max_t"), f"must not lie beyond {end}; found {limit:,g}"
    length, source = (limit, "max_t") if limit is not None else (steps, f"stop.{ENV_STEPS}")
    for key, consequence in _WITHIN_BUDGET.items():
        value = given.get(key)
        if value is not None and length is not None and value >= length > 0:
            end = f"a trial's end ({source}: {length:,g})"
            message = f"must lie before {end}, else {consequence}; found {value:,g}"
            yield ("scheduler", key), message


def _finalists_can_be_confirmed(draft: Draft) -> Iterator[Finding]:
    selection, search = draft.get(Selection), draft.get(Search)
    if selection is None or "selection" in draft.broken or draft.is_training:
        return
    here, finalists = ("selection", "finalists"), selection.finalists
    given = draft.raw.get("selection", {})
    if not finalists or "finalists" not in given:
        return
    if not is_told_by_episodes(selection.metric):
        yield (
            here,
            f"confirmation judges by episodes, which {selection.metric} is not told by; use 0, or "
            "select by evaluation/episode_return_mean",
        )
    if not has_own_end(draft.stop) and "stop" not in draft.broken:
        yield (
            here,
            "finalists are trained again as long as they were, and no trial has an end of its "
            f"own; give stop.{ENV_STEPS}, or use 0",
        )
    if search is not None and not draft.problems:
        trials = count_trials(draft.space, search, finalists)
        budget = draft.get(Budget)
        words = f"are {trials}"
        if budget is not None and budget.trials is not None and budget.trials < trials:
            trials, words = budget.trials, f"budget.trials limits to {budget.trials}"
        if finalists > trials:
            yield here, f"must not be more than the trials, which {words}; found {finalists}"


def _replay_can_be_saved(draft: Draft) -> Iterator[Finding]:
    checkpoint, algorithm = draft.get(Checkpoint), draft.algorithm
    if checkpoint is None or not checkpoint.replay or algorithm is None:
        return
    if draft.support.learns_from != "replay":
        yield ("checkpoint", "replay"), f"{algorithm} has no replay memory; leave it out"
    elif not draft.support.has_own_replay:
        able = [name for name in BACKENDS if find_support(name, algorithm).has_own_replay]
        remedy = "".join(f"use backend: {name}, or " for name in able) + "leave it out"
        yield (("checkpoint", "replay"), f"RLlib's checkpoints hold no replay memory; {remedy}")


def _is_available(draft: Draft) -> Iterator[Finding]:
    """Parts of the design that this version lacks, beside the other problems."""
    for path, words in _not_available(draft):
        yield path, f"not available yet: {words}"


def _or(names: Iterable[str]) -> str:
    return join_words(sorted(names, reverse=True), "or")


def _not_available(draft: Draft) -> Iterator[tuple[KeyPath, str]]:
    search, scheduler = draft.get(Search), draft.get(Scheduler)
    if search is not None and search.algorithm not in SEARCH_ALGORITHMS:
        what = f"search algorithm {search.algorithm}; use {_or(SEARCH_ALGORITHMS)}"
        yield ("search", "algorithm"), what
    if scheduler is not None and scheduler.type not in SCHEDULERS:
        yield ("scheduler", "type"), f"scheduler {scheduler.type}; use {_or(SCHEDULERS)}"
    environment = draft.get(Environment)
    if environment is not None:
        if environment.vectorization == "envpool" and not draft.support.builds_vector_envs:
            what = f"vectorization envpool on {draft.backend}; use auto"
            yield ("environment", "vectorization"), what
        for key in ("observations", "rewards"):
            if getattr(environment.normalize, key) and not draft.support.normalises:
                what = f"normalize.{key} with {draft.algorithm} on backend {draft.backend}"
                yield ("environment", "normalize", key), what
        if environment.normalize.images and not draft.support.scales_images:
            what = (
                f"normalize.images on backend {draft.backend}; a wrapper that scales does it, such "
                "as AtariPreprocessing: {scale_obs: true}"
            )
            yield ("environment", "normalize", "images"), what


def _given_stop(draft: Draft) -> Iterator[tuple[str, Any]]:
    stop = draft.raw.get("stop", {})
    if isinstance(stop, Mapping):
        for key, value in stop.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and key != "plateau":
                yield key, value


_RULES: tuple[Rule, ...] = (
    _backend_has_algorithm,
    _hyperparameters_exist,
    _trials_end,
    _bounds_can_be_reached,
    _metrics_are_reported,
    _plateau_has_a_side,
    search_fits_space,
    sweep_is_finite,
    points_lie_in_space,
    _scheduler_fits,
    compares_trials_well,
    _finalists_can_be_confirmed,
    _replay_can_be_saved,
    _configurations_fit,
    _is_available,
)
