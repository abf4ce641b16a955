"""Find rewards and observations that are NaN or infinite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["find_non_finite", "make_finite"]

Array = NDArray[Any]


def find_non_finite(
    rewards: Sequence[Array], observations: Array, *, replicas: Sequence[int], lengths: Array
) -> dict[int, str]:
    """Say what is not finite in a step, by replica.

    A sum is enough where all is well, and takes a thousandth of a step. The caller silences numpy's
    warnings.

    Args:
        rewards: of the environment and below its wrappers, ``float[replicas, envs]`` each.
        observations: ``[replicas, envs, ...]``.
        replicas: the ones that took the step.
        lengths: env steps of the episodes before it, ``int[replicas, envs]``; -1 for a reset.
    """
    is_float = observations.dtype.kind == "f"
    looked_at = [*rewards, observations] if is_float else rewards
    if all(math.isfinite(np.add.reduce(array, axis=None)) for array in looked_at):
        return {}
    arrays = [("a reward", array) for array in rewards]
    arrays += [("an observation", observations)] * is_float
    found: dict[int, str] = {}
    for replica in replicas:
        for name, array in arrays:
            wrong = np.argwhere(~np.isfinite(array[replica]))
            if len(wrong) and replica not in found:
                env = wrong[0, 0]
                value = float(array[replica][tuple(wrong[0])])
                what = f"{name} of {value}" if name == "a reward" else f"{name} with {value}"
                step = lengths[replica, env] + 1
                where = f"in step {step:,} of an episode" if step else "at a reset"
                found[replica] = f"{what} {where}"
    return found


def make_finite(array: Array) -> None:
    """Replace NaN and infinity by 0, in place."""
    if array.dtype.kind == "f":
        np.nan_to_num(array, copy=False, posinf=0.0, neginf=0.0)
