"""What happens to actions of a Box that are not bounded on both sides; warnings of a plan."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sweeper.planning.values import possible_values
from sweeper.spec import ExperimentSpec
from sweeper.spec.keys.names import default

__all__ = ["find_unbounded_actions"]

Mask = NDArray[np.bool_]

_MAX_LISTED = 5
_NORMALIZE, _CLIP = "normalize_actions", "clip_actions"


def find_unbounded_actions(spec: ExperimentSpec, actions: object) -> Iterator[str]:
    """Say which dimensions of an action space are sent as the policy draws them, or only clipped.

    Args:
        spec: of the sweep.
        actions: the environment's action space; nothing is found in another one than a Box.
    """
    if not isinstance(actions, spaces.Box):
        return
    below, above = np.isfinite(actions.low), np.isfinite(actions.high)
    yield from _say(~below & ~above, "no bounds", "sent as the policy draws {them}")
    yield from _say(below ^ above, "only one bound", "clipped there, not scaled")
    if _can_be(spec, _NORMALIZE, False) and _can_be(spec, _CLIP, False) and (below | above).any():
        yield (
            f"where {_NORMALIZE} and {_CLIP} are both false, actions are clipped to their bounds "
            "all the same"
        )


def _say(chosen: Mask, have: str, are: str) -> Iterator[str]:
    if chosen.any():
        subject, is_one = _name(chosen)
        verb, pronoun = ("has", "it is") if is_one else ("have", "they are")
        yield f"{subject} {verb} {have}: {pronoun} {are.format(them='it' if is_one else 'them')}"


def _name(chosen: Mask) -> tuple[str, bool]:
    """Dimensions as a subject, counted from 1, and whether it is a single one."""
    total, number = chosen.size, int(chosen.sum())
    if total == 1:
        return "the action", True
    if number == total:
        return f"all {total} actions", False
    if number == 1 and chosen.ndim == 1:
        return f"action {int(chosen.argmax()) + 1} of {total}", True
    if number > _MAX_LISTED or chosen.ndim != 1:
        return f"{number} of {total} actions", number == 1
    *first, last = (str(index + 1) for index in np.flatnonzero(chosen))
    return f"actions {', '.join(first)} and {last} of {total}", False


def _can_be(spec: ExperimentSpec, key: str, value: bool) -> bool:
    usual = default(spec.algorithm, (key,), spec.backend)
    return value in possible_values(spec.param_space, (key,), usual)
