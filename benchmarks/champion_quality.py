"""Measure whether the champion is what it is said to be, on sweeps with a known truth.

Each run's return is drawn from a known distribution instead of being trained. The sweep's
results are real records, ranked as a run ranks its trials; the best are confirmed and judged as
`sweeper run` does. Beside it stand two usual rules, for the same trainings: Ray Tune's
`get_best_result` (every seed is a trial of its own, the best last return wins) and the best
evaluation while training, as Optuna sees it in RL Zoo's scripts.

    python benchmarks/champion_quality.py               # 1,000 sweeps of each space, ~5 minutes
    python benchmarks/champion_quality.py --sweeps 40   # as many as the promise speaks of

`drawn_launches.py` sends some of the same sweeps through `sweeper run`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from conditions import Conditions
from numpy.typing import NDArray
from tables import print_head, print_row, verdict

from sweeper.evidence.verdict import Sample, Verdict, judge, undecided
from sweeper.metrics import ENV_STEPS, Objective
from sweeper.results.ranking import rank_trial
from sweeper.results.records import SweepResults, TrialRecord, judge_trial
from sweeper.states import TrialState

METRIC = "evaluation/episode_return_mean"
OBJECTIVE = Objective(METRIC)
SEARCH_SEEDS, FINALISTS, REPORTS = 5, 3, 10
EVALUATION_NOISE = 4.0  # of a report's evaluation of 20 episodes; a confirmation has 100
FRESH = 20  # further runs of the champion
DESIGNS: dict[str, tuple[int, ...]] = {"10": (10,), "5 to 30": (5, 10, 15, 20, 25, 30)}

MIN_HELD, MIN_COVERED, MAX_FALSE = 38 / 40, 0.93, 0.05

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Array]


@dataclass(frozen=True)
class Configuration:
    """A configuration with known returns.

    Attributes:
        mean: of endlessly many runs.
        draw: float64[size], returns of runs.
    """

    mean: float
    draw: Draw


@dataclass(frozen=True)
class Space:
    """Configurations to search, and the baseline.

    Attributes:
        name: in words.
        configurations: the search's, all of them tried.
        baseline: what the champion is held against.
        is_flat: whether there is no difference at all, not even to the baseline.
    """

    name: str
    configurations: tuple[Configuration, ...]
    baseline: Configuration
    is_flat: bool = False

    @property
    def best(self) -> float:
        """The mean of the truly best configurations."""
        return max(one.mean for one in self.configurations)


class Choice(NamedTuple):
    """The true mean of a chosen configuration, and what it is said to be."""

    mean: float
    claim: float


@dataclass(frozen=True)
class Judged:
    """What one sweep said, held against the truth.

    Attributes:
        verdict: on its champion.
        is_found: whether the search made a truly best configuration a finalist.
        is_held: whether champion and tie set hold one.
        mean: the champion's true mean.
        claim: what it was said to be.
        tied: how many can't be told from the champion.
        mean_covered: whether the interval of the mean held it.
        next_covered: the share of further runs in the prediction interval.
        next_level: what that interval promised.
        runs: of the confirmation.
    """

    verdict: str
    is_found: bool
    is_held: bool
    mean: float
    claim: float
    tied: int
    mean_covered: bool
    next_covered: float
    next_level: float
    runs: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=1000, help="of each space (1000)")
    arguments = parser.parse_args()
    conditions = Conditions(("numpy", "scipy"))
    print(f"\n{arguments.sweeps} sweeps a row; {SEARCH_SEEDS} seeds in the search.")
    for space in SPACES:
        report(space, arguments.sweeps)
    print(f"\n{conditions.describe()}")


def report(space: Space, sweeps: int) -> None:
    """Print the tables of one space."""
    print(f"\n## {space.name}: {len(space.configurations)} configurations")
    print_head("rule", "truly best", "regret", "claims too much", "confirmation runs")
    chosen: dict[str, list[Choice]] = {name: [] for name in RULES}
    judged: dict[str, list[Judged]] = {name: [] for name in DESIGNS}
    for seed in range(sweeps):
        results = search(space, seed)
        for name, rule in RULES.items():
            chosen[name].append(rule(space, results))
        for name, looks in DESIGNS.items():
            judged[name].append(confirm(space, results, seed, looks))
    for name, choices in chosen.items():
        _print_rule(name, space, choices)
    for name, all_of in judged.items():
        choices = [Choice(one.mean, one.claim) for one in all_of]
        runs = float(np.mean([one.runs for one in all_of]))
        _print_rule(f"confirmed, {name} seeds", space, choices, runs)
    print_head("seeds", "promise", "asked", "reached", "met")
    for name, all_of in judged.items():
        _print_promises(name, space, all_of)


def _print_rule(name: str, space: Space, choices: Sequence[Choice], runs: float = 0.0) -> None:
    means, claims = np.transpose(np.asarray(choices))
    best = f"{np.mean(np.isclose(means, space.best)):.1%}"
    regret, excess = f"{np.mean(space.best - means):.1f}", f"{np.mean(claims - means):+.1f}"
    print_row(name, best, regret, excess, f"{runs:.0f}")


def _print_promises(name: str, space: Space, judged: Sequence[Judged]) -> None:
    words = [one.verdict for one in judged]
    better = words.count("better") / len(words)
    tied = float(np.mean([one.tied for one in judged]))
    held = float(np.mean([one.is_held for one in judged]))
    covered = float(np.mean([one.mean_covered for one in judged]))
    following = float(np.mean([one.next_covered for one in judged]))
    level = float(np.mean([one.next_level for one in judged]))
    if space.is_flat:
        row = (f"at most {MAX_FALSE:.0%}", f"{better:.1%}", verdict(better <= MAX_FALSE))
        print_row(name, "called better without any difference", *row)
    else:
        found = float(np.mean([one.is_found for one in judged]))
        # What the search has not made a finalist, no confirmation can bring back.
        row = (f"at least {MIN_HELD:.0%}", f"{held / found:.1%}", verdict(held / found >= MIN_HELD))
        print_row(
            name, f"champion or ties hold a truly best one, if a finalist is ({found:.1%})", *row
        )
        others = ", ".join(f"{words.count(one) / len(words):.1%} {one}" for one in sorted({*words}))
        print_row(name, "verdict; size of the tie set", "", f"{others}; {tied:.1f}", "")
    row = (f"at least {MIN_COVERED:.0%}", f"{covered:.1%}", verdict(covered >= MIN_COVERED))
    print_row(name, "the champion's mean lies in its interval", *row)
    text = f"a further run lands in its prediction ({level:.0%} said)"
    if level < MIN_COVERED - 0.02:  # where runs get stuck, `at most` is said
        print_row(name, text, "", f"{following:.1%}", "")
    else:
        row = (f"at least {MIN_COVERED:.0%}", f"{following:.1%}", verdict(following >= MIN_COVERED))
        print_row(name, text, *row)


# ---- one sweep


def search(space: Space, seed: int) -> SweepResults:
    """The records of a search with drawn returns.

    Every run's evaluations rise to its return and have noise of their own; the last one is the
    return with noise.
    """
    trials = []
    for index in range(len(space.configurations)):
        runs = [draw_curve(space, seed, index, run) for run in range(SEARCH_SEEDS)]
        curves = np.stack(runs, axis=1)
        reports = tuple(
            {
                ENV_STEPS: 1000.0 * (step + 1),
                METRIC: float(row.mean()),
                f"replica/{METRIC}": [float(value) for value in row],
            }
            for step, row in enumerate(curves)
        )
        trials.append(
            TrialRecord(
                f"t{index + 1:04d}",
                TrialState.TERMINATED,
                configuration={"index": index},
                seeds=tuple(range(SEARCH_SEEDS)),
                reports=reports,
            )
        )
    return SweepResults(Path("drawn"), tuple(trials))


def draw_return(space: Space, sweep: int, stage: int, index: int, run: int) -> float:
    """The return of a training run, the same whoever asks.

    Args:
        space: of the sweep.
        sweep: its seed.
        stage: 0 for the search, 1 for the confirmation.
        index: of the configuration; the baseline's is their number.
        run: its training seed.
    """
    generator = np.random.default_rng([sweep, stage, index, run])
    return float([*space.configurations, space.baseline][index].draw(generator, 1)[0])


def draw_curve(space: Space, sweep: int, index: int, run: int) -> Array:
    """The evaluations of a run of the search, float64[REPORTS]."""
    shares = 1 - np.exp(-np.arange(1, REPORTS + 1) / 3)
    shares /= shares[-1]
    noise = np.random.default_rng([sweep, 2, index, run])
    end = draw_return(space, sweep, 0, index, run)
    return np.asarray(shares * end + noise.normal(scale=EVALUATION_NOISE, size=REPORTS))


def confirm(space: Space, results: SweepResults, seed: int, looks: tuple[int, ...]) -> Judged:
    """Confirm the best trials of a search and judge them, with drawn returns."""
    judged, runs = judge_drawn(space, results, seed, looks)
    return _hold_against_truth(space, judged, seed, runs)


def judge_drawn(
    space: Space, results: SweepResults, seed: int, looks: tuple[int, ...]
) -> tuple[Verdict, int]:
    """The verdict on the best trials of a search, and how many runs its confirmation took."""
    ranked = sorted(results.trials, key=lambda trial: rank_trial(trial, OBJECTIVE))[:FINALISTS]
    indices = {trial.trial_id: trial.configuration["index"] for trial in ranked}
    indices["baseline"] = len(space.configurations)
    scores = {trial.trial_id: judge_trial(trial, OBJECTIVE).value for trial in ranked}
    runs = {
        name: [draw_return(space, seed, 1, index, run) for run in range(looks[-1])]
        for name, index in indices.items()
    }
    sizes = dict.fromkeys(runs, looks[0])
    while True:
        samples = [
            Sample(name, tuple(values[: sizes[name]]), 1e4, scores.get(name))
            for name, values in runs.items()
        ]
        waiting = undecided(samples[:-1], samples[-1], looks=looks)
        if not waiting:
            break
        for name in waiting:
            sizes[name] = next(look for look in looks if look > sizes[name])
    judged = judge(samples[:-1], samples[-1], metric=METRIC, looks=looks)
    return judged, sum(sizes.values())


def _hold_against_truth(space: Space, judged: Verdict, seed: int, runs: int) -> Judged:
    configurations = {
        name: space.configurations[int(name[1:]) - 1]
        for name in judged.evidence
        if name != "baseline"
    }
    champion = configurations[judged.champion]
    generator = np.random.default_rng([seed, 3])
    evidence = judged.evidence[judged.champion]
    interval, prediction = evidence.interval, evidence.prediction
    fresh = champion.draw(generator, FRESH)
    held = [configurations[name].mean for name in (judged.champion, *judged.tied)]
    return Judged(
        verdict=judged.verdict,
        is_found=any(math.isclose(one.mean, space.best) for one in configurations.values()),
        is_held=any(math.isclose(mean, space.best) for mean in held),
        mean=champion.mean,
        claim=evidence.mean or 0.0,
        tied=len(judged.tied),
        mean_covered=interval is not None and interval.low <= champion.mean <= interval.high,
        next_covered=0.0
        if prediction is None
        else float(np.mean((prediction.low <= fresh) & (fresh <= prediction.high))),
        next_level=0.0 if prediction is None else prediction.level,
        runs=runs,
    )


# ---- the usual rules


def choose_by_last_return(space: Space, results: SweepResults) -> Choice:
    """Tune's rule: the best last return of any seed of any configuration."""
    return _choose(space, results, lambda rows: rows[-1])


def choose_by_best_evaluation(space: Space, results: SweepResults) -> Choice:
    """The best evaluation while training, of any seed of any configuration."""
    return _choose(space, results, lambda rows: rows.max(axis=0))


def choose_by_search(space: Space, results: SweepResults) -> Choice:
    """The best mean over the search's seeds, not confirmed."""
    first = min(results.trials, key=lambda trial: rank_trial(trial, OBJECTIVE))
    mean = space.configurations[first.configuration["index"]].mean
    return Choice(mean, judge_trial(first, OBJECTIVE).value or 0.0)


def _choose(space: Space, results: SweepResults, score: Callable[[Array], Array]) -> Choice:
    choices = []
    for trial in results.trials:
        rows = np.asarray([report[f"replica/{METRIC}"] for report in trial.reports])
        mean = space.configurations[trial.configuration["index"]].mean
        choices.append(Choice(mean, float(score(rows).max())))
    return max(choices, key=lambda choice: choice.claim)


RULES: dict[str, Callable[[Space, SweepResults], Choice]] = {
    "Tune's get_best_result: best last return of one seed": choose_by_last_return,
    "best evaluation while training, of one seed": choose_by_best_evaluation,
    "best mean of the search's seeds": choose_by_search,
}


# ---- spaces


def normal(mean: float, deviation: float) -> Configuration:
    return Configuration(mean, lambda generator, size: generator.normal(mean, deviation, size))


def two_levels(low: float, high: float, share: float, deviation: float) -> Configuration:
    """Runs that end near ``high`` with probability ``share``, else near ``low``."""

    def draw(generator: np.random.Generator, size: int) -> Array:
        levels = np.where(generator.random(size) < share, high, low)
        return np.asarray(levels + generator.normal(scale=deviation, size=size))

    return Configuration(low + share * (high - low), draw)


_ORDINARY = tuple(normal(float(mean), 10.0) for mean in np.linspace(30, 90, 21))

SPACES = (
    Space(
        "A lucky one, a best one, one equal to it",
        (two_levels(35.0, 125.0, 0.15, 8.0), normal(100.0, 10.0), normal(100.0, 14.0), *_ORDINARY),
        normal(75.0, 10.0),
    ),
    Space(
        "Small differences",
        tuple(normal(float(mean), 10.0) for mean in (100, 100, *np.linspace(80, 97, 22))),
        normal(95.0, 10.0),
    ),
    Space(
        "Runs succeed or get stuck",
        (
            two_levels(0.0, 100.0, 0.9, 4.0),
            two_levels(0.0, 100.0, 0.9, 4.0),
            two_levels(0.0, 120.0, 0.4, 4.0),
            *(two_levels(0.0, 100.0, float(share), 4.0) for share in np.linspace(0.1, 0.8, 21)),
        ),
        two_levels(0.0, 100.0, 0.4, 4.0),
    ),
    Space("No difference", (normal(70.0, 10.0),) * 24, normal(70.0, 10.0), is_flat=True),
    Space(
        "No difference, success or stuck",
        (two_levels(0.0, 100.0, 0.8, 4.0),) * 24,
        two_levels(0.0, 100.0, 0.8, 4.0),
        is_flat=True,
    ),
)

if __name__ == "__main__":
    main()
