"""Advice appears where something is planted, and hardly ever on noise."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import sweeper_here
from run_folders import make_run

from sweeper.evidence.advice.effort import advise_on_effort, find_reliability, turning_point
from sweeper.evidence.advice.length import advise_on_length
from sweeper.evidence.advice.positions import savage_scores
from sweeper.evidence.advice.report import advise
from sweeper.metrics import Objective
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.states import FailureReason, TrialState

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def planted():
    sys.path.insert(0, str(BENCHMARKS))
    import advice

    yield advice
    sys.path.remove(str(BENCHMARKS))
    del sys.modules["advice"]


def named(planted, name: str):
    return next(kind for kind in planted.KINDS if kind.name == name)


def drawn(planted, name: str, seed: int, number: int = 32) -> SweepResults:
    return planted.draw_sweep(named(planted, name), number, np.random.default_rng(seed))


def found(planted, results: SweepResults, about: str, **options):
    advice = advise(results, planted.OBJECTIVE, planted.SPACE, is_brief=True, **options)
    return next(one for one in advice.findings if one.about == about)


def test_noise_gets_hardly_any_advice(planted) -> None:
    counts: Counter[str] = Counter()
    for seed in range(40):
        given = planted.advise_on(named(planted, "pure noise"), 24, seed, is_brief=True).given
        wrong = [one.about for one in given if not one.text.startswith("More seeds")]
        counts.update(wrong)
        counts["any"] += bool(wrong)
    assert counts["any"] <= 6  # two questions of 2 % each: 1.6 on average
    assert counts["effort"] == 0


def test_a_task_that_everything_solves_gets_no_advice_at_all(planted) -> None:
    advice = planted.advise_on(named(planted, "pure noise, flat at a ceiling"), 12, 0)
    assert advice.given == ()
    assert [one.about for one in advice.silent] == [
        "failures", "ranges", "length", "effort", "importance",
    ]  # fmt: skip


def test_a_bound_that_the_best_lean_on_is_named_with_where_to_move_it(planted) -> None:
    kind, right = "the best lr lies beyond the bound", 0
    for seed in range(20):
        finding = found(planted, drawn(planted, kind, seed), "ranges")
        bounds = finding.numbers.get("bounds", [])
        assert all(one["parameter"] == "lr" and one["side"] == "upper" for one in bounds[:1])
        right += bool(bounds)
    assert right >= 14
    bound = bounds[0]
    assert (bound["bound"], bound["try"]) == (0.01, 0.03)
    assert bound["best_at_bound"] / bound["best"] > bound["trials_at_bound"] / bound["trials"]
    for words in ("lr in the upper fifth of its range (0.002512 to 0.01)", "beyond 0.01", "p = "):
        assert words in finding.text


def test_a_bound_that_cannot_be_moved_is_not_named(planted) -> None:
    from sweeper.search.distributions import parse_space

    results = drawn(planted, "the best lr lies beyond the bound", 0)
    moved = tuple(
        replace(one, parameters={"gamma": 1 - (0.01 - one.parameters["lr"])})
        for one in results.trials
    )
    wide, _ = parse_space({"gamma": {"uniform": [0.99001, 1.0]}})
    advice = advise(SweepResults(root=Path(), trials=moved), planted.OBJECTIVE, wide, is_brief=True)
    assert "ranges" not in [one.about for one in advice.given]


def test_curves_that_still_rise_are_told_from_those_that_do_not(planted) -> None:
    rising = found(planted, drawn(planted, "curves still rise by a deviation", 1), "length")
    assert rising.is_advice
    low, high = rising.numbers["interval"]
    assert low < 50 < high or 40 < rising.numbers["gain"] < 70
    assert "num_env_steps_sampled_lifetime >= 100000" in rising.text
    flat = found(planted, drawn(planted, "pure noise", 1), "length")
    assert not flat.is_advice
    assert "did not improve notably" in flat.text


def turned(planted, results: SweepResults) -> SweepResults:
    """The same results with the sign of every return changed."""

    def turn(report):
        return {
            name: [-one for one in value] if isinstance(value, list) else value
            for name, value in report.items()
        } | {planted.METRIC: -report[planted.METRIC]}

    trials = tuple(replace(one, reports=tuple(map(turn, one.reports))) for one in results.trials)
    return SweepResults(root=Path(), trials=trials)


@pytest.mark.parametrize("kind", ["curves still rise by a deviation", "pure noise"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("has_evaluations", [True, False])
def test_what_is_minimised_is_told_of_as_what_is_maximised(
    planted, kind: str, seed: int, has_evaluations: bool
) -> None:
    results = drawn(planted, kind, seed)
    both = []
    for trials in (results.trials, turned(planted, results).trials):
        if not has_evaluations:  # then returns while training tell of it, which are judged alike
            trials = tuple(
                replace(
                    one,
                    reports=tuple(
                        {name.replace("evaluation/", ""): value for name, value in row.items()}
                        for row in one.reports
                    ),
                )
                for one in trials
            )
        both.append(trials)
    up = advise_on_length(both[0], Objective(planted.METRIC, "max"))
    down = advise_on_length(both[1], Objective(planted.METRIC, "min"))
    assert up.is_advice == down.is_advice
    assert up.text.replace("still rose by", "still fell by") == down.text
    assert down.numbers["gain"] == -up.numbers["gain"]
    if not up.is_advice and up.numbers["gain"] > 0:
        assert "did not improve notably: by -" not in down.text


def test_what_is_minimised_rises_when_it_falls(planted) -> None:
    results = turned(planted, drawn(planted, "curves still rise by a deviation", 1))
    objective = Objective(planted.METRIC, "min")
    advice = advise(results, objective, planted.SPACE, is_brief=True)
    (length,) = [one for one in advice.given if one.about == "length"]
    assert "still fell by" in length.text
    assert length.numbers["gain"] < 0


def test_trials_that_reached_their_return_were_not_cut_off(planted) -> None:
    results = drawn(planted, "curves still rise by a deviation", 1)
    solved = tuple(replace(one, reason="episode_return_mean >= 475") for one in results.trials)
    finding = found(planted, SweepResults(root=Path(), trials=solved), "length")
    assert not finding.is_advice
    assert "No trial was ended by its env steps" in finding.text


def test_a_range_where_trials_diverge_is_blamed(planted) -> None:
    finding = found(planted, drawn(planted, "a fifth of lr's range diverges", 3), "failures")
    (blamed,) = finding.numbers["ranges"]
    assert (blamed["parameter"], blamed["side"]) == ("lr", "upper")
    assert 0.002 < blamed["from"] < 0.005
    assert "of 32 trials failed: diverged" in finding.text
    assert "grad_clip" in finding.text
    assert "move its upper bound there" in finding.text


def test_failures_without_a_pattern_blame_no_range(planted) -> None:
    blamed = 0
    for seed in range(10):
        results = drawn(planted, "pure noise", seed)
        failed = tuple(
            replace(one, state=TrialState.ERROR, reason=FailureReason.OUT_OF_MEMORY)
            if index % 6 == 0
            else one
            for index, one in enumerate(results.trials)
        )
        finding = found(planted, SweepResults(root=Path(), trials=failed), "failures")
        assert "6 of 32 trials failed: out of memory, t0001 first" in finding.text
        assert "search.max_concurrent" in finding.text
        blamed += bool(finding.numbers["ranges"])
    assert blamed <= 2


def test_seeds_or_configurations_follows_what_scores_are_made_of(planted) -> None:
    answers = {"own": Counter(), "luck": Counter()}
    for seed in range(8):
        own = drawn(planted, "configurations differ by 2 deviations", seed)
        luck = drawn(planted, "pure noise", seed, number=64)
        for name, results in (("own", own), ("luck", luck)):
            finding = found(planted, results, "effort")
            answers[name][finding.text[:10] if finding.is_advice else "nothing"] += 1
    assert answers["own"]["More confi"] >= 7
    assert answers["own"]["More seeds"] == answers["luck"]["More confi"] == 0
    assert answers["luck"]["More seeds"] >= 4


@pytest.mark.parametrize("pause_s", [0.0, 86_400.0])
def test_the_time_between_launches_is_not_the_sweeps(planted, pause_s: float) -> None:
    results = drawn(planted, "configurations differ by 2 deviations", 0)
    trials = []
    for index, one in enumerate(results.trials):  # two at a time, of 50 s each
        began = 50.0 * (index // 2) + (pause_s if index >= 16 else 0.0)
        last = {**one.last_report, "time_total_s": 50.0}
        reports = (*one.reports[:-1], last)
        trials.append(replace(one, started=began, ended=began + 50.0, reports=reports))
    finding = found(planted, SweepResults(root=Path(), trials=tuple(trials)), "effort")
    assert finding.numbers["configurations_an_hour"] == pytest.approx(2 * 3600 / 50)


def test_where_only_some_replicas_diverge_it_says_what_to_do(planted) -> None:
    results = drawn(planted, "pure noise", 0)
    first, *others = results.trials
    flags = [True, *[False] * (len(first.seeds) - 1)]
    last = {**first.last_report, "replica/diverged": flags}
    trials = (replace(first, reports=(*first.reports[:-1], last)), *others)
    finding = found(planted, SweepResults(root=Path(), trials=trials), "failures")
    assert "In 1 trial some replicas diverged. What to do: a smaller lr" in finding.text


def test_runs_that_all_gain_the_same_have_no_interval(planted) -> None:
    kind = named(planted, "pure noise, flat at a ceiling")
    results = planted.draw_sweep(kind, 16, np.random.default_rng(0))
    finding = found(planted, results, "length")
    assert finding.numbers["interval"] is None
    assert "by 0 in each of" in finding.text


def test_one_seed_tells_luck_from_merit_in_nothing(planted) -> None:
    kind = replace(named(planted, "pure noise"), seeds=1)
    results = planted.draw_sweep(kind, 12, np.random.default_rng(0))
    finding = found(planted, results, "effort")
    assert not finding.is_advice
    assert "With one seed each" in finding.text


def test_a_parameter_that_matters_lies_above_the_noise_floor(planted) -> None:
    advice = planted.advise_on(named(planted, "the best lr lies beyond the bound"), 32, 0)
    (finding,) = [one for one in advice.given if one.about == "importance"]
    assert "lr (" in finding.text
    values = {one["name"]: one for one in finding.numbers["parameters"]}
    assert set(values) == set(planted.SPACE)
    assert values["lr"]["value"] > values["lr"]["floor"]


def test_no_parameter_of_a_search_of_noise_matters(planted) -> None:
    kind = named(planted, "pure noise")
    given = [one.about for one in planted.advise_on(kind, 16, 0).given]
    assert "importance" not in given


def test_trials_stopped_early_count_below_all_others(planted) -> None:
    results = drawn(planted, "the best lr lies beyond the bound", 0)
    # The best half was stopped early, so the best of the rest have middling learning rates.
    ordered = sorted(results.trials, key=lambda one: -one.parameters["lr"])
    stopped = {one.trial_id for one in ordered[:16]}
    trials = tuple(
        replace(one, state=TrialState.PRUNED) if one.trial_id in stopped else one
        for one in results.trials
    )
    bounds = found(planted, SweepResults(root=Path(), trials=trials), "ranges").numbers
    assert all(one["side"] == "lower" for one in bounds.get("bounds", []))


def test_an_empty_run_gets_no_advice_and_no_error(planted) -> None:
    advice = advise(SweepResults(root=Path(), trials=()), planted.OBJECTIVE, planted.SPACE)
    assert advice.given == ()
    assert len(advice.silent) == 5


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.0, 0.35), (0.8, 0.65, 0.9)])
def test_the_reliability_is_the_configurations_share(share, low, high) -> None:
    generator, seeds, inside = np.random.default_rng(0), 5, 0
    values = []
    for _ in range(100):
        # The variance of a mean of five runs is 1/5, so this share of the means' is their own.
        own = np.sqrt(share / (1 - share) / seeds) * generator.normal(size=(24, 1))
        found = find_reliability(own + generator.normal(size=(24, seeds)))
        values.append(found.value)
        inside += found.low <= share <= found.high
    assert low <= np.mean(values) <= high
    assert inside >= 88  # of 90 % intervals


@pytest.mark.filterwarnings("error")
def test_configurations_that_are_mostly_one_and_the_same_have_a_reliability() -> None:
    runs = [[500.0] * 3] * 6 + [[300.0, 420.0, 380.0], [500.0, 480.0, 500.0], [100.0, 90.0, 140.0]]
    found = find_reliability(runs)
    assert found is not None
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_an_interval_from_nothing_to_nothing_is_not_shown() -> None:
    luck = (100.0, 300.0, 500.0, 200.0, 400.0)
    runs = [tuple(value + shift for value in luck) for shift in (0.0, 1.0, -1.0, 2.0, 0.5, -2.0)]
    found = advise_on_effort(runs, 10.0)
    assert found.text.startswith("More seeds are a better use of the next hour (about 50 training")
    assert found.text.endswith("no larger than the luck of 5 seeds makes it.")


def test_more_configurations_pay_the_sooner_the_fewer_there_are() -> None:
    points = [turning_point(number, 2.0) for number in (4, 16, 100)]
    assert points == sorted(points)
    # The best of 16 and 32 normal values: 1.766 and 2.070 deviations on average.
    assert points[1] == pytest.approx(2 / (2.070 / 1.766) ** 2 - 1, abs=0.005)


def test_savage_scores_fall_with_the_rank_and_share_ties() -> None:
    assert savage_scores(np.array([1.0, 3.0, 2.0])) == pytest.approx(
        [1 / 3 - 1, 1 / 3 + 1 / 2 + 1 - 1, 1 / 3 + 1 / 2 - 1]
    )
    tied = savage_scores(np.array([2.0, 2.0, 0.0]))
    assert tied[0] == tied[1] > tied[2]
    assert tied.sum() == pytest.approx(0)


def test_the_command_says_what_the_data_do_not_bear(tmp_path: Path) -> None:
    make_run(tmp_path, "few", ["TERMINATED", "TERMINATED", "ERROR"])
    done = sweeper_here("advise", "few", "--storage", ".", cwd=tmp_path)
    assert done.returncode == 0
    assert "1 of 3 trials failed" in done.stdout
    assert "no advice on ranges" in " ".join(done.stdout.split())
    document = json.loads(
        sweeper_here("advise", "few", "--storage", ".", "--json", cwd=tmp_path).stdout
    )
    assert [one["about"] for one in document["advice"]] == ["failures"]
    assert {one["about"] for one in document["nothing"]} == {
        "ranges", "length", "effort", "importance",
    }  # fmt: skip


def test_reports_that_repeat_an_evaluation_do_not_hide_what_was_gained() -> None:
    metric = "evaluation/episode_return_mean"
    # (env steps, value of each run, whether it was just evaluated)
    rows = [(300, 0.0, True), (660, 0.0, False), (700, 50.0, True), (1000, 80.0, True)]
    reports = tuple(
        {
            "num_env_steps_sampled_lifetime": steps,
            "evaluation/is_new": is_new,
            f"replica/{metric}": [value + run for run in range(4)],
        }
        for steps, value, is_new in rows
    )
    reason = "num_env_steps_sampled_lifetime >= 1000"
    record = TrialRecord("t0001", "TERMINATED", reason=reason, reports=reports)
    assert advise_on_length([record], Objective(metric)).numbers["gain"] == 30.0
