"""Numbers of the evidence as a verdict's sentences have them."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.evidence.samples import Evidence, Solved
from sweeper.formatting import count_noun, format_number

__all__ = [
    "describe_ends",
    "describe_in_brackets",
    "describe_level",
    "describe_numbers",
    "describe_solved",
    "name_measure",
    "percent",
]


def name_measure(metric: str) -> str:
    """``mean return`` and the like."""
    if metric.rpartition("/")[2] == "episode_return_mean":
        return "mean return"
    if metric.rpartition("/")[2] == "episode_len_mean":
        return "mean episode length"
    return f"mean {metric}"


def describe_numbers(evidence: Evidence) -> str:
    """The mean, its interval and the number of runs."""
    values, interval = evidence.finished, evidence.interval
    failed = sum(value is None for value in evidence.runs)
    runs = count_noun(len(values), "run") + (f" ({failed} more failed)" if failed else "")
    mean = format_number(evidence.mean)
    if interval is None:
        return f"{mean} in {'each of ' if len(values) > 1 else ''}{runs}"
    return f"{mean} ({format_number(interval.low)} to {format_number(interval.high)}) over {runs}"


def describe_in_brackets(evidence: Evidence) -> str:
    """The same, to stand in brackets."""
    interval, runs = evidence.interval, count_noun(len(evidence.finished), "run")
    if interval is None:
        return describe_numbers(evidence)
    low, high = format_number(interval.low), format_number(interval.high)
    return f"{format_number(evidence.mean)}; {low} to {high} over {runs}"


def describe_level(level: float, *shown: Evidence) -> str:
    """`` (95 % intervals, widened for 3 finalists)``; empty where no interval is shown.

    Args:
        level: of the intervals.
        shown: whose they are, the champion first.
    """
    intervals = [one.interval for one in shown if one.interval is not None]
    if not intervals:
        return ""
    noun = "intervals" if len(intervals) > 1 else "interval"
    _, comma, promise = intervals[0].method.partition(", over ")  # the champion's
    kept = f", widened for {promise.replace(' over ', ' ')}" if comma else ""
    return f" ({percent(level)} % {noun}{kept})"


def percent(share: float) -> str:
    """``95`` of 0.95."""
    return f"{100 * share:.0f}"


def describe_ends(group: Sequence[float]) -> str:
    """Where a group of runs ended, in ascending order."""
    least, most = format_number(group[0]), format_number(group[-1])
    return f"at {least}" if least == most else f"between {least} and {most}"


def describe_solved(solved: Solved) -> str:
    """``4 of 5 runs at 475 or better; in the long run 28 to 99 % (95 %)``."""
    low, high, level = (
        f"{100 * share:.0f}"
        for share in (solved.interval.low, solved.interval.high, solved.interval.level)
    )
    return (
        f"{solved.number} of {count_noun(solved.runs, 'run')} at {format_number(solved.at)} or "
        f"better; in the long run {low} to {high} % ({level} %)"
    )
