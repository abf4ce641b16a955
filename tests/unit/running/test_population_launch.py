"""A trial that takes over another's checkpoint: results, resumption, retention, budgets, replay."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sweeper.checkpoint_marker import find_damage, mark_complete
from sweeper.journal import (
    Event,
    Journal,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
    read_journal,
)
from sweeper.metrics import Objective
from sweeper.paths import CheckpointPaths, RunPaths
from sweeper.results.builder import ResultsBuilder
from sweeper.results.frames import history_frame, lineage_frame
from sweeper.results.lineage import lineage_rows, trace_ancestry, values_over_time
from sweeper.results.records import TrialRecord
from sweeper.running.learners import Learners
from sweeper.running.limits import Usage
from sweeper.running.resume.remaining import describe_missing
from sweeper.running.resume.state import Continuation, continue_trial, is_resumable
from sweeper.running.retention import CheckpointRetention
from sweeper.schedulers.base import CONTINUE, Decision, Report, Scheduler
from sweeper.search.base import SearchAlgorithm
from sweeper.search.expansion import Sample
from sweeper.states import TrialState

OBJECTIVE = Objective("episode_return_mean")


class Population:
    """A run whose events are told by hand; checkpoints are really there."""

    def __init__(self, root: Path) -> None:
        self.paths = RunPaths(root)
        self.events: list[Event] = []
        self.builder = ResultsBuilder(root)
        self.retention = CheckpointRetention(
            self.paths, self.builder, OBJECTIVE, keep=1, keep_trials=20, keep_trainer=False
        )
        self.usage = Usage(OBJECTIVE)
        self.now = 0.0
        self.saved: dict[str, int] = {}
        self.tell(LaunchStarted(0.0, 1, 1, ()))

    def tell(self, event: Event) -> None:
        self.events.append(event)
        self.builder.apply(event)
        self.retention(event)
        if isinstance(event, TrialReported):
            self.usage.count_report(event.trial_id, event.metrics)
            self.usage.count_exchanges(self.builder.trial(event.trial_id))

    def begin(self, trial_id: str, lr: float) -> None:
        self.tell(TrialAsked(self.tick(), trial_id, {"gamma": 0.9, "lr": lr}, {"lr": lr}, (0, 1)))
        self.start(trial_id)

    def start(self, trial_id: str) -> None:
        self.tell(TrialStarted(self.tick(), trial_id, ""))

    def report(
        self, trial_id: str, iteration: int, value: float, *, steps: int = 100, **more: Any
    ) -> None:
        env_steps = steps * iteration
        row = {
            "training_iteration": iteration,
            "num_env_steps_sampled_lifetime": env_steps,
            "replica/num_env_steps_sampled_lifetime": [env_steps, env_steps],
            "episode_return_mean": value,
        }
        self.tell(TrialReported(self.tick(), trial_id, row, **more))

    def copy(self, trial_id: str, iteration: int, value: float, donor: str, at: int) -> None:
        """Report, and take over the donor's checkpoint at so many env steps, with another lr."""
        lr = self.builder.trial(donor).parameters["lr"] * 4
        decision = {
            "action": "copy",
            "reason": "ranks last",
            "rung": 1,
            "donor": donor,
            "parameters": {"lr": lr},
            "donor_env_steps": at,
            "scores": [value, 10.0],
        }
        self.report(trial_id, iteration, value, decision=decision)

    def save(self, trial_id: str, iteration: int) -> str:
        index = self.saved[trial_id] = self.saved.get(trial_id, -1) + 1
        path = f"trials/{trial_id}/checkpoint_{index:06d}"
        folder = self.paths.root / path
        folder.mkdir(parents=True)
        for name in ("agent.json", *CheckpointPaths.TRAINER_FILES):
            (folder / name).write_text("{}")
        mark_complete(folder)
        metrics = {
            "training_iteration": iteration,
            "num_env_steps_sampled_lifetime": 100 * iteration,
        }
        self.tell(TrialCheckpointed(self.tick(), trial_id, path, metrics))
        return path

    def tick(self) -> float:
        self.now += 1.0
        return self.now

    def trial(self, trial_id: str) -> TrialRecord:
        return self.builder.trial(trial_id)

    def next(self, trial_id: str) -> Continuation:
        return continue_trial(self.trial(trial_id), self.paths)

    def has(self, path: str) -> bool:
        return CheckpointPaths(self.paths.root / path).has_trainer


@pytest.fixture
def run(tmp_path: Path) -> Population:
    return Population(tmp_path)


@pytest.fixture
def copied(run: Population) -> Population:
    """t0002 has reached iteration 3, and copies t0001's checkpoint of iteration 2."""
    for trial_id, lr in (("t0001", 0.1), ("t0002", 0.2)):
        run.begin(trial_id, lr)
        run.report(trial_id, 1, 1.0)
        run.save(trial_id, 1)
    run.report("t0001", 2, 10.0)
    run.save("t0001", 2)
    run.report("t0002", 2, 2.0)
    run.copy("t0002", 3, 3.0, "t0001", 200)
    return run


def test_a_copy_has_the_new_values_and_waits_to_go_on(copied: Population) -> None:
    record = copied.trial("t0002")
    assert record.parameters == {"lr": 0.4}
    assert record.configuration == {"gamma": 0.9, "lr": 0.4}
    assert record.state is TrialState.PENDING
    (exchange,) = record.exchanges
    assert (exchange.donor, exchange.donor_env_steps, exchange.env_steps) == ("t0001", 200, 300)
    assert (exchange.score, exchange.donor_score) == (3.0, 10.0)
    assert (exchange.replaced, exchange.copied) == ({"lr": 0.2}, {"lr": 0.1})


def test_a_search_that_is_rebuilt_knows_what_it_chose(copied: Population) -> None:
    assert copied.builder.snapshot().searched == ({"lr": 0.1}, {"lr": 0.2})


def test_it_goes_on_from_the_donors_checkpoint(copied: Population) -> None:
    again = copied.next("t0002")
    assert again.checkpoint == copied.paths.root / "trials/t0001/checkpoint_000001"
    assert (again.donor, again.missing) == ("t0001", None)
    assert again.metrics["training_iteration"] == 2
    assert again.last_report["episode_return_mean"] == 10.0
    assert again.last_checkpoint == 0  # so that its next one is 1
    assert again.parameters == {"lr": 0.4}


def test_without_the_donors_checkpoint_it_goes_on_from_its_own(copied: Population) -> None:
    shutil.rmtree(copied.paths.root / "trials/t0001/checkpoint_000001")
    again = copied.next("t0002")
    assert again.checkpoint == copied.paths.root / "trials/t0002/checkpoint_000000"
    assert (again.donor, again.missing) == (None, "t0001's checkpoint")


def test_a_donors_damaged_checkpoint_is_not_taken_and_stays_where_it_is(copied: Population) -> None:
    folder = copied.paths.root / "trials/t0001/checkpoint_000001"
    (folder / "trainer.safetensors").write_text("[]")  # of the same size
    again = copied.next("t0002")
    assert again.checkpoint == copied.paths.root / "trials/t0002/checkpoint_000000"
    assert again.donor is None
    assert describe_missing(again) == (
        "t0001's checkpoint is damaged (the contents of trainer.safetensors have changed)"
    )
    assert folder.is_dir()
    origin = copied.trial("t0002").origin
    assert origin is not None
    assert origin.checkpoint is not None
    assert not is_resumable(copied.paths, origin.checkpoint)


def test_after_a_checkpoint_of_its_own_it_goes_on_from_there(copied: Population) -> None:
    copied.start("t0002")
    copied.report("t0002", 3, 12.0)
    path = copied.save("t0002", 3)
    assert copied.next("t0002").checkpoint == copied.paths.root / path


def test_its_curve_goes_on_from_the_donors_env_steps(copied: Population) -> None:
    copied.start("t0002")
    copied.report("t0002", 3, 12.0)
    steps = [row["num_env_steps_sampled_lifetime"] for row in copied.trial("t0002").reports]
    values = [row["episode_return_mean"] for row in copied.trial("t0002").reports]
    assert (steps, values) == ([100, 200, 300], [1.0, 2.0, 12.0])


def test_another_rhythm_of_iterations_replaces_no_earlier_report(run: Population) -> None:
    """The donor's iterations are of 200 env steps, the copy's were of 100."""
    for trial_id, steps in (("t0001", 200), ("t0002", 100)):
        run.begin(trial_id, 0.1)
        for iteration in range(1, 400 // steps + 1):
            run.report(trial_id, iteration, 1.0, steps=steps)
    run.tell(
        TrialCheckpointed(
            run.tick(),
            "t0001",
            "trials/t0001/checkpoint_000000",
            {"training_iteration": 2, "num_env_steps_sampled_lifetime": 400},
        )
    )
    run.copy("t0002", 4, 0.0, "t0001", 400)
    run.report("t0002", 3, 2.0, steps=200)
    rows = run.trial("t0002").reports
    steps = [row["num_env_steps_sampled_lifetime"] for row in rows]
    assert steps == [100, 200, 300, 400, 600]


def test_a_rollback_after_the_exchange_replaces_what_came_after_it(copied: Population) -> None:
    copied.start("t0002")
    copied.report("t0002", 3, 12.0)
    copied.report("t0002", 4, 13.0)
    copied.start("t0002")  # after a kill
    copied.report("t0002", 3, 14.0)
    values = [row["episode_return_mean"] for row in copied.trial("t0002").reports]
    assert values == [1.0, 2.0, 14.0]


def test_a_lost_checkpoint_of_the_donor_takes_the_copy_back_behind_the_exchange(
    copied: Population,
) -> None:
    copied.start("t0002")
    copied.report("t0002", 2, 5.0)
    values = [row["episode_return_mean"] for row in copied.trial("t0002").reports]
    assert values == [1.0, 5.0]


def test_the_donors_checkpoint_stays_until_the_copy_has_its_own(copied: Population) -> None:
    taken = "trials/t0001/checkpoint_000001"
    copied.report("t0001", 3, 11.0)
    copied.save("t0001", 3)
    assert copied.has(taken)
    copied.start("t0002")
    copied.report("t0002", 3, 12.0)
    copied.save("t0002", 3)
    assert not copied.has(taken)
    assert copied.has("trials/t0001/checkpoint_000002")


def test_it_stays_whole_even_if_the_donor_ends(copied: Population) -> None:
    taken = "trials/t0001/checkpoint_000001"
    copied.tell(TrialEnded(copied.tick(), "t0001", TrialState.TERMINATED, "done"))
    assert copied.has(taken)
    copied.start("t0002")
    copied.report("t0002", 3, 12.0)
    copied.save("t0002", 3)
    assert not copied.has(taken)
    assert (copied.paths.root / taken / "agent.json").is_file()
    assert find_damage(copied.paths.root / taken) is None


def test_a_later_launch_keeps_it_too(copied: Population) -> None:
    again = CheckpointRetention(copied.paths, copied.builder, OBJECTIVE, keep=1, keep_trials=20)
    again.catch_up()
    copied.retention = again
    copied.report("t0001", 3, 11.0)
    copied.save("t0001", 3)
    assert copied.has("trials/t0001/checkpoint_000001")


def test_every_env_step_that_was_trained_counts_once(copied: Population) -> None:
    before = 2 * (200 + 300)
    assert copied.usage.env_steps == before
    assert Usage.of(copied.builder.snapshot(), OBJECTIVE).env_steps == before
    copied.start("t0002")
    copied.report("t0002", 3, 12.0)
    assert copied.usage.env_steps == before + 2 * 100
    assert Usage.of(copied.builder.snapshot(), OBJECTIVE).env_steps == before + 2 * 100


def test_a_waiting_trial_is_paused_and_goes_behind_the_others(run: Population) -> None:
    run.begin("t0001", 0.1)
    decision = {"action": "pause", "reason": "waits at 100 env steps for the others", "rung": 1}
    run.report("t0001", 1, 1.0, decision=decision)
    run.save("t0001", 1)
    record = run.trial("t0001")
    assert record.state is TrialState.PAUSED
    assert record.reason == "waits at 100 env steps for the others"
    assert run.next("t0001").waits_since is not None
    run.start("t0001")
    assert run.next("t0001").waits_since is None


def test_the_lineage_says_who_copied_whom(copied: Population) -> None:
    results = copied.builder.snapshot()
    (row,) = lineage_rows(results)
    assert row == {
        "env_steps": 300,
        "trial_id": "t0002",
        "score": 3.0,
        "donor": "t0001",
        "donor_env_steps": 200,
        "donor_score": 10.0,
        "changed": {"lr": [0.1, 0.4]},
        "parameters": {"lr": 0.4},
        "time": row["time"],
    }
    assert list(lineage_frame(results)["donor"]) == ["t0001"]


def test_the_history_has_the_values_of_the_time(copied: Population) -> None:
    copied.start("t0002")
    copied.report("t0002", 3, 12.0)
    history = history_frame(copied.builder.snapshot())
    ours = history[history["trial_id"] == "t0002"]
    assert list(ours["lr"]) == [0.2, 0.2, 0.4]


def test_an_ancestry_goes_back_to_the_first_ancestor(copied: Population) -> None:
    """t0001 trains, t0002 copies it, t0003 copies t0002, and t0002 copies another afterwards."""
    copied.start("t0002")
    copied.report("t0002", 3, 12.0)
    copied.save("t0002", 3)
    copied.begin("t0003", 0.7)
    copied.report("t0003", 3, 0.0)
    copied.copy("t0003", 4, 0.0, "t0002", 300)
    copied.report("t0003", 4, 20.0)
    copied.copy("t0002", 4, 1.0, "t0001", 200)
    copied.report("t0002", 3, 1.0)
    segments = trace_ancestry(copied.builder.snapshot(), "t0003")
    assert [(one.env_steps, one.trial_id, one.parameters["lr"]) for one in segments] == [
        (0, "t0001", 0.1),
        (200, "t0002", 0.4),
        (300, "t0003", 1.6),
    ]
    assert values_over_time(segments) == {"lr": [(0, 0.1), (200, 0.4), (300, 1.6)]}


class Listening(Scheduler):
    """Writes down what it is told."""

    def __init__(self, objective: Objective) -> None:
        super().__init__(objective)
        self.heard: list[tuple[Any, ...]] = []

    def on_report(self, report: Report) -> Decision:
        self.heard.append((report.trial_id, report.env_steps, dict(report.parameters)))
        return CONTINUE

    def on_checkpoint(self, trial_id: str, env_steps: int) -> None:
        self.heard.append((trial_id, env_steps))


class Fixed(SearchAlgorithm):
    learns = False

    def ask(self, number: int) -> Sample | None:
        return None


def replay(run: Population, scheduler: Scheduler) -> None:
    """Tell a scheduler what a later launch's is told."""
    journal = Journal(run.paths.journal)
    for event in run.events:
        journal.append(event)
    journal.close()
    builder = ResultsBuilder(run.paths.root)
    for event in read_journal(run.paths.journal):
        builder.apply(event)
    Learners(Fixed(), scheduler, OBJECTIVE, builder).replay(run.paths)


def test_a_replay_hears_of_checkpoints_and_of_the_values_of_the_time(copied: Population) -> None:
    copied.start("t0002")
    copied.report("t0002", 3, 12.0)
    scheduler = Listening(OBJECTIVE)
    replay(copied, scheduler)
    assert [one for one in scheduler.heard if one[0] == "t0002"] == [
        ("t0002", 100, {"lr": 0.2}),
        ("t0002", 100),
        ("t0002", 200, {"lr": 0.2}),
        ("t0002", 300, {"lr": 0.2}),
        ("t0002", 300, {"lr": 0.4}),
    ]


class Minding(Scheduler):
    """Knows which trials have a worker."""

    def __init__(self, objective: Objective) -> None:
        super().__init__(objective)
        self.running: set[str] = set()
        self.heard: list[set[str]] = []

    def on_report(self, report: Report) -> Decision:
        self.heard.append(set(self.running))
        return CONTINUE

    def on_start(self, trial_id: str) -> None:
        self.running.add(trial_id)

    def on_rest(self, trial_id: str) -> None:
        self.running.remove(trial_id)

    def on_end(self, trial_id: str, state: TrialState) -> None:
        self.running.discard(trial_id)


def test_a_scheduler_knows_which_trials_have_a_worker_live_and_in_a_replay(
    run: Population,
) -> None:
    live, replayed = Minding(OBJECTIVE), Minding(OBJECTIVE)
    learners = Learners(Fixed(), live, OBJECTIVE, run.builder)
    names = [f"t{number:04d}" for number in range(1, 6)]
    told = 0

    def report(trial_id: str, iteration: int, **more: Any) -> None:
        """Report, after the scheduler of the launch has decided on it."""
        nonlocal told
        for event in run.events[told:]:
            learners(event)
        live.on_report(Report(trial_id, 100 * iteration, 1.0))
        told = len(run.events)
        run.report(trial_id, iteration, 1.0, **more)

    for name in names:
        run.begin(name, 0.1)
    report("t0001", 1, decision={"action": "pause", "reason": "waits", "rung": 1})
    run.save("t0005", 1)
    report("t0005", 1)
    copied = {"action": "copy", "donor": "t0005", "donor_env_steps": 100, "parameters": {}}
    report("t0002", 1, decision=copied)
    report("t0005", 2)
    run.tell(TrialRetried(run.tick(), "t0003", "crashed"))
    run.start("t0001")
    report("t0005", 3)
    run.tell(TrialEnded(run.tick(), "t0004", TrialState.TERMINATED, "done"))
    report("t0005", 4)
    assert live.heard == [
        set(names),
        set(names[1:]),
        set(names[1:]),
        set(names[2:]),
        {"t0001", "t0004", "t0005"},
        {"t0001", "t0005"},
    ]
    run.tell(LaunchStarted(run.tick(), 2, 1, ()))
    replay(run, replayed)
    assert replayed.heard == live.heard
    assert replayed.running == set(), "a new launch has no workers yet"


class Asking(Listening):
    """Asks at each report for checkpoints."""

    def on_report(self, report: Report) -> Decision:
        whole = [steps for steps in (100, 200) if report.is_copyable("t0001", steps)]
        self.heard.append((report.trial_id, report.env_steps, whole))
        assert not report.is_copyable("t0002", 200)
        return CONTINUE


def test_a_replay_knows_a_checkpoint_as_whole_if_it_was_copied_whatever_became_of_it(
    copied: Population,
) -> None:
    decision = {"action": "continue", "reason": "no checkpoint is whole any more", "rung": 1}
    copied.report("t0001", 3, 9.0, decision=decision)
    shutil.rmtree(copied.paths.root / "trials")
    scheduler = Asking(OBJECTIVE)
    replay(copied, scheduler)
    reports = [one for one in scheduler.heard if len(one) == 3]
    assert [(name, steps) for name, steps, whole in reports if whole] == [("t0002", 300)]
    assert [whole for _, steps, whole in reports if steps == 300] == [[200], []]
