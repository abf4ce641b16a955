"""Population-based training's decisions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.metrics import Objective
from sweeper.schedulers.base import Action, Decision, Report
from sweeper.schedulers.pbt import PBTScheduler
from sweeper.search.distributions import parse_space
from sweeper.states import TrialState

RAW = {"lr": {"loguniform": [1e-5, 1e-2]}, "num_epochs": {"randint": [1, 31]}}
PARAMETERS = {"lr": 1e-3, "num_epochs": 10}
INTERVAL = 1000


def population(
    count: int = 4, *, running: int | None = None, mode: str = "max", **options: Any
) -> PBTScheduler:
    """A population of which the first trials have a worker, by default all."""
    scheduler = PBTScheduler(
        Objective(mode=mode),
        seed=0,
        param_space=parse_space(RAW)[0],
        population=count,
        **{"perturbation_interval": INTERVAL, **options},
    )
    for number in range(1, (count if running is None else running) + 1):
        scheduler.on_start(f"t{number:04d}")
    return scheduler


def report(
    scheduler: PBTScheduler,
    number: int,
    value: float | None,
    env_steps: int = INTERVAL,
    *,
    lost: Collection[str] = (),
) -> Decision:
    """Report, and save the trial where it goes on; the checkpoints of some trials are lost."""
    trial_id = f"t{number:04d}"
    decision = scheduler.on_report(
        Report(
            trial_id,
            env_steps,
            value,
            {**PARAMETERS, "num_epochs": number},
            is_copyable=lambda donor, _: donor not in lost,
        )
    )
    if decision.action is not Action.COPY:
        scheduler.on_checkpoint(trial_id, env_steps)
    return decision


def actions(decisions: list[Decision]) -> list[Action]:
    return [decision.action for decision in decisions]


def test_the_worst_copies_the_best_once_all_are_there() -> None:
    scheduler = population()
    decisions = [report(scheduler, number, 10.0 * number) for number in (4, 3, 2, 1)]
    assert actions(decisions) == [Action.CONTINUE] * 3 + [Action.COPY]
    copy = decisions[-1]
    assert (copy.donor, copy.donor_env_steps, copy.rung) == ("t0004", INTERVAL, 1)
    assert copy.parameters is not None
    assert copy.parameters != {**PARAMETERS, "num_epochs": 4}
    assert copy.reason.startswith("ranks 4 of 4 at 1,000 env steps with 10; copies t0004 (40,")


def test_who_comes_first_is_compared_at_its_next_report() -> None:
    scheduler = population()
    first = [report(scheduler, number, 10.0 * number) for number in (1, 2, 3, 4)]
    assert actions(first) == [Action.CONTINUE] * 4
    # By the values at the exchange: what it has now does not count.
    late = report(scheduler, 1, 99.0, INTERVAL + 200)
    assert (late.action, late.donor) == (Action.COPY, "t0004")


def test_an_exchange_that_is_still_open_at_the_next_one_is_decided_there() -> None:
    scheduler = population()
    for number in (1, 2, 3, 4):
        report(scheduler, number, 10.0 * number)
    late = report(scheduler, 1, 99.0, 2 * INTERVAL)
    assert (late.action, late.rung) == (Action.COPY, 1)


def test_less_can_be_better() -> None:
    scheduler = population(mode="min")
    decisions = [report(scheduler, number, 10.0 * number) for number in (1, 2, 3, 4)]
    assert decisions[-1].donor == "t0001"


def test_equal_trials_copy_nobody() -> None:
    scheduler = population()
    decisions = [report(scheduler, number, -200.0) for number in (1, 2, 3, 4)]
    assert actions(decisions) == [Action.CONTINUE] * 4


def test_nobody_copies_a_trial_whose_checkpoint_is_not_complete() -> None:
    scheduler = population()
    for number in (3, 2):
        report(scheduler, number, 10.0 * number)
    scheduler.on_report(Report("t0004", INTERVAL, 40.0))
    assert report(scheduler, 1, 10.0).action is Action.CONTINUE
    scheduler.on_checkpoint("t0004", INTERVAL)
    assert report(scheduler, 1, 10.0, INTERVAL + 200).donor == "t0004"


def test_a_copy_is_no_donor_until_it_is_saved() -> None:
    scheduler = population(burn_in_period=2 * INTERVAL)
    scheduler.on_report(Report("t0001", INTERVAL, 1.0))
    for number in (4, 3, 2, 1):
        last = report(scheduler, number, 10.0 * number, 2 * INTERVAL)
    assert last.action is Action.COPY
    for number in (2, 3, 4):
        report(scheduler, number, 10.0 * number, 3 * INTERVAL)
    scheduler.on_report(Report("t0001", 3 * INTERVAL, 99.0, PARAMETERS))
    assert report(scheduler, 2, 20.0, 3 * INTERVAL + 200).action is Action.CONTINUE
    scheduler.on_checkpoint("t0001", 3 * INTERVAL)
    assert report(scheduler, 2, 20.0, 3 * INTERVAL + 400).donor == "t0001"


def test_a_donor_whose_checkpoint_is_lost_is_not_copied() -> None:
    scheduler = population(8)
    for number in range(8, 1, -1):
        report(scheduler, number, 10.0 * number)
    one_lost = report(scheduler, 1, 10.0, lost={"t0008"})
    assert (one_lost.action, one_lost.donor) == (Action.COPY, "t0007")
    scheduler = population(8)
    for number in range(8, 1, -1):
        report(scheduler, number, 10.0 * number)
    decision = report(scheduler, 1, 10.0, lost={"t0007", "t0008"})
    assert (decision.action, decision.rung) == (Action.CONTINUE, 1)
    assert decision.reason == (
        "ranks 8 of 8 at 1,000 env steps; no checkpoint of t0007 or t0008 is whole any more, so "
        "nothing is copied"
    )


def test_a_trial_that_could_copy_nobody_stays_what_it_was() -> None:
    """It is compared at the next exchange by its own values, and can be copied there."""
    scheduler, other = population(), population(burn_in_period=2 * INTERVAL)
    for one in (scheduler, other):
        for number in (4, 3, 2, 1):
            report(one, number, 10.0 * number, lost={"t0004"})
        report(one, 1, 99.0, 2 * INTERVAL)
        for number in (4, 3):
            report(one, number, 10.0 * number, 2 * INTERVAL)
    decisions = [report(one, 2, 20.0, 2 * INTERVAL) for one in (scheduler, other)]
    assert decisions[0] == decisions[1]
    assert (decisions[0].action, decisions[0].donor) == (Action.COPY, "t0001")


def test_a_population_that_was_over_and_is_given_more_env_steps_advances_together() -> None:
    scheduler = population()
    for number in (1, 2, 3, 4):
        scheduler.on_final_report(Report(f"t{number:04d}", INTERVAL, 10.0 * number, PARAMETERS))
        scheduler.on_checkpoint(f"t{number:04d}", INTERVAL)
        scheduler.on_end(f"t{number:04d}", TrialState.TERMINATED)
    for number in (1, 2, 3, 4):
        scheduler.on_reopen(f"t{number:04d}")
    decisions = [report(scheduler, number, 10.0 * number, 2 * INTERVAL) for number in (2, 3, 4, 1)]
    assert actions(decisions[:3]) == [Action.PAUSE] * 3
    assert decisions[3].donor == "t0004"


def test_nothing_happens_while_the_population_burns_in() -> None:
    scheduler = population(burn_in_period=1500)
    decisions = [report(scheduler, number, 10.0 * number) for number in (4, 3, 2, 1)]
    assert actions(decisions) == [Action.CONTINUE] * 4
    later = [report(scheduler, number, 10.0 * number, 2 * INTERVAL) for number in (4, 3, 2, 1)]
    assert later[-1].action is Action.COPY


def test_trials_without_a_value_are_not_waited_for() -> None:
    scheduler = population()
    report(scheduler, 2, None)
    report(scheduler, 4, 40.0)
    report(scheduler, 3, 30.0)
    assert report(scheduler, 1, 10.0).donor == "t0004"


def test_failed_trials_are_not_waited_for_and_few_are_not_compared() -> None:
    scheduler = population()
    scheduler.on_end("t0002", TrialState.ERROR)
    report(scheduler, 4, 40.0)
    report(scheduler, 3, 30.0)
    assert report(scheduler, 1, 10.0).donor == "t0004"
    scheduler.on_end("t0003", TrialState.TERMINATED)
    report(scheduler, 4, 40.0, 2 * INTERVAL)
    assert report(scheduler, 1, 10.0, 2 * INTERVAL).action is Action.CONTINUE


def test_with_fewer_at_a_time_whoever_is_ahead_waits_for_the_others() -> None:
    scheduler = population(running=0)
    first = [take_turn(scheduler, number) for number in (1, 2, 3, 4)]
    assert actions(first) == [Action.PAUSE] * 3 + [Action.CONTINUE]
    assert first[0].reason == "waits at 1,000 env steps for the others"
    # It goes on, is compared, and does not wait again before the next exchange.
    scheduler.on_rest("t0004")
    scheduler.on_start("t0002")
    assert report(scheduler, 2, 20.0, INTERVAL + 200).action is Action.CONTINUE
    assert report(scheduler, 2, 20.0, 2 * INTERVAL).action is Action.PAUSE


def take_turn(scheduler: PBTScheduler, number: int, env_steps: int = INTERVAL) -> Decision:
    """Begin, report, and make room again unless the trial goes on."""
    trial_id = f"t{number:04d}"
    scheduler.on_start(trial_id)
    decision = report(scheduler, number, 10.0 * number, env_steps)
    if decision.action is not Action.CONTINUE:
        scheduler.on_rest(trial_id)
    return decision


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 8])
def test_however_few_workers_there_are_nobody_ends_before_all_have_been_compared(
    workers: int,
) -> None:
    """Those that wait are taken up once all others have had a worker, as by the queue."""
    scheduler, end = population(8, running=0), 3 * INTERVAL
    at = dict.fromkeys(range(1, 9), 0)
    waiting, running, copies = list(at), list[int](), 0
    while waiting or running:
        while waiting and len(running) < workers:
            running.append(waiting.pop(0))
            scheduler.on_start(f"t{running[-1]:04d}")
        number = running.pop(0)
        at[number] += INTERVAL // 2
        trial_id = f"t{number:04d}"
        if at[number] == end:
            assert min(at.values()) >= INTERVAL, "else it trained to its end alone"
            scheduler.on_final_report(Report(trial_id, end, 10.0 * number, PARAMETERS))
            scheduler.on_end(trial_id, TrialState.TERMINATED)
            continue
        decision = report(scheduler, number, 10.0 * number, at[number])
        if decision.action is Action.CONTINUE:
            running.append(number)
            continue
        assert workers < 8 or decision.action is Action.COPY, "nobody waits if all can run"
        copies += decision.action is Action.COPY
        at[number] = decision.donor_env_steps or at[number]
        scheduler.on_rest(trial_id)
        waiting.append(number)
    assert copies


def test_a_trial_that_is_tried_again_is_waited_for_and_a_failed_one_is_not() -> None:
    scheduler = population()
    scheduler.on_rest("t0002")
    assert report(scheduler, 1, 10.0).action is Action.PAUSE
    scheduler.on_start("t0002")
    assert report(scheduler, 3, 30.0).action is Action.CONTINUE
    scheduler.on_rest("t0002")
    scheduler.on_end("t0002", TrialState.ERROR)
    assert report(scheduler, 4, 40.0).action is Action.CONTINUE


def test_with_all_at_a_time_nobody_waits() -> None:
    assert report(population(), 1, 10.0).action is Action.CONTINUE
    assert report(population(running=3), 1, 10.0).action is Action.PAUSE


Events = list[tuple[int, int, float | None]]


@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.integers(200, 1500), st.none() | st.floats(-1e3, 1e3)),
        max_size=60,
    ),
    st.integers(0, 60),
    st.sets(st.integers(1, 6)),
)
def test_a_replay_decides_the_same_and_goes_on_the_same(
    events: Events, killed_at: int, lost: set[int]
) -> None:
    """A second scheduler is told what the first one was told, as `resume` does."""
    told: list[tuple[str, tuple[Any, ...]]] = []
    one = population(6, running=0)
    running = set[str]()
    state = {number: (0, dict(PARAMETERS)) for number in range(1, 7)}

    def is_whole(trial_id: str, env_steps: int) -> bool:
        return int(trial_id[1:]) not in lost or env_steps % 2 == 0

    def recalled(decision: Decision) -> Callable[[str, int], bool]:
        copied = (decision.donor, decision.donor_env_steps)
        return lambda trial_id, env_steps: (trial_id, env_steps) == copied

    def tell(scheduler: PBTScheduler, name: str, *arguments: Any) -> None:
        getattr(scheduler, name)(*arguments)
        told.append((name, arguments))

    def play(scheduler: PBTScheduler, events: Events) -> list[Decision]:
        decided = []
        for number, steps, value in events:
            trial_id, (at, parameters) = f"t{number:04d}", state[number]
            if trial_id not in running:
                running.add(trial_id)
                tell(scheduler, "on_start", trial_id)
            given = Report(trial_id, at + steps, value, parameters, is_copyable=is_whole)
            decision = scheduler.on_report(given)
            told.append(("on_report", (replace(given, is_copyable=recalled(decision)),)))
            decided.append(decision)
            if decision.action in (Action.COPY, Action.PAUSE):
                running.discard(trial_id)
                tell(scheduler, "on_rest", trial_id)
            if decision.action is Action.COPY:
                assert decision.donor != trial_id
                state[number] = (decision.donor_env_steps or 0, dict(decision.parameters or {}))
                continue
            state[number] = (at + steps, parameters)
            if at // INTERVAL < (at + steps) // INTERVAL:
                tell(scheduler, "on_checkpoint", trial_id, at + steps)
        return decided

    first = play(one, events[:killed_at])
    before, kept, working = dict(state), list(told), set(running)
    uninterrupted = play(one, events[killed_at:])
    other = population(6, running=0)
    again = [getattr(other, name)(*arguments) for name, arguments in kept]
    assert [one for one in again if one is not None] == first
    state.update(before)
    running.clear()
    running.update(working)
    assert play(other, events[killed_at:]) == uninterrupted
