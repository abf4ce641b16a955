"""The order in which a queue hands out trials; without a session of Ray."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.train._internal.storage import StorageContext

from sweeper.metrics import Objective
from sweeper.running.drain import Drain
from sweeper.running.resume.state import Continuation
from sweeper.running.tune import queue as queue_module
from sweeper.running.tune.queue import TrialQueue
from sweeper.search.distributions import parse_space
from sweeper.search.enumeration import Enumeration

SPACE, _ = parse_space({"lr": {"uniform": [0, 1]}})


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
