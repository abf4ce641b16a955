"""The verdict: is the champion better than the baseline, and who can't be told from it?

The rules:

1. The champion is the finalist with the best mean of its confirmation runs. A finalist whose
   training failed for good can't win, nor one of which more than half of the runs failed. Of equal
   means the cheaper one wins, then the lower trial id.
2. ``better`` or ``worse``: every finalist is compared with the baseline
   (`sequential.compare_pairs`), so whichever of them is the champion, the verdict errs at the
   level's rate.
3. Tied are the finalists that the comparison of all pairs of finalists can't tell from the
   champion. It is a family of its own: it errs in leaving out the best one.

So the champion depends neither on the order of the finalists nor on worse ones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.evidence.samples import (
    Evidence,
    Sample,
    interval_from_json,
    keep_promise,
    weigh_sample,
)
from sweeper.evidence.sentences import MAX_MORE_SEEDS, Outcome, describe_outcome
from sweeper.evidence.sequential import Pair, compare_pairs, look_levels, reaches_a_decision
from sweeper.evidence.statistics import (
    Interval,
    find_limits,
    find_two_groups,
    more_runs_to_tell,
    probability_interval,
    probability_of_improvement,
    simultaneous_level,
)
from sweeper.results.ranking import id_key

__all__ = ["Evidence", "Interval", "Sample", "Verdict", "judge", "undecided"]

# How likely the planned seeds must be to decide a comparison for it to get another group. By
# simulation (benchmarks/coverage.py, designs): to go on for the verdict at a small chance already,
# and between finalists, which may simply tie, only at a fair one, gives the same power as 0.1 for
# both with a tenth fewer runs.
_MIN_POWER = 0.05
_MIN_POWER_BETWEEN_FINALISTS = 0.4


@dataclass(frozen=True)
class Verdict:
    """What the confirmation says.

    Attributes:
        verdict: ``better``, ``undecided`` or ``worse`` than the baseline, or ``unconfirmed``.
        text: the same in sentences with their numbers.
        champion: its trial id.
        evidence: by name, the baseline's among them.
        tied: finalists that can't be told from the champion.
        cheapest: of the champion and the tied ones, the one with the fewest env steps.
        steadiest: of these, the one with the smallest deviation; None below two runs.
        probability_of_improvement: how often a run of the champion beats one of the baseline.
        probability_interval: where that lies.
        shrinkage: the champion's search score minus the mean of its confirmation.
        more_seeds: about how many more runs of champion and baseline would settle an undecided
            verdict, at most 1000; None if it is settled or nothing can be said.
    """

    verdict: str
    text: str
    champion: str
    evidence: Mapping[str, Evidence]
    tied: tuple[str, ...]
    cheapest: str
    steadiest: str | None
    probability_of_improvement: float | None
    probability_interval: Interval | None
    shrinkage: float | None
    more_seeds: int | None

    def to_json(self) -> dict[str, Any]:
        """All of it in JSON types, under the names that ``best --json`` has."""
        interval = self.probability_interval
        return {
            "verdict": self.verdict,
            "verdict_text": self.text,
            "champion": self.champion,
            "evidence": {name: one.to_json() for name, one in self.evidence.items()},
            "tied": list(self.tied),
            "cheapest": self.cheapest,
            "steadiest": self.steadiest,
            "probability_of_improvement": self.probability_of_improvement,
            "probability_interval": None if interval is None else [interval.low, interval.high],
            "probability_interval_level": None if interval is None else interval.level,
            "probability_interval_method": None if interval is None else interval.method,
            "shrinkage": self.shrinkage,
            "more_seeds": self.more_seeds,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Verdict:
        """Read what `to_json` made; keys that it does not make are ignored."""
        return cls(
            verdict=document["verdict"],
            text=document["verdict_text"],
            champion=document["champion"],
            evidence={name: Evidence.from_json(one) for name, one in document["evidence"].items()},
            tied=tuple(document["tied"]),
            cheapest=document["cheapest"],
            steadiest=document["steadiest"],
            probability_of_improvement=document["probability_of_improvement"],
            probability_interval=interval_from_json(document, "probability_interval"),
            shrinkage=document["shrinkage"],
            more_seeds=document["more_seeds"],
        )


def judge(
    finalists: Sequence[Sample],
    baseline: Sample | None,
    *,
    mode: str = "max",
    metric: str = "evaluation/episode_return_mean",
    solved_at: float | None = None,
    looks: Sequence[int] | None = None,
    level: float = 0.95,
    missing: Sequence[str] = (),
    search_choice: str | None = None,
    unjudged: int = 0,
) -> Verdict:
    """Judge the finalists by their confirmation.

    Args:
        finalists: at least one, in any order, names all different.
        baseline: what the champion is held against; None if there is none.
        mode: whether ``max`` or ``min`` of the metric is better.
        metric: of the samples' values, for the words.
        solved_at: the value from which a run counts as having solved the task.
        looks: how many runs a sample has at each planned look, e.g. ``(5, 10, 15, 20, 25, 30)``;
            None for one look at whatever there is. Seeds that are added later to an undecided run
            are one more look, e.g. ``(10, 20)``; since it was not planned, both looks together
            err in about 7 % instead of 5 %.
        level: what intervals and comparisons promise.
        missing: what an interrupted confirmation still lacks, in words, e.g. ``4 of 10 runs of
            t0003``. If anything is missing, the verdict is ``unconfirmed``, and the champion is
            that of the search.
        search_choice: the finalist that the search put first; by default the one with the best
            score, of equals with the lower id.
        unjudged: how many trials of the search have no score, for the words.

    Raises:
        ValueError: no finalist, two of one name, or looks that do not increase.
    """
    sizes = _check(finalists, baseline, looks)
    # In one order, so that even sums are the same whatever the order of the arguments.
    finalists = sorted(finalists, key=lambda sample: id_key(sample.name))
    by_name = {sample.name: sample for sample in (*finalists, *([baseline] if baseline else []))}
    evidence = _weigh(finalists, baseline, mode=mode, level=level, looks=sizes, solved_at=solved_at)
    ranked = _rank(finalists, mode)
    is_confirmed = bool(ranked) and not missing
    champion = _search_choice(finalists, mode)
    if is_confirmed:
        champion = ranked[0]
    elif search_choice is not None:
        champion = by_name[search_choice]
    signs = _compare(finalists, baseline, mode=mode, looks=sizes, level=level)
    tied = tuple(
        sample.name
        for sample in ranked
        if is_confirmed and sample is not champion and signs[champion.name, sample.name] == 0
    )
    word = "unconfirmed"
    if is_confirmed:
        sign = 0 if baseline is None else signs[champion.name, baseline.name]
        word = {1: "better", 0: "undecided", -1: "worse"}[sign]
    values = champion.finished
    other = baseline.finished if baseline is not None else ()
    probability = interval = more_seeds = None
    if values and other:
        probability = probability_of_improvement(values, other, mode=mode)
        own_level, promise = _widen(level, len(finalists), sizes)
        interval = probability_interval(probability, len(values), len(other), own_level)
        interval = keep_promise(interval, level, promise)
        if word == "undecided":
            alpha = (1 - level) / len(finalists)
            more_seeds = more_runs_to_tell(values, other, alpha=alpha)
            more_seeds = None if more_seeds is None else min(max(more_seeds, 1), MAX_MORE_SEEDS)
    score, mean = champion.search_score, evidence[champion.name].mean
    chosen = [champion, *(by_name[name] for name in tied)]
    outcome = Outcome(
        verdict=word,
        champion=evidence[champion.name],
        baseline=evidence[baseline.name] if baseline else None,
        finalists=tuple(evidence[sample.name] for sample in ranked),
        set_aside=tuple(evidence[sample.name] for sample in finalists if sample not in ranked),
        tied=tied,
        cheapest=min(chosen, key=lambda one: one.env_steps).name,
        steadiest=_steadiest([evidence[sample.name] for sample in chosen]),
        probability=probability,
        probability_interval=interval,
        shrinkage=None
        if score is None or mean is None or not champion.is_score_comparable
        else score - mean,
        more_seeds=more_seeds,
        missing=tuple(missing),
        unjudged=unjudged,
        metric=metric,
        mode=mode,
        level=level,
    )
    return Verdict(
        verdict=word,
        text=describe_outcome(outcome),
        champion=champion.name,
        evidence=evidence,
        tied=tied,
        cheapest=outcome.cheapest,
        steadiest=outcome.steadiest,
        probability_of_improvement=probability,
        probability_interval=interval,
        shrinkage=outcome.shrinkage,
        more_seeds=more_seeds,
    )


def undecided(
    finalists: Sequence[Sample],
    baseline: Sample | None,
    *,
    looks: Sequence[int],
    mode: str = "max",
    level: float = 0.95,
) -> tuple[str, ...]:
    """Who needs another group of seeds, after the first group or a later one is complete.

    The leader's comparisons with the baseline and with the other finalists count. One that is
    undecided goes on, unless the planned number of runs is unlikely to decide it
    (`sequential.reaches_a_decision`); both of its samples then need another group.

    Args:
        finalists: with their runs so far, at least one.
        baseline: the same; None if there is none.
        looks: how many runs a sample has at each planned look.
        mode: whether ``max`` or ``min`` is better.
        level: of all looks and finalists together.

    Returns:
        Names, in the order of the arguments; none if the confirmation is complete.
    """
    sizes = _check(finalists, baseline, looks)
    by_name = {sample.name: sample for sample in (*finalists, *([baseline] if baseline else []))}
    ranked = _rank(finalists, mode)
    if not ranked:
        return ()
    leader = ranked[0]
    signs = _compare(finalists, baseline, mode=mode, looks=sizes, level=level)
    names: set[str] = set()
    for other in (*ranked[1:], *([baseline] if baseline else [])):
        is_baseline = other is baseline
        family = len(finalists) if is_baseline else math.comb(len(finalists), 2)
        if signs[leader.name, other.name] == 0 and reaches_a_decision(
            leader.values,
            other.values,
            sizes,
            (1 - level) / family,
            min_power=_MIN_POWER if is_baseline else _MIN_POWER_BETWEEN_FINALISTS,
        ):
            names |= {leader.name, other.name}
    return tuple(
        name for name in by_name if name in names and len(by_name[name].values) < sizes[-1]
    )


def _check(
    finalists: Sequence[Sample], baseline: Sample | None, looks: Sequence[int] | None
) -> tuple[int, ...]:
    """The planned looks."""
    samples = [*finalists, *([baseline] if baseline else [])]
    names = [sample.name for sample in samples]
    if not finalists or len(set(names)) < len(names):
        raise ValueError(f"finalists must be some, with different names: {names}")
    if looks is None:
        return (max(1, *(len(sample.values) for sample in samples)),)
    return tuple(looks)


def _rank(finalists: Sequence[Sample], mode: str) -> list[Sample]:
    """Those that can win, the best first."""
    sign = 1 if mode == "max" else -1

    def merit(sample: Sample) -> tuple[float, float, tuple[int, str]]:
        values = sample.finished
        mean = math.fsum(values) / len(values)
        return -sign * mean, sample.env_steps, id_key(sample.name)

    def is_able(sample: Sample) -> bool:
        number = len(sample.finished)
        return sample.failure is None and number > 0 and 2 * number >= len(sample.values)

    return sorted(filter(is_able, finalists), key=merit)


def _search_choice(finalists: Sequence[Sample], mode: str) -> Sample:
    sign = 1 if mode == "max" else -1

    def merit(sample: Sample) -> tuple[float, tuple[int, str]]:
        score = -math.inf if sample.search_score is None else sign * sample.search_score
        return -score, id_key(sample.name)

    return min(finalists, key=merit)


def _compare(
    finalists: Sequence[Sample],
    baseline: Sample | None,
    *,
    mode: str,
    looks: tuple[int, ...],
    level: float,
) -> dict[Pair, int]:
    """Of each finalist and other sample: 1 if it is better, -1 if worse, 0 if undecided."""
    sign = 1 if mode == "max" else -1
    values = {sample.name: sample.values for sample in finalists}
    names = sorted(values, key=id_key)  # so that of equal p-values the same one comes first
    found = compare_pairs(values, [*itertools.combinations(names, 2)], looks, 1 - level)
    if baseline is not None:
        values[baseline.name] = baseline.values
        pairs = [(name, baseline.name) for name in names]
        found |= compare_pairs(values, pairs, looks, 1 - level)
    signs = {pair: sign * way for pair, way in found.items()}
    return signs | {(second, first): -way for (first, second), way in signs.items()}


def _weigh(
    finalists: Sequence[Sample],
    baseline: Sample | None,
    *,
    mode: str,
    level: float,
    looks: tuple[int, ...],
    solved_at: float | None,
) -> dict[str, Evidence]:
    everyone = [*finalists, *([baseline] if baseline else [])]
    runs = [*(one.finished for one in everyone), *_searched(everyone)]
    groups = find_two_groups(runs)
    limits = find_limits(runs, substituted=sum(len(one.diverged) for one in everyone))

    def weigh(sample: Sample, number: int) -> Evidence:
        look_level, promise = _widen(level, number, looks)
        return weigh_sample(
            sample,
            mode=mode,
            level=level,
            look_level=look_level,
            promise=promise,
            groups=groups,
            limits=limits,
            solved_at=solved_at,
        )

    evidence = {sample.name: weigh(sample, len(finalists)) for sample in finalists}
    return evidence | ({baseline.name: weigh(baseline, 1)} if baseline else {})


def _widen(level: float, finalists: int, looks: tuple[int, ...]) -> tuple[float, str]:
    """The level of an interval that keeps another over all finalists and looks, and this in words.

    It is that of the last look, the least strict one, at every look: a confirmation ends because
    samples differ, not because of one sample's mean, which biases its interval little
    (benchmarks/coverage.py, designs).
    """
    alpha = 1 - simultaneous_level(level, finalists)
    words = [f"over {finalists} finalists"] if finalists > 1 else []
    words += [f"over {len(looks)} looks"] if len(looks) > 1 else []
    return 1 - look_levels(alpha, looks)[-1], " and ".join(words)


def _searched(samples: Sequence[Sample]) -> list[tuple[float, ...]]:
    return [sample.search_runs for sample in samples if sample.search_runs]


def _steadiest(chosen: Sequence[Evidence]) -> str | None:
    spread = [one for one in chosen if one.deviation is not None]
    return min(spread, key=lambda one: one.deviation or 0.0).name if spread else None
