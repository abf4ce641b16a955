"""The verdict's sentences, whole: read them aloud after every change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from sweeper.evidence.verdict import Sample, judge


class Case(NamedTuple):
    finalists: Sequence[Sample]
    baseline: Sample | None
    options: Mapping[str, Any]
    verdict: str
    text: str


def base(values: tuple[float | None, ...]) -> Sample:
    return Sample("baseline", values, 1e5)


GOOD = (484.0, 490, 479, 500, 471, 488, 495, 482, 476, 491)
NEAR = (478.0, 485, 470, 499, 460, 489, 492, 480, 466, 487)
FAIR = (402.0, 431, 388, 420, 395, 410, 440, 379, 405, 416)
BASE = (310.0, 250, 290, 340, 270, 305, 330, 262, 288, 315)
A = Sample("t0007", GOOD, 1e5, 499.0)
B = Sample("t0003", NEAR, 6e4, 495.0)
C = Sample("t0011", FAIR, 1e5, 492.0)
STUCK = (240.0, 251, -20, 246, 255, 238, 249, 8, 244, 250)

CASES = {
    "better, with a tie": Case(
        [A, B, C],
        base(BASE),
        {"solved_at": 475},
        "better",
        (
            "t0007 is better than the baseline: mean return 485.6 (477.4 to 493.8) over 10 "
            "runs, against 296 (275 to 317) over 10 runs (95 % intervals, widened for 3 "
            "finalists). t0003 (480.6; 469.3 to 491.9 over 10 runs) may be better or worse "
            "than t0007. Of these 2, t0003 is the cheapest (60,000 env steps) and t0007 "
            "varied least (standard deviation 8.909 over 10 runs; t0003's 12.28 over 10). 9 "
            "of t0007's 10 runs and none of the baseline's 10 ended at 475 or better; in the "
            "long run 49 to 100 % of t0007's would (95 % interval). The search's score, 499, "
            "is about 13.4 higher than that mean. One more training run of t0007 would land "
            "between 464.5 and 506.7 (95 %)."
        ),
    ),
    "better, without a tie": Case(
        [A, C],
        base(BASE),
        {},
        "better",
        (
            "t0007 is better than the baseline: mean return 485.6 (478.1 to 493.1) over 10 "
            "runs, against 296 (275 to 317) over 10 runs (95 % intervals, widened for 2 "
            "finalists). t0007 is better than the other finalist. The search's score, 499, is "
            "about 13.4 higher than that mean. One more training run of t0007 would land "
            "between 464.5 and 506.7 (95 %)."
        ),
    ),
    "undecided": Case(
        [A, C],
        base((470.0, 480, 452, 500, 440, 489, 478, 465, 458, 487)),
        {},
        "undecided",
        (
            "Undecided: t0007 looks better than the baseline, but chance may explain it: mean "
            "return 485.6 (478.1 to 493.1) over 10 runs, against 471.9 (458.7 to 485.1) over "
            "10 runs (95 % intervals, widened for 2 finalists). A run of t0007 beats one of "
            "the baseline in 74 % (45 to 91 %) of all pairs. If they differ as much as these "
            "runs do, about 14 more runs of both would likely show it. So far t0007 is a bet, "
            "not a proven gain. t0007 is better than the other finalist. The search's score, "
            "499, is about 13.4 higher than that mean. One more training run of t0007 would "
            "land between 464.5 and 506.7 (95 %)."
        ),
    ),
    "undecided, after two of six looks": Case(
        [A],
        base((470.0, 480, 452, 500, 440, 489, 478, 465, 458, 487)),
        {"looks": (5, 10, 15, 20, 25, 30)},
        "undecided",
        (
            "Undecided: t0007 looks better than the baseline, but chance may explain it: mean "
            "return 485.6 (477.8 to 493.4) over 10 runs, against 471.9 (455.7 to 488.1) over "
            "10 runs (95 % intervals, widened for 6 looks). A run of t0007 beats one of the "
            "baseline in 74 % (44 to 91 %) of all pairs. If they differ as much as these runs "
            "do, about 10 more runs of both would likely show it. So far t0007 is a bet, not "
            "a proven gain. The search's score, 499, is about 13.4 higher than that mean. One "
            "more training run of t0007 would land between 464.5 and 506.7 (95 %)."
        ),
    ),
    "worse": Case(
        [C],
        base(GOOD),
        {},
        "worse",
        (
            "t0011 is worse than the baseline: mean return 408.6 (395.1 to 422.1) over 10 "
            "runs, against 485.6 (479.2 to 492) over 10 runs (95 % intervals). The sweep "
            "found nothing better: use the baseline. The search's score, 492, is about 83.4 "
            "higher than that mean. One more training run of t0011 would land between 363.7 "
            "and 453.5 (95 %)."
        ),
    ),
    "one finalist, no baseline": Case(
        [A],
        None,
        {},
        "undecided",
        (
            "t0007 is the only finalist; its mean return is 485.6 (479.2 to 492) over 10 runs "
            "(95 % interval). There is no baseline to hold it against. The search's score, "
            "499, is about 13.4 higher than that mean. One more training run of t0007 would "
            "land between 464.5 and 506.7 (95 %)."
        ),
    ),
    "every run of the baseline failed": Case(
        [A, C],
        base((None,) * 10),
        {},
        "undecided",
        (
            "t0007 has the best mean return of 2 finalists: 485.6 (478.1 to 493.1) over 10 "
            "runs (95 % interval, widened for 2 finalists). All 10 runs of the baseline "
            "failed, so there is nothing to hold it against. t0007 is better than the other "
            "finalist. The search's score, 499, is about 13.4 higher than that mean. One more "
            "training run of t0007 would land between 464.5 and 506.7 (95 %)."
        ),
    ),
    "every run of the finalists failed": Case(
        [Sample("t0007", (None,) * 10, 1e5, 499.0), Sample("t0003", (None,) * 10, 1e5, 495.0)],
        base(BASE),
        {},
        "unconfirmed",
        (
            "Unconfirmed: too many runs of each of the 2 finalists failed. t0007 is the "
            "champion by its search score, 499, alone; the best of several noisy scores is "
            "likely too good. Nothing says where another training run of t0007 would land."
        ),
    ),
    "every run of the finalists failed for the same reason": Case(
        [
            Sample("t0007", (None,) * 10, 1e5, 499.0, failure="diverged: 6 of 10 diverged"),
            Sample("t0003", (None,) * 10, 1e5, 495.0, failure="diverged: 6 of 10 diverged"),
        ],
        base(BASE),
        {},
        "unconfirmed",
        (
            "Unconfirmed: too many runs of each of the 2 finalists failed (diverged: 6 of 10 "
            "diverged). t0007 is the champion by its search score, 499, alone; the best of "
            "several noisy scores is likely too good. Nothing says where another training run "
            "of t0007 would land."
        ),
    ),
    "everybody failed, for reasons of their own": Case(
        [
            Sample("t0007", (None,) * 10, 1e5, 499.0, failure="timeout"),
            *(
                Sample(name, (None,) * 10, 1e5, 495.0, failure="crashed: OSError:\n no\tdisk")
                for name in ("t0003", "t0004", "t0005")
            ),
        ],
        Sample("baseline", (None,) * 10, 1e5, failure="out of memory"),
        {},
        "unconfirmed",
        (
            "Unconfirmed: too many runs of each of the 4 finalists failed (t0003: crashed: "
            "OSError: no disk; t0004: crashed: OSError: no disk; t0005: crashed: OSError: no "
            "disk; and 1 more). 10 of 10 runs of the baseline failed (out of memory). t0007 is "
            "the champion by its search score, 499, alone; the best of several noisy scores is "
            "likely too good. Nothing says where another training run of t0007 would land."
        ),
    ),
    "the only finalist failed": Case(
        [Sample("t0007", (490.0,) * 5 + (None,) * 5, 1e5, 499.0, failure=f"crashed: {'x' * 500}")],
        base(BASE),
        {},
        "unconfirmed",
        (
            f"Unconfirmed: 5 of 10 runs of t0007 failed (crashed: {'x' * 110}…). t0007 is the "
            "champion by its search score, 499, alone; the best of several noisy scores is "
            "likely too good. Nothing says where another training run of t0007 would land."
        ),
    ),
    "the baseline and a finalist failed": Case(
        [A, Sample("t0011", FAIR[:5] + (None,) * 5, 1e5, 492.0, failure="crashed: KeyError: 1")],
        Sample("baseline", BASE[:5] + (None,) * 5, 1e5, failure="the worker died"),
        {},
        "better",
        (
            "t0007 is better than the baseline: mean return 485.6 (478.1 to 493.1) over 10 "
            "runs, against 292 (248.6 to 335.4) over 5 runs (5 more failed) (95 % intervals, "
            "widened for 2 finalists). t0011 could not win: 5 of 10 runs failed (crashed: "
            "KeyError: 1). 5 of 10 runs of the baseline failed (the worker died). The search's "
            "score, 499, is about 13.4 higher than that mean. One more training run of t0007 "
            "would land between 464.5 and 506.7 (95 %)."
        ),
    ),
    "every run of the baseline failed for a reason": Case(
        [A],
        Sample("baseline", (None,) * 10, 1e5, failure="crashed: KeyError: 1"),
        {},
        "undecided",
        (
            "t0007 is the only finalist; its mean return is 485.6 (479.2 to 492) over 10 runs "
            "(95 % interval). All 10 runs of the baseline failed (crashed: KeyError: 1), so "
            "there is nothing to hold it against. The search's score, 499, is about 13.4 "
            "higher than that mean. One more training run of t0007 would land between 464.5 "
            "and 506.7 (95 %)."
        ),
    ),
    "interrupted after a failure": Case(
        [
            Sample("t0007", (None,) * 4, 1e5, 499.0, failure="crashed: KeyError: 1"),
            Sample("t0003", NEAR[:4], 1e5, 495.0),
        ],
        base(()),
        {"missing": ("6 training runs of t0003", "10 training runs of the baseline")},
        "unconfirmed",
        (
            "Unconfirmed: the confirmation is not complete; it lacks 6 training runs of t0003 "
            "and 10 training runs of the baseline. 4 of 4 runs of t0007 failed (crashed: "
            "KeyError: 1). t0007 is the champion by its search score, 499, alone; the best of "
            "several noisy scores is likely too good. Nothing says where another training run "
            "of t0007 would land."
        ),
    ),
    "one finalist failed mostly": Case(
        [A, Sample("t0003", (None,) * 7 + (400.0, 410, 420), 1e5, 495.0)],
        base(BASE),
        {},
        "better",
        (
            "t0007 is better than the baseline: mean return 485.6 (478.1 to 493.1) over 10 "
            "runs, against 296 (275 to 317) over 10 runs (95 % intervals, widened for 2 "
            "finalists). t0003 could not win: 7 of 10 runs failed. The search's score, 499, "
            "is about 13.4 higher than that mean. One more training run of t0007 would land "
            "between 464.5 and 506.7 (95 %)."
        ),
    ),
    "interrupted": Case(
        [A, Sample("t0003", NEAR[:4], 1e5, 495.0)],
        base(BASE),
        {"missing": ("6 of 10 runs of t0003",)},
        "unconfirmed",
        (
            "Unconfirmed: the confirmation is not complete; it lacks 6 of 10 runs of t0003. "
            "t0007 is the champion by its search score; so far its mean return is 485.6 "
            "(478.1 to 493.1) over 10 runs (95 % interval, widened for 2 finalists). The "
            "search's score, 499, is about 13.4 higher than that mean. One more training run "
            "of t0007 would land between 464.5 and 506.7 (95 %)."
        ),
    ),
    "interrupted before the first run": Case(
        [Sample("t0007", (), 1e5, 499.0)],
        base(()),
        {"missing": ("10 of 10 runs of t0007", "10 of 10 runs of baseline")},
        "unconfirmed",
        (
            "Unconfirmed: the confirmation is not complete; it lacks 10 of 10 runs of t0007 "
            "and 10 of 10 runs of baseline. t0007 is the champion by its search score, 499, "
            "alone; the best of several noisy scores is likely too good. Nothing says where "
            "another training run of t0007 would land."
        ),
    ),
    "all runs equal": Case(
        [Sample("t0007", (500.0,) * 10, 1e5, 500.0)],
        base((500.0,) * 10),
        {"solved_at": 475},
        "undecided",
        (
            "Undecided: t0007 and the baseline do equally well so far: mean return 500 in "
            "each of 10 runs, against 500 in each of 10 runs. So far nothing speaks for t0007 "
            "over the baseline. 10 of t0007's 10 runs and 10 of the baseline's 10 ended at "
            "475 or better; in the long run 69 to 100 % of t0007's would (95 % interval). The "
            "search's score was 500 too. One more training run of t0007 would most likely end "
            "at 500 too, but up to 31 % of runs may not."
        ),
    ),
    "some runs got stuck": Case(
        [Sample("t0007", STUCK, 1e5, 251.0)],
        base((-150.0, -120, -180, -140, -130, -160, -155, -145, -170, -135)),
        {"solved_at": 200},
        "better",
        (
            "t0007 is better than the baseline: mean return 196.1 (106.1 to 272.5) over 10 "
            "runs, against -148.5 (-161.7 to -26.61) over 10 runs (95 % intervals). 8 of "
            "t0007's 10 runs and none of the baseline's 10 ended at 200 or better; in the "
            "long run 44 to 97 % of t0007's would (95 % interval). The search's score, 251, "
            "is about 54.9 higher than that mean. t0007's runs fall into two groups: 2 of 10 "
            "ended between -20 and 8, the others between 238 and 255; of the baseline's, all "
            "10 did so badly. One more training run of t0007 would land between -20 and 255, "
            "the lowest and the highest of its 10 runs (82 %; its 10 runs allow no surer "
            "promise)."
        ),
    ),
    "only another finalist got stuck": Case(
        [
            Sample("t0007", (240.0, 251, 246, 255, 238), 1e5, 251.0),
            Sample("t0003", STUCK[:5], 1e5, 250.0),
        ],
        base((-150.0, -120, -180, -140, -130)),
        {},
        "better",
        (
            "t0007 is better than the baseline: mean return 246 (30.8 to 257.2) over 5 runs, "
            "against -144 (-172.6 to 59.98) over 5 runs (95 % intervals, widened for 2 "
            "finalists). t0003 (194.4; 7.594 to 381.2 over 5 runs) may be better or worse "
            "than t0007. Of these 2, t0007 varied least (standard deviation 7.176 over 5 "
            "runs; t0003's 120 over 5). The search's score, 251, is about 5 higher than that "
            "mean. Runs in this environment fall into two groups; all 5 of t0007's are in the "
            "upper one, but up to 52 % of runs may end in the lower. One more training run of "
            "t0007 would land between 238 and 255, the lowest and the highest of its 5 runs "
            "(67 %; its 5 runs allow no surer promise)."
        ),
    ),
    "a metric to minimise": Case(
        [Sample("t0007", (10.0, 12, 11, 9, 10.5), 1e5, 8.0, diverged=(1,))],
        base((20.0, 24, 19, 22, 21)),
        {"mode": "min", "metric": "evaluation/episode_len_mean"},
        "better",
        (
            "t0007 is better than the baseline: mean episode length 10.5 (9.112 to 11.89) "
            "over 5 runs, against 21.2 (18.81 to 23.59) over 5 runs (95 % intervals). 1 of "
            "t0007's runs diverged and counts as the worst. The search's score, 8, is about "
            "2.5 lower than that mean. One more training run of t0007 would land between 7.1 "
            "and 13.9 (95 %)."
        ),
    ),
    "runs of all whose numbers are shown diverged": Case(
        [
            Sample("t0007", (*GOOD[:9], 250.0), 1e5, 499.0, diverged=(9,)),
            Sample("t0003", (*NEAR[:8], 250.0, 250.0), 6e4, 495.0, diverged=(8, 9)),
            Sample("t0011", (*BASE[:9], 250.0), 1e5, 492.0, diverged=(9,)),
        ],
        Sample("baseline", (*BASE[:9], 250.0), 1e5, diverged=(9,)),
        {},
        "better",
        (
            "t0007 is better than the baseline: mean return 461.5 (364.2 to 530.7) over 10 "
            "runs, against 289.5 (266.7 to 349.3) over 10 runs (95 % intervals, widened for 3 "
            "finalists). 1 of t0007's runs, 2 of t0003's and 1 of the baseline's diverged and "
            "count as the worst. t0003 (435.3; 337.8 to 526.1 over 10 runs) may be better or "
            "worse than t0007. Of these 2, t0003 is the cheapest (60,000 env steps) and t0007 "
            "varied least (standard deviation 74.82 over 10 runs; t0003's 98.28 over 10). The "
            "search's score, 499, is about 37.5 higher than that mean. t0007's runs fall into "
            "two groups: 1 of 10 ended at 250, the others between 471 and 500; of the "
            "baseline's, all 10 did so badly. One more training run of t0007 would land between "
            "250 and 500, the lowest and the highest of its 10 runs (82 %; its 10 runs allow no "
            "surer promise)."
        ),
    ),
    "a run of the baseline diverged": Case(
        [A],
        Sample("baseline", (*BASE[:9], 250.0), 1e5, diverged=(9,)),
        {},
        "better",
        (
            "t0007 is better than the baseline: mean return 485.6 (479.2 to 492) over 10 runs, "
            "against 289.5 (266.7 to 312.3) over 10 runs (95 % intervals). 1 of the baseline's "
            "runs diverged and counts as the worst. The search's score, 499, is about 13.4 "
            "higher than that mean. One more training run of t0007 would land between 464.5 "
            "and 506.7 (95 %)."
        ),
    ),
    "one run each": Case(
        [Sample("t0007", (10.0,), 1e5, 8.0)],
        base((20.0,)),
        {"metric": "learner/total_loss"},
        "undecided",
        (
            "Undecided: t0007 looks worse than the baseline, but chance may explain it: mean "
            "learner/total_loss 10 in 1 run, against 20 in 1 run. So far nothing speaks for "
            "t0007 over the baseline. The search's score, 8, is about 2 lower than that mean. "
            "One run can't say where another training run of t0007 would land."
        ),
    ),
    "hardly any difference": Case(
        [Sample("t0007", (1.0, 2, 3, 4, 5.01), 1e5, 8.0)],
        base((5.0, 4, 3, 2, 1)),
        {},
        "undecided",
        (
            "Undecided: t0007 looks better than the baseline, but chance may explain it: mean "
            "return 3.002 (1.035 to 4.969) over 5 runs, against 3 (1.037 to 4.963) over 5 "
            "runs (95 % intervals). A run of t0007 beats one of the baseline in 52 % (22 to "
            "81 %) of all pairs. If they differ, then by too little for 1000 more runs of "
            "both to show. So far t0007 is a bet, not a proven gain. The search's score, 8, "
            "is about 5 higher than that mean. One more training run of t0007 would land "
            "between -1.817 and 7.821 (95 %)."
        ),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_verdict_in_words(case: Case) -> None:
    made = judge(case.finalists, case.baseline, **case.options)
    assert made.text == case.text
    assert made.verdict == case.verdict
