"""Measure how often `sweeper advise` finds what is there, and what is not.

Sweeps are drawn, not trained: parameters at random, every run's curve from a known rule. A sweep of
pure noise has flat curves and no difference between configurations, so any advice on it is a
false alarm, but for the one that more seeds are needed. The others have one thing planted.

The importance of parameters takes longest and is asked for in every tenth sweep.

    python benchmarks/advice.py            # 1,000 sweeps of each kind and size, ~20 minutes
    python benchmarks/advice.py --short    # 60 of each
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from conditions import Conditions
from tables import print_head, print_row

from sweeper.evidence.advice.finding import Advice
from sweeper.evidence.advice.report import advise
from sweeper.metrics import ENV_STEPS, ITERATION, Objective
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.search.distributions import parse_space
from sweeper.states import FailureReason, TrialState

METRIC = "evaluation/episode_return_mean"
OBJECTIVE = Objective(METRIC)
POINTS, ENV_STEPS_IN_ALL = 10, 100_000
EVERY = 10  # the importance of parameters is asked for in every tenth sweep
ABOUT = ("failures", "ranges", "length", "effort", "importance")
SPACE, _ = parse_space(
    {
        "lr": {"loguniform": [1e-5, 1e-2]},
        "entropy_coeff": {"uniform": [0.0, 0.1]},
        "clip_param": {"uniform": [0.1, 0.4]},
        "num_epochs": {"randint": [1, 31]},
        "minibatch_size": {"choice": [64, 128, 256]},
        "use_kl_loss": {"choice": [True, False]},
    }
)


@dataclass(frozen=True)
class Kind:
    """A kind of sweep.

    Attributes:
        name: in words.
        merit: what a configuration is worth, in deviations of a run, by the position of its
            learning rate in the range and an own random number.
        rise: what a run gains from three quarters of its env steps to the end.
        fails_above: the position of the learning rate from which trials diverge.
        seeds: of each configuration.
        true: what `advise` should find; nothing else is in it.
    """

    name: str
    merit: Callable[[float, float], float]
    rise: float = 0.0
    fails_above: float = math.inf
    seeds: int = 5
    true: tuple[str, ...] = ()


KINDS = (
    Kind("pure noise", lambda _lr, _own: 0.0),
    Kind("pure noise, flat at a ceiling", lambda _lr, _own: math.inf),
    Kind(
        "the best lr lies beyond the bound",
        lambda lr, _: 4 * lr,
        true=("ranges", "effort", "importance"),
    ),
    Kind(
        "lr matters, its best lies inside",
        lambda lr, _: -8 * abs(lr - 0.5),
        true=("effort", "importance"),
    ),
    Kind("curves still rise by a deviation", lambda _lr, _own: 0.0, rise=1.0, true=("length",)),
    Kind(
        "a fifth of lr's range diverges",
        lambda _lr, _own: 0.0,
        fails_above=0.8,
        true=("failures",),
    ),
    Kind("configurations differ by 2 deviations", lambda _, own: 2 * own, true=("effort",)),
)


def draw_sweep(kind: Kind, number: int, generator: np.random.Generator) -> SweepResults:
    """A sweep of so many random configurations."""
    trials = tuple(_draw_trial(kind, index, generator) for index in range(1, number + 1))
    return SweepResults(root=Path(), trials=trials)


def _draw_trial(kind: Kind, index: int, generator: np.random.Generator) -> TrialRecord:
    position = float(generator.random())
    parameters: dict[str, Any] = {
        "lr": float(10 ** (-5 + 3 * position)),
        "entropy_coeff": float(generator.uniform(0.0, 0.1)),
        "clip_param": float(generator.uniform(0.1, 0.4)),
        "num_epochs": int(generator.integers(1, 31)),
        "minibatch_size": int(generator.choice([64, 128, 256])),
        "use_kl_loss": bool(generator.random() < 0.5),
    }
    merit = kind.merit(position, float(generator.normal()))
    own = merit + generator.normal(size=kind.seeds)  # each run is worth something of its own
    shares = np.linspace(1 / POINTS, 1.0, POINTS)
    curve = np.minimum(shares / 0.5, 1.0) * 3 - 3 + kind.rise * np.maximum(shares - 0.75, 0) / 0.2
    values = curve[:, None] + own[None, :] + generator.normal(scale=0.3, size=(POINTS, kind.seeds))
    values = 400 + 50 * values if math.isfinite(merit) else np.full_like(values, 500.0)
    reports = tuple(
        {
            ENV_STEPS: round(share * ENV_STEPS_IN_ALL),
            ITERATION: number,
            METRIC: float(row.mean()),
            f"replica/{METRIC}": [float(value) for value in row],
        }
        for number, (share, row) in enumerate(zip(shares, values, strict=True), start=1)
    )
    failed = position > kind.fails_above
    return TrialRecord(
        trial_id=f"t{index:04d}",
        state=TrialState.ERROR if failed else TrialState.TERMINATED,
        reason=FailureReason.DIVERGED if failed else f"{ENV_STEPS} >= {ENV_STEPS_IN_ALL}",
        configuration=parameters,
        parameters=parameters,
        seeds=tuple(range(kind.seeds)),
        reports=reports,
        started=60.0 * index,
        ended=60.0 * index + 60,
    )


def advise_on(kind: Kind, number: int, seed: int, *, is_brief: bool = False) -> Advice:
    """The advice on a drawn sweep."""
    results = draw_sweep(kind, number, np.random.default_rng(seed))
    return advise(results, OBJECTIVE, SPACE, is_brief=is_brief)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=1000)
    parser.add_argument("--short", action="store_true", help="60 sweeps of each kind and size")
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 32, 64])
    arguments = parser.parse_args()
    sweeps = 60 if arguments.short else arguments.sweeps
    conditions = Conditions(("optuna", "numpy", "scipy"))
    print(f"{sweeps} sweeps a row; bold: what is planted; else false alarms")
    print_head("sweep", "trials", *ABOUT, "any but importance, false")
    for kind in KINDS:
        for number in arguments.sizes:
            print_row(kind.name, str(number), *_count(kind, number, sweeps))
    print(f"\n{conditions.describe()}")


def _count(kind: Kind, number: int, sweeps: int) -> list[str]:
    """How often advice of each kind is given, and any that is false."""
    counts: Counter[str] = Counter()
    for seed in range(sweeps):
        is_brief = seed % EVERY > 0
        given = [
            one.about
            for one in advise_on(kind, number, seed, is_brief=is_brief).given
            if one.about in kind.true or not _asks_for_seeds(one.text)
        ]
        counts.update(given)
        false = [about for about in given if about not in kind.true]
        counts["any"] += bool(set(false) - {"importance"})
    shares = [counts[about] / sweeps for about in (*ABOUT, "any")]
    shares[ABOUT.index("importance")] *= sweeps / len(range(0, sweeps, EVERY))
    return [
        f"**{share:.1%}**" if about in kind.true else f"{share:.1%}"
        for about, share in zip((*ABOUT, "any"), shares, strict=True)
    ]


def _asks_for_seeds(text: str) -> bool:
    """Whether it says that scores are luck, which is true wherever nothing else is planted."""
    return text.startswith("More seeds")


if __name__ == "__main__":
    main()
