"""Which spaces an algorithm can be trained in; asked by the plan and by every trainer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces

from sweeper.environments.settings import EnvironmentSettings
from sweeper.environments.spaces import explain_shape, has_channels_first
from sweeper.errors import ConfigurationRefusedError
from sweeper.hints import show
from sweeper.spec.keys.support import (
    REFERENCE_BACKEND,
    Support,
    find_support,
    suggested_algorithms,
    supports,
)
from sweeper.trainables.contract import TrialSettings
from sweeper.veil import veil

__all__ = ["can_act", "check_spaces", "explain_spaces", "shorten"]

Space: TypeAlias = gymnasium.Space[Any]

# Images that the networks have default filters for (rllib/models/utils.py, get_filter_config).
_IMAGE_SIZES = (96, 84, 64, 42, 10)


def can_act(algorithm: str, actions: Space) -> bool:
    """Whether an algorithm has a policy for a space of actions."""
    return _is_one_of(actions, find_support(REFERENCE_BACKEND, algorithm).actions)


def explain_spaces(
    support: Support,
    environment: EnvironmentSettings,
    observation: Space,
    action: Space,
    network: object,
) -> str | None:
    """Why an algorithm can't be trained in an environment's spaces; None if it can.

    Args:
        support: of the algorithm on its backend.
        environment: what is asked for.
        observation: the environment's observation space.
        action: the environment's action space.
        network: the ``model_config``; with filters of its own, images may have any size.
    """
    return (
        _refuse_actions(support, action)
        or _refuse_observations(support, observation, network)
        or _refuse_scaling(environment, observation)
    )


def check_spaces(
    settings: TrialSettings, observation: Space, action: Space, network: object
) -> None:
    """Refuse what the plan refuses, in the words of the plan.

    Raises:
        ConfigurationRefusedError: the trial's algorithm can't be trained in these spaces.
    """
    support = find_support(settings.backend, settings.algorithm)
    refusal = explain_spaces(support, settings.environment, observation, action, network)
    if refusal is not None:
        raise ConfigurationRefusedError(f"{settings.environment.id}: {refusal}")


def shorten(space: Space) -> str:
    """A space, as it describes itself, in at most 60 characters without secrets."""
    text = " ".join(veil(str(space)).split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def _is_one_of(space: Space, names: Iterable[str]) -> bool:
    """Whether a space is of one of the named classes of `gymnasium.spaces`."""
    return isinstance(space, tuple(getattr(spaces, name) for name in names))


def _refuse_actions(support: Support, action: Space) -> str | None:
    algorithm = support.algorithm
    if not can_act(algorithm, action):
        names = " or ".join(support.actions)
        able = [
            other.algorithm
            if supports(support.backend, other.algorithm)
            else f"{other.algorithm} (backend: {other.backend})"
            for other in suggested_algorithms()
            if can_act(other.algorithm, action)
        ]
        hint = f"; {' and '.join(able)} can" if able else ""
        return f"{algorithm} can't act in {shorten(action)}, only in {names}{hint}"
    if isinstance(action, spaces.Box) and action.dtype.kind != "f":
        return f"actions are a Box of {action.dtype}; must be a Box of floats, or a MultiDiscrete"
    is_number = action.shape == () and isinstance(action, spaces.Box)
    if len(action.shape or ()) <= 1 and (support.takes_scalar_actions or not is_number):
        return None
    return (
        f"actions are {shorten(action)}; must be a vector: put a wrapper of your own around the "
        "environment that reshapes them"
    )


def _refuse_observations(support: Support, observation: Space, network: object) -> str | None:
    algorithm = support.algorithm
    for key in _keys(observation):
        if not isinstance(key, str):
            return f"observations are a Dict with the key {key!r}; its keys must be texts"
    if not any(_has_values(leaf) for leaf in _leaves(observation)):
        return f"observations of {shorten(observation)} are empty: there is nothing to see"
    for leaf in _leaves(observation):
        if not _can_see(support, leaf):
            refusal = f"{algorithm} can't see observations of {shorten(leaf)}"
            if _can_see(find_support(REFERENCE_BACKEND, algorithm), leaf):
                return f"{refusal} on backend {support.backend}; backend: {REFERENCE_BACKEND} can"
            return f"{refusal}; {_suggest_filter(support, observation)}"
    return _refuse_shape(observation, network) if isinstance(observation, spaces.Box) else None


def _refuse_scaling(environment: EnvironmentSettings, observation: Space) -> str | None:
    normalize, is_box = environment.normalize, isinstance(observation, spaces.Box)
    is_image = is_box and len(observation.shape) == 3 and observation.dtype == np.uint8
    if not normalize.images or (is_image and not normalize.observations):
        return None
    if is_image:
        return "normalize.images and normalize.observations exclude each other; leave one out"
    return (
        "normalize.images divides images of bytes by 255, and observations are "
        f"{shorten(observation)}: leave it out"
    )


def _keys(space: Space) -> Iterator[object]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        is_dict = isinstance(space, spaces.Dict)
        yield from space.spaces if is_dict else ()
        for inner in space.spaces.values() if is_dict else space.spaces:
            yield from _keys(inner)


def _has_values(leaf: Space) -> bool:
    return not isinstance(leaf, spaces.Box) or bool(np.prod(leaf.shape))


def _can_see(support: Support, leaf: Space) -> bool:
    is_flat = not isinstance(leaf, spaces.MultiDiscrete) or len(leaf.shape) == 1
    return _is_one_of(leaf, support.observations) and is_flat


def _suggest_filter(support: Support, observation: Space) -> str:
    """How to leave out what can't be seen."""
    if isinstance(observation, spaces.Dict | spaces.Tuple):
        is_dict = isinstance(observation, spaces.Dict)
        parts = observation.spaces.items() if is_dict else enumerate(observation.spaces)
        seen = [
            key for key, part in parts if all(_can_see(support, leaf) for leaf in _leaves(part))
        ]
        if seen:
            keys = show(seen).replace("'", "")
            return f"leave it out: wrappers: [{{FilterObservation: {{filter_keys: {keys}}}}}]"
    if observation.is_np_flattenable:
        return "wrappers: [FlattenObservation] makes a vector of it"
    return "put a wrapper of your own around the environment that makes numbers of it"


def _refuse_shape(observation: spaces.Box, network: object) -> str | None:
    shape = observation.shape
    if len(shape) == 1:
        return None
    if len(shape) != 3:
        return explain_shape(observation)
    height, width = shape[1:] if has_channels_first(shape) else shape[:2]
    if isinstance(network, Mapping):
        has_filters = network.get("conv_filters") is not None
    else:
        has_filters = network is not None  # searched as a whole: it may have filters
    if has_filters or (height == width and height in _IMAGE_SIZES):
        return None
    sizes = ", ".join(f"{n} x {n}" for n in reversed(_IMAGE_SIZES))
    remedy = "make a vector of them (wrappers: [FlattenObservation])"
    is_photo = not has_channels_first(shape) and observation.dtype == np.uint8
    if is_photo and (observation.high == 255).all() and not observation.low.any():
        # gymnasium's ResizeObservation takes no others.
        remedy = "resize them (wrappers: [{ResizeObservation: {shape: [84, 84]}}], with opencv)"
    return (
        f"images of {height} x {width} have no default filters, only {sizes}; {remedy}, or "
        "give model_config.conv_filters, as in [[16, 4, 2], [32, 4, 2]]"
    )


def _leaves(space: Space) -> Iterator[Space]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        for inner in space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces:
            yield from _leaves(inner)
    else:
        yield space
