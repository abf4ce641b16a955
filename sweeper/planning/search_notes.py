"""What a plan settles about the search: an earlier run's points, and what is left to chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweeper.errors import Problem, SpecError, UserError
from sweeper.formatting import count_noun
from sweeper.hints import join_words, show
from sweeper.paths import find_run
from sweeper.results.builder import load_results
from sweeper.results.ranking import rank_trial
from sweeper.results.records import TrialRecord, judge_trial
from sweeper.search.conditions import is_ruled_out
from sweeper.search.distributions import assign, distributions, flatten, is_same
from sweeper.search.expansion import check_points
from sweeper.spec import ExperimentSpec, load_record
from sweeper.spec.keys.names import default, defaults
from sweeper.spec.search import BestOf
from sweeper.spec.text.yaml import dotted

__all__ = ["note_random_draws", "resolve_points"]

_HERE = ("search", "points_to_evaluate")
_MAX_REPORTED = 5


def resolve_points(spec: ExperimentSpec) -> tuple[ExperimentSpec, tuple[str, ...]]:
    """The spec with the points of an earlier run in place of its name, and notes about them.

    The points are what is recorded, so a later launch does not need the other run.

    Raises:
        SpecError: there is no such run, or none of its configurations lies in the space.
    """
    wanted = spec.search.points_to_evaluate
    if not isinstance(wanted, BestOf):
        return spec, ()
    try:
        paths = find_run(wanted.from_run, Path(spec.storage))
        earlier = load_record(paths.spec)
        trials = load_results(paths).trials
    except UserError as error:
        raise _refuse(spec, str(error)) from error
    objective = earlier.objective
    scored = [trial for trial in trials if judge_trial(trial, objective).value is not None]
    points: list[dict[str, Any]] = []
    taken, left_out = [], []
    for trial in sorted(scored, key=lambda one: rank_trial(one, objective)):
        if len(points) == wanted.top:
            break
        point = _read_point(spec, earlier, trial)
        if isinstance(point, str):
            left_out.append(f"{trial.trial_id} ({point})")
        elif point not in points:
            points.append(point)
            taken.append(trial.trial_id)
    name = paths.root.name
    reasons = _shorten(left_out)
    if not points:
        why = f": {reasons}" if reasons else ", for none has a value"
        raise _refuse(spec, f"no configuration of {name} can be tried here{why}")
    search = spec.search.model_copy(update={"points_to_evaluate": points})
    return spec.model_copy(update={"search": search}), tuple(
        _describe(name, taken, wanted.top, objective.metric, reasons)
    )


def _refuse(spec: ExperimentSpec, message: str) -> SpecError:
    return SpecError([Problem(spec.locate(_HERE), dotted(_HERE), message)])


def _describe(name: str, taken: list[str], top: int, metric: str, left_out: str) -> Iterator[str]:
    what = count_noun(len(taken), "configuration")
    fewer = f"; {top} were asked for" if len(taken) < top else ""
    yield f"the best {what} of {name} by its {metric} come first: {join_words(taken)}{fewer}"
    if left_out:
        yield f"of {name} left out, since they do not lie in this space: {left_out}"


def _shorten(reasons: list[str]) -> str:
    more = len(reasons) - _MAX_REPORTED
    shown = reasons[:_MAX_REPORTED] + ([f"{more} more"] if more > 0 else [])
    return join_words(shown) if shown else ""


def _read_point(
    spec: ExperimentSpec, earlier: ExperimentSpec, trial: TrialRecord
) -> dict[str, Any] | str:
    """What a trial had of all that is searched here, nested; or why it can't be tried here.

    Args:
        spec: of the new run.
        earlier: of the trial's run.
        trial: of that run.
    """
    leaves = dict(flatten(spec.param_space))
    ours = dict(distributions(spec.param_space))
    searched = dict(_values(trial.parameters, leaves))
    given = {**dict(_values(trial.configuration, leaves)), **searched}
    for path, value in searched.items():
        if path not in ours:
            usual = default(spec.algorithm, path, spec.backend)
            here, whose = (leaves[path], "") if path in leaves else (usual, ", the default")
            if not is_same(here, value):
                return f"{dotted(path)} is {show(value)}, not {show(here)}{whose}"
    if not ours.keys() & given.keys():
        return "it has none of the parameters that are searched here"
    theirs = {**dict(_values(defaults(earlier.algorithm, earlier.backend), leaves)), **given}
    values = {path: theirs[path] for path in ours if path in theirs}
    point: dict[str, Any] = {}
    for path, value in values.items():
        if path not in given and is_ruled_out(path, spec.param_space, ours, values):
            continue
        leaf, whose = ours[path], "" if path in given else ", the default,"
        if not leaf.contains(value):
            outside = f"is outside of {leaf.kind} {show(leaf.args)}"
            return f"{dotted(path)} {show(value)}{whose} {outside}"
        assign(point, path, leaf.own_value(value))
    unmet = next(check_points(spec.param_space, [point]), None)
    return point if unmet is None else unmet.message


def _values(
    nested: Mapping[str, Any], leaves: Mapping[tuple[str, ...], Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Values by path, no deeper than the leaves of the space, whose values may be mappings."""
    for key, value in nested.items():
        here = (*path, key)
        if here not in leaves and isinstance(value, Mapping) and value:
            yield from _values(value, leaves, here)
        else:
            yield here, value


def note_random_draws(spec: ExperimentSpec) -> Iterator[str]:
    """Which parameters the algorithm does not model, so that they are drawn at random."""
    name = spec.search.algorithm
    free = [(path, leaf) for path, leaf in distributions(spec.param_space) if not leaf.is_grid]
    conditional = [dotted(path) for path, leaf in free if leaf.when is not None]
    choices = [dotted(path) for path, leaf in free if leaf.when is None and leaf.values is not None]
    if name in ("gp", "cmaes") and conditional:
        yield (
            f"{name} models what every configuration has; {join_words(conditional)} "
            f"{'has a condition and is' if len(conditional) == 1 else 'have conditions and are'} "
            "drawn at random"
        )
    if name == "cmaes" and choices:
        yield (
            f"cmaes models ranges of numbers; {join_words(choices)} "
            f"{'is' if len(choices) == 1 else 'are'} drawn at random"
        )
