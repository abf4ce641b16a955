"""The search algorithm over one of Optuna's samplers, by ask and tell."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper import states
from sweeper.metrics import Objective
from sweeper.search.base import Observation, SearchAlgorithm
from sweeper.search.conditions import is_ruled_out
from sweeper.search.distinct import Seen, configuration_key
from sweeper.search.distributions import Distribution, Path, distributions, is_same
from sweeper.search.expansion import Sample, draw_sample, find_fixed, make_sample
from sweeper.search.sampling.dimensions import Dimension, describe_dimensions, order_dimensions
from sweeper.search.sampling.samplers import SAMPLERS, SamplerFactory
from sweeper.search.sampling.study import Picture

__all__ = ["SamplerSearch", "find_values", "freeze_trial", "judge"]

_MAX_ASKS = 3  # for a configuration that is new; then it is drawn at random

Values = Mapping[Path, Any]
_RUNNING = Observation(0, {}, states.TrialState.RUNNING)


@dataclass
class _Cell:
    """One point of the grid: a study of its own over the other parameters."""

    factory: SamplerFactory
    picture: Picture


@dataclass
class _Asked:
    """Where a trial's configuration came from."""

    cell: _Cell
    index: int
    values: Values
    attributes: Mapping[str, Any] = field(default_factory=dict)


class SamplerSearch(SearchAlgorithm):
    """Asks one of Optuna's samplers for each configuration, and tells it how trials went.

    Trial *n* of the study is configuration *n*, and its sampler is made anew from
    ``SeedSequence([seed, n])``. So at one trial at a time the sequence depends on the seed and
    the values alone, and a later launch that is told the same goes on with it. A configuration
    comes once: for a repeat the sampler is asked again, and in the end one is drawn at random.

    ``grid_search`` values are crossed with the search: each point of the grid has a study of its
    own, and one pass over the grid asks each of them once.

    Args:
        param_space: nested; leaves are constants or distributions.
        sampler: a name in `SAMPLERS`.
        num_samples: passes over the grid.
        seed: of all samplers.
        points: nested values to begin with; what a point lacks is drawn at random.
        asked: parameters of the trials that earlier launches asked for, in order.
        known: what was known when each of them was chosen, as `Sample.known` has it.
        objective: its mode says whether more is better.
        options: the sampler's, under Optuna's names.
    """

    def __init__(
        self,
        param_space: Mapping[str, Any],
        *,
        sampler: str,
        num_samples: int,
        seed: int,
        points: Sequence[Mapping[str, Any]] = (),
        asked: Sequence[Mapping[str, Any]] = (),
        known: Sequence[int | None] = (),
        objective: Objective,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.learns, self.follows_order = sampler != "qmc", sampler == "cmaes"
        self._space, self._objective, self._seed = param_space, objective, seed
        self._num_samples, self._points = num_samples, points
        self._leaves: dict[Path, Distribution] = dict(distributions(param_space))
        self._grid = [path for path, leaf in self._leaves.items() if leaf.is_grid]
        self._dimensions: dict[Path, Dimension] = {
            path: one
            for path, one in describe_dimensions(param_space).items()
            if path not in self._grid
        }
        self._free = {path: one.leaf for path, one in self._dimensions.items()}
        self._order = order_dimensions(self._dimensions)
        self._make_factory = partial(SAMPLERS[sampler], self._dimensions, seed, **(options or {}))
        self._seen = Seen(param_space, self._leaves, seed)
        self._cells: dict[str, _Cell] = {}
        self._places = self._walk()
        self._has_found = False
        self._earlier = list(itertools.zip_longest(asked, known[: len(asked)]))
        self._asked: dict[int, _Asked] = {}
        self._told: dict[int, Observation] = {}
        self._untaken: deque[Observation] = deque()
        self._heard = 0

    def ask(self, number: int) -> Sample | None:
        """The next configuration of the next point of the grid that has one."""
        self._catch_up()
        for fixed, is_point in self._places:
            chosen = self._choose(number, fixed, is_point=is_point)
            if chosen is not None:
                sample, attributes = chosen
                self._record(number, fixed, sample.parameters, attributes)
                return replace(sample, known=self._heard) if self.follows_order else sample
        return None

    def tell(self, observation: Observation) -> None:
        """Set the trial in its study; of earlier launches' trials when they are replayed.

        A trial may have been run with other parameters than were asked for: it counts with those.
        """
        self._heard += 1
        if self._earlier:
            self._untaken.append(observation)  # until `_catch_up` has come to it
        else:
            self._take(observation)

    def _take(self, observation: Observation) -> None:
        before = self._told.get(observation.number, _RUNNING)
        self._told[observation.number] = observation
        # Of a trial that runs, such a sampler wants to know nothing.
        is_news = not self.follows_order or before.state.is_over or observation.state.is_over
        if is_news and observation.number in self._asked:
            self._show(observation.number)

    def _walk(self) -> Iterator[tuple[dict[Path, Any], bool]]:
        """What is fixed of each configuration in turn, and whether a point fixes it."""
        for number in range(max(self._num_samples, len(self._points))):
            is_point = number < len(self._points)
            self._has_found = False
            for fixed in find_fixed(
                self._space, self._leaves, self._points[number] if is_point else {}
            ):
                yield fixed, is_point
            if not self._has_found and not is_point:
                return  # every point of the grid has all its configurations

    def _choose(
        self, number: int, fixed: Values, *, is_point: bool
    ) -> tuple[Sample, Mapping[str, Any]] | None:
        """A new configuration, and what the sampler noted at it; None if none is left."""
        if self._seen.is_used_up(fixed):
            return None
        if not is_point:
            cell = self._find_cell(fixed)
            for attempt in range(_MAX_ASKS):
                sample, attributes = self._suggest(cell, number, attempt, fixed)
                if self._seen.is_new(sample):
                    return sample, attributes
        generator = np.random.default_rng([self._seed, number])
        drawn = draw_sample(self._space, self._leaves, fixed, generator)
        renewed = self._seen.renew(drawn, fixed)
        return None if renewed is None else (renewed, {})

    def _suggest(
        self, cell: _Cell, number: int, attempt: int, fixed: Values
    ) -> tuple[Sample, Mapping[str, Any]]:
        key = [self._seed, number, attempt] if attempt else [self._seed, number]
        seed = int(np.random.SeedSequence(key).generate_state(1)[0])
        trial = cell.picture.ask(cell.factory(seed, cell.picture.size))
        values = dict(fixed)
        for path in self._order:
            if not is_ruled_out(path, self._space, self._leaves, values):
                values[path] = self._dimensions[path].suggest(trial)
        begin = cell.factory.attributes
        noted = cell.picture.forget()
        attributes = {key: one for key, one in noted.items() if begin and _belongs(key, begin)}
        return make_sample(self._space, self._leaves, values), attributes

    def _find_cell(self, fixed: Values) -> _Cell:
        key = repr([(path, fixed.get(path)) for path in self._grid])
        if key not in self._cells:
            self._cells[key] = _Cell(self._make_factory(), Picture(self._objective.mode))
        return self._cells[key]

    def _record(
        self,
        number: int,
        fixed: Values,
        parameters: Mapping[str, Any],
        attributes: Mapping[str, Any],
    ) -> None:
        cell = self._find_cell(fixed)
        values = find_values(parameters, self._free)
        self._asked[number] = _Asked(cell, cell.picture.size, values, attributes)
        self._seen.note(configuration_key(parameters))
        self._has_found = True
        self._show(number)

    def _show(self, number: int) -> None:
        asked = self._asked[number]
        told = self._told.get(number, _RUNNING)
        values = find_values(told.parameters, self._free) if told.parameters else asked.values
        trial = freeze_trial(
            values,
            self._dimensions,
            told,
            attributes=asked.attributes,
        )
        trial.number = asked.index
        asked.cell.picture.put(trial)

    def _catch_up(self) -> None:
        """Record the trials of earlier launches, and what was told of them.

        A sampler that notes something at its trials is asked for them again, each with what it
        knew at the time. Journals of earlier versions do not have that: there it knows all trials
        as they ended, which is right for one trial at a time.
        """
        earlier, self._earlier = self._earlier, []
        taken = 0
        for number, (parameters, known) in enumerate(earlier, start=1):
            while self._untaken and (known is None or taken < known):
                self._take(self._untaken.popleft())
                taken += 1
            fixed, is_point = self._find_place(parameters)
            attributes: Mapping[str, Any] = {}
            if self._find_cell(fixed).factory.attributes is not None:
                again = self._choose(number, fixed, is_point=is_point)
                if again is not None and again[0].parameters == parameters:
                    attributes = again[1]
            self._record(number, fixed, parameters, attributes)
        while self._untaken:
            self._take(self._untaken.popleft())

    def _find_place(self, parameters: Mapping[str, Any]) -> tuple[dict[Path, Any], bool]:
        """The next place in the walk that the parameters can have come from."""
        found = find_values(parameters, self._leaves)
        for fixed, is_point in self._places:
            if all(
                path not in found or is_same(self._leaves[path].own_value(found[path]), value)
                for path, value in fixed.items()
            ):
                return fixed, is_point
        return {path: found.get(path) for path in self._grid}, False


def find_values(
    parameters: Mapping[str, Any], leaves: Mapping[Path, Distribution]
) -> dict[Path, Any]:
    """A trial's values by the paths of a param space.

    Without those that do not apply to it, and those that damage has put into its record.
    """
    found: dict[Path, Any] = {}
    for path, leaf in leaves.items():
        value: Any = parameters
        for key in path:
            if not isinstance(value, Mapping) or key not in value:
                break
            value = value[key]
        else:
            if leaf.suits(value):
                found[path] = value
    return found


def freeze_trial(
    values: Values,
    dimensions: Mapping[Path, Dimension],
    observation: Observation,
    *,
    attributes: Mapping[str, Any] | None = None,
) -> FrozenTrial:
    """A trial as Optuna knows it.

    A trial that failed, or that is over without a value, is a failure; no sampler looks at it. A
    pruned one has its values at their env steps and counts by the last one.
    """
    steps = dict(observation.values)
    state, value = judge(observation)
    names = {path: dimensions[path].name for path in values}
    return create_trial(
        state=state,
        value=value,
        params={names[path]: dimensions[path].to_optuna(one) for path, one in values.items()},
        distributions={names[path]: dimensions[path].optuna for path in values},
        system_attrs=dict(attributes or {}),
        intermediate_values=steps,
    )


def judge(observation: Observation) -> tuple[TrialState, float | None]:
    """A trial's state and value in Optuna's terms."""
    if not observation.state.is_over:
        return TrialState.RUNNING, None
    if observation.state is states.TrialState.PRUNED and observation.values:
        return TrialState.PRUNED, observation.values[-1][1]
    has_value = observation.score is not None and math.isfinite(observation.score)
    if observation.state is states.TrialState.TERMINATED and has_value:
        return TrialState.COMPLETE, observation.score
    return TrialState.FAIL, None


def _belongs(key: str, begin: str) -> bool:
    return key.startswith(begin) or key == "x_for_tell"
