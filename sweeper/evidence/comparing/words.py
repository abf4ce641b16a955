"""The words and numbers of a comparison, the same on a terminal, in a notebook and in JSON."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.evidence.comparing.curves import MeanCurve
from sweeper.evidence.comparing.described import SearchScore
from sweeper.evidence.comparing.differences import Setting
from sweeper.evidence.comparing.improvement import Improvement
from sweeper.evidence.comparing.sparklines import Sparklines
from sweeper.evidence.figures import percent
from sweeper.evidence.statistics import Interval
from sweeper.formatting import format_number, format_score, format_value
from sweeper.hints import join_words
from sweeper.metrics import is_of_evaluation

__all__ = [
    "describe_improvement",
    "describe_interval",
    "describe_prediction",
    "describe_scale",
    "describe_score",
    "describe_setting",
    "letters",
]


def letters(place: int) -> str:
    """A name of a letter or two for the run in a place from 0: ``A``, ``B``, … ``Z``, ``AA``."""
    rest, last = divmod(place, 26)
    return (letters(rest - 1) if rest else "") + chr(ord("A") + last)


def describe_improvement(found: Improvement) -> str:
    """``B is better than A: a training run of B beats one of A in 96 % of pairs (…).``."""
    if found.probability is None or found.interval is None:
        return found.reason or ""
    low, high = percent(found.interval.low), percent(found.interval.high)
    pairs = (
        f"a training run of {found.run} beats one of {found.over} in {percent(found.probability)} "
        f"% of pairs ({low} to {high} %)"
    )
    if found.verdict != "undecided":
        return f"{found.run} is {found.verdict} than {found.over}: {pairs}."
    sentence = f"Undecided between {found.run} and {found.over}: {pairs}, which may be chance."
    if found.enough_runs is None:
        return sentence
    return f"{sentence} If that share stays, about {found.enough_runs} runs of each would tell."


def describe_interval(interval: Interval | None) -> str:
    """``471.2 to 498``; ``-`` without one."""
    if interval is None:
        return "-"
    return f"{format_number(interval.low)} to {format_number(interval.high)}"


def describe_prediction(interval: Interval | None) -> str:
    """The same, with its level if few runs don't let it be 95 %."""
    if interval is None or percent(interval.level) == "95":
        return describe_interval(interval)
    return f"{describe_interval(interval)} ({percent(interval.level)} %)"


def describe_scale(lines: Sparklines, curves: Sequence[MeanCurve | None]) -> str | None:
    """On which scale curves are drawn, and of what; None where there are none."""
    known = [curve for curve in curves if curve is not None]
    if lines.low is None or not known:
        return None
    metrics = dict.fromkeys(
        curve.metric if is_of_evaluation(curve.metric) else f"{curve.metric} while training"
        for curve in known
    )
    ends = f"from {format_number(lines.low)} to {format_number(lines.high)}"
    if lines.low == lines.high:
        ends = f"all at {format_number(lines.low)}"
    return (
        f"Curves: {join_words(list(metrics))}, the mean over the champion's runs, {ends}, over 0 "
        f"to {format_number(int(lines.env_steps))} env steps"
    )


def describe_score(search: SearchScore) -> str:
    """``482.1 ±12.3 (5)``: with the deviation and number of its replicas."""
    spread = ""
    if search.deviation is not None:
        spread = f" ±{format_number(search.deviation)} ({search.replicas})"
    return format_score(search.value, search.diverged) + spread


def describe_setting(setting: Setting) -> str:
    """A hyperparameter's value; ``-`` where the algorithm has no such key."""
    if not setting.is_known:
        return "-"
    return format_value(setting.value) + (" (default)" if setting.is_default else "")
