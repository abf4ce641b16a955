"""A run's search as an Optuna study: in memory, or as a journal file for optuna-dashboard.

Values are written as a reader knows them, not as a sampler does: a choice by its value, a
quantised or normal value as the number that it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial

from sweeper.metrics import Objective
from sweeper.run_files import open_regular
from sweeper.search.base import Observation
from sweeper.search.distributions import Distribution, distributions
from sweeper.search.distributions import Path as KeyPath
from sweeper.search.sampling.dimensions import Dimension, Form, describe_dimensions
from sweeper.search.sampling.search import find_values, judge
from sweeper.search.sampling.study import quiet

__all__ = ["StudyLog", "build_study"]

_WIDTH = 8  # deviations of a normal distribution on each side of its mean
# What `Study.set_metric_names` writes; that one warns that it is experimental.
_METRIC_NAMES = "study:metric_names"


class _Shown:
    """One searched parameter as it is shown."""

    def __init__(self, dimension: Dimension) -> None:
        self.name, self._leaf = dimension.name, dimension.leaf
        self._labels = _label(dimension.values)
        self._dimension = dimension
        self.form: Form = self._find_form()

    def show(self, value: Any) -> Any:
        """A value of the parameter as the study has it."""
        form = self.form
        if isinstance(form, CategoricalDistribution):
            return self._labels[self._dimension.to_optuna(value)]
        shown = min(max(value, form.low), form.high)
        return int(shown) if isinstance(form, IntDistribution) else float(shown)

    def _find_form(self) -> Form:
        leaf = self._leaf
        if leaf.values is not None:
            return CategoricalDistribution(self._labels)
        if leaf.bounds is None:
            mean = leaf.args[0] if leaf.args else 0.0
            deviation = leaf.args[1] if len(leaf.args) > 1 else 1.0
            return FloatDistribution(mean - _WIDTH * deviation, mean + _WIDTH * deviation)
        low, high = leaf.bounds
        if leaf.is_integer:
            return IntDistribution(int(low), int(high), log=leaf.is_log)
        return FloatDistribution(float(low), float(high), log=leaf.is_log)


def _label(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Values as Optuna may hold them: single ones that differ, or else all as text."""
    is_plain = all(value is None or isinstance(value, str | int | float) for value in values)
    if is_plain and len({(value == 1, str(value)) for value in values}) == len(values) == len(
        set(values)
    ):
        return values
    return tuple(value if isinstance(value, str) else json.dumps(value) for value in values)


class _Picture:
    """The dimensions of a space, and trials in their terms."""

    def __init__(self, param_space: Mapping[str, Any]) -> None:
        self._leaves: dict[KeyPath, Distribution] = dict(distributions(param_space))
        dimensions = describe_dimensions(param_space)
        self._shown = {path: _Shown(one) for path, one in dimensions.items()}

    def freeze(self, observation: Observation) -> FrozenTrial:
        values = find_values(observation.parameters, self._leaves)
        state, value = judge(observation)
        shown = [(self._shown[path], one) for path, one in values.items()]
        trial = create_trial(
            state=state,
            value=value,
            params={parameter.name: parameter.show(one) for parameter, one in shown},
            distributions={parameter.name: parameter.form for parameter, _ in shown},
            user_attrs={"trial_id": f"t{observation.number:04d}"},
            intermediate_values=dict(observation.values),
        )
        if observation.started is not None:
            trial.datetime_start = datetime.fromtimestamp(observation.started)
        if observation.ended is not None and state.is_finished():
            trial.datetime_complete = datetime.fromtimestamp(observation.ended)
        return trial


def build_study(
    param_space: Mapping[str, Any],
    observations: Iterable[Observation],
    *,
    name: str,
    objective: Objective,
) -> optuna.Study:
    """A study in memory with all trials of a search.

    Args:
        param_space: nested; leaves are constants or distributions.
        observations: of the trials, in their order.
        name: of the study.
        objective: whose values it has.
    """
    storage, picture = InMemoryStorage(), _Picture(param_space)
    with quiet():
        study_id = _create_study(storage, name, objective)
        for observation in observations:
            storage.create_new_trial(study_id, picture.freeze(observation))
        return optuna.load_study(study_name=name, storage=storage)


class StudyLog:
    """A search as a journal of Optuna's, kept up to date trial by trial.

    Optuna never changes a trial that is over, takes no intermediate value back, and changes no
    trial's number. Where the search did, or the file holds something else, it is written anew.

    Args:
        path: the file.
        param_space: nested; leaves are constants or distributions.
        name: of the study.
        objective: whose values it has.
    """

    def __init__(
        self, path: Path, param_space: Mapping[str, Any], *, name: str, objective: Objective
    ) -> None:
        self._path, self._picture = path, _Picture(param_space)
        self._lock = path.with_name(f"{path.name}.lock")  # Optuna's name for it
        self._name, self._objective = name, objective
        self._observed: dict[int, Observation] = {}
        self._storage: BaseStorage | None = None
        self._study_id = 0
        self._trial_ids: list[int] = []

    def rewrite(self, observations: Iterable[Observation]) -> None:
        """Replace the file by one with these trials."""
        self._observed = {one.number: one for one in observations}
        self._open_anew()

    def open(self, observations: Iterable[Observation]) -> None:
        """Go on with the file if it fits these trials of earlier launches; else replace it."""
        observed = {one.number: one for one in observations}
        try:
            self._load()
            for one in observed.values():
                self.write(one)
        except Exception:
            self.rewrite(observed.values())

    def write(self, observation: Observation) -> None:
        """Add a trial, or what is new of it."""
        self._observed[observation.number] = observation
        index = observation.number - 1
        storage = self._storage
        frozen = self._picture.freeze(observation)
        if storage is None or index > len(self._trial_ids):
            self._open_anew()
        elif index == len(self._trial_ids):
            self._trial_ids.append(storage.create_new_trial(self._study_id, frozen))
        else:
            self._update(storage, self._trial_ids[index], frozen)

    def _update(self, storage: BaseStorage, trial_id: int, frozen: FrozenTrial) -> None:
        before = storage.get_trial(trial_id)
        known, values = before.intermediate_values, frozen.intermediate_values
        # A trial that goes on from an earlier checkpoint has lost its reports from after it.
        is_same = before.params == frozen.params and known.keys() <= values.keys()
        if before.state.is_finished():
            is_same = is_same and known == values
            if not is_same or (before.state, before.value) != (frozen.state, frozen.value):
                self._open_anew()
            return
        if not is_same:
            self._open_anew()
            return
        for step, value in values.items():
            if known.get(step) != value:
                storage.set_trial_intermediate_value(trial_id, step, value)
        if frozen.state.is_finished():
            storage.set_trial_state_values(trial_id, frozen.state, frozen.values)

    def _load(self) -> None:
        # Optuna follows links, and would wait at a named pipe, or at the lock of a killed launch.
        os.close(open_regular(self._path, os.O_WRONLY))
        self._lock.unlink(missing_ok=True)
        storage = JournalStorage(JournalFileBackend(str(self._path)))
        study_id = storage.get_study_id_from_name(self._name)
        if storage.get_study_system_attrs(study_id) != {_METRIC_NAMES: [self._objective.metric]}:
            raise ValueError("a study of another metric, or of an earlier version")
        self._trial_ids = [trial._trial_id for trial in storage.get_all_trials(study_id)]
        self._storage, self._study_id = storage, study_id

    def _open_anew(self) -> None:
        self._lock.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)  # a link itself, not what it leads to
        with quiet():
            storage = JournalStorage(JournalFileBackend(str(self._path)))
            self._study_id = _create_study(storage, self._name, self._objective)
        self._storage = storage
        self._trial_ids = [
            storage.create_new_trial(self._study_id, self._picture.freeze(self._observed[number]))
            for number in sorted(self._observed)
        ]


def _create_study(storage: BaseStorage, name: str, objective: Objective) -> int:
    is_max = objective.mode == "max"
    direction = StudyDirection.MAXIMIZE if is_max else StudyDirection.MINIMIZE
    study_id = storage.create_new_study([direction], name)
    storage.set_study_system_attr(study_id, _METRIC_NAMES, [objective.metric])
    return study_id
