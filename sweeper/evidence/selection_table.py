"""Who came to what, as a table: the winner first, then whom it is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sweeper.evidence.samples import Evidence
from sweeper.evidence.statistics import Interval

__all__ = ["HEADINGS", "evidence_rows", "score_row"]

HEADINGS = ("", "search's score", "mean of new runs", "95 % of means", "one more run", "runs")


def score_row(name: str, score: float | None, deviation: float | None) -> tuple[str, ...]:
    """The row of a trial that was not trained again."""
    return (name, _with_deviation(score, deviation), "-", "-", "-", "0")


def evidence_rows(
    first: str, evidence: Mapping[str, Evidence], deviations: Mapping[str, float | None]
) -> Sequence[tuple[str, ...]]:
    """A row for each configuration of the confirmation, under `HEADINGS`.

    Args:
        first: who stands first.
        evidence: by name.
        deviations: of the replicas in the search, by name.
    """
    names = [first, *(name for name in evidence if name != first)]
    return [_describe(evidence[name], deviations.get(name)) for name in names]


def _with_deviation(score: float | None, deviation: float | None) -> str:
    if score is None:
        return "-"
    return f"{score:.4g}" + ("" if deviation is None else f" ±{deviation:.4g}")


def _describe(evidence: Evidence, deviation: float | None) -> tuple[str, ...]:
    diverged = f" ({evidence.diverged} diverged)" if evidence.diverged else ""
    return (
        evidence.name,
        _with_deviation(evidence.search_score, deviation),
        "-" if evidence.mean is None else f"{evidence.mean:.4g}",
        _ends(evidence.interval),
        _ends(evidence.prediction) + _level(evidence.prediction),
        f"{len(evidence.finished)}{diverged}",
    )


def _ends(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low:.4g} to {interval.high:.4g}"


def _level(interval: Interval | None) -> str:
    return "" if interval is None else f" ({100 * interval.level:.0f} %)"
