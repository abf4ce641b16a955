"""The convolutions that ``model_config.conv_filters`` describe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.errors import ConfigurationRefusedError

__all__ = ["Convolution", "convolved", "read_filters"]

# RLlib's default filters by the image's height and width (models/utils.py, get_filter_config).
_DEFAULT_FILTERS: Mapping[int, tuple[tuple[int, int, int], ...]] = {
    96: ((16, 8, 4), (32, 4, 2), (256, 11, 2)),
    84: ((16, 8, 4), (32, 4, 2), (256, 11, 1)),
    64: ((16, 4, 2), (32, 4, 2), (64, 4, 2), (128, 4, 2)),
    42: ((16, 4, 2), (32, 4, 2), (256, 11, 1)),
    10: ((16, 5, 2), (32, 5, 2)),
}


@dataclass(frozen=True)
class Convolution:
    """One Conv2d layer; ``padding`` is left, right, top, bottom."""

    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]


def read_filters(given: Any, shape: tuple[int, ...]) -> tuple[Convolution, ...]:
    """Read ``conv_filters`` for images ``(height, width, channels)``; None: RLlib's default ones.

    Raises:
        ConfigurationRefusedError: there are none, they are malformed, or shrink the images too far.
    """
    filters = given or _DEFAULT_FILTERS.get(shape[0] if shape[0] == shape[1] else -1)
    if not filters:
        raise ConfigurationRefusedError(
            f"no default conv_filters for images of shape {shape}; give "
            "model_config.conv_filters [[channels, kernel, stride], ...]"
        )
    size, layers = (shape[0], shape[1]), []
    for row in filters:
        if not isinstance(row, list | tuple) or len(row) not in (3, 4):
            raise ConfigurationRefusedError(
                f"model_config.conv_filters has rows [channels, kernel, stride], not {row!r}"
            )
        channels, kernel, stride = int(row[0]), _pair(row[1]), _pair(row[2])
        padding = (0, 0, 0, 0)
        if len(row) == 3 or row[3] == "same":
            rows, columns = (
                (math.ceil(size[i] / stride[i]) - 1) * stride[i] + kernel[i] - size[i]
                for i in (0, 1)
            )
            padding = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        layers.append(Convolution(channels, kernel, stride, padding))
        size = convolved(size, layers[-1])
        if min(size) < 1:
            raise ConfigurationRefusedError(
                f"conv_filters shrink images of shape {shape} to nothing"
            )
    return tuple(layers)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def convolved(size: tuple[int, int], layer: Convolution) -> tuple[int, int]:
    """Height and width of what a layer makes of an image of some height and width."""
    left, right, top, bottom = layer.padding
    return (
        (size[0] + top + bottom - layer.kernel[0]) // layer.stride[0] + 1,
        (size[1] + left + right - layer.kernel[1]) // layer.stride[1] + 1,
    )
