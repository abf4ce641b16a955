"""Which bound of which range the best configurations lean on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sweeper.evidence.advice.finding import LEVEL, Finding
from sweeper.evidence.advice.positions import (
    Side,
    largest_by_chance,
    list_scales,
    list_sides,
    savage_scores,
)
from sweeper.formatting import format_number
from sweeper.results.records import TrialRecord
from sweeper.spec.keys.domains import domain_of

__all__ = ["advise_on_ranges"]

_MIN_TRIALS = 8
_BEST_SHARE = 0.25
_OUTER = 0.2  # of a range
_LEANING = 0.5  # of the best, that must lie in the outer part
_FURTHER = 0.5  # of the range, by which it is to be widened
_TIMES = 3.0  # on a log scale at most by this factor


def advise_on_ranges(
    param_space: Mapping[str, Any], ranked: Sequence[tuple[TrialRecord, float]]
) -> Finding:
    """Whether the best quarter of the configurations leans on a bound.

    A bound counts if at least half of them lie in the outer fifth of the range (of a choice: have
    its last value), and if trials get better towards it by more than chance. Bounds that can't be
    moved, such as a ``gamma`` of 1, don't count.

    Args:
        param_space: nested, with its distributions.
        ranked: trials and their merits, the best first.
    """
    about, number = "ranges", len(ranked)
    if not list_scales(param_space):
        return Finding(about, False, "No range or choice of numbers was searched.")
    if number < _MIN_TRIALS:
        return Finding(
            about, False, f"Too few trials have a score, {number}, to see where the best ones lie."
        )
    merits = np.array([merit for _, merit in ranked])
    # All that are equally good belong to the best, or none: the order among them means nothing.
    best = merits >= merits[math.ceil(_BEST_SHARE * number) - 1]
    if 2 * best.sum() > number:
        return Finding(
            about, False, f"{best.sum()} of {number} configurations are equally good, so none lean."
        )
    sides = list_sides(param_space, [record for record, _ in ranked])
    movable = [side for side in sides if _next_bound(side) is not None]
    chances = largest_by_chance(movable, savage_scores(merits)) if movable else []
    leaning = [
        (side, chance)
        for side, chance in zip(movable, chances, strict=True)
        if chance <= LEVEL and _share(side, best) >= _LEANING
    ]
    if not leaning:
        closest = min(zip(chances, movable, strict=True), key=lambda pair: pair[0], default=None)
        nearest = "" if closest is None else f" (nearest: {closest[1].scale.name})"
        return Finding(
            about,
            False,
            f"The best {best.sum()} of {number} configurations lean on no bound by more than "
            f"chance{nearest}.",
        )
    leaning.sort(key=lambda pair: pair[1])
    return Finding(
        about,
        True,
        " ".join(_describe(side, best, chance) for side, chance in leaning),
        {"bounds": [_numbers(side, best, chance) for side, chance in leaning]},
    )


def _outer(side: Side) -> np.ndarray:
    limit = 1.0 if side.scale.values else 1 - _OUTER
    return side.positions >= limit - 1e-12


def _share(side: Side, best: np.ndarray) -> float:
    return float(_outer(side)[best].mean())


def _next_bound(side: Side) -> float | None:
    """Where the range could end instead; None if the parameter's domain ends here."""
    domain, scale = domain_of(side.scale.name, 0.0), side.scale
    if scale.values:
        limit = domain.upper if side.is_upper else domain.lower
        return None if side.bound == limit else side.bound
    further = _FURTHER
    if scale.is_log:
        further = min(further, math.log(_TIMES) / math.log(scale.high / scale.low))
    wanted = scale.value_at(1 + further if side.is_upper else -further)
    wanted = float(f"{wanted:.2g}")
    if side.is_upper:
        wanted = min(wanted, domain.upper)
        return wanted if wanted > scale.high else None
    wanted = max(wanted, domain.lower)
    is_outside = wanted >= scale.low or (domain.is_open and wanted <= domain.lower)
    return None if is_outside else wanted


def _describe(side: Side, best: np.ndarray, chance: float) -> str:
    scale, outer, number = side.scale, _outer(side), len(best)
    count = f"{int(outer[best].sum())} of the {int(best.sum())} best configurations"
    share = f"of all {number}, {int(outer.sum())} do (p = {chance:.2g})"
    bound, end = format_number(side.bound), "largest" if side.is_upper else "smallest"
    if scale.values:
        way = "larger" if side.is_upper else "smaller"
        return f"{count} have {scale.name} {bound}, the {end} value; {share}: try {way} ones."
    inner = format_number(scale.value_at(1 - _OUTER if side.is_upper else _OUTER))
    ends = f"{inner} to {bound}" if side.is_upper else f"{bound} to {inner}"
    part, wanted = "upper" if side.is_upper else "lower", format_number(_next_bound(side))
    return (
        f"{count} have {scale.name} in the {part} fifth of its range ({ends}); {share}: move the "
        f"{part} bound beyond {bound}, for instance to {wanted}."
    )


def _numbers(side: Side, best: np.ndarray, chance: float) -> dict[str, Any]:
    outer = _outer(side)
    return {
        "parameter": side.scale.name,
        "side": "upper" if side.is_upper else "lower",
        "bound": side.bound,
        "try": None if side.scale.values else _next_bound(side),
        "best": int(best.sum()),
        "best_at_bound": int(outer[best].sum()),
        "trials": len(best),
        "trials_at_bound": int(outer.sum()),
        "p_value": chance,
    }
