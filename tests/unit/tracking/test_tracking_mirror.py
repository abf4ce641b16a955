from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sweeper.journal import (
    Event,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
)
from sweeper.metrics import Objective
from sweeper.states import Stage, TrialState
from sweeper.tracking.champion_mark import mark_page
from sweeper.tracking.mirror import RunMirror


def _report(iteration: int, value: float = 1.0, time: float | None = None) -> TrialReported:
    row = {
        "training_iteration": iteration,
        "num_env_steps_sampled_lifetime": 100 * iteration,
        "score": value,
        "replica/score": [value, value + 1],
    }
    return TrialReported(10.0 + iteration if time is None else time, "t0001", row)


ASKED = TrialAsked(1.0, "t0001", {"lr": 0.1, "net": {"size": 8}}, {"lr": 0.1}, (3, 4))
STARTED = TrialStarted(2.0, "t0001", "node")
ENDED = TrialEnded(20.0, "t0001", "TERMINATED", "score >= 1")


def _fed(*events: Event, written: int = 0) -> RunMirror:
    mirror = RunMirror("t0001", written=written)
    for event in events:
        mirror.feed(event)
    return mirror


def test_a_report_becomes_metrics_at_its_env_steps_and_time() -> None:
    mirror = _fed(ASKED, STARTED, _report(2, 7.5))
    assert ("score", 7.5, 12_000, 200) in mirror.new_metrics
    assert {name for name, *_ in mirror.new_metrics} == {"score"}, "counts are no curves"


def test_the_whole_configuration_becomes_params() -> None:
    assert _fed(ASKED).new_params == {"lr": "0.1", "net.size": "8"}


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("TERMINATED", "FINISHED"),
        ("PRUNED", "FINISHED"),
        ("ERROR", "FAILED"),
        ("PAUSED", "KILLED"),
    ],
)
def test_the_status_tells_how_a_trial_ended(state: str, status: str) -> None:
    mirror = _fed(ASKED, STARTED, TrialEnded(9.0, "t0001", state, "why", "ValueError: x"))
    assert (mirror.wanted, mirror.end_ms) == (status, 9000)
    assert mirror.new_tags["sweeper.state"] == state
    assert mirror.new_tags["sweeper.reason"] == "why"
    assert mirror.new_tags["sweeper.error"] == "ValueError: x"


def test_a_pruned_trial_s_rung_is_a_tag() -> None:
    decision = {"action": "stop", "reason": "1 < 2, the cut-off of rung 2", "rung": 2}
    mirror = _fed(
        ASKED,
        STARTED,
        replace(_report(2), decision=decision),
        TrialEnded(9.0, "t0001", "PRUNED", decision["reason"]),
    )
    assert mirror.new_tags["sweeper.rung"] == "2"
    assert mirror.new_tags["sweeper.reason"] == "1 < 2, the cut-off of rung 2"


def test_what_a_trial_cost_is_one_number_at_its_end() -> None:
    mirror = _fed(ASKED, STARTED, _report(1, 1.0), _report(2, 5.0), ENDED)
    assert mirror.new_finals == {
        "training_iteration": (2.0, 12_000),
        "num_env_steps_sampled_lifetime": (200.0, 12_000),
    }
    at_step_0 = [metric for metric in mirror.missing_metrics() if metric[3] == 0]
    assert ("training_iteration", 2.0, 12_000, 0) in at_step_0


def test_a_final_number_is_written_anew_only_where_mlflow_shows_another() -> None:
    mirror = _fed(ASKED, STARTED, _report(2), ENDED)
    mirror.new_metrics = []
    mirror.present = {"training_iteration": {100: (1.0, 50_000), 0: (7.0, 1)}}
    name = "num_env_steps_sampled_lifetime"
    assert sorted(mirror.missing_metrics()) == [
        (name, 200.0, 12_000, 0),
        ("training_iteration", 2.0, 50_001, 100),
    ]
    assert mirror.missing_metrics() == []


def _ranked(*events: Event, score: str = "last") -> RunMirror:
    mirror = RunMirror("t0001", Objective("evaluation/score", "max", score))
    for event in events:
        mirror.feed(event)
    return mirror


def _new(iteration: int, value: float, *, is_new: bool, **more: object) -> TrialReported:
    row = {**_report(iteration).metrics, "evaluation/score": value, "evaluation/is_new": is_new}
    row["replica/evaluation/score"] = [value - 1, value + 1]
    return replace(_report(iteration), metrics={**row, **more})


def _curve(mirror: RunMirror, name: str) -> list[tuple[int, float]]:
    return [(step, value) for one, value, _, step in mirror.new_metrics if one == name]


def test_an_evaluation_is_logged_when_it_is_made() -> None:
    rows = [_report(1), _new(2, 5.0, is_new=True), _new(3, 5.0, is_new=False)]
    mirror = _ranked(ASKED, STARTED, *rows, _new(4, 5.0, is_new=True))
    for name in ("evaluation/score", "Decision/score"):
        assert _curve(mirror, name) == [(200, 5.0), (400, 5.0)]
    assert _curve(mirror, "Decision/score_min") == [(200, 4.0), (400, 4.0)]
    assert _curve(mirror, "replica/evaluation.score.seed_4") == [(200, 6.0), (400, 6.0)]
    assert [step for step, _ in _curve(mirror, "score")] == [100, 200, 300, 400]


def test_a_carried_evaluation_is_logged_where_mlflow_shows_another_one() -> None:
    killed = (_new(1, 5.0, is_new=True), _new(2, 6.0, is_new=True))
    again = (_new(2, 7.0, is_new=True), _new(3, 7.0, is_new=False))
    mirror = _ranked(ASKED, STARTED, *killed, STARTED, *again)
    assert _curve(mirror, "evaluation/score") == [(100, 5.0), (200, 6.0), (300, 7.0)]
    assert _curve(mirror, "Decision/score") == [(100, 5.0), (200, 6.0), (300, 7.0)]


@pytest.mark.parametrize(("score", "last"), [("last", 3.0), ("best", 9.0), ("auc", 4.5)])
def test_the_score_s_last_value_is_what_ranks_the_trial(score: str, last: float) -> None:
    rows = [_new(n, value, is_new=True) for n, value in ((1, 1.0), (2, 9.0), (5, 3.0))]
    curve = _curve(_ranked(ASKED, STARTED, *rows, score=score), "Decision/score")
    assert curve[-1][1] == pytest.approx(last if score != "auc" else (5 + 18) / 4)
    rows.append(_new(6, math.nan, is_new=True))
    assert math.isnan(_curve(_ranked(ASKED, STARTED, *rows, score=score), "Decision/score")[-1][1])


def test_what_the_configuration_sets_is_no_curve_until_it_changes() -> None:
    name = "learner/default_optimizer_learning_rate"
    rows = [_new(n, 1.0, is_new=True, **{name: lr}) for n, lr in ((1, 0.1), (2, 0.1), (3, 0.05))]
    assert _curve(_ranked(ASKED, STARTED, *rows[:2]), name) == []
    back = _new(4, 1.0, is_new=True, **{name: 0.1})
    assert _curve(_ranked(ASKED, STARTED, *rows, back), name) == [(300, 0.05), (400, 0.1)]


def test_a_confirmation_s_trial_is_not_ranked() -> None:
    asked = replace(ASKED, trial_id="c0001", stage=Stage.CONFIRMATION, of="t0001")
    row = _new(1, 5.0, is_new=True, **{"confirmation/score": 3.0})
    mirror = _ranked(asked, STARTED, row, ENDED)
    assert mirror.name == "c0001 of t0001"
    assert _curve(mirror, "Decision/score") == []
    assert mirror.new_finals["confirmation/score"][0] == 3.0


def test_a_trial_s_page_says_what_was_tried_and_why_it_ended() -> None:
    ended = TrialEnded(9.0, "t0001", TrialState.ERROR, "crashed", "ValueError: a | `b`")
    mirror = RunMirror("t0001", Objective(), "run-1", lambda trial_id: f"log of {trial_id}")
    for event in (ASKED, STARTED, ended):
        mirror.feed(event)
    page = mirror.new_tags["mlflow.note.content"]
    assert mirror.name == "t0001 lr=0.1"
    assert "**t0001** failed (`crashed`)" in page
    assert "| `lr`&nbsp;&nbsp; | `0.1`&nbsp;&nbsp; |" in page
    assert "log of t0001" in page
    assert "sweeper logs run-1 t0001" in page
    assert "champion" not in page
    mirror.run_id, mirror.tags = "r", {"mlflow.runName": "t0001 lr=0.1", **mirror.new_tags}
    assert mirror.rename(is_champion=True) == "t0001 ★ lr=0.1"
    marked = mark_page(mirror, is_champion=True)["mlflow.note.content"]
    assert marked.endswith(page)
    mirror.new_tags["mlflow.note.content"] = marked
    assert mark_page(mirror, is_champion=True)["mlflow.note.content"] == marked
    assert mark_page(mirror, is_champion=False) == {"mlflow.note.content": page}
    mirror.tags["mlflow.runName"] = "a name of its user's"
    assert mirror.rename(is_champion=True) is None


def test_rows_repeated_after_a_rollback_are_not_drawn_twice() -> None:
    retried = TrialRetried(13.5, "t0001", "worker died")
    mirror = _fed(
        *(ASKED, STARTED, _report(1), _report(2), _report(3), retried, STARTED),
        *(_report(2, 99.0, time=15.0), _report(3, 99.0, time=16.0), _report(4, 4.0, time=17.0)),
    )
    assert [step for name, _, _, step in mirror.new_metrics if name == "score"] == [
        *(100, 200, 300, 400)
    ]
    assert 99.0 not in [value for _, value, _, _ in mirror.new_metrics]
    assert mirror.new_tags["sweeper.retries"] == "1"


def test_a_repeated_report_adds_its_new_evaluation_only() -> None:
    first = _report(2, 7.5)
    row = {**first.metrics, "score": 99.0, "evaluation/score": 8.0}
    mirror = _fed(ASKED, STARTED, first, TrialReported(15.0, "t0001", row, replaces=True))
    assert [m for m in mirror.new_metrics if m[0] == "score"] == [("score", 7.5, 12_000, 200)]
    assert ("evaluation/score", 8.0, 15_000, 200) in mirror.new_metrics
    assert mirror.last_report is not None
    assert mirror.last_report.metrics["evaluation/score"] == 8.0


def _row(steps: int, iteration: int, value: float = 1.0, **more: object) -> TrialReported:
    row = {**_report(iteration, value).metrics, "num_env_steps_sampled_lifetime": steps}
    return replace(_report(iteration), time=float(steps), metrics=row, **more)  # type: ignore[arg-type]


COPY = {"decision": {"action": "copy", "donor": "t0002", "reason": "ranks 4 of 4"}}


def _steps_of(*events: Event) -> list[int]:
    drawn = _fed(ASKED, STARTED, *events).new_metrics
    return [step for name, _, _, step in drawn if name == "score"]


@pytest.mark.parametrize("donors", [2, 4, 9], ids=["fewer", "as many", "more"])
def test_a_copy_goes_on_from_other_iterations_and_loses_no_row(donors: int) -> None:
    own = [_row(100 * number, number) for number in (1, 2, 3)]
    copying = _row(400, 4, **COPY)
    # From a checkpoint at 350 env steps.
    after = [_row(350 + 50 * number, donors + number) for number in (1, 2, 3)]
    assert _steps_of(*own, copying, STARTED, *after) == [100, 200, 300, 400, 450, 500]
    # Resumed before its first checkpoint since, and then, with that copy lost, from its own.
    again = [*after, STARTED, *after, _row(550, donors + 4)]
    assert _steps_of(*own, copying, STARTED, *again) == [100, 200, 300, 400, 450, 500, 550]
    lost = [*after, STARTED, *own[1:], copying, STARTED, *after, _row(550, donors + 4)]
    assert _steps_of(*own, copying, STARTED, *lost) == [100, 200, 300, 400, 450, 500, 550]


def test_a_second_copy_goes_on_where_the_first_one_ended() -> None:
    rows = [_row(100, 1, **COPY), _row(200, 30, **COPY), _row(200, 2), _row(300, 3)]
    assert _steps_of(*rows) == [100, 200, 300]


def test_a_copy_that_is_wound_up_has_the_newest_evaluation() -> None:
    def evaluated(row: TrialReported, value: float) -> TrialReported:
        return replace(row, metrics={**row.metrics, "evaluation/score": value})

    rows = (_row(100, 8, **COPY), evaluated(_row(200, 3), 5.0))
    ended = replace(evaluated(_row(200, 3), 6.0), replaces=True)
    assert _evaluations(*rows, ended) == [(5.0, 200), (6.0, 200)]
    assert _evaluations(*rows, replace(rows[1], replaces=True)) == [(5.0, 200)]


def _evaluated(iteration: int, value: float, *, time: float, ends: bool = False) -> TrialReported:
    row = {**_report(iteration).metrics, "evaluation/score": value}
    return TrialReported(time, "t0001", row, replaces=ends)


def _evaluations(*events: Event) -> list[tuple[float, int]]:
    fed = _fed(ASKED, STARTED, *events).new_metrics
    return [(value, step) for name, value, _, step in fed if name == "evaluation/score"]


def test_a_final_evaluation_after_a_rollback_is_written_if_its_step_has_none() -> None:
    killed = (_report(1), _report(2), _report(3))  # and resumed from the checkpoint at 1
    wound_up = (_report(2, time=21.0), _evaluated(2, 8.0, time=22.0, ends=True))
    assert _evaluations(*killed, STARTED, *wound_up) == [(8.0, 200)]
    ended = _fed(ASKED, STARTED, *killed, STARTED, *wound_up, ENDED)
    assert [m for m in ended.new_metrics if m[0] == "score"] == [
        *(("score", 1.0, 1000 * (10 + n), 100 * n) for n in (1, 2, 3))
    ]
    assert ended.new_finals["training_iteration"] == (2.0, 22_000)


def test_a_final_evaluation_after_a_rollback_supersedes_an_earlier_one_of_its_step() -> None:
    killed = (_evaluated(1, 5.0, time=11.0), _evaluated(2, 6.0, time=12.0), _report(3))
    again = (_evaluated(2, 7.0, time=21.0), _evaluated(2, 7.0, time=22.0, ends=True))
    assert _evaluations(*killed, STARTED, *again) == [(5.0, 100), (6.0, 200), (7.0, 200)]


def test_a_final_evaluation_that_was_made_already_is_written_once() -> None:
    made = (_evaluated(1, 5.0, time=11.0), _evaluated(1, 5.0, time=12.0, ends=True))
    assert _evaluations(*made) == [(5.0, 100)]


def test_a_final_evaluation_that_a_rollback_takes_back_is_superseded() -> None:
    wound_up = (_evaluated(2, 5.0, time=11.0), _evaluated(2, 8.0, time=12.0, ends=True))
    again = [_evaluated(2, 5.0, time=20.0 + number) for number in range(2)]
    before = [(5.0, 200), (8.0, 200)]
    assert _evaluations(*wound_up, STARTED, *again[:1]) == [*before, (5.0, 200)]
    assert _evaluations(*wound_up, STARTED, *again) == [*before, (5.0, 200)]
    without = (_report(2, time=20.0), *again)
    assert _evaluations(*wound_up, STARTED, *without) == [*before, (5.0, 200)]


def test_a_final_evaluation_supersedes_one_that_the_row_only_repeats() -> None:
    killed = (_evaluated(1, 5.0, time=11.0), _evaluated(2, 5.0, time=12.0))
    paused = TrialEnded(13.0, "t0001", "PAUSED", "interrupted")
    again = (_evaluated(3, 5.0, time=21.0), _evaluated(3, 9.0, time=22.0, ends=True))
    carried = [(5.0, 100), (5.0, 200), (5.0, 300)]
    assert _evaluations(*killed, paused, STARTED, *again) == [*carried, (9.0, 300)]
    twice = (*killed, STARTED, _evaluated(2, 8.0, time=22.0, ends=True))
    assert _evaluations(*twice) == [(5.0, 100), (5.0, 200), (8.0, 200)]


def test_a_frozen_step_count_still_has_all_its_rows() -> None:
    rows = [
        TrialReported(
            float(i),
            "t0001",
            {"training_iteration": i, "num_env_steps_sampled_lifetime": 5, "x": i},
        )
        for i in (1, 2)
    ]
    assert [m for m in _fed(ASKED, STARTED, *rows).new_metrics if m[0] == "x"] == [
        ("x", 1.0, 1000, 5),
        ("x", 2.0, 2000, 5),
    ]


def test_events_that_are_written_already_add_nothing() -> None:
    events = (ASKED, STARTED, _report(1), ENDED)
    mirror = RunMirror("t0001", run_id="r", status="FINISHED", written=len(events))
    assert [mirror.feed(event) for event in events] == [False] * 4
    assert (mirror.new_params, mirror.new_tags, mirror.new_metrics) == ({}, {}, [])
    assert (mirror.state, mirror.wanted) == ("TERMINATED", "FINISHED")


def test_a_continued_record_adds_only_what_is_new() -> None:
    mirror = _fed(ASKED, STARTED, _report(1), _report(2), written=3)
    assert {step for *_, step in mirror.new_metrics} == {200}
    assert mirror.new_tags["sweeper.events"] == "4"
    assert mirror.new_params == {}


def test_states_can_be_followed_without_counting_the_events_as_written() -> None:
    mirror = _fed(ASKED, STARTED)
    mirror.forget_pending()
    for event in (_report(1), ENDED):
        mirror.feed(event, keep_metrics=False)
    assert mirror.new_metrics == []
    assert mirror.wanted == "FINISHED"
    assert "sweeper.events" not in mirror.new_tags


def test_a_trial_that_no_worker_started_needs_no_run() -> None:
    assert not RunMirror("t0001").feed(ASKED)


def test_a_trial_s_start_is_when_a_worker_started_it() -> None:
    assert _fed(ASKED, STARTED).start_ms == 2000


def test_the_last_checkpoint_is_a_tag() -> None:
    saved = [TrialCheckpointed(3.0 + n, "t0001", f"trials/t0001/c{n}", {}) for n in range(2)]
    assert _fed(ASKED, STARTED, *saved).new_tags["sweeper.checkpoint"] == "trials/t0001/c1"


@pytest.mark.parametrize("steps", [math.nan, math.inf, None, "many"])
def test_a_step_count_that_is_not_a_number_is_step_0(steps: object) -> None:
    report = TrialReported(1.0, "t0001", {"x": 1.0, "num_env_steps_sampled_lifetime": steps})
    assert _fed(ASKED, STARTED, report).new_metrics == [("x", 1.0, 1000, 0)]


def _resumed(*events: Event, written: int, last: Event | None = None) -> RunMirror:
    """A mirror in another process, of a run that MLflow has ``written`` events of."""
    mark = "" if last is None else f"{last.kind} {last.time!r}"
    mirror = RunMirror("t0001", written=written, last=mark, present={})
    for event in events:
        mirror.feed(event)
    return mirror


def test_what_was_counted_is_not_written_again() -> None:
    journal = (ASKED, STARTED, _report(1), _report(2))
    for last in (_report(1), None):
        mirror = _resumed(*journal, written=3, last=last)
        assert {step for *_, step in mirror.new_metrics} == {200}


def test_a_journal_that_is_not_the_counted_one_is_compared_step_by_step() -> None:
    mirror = _resumed(ASKED, STARTED, _report(1), _report(2), written=3, last=_report(7))
    assert {step for *_, step in mirror.new_metrics} == {100, 200}
    mirror.present = {"score": {100: (5.0, 11_000)}}
    missing = mirror.missing_metrics()
    assert [(step, value) for name, value, _, step in missing if name == "score"] == [(200, 1.0)]


def test_a_journal_that_has_lost_lines_is_ahead_of_by_its_record() -> None:
    mirror = _resumed(ASKED, STARTED, _report(1), written=9, last=_report(7))
    assert mirror.note_end()
    assert mirror.new_tags["sweeper.events"] == "3"
    assert not mirror.note_end(), "once"
    assert not _fed(ASKED, STARTED).note_end()


def test_an_evaluation_that_replaces_another_is_written_beside_it() -> None:
    first = replace(_report(1), metrics={**_report(1).metrics, "evaluation/score": 1.0})
    again = replace(
        first, time=50.0, replaces=True, metrics={**first.metrics, "evaluation/score": 2.0}
    )
    mirror = _resumed(ASKED, STARTED, first, again, written=0)
    mirror.present = {"evaluation/score": {100: (1.0, 11_000)}}
    evaluations = [metric for metric in mirror.missing_metrics() if metric[0] == "evaluation/score"]
    assert evaluations == [("evaluation/score", 2.0, 50_000, 100)]
    mirror.present = {"evaluation/score": {100: (2.0, 50_000)}}
    mirror.new_metrics = evaluations
    assert mirror.missing_metrics() == []


def test_what_a_resume_changes_is_a_tag_of_the_sweep() -> None:
    first, second = (
        LaunchStarted(float(launch), launch, 1, ("sweeper",), changes=changes)
        for launch, changes in ((1, {}), (2, {"search.num_samples": 7, "stop.time_total_s": 9.0}))
    )
    assert "sweeper.changes" not in _fed(first).new_tags
    third = replace(second, launch=3, changes={"search.num_samples": 8})
    assert _fed(first, second, third).new_tags["sweeper.changes"] == (
        "{search.num_samples: 8, stop.time_total_s: 9.0}"
    )
