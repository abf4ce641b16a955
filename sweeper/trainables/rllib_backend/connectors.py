"""RLlib's connectors between an environment and a network, where RLlib's own don't suffice.

RLlib's networks take floats, number everything from 0, and expect an image's channels last. Its
actions are only right if all dimensions are bounded, or none is. The connectors here bring the
rest into that form. A space that RLlib treats well gets none, because each takes time in every
step.

Checkpoints hold these connectors, and load without this package: the module is pickled by value
and imports nothing of ours.
"""

from __future__ import annotations

import sys
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from ray import cloudpickle
from ray.rllib.connectors.env_to_module import FlattenObservations
from ray.rllib.connectors.env_to_module.observation_preprocessor import (
    SingleAgentObservationPreprocessor,
)
from ray.rllib.connectors.module_to_env import (
    GetActions,
    ListifyDataForVectorEnv,
    RemoveSingleTsTimeRankFromBatch,
    TensorToNumpy,
    UnBatchToIndividualItems,
)
from ray.rllib.connectors.module_to_env import NormalizeAndClipActions as RLlibActions
from ray.rllib.core.columns import Columns

__all__ = ["connect_actions", "connect_observations"]

cloudpickle.register_pickle_by_value(sys.modules[__name__])


def connect_observations(env: Any, env_spaces: Any, device: Any = None) -> list[Any]:  # noqa: ARG001
    """RLlib's ``env_to_module_connector``: what comes before its default pieces."""
    space = env_spaces["__env_single__"][0] if env is None else env.single_observation_space
    encoded = _encode_space(space, is_whole=True)
    pieces = [] if encoded is space else [EncodedObservations()]
    return pieces if isinstance(encoded, spaces.Box) else [*pieces, FlattenObservations()]


def connect_actions(
    env: Any, env_spaces: Any, *, normalize_actions: bool, clip_actions: bool
) -> list[Any]:
    """RLlib's ``module_to_env_connector`` without defaults: the same pieces, but for one.

    That piece is the last but one of RLlib's defaults, behind which no other can be inserted.
    """
    space = env_spaces["__env_single__"][1] if env is None else env.single_action_space
    is_sent_well = _is_sent_well(space, is_kept_inside=normalize_actions or clip_actions)
    piece = RLlibActions if is_sent_well else NormalizeAndClipActions
    return [
        GetActions(),
        TensorToNumpy(),
        UnBatchToIndividualItems(),
        RemoveSingleTsTimeRankFromBatch(),
        piece(normalize_actions=normalize_actions, clip_actions=clip_actions),
        ListifyDataForVectorEnv(),
    ]


class EncodedObservations(SingleAgentObservationPreprocessor):  # type: ignore[misc]
    """Casts observations to floats, counts from 0, and moves an image's channels to the end.

    Bytes are cast and not scaled, as on the torch backend without ``normalize.images``.
    """

    def recompute_output_observation_space(
        self,
        input_observation_space: gymnasium.Space[Any],
        input_action_space: gymnasium.Space[Any],  # noqa: ARG002
    ) -> gymnasium.Space[Any]:
        """The space that the network is built for."""
        return _encode_space(input_observation_space, is_whole=True)

    def preprocess(self, observation: Any, episode: Any) -> Any:  # noqa: ARG002
        """One observation in the form of that space."""
        return _encode(self.input_observation_space, observation, is_whole=True)


class NormalizeAndClipActions(RLlibActions):  # type: ignore[misc]
    """Sends actions that lie in their space, each dimension by its own bounds.

    ``normalize_actions`` maps [-1, 1] to two finite bounds. Then all is clipped to the bounds
    that there are, whatever ``clip_actions`` says, as on the torch backend. Has the name of RLlib's
    piece, because that is the folder of its state in a checkpoint.
    """

    def __call__(self, *, batch: dict[str, Any], **_: Any) -> Any:
        """Add what is sent to the environment; what the network chose stays as it is."""
        batch[Columns.ACTIONS_FOR_ENV] = {
            episode: [self._convert(action) for action in actions]
            for episode, actions in batch[Columns.ACTIONS].items()
        }
        return batch

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """For a checkpoint; RLlib's would find nothing, as this class has no constructor."""
        given = {"normalize_actions": self.normalize_actions, "clip_actions": self.clip_actions}
        return (self.input_observation_space, self.input_action_space), given

    def _convert(self, action: Any) -> Any:
        space = self.input_action_space
        if not isinstance(space, spaces.Box):
            return (action + space.start).astype(space.dtype)
        numbers = np.asarray(action, dtype=np.float64).reshape(space.shape)
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.normalize_actions:
                is_bounded = space.bounded_below & space.bounded_above
                half = high / 2 - low / 2  # their distance can be more than a float holds
                numbers = np.where(is_bounded, low + (numbers + 1) * half, numbers)
            limits = np.finfo(space.dtype)
            inside = np.clip(numbers, np.fmax(low, limits.min), np.fmin(high, limits.max))
        return inside.astype(space.dtype)


def _is_sent_well(space: gymnasium.Space[Any], *, is_kept_inside: bool) -> bool:
    """Whether RLlib's own piece sends what lies in the space.

    Args:
        space: of actions.
        is_kept_inside: whether it unsquashes or clips at all.
    """
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return not np.any(space.start)
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        return not isinstance(space, spaces.Box)
    is_bounded = (space.bounded_below & space.bounded_above).all()
    is_free = not (space.bounded_below | space.bounded_above).any()
    with np.errstate(over="ignore"):
        is_narrow = bool(np.isfinite(space.high - space.low).all())
    is_inside = is_free or (is_kept_inside and is_bounded and is_narrow)
    return space.dtype == np.float32 and bool(is_inside)


def _encode_space(space: gymnasium.Space[Any], *, is_whole: bool = False) -> gymnasium.Space[Any]:
    """The space of encoded observations; the very same object if nothing needs encoding."""
    match space:
        case spaces.Discrete() if space.start:
            return spaces.Discrete(space.n)
        case spaces.MultiDiscrete() if np.any(space.start):
            return spaces.MultiDiscrete(space.nvec)
        case spaces.Box() if _is_foreign(space) or (is_whole and _is_turned(space)):
            with np.errstate(over="ignore"):
                low = _encode(space, space.low, is_whole=is_whole)
                high = _encode(space, space.high, is_whole=is_whole)
            return spaces.Box(low, high)
        case spaces.Dict():
            parts = {key: _encode_space(part) for key, part in space.spaces.items()}
            is_same = all(parts[key] is part for key, part in space.spaces.items())
            return space if is_same else spaces.Dict(parts)
        case spaces.Tuple():
            listed = [_encode_space(part) for part in space.spaces]
            is_same = all(one is part for one, part in zip(listed, space.spaces, strict=True))
            return space if is_same else spaces.Tuple(listed)
    return space


def _encode(space: gymnasium.Space[Any], value: Any, *, is_whole: bool = False) -> Any:
    match space:
        case spaces.Discrete():
            return value - space.start
        case spaces.MultiDiscrete():
            return np.asarray(value) - space.start
        case spaces.Box():
            array = np.asarray(value, dtype=np.float32)
            is_turned = is_whole and _is_turned(space)
            return np.ascontiguousarray(np.moveaxis(array, 0, -1)) if is_turned else array
        case spaces.Dict():
            return {key: _encode(part, value[key]) for key, part in space.spaces.items()}
        case spaces.Tuple():
            return tuple(_encode(part, one) for part, one in zip(space.spaces, value, strict=True))
    return value


def _is_foreign(space: spaces.Box) -> bool:
    """Whether RLlib leaves the numbers as they are; it casts float64 itself."""
    return space.dtype not in (np.float32, np.float64)


def _is_turned(space: spaces.Box) -> bool:
    """`sweeper.environments.spaces.has_channels_first`, which a checkpoint can't import."""
    return len(space.shape) == 3 and space.shape[0] < min(space.shape[1:])
