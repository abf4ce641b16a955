"""How often a training run of one champion beats one of another, and what may be said of it.

Only runs of complete confirmations are compared: those of a search chose their trial, so they
flatter it. A champion was chosen among the finalists of its run by the very runs that speak for it
here, after one or several looks. So an interval is widened, as that of a run's own verdict is: over
all comparisons with the first run, and over the finalists of whichever of the two runs has more, or
over the looks, whichever asks for more. The looks were at other comparisons than this one, and the
other champion was chosen for its good runs, too. By simulation the interval then holds more often
than it says (benchmarks/coverage.py, sweeps). Widened over both it could never tell 5 runs from 5,
however far apart they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sweeper.evidence.comparing.entry import Entry
from sweeper.evidence.confirmation import BASELINE, look_sizes
from sweeper.evidence.samples import Evidence, keep_promise
from sweeper.evidence.sequential import look_levels
from sweeper.evidence.statistics import (
    Interval,
    probability_interval,
    probability_of_improvement,
    simultaneous_level,
)
from sweeper.hints import join_words

__all__ = ["Improvement", "compare_with_first", "share_interval"]

_LEVEL = 0.95
_MAX_RUNS = 1000  # of each side; what takes more is no difference worth a word


@dataclass(frozen=True)
class Improvement:
    """A later run's champion beside the first run's.

    Attributes:
        run: the later run's name.
        over: the first run's.
        probability: how often a training run of the later one's champion beats one of the first's;
            ties count half. None where runs can't be compared.
        interval: where that lies, for all later runs together.
        enough_runs: about how many runs of each would tell, if the share stays as it is; None if it
            does already, or not with 1,000.
        reason: why there is no probability, in a sentence; None if there is one.
    """

    run: str
    over: str
    probability: float | None = None
    interval: Interval | None = None
    enough_runs: int | None = None
    reason: str | None = None

    @property
    def verdict(self) -> str | None:
        """``better``, ``undecided`` or ``worse``; None without a probability.

        Undecided as long as the interval holds a half: then chance may explain the difference.
        """
        if self.interval is None:
            return None
        if self.interval.low > 0.5:
            return "better"
        return "worse" if self.interval.high < 0.5 else "undecided"

    def to_json(self) -> dict[str, Any]:
        """The comparison in JSON types, the interval as ``[low, high]``."""
        interval = self.interval
        return {
            "run": self.run,
            "over": self.over,
            "probability_of_improvement": self.probability,
            "interval": None if interval is None else [interval.low, interval.high],
            "interval_level": None if interval is None else interval.level,
            "interval_method": None if interval is None else interval.method,
            "verdict": self.verdict,
            "enough_runs": self.enough_runs,
            "reason": self.reason,
        }


def compare_with_first(entries: Sequence[Entry]) -> tuple[Improvement, ...]:
    """Every later run's champion beside the first run's, in the order of the runs."""
    first, *others = entries
    able = [one for one in others if _explain_none(first, one) is None]
    family = sum(_count_finalists(first, other) for other in able)
    return tuple(_compare(first, other, family, len(able)) for other in others)


def _compare(first: Entry, other: Entry, family: int, comparisons: int) -> Improvement:
    reason = _explain_none(first, other)
    mine, theirs = other.evidence, first.evidence
    if reason is not None or mine is None or theirs is None:
        return Improvement(other.name, first.name, reason=reason)
    values, beside = _level_diverged(mine, theirs, first.objective.mode)
    probability = probability_of_improvement(values, beside, mode=first.objective.mode)
    looks = [_looks(one) for one in (first, other)]
    interval = share_interval(
        probability,
        (len(values), len(beside)),
        family=family,
        comparisons=comparisons,
        looks=looks,
    )
    counts = {
        "comparisons": comparisons,
        "finalists": _count_finalists(first, other),
        "looks": max(map(len, looks)),
    }
    promise = [f"over {count} {noun}" for noun, count in counts.items() if count > 1]
    enough = None
    if interval.low <= 0.5 <= interval.high:
        number = max(len(values), len(beside))
        enough = _find_enough(probability, number, simultaneous_level(_LEVEL, family))
    return Improvement(
        run=other.name,
        over=first.name,
        probability=probability,
        interval=keep_promise(interval, _LEVEL, join_words(promise) if promise else ""),
        enough_runs=enough,
    )


def share_interval(
    probability: float,
    runs: tuple[int, int],
    *,
    family: int,
    looks: Sequence[tuple[int, ...]],
    comparisons: int = 1,
) -> Interval:
    """Where the probability that a run of one champion beats one of the other lies.

    Args:
        probability: the share of pairs in which it does.
        runs: how many each champion has.
        family: of all comparisons, how many finalists stood behind them together.
        looks: of each champion's confirmation, how many runs there were at each planned look.
        comparisons: over how many the interval keeps its level, too.

    Returns:
        An interval of the level that keeps 95 %.
    """
    alpha = 1 - simultaneous_level(_LEVEL, comparisons)
    spent = min(look_levels(alpha, sizes)[-1] for sizes in looks)
    level = max(1 - spent, simultaneous_level(_LEVEL, family))
    return probability_interval(probability, *runs, level)


def _find_enough(probability: float, number: int, level: float) -> int | None:
    """How many runs of each would tell a share from a half, all looked at once.

    Args:
        probability: the share.
        number: of runs that could not tell it.
        level: of the interval.
    """

    def tells(runs: int) -> bool:
        interval = probability_interval(probability, runs, runs, level)
        return not interval.low <= 0.5 <= interval.high

    few, many = number, max(_MAX_RUNS, number + 1)
    if not tells(many):
        return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if tells(middle) else (middle, many)
    return many


def _looks(entry: Entry) -> tuple[int, ...]:
    planned = entry.results.confirmation
    return (1,) if planned is None else look_sizes(planned)


def _count_finalists(*entries: Entry) -> int:
    """Of the run that has most of them."""
    verdicts = [one.selection.verdict for one in entries]
    return max(
        sum(name != BASELINE for name in one.evidence) for one in verdicts if one is not None
    )


def _level_diverged(
    mine: Evidence, theirs: Evidence, mode: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The values of both, where a diverged run counts as the worst of all.

    In the evidence it stands with the worst value of its own sweep, which another one may undercut.
    """
    worst = (min if mode == "max" else max)((*mine.finished, *theirs.finished))

    def values(evidence: Evidence) -> tuple[float, ...]:
        return tuple(
            worst if place in evidence.diverged_runs else value
            for place, value in enumerate(evidence.runs)
            if value is not None
        )

    return values(mine), values(theirs)


def _explain_none(first: Entry, other: Entry) -> str | None:
    """Why two runs can't be compared by their training runs; None if they can."""
    lacking = [one.name for one in (first, other) if one.evidence is None]
    if lacking:
        verb = "has" if len(lacking) == 1 else "have"
        why = f"{join_words(lacking)} {verb} no complete confirmation"
    elif _are_the_same_runs(first, other):
        why = (
            "both champions have the same configuration, and their training runs on the same seeds "
            "came to the same values, so these are the same runs again"
        )
    else:
        return None
    return f"No probability that {other.name} beats {first.name}: {why}."


def _are_the_same_runs(first: Entry, other: Entry) -> bool:
    """Whether both confirmations have trained the same agents: they would agree by design."""
    values = []
    for one in (first, other):
        evidence, made = one.evidence, one.selection.confirmed_on
        if evidence is None or made is None:
            return False
        values.append(dict(zip(made.seeds, evidence.runs, strict=False)))
    shared = values[0].keys() & values[1].keys()
    is_same_training = _describe_training(first) == _describe_training(other)
    return (
        bool(shared)
        and is_same_training
        and all(values[0][seed] == values[1][seed] for seed in shared)
    )


def _describe_training(entry: Entry) -> tuple[Any, ...]:
    """What decides, with the seed, what a training run comes to."""
    spec, configuration = entry.spec, entry.selection.configuration
    settings = replace(spec.environment.settings(), search_paths=())
    return spec.algorithm, spec.backend, spec.stop, spec.plateau, settings, configuration
