"""Have a trial's run say that it is the champion, or was trained again."""

from __future__ import annotations

from sweeper.evidence.selection import Selection
from sweeper.tracking.curves import SCORE
from sweeper.tracking.mirror import NOTE_TAG, RunMirror

__all__ = ["CHAMPION_TAG", "confirmed_values", "mark_page"]

CHAMPION_TAG = "sweeper.champion"
_LINE = "★ **The champion of its sweep.** How sure that is stands at the sweep's own run.\n\n"


def mark_page(mirror: RunMirror, *, is_champion: bool) -> dict[str, str]:
    """The tags that mark a trial's run as the champion's, or as no longer the champion's."""
    note = mirror.new_tags.get(NOTE_TAG, mirror.tags.get(NOTE_TAG, "")).removeprefix(_LINE)
    if is_champion:
        return {CHAMPION_TAG: "true", NOTE_TAG: f"{_LINE}{note}"}
    return {NOTE_TAG: note}


def confirmed_values(selection: Selection) -> dict[str, dict[str, float]]:
    """By trial id what a finalist came to when it was trained again, beside its score."""
    if selection.verdict is None:
        return {}
    found: dict[str, dict[str, float]] = {}
    for name, evidence in selection.verdict.evidence.items():
        if evidence.mean is None:
            continue
        values = found[name] = {f"{SCORE}_confirmed": evidence.mean}
        if evidence.interval is not None:
            values[f"{SCORE}_confirmed_low"] = evidence.interval.low
            values[f"{SCORE}_confirmed_high"] = evidence.interval.high
    return found
