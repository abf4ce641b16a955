"""What weights must be like to fit a network: the names and shapes, and what these don't tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sweeper.json_values import to_json
from sweeper.trainables.contract import NetworkDescription
from sweeper.trainables.torch_backend.architecture import Architecture, list_parameters

__all__ = ["describe_architecture"]


def describe_architecture(
    architecture: Architecture, meaning: Mapping[str, Any]
) -> NetworkDescription:
    """The parameters of one replica, with what else a network makes of them.

    Args:
        architecture: of the networks.
        meaning: what the algorithm adds to it, under the names that ``agent.json`` has.
    """
    shapes = {one.name: tuple(one.shape) for one in list_parameters(architecture)}
    names = ["convolutions", "input_scale"] if architecture.convolutions else []
    names += ["activation"] if architecture.convolutions or architecture.hiddens else []
    names += ["head_activation"] if architecture.head_hiddens else []
    names += ["log_std_clip"] if architecture.log_deviations else []
    layers = dataclasses.asdict(architecture)
    return NetworkDescription(
        shapes, to_json({**{name: layers[name] for name in names}, **meaning})
    )
