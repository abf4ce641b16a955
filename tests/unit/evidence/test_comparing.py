"""What runs held against each other come to: shares of pairs, curves, cost, differences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from comparable_runs import HIGH, LOW, make_confirmed, open_confirmed, with_curves
from run_folders import SPEC, make_run

from sweeper import compare_runs
from sweeper.evidence.comparing.curves import MeanCurve, mean_curve
from sweeper.evidence.comparing.improvement import share_interval
from sweeper.evidence.comparing.sparklines import BLOCKS, draw
from sweeper.evidence.comparing.words import letters
from sweeper.evidence.statistics import Curve, probability_interval, probability_of_improvement
from sweeper.metrics import ENV_STEPS
from sweeper.opened_run import Run, open_run
from sweeper.paths import run_reference

# --- how often a run of one beats a run of the other -------------------------------------------


def test_a_champion_all_of_whose_runs_are_better_is_better(tmp_path: Path) -> None:
    low, high = (open_confirmed(tmp_path, name, runs) for name, runs in (("a", LOW), ("b", HIGH)))
    (found,) = compare_runs(low, high).improvements
    expected = probability_interval(1.0, 5, 5)
    assert (found.run, found.over, found.probability) == ("B", "A", 1.0)
    assert (found.verdict, found.interval) == ("better", expected)
    (back,) = compare_runs(high, low).improvements
    assert (back.verdict, back.probability) == ("worse", 0.0)
    assert "worse than A: a training run of B beats one of A in 0 % of pairs" in (
        compare_runs(high, low).verdict_text
    )


def test_less_is_better_where_the_metric_is_minimised(tmp_path: Path) -> None:
    spec = SPEC + "selection: {mode: min}\n"
    runs = [
        open_confirmed(tmp_path, name, values, spec=spec, mode="min")
        for name, values in (("a", LOW), ("b", HIGH))
    ]
    (found,) = compare_runs(*runs).improvements
    assert (found.probability, found.verdict) == (0.0, "worse")


def test_what_the_interval_leaves_open_is_undecided_and_more_runs_would_tell(
    tmp_path: Path,
) -> None:
    better = (29.5, 31.5, 28.5, 33.0, 32.0)
    runs = [open_confirmed(tmp_path, name, one) for name, one in (("a", LOW), ("b", better))]
    comparison = compare_runs(*runs)
    (found,) = comparison.improvements
    share = probability_of_improvement(better, LOW)
    assert 0.5 < share < 1
    assert found.probability == share
    assert found.interval is not None
    assert found.interval.low <= 0.5 <= found.interval.high
    assert found.verdict == "undecided"
    assert found.enough_runs is not None
    enough = found.enough_runs
    assert probability_interval(share, enough, enough).low > 0.5
    assert probability_interval(share, enough - 1, enough - 1).low <= 0.5
    assert comparison.verdict_text.startswith("Undecided between B and A: a training run of B ")
    assert f"about {enough} runs of each would tell" in comparison.verdict_text


def test_equal_champions_are_undecided_and_no_number_of_runs_is_promised(tmp_path: Path) -> None:
    # Other hyperparameters, so they are not the same runs again.
    other = SPEC.replace("0.1, 0.2", "0.1, 0.25")
    runs = [
        open_confirmed(tmp_path, "a"),
        changed_configuration(open_confirmed(tmp_path, "b", spec=other), lr=0.25),
    ]
    (found,) = compare_runs(*runs).improvements
    assert (found.probability, found.verdict, found.enough_runs) == (0.5, "undecided", None)


def changed_configuration(run: Run, **values: Any) -> Run:
    """The run as if its champion had other hyperparameters."""

    def change(record: Any) -> Any:
        if "t0002" not in (record.trial_id, record.of):
            return record
        return replace(record, configuration={**record.configuration, **values})

    results = replace(
        run.results,
        trials=tuple(map(change, run.results.trials)),
        retrained=tuple(map(change, run.results.retrained)),
    )
    return replace(run, results=results)


def test_the_same_runs_again_say_nothing_of_a_difference(tmp_path: Path) -> None:
    comparison = compare_runs(open_confirmed(tmp_path, "a"), open_confirmed(tmp_path, "b"))
    (found,) = comparison.improvements
    assert (found.probability, found.interval, found.verdict) == (None, None, None)
    assert found.reason is not None
    assert "these are the same runs again" in found.reason
    assert found.reason in repr(comparison)


def test_several_comparisons_hold_together(tmp_path: Path) -> None:
    a, b, c = (
        open_confirmed(tmp_path, name, [value + shift for value in LOW])
        for name, shift in (("a", 0), ("b", 10), ("c", 20))
    )
    (alone,) = compare_runs(a, b).improvements
    first, second = compare_runs(a, b, c).improvements
    assert (first.run, second.run, second.over) == ("B", "C", "A")
    assert first.interval is not None
    assert alone.interval is not None
    assert first.interval.low < alone.interval.low
    assert first.interval.level == alone.interval.level == 0.95
    assert first.interval.method.endswith("over 2 comparisons")
    assert "over" not in alone.interval.method
    note = "widened so that they hold for all comparisons, finalists and looks together"
    assert note in repr(compare_runs(a, b, c))
    assert note not in repr(compare_runs(a, b))


def test_looks_and_finalists_widen_the_interval_as_those_of_a_verdict(tmp_path: Path) -> None:
    low, high = (open_confirmed(tmp_path, name, runs) for name, runs in (("a", LOW), ("b", HIGH)))
    planned = low.results.confirmation
    assert planned is not None
    grouped = replace(planned, seeds=tuple(range(10)), step=5)
    low = replace(low, results=replace(low.results, confirmation=grouped))
    assert low.selection.confirmed is not None
    own = low.selection.verdict
    assert own is not None
    assert own.probability_interval is not None
    (found,) = compare_runs(high, low).improvements
    assert found.interval is not None
    assert found.interval.method == "Newcombe's method 5, over 2 looks"
    # Five runs against five, none of which beats one of the others: the baseline's interval.
    assert found.interval.high == pytest.approx(1 - own.probability_interval.low)


def test_the_usual_confirmation_can_tell_champions_that_are_far_apart() -> None:
    looks = [(5, 10, 15, 20, 25, 30)] * 2
    found = share_interval(1.0, (5, 5), family=3, looks=looks)
    assert found == probability_interval(1.0, 5, 5, 0.95 ** (1 / 3))  # as for 3 finalists alone
    assert found.low > 0.5
    assert share_interval(24 / 25, (5, 5), family=3, looks=looks).low > 0.5
    assert share_interval(23 / 25, (5, 5), family=3, looks=looks).low < 0.5
    alone = share_interval(1.0, (5, 5), family=1, looks=looks)
    assert found.low < alone.low < probability_interval(1.0, 5, 5).low  # for the looks


def test_without_a_complete_confirmation_there_is_no_probability(tmp_path: Path) -> None:
    a = open_confirmed(tmp_path, "a")
    b = open_run(make_run(tmp_path, "b").root)
    comparison = compare_runs(a, b)
    (found,) = comparison.improvements
    assert found.reason == "No probability that B beats A: B has no complete confirmation."
    assert (found.probability, found.interval, found.verdict) == (None, None, None)
    (note,) = (one for one in comparison.notes if one.startswith("Only training runs"))
    assert f"`sweeper confirm {run_reference(b.results.root)}` would train them" in note
    assert comparison.runs[1].confirmation is None
    assert comparison.runs[1].search.value == 10.0


def test_diverged_runs_count_as_the_worst_of_both_sides(tmp_path: Path) -> None:
    # A diverged run of B stands there with 9, B's own worst, and would beat A's 5.
    a = open_confirmed(tmp_path, "a", (5.0, 31.0, 29.0, 30.5, 30.0))
    frozen = [True, False, False, False, False]
    b = open_confirmed(tmp_path, "b", HIGH, **{"replica/diverged": frozen})
    comparison = compare_runs(a, b)
    (found,) = comparison.improvements
    assert found.probability == pytest.approx((0.5 + 4 * 5) / 25)
    assert any("Runs of the champion diverged in B" in note for note in comparison.notes)


def test_runs_on_the_same_seeds_are_said_to_count_as_independent(tmp_path: Path) -> None:
    a, b = (open_confirmed(tmp_path, name, runs) for name, runs in (("a", LOW), ("b", HIGH)))
    c = open_confirmed(tmp_path, "c", (*HIGH, 40.0))
    (note,) = (one for one in compare_runs(a, b, c).notes if "same seeds" in one)
    assert note.startswith("A and B were confirmed on the same seeds.")
    assert not any("same seeds" in one for one in compare_runs(a, c).notes)


# --- curves ----------------------------------------------------------------------------------


def test_a_mean_curve_begins_where_every_run_has_a_value_and_keeps_the_last() -> None:
    curves = [
        Curve(env_steps=[100, 300], values=[0.0, 20.0]),
        Curve(env_steps=[200, 400], values=[10.0, 10.0]),
    ]
    found = mean_curve(curves, metric="m", stage="search")
    assert found == MeanCurve("m", "search", 2, (200.0, 300.0, 400.0), (10.0, 15.0, 15.0))
    assert mean_curve([], metric="m", stage="search") is None


def test_curves_are_drawn_on_one_scale() -> None:
    long = MeanCurve("m", "search", 1, (100.0, 200.0, 400.0), (0.0, 10.0, 70.0))
    short = MeanCurve("m", "search", 1, (0.0, 150.0), (35.0, 35.0))
    drawn = draw([long, short, None], 4)
    assert (drawn.low, drawn.high, drawn.env_steps) == (0.0, 70.0, 400.0)
    # At 100, 200, 300 and 400 env steps: 0, 10, 40 and 70 of 70.
    assert drawn.lines == (
        BLOCKS[0] + BLOCKS[1] + BLOCKS[4] + BLOCKS[7],
        BLOCKS[4] * 2 + "  ",
        " " * 4,
    )


def test_a_flat_curve_and_no_curve_are_drawn() -> None:
    flat = MeanCurve("m", "search", 1, (10.0,), (5.0,))
    assert draw([flat], 3).lines == ("  " + BLOCKS[4],)
    assert draw([None], 3).lines == ("   ",)
    assert draw([None], 3).low is None


def test_the_confirmations_curves_are_preferred_to_the_searchs(tmp_path: Path) -> None:
    a = with_curves(open_confirmed(tmp_path, "a"), [[10.0, 30.0]] * 4 + [[0.0, 20.0]])
    searched = open_run(make_run(tmp_path, "b", ["TERMINATED"]).root)
    rows = tuple(
        {
            **searched.results.trials[0].last_report,
            ENV_STEPS: steps,
            "replica/episode_return_mean": [value],
        }
        for steps, value in ((500, 1.0), (900, 3.0))
    )
    trial = replace(searched.results.trials[0], reports=rows, seeds=(0,))
    b = replace(searched, results=replace(searched.results, trials=(trial,)))
    first, second = compare_runs(a, b).runs
    assert first.curve == MeanCurve(
        "episode_return_mean", "confirmation", 5, (500.0, 1000.0), (8.0, 28.0)
    )
    assert second.curve == MeanCurve("episode_return_mean", "search", 1, (500.0, 900.0), (1.0, 3.0))


# --- differences and cost ----------------------------------------------------------------------


def test_only_what_differs_is_shown_and_what_is_left_out_is_the_default(tmp_path: Path) -> None:
    a = changed_configuration(open_confirmed(tmp_path, "a"), gamma=0.9, num_epochs=30)
    b = open_confirmed(tmp_path, "b", HIGH)  # RLlib's num_epochs of PPO is 30, its gamma 0.99
    (found,) = compare_runs(a, b).differences
    assert found.name == "gamma"
    assert [one.value for one in found.settings] == [0.9, 0.99]
    assert [one.is_default for one in found.settings] == [False, True]
    assert found.to_json() == {
        "parameter": "gamma",
        "values": [0.9, 0.99],
        "is_default": [False, True],
    }


def test_a_key_that_the_other_algorithm_lacks_is_no_default(tmp_path: Path) -> None:
    dqn = SPEC.replace("algorithm: PPO", "algorithm: DQN")
    a = changed_configuration(open_confirmed(tmp_path, "a"), clip_param=0.2, num_epochs=3)
    b = open_confirmed(tmp_path, "b", HIGH, spec=dqn)
    found = {one.name: one.settings for one in compare_runs(a, b).differences}
    assert [one.is_known for one in found["clip_param"]] == [True, False]
    assert [one.is_known for one in found["num_epochs"]] == [True, False]  # DQN ignores it
    assert compare_runs(a, b).parameters[-1].cells[1] == "-"


def test_cost_is_of_the_whole_run(tmp_path: Path) -> None:
    a = open_confirmed(tmp_path, "a")
    b = open_run(make_run(tmp_path, "c", ["TERMINATED", "ERROR", "PRUNED"]).root)
    first, second = (one.cost for one in compare_runs(a, b).runs)
    assert (first.trials, first.retrained) == (2, 2)
    assert first.env_steps == 2 * 500
    assert first.confirmation_env_steps == 2 * 5 * 1000
    assert first.core_hours is None  # the confirmation's trials have no time
    assert (second.trials, second.retrained, second.env_steps) == (3, 0, 1500)
    assert second.core_hours == pytest.approx(3 * 20 / 3600)
    assert second.time_s == pytest.approx(60, abs=1e-3)
    assert {str(state): number for state, number in second.states.items()} == {
        "TERMINATED": 1,
        "ERROR": 1,
        "PRUNED": 1,
    }


def test_the_time_between_two_launches_is_no_cost(tmp_path: Path) -> None:
    run = open_run(make_confirmed(tmp_path, "a").root)
    begin, again = run.results.launches
    assert again.started - begin.updated > 1e9  # decades later
    cost = compare_runs(run, open_confirmed(tmp_path, "b", HIGH)).runs[0].cost
    assert cost.time_s == pytest.approx(60, abs=1e-3)


def test_letters_go_on_after_z() -> None:
    assert [letters(place) for place in (0, 1, 25, 26, 27, 701, 702)] == [
        "A", "B", "Z", "AA", "AB", "ZZ", "AAA",
    ]  # fmt: skip
