"""What a verdict says of runs that failed, with the reason."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.evidence.samples import Evidence
from sweeper.formatting import count_noun

__all__ = ["describe_failed", "describe_reason", "explain_failed"]

_MAX_REASON = 120  # `excluded`, results and logs have all of it
_MAX_NAMED = 3


def describe_failed(evidence: Evidence, whose: str = "") -> str:
    """``7 of 10 runs of t0003 failed (crashed: KeyError: 1)``, or without whose they are."""
    failed = sum(value is None for value in evidence.runs)
    runs = count_noun(len(evidence.runs), "run") + (f" of {whose}" if whose else "")
    return f"{failed} of {runs} failed{describe_reason(evidence)}"


def describe_reason(evidence: Evidence) -> str:
    """`` (crashed: KeyError: 1)``, short and in one line; empty if none is known."""
    return "" if evidence.failure is None else f" ({_shorten(evidence.failure)})"


def explain_failed(finalists: Sequence[Evidence]) -> str:
    """Why none of some finalists could win, in words."""
    if len(finalists) == 1:
        (one,) = finalists
        return describe_failed(one, one.name)
    reasons = {one.name: _shorten(one.failure) for one in finalists if one.failure is not None}
    why = ""
    if len(reasons) == len(finalists) and len(set(reasons.values())) == 1:
        why = f" ({next(iter(reasons.values()))})"
    elif reasons:
        named = [f"{name}: {reason}" for name, reason in reasons.items()][:_MAX_NAMED]
        more = len(reasons) - len(named)
        why = f" ({'; '.join(named)}{f'; and {more} more' if more else ''})"
    return f"too many runs of each of the {len(finalists)} finalists failed{why}"


def _shorten(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= _MAX_REASON else f"{line[: _MAX_REASON - 1]}…"
