from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from sweeper.journal import Event, TrialAsked, TrialEnded, TrialReported, TrialStarted
from sweeper.metrics import Objective
from sweeper.paths import RunPaths
from sweeper.results.builder import ResultsBuilder
from sweeper.running import limits as limits_module
from sweeper.running.drain import Drain
from sweeper.running.limits import Limits
from sweeper.spec.sections import Budget
from sweeper.states import LaunchEnd


class Launch:
    """A launch's limits, fed with events and looked after by hand."""

    def __init__(
        self, root: Path, mode: str = "max", timeout_s: float | None = None, **budgets: Any
    ) -> None:
        self.paths = RunPaths(root)
        self.builder = ResultsBuilder(root)
        self.drain = Drain()
        self.limits = Limits(
            self.paths,
            self.builder,
            Objective("episode_return_mean", mode),
            Budget(**budgets),
            timeout_s,
            self.drain,
        )
        self.closed: list[str] = []
        self.killed: list[str] = []

    def tell(self, *events: Event) -> None:
        for event in events:
            self.builder.apply(event)
            self.limits(event)

    def tick(self) -> None:
        self.limits._ticked = self.limits._disk_seen = 0.0
        self.limits.tick(close_queue=self.closed.append, end_trial=self.killed.append)

    def trial(
        self,
        trial_id: str,
        value: float,
        *,
        steps: int = 100,
        end: bool = True,
        state: str = "TERMINATED",
    ) -> None:
        row = {
            "training_iteration": 1,
            "episode_return_mean": value,
            "num_env_steps_sampled_lifetime": steps,
            "replica/num_env_steps_sampled_lifetime": [steps, steps],
        }
        self.tell(
            TrialAsked(1.0, trial_id, {}, {}, (0, 1)),
            TrialStarted(1.0, trial_id, ""),
            TrialReported(2.0, trial_id, row),
        )
        if end:
            self.tell(TrialEnded(3.0, trial_id, state, "done"))


def test_nothing_ends_a_launch_without_limits(tmp_path: Path) -> None:
    launch = Launch(tmp_path)
    for number in range(20):
        launch.trial(f"t{number:04d}", 1.0, steps=10**9)
    launch.tick()
    assert (launch.drain.reason, launch.closed, launch.killed) == (None, [], [])


def test_a_stop_request_is_an_interruption(tmp_path: Path) -> None:
    launch = Launch(tmp_path)
    launch.paths.stop_request.touch()
    launch.tick()
    assert launch.drain.reason == "interrupted"


def test_env_steps_of_all_replicas_count_towards_the_budget(tmp_path: Path) -> None:
    launch = Launch(tmp_path, env_steps=500)
    launch.trial("t0001", 1.0, steps=100)
    launch.trial("t0002", 1.0, steps=149, end=False)
    launch.tick()
    assert launch.drain.reason is None
    launch.trial("t0003", 1.0, steps=1, end=False)
    launch.tick()
    assert launch.drain.reason == "budget.env_steps"


def test_what_earlier_launches_used_counts_too(tmp_path: Path) -> None:
    first = Launch(tmp_path)
    first.trial("t0001", 5.0, steps=300)
    first.trial("t0002", 4.0, steps=1)
    second = Launch(tmp_path, env_steps=600, no_improvement_trials=2)
    second.builder = second.limits.results = first.builder
    second.limits.catch_up(first.builder.snapshot())
    second.tick()
    assert second.drain.reason == "budget.env_steps"
    assert second.closed == []
    second.trial("t0003", 4.5)
    second.tick()
    assert second.closed == ["budget.no_improvement_trials"]


@pytest.mark.parametrize(("mode", "better"), [("max", 6.0), ("min", 4.0)])
def test_trials_without_improvement_close_the_queue_and_let_the_rest_run(
    tmp_path: Path, mode: str, better: float
) -> None:
    launch = Launch(tmp_path, mode, no_improvement_trials=3)
    for number, value in enumerate([5.0, 5.0, 5.0, better, 5.0, 5.0], start=1):
        launch.trial(f"t{number:04d}", value)
        launch.tick()
    assert launch.closed == []
    launch.trial("t0007", 5.0)
    launch.tick()
    assert launch.closed == ["budget.no_improvement_trials"]
    assert launch.drain.reason is None


@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_pruned_trial_is_no_improvement_and_sets_no_mark_for_others(
    tmp_path: Path, mode: str
) -> None:
    sign = 1 if mode == "max" else -1
    ends = [(5.0, "TERMINATED"), (50.0, "PRUNED"), (6.0, "TERMINATED"), (7.0, "PRUNED")]
    launch = Launch(tmp_path, mode, no_improvement_trials=2)
    for number, (value, state) in enumerate(ends, start=1):
        launch.trial(f"t{number:04d}", sign * value, state=state)
        launch.tick()
    assert launch.closed == [], "the third is better than all that came to their own end"
    later = Launch(tmp_path, mode, no_improvement_trials=2)
    later.builder = later.limits.results = launch.builder
    later.limits.catch_up(launch.builder.snapshot())
    for one in (launch, later):
        one.trial("t0005", sign * 60.0, state="PRUNED")
        one.tick()
        assert one.closed == ["budget.no_improvement_trials"]


def test_a_trial_that_never_scores_is_no_improvement(tmp_path: Path) -> None:
    launch = Launch(tmp_path, no_improvement_trials=1)
    launch.trial("t0001", float("nan"))
    launch.tick()
    assert launch.closed


def test_a_disk_that_is_nearly_full_ends_the_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = Launch(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        limits_module.shutil, "disk_usage", lambda _: usage._replace(total=10**12, free=10**8)
    )
    launch.tick()
    assert launch.drain.reason == "disk nearly full"


def test_a_silent_trial_is_said_once_and_ended_where_a_timeout_is_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    launch = Launch(tmp_path)
    launch.trial("t0001", 1.0, end=False)
    launch.drain.running.add("t0001")
    launch.limits._heard["t0001"] = time.monotonic() - 400
    with caplog.at_level(logging.WARNING):
        launch.tick()
        launch.tick()
    assert caplog.text.count("t0001 has reported nothing for 6m40s") == 1
    assert launch.killed == []
    strict = Launch(tmp_path, timeout_s=30)
    strict.trial("t0001", 1.0, end=False)
    strict.drain.running.add("t0001")
    strict.limits._heard["t0001"] = time.monotonic() - 31
    strict.tick()
    strict.tick()
    assert strict.killed == ["t0001"]


def test_a_drain_is_over_when_nobody_runs() -> None:
    drain = Drain(running={"t0001"})
    drain.request(LaunchEnd.INTERRUPTED)
    drain.request(LaunchEnd.BUDGET_TIME)
    assert drain.reason == "interrupted"
    assert not drain.is_over()
    drain.running.clear()
    assert drain.is_over()
    assert drain.over_since is not None


@pytest.mark.parametrize(
    ("reason", "is_asked"),
    [
        (LaunchEnd.BUDGET_TIME, True),
        (LaunchEnd.BUDGET_ENV_STEPS, True),
        (LaunchEnd.INTERRUPTED, False),
        (LaunchEnd.DISK_FULL, False),
        (None, False),
    ],
)
def test_only_a_budget_has_a_trial_evaluated_before_it_is_paused_and_once(
    reason: str | None, is_asked: bool
) -> None:
    drain = Drain(evaluates=True, reason=reason)
    assert [drain.is_to_evaluate("t0001") for _ in range(2)] == [is_asked, False]
    assert drain.is_to_evaluate("t0002") == is_asked
    assert not Drain(reason=reason).is_to_evaluate("t0001")


def test_an_interruption_cuts_an_orderly_end_short() -> None:
    drain = Drain(evaluates=True, reason="budget.time_s")
    drain.reason = LaunchEnd.INTERRUPTED
    assert not drain.is_to_evaluate("t0001")
