"""Known distributions of a training run's return, and confirmations drawn from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeper.evidence.verdict import Sample, undecided

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Returns:
    """A distribution of returns with mean 0 and standard deviation 1.

    Attributes:
        name: in words.
        draw: float64[size] from a generator and a size.
    """

    name: str
    draw: Callable[[np.random.Generator, int], Array]


def _draw_stuck(generator: np.random.Generator, size: int) -> Array:
    """One run in five gets stuck, 2.5 standard deviations below the others."""
    learned = generator.random(size) < 0.8
    return np.where(learned, 0.5, -2.0) + generator.normal(scale=0.05, size=size)


NORMAL = Returns("normal", lambda generator, size: generator.normal(size=size))
STUCK = Returns("success or stuck", _draw_stuck)


def _draw_capped(generator: np.random.Generator, size: int) -> Array:
    """A normal distribution cut at its mean: half of the runs end at exactly the same return."""
    mean, deviation = -1 / math.sqrt(2 * math.pi), math.sqrt(0.5 - 0.5 / math.pi)
    return (np.minimum(generator.normal(size=size), 0.0) - mean) / deviation


CAPPED = Returns("half at a ceiling", _draw_capped)


def draw_confirmation(
    generator: np.random.Generator,
    means: Mapping[str, float],
    returns: Returns,
    looks: Sequence[int],
) -> list[Sample]:
    """Train finalists and baseline until the confirmation is complete.

    Args:
        generator: of all draws.
        means: true mean by name; the last one is the baseline's.
        returns: how runs scatter around it, in standard deviations of 1.
        looks: how many runs there are at each planned look; one for a fixed number.

    Returns:
        The samples, the baseline's last.
    """
    runs = {name: mean + returns.draw(generator, looks[-1]) for name, mean in means.items()}
    sizes = dict.fromkeys(means, looks[0])
    while True:
        samples = [Sample(name, tuple(runs[name][: sizes[name]]), 1e5) for name in means]
        waiting = undecided(samples[:-1], samples[-1], looks=looks) if len(looks) > 1 else ()
        if not waiting:
            return samples
        for name in waiting:
            sizes[name] = next(look for look in looks if look > sizes[name])
