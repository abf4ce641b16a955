"""What `sweeper resume` says it will do, or why there is nothing to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from run_folders import SPEC

from sweeper.errors import UserError
from sweeper.journal import Event, LaunchEnded, TrialAsked, TrialEnded, TrialReported
from sweeper.planning.plan import SweepPlan
from sweeper.results.builder import ResultsBuilder
from sweeper.running.resume.remaining import (
    Remaining,
    describe_remaining,
    refuse_without_effect,
)
from sweeper.running.resume.state import Continuation, LaunchState
from sweeper.spec import load_spec

GOES_ON = Continuation("t0002", {})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def left(
    root: Path,
    budget: Mapping[str, Any],
    *ended: float,
    by: str | None = "interrupted",
    goes_on: tuple[Continuation, ...] = (),
    spent_s: float = 0.0,
) -> Remaining:
    """Of four trials some have ended with these returns, at 100 env steps on each of 2 seeds."""
    builder = ResultsBuilder(root)
    events: list[Event] = []
    for number, value in enumerate(ended, start=1):
        row = {
            "training_iteration": 1,
            "episode_return_mean": value,
            "num_env_steps_sampled_lifetime": 100,
            "replica/num_env_steps_sampled_lifetime": [100, 100],
        }
        trial_id = f"t{number:04d}"
        events += [
            TrialAsked(1.0, trial_id, {}, {}, (0, 1)),
            TrialReported(2.0, trial_id, row),
            TrialEnded(3.0, trial_id, "TERMINATED", "done"),
        ]
    if by is not None:
        events.append(LaunchEnded(9.0, by))
    for event in events:
        builder.apply(event)
    file = root.parent / "spec.yaml"
    file.write_text(SPEC)
    spec = load_spec(file, [f"budget.{name}={value}" for name, value in budget.items()])
    plan = SweepPlan(spec, trials=4, replicas=2, env_steps=None, concurrent=2)
    asked = len(ended) + len(goes_on)
    state = LaunchState(launch=2, asked=asked, continuations=goes_on, spent_s=spent_s)
    return describe_remaining(plan, state, builder.snapshot(is_live=False))


def test_nothing_is_left_of_a_run_whose_trials_have_ended_whatever_its_budgets(root: Path) -> None:
    found = left(root, {"env_steps": 1, "time_s": 1, "trials": 4}, *[1.0] * 4, spent_s=9.0)
    assert (found.is_nothing, found.reasons) == (True, ("finished",))
    assert found.lines == ("nothing left to do in run: 4 of 4 trials finished",)


def test_a_killed_launch_whose_end_is_written_late_is_said(root: Path) -> None:
    assert left(root, {}, *[1.0] * 4, by=None).late == (
        "its last launch was killed before it could record its own end; this is recorded now",
    )


@pytest.mark.parametrize(
    ("budget", "what", "how"),
    [
        ({"time_s": 60}, "its 1m00s of budget.time_s are spent", "--time SECONDS gives it more"),
        (
            {"env_steps": 150},
            "its 150 env steps of budget.env_steps are spent, 200 were taken",
            "--stop budget.env_steps=N gives it more, N in all",
        ),
    ],
)
def test_a_spent_budget_lets_nothing_go_on_and_says_what_gives_it_more(
    root: Path, budget: Mapping[str, int], what: str, how: str
) -> None:
    found = left(root, budget, 1.0, goes_on=(GOES_ON,), spent_s=60.0)
    assert (found.is_nothing, found.reasons) == (True, (f"budget.{next(iter(budget))}",))
    assert found.lines == (f"nothing left to do in run: {what} (1 of 4 trials finished); {how}",)


@pytest.mark.parametrize(
    ("budget", "what", "how"),
    [
        (
            {"trials": 2},
            "its 2 trials of budget.trials are begun",
            "--stop budget.trials=N gives it more, N in all",
        ),
        (
            {"no_improvement_trials": 1},
            "1 trial in a row ended without a better score (budget.no_improvement_trials: 1)",
            "--stop budget.no_improvement_trials=N allows more",
        ),
    ],
)
def test_a_budget_of_trials_lets_no_other_begin_and_those_that_were_begun_go_on(
    root: Path, budget: Mapping[str, int], what: str, how: str
) -> None:
    found = left(root, budget, 2.0, 1.0)
    assert (found.is_nothing, found.reasons) == (True, (f"budget.{next(iter(budget))}",))
    assert found.lines == (f"nothing left to do in run: {what} (2 of 4 trials finished); {how}",)
    more = left(root, {**budget, "trials": 3}, 2.0, 1.0, goes_on=(Continuation("t0003", {}),))
    assert not more.is_nothing
    assert "  t0003 goes on from the start, it has no checkpoint" in more.lines
    assert not any("still to begin" in line for line in more.lines)
    assert any(line.startswith("  no further trial starts: ") for line in more.lines)


def test_what_is_left_is_said_trial_by_trial_and_budget_by_budget(root: Path) -> None:
    again = Continuation(
        "t0002",
        {},
        checkpoint=root / "checkpoint_000003",
        metrics={"num_env_steps_sampled_lifetime": 1200},
        missing="checkpoint_000004",
    )
    gone = Continuation("t0003", {}, missing="checkpoint_000001")
    budget = {"env_steps": 5000, "time_s": 90}
    found = left(root, budget, 1.0, goes_on=(again, gone), spent_s=30.0)
    assert found.lines == (
        "going on with run: 1 of 4 trials finished",
        "  t0002 goes on from its checkpoint at 1,200 env steps, because checkpoint_000004 is gone "
        "or damaged",
        "  t0003 goes on from the start, checkpoint_000001 is gone or damaged",
        "  1 trial still to begin",
        "  1m00s of the search's time are left",
        "  4,800 of the search's env steps are left, counted over all replicas",
    )


def test_a_criterion_or_budget_under_which_nothing_goes_on_is_refused(root: Path) -> None:
    steps = "stop.num_env_steps_sampled_lifetime"
    over = left(root, {}, 1, 2, 3, 4)
    with pytest.raises(UserError) as refused:
        refuse_without_effect({steps: 800, "budget.env_steps": 9}, over)
    assert str(refused.value) == (
        "nothing left to do in run: 4 of 4 trials finished\n"
        f"so a new {steps} and budget.env_steps have no effect, and nothing was changed"
    )
    refuse_without_effect({"selection.finalists": 3}, over)
    refuse_without_effect({steps: 800}, left(root, {}, 1, 2, goes_on=(GOES_ON,)))


def test_what_a_used_up_budget_bars_is_refused_with_what_to_give_beside_it(root: Path) -> None:
    barred = left(root, {"trials": 2}, 1, 2)
    reason = (
        "nothing left to do in run: its 2 trials of budget.trials are begun (2 of 4 trials "
        "finished); --stop budget.trials=N gives it more, N in all\n"
    )
    with pytest.raises(UserError) as refused:
        refuse_without_effect({"search.num_samples": 20}, barred)
    assert str(refused.value) == (
        f"{reason}so a new search.num_samples has no effect, and nothing was changed; give both at "
        "once"
    )
    with pytest.raises(UserError) as refused:
        refuse_without_effect({}, barred, is_retry_barred=True)
    assert str(refused.value).endswith(
        "so --retry-errored has no effect, and nothing was changed; give both at once"
    )
    spent = left(root, {"env_steps": 150}, 1, 2)
    with pytest.raises(UserError) as refused:
        refuse_without_effect({"budget.env_steps": 180}, spent)
    assert str(refused.value).endswith("has no effect, and nothing was changed")
