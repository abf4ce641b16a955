"""Measure by simulation what the intervals and the test of a confirmation keep of their promise.

Every table draws training runs from a known distribution, judges them as `sweeper confirm` does and
counts how often what was said is true. Nothing is trained.

    python benchmarks/coverage.py             # ~20 minutes
    python benchmarks/coverage.py --short     # a tenth of the draws, ~2 minutes
    python benchmarks/coverage.py --only looks

With the package `adastop` installed (`pip install adastop`), its test stands beside ours.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from conditions import Conditions
from returns import CAPPED, NORMAL, STUCK, Returns, draw_confirmation
from scipy import special
from tables import print_head, print_row, verdict

from sweeper.evidence.comparing.improvement import share_interval
from sweeper.evidence.sequential import compare_pairs, look_levels
from sweeper.evidence.statistics import (
    Interval,
    find_limits,
    find_two_groups,
    is_far_from_normal,
    mean_interval,
    order_statistics_interval,
    prediction_interval,
    probability_interval,
    probability_of_improvement,
    simultaneous_level,
    two_group_interval,
    welch_p_value,
)
from sweeper.evidence.verdict import Sample, judge

SIZES = (3, 5, 10, 20)
LOOKS = (5, 10, 15, 20, 25, 30)
FINALISTS = ("t0001", "t0002", "t0003")
LEAST = 0.93  # of what is called 95 %, for normal returns from 5 runs on
FRESH = 20  # runs drawn to see whether the next one lands in its prediction interval

try:
    from adastop import MultipleAgentsComparator
except ImportError:
    MultipleAgentsComparator = None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a tenth of the draws")
    parser.add_argument("--only", choices=tuple(PARTS))
    parser.add_argument("--draws", type=int, default=4000, help="per cell (4000)")
    arguments = parser.parse_args()
    conditions = Conditions(("scipy", "numpy", "adastop"))
    draws = max(arguments.draws // 10, 20) if arguments.short else arguments.draws
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            part(draws)
    print(f"\n{draws} draws a cell; {conditions.describe()}")


# ---- one configuration, fixed beforehand


def fixed_configuration(draws: int) -> None:
    print("\n## A configuration fixed beforehand\n\nHow often each nominal 95 % interval covers.")
    print_head("returns", "interval", *(f"{size} runs" for size in SIZES))
    for returns in (NORMAL, STUCK, CAPPED):
        for name, make in _MEAN_INTERVALS.items():
            _coverage_row(returns, f"mean: {name}", make, draws, of_mean=True)
        for name, make in _PREDICTIONS.items():
            _coverage_row(returns, f"next run: {name}", make, draws, of_mean=False)
    name = "mean: as judged, where two groups show"
    _coverage_row(STUCK, name, _mean_as_judged, draws, of_mean=True, where=_shows_two_groups)
    print_row("", "order statistics promise", *(f"{(n - 1) / (n + 1):.1%}" for n in SIZES))
    _probability_rows(draws)


def _coverage_row(
    returns: Returns,
    name: str,
    make: Callable[[np.ndarray], Interval | None],
    draws: int,
    *,
    of_mean: bool,
    where: Callable[[np.ndarray], bool] = lambda _: True,
) -> None:
    cells = []
    for size in SIZES:
        generator = np.random.default_rng(size)
        hits = [
            _covers(make(values), generator, returns, of_mean=of_mean)
            for _ in range(draws)
            if where(values := returns.draw(generator, size))
        ]
        cells.append(f"{np.mean(hits):.1%}" if hits else "-")
    print_row(returns.name, name, *cells)


def _covers(
    interval: Interval | None,
    generator: np.random.Generator,
    returns: Returns,
    *,
    of_mean: bool,
    mean: float = 0.0,
) -> float:
    """How much of what it is about an interval covers: 0 or 1, or a share of fresh runs."""
    if interval is None:
        return 0.0
    if of_mean:
        return float(interval.low <= mean <= interval.high)
    fresh = mean + returns.draw(generator, FRESH)
    return float(np.mean((interval.low <= fresh) & (fresh <= interval.high)))


def _percentile_bootstrap(values: np.ndarray) -> Interval | None:
    picks = np.random.default_rng(0).integers(len(values), size=(1000, len(values)))
    low, high = np.quantile(values[picks].mean(axis=1), [0.025, 0.975])
    return Interval(float(low), float(high), 0.95, "percentile bootstrap") if low < high else None


def _shows_two_groups(values: np.ndarray) -> bool:
    return find_two_groups([values]) is not None


def _mean_as_judged(values: np.ndarray) -> Interval | None:
    groups = find_two_groups([values])
    made = mean_interval(values) if groups is None else two_group_interval(values, groups)
    return find_limits([values]).cut(made)


def _prediction_as_judged(values: np.ndarray) -> Interval | None:
    if find_two_groups([values]) is None and not is_far_from_normal(values):
        return find_limits([values]).cut(prediction_interval(values))
    return order_statistics_interval(values)


_MEAN_INTERVALS = {
    "percentile bootstrap": _percentile_bootstrap,
    "Student's t": mean_interval,
    "as judged (t, or shares of two groups)": _mean_as_judged,
}
_PREDICTIONS = {
    "Student's t": prediction_interval,
    "order statistics": order_statistics_interval,
    "as judged": _prediction_as_judged,
}


def _probability_rows(draws: int) -> None:
    print("\nThe probability of improvement (95 %, Newcombe):")
    print_head("true probability", *(f"{size} runs a side" for size in SIZES))
    for truth in (0.5, 0.76, 0.98):
        shift = float(special.ndtri(truth)) * np.sqrt(2)
        cells = []
        for size in SIZES:
            generator = np.random.default_rng(size)
            hits = 0
            for _ in range(draws):
                one, two = generator.normal(shift, size=size), generator.normal(size=size)
                found = probability_interval(probability_of_improvement(one, two), size, size)
                hits += found.low <= truth <= found.high
            cells.append(f"{hits / draws:.1%}")
        print_row(f"{truth:.0%}", *cells)


# ---- the winner


def selected_winner(draws: int) -> None:
    print(
        "\n## The winner\n\n32 equal configurations (or with true means that scatter by half a "
        "standard deviation of a run) are searched with 5 seeds each, the best 3 are retrained on "
        "fresh seeds, and the best of these is judged. How often intervals about it cover."
    )
    print_head("returns", "true means", "interval", *(f"{size} runs" for size in SIZES))
    reached = []
    for returns, scatter in itertools.product((NORMAL, STUCK), (0.0, 0.5)):
        columns = [_judge_winners(returns, scatter, size, draws) for size in SIZES]
        for index, name in enumerate(_WINNER_ROWS):
            shares = [column[index] for column in columns]
            scattered = "scatter" if scatter else "equal"
            print_row(returns.name, scattered, name, *(f"{share:.1%}" for share in shares))
            if returns is NORMAL and name.endswith("judged"):
                reached += shares[1:]
    print(
        f"\nAt least {LEAST:.0%} on normal returns from 5 runs on, as judged: "
        f"{verdict(min(reached) >= LEAST)} ({min(reached):.1%})"
    )


_WINNER_ROWS = (
    "mean, from its 5 runs of the search: t",
    "mean: t for one alone",
    "mean: as judged",
    "next run: as judged",
    "next run: promised",
)


def _judge_winners(returns: Returns, scatter: float, size: int, draws: int) -> list[float]:
    generator = np.random.default_rng(size)
    rows = []
    for _ in range(draws):
        truth = scatter * generator.normal(size=32)
        search = truth[:, None] + np.stack([returns.draw(generator, 5) for _ in range(32)])
        top = np.argsort(search.mean(axis=1))[-3:]
        finalists = [
            Sample(
                FINALISTS[place],
                tuple(truth[index] + returns.draw(generator, size)),
                1e5,
                float(search[index].mean()),
            )
            for place, index in enumerate(top)
        ]
        judged = judge(finalists, Sample("baseline", tuple(returns.draw(generator, size)), 1e5))
        index = top[FINALISTS.index(judged.champion)]
        evidence = judged.evidence[judged.champion]
        mean = float(truth[index])
        intervals = (
            mean_interval(search[index]),
            mean_interval(evidence.finished),
            evidence.interval,
        )
        prediction = evidence.prediction
        rows.append(
            [
                *(_covers(one, generator, returns, of_mean=True, mean=mean) for one in intervals),
                _covers(prediction, generator, returns, of_mean=False, mean=mean),
                0.0 if prediction is None else prediction.level,
            ]
        )
    return [float(share) for share in np.mean(rows, axis=0)]


# ---- looking again and again


def looking(draws: int) -> None:
    print(
        "\n## Looking after every group of 5 runs, to 30\n\nWithout any difference: how often any "
        "finalist is called different from the baseline. The last column is the verdict, on the "
        "champion alone and with groups added only where something is undecided."
    )
    print_head(
        "returns",
        "finalists",
        "Welch's t at 5 %, once, at 30 runs",
        "the same after each group",
        "ours after each group",
        "verdict better or worse",
    )
    for returns, number in itertools.product((NORMAL, STUCK), (1, 3)):
        generator = np.random.default_rng(number)
        rows = [_look(generator, returns, FINALISTS[:number]) for _ in range(draws)]
        print_row(returns.name, str(number), *(f"{share:.1%}" for share in np.mean(rows, axis=0)))


def _look(
    generator: np.random.Generator, returns: Returns, names: Sequence[str]
) -> tuple[bool, bool, bool, bool]:
    pool = {name: tuple(returns.draw(generator, LOOKS[-1])) for name in (*names, "baseline")}
    naive = [
        any(welch_p_value(pool[name][:look], pool["baseline"][:look]) <= 0.05 for name in names)
        for look in LOOKS
    ]
    signs = compare_pairs(pool, [(name, "baseline") for name in names], LOOKS, 0.05)
    samples = draw_confirmation(generator, dict.fromkeys(pool, 0.0), returns, LOOKS)
    judged = judge(samples[:-1], samples[-1], looks=LOOKS)
    is_told = judged.verdict in ("better", "worse")
    return naive[-1], any(naive), any(signs.values()), is_told


# ---- a fixed number, or as many as it takes

_TRUTHS: tuple[tuple[float, ...], ...] = (
    (0.0,),
    (1.0,),
    (2.0,),
    (0.0, 0.0, 0.0),
    (1.0, 0.0, 0.0),
    (1.0, 1.0, 1.0),
    (2.0, 2.0, 1.0),
    (4.0, 4.0, 3.0),
)
_DESIGNS: dict[str, tuple[int, ...]] = {
    "10": (10,),
    "15": (15,),
    "20": (20,),
    "5 to 20": (5, 10, 15, 20),
    "5 to 30": LOOKS,
}


def designs(draws: int) -> None:
    draws //= 4
    print(
        "\n## A fixed number of seeds, or as many as it takes\n\nFinalists' true means above the "
        "baseline's, in standard deviations of a run. Runs: of all finalists and the baseline. "
        "Power: how often the verdict is `better`. Held: how often the champion and its tie set "
        "hold a truly best one. Covered: the champion's interval of the mean, and its next run."
    )
    print_head("returns", "means", "seeds", "runs", "power", "held", "size of tie set", "covered")
    for returns, truths in itertools.product((NORMAL, STUCK), _TRUTHS):
        for name, looks in _DESIGNS.items():
            cells = _try_design(returns, truths, looks, draws)
            print_row(returns.name, " ".join(f"{one:g}" for one in truths), name, *cells)


def _try_design(
    returns: Returns, truths: Sequence[float], looks: tuple[int, ...], draws: int
) -> list[str]:
    generator = np.random.default_rng(len(truths))
    means = {**dict(zip(FINALISTS, truths, strict=False)), "baseline": 0.0}
    rows = []
    for _ in range(draws):
        samples = draw_confirmation(generator, means, returns, looks)
        judged = judge(samples[:-1], samples[-1], looks=looks)
        held = {judged.champion, *judged.tied}
        evidence, mean = judged.evidence[judged.champion], means[judged.champion]
        rows.append(
            [
                sum(len(sample.values) for sample in samples),
                judged.verdict == "better",
                any(means[name] == max(truths) for name in held),
                len(held),
                _covers(evidence.interval, generator, returns, of_mean=True, mean=mean),
                _covers(evidence.prediction, generator, returns, of_mean=False, mean=mean),
            ]
        )
    runs, better, best, size, mean_covered, next_covered = np.mean(rows, axis=0)
    covered = f"{mean_covered:.1%}, {next_covered:.1%}"
    return [f"{runs:.0f}", f"{better:.1%}", f"{best:.1%}", f"{size:.1f}", covered]


# ---- the champions of two sweeps

_SWEEPS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "0; 0": ((0.0,), (0.0,)),
    "0 0 0; 0": ((0.0, 0.0, 0.0), (0.0,)),
    "0 0 0; 0 -3 -3": ((0.0, 0.0, 0.0), (0.0, -3.0, -3.0)),
    "0 0 0; 1 1 1": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "0 0 0; 3 3 3": ((0.0, 0.0, 0.0), (3.0, 3.0, 3.0)),
}


def sweeps(draws: int) -> None:
    draws //= 4
    print(
        "\n## The champions of two sweeps\n\nTrue means of the finalists of either; both baselines "
        "have -1. How often `sweeper compare` calls the second champion better or worse, how often "
        "that is false, and how often its interval of the share of pairs covers the true one. "
        "Beside it: how often one does that is not widened, and how often one would tell that is "
        "widened over finalists and looks at once."
    )
    print_head(
        "returns", "means", "seeds", "told", "falsely", "covered", "not widened", "over both: told"
    )
    for returns, (means, truths) in itertools.product((NORMAL, STUCK), _SWEEPS.items()):
        for name in ("10", "5 to 30"):
            cells = _compare_sweeps(returns, truths, _DESIGNS[name], draws)
            print_row(returns.name, means, name, *(f"{share:.1%}" for share in cells))


def _compare_sweeps(
    returns: Returns,
    truths: tuple[tuple[float, ...], tuple[float, ...]],
    looks: tuple[int, ...],
    draws: int,
) -> list[float]:
    generator = np.random.default_rng(len(truths[1]))
    shares: dict[float, float] = {}
    rows = []
    family = max(map(len, truths))
    both = 1 - look_levels(1 - simultaneous_level(0.95, family), looks)[-1]
    for _ in range(draws):
        (first, mean), (second, other) = (
            _draw_champion(generator, returns, one, looks) for one in truths
        )
        if other - mean not in shares:
            pairs = (returns.draw(generator, 4000) + shift for shift in (other, mean))
            shares[other - mean] = probability_of_improvement(*map(tuple, pairs))
        truth, found = shares[other - mean], probability_of_improvement(second, first)
        sizes = (len(second), len(first))
        ours = share_interval(found, sizes, family=family, looks=[looks])
        alone, strict = (probability_interval(found, *sizes, level) for level in (0.95, both))
        is_false = (ours.low > 0.5 and other <= mean) or (ours.high < 0.5 and other >= mean)
        covered = [one.low <= truth <= one.high for one in (ours, alone)]
        rows.append([_tells(ours), is_false, *covered, _tells(strict)])
    return [float(share) for share in np.mean(rows, axis=0)]


def _tells(interval: Interval) -> bool:
    return not interval.low <= 0.5 <= interval.high


def _draw_champion(
    generator: np.random.Generator,
    returns: Returns,
    truths: Sequence[float],
    looks: tuple[int, ...],
) -> tuple[tuple[float, ...], float]:
    """The runs of a sweep's champion, and its true mean."""
    means = {**dict(zip(FINALISTS, truths, strict=False)), "baseline": -1.0}
    samples = draw_confirmation(generator, means, returns, looks)
    judged = judge(samples[:-1], samples[-1], looks=looks)
    return judged.evidence[judged.champion].finished, means[judged.champion]


# ---- beside AdaStop

_ADASTOP_TRUTHS = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 1.0), (2.0, 2.0, 1.0))  # it is slow


def adastop(draws: int) -> None:
    draws //= 10
    if MultipleAgentsComparator is None:
        print("\n## Beside AdaStop\n\nThe package adastop is not installed; left out.")
        return
    print(
        "\n## Beside AdaStop\n\nEach finalist against the baseline, 5 runs a group, at most 6 "
        "groups, 5 % over all. Told: how often the best finalist is told from the baseline "
        "(with no difference: how often any is). AdaStop's early acceptance is off, as it is by "
        "default, and so is ours here."
    )
    print_head("returns", "means", "AdaStop: told", "runs", "ours: told", "runs")
    for returns, truths in itertools.product((NORMAL, STUCK), _ADASTOP_TRUTHS):
        generator = np.random.default_rng(len(truths))
        rows = []
        for _ in range(draws):
            pool = [mean + returns.draw(generator, LOOKS[-1]) for mean in (*truths, 0.0)]
            rows.append([*_adastop(pool, truths), *_ours(pool, truths)])
        told, runs, our_told, our_runs = np.mean(rows, axis=0)
        means = " ".join(f"{one:g}" for one in truths)
        cells = (f"{told:.1%}", f"{runs:.0f}", f"{our_told:.1%}", f"{our_runs:.0f}")
        print_row(returns.name, means, *cells)


def _adastop(pool: Sequence[np.ndarray], truths: Sequence[float]) -> tuple[bool, int]:
    last = len(pool) - 1
    comparator = MultipleAgentsComparator(
        n=5, K=6, B=1000, alpha=0.05, seed=0, comparisons=np.array([(i, last) for i in range(last)])
    )
    sizes = [0] * len(pool)
    for look in LOOKS:
        active = range(len(pool))
        if comparator.current_comparisons is not None and comparator.k:
            active = sorted({int(i) for i in np.ravel(comparator.current_comparisons)})
        for index in active:
            sizes[index] = look
        values = {str(i): runs[: sizes[i]] for i, runs in enumerate(pool)}
        with contextlib.redirect_stdout(io.StringIO()):
            comparator.partial_compare(values, verbose=False)
        if comparator.is_finished:
            break
    told = [decision in ("larger", "smaller") for decision in comparator.decisions.values()]
    return (told[int(np.argmax(truths))] if max(truths) else any(told)), sum(sizes)


def _ours(pool: Sequence[np.ndarray], truths: Sequence[float]) -> tuple[bool, int]:
    names = [str(i) for i in range(len(pool))]
    pairs = [(name, names[-1]) for name in names[:-1]]
    sizes = dict.fromkeys(names, 0)
    signs = dict.fromkeys(pairs, 0)
    for look in LOOKS:
        open_pairs = [pair for pair, sign in signs.items() if sign == 0]
        for name in {name for pair in open_pairs for name in pair}:
            sizes[name] = look
        values = {name: tuple(pool[int(name)][: sizes[name]]) for name in names}
        signs = compare_pairs(values, pairs, LOOKS, 0.05)
        if all(signs.values()):
            break
    told = [sign != 0 for sign in signs.values()]
    return (told[int(np.argmax(truths))] if max(truths) else any(told)), sum(sizes.values())


PARTS: dict[str, Callable[[int], None]] = {
    "fixed": fixed_configuration,
    "winner": selected_winner,
    "looks": looking,
    "designs": designs,
    "sweeps": sweeps,
    "adastop": adastop,
}

if __name__ == "__main__":
    main()
