"""Have a trial's run say that it is the champion, or was trained again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sweeper.evidence.selection import Selection
from sweeper.tracking.curves import SCORE
from sweeper.tracking.mirror import NOTE_TAG, RunMirror

__all__ = ["CHAMPION_TAG", "mark_page", "mark_trials"]

CHAMPION_TAG = "sweeper.champion"
_LINE = "★ **The champion of its sweep.** How sure that is stands at the sweep's own run.\n\n"


def mark_trials(
    client: Any, trials: Mapping[str, RunMirror], selection: Selection, stamp: int
) -> Iterator[str]:
    """Have the trials' runs say who won, and the former champion's no more.

    Args:
        client: MLflow's.
        trials: of the sweep, by id.
        selection: of the champion.
        stamp: when the confirmation was over, in ms.

    Yields:
        The ids of trials whose mirrors have something to write now.
    """
    for key, mirror in trials.items():
        is_winner = key == selection.trial_id
        if mirror.run_id is None or not (is_winner or CHAMPION_TAG in mirror.tags):
            continue
        mirror.new_tags |= mark_page(mirror, is_champion=is_winner)
        if name := mirror.rename(is_champion=is_winner):
            client.update_run(mirror.run_id, name=name)
            mirror.tags["mlflow.runName"] = name
        if not is_winner:
            client.delete_tag(mirror.run_id, CHAMPION_TAG)
            del mirror.tags[CHAMPION_TAG]
        yield key
    for key, values in _confirmed_values(selection).items():
        if (finalist := trials.get(key)) and finalist.run_id:
            finalist.new_finals |= {name: (value, stamp) for name, value in values.items()}
            yield key


def mark_page(mirror: RunMirror, *, is_champion: bool) -> dict[str, str]:
    """The tags that mark a trial's run as the champion's, or as no longer the champion's."""
    note = mirror.new_tags.get(NOTE_TAG, mirror.tags.get(NOTE_TAG, "")).removeprefix(_LINE)
    if is_champion:
        return {CHAMPION_TAG: "true", NOTE_TAG: f"{_LINE}{note}"}
    return {NOTE_TAG: note}


def _confirmed_values(selection: Selection) -> dict[str, dict[str, float]]:
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
