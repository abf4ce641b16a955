"""The verdict in sentences: short, each with its numbers, the next training run last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.evidence.failed_runs import describe_failed, describe_reason, explain_failed
from sweeper.evidence.figures import (
    describe_ends,
    describe_in_brackets,
    describe_level,
    describe_numbers,
    name_measure,
    percent,
)
from sweeper.evidence.samples import Evidence
from sweeper.evidence.statistics import Interval, clopper_pearson
from sweeper.formatting import count_noun, format_number
from sweeper.hints import join_words
from sweeper.metrics import examined_metric

__all__ = ["MAX_MORE_SEEDS", "Outcome", "describe_outcome", "describe_unjudged"]

MAX_MORE_SEEDS = 1000
_NOTABLE = 1.05  # a ratio of costs or spreads below it isn't worth a word
_NEAR = 0.1  # of what counts as solved: runs that all come to 474 are near 475


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
        unjudged: how many trials of the search have no score.
        metric: its name.
        mode: whether ``max`` or ``min`` of it is better.
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
    unjudged: int
    metric: str
    mode: str
    level: float


def describe_outcome(outcome: Outcome) -> str:
    """The verdict in sentences."""
    if outcome.champion.mean is None or not (outcome.finalists or outcome.missing):
        return " ".join(_without_runs(outcome))
    sentences = [
        *_main(outcome),
        *_failures(outcome),
        *_diverged(outcome),
        *_other_finalists(outcome),
        *_solved(outcome),
        *_out_of_reach(outcome),
        *_shrinkage(outcome),
        *describe_unjudged(outcome.unjudged),
        *_two_groups(outcome),
        _next_run(outcome),
    ]
    return " ".join(sentences)


def _main(outcome: Outcome) -> list[str]:
    champion, baseline = outcome.champion, outcome.baseline
    name, measure = champion.name, name_measure(outcome.metric)
    if outcome.verdict == "unconfirmed":
        return [
            f"Unconfirmed: {_describe_lack(outcome)}.",
            f"{name} is the champion by its search score; so far its {measure} is "
            f"{describe_numbers(champion)}{describe_level(outcome.level, champion)}.",
        ]
    if baseline is None or baseline.mean is None:
        why = "There is no baseline to hold it against."
        if baseline is not None:
            runs = count_noun(len(baseline.runs), "run")
            failed = f"All {runs} of the baseline failed{describe_reason(baseline)}"
            why = f"{failed}, so there is nothing to hold it against."
        number = len(outcome.finalists)
        rank = f"has the best {measure} of {number} finalists:"
        if number == 1:
            rank = f"is the only finalist; its {measure} is"
        return [
            f"{name} {rank} {describe_numbers(champion)}{describe_level(outcome.level, champion)}.",
            why,
        ]
    numbers = (
        f"{measure} {describe_numbers(champion)}, against {describe_numbers(baseline)}"
        f"{describe_level(outcome.level, champion, baseline)}"
    )
    if outcome.verdict == "undecided":
        return [
            f"Undecided: {_leaning(champion, baseline, outcome.mode)}: {numbers}.",
            *_beats(outcome),
            *_more_seeds(outcome.more_seeds),
            _so_far(champion, baseline, outcome.mode),
        ]
    sentences = [f"{name} is {outcome.verdict} than the baseline: {numbers}."]
    if outcome.verdict == "worse":
        sentences.append("The sweep found nothing better: use the baseline.")
    return sentences


def _leaning(champion: Evidence, baseline: Evidence, mode: str) -> str:
    """What an undecided comparison looks like."""
    name, lead = champion.name, _lead(champion, baseline, mode)
    if not lead:
        return f"{name} and the baseline do equally well so far"
    looks = "better" if lead > 0 else "worse"
    return f"{name} looks {looks} than the baseline, but chance may explain it"


def _so_far(champion: Evidence, baseline: Evidence, mode: str) -> str:
    if _lead(champion, baseline, mode) > 0:
        return f"So far {champion.name} is a bet, not a proven gain."
    return f"So far nothing speaks for {champion.name} over the baseline."


def _lead(champion: Evidence, baseline: Evidence, mode: str) -> float:
    """By how much the champion's mean is better."""
    lead = (champion.mean or 0.0) - (baseline.mean or 0.0)
    return lead if mode == "max" else -lead


def _beats(outcome: Outcome) -> list[str]:
    if outcome.probability is None or outcome.champion.interval is None:
        return []
    limits = ""
    if outcome.probability_interval is not None:
        low, high = outcome.probability_interval.low, outcome.probability_interval.high
        limits = f" ({percent(low)} to {percent(high)} %)"
    share = f"{percent(outcome.probability)} %{limits}"
    return [f"A run of {outcome.champion.name} beats one of the baseline in {share} of all pairs."]


def _more_seeds(number: int | None) -> list[str]:
    if number is None:
        return []
    if number >= MAX_MORE_SEEDS:
        return [
            f"If they differ, then by too little for {MAX_MORE_SEEDS} more runs of both to show."
        ]
    runs = count_noun(number, "more run")
    return [f"If they differ as much as these runs do, about {runs} of both would likely show it."]


def describe_unjudged(number: int) -> list[str]:
    """That so many trials have no score; nothing of none."""
    return [f"{count_noun(number, 'trial')} could not be judged."] if number else []


def _failures(outcome: Outcome) -> list[str]:
    """Of whom runs failed, and why, where no other sentence has said it."""
    sentences, is_confirmed = [], outcome.verdict != "unconfirmed"
    for one in outcome.set_aside:
        if is_confirmed:
            sentences.append(f"{one.name} could not win: {describe_failed(one)}.")
        elif outcome.missing and one.failure is not None:
            sentences.append(f"{describe_failed(one, one.name)}.")
    baseline = outcome.baseline
    is_said = is_confirmed and not (baseline is not None and baseline.finished)
    if baseline is not None and baseline.failure is not None and not is_said:
        sentences.append(f"{describe_failed(baseline, 'the baseline')}.")
    return sentences


def _diverged(outcome: Outcome) -> list[str]:
    """Of whose runs some diverged: of those whose numbers the verdict names."""
    named = (outcome.champion.name, *outcome.tied)
    shown = [one for one in outcome.finalists if one.name in named] or [outcome.champion]
    counts = {f"{one.name}'s": one.diverged for one in shown}
    if outcome.baseline is not None:
        counts["the baseline's"] = outcome.baseline.diverged
    parts = [f"{number} of {whose}" for whose, number in counts.items() if number]
    if not parts:
        return []
    parts[0] += " runs"
    verb = "counts" if sum(counts.values()) == 1 else "count"
    return [f"{join_words(parts)} diverged and {verb} as the worst."]


def _other_finalists(outcome: Outcome) -> list[str]:
    name, others = outcome.champion.name, len(outcome.finalists) - 1
    if outcome.verdict == "unconfirmed" or not others:
        return []
    if not outcome.tied:
        rest = "other finalist" if others == 1 else f"other {others} finalists"
        return [f"{name} is better than the {rest}."]
    ranked = {one.name: one for one in outcome.finalists}
    tied = [f"{other} ({describe_in_brackets(ranked[other])})" for other in outcome.tied]
    sentences = [f"{join_words(tied)} may be better or worse than {name}."]
    chosen = [one for one in outcome.finalists if one.name in (name, *outcome.tied)]
    parts = []
    steps = [one.env_steps for one in chosen]
    if max(steps) > _NOTABLE * min(steps):
        parts.append(f"{outcome.cheapest} is the cheapest ({format_number(min(steps))} env steps)")
    parts += _steadiest(outcome, chosen)
    if parts:
        sentences.append(f"Of these {len(chosen)}, {' and '.join(parts)}.")
    return sentences


def _steadiest(outcome: Outcome, chosen: Sequence[Evidence]) -> list[str]:
    """Whose runs varied least, beside the champion's or else the one that varied most."""
    spread = {one.name: one for one in chosen if one.deviation is not None}
    if outcome.steadiest is None or len(spread) < 2:
        return []
    least, other = spread[outcome.steadiest], spread.get(outcome.champion.name)
    if other is None or other is least:
        other = max(spread.values(), key=lambda one: one.deviation or 0.0)
    if (other.deviation or 0.0) <= _NOTABLE * (least.deviation or 0.0):
        return []
    runs = count_noun(len(least.finished), "run")
    return [
        f"{least.name} varied least (standard deviation {format_number(least.deviation)} over "
        f"{runs}; {other.name}'s {format_number(other.deviation)} over {len(other.finished)})"
    ]


def _solved(outcome: Outcome) -> list[str]:
    solved = outcome.champion.solved
    if solved is None:
        return []
    share = f"{percent(solved.interval.low)} to {percent(solved.interval.high)} %"
    other = None if outcome.baseline is None else outcome.baseline.solved
    against = ""
    if other is not None:
        against = f" and {other.number or 'none'} of the baseline's {other.runs}"
    name = outcome.champion.name
    return [
        f"{solved.number} of {name}'s {solved.runs} runs{against} ended at "
        f"{format_number(solved.at)} or better; in the long run {share} of {name}'s would "
        f"({percent(solved.interval.level)} % interval)."
    ]


def _out_of_reach(outcome: Outcome) -> list[str]:
    """That what counts as solved lies farther from every run than these from each other."""
    solved, baseline = outcome.champion.solved, outcome.baseline
    everyone = [*outcome.finalists, *outcome.set_aside, *([] if baseline is None else [baseline])]
    runs = sorted(value for one in everyone for value in one.undiverged)
    if solved is None or not runs:
        return []
    best = runs[-1] if outcome.mode == "max" else runs[0]
    lacks = solved.at - best if outcome.mode == "max" else best - solved.at
    if lacks <= max(runs[-1] - runs[0], _NEAR * abs(solved.at)):
        return []
    return [
        f"No run came near {format_number(solved.at)}: the best ended at {format_number(best)}. "
        "Perhaps the environment can't give it."
    ]


def _shrinkage(outcome: Outcome) -> list[str]:
    score, mean = outcome.champion.search_score, outcome.champion.mean
    if outcome.shrinkage is None or score is None or mean is None:
        return []
    if format_number(score) == format_number(mean):
        return [f"The search's score was {format_number(score)} too."]
    size, is_higher = f"{abs(outcome.shrinkage):.3g}", outcome.shrinkage > 0
    is_told_alike = outcome.metric.startswith("evaluation/")
    if not is_told_alike and examined_metric(outcome.metric) is not None:
        word = "higher" if is_higher else "lower"
        return [
            f"The search's score, {format_number(score)}, is of episodes while training, and about "
            f"{size} {word}."
        ]
    word = "higher" if is_higher else "lower"
    return [f"The search's score, {format_number(score)}, is about {size} {word} than that mean."]


def _two_groups(outcome: Outcome) -> list[str]:
    values, number = sorted(outcome.champion.finished), outcome.champion.in_lower_group
    if number is None or outcome.champion.prediction is None:
        return []
    name = outcome.champion.name
    if number in (0, len(values)):
        group, other = ("lower", "upper") if number else ("upper", "lower")
        return [
            f"Runs in this environment fall into two groups; all {len(values)} of {name}'s are in "
            f"the {group} one, but up to {_elsewhere(outcome)} % of runs may end in the {other}."
        ]
    low, high = (describe_ends(group) for group in (values[:number], values[number:]))
    return [
        f"{name}'s runs fall into two groups: {number} of {len(values)} ended {low}, the others "
        f"{high}{_lower_of_baseline(outcome)}."
    ]


def _lower_of_baseline(outcome: Outcome) -> str:
    baseline = outcome.baseline
    if baseline is None or baseline.in_lower_group is None or not baseline.finished:
        return ""
    number, runs = baseline.in_lower_group, len(baseline.finished)
    share = {0: f"none of {runs}", runs: f"all {runs}"}.get(number, f"{number} of {runs}")
    where = "did so badly" if outcome.mode == "max" else "were in the lower group"
    return f"; of the baseline's, {share} {where}"


def _next_run(outcome: Outcome) -> str:
    champion = outcome.champion
    values, prediction = champion.finished, champion.prediction
    if prediction is not None:
        where, limit = "", ""
        if (prediction.low, prediction.high) == (min(values), max(values)):
            where = f", the lowest and the highest of its {len(values)} runs"
        if prediction.level < outcome.level - 1e-9:
            limit = f"; its {len(values)} runs allow no surer promise"
        return (
            f"One more training run of {champion.name} would land between "
            f"{format_number(prediction.low)} and {format_number(prediction.high)}{where} "
            f"({percent(prediction.level)} %{limit})."
        )
    if len(values) < 2:
        return f"One run can't say where another training run of {champion.name} would land."
    return (
        f"One more training run of {champion.name} would most likely end at "
        f"{format_number(values[0])} too, but up to {_elsewhere(outcome)} % of runs may not."
    )


def _without_runs(outcome: Outcome) -> list[str]:
    name, score = outcome.champion.name, outcome.champion.search_score
    why = _describe_lack(outcome) if outcome.missing else explain_failed(outcome.set_aside)
    scored = "" if score is None else f", {format_number(score)},"
    return [
        f"Unconfirmed: {why}.",
        *_failures(outcome),
        f"{name} is the champion by its search score{scored} alone; the best of several noisy "
        "scores is likely too good.",
        *describe_unjudged(outcome.unjudged),
        f"Nothing says where another training run of {name} would land.",
    ]


def _describe_lack(outcome: Outcome) -> str:
    return f"the confirmation is not complete; it lacks {join_words(outcome.missing)}"


def _elsewhere(outcome: Outcome) -> str:
    """In percent, the largest share of runs that may do what none of the champion's did."""
    number = len(outcome.champion.finished)
    return percent(1 - clopper_pearson(number, number, outcome.level).low)
