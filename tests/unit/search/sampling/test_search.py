"""Optuna's samplers behind the port: the same sequence from the seed and the values alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import optuna
import pytest

from sweeper.metrics import Objective
from sweeper.search.base import Observation, SearchAlgorithm
from sweeper.search.distributions import distributions, parse_space
from sweeper.search.registry import build_search
from sweeper.search.sampling.dimensions import describe_dimensions
from sweeper.search.sampling.samplers import CMAES, QMC, TPE
from sweeper.search.sampling.search import SamplerSearch, freeze_trial
from sweeper.states import TrialState

PLAIN = {
    "lr": {"loguniform": [1e-5, 1e-2]},
    "gamma": {"quniform": [0.9, 0.99, 0.01]},
    "num_epochs": {"randint": [1, 31]},
    "net": {"hiddens": {"choice": [[64], [128, 128], [256]]}},
    "kl": {"randn": [0, 1]},
}
CONDITIONS = {
    **PLAIN,
    "use_kl": {"choice": [True, False]},
    "target": {"uniform": [0.1, 1.0], "when": {"use_kl": True}},
}
CROSSED = {**PLAIN, "batch": {"grid_search": [64, 128]}}
SPACES = {"plain": PLAIN, "conditions": CONDITIONS, "crossed": CROSSED}
LEARNING = ("tpe", "cmaes", "gp")
FEW = {"n_startup_trials": 4}

Parameters = Mapping[str, Any]


def build(
    name: str, raw: Mapping[str, Any], number: int = 100, seed: int = 0, **more: Any
) -> SearchAlgorithm:
    space, problems = parse_space(raw)
    assert not problems
    return build_search(
        name, space, num_samples=number, seed=seed, **{"objective": Objective(), **more}
    )


def worth(parameters: Parameters) -> float:
    net = parameters["net"]["hiddens"] == [128, 128]
    target = abs(parameters.get("target", 0.5) - 0.3)
    return -abs(math.log10(parameters["lr"]) + 3.3) + net - target


def observe(number: int, parameters: Parameters) -> Observation:
    """Every kind of end: a failure, one without a value, pruned ones, and good ones."""
    value = worth(parameters)
    if number % 11 == 5:
        return Observation(number, parameters, TrialState.ERROR)
    if number % 11 == 9:
        return Observation(number, parameters, TrialState.TERMINATED)
    state = TrialState.PRUNED if number % 5 == 3 else TrialState.TERMINATED
    return Observation(number, parameters, state, ((1000, value - 1), (2000, value)), value)


def sweep(
    name: str, raw: Mapping[str, Any], number: int, cuts: Collection[int] = (), **more: Any
) -> list[Parameters]:
    """The parameters of a sweep of one trial at a time; a new launch begins before each cut."""
    search = build(name, raw, **more)
    asked: list[Parameters] = []
    for n in range(1, number + 1):
        if n in cuts:
            search = build(name, raw, asked=list(asked), **more)
            for earlier, parameters in enumerate(asked, start=1):
                search.tell(observe(earlier, parameters))
        sample = search.ask(n)
        if sample is None:
            break
        asked.append(sample.parameters)
        search.tell(Observation(n, sample.parameters, TrialState.RUNNING, ((1000, 0.0),), 0.0))
        search.tell(observe(n, sample.parameters))
    return asked


@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("name", ["tpe", "cmaes", "qmc"])
def test_a_sweep_killed_before_any_trial_goes_on_as_if_it_had_not_been(
    name: str, kind: str
) -> None:
    options = {} if name == "qmc" else FEW
    whole = sweep(name, SPACES[kind], 18, options=options)
    assert len(whole) == 18
    observed = [observe(number, parameters) for number, parameters in enumerate(whole, start=1)]
    for cut in range(18):
        later = build(name, SPACES[kind], asked=whole[:cut], options=options)
        for observation in observed[:cut]:
            later.tell(observation)
        sample = later.ask(cut + 1)
        assert sample is not None
        assert sample.parameters == whole[cut]
    assert sweep(name, SPACES[kind], 18, [7, 14], options=options) == whole


def test_a_gaussian_process_goes_on_as_well() -> None:
    whole = sweep("gp", CONDITIONS, 7, options=FEW)
    assert sweep("gp", CONDITIONS, 7, [4, 7], options=FEW) == whole


@pytest.mark.parametrize("options", [{"with_margin": True}, {"use_separable_cma": True}, {}])
def test_every_kind_of_cmaes_goes_on(options: dict[str, Any]) -> None:
    whole = sweep("cmaes", PLAIN, 40, options={**options, "popsize": 4})
    assert sweep("cmaes", PLAIN, 40, [17, 33], options={**options, "popsize": 4}) == whole


@pytest.mark.parametrize("name", ["tpe", "qmc", "cmaes"])
def test_another_seed_is_another_sequence(name: str) -> None:
    assert sweep(name, PLAIN, 3, seed=1)[0] != sweep(name, PLAIN, 3, seed=2)[0]


@pytest.mark.parametrize("name", LEARNING)
def test_what_it_is_told_matters(name: str) -> None:
    found = []
    for best in (0.8, 0.2):
        search = build(name, {"lr": {"uniform": [0.0, 1.0]}}, seed=2, options=FEW)
        for number in range(1, 9 if name == "gp" else 31):
            sample = search.ask(number)
            assert sample is not None
            value = -abs(sample.parameters["lr"] - best)
            search.tell(
                Observation(number, sample.parameters, TrialState.TERMINATED, ((1, value),), value)
            )
        found.append(sample.parameters["lr"])
    assert found[0] > found[1]


def test_less_is_better_if_the_objective_says_so() -> None:
    found = {}
    for mode in ("max", "min"):
        objective = Objective(metric="loss", mode=mode)
        search = build("tpe", {"lr": {"uniform": [0.0, 1.0]}}, options=FEW, objective=objective)
        for number in range(1, 31):
            sample = search.ask(number)
            assert sample is not None
            value = sample.parameters["lr"]
            search.tell(Observation(number, sample.parameters, TrialState.TERMINATED, (), value))
        found[mode] = sample.parameters["lr"]
    assert found["min"] < 0.5 < found["max"]


def test_conditions_hold_and_each_branch_is_learned() -> None:
    for parameters in sweep("tpe", CONDITIONS, 40, options=FEW):
        assert ("target" in parameters) == parameters["use_kl"]


@pytest.mark.parametrize("name", ["tpe", "cmaes", "qmc"])
def test_a_grid_is_crossed_with_the_search(name: str) -> None:
    asked = sweep(name, CROSSED, 12)
    assert [one["batch"] for one in asked] == [64, 128] * 6
    assert len({repr(one) for one in asked}) == 12


def test_each_point_of_a_grid_has_a_study_of_its_own() -> None:
    alone = sweep("qmc", PLAIN, 4)
    crossed = sweep("qmc", CROSSED, 8)
    for batch in (64, 128):
        here = [one for one in crossed if one["batch"] == batch]
        assert [{**one, "batch": None} for one in here] == [{**one, "batch": None} for one in alone]


@pytest.mark.parametrize("name", ["tpe", "qmc", "cmaes"])
def test_a_configuration_comes_once_and_a_small_space_is_used_up(name: str) -> None:
    raw = {
        "net": {"hiddens": {"choice": [[64], [128, 128]]}},
        "lr": {"qrandint": [2, 6, 2]},
        "batch": {"grid_search": [1, 2]},
    }
    asked = sweep(name, raw, 100)
    assert len(asked) == 12
    assert all(one != other for one, other in itertools.combinations(asked, 2))
    assert sweep(name, raw, 100, [5, 11]) == asked


def test_points_come_first_and_what_they_lack_is_drawn() -> None:
    points: Sequence[dict[str, Any]] = [{"lr": 0.001, "net": {"hiddens": [256]}}, {"kl": 0.5}]
    asked = sweep("tpe", CROSSED, 8, points=points, options=FEW)
    assert [one["lr"] for one in asked[:2]] == [0.001] * 2
    assert [one["kl"] for one in asked[2:4]] == [0.5] * 2
    assert [one["batch"] for one in asked] == [64, 128] * 4
    assert sweep("tpe", CROSSED, 8, [2, 5], points=points, options=FEW) == asked


def test_a_running_trial_is_known() -> None:
    space = {"lr": {"uniform": [0.0, 1.0]}}
    told = build("tpe", space, options=FEW)
    for number in range(1, 9):
        sample = told.ask(number)
        assert sample is not None
        value = -abs(sample.parameters["lr"] - 0.5)
        told.tell(Observation(number, sample.parameters, TrialState.TERMINATED, (), value))
    assert isinstance(told, SamplerSearch)
    ninth, tenth = told.ask(9), told.ask(10)
    assert ninth != tenth
    (cell,) = told._cells.values()
    states = [trial.state for trial in cell.picture.study.get_trials()]
    assert [state.name for state in states] == ["COMPLETE"] * 8 + ["RUNNING"] * 2


def test_a_trial_that_goes_on_after_all_runs_once_more() -> None:
    search = build("tpe", PLAIN)
    sample = search.ask(1)
    assert sample is not None
    assert isinstance(search, SamplerSearch)
    states = []
    for state, score in ((TrialState.TERMINATED, 1.0), (TrialState.RUNNING, 1.0)):
        search.tell(Observation(1, sample.parameters, state, ((5, 1.0),), score))
        (cell,) = search._cells.values()
        states.append(cell.picture.study.trials[0].state.name)
    assert states == ["COMPLETE", "RUNNING"]


@pytest.mark.parametrize("name", LEARNING)
def test_a_trial_counts_with_the_parameters_that_it_was_run_with(name: str) -> None:
    search = build(name, PLAIN, options=FEW)
    sample = search.ask(1)
    assert sample is not None
    run = {**sample.parameters, "lr": 2e-4}
    search.tell(Observation(1, run, TrialState.TERMINATED, ((5, 1.0),), 1.0))
    assert isinstance(search, SamplerSearch)
    (cell,) = search._cells.values()
    assert cell.picture.study.trials[0].params["lr"] == pytest.approx(2e-4)
    assert cell.picture.study.trials[0].value == 1.0


@pytest.mark.parametrize(
    ("state", "values", "score", "expected"),
    [
        ("TERMINATED", ((5, 1.0), (9, 2.0)), 1.5, ("COMPLETE", 1.5, {5: 1.0, 9: 2.0})),
        ("PRUNED", ((5, 1.0), (9, 2.0)), 1.5, ("PRUNED", 2.0, {5: 1.0, 9: 2.0})),
        ("PRUNED", (), None, ("FAIL", None, {})),
        ("ERROR", ((5, 1.0),), None, ("FAIL", None, {5: 1.0})),
        ("TERMINATED", (), None, ("FAIL", None, {})),
        ("TERMINATED", (), math.nan, ("FAIL", None, {})),
        ("TERMINATED", (), -math.inf, ("FAIL", None, {})),
        ("PAUSED", ((5, 1.0),), 1.0, ("RUNNING", None, {5: 1.0})),
        ("PENDING", (), None, ("RUNNING", None, {})),
    ],
)
def test_a_trial_is_told_for_what_it_is(
    state: str, values: Any, score: float | None, expected: tuple[Any, ...]
) -> None:
    space, _ = parse_space({"lr": {"uniform": [0.0, 1.0]}})
    observation = Observation(1, {"lr": 0.5}, TrialState(state), values, score)
    trial = freeze_trial({("lr",): 0.5}, describe_dimensions(space), observation)
    assert (trial.state.name, trial.value, trial.intermediate_values) == expected


@pytest.mark.parametrize("qmc_type", ["sobol", "halton"])
def test_the_points_of_a_sequence_are_optunas(qmc_type: str) -> None:
    space, _ = parse_space({"a": {"uniform": [-1.0, 3.0]}, "b": {"loguniform": [1e-4, 1.0]}})
    sampler = optuna.samplers.QMCSampler(qmc_type=qmc_type)
    study = optuna.create_study(sampler=sampler)
    forms = {one.name: one.optuna for one in describe_dimensions(space).values()}
    theirs = []
    for _ in range(9):  # the first is drawn at random
        trial = study.ask(forms)
        theirs.append(trial.params)
        study.tell(trial, 0.0)
    assert len(list(distributions(space))) == 2
    make = QMC(describe_dimensions(space), 5, qmc_type=qmc_type, scramble=False)
    ours = [optuna.create_study(sampler=make(0, place)).ask(forms).params for place in range(8)]
    for mine, other in zip(ours, theirs[1:], strict=True):
        assert mine == pytest.approx(other)
    assert optuna.create_study(sampler=make(0, 3)).ask(forms).params == ours[3]


@pytest.mark.parametrize(
    ("make", "theirs"),
    [
        (TPE, lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True)),
        (CMAES, lambda seed: optuna.samplers.CmaEsSampler(seed=seed)),
    ],
)
def test_a_sampler_suggests_what_optunas_of_its_seed_does(make: Any, theirs: Any) -> None:
    space, _ = parse_space({"a": {"uniform": [-1.0, 3.0]}, "b": {"loguniform": [1e-4, 1.0]}})
    factory = make(describe_dimensions(space), 5)
    forms = {one.name: one.optuna for one in describe_dimensions(space).values()}
    studies = optuna.create_study(), optuna.create_study()
    for place in range(15):
        suggested = []
        for study, sampler in zip(studies, (factory(place, place), theirs(place)), strict=True):
            study.sampler = sampler
            trial = study.ask(forms)
            suggested.append(trial.params)
            study.tell(trial, trial.params["a"] ** 2)
        assert suggested[0] == suggested[1]


def test_optuna_says_nothing_on_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    sweep("tpe", CONDITIONS, 12, options=FEW)
    sweep("gp", CONDITIONS, 6, options=FEW)
    sweep("cmaes", CONDITIONS, 12)
    assert capsys.readouterr() == ("", "")
