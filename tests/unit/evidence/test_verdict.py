from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.evidence.verdict import Sample, Verdict, judge, undecided

LOOKS = (5, 10, 15, 20, 25, 30)
VALUE = st.one_of(st.none(), st.integers(-50, 50).map(float), st.floats(-1e3, 1e3))


@st.composite
def samples(draw: st.DrawFn) -> list[Sample]:
    names = draw(st.lists(st.sampled_from(range(99)), min_size=1, max_size=5, unique=True))
    size = draw(st.integers(1, 6))
    return [
        Sample(
            f"t{name:04d}",
            tuple(draw(st.lists(VALUE, min_size=size, max_size=size))),
            env_steps=draw(st.sampled_from([1e5, 2e5])),
            search_score=draw(st.floats(-1e3, 1e3)),
        )
        for name in names
    ]


@given(samples(), st.randoms(use_true_random=False), st.sampled_from(["max", "min"]))
def test_the_order_of_finalists_changes_nothing(finalists: list[Sample], random, mode: str) -> None:
    baseline = Sample("baseline", (1.0, 2.0, 4.0), 1e5)
    first = judge(finalists, baseline, mode=mode)
    shuffled = list(finalists)
    random.shuffle(shuffled)
    again = judge(shuffled, baseline, mode=mode)
    assert again.text == first.text
    assert dict(again.evidence) == dict(first.evidence)


@given(samples(), st.sampled_from(["max", "min"]))
def test_a_worse_finalist_never_changes_the_champion(finalists: list[Sample], mode: str) -> None:
    champion = judge(finalists, None, mode=mode).champion
    worst = -2e3 if mode == "max" else 2e3
    worse = Sample("t9999", (worst,) * len(finalists[0].values), 1.0, search_score=worst)
    with_it = judge([*finalists, worse], None, mode=mode)
    if judge(finalists, None, mode=mode).verdict != "unconfirmed":
        assert with_it.champion == champion


@given(samples())
def test_a_verdict_survives_its_record(finalists: list[Sample]) -> None:
    made = judge(finalists, Sample("baseline", (1.0, 2.0, 4.0), 1e5), solved_at=10.0)
    assert Verdict.from_json(json.loads(json.dumps(made.to_json(), allow_nan=False))) == made


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="t0001 has a value that is no number"):
        Sample("t0001", (1.0, value), 1e5)


def test_minimising_is_maximising_the_negative() -> None:
    up = [
        Sample("t1", (1.0, 2.0, 3.0, 2.5, 1.5), 1e5),
        Sample("t2", (5.0, 6.0, 7.0, 6.0, 5.5), 1e5),
    ]
    down = [Sample(one.name, tuple(-value for value in one.values if value), 1e5) for one in up]
    base = (0.0, 0.5, 0.2, 0.1, 0.3)
    first = judge(up, Sample("baseline", base, 1e5))
    second = judge(down, Sample("baseline", tuple(-value for value in base), 1e5), mode="min")
    assert (first.champion, first.verdict, first.tied) == ("t2", "better", ())
    assert (second.champion, second.verdict, second.tied) == ("t2", "better", ())
    assert first.probability_of_improvement == second.probability_of_improvement == 1.0


@pytest.mark.parametrize(
    ("solved_at", "is_far"), [(5.0, False), (14.0, False), (30.0, True), (1e6, True)]
)
@pytest.mark.parametrize("mode", ["max", "min"])
def test_what_no_run_came_near_is_said(solved_at: float, is_far: bool, mode: str) -> None:
    sign = 1 if mode == "max" else -1
    best = Sample("t1", tuple(sign * value for value in (10.0, 11.0, 12.0, 10.5, 11.5)), 1e5)
    baseline = Sample("baseline", tuple(sign * value for value in (9.0, 10.5, 4.0)), 1e5)
    text = judge([best], baseline, mode=mode, solved_at=sign * solved_at).text
    words = f"the best ended at {sign * 12}. Perhaps the environment can't give it."
    assert (words in text) == is_far


@pytest.mark.parametrize(("value", "is_far"), [(474.0, False), (9.0, True)])
def test_equal_runs_may_be_near(value: float, is_far: bool) -> None:
    text = judge([Sample("t1", (value,) * 5, 1e5)], None, solved_at=475).text
    assert ("No run came near 475" in text) == is_far


def test_a_run_of_anybody_may_be_near() -> None:
    finalist, failed = Sample("t1", (9.0, 10.0), 1e5), Sample("t2", (480.0, None, None), 1e5)
    assert "No run came near 475" in judge([finalist], None, solved_at=475).text
    assert "No run came near 475" not in judge([finalist, failed], None, solved_at=475).text
    # A value that stands for a diverged run is nobody's.
    diverged = Sample("t2", (9.0, 10.0, 480.0), 1e5, diverged=(2,))
    assert "No run came near 475" in judge([finalist], diverged, solved_at=475).text


def test_seeds_are_added_to_what_is_undecided_only() -> None:
    best = Sample("t1", (10.0, 11.0, 12.0, 10.5, 11.5), 1e5)
    rival = Sample("t2", (9.0, 10.5, 11.0, 9.5, 10.0), 1e5)
    bad = Sample("t3", (1.0, 2.0, 0.0, 1.5, 0.5), 1e5)
    baseline = Sample("baseline", (0.0, 1.0, 2.0, 0.5, 1.5), 1e5)
    assert undecided([best, rival, bad], baseline, looks=LOOKS) == ("t1", "t2")
    assert undecided([best, bad], baseline, looks=LOOKS) == ()
    assert undecided([bad], baseline, looks=LOOKS) == ()  # 1 against 1: no seeds would tell


def test_one_more_run_is_not_predicted_beyond_what_runs_with_a_tail_come_near() -> None:
    # Of a confirmation on Acrobot, whose returns are below 0.
    runs = (-90, -102, -83, -254, -95, -80, -295, -408, -88, -330)
    runs += (-97, -85, -86, -92, -95, -114, -335, -418, -86, -500)
    evidence = judge([Sample("t1", runs, 8e4)], None).evidence["t1"]
    assert evidence.prediction is not None
    assert (evidence.prediction.low, evidence.prediction.high) == (-500, -80)
    assert evidence.prediction.level == pytest.approx(19 / 21)
    assert evidence.prediction_reason == (
        "20 runs far from a normal distribution allow no higher level"
    )


def test_runs_that_got_stuck_in_the_search_widen_what_is_said_of_lucky_ones() -> None:
    runs, searched = (240.0, 251.0, 246.0, 255.0, 238.0), (241.0, 250.0, -20.0, 247.0, 252.0)
    alone = judge([Sample("t1", runs, 1e5)], None).evidence["t1"]
    warned = judge([Sample("t1", runs, 1e5, search_runs=searched)], None).evidence["t1"]
    assert alone.prediction is not None
    assert warned.prediction is not None
    assert (alone.prediction.level, warned.prediction.level) == (0.95, pytest.approx(4 / 6))
    assert warned.mean == alone.mean
    assert warned.interval is not None
    assert warned.interval.low == pytest.approx(-20 + 0.47818 * (246 + 20), abs=0.01)


@pytest.mark.parametrize(
    ("finalists", "problem"),
    [([], "finalists must be some"), ([Sample("t1", (1.0,), 1e5)] * 2, "different names")],
)
def test_finalists_are_some_and_have_different_names(finalists: list[Sample], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        judge(finalists, None)


def test_what_an_early_look_has_decided_stays_and_others_go_on() -> None:
    # After 5 runs t1 is told from t2, which gets no more; after 10, t1 from the baseline.
    best = (10.0, 11.0, 12.0, 10.5, 11.5, 10.0, 11.0, 12.0, 10.5, 11.5)
    bad = (1.0, 2.0, 0.0, 1.5, 0.5)
    base = (8.0, 10.9, 12.0, 9.0, 9.5, 8.0, 10.0, 9.5, 8.5, 9.0)
    made = judge(
        [Sample("t1", best, 1e5), Sample("t2", bad, 1e5)],
        Sample("baseline", base, 1e5),
        looks=LOOKS,
    )
    assert (made.champion, made.verdict, made.tied) == ("t1", "better", ())


def test_what_an_early_look_decided_is_dropped_when_the_means_change_places() -> None:
    early, later = (10.0, 10.1, 9.9, 10.05, 9.95), (40.0, 41.0, 39.0, 40.5, 39.5)
    finalist = Sample("t1", (*early, *later), 1e5)
    baseline = Sample("baseline", (20.0, 20.1, 19.9, 20.05, 19.95) * 2, 1e5)
    first = judge([Sample("t1", early, 1e5)], Sample("baseline", baseline.values[:5], 1e5),
                  looks=(5, 10))  # fmt: skip
    assert first.verdict == "worse"
    for mode, sign in (("max", 1), ("min", -1)):
        both = [
            Sample(one.name, tuple(sign * value for value in one.values if value), 1e5)
            for one in (finalist, baseline)
        ]
        assert judge(both[:1], both[1], looks=(5, 10), mode=mode).verdict == "undecided"


def test_a_rival_is_named_with_its_interval_and_runs() -> None:
    best = Sample("t1", (10.0, 11.0, 12.0, 10.5, 11.5), 1e5)
    rival = Sample("t2", (9.0, 10.5, 11.0, 9.5, 10.0), 1e5)
    assert "t2 (10; 8." in judge([best, rival], None).text
    assert "over 5 runs) may be better or worse than t1." in judge([best, rival], None).text
