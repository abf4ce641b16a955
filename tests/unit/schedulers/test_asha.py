"""ASHA and HyperBand: rungs in env steps, quotas, and Tune's own decisions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sweeper.metrics import Objective
from sweeper.schedulers.asha import AshaScheduler, HalvingScheduler
from sweeper.schedulers.base import CONTINUE, Action, Decision, Report
from sweeper.schedulers.hyperband import HyperBandScheduler
from sweeper.schedulers.rungs import count_ladders, expected_passes, first_rung, spaced


def asha(mode: str = "max", **options: object) -> AshaScheduler:
    given = {"max_t": 100_000, "grace_period": 10_000, "reduction_factor": 3, **options}
    return AshaScheduler(Objective(mode=mode), **given)  # type: ignore[arg-type]


def tell(scheduler: HalvingScheduler, *reports: tuple[str, int, float | None]) -> list[Decision]:
    return [scheduler.on_report(Report(*report)) for report in reports]


def test_the_first_rung_lies_at_30_percent_unless_the_spec_says_otherwise() -> None:
    assert AshaScheduler(Objective(), max_t=100_000).rung_env_steps == (30_000,)
    assert AshaScheduler(Objective(), max_t=100_000, reduction_factor=3).rung_env_steps == (
        30_000,
        90_000,
    )
    assert asha().rung_env_steps == (10_000, 30_000, 90_000)
    assert (first_rung(100_000), first_rung(1), first_rung(7)) == (30_000, 1, 3)


def test_rungs_are_whole_numbers_in_geometric_steps_below_the_end() -> None:
    assert spaced(1, 10, below=1000) == (1, 10, 100)
    assert spaced(10, 1.5, below=40) == (10, 15, 23, 34)
    assert spaced(3, 1.01, below=4) == (3, 4)
    assert spaced(100, 3, below=100) == ()


def test_a_trial_below_the_cut_off_ends_and_the_reason_says_why() -> None:
    scheduler = asha()
    decisions = tell(
        scheduler, ("t0001", 10_240, 120.5), ("t0002", 10_240, 130.0), ("t0003", 10_240, 41.2)
    )
    assert decisions == [
        Decision(Action.CONTINUE, "the first at rung 1", 1),
        Decision(Action.CONTINUE, "130 >= 120.5, the cut-off of rung 1", 1),
        Decision(Action.STOP, "41.2 < 126.8, the cut-off of rung 1", 1),
    ]


def test_where_less_is_better_the_signs_are_turned() -> None:
    decisions = tell(asha("min"), ("t0001", 10_000, 1.0), ("t0002", 10_000, 2.0))
    assert decisions[1] == Decision(Action.STOP, "2 > 1, the cut-off of rung 1", 1)


def test_values_that_differ_are_never_shown_as_equal() -> None:
    decisions = tell(asha(), ("t0001", 10_000, 1.00002), ("t0002", 10_000, 1.00001))
    assert decisions[1].reason.startswith("1.00001 < 1.00002")


def test_a_value_exactly_at_the_cut_off_goes_on() -> None:
    decisions = tell(asha(), *[(f"t{number:04d}", 10_000, 5.0) for number in range(5)])
    assert {one.action for one in decisions} == {Action.CONTINUE}


def test_a_rung_compares_the_first_report_at_or_after_its_env_steps_once() -> None:
    scheduler = asha()
    decisions = tell(
        scheduler,
        ("t0001", 9_999, 1.0),
        ("t0001", 10_001, 50.0),
        ("t0001", 12_000, 70.0),
        ("t0001", 10_001, 0.0),  # trained again after a crash
        ("t0002", 10_001, 50.0),
    )
    assert [one.rung for one in decisions] == [None, 1, None, None, 1]
    assert decisions[-1].reason == "50 >= 50, the cut-off of rung 1"


def test_a_trial_that_passes_two_rungs_at_once_is_compared_at_the_upper_one_only() -> None:
    scheduler = asha()
    late = tell(scheduler, ("t0001", 10_000, None), ("t0001", 31_000, 9.0), ("t0001", 32_000, 9.0))
    assert [one.rung for one in late] == [None, 2, None]
    assert tell(scheduler, ("t0002", 10_000, 1.0))[0].reason == "the first at rung 1"


def test_a_trial_that_met_its_own_criterion_counts_where_it_came_to_and_not_beyond() -> None:
    scheduler = asha()
    scheduler.on_final_report(Report("t0001", 30_500, 475.0))
    decisions = tell(scheduler, ("t0002", 30_000, 100.0), ("t0003", 90_000, 100.0))
    assert decisions[0].action is Action.STOP
    assert decisions[1].reason == "the first at rung 3"


def test_brackets_follow_from_the_trials_id_and_begin_later() -> None:
    scheduler = asha(brackets=3)
    chosen = [scheduler.choose_ladder(f"t{number:04d}") for number in range(1, 2001)]
    assert chosen == [asha(brackets=3).choose_ladder(f"t{number:04d}") for number in range(1, 2001)]
    shares = [count / 2000 for _, count in sorted(Counter(chosen).items())]
    assert shares == pytest.approx(scheduler.ladder_shares(), abs=0.03)
    rungs = [tuple(rung.env_steps for rung in one.rungs) for one in scheduler.ladders]
    assert rungs == [(10_000, 30_000, 90_000), (30_000, 90_000), (90_000,)]


def test_the_expected_share_counts_the_quota_and_the_first_ones() -> None:
    assert expected_passes(1, 0.25) == 1
    assert expected_passes(10_000, 0.25) == pytest.approx(2500, rel=0.01)
    assert expected_passes(2.5, 0.5) == pytest.approx(1 + 0.5 + 0.5 * (2 - 0.5) / 3)
    scheduler = AshaScheduler(Objective(), max_t=100_000)
    assert scheduler.expected_share(1) == 1
    assert scheduler.expected_share(100_000) == pytest.approx(0.3 + 0.25 * 0.7, rel=0.01)
    assert AshaScheduler(Objective(), max_t=2, grace_period=1).expected_share(0) == 1


def test_the_expected_number_of_ends_is_what_passes_every_rung() -> None:
    assert asha(reduction_factor=3).expected_ends(1) == 1
    assert asha(reduction_factor=3).expected_ends(27_000) == pytest.approx(1000, rel=0.01)
    patient = HyperBandScheduler(Objective(), max_t=90_000)  # 3 of 5 trials have one rung
    assert patient.expected_ends(50_000) == pytest.approx(10_000 + 20_000, rel=0.01)


def test_a_ladder_that_begins_a_rung_later_must_still_have_one() -> None:
    for first, factor, below in ((10, 3, 91), (10, 3, 90), (1, 1.1, 10**9), (30, 4, 100)):
        most = count_ladders(first, factor, below=below)
        assert spaced(first * factor ** (most - 1), factor, below=below)
        assert not spaced(first * factor**most, factor, below=below)


def test_hyperbands_first_rung_is_low_enough_for_its_factor() -> None:
    for factor in (2, 3, 3.4, 4, 10, 99.9):
        for max_t in (100, 1000, 99_999):
            scheduler = HyperBandScheduler(Objective(), max_t=max_t, reduction_factor=factor)
            assert scheduler.rung_env_steps
            assert scheduler.rung_env_steps[0] < max_t


def test_what_is_expected_is_what_happens_in_random_order() -> None:
    generator, passed = np.random.default_rng(0), []
    for _ in range(50):
        scheduler = AshaScheduler(Objective(), max_t=100_000)
        values = generator.permutation(40).tolist()
        reports = [(f"t{number}", 30_000, float(value)) for number, value in enumerate(values)]
        decisions = tell(scheduler, *reports)
        passed.append(sum(one.action is Action.CONTINUE for one in decisions))
    assert np.mean(passed) == pytest.approx(expected_passes(40, 0.25), rel=0.1)


def test_hyperbands_brackets_have_the_papers_rungs_and_sizes() -> None:
    scheduler = HyperBandScheduler(Objective(), max_t=81, grace_period=1)
    rungs = [tuple(rung.env_steps for rung in one.rungs) for one in scheduler.ladders]
    assert rungs == [(1, 3, 9, 27), (3, 9, 27), (9, 27), (27,), ()]
    assert scheduler.sizes == (81, 34, 15, 8, 5)  # table 1 of the paper
    default = HyperBandScheduler(Objective(), max_t=90_000)
    assert [len(one.rungs) for one in default.ladders] == [1, 0]
    assert (default.rung_env_steps, default.sizes) == ((30_000,), (3, 2))


def test_hyperbands_trials_fill_the_brackets_in_turn_and_are_compared_within_one() -> None:
    scheduler = HyperBandScheduler(Objective(), max_t=90_000)
    decisions = [
        scheduler.on_report(Report(f"t{number:04d}", 30_000, float(-number)))
        for number in range(1, 8)
    ]
    assert [one.rung for one in decisions] == [1, 1, 1, None, None, 1, 1]
    assert decisions[3] == CONTINUE
    assert [one.action for one in decisions[:3]] == [Action.CONTINUE, Action.STOP, Action.STOP]
