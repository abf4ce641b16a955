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
    rewards: Array, observations: Array, *, replicas: Sequence[int], lengths: Array
) -> dict[int, str]:
    """Say what is not finite in a step, by replica.

    A sum is enough where all is well, and takes a thousandth of a step. The caller silences numpy's
    warnings.

    Args:
        rewards: ``float[replicas, envs]``.
        observations: ``[replicas, envs, ...]``.
        replicas: the ones that took the step.
        lengths: env steps of the episodes before it, ``int[replicas, envs]``.
    """
    is_float = observations.dtype.kind == "f"
    if math.isfinite(np.add.reduce(rewards, axis=None)) and (
        not is_float or math.isfinite(np.add.reduce(observations, axis=None))
    ):
        return {}
    arrays = [("a reward", rewards)] + [("an observation", observations)] * is_float
    found: dict[int, str] = {}
    for replica in replicas:
        for name, array in arrays:
            wrong = np.argwhere(~np.isfinite(array[replica]))
            if len(wrong) and replica not in found:
                env = wrong[0, 0]
                value = float(array[replica][tuple(wrong[0])])
                what = f"{name} of {value}" if name == "a reward" else f"{name} with {value}"
                found[replica] = f"{what} in step {lengths[replica, env] + 1:,} of an episode"
    return found


def make_finite(array: Array) -> None:
    """Replace NaN and infinity by 0, in place."""
    if array.dtype.kind == "f":
        np.nan_to_num(array, copy=False, posinf=0.0, neginf=0.0)
