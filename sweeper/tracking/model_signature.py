"""The signature of the champion's model: what observations and actions look like."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
from gymnasium import spaces

__all__ = ["describe_signature", "example_of"]

_STRUCTURES = (spaces.Dict, spaces.Tuple)


def describe_signature(observations: spaces.Space[Any], actions: spaces.Space[Any]) -> Any:
    """The spaces as MLflow's signature; batches have any length.

    MLflow would refuse whatever is not exactly of that type and shape, a single observation and
    float64 among it. So the signature is marked as one whose model checks its input itself, as
    MLflow marks those of models with type hints (``mlflow/pyfunc/__init__.py``, ``predict``).
    """
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    outputs = None
    if actions.shape is not None and actions.dtype is not None:
        outputs = Schema([TensorSpec(np.dtype(actions.dtype), (-1, *actions.shape))])
    signature = ModelSignature(inputs=Schema(_specs(observations)), outputs=outputs)
    signature._is_signature_from_type_hint = True
    return signature


def example_of(space: spaces.Space[Any]) -> Any:
    """A batch of one observation: zeros, or what of the space is nearest to them."""
    if _is_plain(space):
        return {key: example_of(below) for key, below in space.spaces.items()}
    if isinstance(space, _STRUCTURES):
        return spaces.flatten(space, _example(space)).astype(np.float32)[None]
    shape = (1, *(space.shape or ()))
    if isinstance(space, spaces.Box):
        return np.clip(np.zeros(shape, space.dtype), space.low, space.high)
    start = getattr(space, "start", 0)
    return np.broadcast_to(np.asarray(start, space.dtype), shape).copy()


def _example(space: spaces.Space[Any]) -> Any:
    """One observation as the environment gives it: all zeros are no choice of a Discrete."""
    if isinstance(space, spaces.Dict):
        return {key: _example(below) for key, below in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_example(below) for below in space.spaces)
    return example_of(space)[0]


def _specs(space: spaces.Space[Any]) -> list[Any]:
    """Of a Dict of arrays one for each; other structures are flattened, as MLflow has no form."""
    from mlflow.types import TensorSpec

    example = example_of(space)
    named = example if isinstance(example, dict) else {None: example}
    return [TensorSpec(one.dtype, (-1, *one.shape[1:]), name) for name, one in named.items()]


def _is_plain(space: spaces.Space[Any]) -> TypeGuard[spaces.Dict]:
    if not isinstance(space, spaces.Dict):
        return False
    return not any(isinstance(below, _STRUCTURES) for below in space.spaces.values())
