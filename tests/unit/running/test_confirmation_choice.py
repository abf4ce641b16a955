"""What a launch decides about the confirmation, from the journal and the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import UserError
from sweeper.journal import (
    ConfirmationPlanned,
    Journal,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialEnded,
    TrialReported,
)
from sweeper.paths import RunPaths
from sweeper.planning.plan import SweepPlan, build_plan, load_plan
from sweeper.results.builder import ResultsBuilder
from sweeper.results.records import SweepResults
from sweeper.running.confirmation import (
    choose_confirmation,
    describe_left,
    find_next_group,
    refuse_confirmation,
)
from sweeper.running.resume.extension import Extension, extend_spec
from sweeper.running.resume.state import LaunchState, read_history
from sweeper.states import Stage

SPEC = """
environment: CartPole-v1
algorithm: PPO
param_space: {lr: {grid_search: [0.1, 0.2, 0.3]}}
stop: {num_env_steps_sampled_lifetime: 1000}
selection: {finalists: 2, confirm_seeds: 4}
tracking: null
"""
LAUNCH = LaunchState()


@pytest.fixture
def plan(tmp_path: Path) -> SweepPlan:
    return plan_of(tmp_path)


def plan_of(folder: Path, *overrides: str) -> SweepPlan:
    file = folder / "spec.yaml"
    file.write_text(SPEC)
    return load_plan(file, overrides)


def row(value: float) -> dict[str, Any]:
    return {
        "training_iteration": 1,
        "num_env_steps_sampled_lifetime": 1000,
        "episode_return_mean": value,
    }


def searched(*scores: float | None, states: Sequence[str] = ()) -> ResultsBuilder:
    builder = ResultsBuilder(Path("/runs/x"))
    builder.apply(LaunchStarted(0.0, 1, 1, ()))
    for number, score in enumerate(scores, start=1):
        trial_id, lr = f"t{number:04d}", {"lr": number / 10}
        builder.apply(TrialAsked(1.0, trial_id, lr, lr, (0,)))
        if score is not None:
            builder.apply(TrialReported(2.0, trial_id, row(score)))
        state = states[number - 1] if states else "TERMINATED"
        builder.apply(TrialEnded(3.0, trial_id, state, "done"))  # type: ignore[arg-type]
    return builder


def results_of(builder: ResultsBuilder) -> SweepResults:
    return builder.snapshot(is_live=False)


def test_the_best_are_chosen_and_what_was_chosen_stays(plan: SweepPlan) -> None:
    builder = searched(1.0, 3.0, 2.0)
    chosen = choose_confirmation(plan, results_of(builder), LAUNCH, "finished")
    assert chosen is not None
    assert chosen.finalists == ("t0002", "t0003")
    assert (chosen.seeds, chosen.step, chosen.baseline["name"]) == ((0, 1, 2, 3), None, "defaults")
    builder.apply(chosen)
    assert choose_confirmation(plan, results_of(builder), LAUNCH, "finished") is chosen


@pytest.mark.parametrize("end", ["budget.time_s", "budget.no_improvement_trials", "finished"])
def test_it_follows_a_search_that_its_budget_ended(plan: SweepPlan, end: str) -> None:
    found = results_of(searched(1.0, 3.0))
    chosen = choose_confirmation(plan, found, LAUNCH, end)
    assert chosen is not None
    assert chosen.search_ended_by == end


@pytest.mark.parametrize("end", ["interrupted", "failed", "disk nearly full"])
def test_it_does_not_follow_an_interrupted_search(plan: SweepPlan, end: str) -> None:
    found = results_of(searched(1.0, 3.0))
    assert choose_confirmation(plan, found, LAUNCH, end) is None
    assert find_next_group(plan, found, LAUNCH, end) is None


def test_without_a_candidate_there_is_none(plan: SweepPlan) -> None:
    for found in (searched(), searched(None, 2.0, states=["TERMINATED", "PRUNED"])):
        assert choose_confirmation(plan, results_of(found), LAUNCH, "finished") is None


def test_a_search_that_went_on_chooses_anew(plan: SweepPlan) -> None:
    builder = searched(1.0, 3.0)
    first = choose_confirmation(plan, results_of(builder), LAUNCH, "finished")
    assert first is not None
    builder.apply(replace(first, time=4.0))
    lr = {"lr": 0.9}
    builder.apply(TrialAsked(5.0, "t0003", lr, lr, (0,)))
    builder.apply(TrialReported(5.0, "t0003", row(9.0)))
    builder.apply(TrialEnded(6.0, "t0003", "TERMINATED", "done"))  # type: ignore[arg-type]
    second = choose_confirmation(plan, results_of(builder), LAUNCH, "finished")
    assert second is not None
    assert second.finalists == ("t0003", "t0002")


def test_the_user_may_name_a_trial(plan: SweepPlan) -> None:
    builder = searched(1.0, 3.0, 2.0)
    named = replace(LAUNCH, named=("t0001",))
    alone = choose_confirmation(plan, results_of(builder), named, "finished")
    assert alone is not None
    assert alone.finalists == ("t0001",)
    for state in (named, LAUNCH):  # the launch's next look, and a later launch
        later = searched(1.0, 3.0, 2.0)
        later.apply(alone)
        assert choose_confirmation(plan, results_of(later), state, "finished") is alone
    chosen = choose_confirmation(plan, results_of(builder), LAUNCH, "finished")
    assert chosen is not None
    builder.apply(chosen)
    beside = choose_confirmation(plan, results_of(builder), named, "finished")
    assert beside is not None
    assert beside.finalists == ("t0002", "t0003", "t0001")


def confirmed_by(folder: Path, calls: Sequence[Extension], finalists: int) -> tuple[str, ...]:
    """Who is confirmed after several launches, each with what the user asks for."""
    grid = "param_space.lr={grid_search: [0.1, 0.2, 0.3, 0.4, 0.5]}"
    spec = plan_of(folder, grid, f"selection.finalists={finalists}").spec
    builder = searched(1.0, 9.0, 3.0, 4.0, 5.0)
    for extension in calls:
        spec, _ = extend_spec(RunPaths(folder), spec, extension, 0.0, results_of(builder))
        state = replace(LAUNCH, named=extension.trials, wants_best=extension.wants_best)
        for _ in range(2):  # a launch looks again and again
            chosen = choose_confirmation(build_plan(spec), results_of(builder), state, "finished")
            assert chosen is not None
            if chosen is not builder.confirmation:
                builder.apply(replace(chosen, time=4.0))
    assert builder.confirmation is not None
    return builder.confirmation.finalists


ALONE = Extension(is_confirming=True, trials=("t0001",))
BEST = Extension(is_confirming=True)
RESUMED = Extension()


@pytest.mark.parametrize(
    ("finalists", "calls", "confirmed"),
    [
        (0, [ALONE], "1"),
        (0, [ALONE, RESUMED], "1"),
        (0, [ALONE, ALONE], "1"),
        (0, [ALONE, replace(ALONE, trials=("t0003",))], "1 3"),
        (0, [ALONE, BEST], "1 2 5 4"),
        (0, [ALONE, BEST, RESUMED, BEST], "1 2 5 4"),
        (0, [ALONE, replace(BEST, finalists=1)], "1 2"),
        (0, [ALONE, replace(ALONE, finalists=2)], "1 2 5"),
        (0, [replace(ALONE, finalists=3)], "2 5 4 1"),
        (0, [replace(ALONE, finalists=3), replace(BEST, finalists=3)], "2 5 4 1"),
        (0, [replace(ALONE, trials=("t0005",)), BEST], "5 2 4"),
        (0, [BEST, ALONE], "2 5 4 1"),
        (0, [BEST, ALONE, BEST], "2 5 4 1"),
        (2, [ALONE, RESUMED], "1"),
        (2, [ALONE, BEST], "1 2 5"),
        (2, [RESUMED, replace(BEST, finalists=3), RESUMED], "2 5 4"),
    ],
)
def test_whom_the_user_asks_for_is_confirmed_in_any_order_of_asking(
    tmp_path: Path, finalists: int, calls: list[Extension], confirmed: str
) -> None:
    wanted = tuple(f"t000{number}" for number in confirmed.split())
    assert confirmed_by(tmp_path, calls, finalists) == wanted


def test_a_journal_of_an_earlier_version_tells_no_number_of_the_best(plan: SweepPlan) -> None:
    builder = searched(1.0, 3.0, 2.0)
    chosen = choose_confirmation(plan, results_of(builder), LAUNCH, "finished")
    assert chosen is not None
    builder.apply(replace(chosen, time=4.0, number=None))
    again = choose_confirmation(plan, results_of(builder), LAUNCH, "finished")
    assert again is not None
    assert (again.finalists, again.number) == (chosen.finalists, 2)


def test_a_new_rule_of_the_end_makes_earlier_runs_outdated(plan: SweepPlan) -> None:
    builder = searched(1.0, 3.0)
    chosen = choose_confirmation(plan, results_of(builder), LAUNCH, "finished")
    assert chosen is not None
    builder.apply(chosen)
    asked = TrialAsked(5.0, "c0001", {"lr": 0.2}, {}, (0, 1, 2, 3), Stage.CONFIRMATION, "t0002")
    builder.apply(asked)
    builder.apply(replace(chosen, seeds=(0, 1, 2, 3, 4)))
    assert not builder.trial("c0001").is_outdated
    builder.apply(replace(chosen, stop={"num_env_steps_sampled_lifetime": 9}))
    assert builder.trial("c0001").is_outdated


def test_what_is_left_is_said(plan: SweepPlan) -> None:
    found = results_of(searched(1.0, 3.0))
    lines = describe_left(plan, found, LAUNCH, "finished")
    assert lines[0] == "confirmation of t0002 and t0001:"
    assert "  4 training runs of the baseline to come" in lines


@pytest.mark.parametrize(
    ("extension", "words"),
    [
        (Extension(trials=("t0009",)), "has no trial t0009"),
        (Extension(trials=("t0002",)), "did not run to its own end"),
        (Extension(finalists=2), "only 1 trial"),
    ],
)
def test_what_can_not_be_confirmed(plan: SweepPlan, extension: Extension, words: str) -> None:
    found = results_of(searched(1.0, 3.0, states=["TERMINATED", "PRUNED"]))
    with pytest.raises(UserError, match=words):
        refuse_confirmation(plan, found, extension, is_over=True)
    with pytest.raises(UserError, match="is not over"):
        refuse_confirmation(plan, found, extension, is_over=False)


@pytest.mark.parametrize(
    ("given", "seeds", "changed"),
    [
        ("4", 6, 6),
        ("[7, 0]", 4, [7, 0, 1, 2]),
        ("[7, 0, 5]", 2, [7, 0]),
        ("{step: 2, max: 4}", 6, 6),
        ("{step: 5, max: 30}", 7, 7),
    ],
)
def test_so_many_seeds_are_trained_as_the_user_says(
    tmp_path: Path, given: str, seeds: int, changed: Any
) -> None:
    spec = plan_of(tmp_path, f"selection.confirm_seeds={given}").spec
    extension = Extension(is_confirming=True, confirm_seeds=seeds)
    builder = searched(1.0, 3.0)
    _, changes = extend_spec(RunPaths(tmp_path), spec, extension, 0.0, results_of(builder))
    assert changes == {"selection.confirm_seeds": changed}
    for trial_id, trained in (("c0001", (0, 1)), ("c0002", (2, 3, 4))):
        lr = {"lr": 0.2}
        builder.apply(TrialAsked(5.0, trial_id, lr, lr, trained, Stage.CONFIRMATION, "t0002"))
    few = replace(extension, confirm_seeds=4)
    with pytest.raises(UserError, match="some were trained on 5 already"):
        extend_spec(RunPaths(tmp_path), spec, few, 0.0, results_of(builder))


@pytest.mark.parametrize(
    ("scores", "named", "finalists"),
    [((1.0,), (), 1), ((1.0, 3.0), (), 2), ((1.0, 3.0, 2.0), (), 3), ((1.0, 3.0), ("t0001",), 1)],
)
def test_a_run_that_had_none_has_as_many_finalists_as_there_are(
    tmp_path: Path, scores: tuple[float, ...], named: tuple[str, ...], finalists: int
) -> None:
    rates = ", ".join(str(number / 10) for number in range(1, len(scores) + 1))
    spec = plan_of(
        tmp_path, f"param_space.lr={{grid_search: [{rates}]}}", "selection.finalists=0"
    ).spec
    extension = Extension(is_confirming=True, trials=named)
    found = results_of(searched(*scores))
    extended, _ = extend_spec(RunPaths(tmp_path), spec, extension, 0.0, found)
    assert extended.selection.finalists == finalists


def test_the_confirmations_time_is_not_the_searchs(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    journal = Journal(paths.journal)
    objective = {"metric": "m", "mode": "max", "score": "last"}
    planned = ConfirmationPlanned(20.0, ("t0001",), {}, (0, 1), None, 5, {}, objective, "finished")
    for event in (
        LaunchStarted(0.0, 1, 1, ()),
        TrialAsked(1.0, "t0001", {}, {}, (0,)),
        TrialEnded(11.0, "t0001", "TERMINATED", "done"),  # type: ignore[arg-type]
        planned,
        TrialAsked(21.0, "c0001", {}, {}, (0, 1), Stage.CONFIRMATION, "t0001"),
        LaunchEnded(99.0, "interrupted"),
        LaunchStarted(100.0, 2, 1, (), stage=Stage.CONFIRMATION),
        TrialEnded(150.0, "c0001", "TERMINATED", "done"),  # type: ignore[arg-type]
        LaunchStarted(200.0, 3, 1, ()),
        TrialAsked(201.0, "t0002", {}, {}, (0,)),
        TrialEnded(206.0, "t0002", "TERMINATED", "done"),  # type: ignore[arg-type]
    ):
        journal.append(event)
    journal.close()
    assert read_history(paths).spent_s == pytest.approx(15.0)
