"""Which trials failed, whether a range is to blame, and what to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sweeper.evidence.advice.finding import LEVEL, Finding
from sweeper.evidence.advice.positions import Side, largest_by_chance, list_sides
from sweeper.formatting import count_noun, format_number
from sweeper.results.records import TrialRecord
from sweeper.states import FailureReason, TrialState

__all__ = ["advise_on_failures"]

_REMEDIES: Mapping[str, str] = {
    FailureReason.CRASHED: "the trial's log shows what was raised",
    FailureReason.REFUSED: "take these values out of param_space",
    FailureReason.DIVERGED: "a smaller lr, or grad_clip, keeps updates finite",
    FailureReason.ENVIRONMENT: "mend what the environment returns",
    FailureReason.OUT_OF_MEMORY: (
        "let fewer trials run at a time (search.max_concurrent), or give them a smaller replay "
        "memory or network"
    ),
    FailureReason.TIMEOUT: "raise resources.timeout_s, or make an iteration shorter",
    FailureReason.NODE_LOST: "`ray status` says which nodes the cluster has",
    FailureReason.WORKER_DIED: "the trial's log shows the worker's last lines",
    FailureReason.NO_SPACE: "free disk space, or lower checkpoint.keep_trials",
}


def advise_on_failures(param_space: Mapping[str, Any], trials: Sequence[TrialRecord]) -> Finding:
    """How many trials failed and why, what they have in common, and what to change.

    A trial of which some replicas diverged counts as failed here, too, though it has a score.

    Args:
        param_space: nested, with its distributions.
        trials: of the search, those that are over.
    """
    about = "failures"
    over = [one for one in trials if one.state.is_over]
    failed = np.array([one.state is TrialState.ERROR or one.diverged > 0 for one in over], bool)
    if not failed.any():
        return Finding(about, False, f"None of {count_noun(len(over), 'trial')} failed.")
    errors = [one for one in over if one.state is TrialState.ERROR]
    reasons = Counter(one.reason or FailureReason.CRASHED.value for one in errors)
    numbers: dict[str, Any] = {"trials": len(over), "reasons": dict(reasons)}
    sentences = []
    for reason, number in reasons.most_common():
        remedy = _REMEDIES.get(reason, _REMEDIES[FailureReason.CRASHED])
        first = next(one for one in errors if (one.reason or FailureReason.CRASHED) == reason)
        error = f", {first.trial_id} first" + (f" ({first.error})" if first.error else "")
        sentences.append(
            f"{number} of {count_noun(len(over), 'trial')} failed: {reason}{error}. What to do: "
            f"{remedy}."
        )
    partly = [one for one in over if one.state is not TrialState.ERROR and one.diverged]
    if partly:
        numbers["partly_diverged"] = len(partly)
        many = count_noun(len(partly), "more trial" if errors else "trial")
        sentences.append(f"In {many} some replicas diverged.")
        if FailureReason.DIVERGED not in reasons:
            sentences.append(f"What to do: {_REMEDIES[FailureReason.DIVERGED]}.")
    blamed = _blame(param_space, over, failed)
    sentences += [_describe(side, failed, chance) for side, chance in blamed]
    numbers["ranges"] = [
        {
            "parameter": side.scale.name,
            "side": "upper" if side.is_upper else "lower",
            "from": _edge(side, failed),
            "p_value": chance,
        }
        for side, chance in blamed
    ]
    return Finding(about, True, " ".join(sentences), numbers)


def _blame(
    param_space: Mapping[str, Any], over: Sequence[TrialRecord], failed: np.ndarray
) -> list[tuple[Side, float]]:
    """The ends of ranges where failures gather by more than chance."""
    if failed.sum() < 2 or failed.all():
        return []
    sides = list_sides(param_space, over)
    if not sides:
        return []
    chances = largest_by_chance(sides, failed.astype(np.float64))
    found = [(side, one) for side, one in zip(sides, chances, strict=True) if one <= LEVEL]
    return sorted(found, key=lambda pair: pair[1])


def _edge(side: Side, failed: np.ndarray) -> float:
    """The value beyond which all failed trials lie."""
    position = float(side.positions[failed].min())
    if side.scale.values:
        last = len(side.scale.values) - 1
        index = round(position * last)
        return side.scale.values[index if side.is_upper else last - index]
    return side.scale.value_at(position if side.is_upper else 1 - position)


def _describe(side: Side, failed: np.ndarray, chance: float) -> str:
    beyond = side.positions >= side.positions[failed].min()
    others = int((beyond & ~failed).sum())
    way = "at least" if side.is_upper else "at most"
    part = "upper" if side.is_upper else "lower"
    return (
        f"All of these have {side.scale.name} {way} {format_number(_edge(side, failed))}, as have "
        f"{others} of the {int((~failed).sum())} others (p = {chance:.2g}): move its {part} bound "
        "there."
    )
