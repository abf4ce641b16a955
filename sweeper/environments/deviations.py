"""What is unusual about an observation, though it passes the checks."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from sweeper.environments.outcomes import find_leaves

__all__ = ["find_deviation"]


def find_deviation(value: Any, space: spaces.Space[Any]) -> str | None:
    """What is unusual but harmless about an observation that passed the checks.

    Gymnasium's own BipedalWalker and LunarLanderContinuous leave their bounds now and then, and
    its vector environments cast floats of another width.
    """
    for name, leaf, part in find_leaves(value, space):
        if not isinstance(leaf, spaces.Box):
            continue
        array = np.asarray(part)
        if array.dtype != leaf.dtype:
            return f"{name} is {array.dtype}, the space says {leaf.dtype}; it is cast"
        outside = np.argwhere((array < leaf.low) | (array > leaf.high))
        if len(outside):
            index = tuple(outside[0].tolist())
            place = f"[{', '.join(map(str, index))}]" if index else ""
            low, high = leaf.low[index], leaf.high[index]
            return (
                f"{name}{place} is {array[index]}, outside the space's bounds "
                f"({low:g} to {high:g}); widen them if that is right"
            )
    return None
