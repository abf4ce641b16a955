"""The order in which a queue hands out trials; without a session of Ray."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.train._internal.storage import StorageContext

from sweeper.metrics import Objective
from sweeper.running.drain import Drain
from sweeper.running.failures import Failure, Retries
from sweeper.running.resume.state import Continuation
from sweeper.running.tune import queue as queue_module
from sweeper.running.tune.queue import TrialQueue
from sweeper.schedulers.base import Action, Report
from sweeper.schedulers.pbt import PBTScheduler
from sweeper.search.distributions import parse_space
from sweeper.search.enumeration import Enumeration
from sweeper.states import FailureReason, TrialState

SPACE, _ = parse_space({"lr": {"uniform": [0, 1]}})
INTERVAL = 1000


def make_trial(run: str, *, trial_id: str, **_: Any) -> SimpleNamespace:
    """One of Tune's, as far as the queue fills it in."""
    parts = {"storage": SimpleNamespace(), "run_metadata": SimpleNamespace()}
    return SimpleNamespace(run=run, trial_id=trial_id, **parts)


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialQueue:
    """Four trials, all of which may be handed out at once."""
    monkeypatch.setattr(queue_module, "_PlacedTrial", make_trial)
    made = TrialQueue(
        Enumeration(SPACE, num_samples=4, seed=0, objective=Objective()),
        trials=4,
        on_ask=lambda *_: None,
        max_concurrent=4,
        checkpoints=StorageContext(str(tmp_path), experiment_dir_name="trials"),
        drain=Drain(),
    )
    made._experiment = {"run": "a trainable"}
    return made


def take(queue: TrialQueue) -> list[str]:
    """The ids of all that is handed out now."""
    return [trial.trial_id for trial in iter(queue.next_trial, None)]


def put_back(
    queue: TrialQueue, trial_id: str, *, waits_since: float | None, alone: bool = False
) -> None:
    queue.drain.running.discard(trial_id)
    queue.note_end(trial_id)
    queue.put_back(Continuation(trial_id, {}, waits_since=waits_since), alone=alone)


def test_a_trial_that_lets_others_go_first_waits_until_all_of_them_have_a_worker(
    queue: TrialQueue,
) -> None:
    """Ray has room for two of the four; Tune would give the free worker to whoever comes last."""
    running = queue.drain.running
    assert take(queue) == ["t0001", "t0002", "t0003", "t0004"]
    running.update(["t0001", "t0002"])
    put_back(queue, "t0001", waits_since=1.0)
    assert take(queue) == []
    running.add("t0003")
    put_back(queue, "t0002", waits_since=2.0)
    assert take(queue) == []
    running.add("t0004")
    assert take(queue) == ["t0001", "t0002"]
    put_back(queue, "t0003", waits_since=3.0)
    running.add("t0001")
    assert take(queue) == [], "it is the second one's turn"
    assert not queue.is_finished
    running.add("t0002")
    assert take(queue) == ["t0003"]


def test_those_that_wait_together_are_handed_out_together(queue: TrialQueue) -> None:
    """So after a resume their workers start side by side."""
    queue.asked = 4
    for number in range(1, 5):
        queue.put_back(Continuation(f"t{number:04d}", {}, waits_since=float(number)))
    assert take(queue) == ["t0001", "t0002", "t0003", "t0004"]


def test_a_trial_that_failed_does_not_wait_for_others(queue: TrialQueue) -> None:
    assert take(queue) == ["t0001", "t0002", "t0003", "t0004"]
    queue.drain.running.add("t0001")
    put_back(queue, "t0001", waits_since=None)
    assert take(queue) == ["t0001"]


@pytest.mark.parametrize("waits_since", [None, 1.0])
def test_a_trial_that_ran_out_of_memory_runs_as_soon_as_no_other_does(
    queue: TrialQueue, waits_since: float | None
) -> None:
    """Even one that had let others go first, and had no worker again when it failed."""
    names = take(queue)
    put_back(queue, names[0], waits_since=waits_since, alone=True)
    put_back(queue, names[1], waits_since=2.0)
    assert take(queue) == []
    for name in names[2:]:
        queue.note_end(name)
    assert take(queue) == [names[0]]
    queue.note_end(names[0])
    assert take(queue) == [names[1]]


def take_second_alone(queue: TrialQueue) -> list[str]:
    """Have the second of four trials run alone, while the others wait for it."""
    names = take(queue)
    put_back(queue, names[1], waits_since=None, alone=True)
    for name in (names[0], names[2], names[3]):
        put_back(queue, name, waits_since=1.0)
    assert take(queue) == [names[1]]
    return names


def test_a_trial_that_ran_alone_does_so_again_once_the_others_have_had_their_turn(
    queue: TrialQueue,
) -> None:
    """They had waited for it, and it waits for them: whoever goes on, it must not be all."""
    names = take_second_alone(queue)
    put_back(queue, names[1], waits_since=2.0)
    others = take(queue)
    assert others == [names[0], names[2], names[3]]
    queue.drain.running.update(others)
    put_back(queue, others[0], waits_since=3.0)
    assert take(queue) == [], "it would go on by turns with the other two for ever"
    put_back(queue, others[1], waits_since=4.0)
    queue.note_end(others[2])
    assert take(queue) == [names[1]]
    assert queue.has_lone_trial
    put_back(queue, names[1], waits_since=5.0)
    assert take(queue) == others[:2]
    for name in others[:2]:
        queue.note_end(name)
    assert take(queue) == [names[1]]


def test_a_trial_that_ran_alone_and_is_tried_again_for_another_reason_runs_alone(
    queue: TrialQueue,
) -> None:
    names = take_second_alone(queue)
    put_back(queue, names[1], waits_since=None)
    assert take(queue) == [names[1]]
    queue.note_end(names[1])
    assert take(queue) == [names[0], names[2], names[3]]


def test_others_begin_before_a_trial_that_ran_alone_and_waits_for_them(queue: TrialQueue) -> None:
    queue.max_concurrent = 2
    assert take(queue) == ["t0001", "t0002"]
    put_back(queue, "t0002", waits_since=None, alone=True)
    assert take(queue) == []
    put_back(queue, "t0001", waits_since=1.0)
    assert take(queue) == ["t0002"]
    put_back(queue, "t0002", waits_since=2.0)
    assert take(queue) == ["t0003", "t0004"]
    queue.drain.running.update(["t0003", "t0004"])
    put_back(queue, "t0003", waits_since=3.0)
    assert take(queue) == ["t0001"], "which has waited longer"
    put_back(queue, "t0004", waits_since=4.0)
    assert take(queue) == []
    put_back(queue, "t0001", waits_since=5.0)
    assert take(queue) == ["t0002"]


def test_one_more_waits_than_a_cluster_has_room_for_as_that_comes_and_goes(
    queue: TrialQueue,
) -> None:
    free = 1
    queue.find_room = lambda: free
    assert take(queue) == ["t0001", "t0002"]
    free = 0
    queue.drain.running.add("t0001")
    assert take(queue) == []  # t0002 waits
    queue.drain.running.add("t0002")  # a node has joined, and others have filled the rest of it
    assert take(queue) == ["t0003"]
    assert queue.next_trial() is None
    queue.drain.running.discard("t0001")
    queue.note_end("t0001")
    assert queue.next_trial() is None
    assert queue.next_trial(resting=1).trial_id == "t0004"  # for which t0001's worker rests


@pytest.mark.parametrize("big_score", [0.0, 2.5, 9.0], ids=["worst", "middle", "best"])
@pytest.mark.parametrize("max_concurrent", [2, 3, 4])
def test_a_population_one_of_which_must_run_alone_comes_to_its_end_together(
    queue: TrialQueue, max_concurrent: int, big_score: float
) -> None:
    """One runs out of memory after the third exchange, as it would whenever another runs."""
    queue.max_concurrent = max_concurrent
    big, end = "t0002", 12 * INTERVAL
    scheduler = PBTScheduler(
        Objective(), seed=0, param_space=SPACE, population=4, perturbation_interval=INTERVAL
    )
    retries, running = Retries(limit=0), list[str]()
    at = {f"t{number:04d}": 0 for number in range(1, 5)}
    is_lone, ended, rungs = False, set[str](), set[int]()
    while not queue.is_over:
        begun = take(queue)
        running += begun
        queue.drain.running.update(begun)
        for trial_id in begun:
            scheduler.on_start(trial_id)
        assert running, "all wait for each other"
        trial_id = running.pop(0)
        at[trial_id] += INTERVAL // 2
        if trial_id == big and at[big] > 3 * INTERVAL and (running or not is_lone):
            at[big] -= INTERVAL // 2
            retry = retries.decide(big, Failure(FailureReason.OUT_OF_MEMORY, "", None))
            assert retry is not None, "it ran beside others again"
            is_lone = retry.alone
            scheduler.on_rest(big)
            put_back(queue, big, waits_since=None, alone=is_lone)
            continue
        score = big_score if trial_id == big else float(trial_id[-1])
        report = Report(trial_id, at[trial_id], score, {"lr": 0.5})
        if at[trial_id] == end:
            scheduler.on_final_report(report)
            scheduler.on_end(trial_id, TrialState.TERMINATED)
            ended.add(trial_id)
            queue.drain.running.discard(trial_id)
            queue.note_end(trial_id)
            continue
        decision = scheduler.on_report(report)
        if trial_id == big and decision.reason.startswith("ranks"):
            rungs.add(decision.rung or 0)
        if decision.action is not Action.COPY:
            scheduler.on_checkpoint(trial_id, at[trial_id])
        if decision.action is Action.CONTINUE:
            running.append(trial_id)
            continue
        at[trial_id] = decision.donor_env_steps or at[trial_id]
        scheduler.on_rest(trial_id)
        put_back(queue, trial_id, waits_since=1.0)
        if not ended:
            assert max(at.values()) - min(at.values()) <= 2 * INTERVAL, "it goes on without some"
    assert ended == set(at)
    assert is_lone
    assert len([rung for rung in rungs if rung > 4]) >= 3, "it is hardly compared any more"
