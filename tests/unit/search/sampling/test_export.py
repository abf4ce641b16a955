"""A search as an Optuna study, in memory and as a journal that follows it."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweeper.metrics import Objective
from sweeper.search.base import Observation
from sweeper.search.distributions import parse_space
from sweeper.search.expansion import expand
from sweeper.search.sampling.export import StudyLog, build_study
from sweeper.states import TrialState

RAW = {
    "lr": {"qloguniform": [1e-4, 1e-2, 1e-4]},
    "gamma": {"quniform": [0.9, 0.99, 0.01]},
    "kl": {"randn": [0, 1]},
    "batch": {"qlograndint": [8, 512, 8]},
    "hiddens": {"choice": [[64], [128, 128]]},
    "vf": {"choice": [True, 1, 0.5, None]},
    "size": {"grid_search": [16, 32]},
    "target": {"uniform": [0.1, 1.0], "when": {"size": 32}},
}
SPACE, PROBLEMS = parse_space(RAW)
OBJECTIVE = Objective("episode_return_mean")


def observations(number: int) -> list[Observation]:
    states = [TrialState.TERMINATED, TrialState.PRUNED, TrialState.ERROR, TrialState.RUNNING]
    found = []
    for n, sample in enumerate(expand(SPACE, number, seed=1), start=1):
        state = states[n % 4]
        score = None if state is TrialState.ERROR else float(n)
        found.append(Observation(n, sample.parameters, state, ((10, 1.0), (20, n / 2)), score))
    return found[:number]


def load_study(path: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.load_study(study_name="a run", storage=storage)


def load(path: Path) -> list[Any]:
    return load_study(path).get_trials()


def picture(trials: list[Any]) -> list[Any]:
    return [
        (one.number, one.state, one.value, one.params, one.intermediate_values, one.user_attrs)
        for one in trials
    ]


def log_at(path: Path) -> StudyLog:
    return StudyLog(path, SPACE, name="a run", objective=OBJECTIVE)


def test_values_are_those_of_the_run_and_lists_are_text() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = build_study(SPACE, observations(8), name="a run", objective=OBJECTIVE)
    assert (study.study_name, study.direction.name) == ("a run", "MAXIMIZE")
    for trial, observed in zip(study.trials, observations(8), strict=True):
        parameters = dict(observed.parameters)
        assert trial.params.pop("hiddens") == str(parameters.pop("hiddens"))
        vf = parameters.pop("vf")
        assert trial.params.pop("vf") == {True: "true", None: "null"}.get(vf, str(vf)) or vf == 1
        assert trial.params == parameters
        assert trial.user_attrs == {"trial_id": f"t{observed.number:04d}"}
    assert study.best_trial.user_attrs["trial_id"] == "t0008"
    states = [trial.state.name for trial in study.trials[:4]]
    assert states == ["PRUNED", "FAIL", "RUNNING", "COMPLETE"]


def test_a_followed_log_is_the_study(tmp_path: Path) -> None:
    path = tmp_path / "optuna.log"
    log = log_at(path)
    log.open([])
    for one in observations(8):
        log.write(Observation(one.number, one.parameters, TrialState.PENDING))
        assert load(path)[-1].state.name == "RUNNING"
        log.write(Observation(one.number, one.parameters, TrialState.RUNNING, one.values[:1], 1.0))
        assert load(path)[-1].intermediate_values == {10: 1.0}
        log.write(one)
    whole = build_study(SPACE, observations(8), name="a run", objective=OBJECTIVE)
    assert picture(load(path)) == picture(whole.trials)


def test_a_later_launch_goes_on_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "optuna.log"
    log_at(path).open(observations(5))
    before = path.read_bytes()
    log = log_at(path)
    log.open(observations(5))
    assert path.read_bytes() == before
    log.write(observations(6)[-1])
    assert path.read_bytes().startswith(before)
    assert len(load(path)) == 6


def test_a_study_names_its_metric_and_a_file_with_another_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "optuna.log"
    log_at(path).open(observations(5))
    assert load_study(path).metric_names == ["episode_return_mean"]
    other = Objective("evaluation/episode_return_mean", mode="min")
    whole = build_study(SPACE, observations(5), name="a run", objective=other)
    assert (whole.metric_names, whole.direction.name) == ([other.metric], "MINIMIZE")
    StudyLog(path, SPACE, name="a run", objective=other).open(observations(5))
    assert load_study(path).metric_names == [other.metric]
    assert picture(load(path)) == picture(whole.trials)


@pytest.mark.parametrize("content", [b"", b"no journal\n", b'{"op_code": 99}\n', None])
def test_a_file_that_does_not_fit_is_written_anew(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "optuna.log"
    if content is not None:
        path.write_bytes(content)
    log_at(path).open(observations(5))
    whole = build_study(SPACE, observations(5), name="a run", objective=OBJECTIVE)
    assert picture(load(path)) == picture(whole.trials)


def test_a_trial_that_goes_on_after_its_end_has_the_file_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "optuna.log"
    log = log_at(path)
    log.open(observations(4))
    fourth = observations(4)[3]
    again = Observation(4, fourth.parameters, TrialState.RUNNING, fourth.values, 4.0)
    log.write(again)
    assert load(path)[3].state.name == "RUNNING"
    log.write(Observation(4, fourth.parameters, TrialState.TERMINATED, fourth.values, 9.0))
    assert load(path)[3].value == 9.0


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.TERMINATED, TrialState.PRUNED])
@pytest.mark.parametrize("is_reopened", [False, True])
def test_values_of_an_attempt_that_was_rolled_back_leave_the_file(
    tmp_path: Path, state: TrialState, is_reopened: bool
) -> None:
    path = tmp_path / "optuna.log"
    log = log_at(path)
    log.open(observations(2))
    third = observations(3)[-1].parameters
    log.write(Observation(3, third, TrialState.RUNNING, ((10, 1.0), (20, 2.0), (35, 3.0))))
    if is_reopened:
        log = log_at(path)
        log.open(observations(2))
    for steps in ((10, 20), (10, 20, 30)):
        values = tuple((step, step / 10) for step in steps)
        log.write(Observation(3, third, state, values, 2.0))
        assert load(path)[2].intermediate_values == dict(values)
    assert [one.number for one in load(path)] == [0, 1, 2]


def test_nothing_is_wrong_with_the_space() -> None:
    assert PROBLEMS == []


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["link", "pipe", "hard link", "lock", "broken lock"])
def test_what_was_put_in_its_place_is_neither_read_nor_written(tmp_path: Path, kind: str) -> None:
    victim, path = tmp_path / "victim", tmp_path / "optuna.log"
    victim.write_text("precious")
    lock = tmp_path / "optuna.log.lock"
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "hard link":
        path.hardlink_to(victim)
    else:
        log_at(path).rewrite(observations(4))
        lock.symlink_to(path if kind == "lock" else tmp_path / "gone")
    log_at(path).open(observations(8))
    assert victim.read_text() == "precious"
    assert not path.is_symlink()
    assert [one.number for one in load(path)] == list(range(8))
    assert not os.path.lexists(lock)
