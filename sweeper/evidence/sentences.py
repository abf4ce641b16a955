"""The verdict in sentences: short, each with its numbers, the next training run last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.evidence.samples import Evidence
from sweeper.evidence.statistics import Interval, clopper_pearson
from sweeper.formatting import count_noun, format_number

__all__ = ["Outcome", "describe_outcome"]


@dataclass(frozen=True)
class Outcome:
    """All that the sentences speak of.

    Attributes:
        verdict: ``better``, ``undecided``, ``worse`` or ``unconfirmed``.
        champion: its evidence.
        baseline: the baseline's; None if there is none.
        finalists: that could win, the best first.
        set_aside: finalists that could not, because too many of their runs failed.
        tied: names of those that can't be told from the champion.
        cheapest: of the champion and these.
        steadiest: of these.
        probability: that a run of the champion beats one of the baseline.
        probability_interval: where that lies.
        shrinkage: the champion's search score minus its mean.
        more_seeds: that would settle it.
        missing: what the confirmation lacks, in words.
        mode: ``max`` or ``min``.
        metric: its name.
        level: of the intervals.
    """

    verdict: str
    champion: Evidence
    baseline: Evidence | None
    finalists: tuple[Evidence, ...]
    set_aside: tuple[Evidence, ...]
    tied: tuple[str, ...]
    cheapest: str
    steadiest: str | None
    probability: float | None
    probability_interval: Interval | None
    shrinkage: float | None
    more_seeds: int | None
    missing: tuple[str, ...]
    mode: str
    metric: str
    level: float


def describe_outcome(outcome: Outcome) -> str:
    """The verdict in sentences."""
    if outcome.champion.mean is None or not (outcome.finalists or outcome.missing):
        return " ".join(_without_runs(outcome))
    sentences = [
        *_main(outcome),
        *_set_aside(outcome),
        *_ties(outcome),
        *_solved(outcome),
        *_shrinkage(outcome),
        *_groups(outcome),
        *_next_run(outcome),
    ]
    return " ".join(sentences)


def _main(outcome: Outcome) -> list[str]:
    champion, baseline = outcome.champion, outcome.baseline
    name, measure = champion.name, _measure(outcome.metric)
    percent = _percent(outcome.level)
    own = f"{_with_interval(champion)} over {_runs(champion)}"
    if outcome.verdict == "unconfirmed":
        lacking = "; ".join(outcome.missing)
        return [
            f"Unconfirmed: the confirmation is not complete ({lacking}).",
            f"{name} is the champion by its search score; so far its {measure} is {own} "
            f"({percent} intervals).",
        ]
    if baseline is None or baseline.mean is None:
        why = "There is no baseline to hold it against."
        if baseline is not None:
            runs = count_noun(len(baseline.runs), "run")
            why = f"All {runs} of the baseline failed, so there is nothing to hold it against."
        number = len(outcome.finalists)
        rank = f"has the best {measure} of {number} finalists:"
        if number == 1:
            rank = f"is the only finalist; its {measure} is"
        return [f"{name} {rank} {own} ({percent} interval).", why]
    theirs = f"{_with_interval(baseline)} over {_runs(baseline)}"
    numbers = f"{measure} {own}, against {theirs} ({percent} intervals)"
    if outcome.verdict == "undecided":
        sentences = [f"Undecided: {name} can't be told from the baseline: {numbers}."]
        if outcome.more_seeds is not None:
            sentences.append(_more_seeds(outcome.more_seeds))
        return sentences
    sentences = [f"{name} is {outcome.verdict} than the baseline: {numbers}."]
    if outcome.verdict == "worse":
        sentences.append("The sweep found nothing better than the baseline.")
    return sentences


def _more_seeds(number: int) -> str:
    if number >= 1000:
        return "If there is a difference, it is too small for 1000 more runs of each to show."
    return f"If they differ as much as it looks, about {number} more runs of each would settle it."


def _set_aside(outcome: Outcome) -> list[str]:
    sentences = []
    if outcome.verdict != "unconfirmed":
        for one in outcome.set_aside:
            failed = sum(value is None for value in one.runs)
            sentences.append(
                f"{one.name} could not win: {failed} of its {len(one.runs)} runs failed."
            )
    diverged = outcome.champion.diverged
    if diverged:
        verb = "counts" if diverged == 1 else "count"
        sentences.append(f"{diverged} of its runs diverged and {verb} as the worst return.")
    return sentences


def _ties(outcome: Outcome) -> list[str]:
    if not outcome.tied:
        return []
    sentences = [f"{_join(outcome.tied)} can't be told from it."]
    parts = []
    costs = [one for one in outcome.finalists if one.name in (*outcome.tied, outcome.champion.name)]
    low, high = min(one.env_steps for one in costs), max(one.env_steps for one in costs)
    if high > 1.05 * low:
        parts.append(f"the cheapest is {outcome.cheapest} ({format_number(low)} env steps a run)")
    spreads = [one.deviation for one in costs if one.deviation is not None]
    if outcome.steadiest is not None and max(spreads) > 1.05 * min(spreads):
        deviation = format_number(min(spreads))
        parts.append(f"the steadiest is {outcome.steadiest} (standard deviation {deviation})")
    if parts:
        sentences.append(f"Of these {' and '.join(parts)}.")
    return sentences


def _solved(outcome: Outcome) -> list[str]:
    solved = outcome.champion.solved
    if solved is None:
        return []
    share = f"{_whole(solved.interval.low)} to {_whole(solved.interval.high)} %"
    return [
        f"{outcome.champion.name} reached {format_number(solved.at)} in {solved.number} of "
        f"{solved.runs} runs, so in {share} of all."
    ]


def _shrinkage(outcome: Outcome) -> list[str]:
    score, mean = outcome.champion.search_score, outcome.champion.mean
    if outcome.shrinkage is None or score is None or mean is None:
        return []
    excess = outcome.shrinkage if outcome.mode == "max" else -outcome.shrinkage
    if format_number(score) == format_number(mean):
        return [f"The search had scored it {format_number(score)} as well."]
    size = format_number(abs(outcome.shrinkage))
    word = "too good" if excess > 0 else "too bad"
    return [f"The search had scored it {format_number(score)}, {size} {word}."]


def _groups(outcome: Outcome) -> list[str]:
    low, number = outcome.champion.in_lower_group, len(outcome.champion.finished)
    if low is None:
        return []
    if low in (0, number):
        group = "lower" if low else "upper"
        return [
            f"Runs in this environment fall into two groups, and all {number} of "
            f"{outcome.champion.name} are in the {group} one; some more may not be."
        ]
    return [f"Its runs fall into two groups: {low} of {number} ended far below the others."]


def _next_run(outcome: Outcome) -> list[str]:
    champion = outcome.champion
    values, prediction = champion.finished, champion.prediction
    if prediction is not None:
        level = _percent(prediction.level)
        limit = ""
        if prediction.level < outcome.level - 1e-9:
            limit = f", which is as sure as {len(values)} runs in two groups allow"
        return [
            f"One more training run of {champion.name} would land between "
            f"{format_number(prediction.low)} and {format_number(prediction.high)} "
            f"({level}{limit})."
        ]
    if len(values) < 2:
        return ["One run can't say where the next would land."]
    elsewhere = 1 - clopper_pearson(len(values), len(values), outcome.level).low
    return [
        f"All {len(values)} runs ended at {format_number(values[0])}, and most likely one more "
        f"training run would too; up to {_whole(elsewhere)} % of runs may end elsewhere."
    ]


def _without_runs(outcome: Outcome) -> list[str]:
    name, score = outcome.champion.name, outcome.champion.search_score
    if outcome.missing:
        why = f"the confirmation is not complete ({'; '.join(outcome.missing)})"
    elif len(outcome.set_aside) == 1:
        why = f"all {count_noun(len(outcome.champion.runs), 'confirmation run')} of {name} failed"
    else:
        why = f"too many confirmation runs of all {len(outcome.set_aside)} finalists failed"
    scored = "" if score is None else f", {format_number(score)},"
    return [
        f"Unconfirmed: {why}.",
        f"{name} is the champion by its search score{scored} alone: the best of several noisy "
        "scores is likely too good.",
    ]


def _measure(metric: str) -> str:
    if metric.rpartition("/")[2] == "episode_return_mean":
        return "mean return"
    if metric.rpartition("/")[2] == "episode_len_mean":
        return "mean episode length"
    return f"mean {metric}"


def _with_interval(evidence: Evidence) -> str:
    interval = evidence.interval
    if interval is None:
        return f"{format_number(evidence.mean)} (no interval: {evidence.interval_reason})"
    ends = f"{format_number(interval.low)} to {format_number(interval.high)}"
    return f"{format_number(evidence.mean)} ({ends})"


def _runs(evidence: Evidence) -> str:
    failed = sum(value is None for value in evidence.runs)
    words = count_noun(len(evidence.finished), "run")
    return f"{words} ({failed} more failed)" if failed else words


def _percent(level: float) -> str:
    return f"{_whole(level)} %"


def _whole(share: float) -> str:
    return f"{100 * share:.0f}"


def _join(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
