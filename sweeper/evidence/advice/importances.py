"""Which searched parameters mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.evidence.advice.finding import LEVEL, Finding
from sweeper.formatting import format_number
from sweeper.results.records import TrialRecord
from sweeper.search.distributions import distributions

__all__ = ["advise_on_importances"]

_MIN_TRIALS = 10


def advise_on_importances(
    param_space: Mapping[str, Any], ranked: Sequence[tuple[TrialRecord, float]]
) -> Finding:
    """Which parameters the best trials depend on by more than chance; see `importance`.

    Args:
        param_space: nested, with its distributions.
        ranked: trials and their merits.
    """
    about = "importance"
    if not any(True for _ in distributions(param_space)):
        return Finding(about, False, "Nothing was searched.")
    if len(ranked) < _MIN_TRIALS:
        return Finding(
            about,
            False,
            f"Too few trials have a score, {len(ranked)}, to say which parameters matter; "
            f"{_MIN_TRIALS} are the least.",
        )
    from sweeper.search.sampling.importance import estimate_importances

    # In the order of the trials, on which the shuffles depend.
    ordered = sorted(ranked, key=lambda pair: (len(pair[0].trial_id), pair[0].trial_id))
    found = estimate_importances(
        param_space, [(record.parameters, merit) for record, merit in ordered], level=LEVEL
    )
    if not found:
        return Finding(about, False, "No parameter has a value in every trial.")
    numbers = {"parameters": [{**vars(one), "is_real": one.is_real} for one in found]}
    real = [one for one in found if one.is_real]
    if not real:
        best = min(found, key=lambda one: one.p_value)
        return Finding(
            about,
            False,
            f"No parameter matters by more than chance: the nearest is {best.name}, with a "
            f"PED-ANOVA importance of {format_number(best.value)}, where chance alone reaches "
            f"{format_number(best.floor)}.",
            numbers,
        )
    named = [
        f"{one.name} ({format_number(one.value)}, chance alone {format_number(one.floor)})"
        for one in real
    ]
    rest = len(found) - len(real)
    others = ""
    if rest:
        others = (
            f" The other {rest} can't be told from chance."
            if rest > 1
            else (
                f" {next(one.name for one in found if not one.is_real)} can't be told from chance."
            )
        )
    return Finding(
        about, True, f"What mattered, by PED-ANOVA: {', '.join(named)}.{others}", numbers
    )
