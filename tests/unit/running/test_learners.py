"""What a search algorithm and a scheduler learn from a run, replayed or as it goes on."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from sweeper.journal import (
    Event,
    Journal,
    LaunchStarted,
    TrialAsked,
    TrialEnded,
    TrialReported,
    TrialStarted,
)
from sweeper.metrics import Objective
from sweeper.paths import RunPaths
from sweeper.results.builder import ResultsBuilder, load_results
from sweeper.running.background_search import BackgroundSearch
from sweeper.running.learners import Learners, scheduler_report
from sweeper.schedulers.base import CONTINUE, Action, Decision, Report, Scheduler
from sweeper.search.base import Observation, SearchAlgorithm
from sweeper.search.expansion import Sample
from sweeper.states import Stage, TrialState

METRIC = "episode_return_mean"


class Listening(SearchAlgorithm):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Observation] = []

    def ask(self, number: int) -> Sample | None:
        return Sample({"lr": number}, {"lr": number})

    def tell(self, observation: Observation) -> None:
        self.told.append(observation)


class Following(Listening):
    """Wants to be told again in the order in which it was told."""

    follows_order = True


class FirstRung(Scheduler):
    """Stops a trial that is worse at 200 env steps than one before it."""

    def __init__(self, objective: Objective) -> None:
        super().__init__(objective)
        self.heard: list[tuple[str, int, float | None]] = []
        self.final: list[tuple[str, int, float | None]] = []
        self.ended: list[str] = []
        self.reopened: list[str] = []
        self.best = -math.inf

    def on_report(self, report: Report) -> Decision:
        value = report.value
        self.heard.append((report.trial_id, report.env_steps, value))
        if report.env_steps < 200 or value is None:
            return CONTINUE
        is_worse, self.best = value < self.best, max(self.best, value)
        return Decision(Action.STOP, f"{value:g} < {self.best:g}") if is_worse else CONTINUE

    def on_final_report(self, report: Report) -> None:
        self.final.append((report.trial_id, report.env_steps, report.value))

    def on_end(self, trial_id: str, state: TrialState) -> None:
        assert state.is_over
        self.ended.append(trial_id)

    def on_reopen(self, trial_id: str) -> None:
        self.reopened.append(trial_id)


def row(iteration: int, value: float | None) -> dict[str, float]:
    metrics = {"training_iteration": iteration, "num_env_steps_sampled_lifetime": 100 * iteration}
    return metrics if value is None else {**metrics, METRIC: value}


def asked(trial_id: str, stage: Stage = Stage.SEARCH) -> list[Event]:
    return [
        TrialAsked(1.0, trial_id, {"lr": 0.1}, {"lr": 0.1}, (0,), stage),
        TrialStarted(1.0, trial_id, ""),
    ]


EVENTS: list[Event] = [
    *asked("t0001"),
    TrialReported(1.0, "t0001", row(1, None)),
    *asked("t0002"),
    TrialReported(1.0, "t0002", row(1, math.nan)),
    TrialReported(1.0, "t0001", row(2, 5.0)),
    TrialReported(1.0, "t0002", row(2, 3.0)),
    TrialEnded(1.0, "t0002", TrialState.PRUNED, "3 < 5"),
    TrialReported(1.0, "t0001", row(3, 6.0), "training_iteration >= 3"),
    TrialEnded(1.0, "t0001", TrialState.TERMINATED, "training_iteration >= 3"),
    *asked("t0003"),
    TrialEnded(1.0, "t0003", TrialState.ERROR, "crashed", "boom"),
    *asked("t0004", Stage.CONFIRMATION),
    TrialReported(1.0, "t0004", row(1, 9.0)),
    TrialEnded(1.0, "t0004", TrialState.TERMINATED, "done"),
]


@pytest.fixture
def search() -> Listening:
    return Listening()


@pytest.fixture
def scheduler() -> FirstRung:
    return FirstRung(Objective(METRIC))


@pytest.fixture
def learners(search: Listening, scheduler: FirstRung, tmp_path: Path) -> Learners:
    return Learners(search, scheduler, Objective(METRIC), ResultsBuilder(tmp_path))


def record(learners: Learners, root: Path, *, live: bool) -> RunPaths:
    paths = RunPaths(root)
    journal = Journal(paths.journal, [learners.results.apply, *([learners] if live else [])])
    for event in [LaunchStarted(1.0, 1, 1, ("sweeper",)), *EVENTS]:
        journal.append(event)
    journal.close()
    return paths


def test_a_replay_tells_of_every_trial_of_the_search(
    learners: Learners, search: Listening, tmp_path: Path
) -> None:
    learners.replay(record(learners, tmp_path, live=False))
    assert [(one.number, one.state, one.score) for one in search.told] == [
        (1, TrialState.TERMINATED, 6.0),
        (2, TrialState.PRUNED, 3.0),
        (3, TrialState.ERROR, None),
    ]
    assert search.told[0].values == ((200, 5.0), (300, 6.0))
    assert search.told[1].values == ((200, 3.0),), "NaN is never told"


def test_a_replayed_scheduler_decides_as_it_did(
    learners: Learners, scheduler: FirstRung, tmp_path: Path
) -> None:
    learners.replay(record(learners, tmp_path, live=False))
    assert scheduler.heard == [
        ("t0001", 100, None),
        ("t0002", 100, None),
        ("t0001", 200, 5.0),
        ("t0002", 200, 3.0),
    ], "not the report with which a trial met its own criterion, nor another stage's"
    assert scheduler.final == [("t0001", 300, 6.0)]
    assert scheduler.ended == ["t0002", "t0001", "t0003"]
    report = scheduler_report("t0005", row(2, 4.0), {}, learners.objective)
    decision = scheduler.on_report(report)
    assert decision == Decision(Action.STOP, "4 < 5")


def test_a_replay_tells_which_trials_went_on_in_each_launch_and_go_on_now(
    learners: Learners, scheduler: FirstRung, tmp_path: Path
) -> None:
    paths = record(learners, tmp_path, live=False)
    journal = Journal(paths.journal, [learners.results.apply])
    journal.append(LaunchStarted(2.0, 2, 1, ("sweeper",)))
    journal.append(TrialStarted(2.0, "t0002", ""))
    journal.close()
    learners.replay(paths, ["t0001", "t0004"])
    first, later = ["t0001", "t0002", "t0003"], ["t0002"]
    assert scheduler.reopened == [*first, *later, "t0001"], "not of another stage"


def test_a_live_search_is_told_after_each_report_and_end(
    learners: Learners, search: Listening, scheduler: FirstRung, tmp_path: Path
) -> None:
    record(learners, tmp_path, live=True)
    assert [one.number for one in search.told] == [1, 2, 1, 2, 2, 1, 1, 3]
    assert search.told[-1].state is TrialState.ERROR
    assert scheduler.heard == [], "Tune's adapter hands it the reports"
    assert scheduler.final == [("t0001", 300, 6.0)]
    assert scheduler.ended == ["t0002", "t0001", "t0003"]


@pytest.mark.parametrize("in_background", [False, True])
def test_a_search_that_follows_the_order_is_told_again_what_it_was_told(
    tmp_path: Path, in_background: bool
) -> None:
    told = []
    for live in (True, False):
        search = Following()
        told.append(search.told)
        background = BackgroundSearch(search) if in_background else None
        folder = tmp_path / str(live)
        folder.mkdir()
        learners = Learners(
            background or search,
            FirstRung(Objective(METRIC)),
            Objective(METRIC),
            ResultsBuilder(folder),
        )
        paths = record(learners, folder, live=live)
        if not live:
            learners.replay(paths)
        if background is not None:
            background.ask(4)  # after everything that it was told
            background.close()
    assert [one.number for one in told[0]] == [1, 2, 1, 2, 2, 1, 1, 3]
    assert told[0] == told[1]


def test_events_of_earlier_versions_belong_to_the_search(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text(
        '{"event": "launch_started", "time": 1, "launch": 1, "pid": 1, "command": []}\n'
        '{"event": "trial_asked", "time": 1, "trial_id": "t0001", "configuration": {}, '
        '"parameters": {}, "seeds": [0]}\n'
    )
    assert load_results(RunPaths(tmp_path)).trial("t0001").stage is Stage.SEARCH
