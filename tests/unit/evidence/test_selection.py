from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.errors import UserError
from sweeper.evidence.selection import (
    NothingToSelect,
    Selection,
    check_metric,
    load_selection,
    select,
    write_selection,
)
from sweeper.metrics import Objective, canonical_metric
from sweeper.results.records import SweepResults, TrialCheckpoint, TrialRecord, judge_trial
from sweeper.results.scoring import metric_value, score_reports
from sweeper.results.spread import Spread, spread_of

METRIC = "episode_return_mean"
ROOT = Path("/runs/x")


def score_of(record: TrialRecord, **rules: str) -> float | None:
    return judge_trial(record, Objective(**rules)).value


def row(iteration: int, value: float | None, **more: Any) -> dict[str, Any]:
    metrics: dict[str, Any] = {
        "training_iteration": iteration,
        "num_env_steps_sampled_lifetime": 100 * iteration,
        **more,
    }
    return metrics if value is None else {**metrics, METRIC: value}


def trial(
    trial_id: str,
    values: Sequence[float | None],
    *,
    state: str = "TERMINATED",
    kept: Sequence[int] | None = None,
    **more: Any,
) -> TrialRecord:
    """A trial with a report per value, and a checkpoint at the iterations ``kept`` (all)."""
    reports = tuple(row(number, value) for number, value in enumerate(values, start=1))
    made = range(1, len(values) + 1) if kept is None else kept
    more.setdefault("reports", reports)
    return TrialRecord(
        trial_id,
        state,
        configuration={"lr": 0.1},
        seeds=(7, 8, 9),
        checkpoints=tuple(
            TrialCheckpoint(f"trials/{trial_id}/checkpoint_{number:06d}", reports[number - 1])
            for number in made
        ),
        **more,
    )


def choose(
    *trials: TrialRecord, mode: str = "max", score: str = "last", gone: Sequence[str] = ()
) -> Selection:
    return select(
        SweepResults(ROOT, trials),
        Objective(METRIC, mode, score),
        exists=lambda path: path.name not in gone,
    )


def reason(selection: Selection, trial_id: str) -> str:
    return next(item.reason for item in selection.excluded if item.trial_id == trial_id)


# --- scores ----------------------------------------------------------------------------------


def test_the_last_score_is_the_last_value_reported() -> None:
    assert score_of(trial("a", [1.0, 9.0, 3.0]), metric=METRIC) == 3.0
    assert score_of(trial("a", [1.0, 9.0, None]), metric=METRIC) == 9.0


def test_the_best_score_looks_at_every_report() -> None:
    nine = trial("a", [1.0, 9.0, 3.0])
    assert score_of(nine, metric=METRIC, score="best") == 9.0
    assert score_of(nine, metric=METRIC, mode="min", score="best") == 1.0


def test_the_best_of_equals_is_the_earliest() -> None:
    reports = [row(1, 5.0), row(2, 9.0), row(3, 9.0)]
    assert score_reports(reports, Objective(metric=METRIC, score="best")).report == 1


def test_the_area_is_the_mean_over_env_steps_not_over_reports() -> None:
    reports = [
        {METRIC: 0.0, "num_env_steps_sampled_lifetime": 0},
        {METRIC: 10.0, "num_env_steps_sampled_lifetime": 100},
        {METRIC: 10.0, "num_env_steps_sampled_lifetime": 400},
    ]
    area = score_reports(reports, Objective(metric=METRIC, score="auc")).value
    assert area == pytest.approx((5.0 * 100 + 10.0 * 300) / 400)


EVALUATED = "evaluation/episode_return_mean"


def evaluated(steps: int, value: float, *, is_new: bool) -> dict[str, Any]:
    return {
        EVALUATED: value,
        f"replica/{EVALUATED}": [value, value + 2],
        "evaluation/is_new": is_new,
        "episode_return_mean": float(steps),
        "num_env_steps_sampled_lifetime": steps,
    }


@pytest.mark.parametrize("batch", [10, 20, 50, 100])
def test_reports_that_repeat_an_evaluation_are_no_points_of_its_curve(batch: int) -> None:
    # Evaluated at 100, 200 and 300; one of equal value counts as well.
    values = {100: 0.0, 200: 10.0, 300: 10.0}
    reports = [
        evaluated(steps, values[steps // 100 * 100], is_new=steps in values)
        for steps in range(100, 301, batch)
    ]
    objective = Objective(metric=EVALUATED, score="auc")
    assert score_reports(reports, objective).value == 7.5
    record = TrialRecord("a", "TERMINATED", reports=tuple(reports))
    assert spread_of(record, objective) == Spread((7.5, 9.5))
    theirs = replace(objective, metric="evaluation/env_runners/episode_return_mean")
    assert score_reports(reports, theirs).value == 7.5
    training = Objective(metric="episode_return_mean", score="auc")
    assert score_reports(reports, training).value == 200.0


def test_the_area_of_an_earlier_versions_reports_has_all_of_them_as_points() -> None:
    reports = [evaluated(100 * n, value, is_new=False) for n, value in enumerate([0, 0, 10], 1)]
    for report in reports:
        del report["evaluation/is_new"]
    assert score_reports(reports, Objective(metric=EVALUATED, score="auc")).value == 2.5


def test_the_area_of_one_report_is_its_value() -> None:
    assert score_of(trial("a", [4.0]), metric=METRIC, score="auc") == 4.0


def test_the_area_takes_iterations_where_env_steps_are_missing() -> None:
    reports = [{METRIC: 0.0, "training_iteration": 1}, {METRIC: 2.0, "training_iteration": 3}]
    assert score_reports(reports, Objective(metric=METRIC, score="auc")).value == 1.0


def test_nan_spoils_last_at_the_end_auc_anywhere_and_best_never() -> None:
    middle, end = trial("a", [1.0, math.nan, 3.0]), trial("a", [1.0, 9.0, math.nan])
    scores = {
        (which, score): score_of(record, metric=METRIC, score=score)
        for which, record in (("middle", middle), ("end", end))
        for score in ("last", "best", "auc")
    }
    assert scores == {
        ("middle", "last"): 3.0,
        ("middle", "best"): 3.0,
        ("middle", "auc"): None,
        ("end", "last"): None,
        ("end", "best"): 9.0,
        ("end", "auc"): None,
    }


def test_an_errored_trial_has_no_score() -> None:
    assert score_of(trial("a", [9.0], state="ERROR"), metric=METRIC) is None


@given(
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
        min_size=1,
        max_size=6,
    )
)
def test_the_area_lies_between_the_least_and_the_greatest_value(values: list[float]) -> None:
    area = score_of(trial("a", values), metric=METRIC, score="auc")
    assert area is not None
    slack = 1e-9 * max(map(abs, values))
    assert min(values) - slack <= area <= max(values) + slack


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        ("env_runners/episode_return_mean", "episode_return_mean"),
        ("evaluation/env_runners/episode_return_mean", "evaluation/episode_return_mean"),
        ("learners/default_policy/vf_loss", "learner/vf_loss"),
        ("evaluation/episode_return_mean", "evaluation/episode_return_mean"),
        ("learner/vf_loss", "learner/vf_loss"),
    ],
)
def test_rllibs_names_become_ours_and_ours_stay(foreign: str, ours: str) -> None:
    assert canonical_metric(foreign) == ours
    assert metric_value({ours: 1.0}, foreign) == 1.0


def test_booleans_and_texts_are_not_values() -> None:
    assert metric_value({METRIC: True}, METRIC) is None
    assert metric_value({METRIC: "9"}, METRIC) is None


@pytest.mark.parametrize(("mode", "score"), [("maximum", "last"), ("max", "mean")])
def test_an_unknown_mode_or_score_is_the_users_mistake(mode: str, score: str) -> None:
    with pytest.raises(UserError, match="unknown"):
        choose(trial("a", [1.0]), mode=mode, score=score)


# --- who wins --------------------------------------------------------------------------------


def test_the_best_last_score_wins_in_either_direction() -> None:
    trials = (trial("a", [9.0, 1.0]), trial("b", [0.0, 2.0]))
    assert choose(*trials).trial_id == "b"
    assert choose(*trials, mode="min").trial_id == "a"


def test_a_nan_score_never_wins_and_is_named() -> None:
    for mode in ("max", "min"):
        selection = choose(trial("a", [math.nan]), trial("b", [1.0]), mode=mode)
        assert selection.trial_id == "b"
        assert reason(selection, "a") == f"last {METRIC} is NaN"


def test_an_infinite_score_never_wins() -> None:
    selection = choose(trial("a", [math.inf]), trial("b", [1.0]))
    assert selection.trial_id == "b"
    assert "infinite" in reason(selection, "a")


def test_an_errored_trial_never_wins_whatever_it_reported() -> None:
    broken = trial("a", [1000.0], state="ERROR", reason="crashed", error="ValueError: x")
    for score in ("last", "best", "auc"):
        selection = choose(broken, trial("b", [1.0]), score=score)
        assert selection.trial_id == "b"
        assert reason(selection, "a") == "error: crashed: ValueError: x"


def test_trials_without_a_report_or_without_the_metric_are_excluded() -> None:
    selection = choose(trial("a", [], state="PENDING"), trial("b", [None, None]), trial("c", [1.0]))
    assert selection.trial_id == "c"
    assert reason(selection, "a") == "no report"
    assert reason(selection, "b") == f"never reported {METRIC}"


def test_a_trial_that_was_stopped_early_wins_only_if_all_were() -> None:
    early, better = trial("a", [9.0], state="PRUNED"), trial("b", [8.0, 12.0], state="PRUNED")
    selection = choose(early, better, trial("c", [1.0]), trial("d", [0.5]))
    assert (selection.trial_id, selection.partial, selection.runner_up) == ("c", False, "d")
    assert (selection.candidates, selection.pruned) == (4, 2)
    assert "the best of 2 scores" in selection.verdict_text
    assert "2 trials that were stopped early could not win" in selection.verdict_text
    alone = choose(early, trial("c", [1.0]))
    assert "it is the only one that was not stopped early" in alone.verdict_text
    assert alone.rule == "the only one that was not stopped early"
    among = choose(early, better)
    assert (among.trial_id, among.runner_up, among.partial, among.pruned) == ("b", "a", True, 0)


@pytest.mark.parametrize("state", ["PAUSED", "RUNNING"])
def test_a_trial_that_is_not_over_counts_and_is_marked(state: str) -> None:
    selection = choose(trial("a", [9.0], state=state), trial("b", [1.0]))
    assert selection.trial_id == "a"
    assert selection.partial
    assert f"({state})" in selection.verdict_text
    assert not choose(trial("a", [9.0])).partial


def test_of_equal_scores_the_one_at_fewer_env_steps_wins() -> None:
    assert choose(trial("a", [1.0, 5.0]), trial("b", [5.0])).trial_id == "b"


def test_of_equal_scores_at_equal_steps_the_lower_id_wins() -> None:
    assert choose(trial("t10000", [5.0]), trial("t9999", [5.0])).trial_id == "t9999"


_values = st.sampled_from([math.nan, math.inf, -math.inf, None, -1.0, 0.0, 1.0, 2.5])
_trials = st.lists(
    st.tuples(
        st.lists(_values, max_size=4),
        st.sampled_from(["TERMINATED", "PRUNED", "ERROR", "PAUSED", "RUNNING"]),
    ),
    max_size=6,
).map(
    lambda specs: [
        trial(f"t{number:04d}", values, state=state) for number, (values, state) in enumerate(specs)
    ]
)
_rules = st.tuples(st.sampled_from(["max", "min"]), st.sampled_from(["last", "best", "auc"]))


def winner(trials: Sequence[TrialRecord], mode: str, score: str) -> Selection | None:
    try:
        return choose(*trials, mode=mode, score=score)
    except (NothingToSelect, UserError):
        return None


@given(_trials, _rules, st.randoms(use_true_random=False))
def test_the_order_of_trials_does_not_change_the_selection(
    trials: list[TrialRecord], rules: tuple[str, str], generator: random.Random
) -> None:
    before = winner(trials, *rules)
    shuffled = list(trials)
    generator.shuffle(shuffled)
    assert winner(shuffled, *rules) == before


@given(_trials, _rules)
def test_a_worse_trial_added_does_not_change_the_winner(
    trials: list[TrialRecord], rules: tuple[str, str]
) -> None:
    before = winner(trials, *rules)
    if before is None:
        return
    worse = before.score - 1.0 if rules[0] == "max" else before.score + 1.0
    state = "PRUNED" if before.state == "PRUNED" else "TERMINATED"
    after = winner([trial("t9999", [worse, worse], state=state), *trials], *rules)
    assert after is not None
    assert (after.trial_id, after.checkpoint) == (before.trial_id, before.checkpoint)


@given(_trials, _rules)
def test_the_winner_has_a_finite_score_and_every_trial_is_accounted_for(
    trials: list[TrialRecord], rules: tuple[str, str]
) -> None:
    selection = winner(trials, *rules)
    if selection is not None:
        assert math.isfinite(selection.score)
        assert selection.candidates + len(selection.excluded) == len(trials)
        states = {record.trial_id: record.state for record in trials}
        assert states[selection.trial_id] != "ERROR"


# --- no winner -------------------------------------------------------------------------------


def test_without_a_candidate_the_reasons_are_counted() -> None:
    with pytest.raises(NothingToSelect) as caught:
        choose(trial("a", [math.nan]), trial("b", [math.nan]), trial("c", [1.0], state="ERROR"))
    assert "none of 3 trials has a score" in str(caught.value)
    assert f"last {METRIC} is NaN (2 trials)" in str(caught.value)
    assert [item.trial_id for item in caught.value.excluded] == ["a", "b", "c"]


def test_a_run_without_trials_has_no_champion() -> None:
    with pytest.raises(NothingToSelect, match="no trials"):
        choose()


def test_a_metric_that_no_trial_reported_is_refused_with_the_nearest() -> None:
    results = SweepResults(ROOT, (trial("a", [1.0]),))
    check_metric(results, METRIC)
    with pytest.raises(UserError, match=r"'episode_return_men'.*nearest: episode_return_mean"):
        check_metric(results, "episode_return_men")


def test_a_run_without_its_own_metric_has_no_winner_but_is_no_user_error() -> None:
    results = SweepResults(ROOT, (trial("a", [1.0]),))
    with pytest.raises(NothingToSelect, match="never reported evaluation/episode_return_mean"):
        select(results, Objective("evaluation/episode_return_mean"))
    check_metric(SweepResults(ROOT, ()), "anything")


# --- the checkpoint that belongs to the score ------------------------------------------------


def test_the_last_score_goes_with_the_last_checkpoint() -> None:
    selection = choose(trial("a", [1.0, 9.0, 3.0]))
    assert selection.checkpoint == "/runs/x/trials/a/checkpoint_000003"
    assert selection.checkpoint_note is None


def test_the_best_score_goes_with_the_checkpoint_that_earned_it() -> None:
    selection = choose(trial("a", [1.0, 9.0, 3.0]), score="best")
    assert selection.checkpoint == "/runs/x/trials/a/checkpoint_000002"
    assert selection.checkpoint_note is None
    assert selection.env_steps == 200


def test_without_the_earning_checkpoint_the_best_of_the_others_is_taken() -> None:
    record = trial("a", [8.0, 9.0, 3.0], kept=[1, 3])
    selection = choose(record, score="best")
    assert selection.checkpoint == "/runs/x/trials/a/checkpoint_000001"
    assert "no checkpoint was kept at the report that earned the score" in str(
        selection.checkpoint_note
    )
    lowest = choose(trial("a", [8.0, 1.0, 3.0], kept=[1, 3]), score="best", mode="min")
    assert lowest.checkpoint == "/runs/x/trials/a/checkpoint_000003"


def test_of_equally_good_other_checkpoints_the_nearest_is_taken() -> None:
    record = trial("a", [5.0, 5.0, 5.0, 9.0, 1.0], kept=[1, 3, 5])
    selection = choose(record, score="best")
    assert selection.checkpoint == "/runs/x/trials/a/checkpoint_000003"


def test_a_nan_checkpoint_is_taken_only_if_there_is_no_other() -> None:
    record = trial("a", [math.nan, 9.0, -5.0], kept=[1, 3])
    assert str(choose(record, score="best").checkpoint).endswith("3")


def test_a_deleted_checkpoint_is_not_chosen() -> None:
    record = trial("a", [1.0, 2.0, 3.0])
    selection = choose(record, gone=["checkpoint_000003"])
    assert selection.checkpoint == "/runs/x/trials/a/checkpoint_000002"
    assert "made at iteration 2; the trial went on to iteration 3" in str(selection.checkpoint_note)


def test_a_winner_without_a_checkpoint_still_wins() -> None:
    for score in ("last", "best"):
        selection = choose(trial("a", [9.0], kept=[]), trial("b", [1.0]), score=score)
        assert selection.trial_id == "a"
        assert selection.checkpoint is None
        assert selection.checkpoint_note == "no checkpoint is left"


def test_only_folders_that_exist_count_by_default(tmp_path: Path) -> None:
    (tmp_path / "trials/a/checkpoint_000001").mkdir(parents=True)
    selection = select(SweepResults(tmp_path, (trial("a", [1.0, 2.0]),)), Objective(METRIC))
    assert selection.checkpoint == str(tmp_path / "trials/a/checkpoint_000001")


# --- the replica -----------------------------------------------------------------------------


def with_replicas(values: Sequence[float | None], **more: Any) -> TrialRecord:
    report = row(1, 1.0, **{f"replica/{METRIC}": list(values)}, **more)
    return trial("a", [1.0], reports=(report,))


def test_the_champion_is_the_best_replica() -> None:
    selection = choose(with_replicas([1.0, 3.0, 2.0]))
    assert (selection.replica, selection.seed) == (1, 8)
    assert choose(with_replicas([2.0, 3.0, 1.0]), mode="min").seed == 9


def test_of_equal_replicas_the_first_is_taken() -> None:
    assert choose(with_replicas([1.0, 3.0, 3.0])).seed == 8


def test_a_nan_missing_or_diverged_replica_is_never_the_champion() -> None:
    assert choose(with_replicas([math.nan, None, -5.0])).seed == 9
    diverged = {"replica/diverged": [False, True, False]}
    assert choose(with_replicas([1.0, 3.0, 2.0], **diverged)).seed == 9


def test_a_diverged_replica_is_not_chosen_even_if_no_replica_has_a_value() -> None:
    diverged = {"replica/diverged": [True, False, False]}
    assert choose(with_replicas([None, None, None], **diverged)).seed == 8


def test_without_replicas_values_the_first_seed_is_taken() -> None:
    assert choose(trial("a", [1.0])).seed == 7


def test_the_replica_is_chosen_at_the_checkpoint_not_at_the_end() -> None:
    reports = (
        row(1, 9.0, **{f"replica/{METRIC}": [0.0, 0.0, 9.0]}),
        row(2, 5.0, **{f"replica/{METRIC}": [9.0, 0.0, 0.0]}),
    )
    record = trial("a", [9.0, 5.0], reports=reports)
    assert choose(record, score="best").seed == 9
    assert choose(record).seed == 7


# --- what is written -------------------------------------------------------------------------


def test_a_selection_survives_a_round_trip_through_its_file(tmp_path: Path) -> None:
    record = trial("a", [9.0])
    record = dataclasses.replace(record, configuration={"grad_clip": math.inf, "h": [64]})
    selection = choose(record, trial("b", [math.nan]), trial("c", [1.0]))
    write_selection(tmp_path / "selection.json", selection)
    assert load_selection(tmp_path / "selection.json") == selection


OTHERS: list[tuple[str, Any]] = [
    *(("score", value) for value in (math.nan, math.inf, "9", None, [], True, {"$float": "nan"})),
    ("score", {"$float": 10**400}),
    *((name, value) for name in ("trial_id", "metric", "mode") for value in ([], {}, 7, None)),
    *(("seed", value) for value in (1.5, "1", [1], True)),
    *(("configuration", value) for value in ([], None, json.loads("[" * 700 + "]" * 700))),
    *(("excluded", value) for value in (7, [{}], [{"trial_id": [], "reason": "x"}], {"a": 1})),
    *(("judged", value) for value in (7, [[]], [{"trial_id": "a"}])),
    *(("verdict", value) for value in (7, {}, {"evidence": []})),
    *(("agent", value) for value in (7, {"returns": 1}, {"returns": [None]})),
    ("candidates", 10**400),
    ("no_such_field", 1),
]


@pytest.mark.parametrize(("name", "value"), OTHERS, ids=lambda part: str(part)[:20])
def test_a_selection_with_a_part_of_another_type_is_none(
    tmp_path: Path, name: str, value: Any
) -> None:
    path = tmp_path / "selection.json"
    write_selection(path, choose(trial("a", [9.0]), trial("b", [1.0])))
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    with pytest.raises(UserError, match=r"selection\.json is no selection: "):
        load_selection(path)


def test_a_file_that_is_no_selection_is_the_users_mistake(tmp_path: Path) -> None:
    path = tmp_path / "selection.json"
    path.write_text("[]")
    with pytest.raises(UserError, match="no selection"):
        load_selection(path)
    with pytest.raises(UserError, match="no selection"):
        load_selection(tmp_path / "nowhere.json")


def test_best_has_the_promised_keys_and_is_strict_json() -> None:
    record = dataclasses.replace(trial("a", [9.0]), configuration={"grad_clip": math.inf})
    selection = choose(record, trial("b", [math.nan]), trial("c", [7.5]))
    document = selection.to_best_json(ROOT, ROOT / "champion")
    text = document.pop("verdict_text")
    assert json.loads(json.dumps(document, allow_nan=False)) == {
        "run": "/runs/x",
        "trial_id": "a",
        "configuration": {"grad_clip": "inf"},
        "metric": METRIC,
        "mode": "max",
        "score": 9.0,
        "deviation": None,
        "replicas": 0,
        "diverged": 0,
        "checkpoint": "/runs/x/trials/a/checkpoint_000001",
        "agent": "/runs/x/champion",
        "env_steps": 100,
        "excluded": [{"trial_id": "b", "reason": f"last {METRIC} is NaN"}],
        "tied": ["c"],
        "search_choice": "a",
        "rule": "the best score of the search",
        "verdict": "unconfirmed",
    }
    assert "1.5 better than c" in text
    assert "1 trial could not be judged" in text
    assert "Unconfirmed" in text


def test_the_best_score_is_called_optimistic() -> None:
    assert "optimistic" in choose(trial("a", [1.0]), score="best").verdict_text
    assert "optimistic" not in choose(trial("a", [1.0])).verdict_text
