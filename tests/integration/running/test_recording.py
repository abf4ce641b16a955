"""What the recorder writes where Ray or the journal's disk fails; without a session of Ray."""

from __future__ import annotations

import os
import resource
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune
from ray.train._internal.storage import StorageContext

from sweeper.environments.settings import EnvironmentSettings
from sweeper.journal import (
    Journal,
    JournalError,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    read_journal,
)
from sweeper.metrics import Objective
from sweeper.paths import RunPaths
from sweeper.results.builder import ResultsBuilder, load_results
from sweeper.results.divergence import DivergenceCorrection
from sweeper.running.drain import Drain
from sweeper.running.failures import Retries
from sweeper.running.limits import Limits
from sweeper.running.tune.callbacks import JournalCallback
from sweeper.running.tune.placement import Placement
from sweeper.running.tune.queue import TrialQueue
from sweeper.running.tune.relay import StageRelay, Stages, StageTrials
from sweeper.schedulers.base import Action, Decision
from sweeper.schedulers.fifo import FIFOScheduler
from sweeper.search.enumeration import Enumeration
from sweeper.spec.sections import Budget
from sweeper.states import TrialState
from sweeper.trainables.contract import TrialSettings

MET = "num_env_steps_sampled_lifetime >= 200"


@dataclass
class Trial:
    """What the recorder reads of one of Tune's."""

    trial_id: str = "t0001"
    last_result: dict[str, Any] = field(default_factory=dict)
    error_file: Path | None = None
    temporary_state: Any = field(default_factory=lambda: SimpleNamespace(ray_actor=None))


@dataclass
class Launch:
    """A recorder with a real journal, told what Tune would tell it."""

    root: Path
    trial: Trial = field(default_factory=Trial)
    decisions: dict[str, Decision] = field(default_factory=dict)
    retries: int = 1

    def __post_init__(self) -> None:
        self.paths = RunPaths(self.root)
        results = ResultsBuilder(self.root)
        self.journal = Journal(self.paths.journal, [results.apply])
        self.journal.append(LaunchStarted(1.0, 1, 1, ("sweeper",)))
        self.journal.append(TrialAsked(1.0, self.trial.trial_id, {}, {}, (0,)))
        self.drain = drain = Drain()
        stages = Stages(self._make_stages(), self.journal)
        stage = stages.take()
        assert stage is not None
        self.recorder = JournalCallback(
            self.journal,
            self.paths,
            results=results,
            relay=StageRelay(stage, stages, drain),
            retries=Retries(self.retries),
            drain=drain,
            objective=Objective("episode_return_mean"),
            correction=DivergenceCorrection(Objective()),
            decisions=self.decisions,
        )
        self.recorder.on_trial_start(self.trial)

    def _make_stages(self) -> Generator[StageTrials, None, str]:
        objective = Objective()
        settings = TrialSettings("PPO", "torch", EnvironmentSettings("CartPole-v1"), {}, (0,))
        queue = TrialQueue(
            Enumeration({}, num_samples=1, seed=0, objective=objective),
            trials=1,
            on_ask=lambda *_: None,
            max_concurrent=1,
            checkpoints=StorageContext(str(self.root), experiment_dir_name="trials"),
            drain=self.drain,
        )
        results = ResultsBuilder(self.root)
        yield StageTrials(
            settings,
            queue,
            placement=Placement("127.0.0.1"),
            scheduler=FIFOScheduler(objective),
            limits=Limits(self.paths, results, objective, Budget(), None, self.drain),
        )
        return "finished"

    def fail(self, text: str) -> None:
        self.trial.error_file = self.root / "error.txt"
        self.trial.error_file.write_text(text)
        self.recorder.on_trial_error(self.trial)

    def report(self, iteration: int, stopped_by: str | None = None) -> None:
        row = {"training_iteration": iteration, "num_env_steps_sampled_lifetime": 100 * iteration}
        self.recorder.on_trial_result(self.trial, {**row, "stopped_by": stopped_by})
        self.trial.last_result = row

    def save(self, number: int) -> None:
        folder = self.paths.trial("t0001") / f"checkpoint_{number:06d}"
        (folder / "replica_0").mkdir(parents=True)
        (folder / "replica_0" / "state").touch()
        self.announce(folder)

    def announce(self, folder: Path) -> None:
        self.recorder.on_checkpoint(self.trial, tune.Checkpoint(str(folder)))

    def ends(self) -> list[tuple[str, str]]:
        events = read_journal(self.paths.journal)
        return [(event.state, event.reason) for event in events if isinstance(event, TrialEnded)]


def test_a_trial_that_had_met_its_criterion_is_over_only_with_its_last_checkpoint(
    tmp_path: Path,
) -> None:
    unsaved = Launch(tmp_path)
    unsaved.report(1)
    unsaved.save(0)
    unsaved.report(2, MET)
    unsaved.recorder.on_experiment_end()  # Ray died meanwhile
    assert unsaved.ends() == [("PAUSED", "interrupted")]
    (tmp_path / "other").mkdir()
    saved = Launch(tmp_path / "other")
    saved.report(2, MET)
    saved.save(0)
    saved.recorder.on_experiment_end()
    assert saved.ends() == [("TERMINATED", MET)]


def test_a_trial_that_the_scheduler_stopped_is_pruned_whatever_happens_after_its_report(
    tmp_path: Path,
) -> None:
    launch = Launch(tmp_path)
    launch.report(1)
    launch.decisions["t0001"] = Decision(Action.STOP, "1 < 2, the cut-off of rung 1", rung=1)
    launch.report(2)
    reports = [
        event for event in read_journal(launch.paths.journal) if event.kind[6:] == "reported"
    ]
    assert [event.decision for event in reports] == [
        None,
        {"action": "stop", "reason": "1 < 2, the cut-off of rung 1", "rung": 1},
    ]
    launch.recorder.on_experiment_end()  # Ray died meanwhile
    assert launch.ends() == [("PRUNED", "1 < 2, the cut-off of rung 1")]


@pytest.mark.parametrize(
    "text",
    [
        "ray.exceptions.ActorDiedError: The actor is dead because its worker process has died.",
        "sweeper.trainables.trial.TrialFailedError: OSError: [Errno 28] No space left on device",
        "sweeper.trainables.trial.TrialFailedError: RuntimeError: it can't be pickled",
    ],
)
@pytest.mark.parametrize("retries", [0, 1])
def test_a_pruned_trial_stays_pruned_if_it_fails_while_it_is_saved(
    tmp_path: Path, text: str, retries: int
) -> None:
    launch = Launch(tmp_path, retries=retries)
    launch.decisions["t0001"] = Decision(Action.STOP, "1 < 2, the cut-off of rung 1", rung=1)
    launch.report(1)
    launch.fail(text)
    launch.recorder.on_experiment_end()
    assert launch.ends() == [("PRUNED", "1 < 2, the cut-off of rung 1")]
    assert launch.drain.running == set()
    (record,) = load_results(launch.paths).trials
    assert (record.state, record.retries) == (TrialState.PRUNED, 0)


def test_the_report_that_met_a_criterion_has_no_decision_of_an_earlier_one(tmp_path: Path) -> None:
    launch = Launch(tmp_path)
    launch.decisions["t0001"] = Decision(Action.CONTINUE, "passed rung 1", rung=1)
    launch.report(1)
    launch.report(2, MET)
    launch.save(0)
    launch.recorder.on_trial_complete(launch.trial)
    reports = [
        event for event in read_journal(launch.paths.journal) if event.kind[6:] == "reported"
    ]
    assert [event.decision is None for event in reports] == [False, True]
    assert launch.ends() == [("TERMINATED", MET)]


def test_a_trial_whose_checkpoint_could_not_be_recorded_does_not_end_as_if_it_had_been(
    tmp_path: Path,
) -> None:
    launch = Launch(tmp_path)
    launch.report(2, MET)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    full = (launch.paths.journal.stat().st_size + 20, before[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, full)
    try:
        with pytest.raises(JournalError, match="can't write the journal"):
            launch.save(0)  # which Tune only logs
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with pytest.raises(JournalError, match="can't write the journal"):
        launch.recorder.on_trial_complete(launch.trial)
    events = list(read_journal(launch.paths.journal))
    assert not any(isinstance(event, TrialCheckpointed | TrialEnded) for event in events)


def test_a_checkpoint_is_on_the_disk_before_the_journal_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = Launch(tmp_path)
    launch.report(1)
    synced: list[str] = []
    sync = os.fsync

    def watch(descriptor: int) -> None:
        assert b"trial_checkpointed" not in launch.paths.journal.read_bytes()
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path)))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    launch.save(0)
    assert b"trial_checkpointed" in launch.paths.journal.read_bytes()
    place = "trials/t0001/checkpoint_000000"
    files = {f"{place}/seal.json", f"{place}/replica_0", f"{place}/replica_0/state"}
    assert {*files, place, "trials/t0001", "trials"} <= set(synced)


def test_a_checkpoint_that_is_not_on_the_disk_is_not_announced(tmp_path: Path) -> None:
    launch = Launch(tmp_path)
    launch.report(2, MET)
    with pytest.raises(JournalError, match=r"can't write the checkpoint .*No such file"):
        launch.announce(launch.paths.trial("t0001") / "checkpoint_000000")
    with pytest.raises(JournalError, match="can't write the checkpoint"):
        launch.recorder.on_trial_complete(launch.trial)
    assert b"trial_checkpointed" not in launch.paths.journal.read_bytes()
    assert launch.ends() == []


def test_a_trial_that_fails_while_the_launch_ends_keeps_its_error(tmp_path: Path) -> None:
    launch = Launch(tmp_path)
    launch.report(1)
    launch.drain.request("budget.time_s")
    launch.fail("sweeper.trainables.trial.TrialFailedError: OSError: the simulator went away")
    (end,) = (one for one in read_journal(launch.paths.journal) if isinstance(one, TrialEnded))
    assert (end.state, end.reason) == ("PAUSED", "budget.time_s")
    assert end.error == "OSError: the simulator went away"


DEAD = "ray.exceptions.ActorDiedError: The actor is dead because its worker process has died."


def test_a_worker_that_died_while_it_rested_costs_the_next_trial_no_retry(tmp_path: Path) -> None:
    launch = Launch(tmp_path, retries=0)
    launch.drain.running.clear()  # the trial was handed out, and could not start
    launch.fail(DEAD)
    assert launch.ends() == []
    launch.fail(DEAD)  # no more can have died than may run at a time, which is one here
    assert launch.ends() == [("ERROR", "the worker died")]


@pytest.mark.parametrize("is_new", [False, True])
def test_a_worker_that_dies_while_it_trains_or_starts_costs_a_retry(
    tmp_path: Path, is_new: bool
) -> None:
    launch = Launch(tmp_path, retries=0)
    if is_new:
        launch.drain.running.clear()
    text = "The actor died because of an error raised in its creation task" if is_new else DEAD
    launch.fail(text)
    assert launch.ends() == [("ERROR", "the worker died")]
