"""How many multiplications a network's update needs, for its share of a core's peak."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sweeper.trainables.torch_backend.architecture import Architecture

__all__ = ["Multiplications", "count_multiplications"]


class Multiplications(NamedTuple):
    """Of one row.

    Attributes:
        forward: of all encoders and the heads that are used.
        backward: the gradients of all parameters and of all layers' inputs but the first ones'.
    """

    forward: int
    backward: int


def count_multiplications(architecture: Architecture, *, has_value: bool = True) -> Multiplications:
    """Count them; ``has_value`` says whether the value's head is used."""
    from sweeper.trainables.torch_backend.filters import convolved

    shape, first, others = architecture.observation_shape, 0, 0
    for layer in architecture.convolutions:
        places = convolved((shape[0], shape[1]), layer)
        count = math.prod(places) * layer.channels * shape[2] * math.prod(layer.kernel)
        first, others = (first, others + count) if first else (count, others)
        shape = *places, layer.channels
    size = math.prod(shape)
    for hidden in architecture.hiddens:
        count = size * hidden
        first, others = (first, others + count) if first else (count, others)
        size = hidden
    encoders = len(architecture.encoders)
    heads = 0
    for outputs in (architecture.policy_outputs, *([1] if has_value else [])):
        below = size
        for hidden in (*architecture.head_hiddens, outputs):
            heads += below * hidden
            below = hidden
    forward = encoders * (first + others) + heads
    return Multiplications(forward, 2 * forward - encoders * first)
