"""Environments and spaces that people use, and which algorithm and backend refuses which."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import space_envs

__all__ = ["SEEN_BY_TORCH", "TABLE", "Case"]

EPISODE_STEPS = 25  # of an evaluation, where the environment's own episodes are longer


@dataclass(frozen=True)
class Case:
    """An environment, as a spec names it.

    Attributes:
        environment: the spec's section.
        needs: modules that must be installed.
        max_episode_steps: of an evaluation; None: the plan decides.
        model_config: where the default network is not enough.
        refused: words of the plan, by ``all``, an algorithm or a backend.
    """

    name: str
    environment: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    max_episode_steps: int | None = None
    model_config: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name.replace(" ", "_")

    def refusal(self, algorithm: str, backend: str) -> str | None:
        """The words of the plan; None if it accepts the pair."""
        chosen = (self.refused.get(key) for key in ("all", algorithm, backend))
        return next((words for words in chosen if words), None)


def _made(name: str, refused: Mapping[str, str], **kwargs: Any) -> Case:
    environment = {"id": "AnySpaces-v0", "module": "space_envs", "kwargs": kwargs}
    cap = 12 if kwargs.get("length") == "endless" else None
    return Case(name, environment, max_episode_steps=cap, refused=refused)


_NO_BINARY = {"torch": r"can't see observations of MultiBinary.* on backend torch; backend: rllib"}
_REFUSED_OBSERVATIONS = {
    "MultiBinary": _NO_BINARY,
    "MultiBinary of rank 2": _NO_BINARY,
    "Dict": _NO_BINARY,
    "a number": {"all": r"observations have the shape \[\].*FlattenObservation"},
    "matrix": {"all": r"observations have the shape \[2, 3\].*FlattenObservation"},
    "image without filters": {"all": "images of 20 x 5 have no default filters"},
    "stack of images": {"all": r"\[4, 10, 10, 3\].*GrayscaleObservation"},
    "MultiDiscrete of rank 2": {"all": "can't see observations of MultiDiscrete"},
    "Text": {"all": "can't see observations of Text"},
    "Dict with Text": {"all": "can't see observations of Text.*FilterObservation"},
    "Sequence": {"all": "can't see observations of Sequence"},
    "Graph": {"all": "can't see observations of Graph"},
    "OneOf": {"all": "can't see observations of OneOf"},
}
SEEN_BY_TORCH = [name for name in space_envs.OBSERVATIONS if name not in _REFUSED_OBSERVATIONS]
_NO_POLICY = {"all": "can't act in"}
_NOT_DISCRETE = {"DQN": "DQN can't act in .*, only in Discrete; PPO"}
_REFUSED_ACTIONS = {
    "matrix": {**_NOT_DISCRETE, "PPO": "must be a vector"},
    "MultiDiscrete of rank 2": {**_NOT_DISCRETE, "PPO": "must be a vector"},
    "integers": {"DQN": "DQN can't act in", "PPO": "must be a Box of floats"},
    "MultiBinary": _NO_POLICY,
    "Dict": _NO_POLICY,
    "Tuple": _NO_POLICY,
}


def _made_cases() -> Iterator[Case]:
    for name in space_envs.OBSERVATIONS:
        yield _made(f"sees {name}", _REFUSED_OBSERVATIONS.get(name, {}), observations=name)
    for name, space in space_envs.ACTIONS.items():
        is_discrete = type(space).__name__ == "Discrete"
        refused = {} if is_discrete else _REFUSED_ACTIONS.get(name, _NOT_DISCRETE)
        yield _made(f"acts in {name}", refused, actions=name)
    for length in (1, "varied", "endless"):
        yield _made(f"episodes of {length}", {}, length=length)
    yield _made(
        "all at once",
        _NOT_DISCRETE,
        observations="Tuple of a Dict",
        actions="each bounded otherwise",
        length="varied",
    )


def _case(name: str, env_id: str, *needs: str, **given: Any) -> Case:
    environment = {"id": env_id, **given.pop("environment", {})}
    return Case(name, environment, needs, **{"max_episode_steps": EPISODE_STEPS, **given})


def _wrapped(*wrappers: Any, **others: Any) -> dict[str, Any]:
    return {"environment": {"wrappers": list(wrappers), **others}}


_CONTINUOUS = {"refused": _NOT_DISCRETE}
_MINIGRID = {"module": "minigrid"}
_ATARI = {"module": "ale_py"}
_FILTERS = {"conv_filters": [[4, 16, 16], [4, 4, 4]]}
TABLE: tuple[Case, ...] = (
    *_made_cases(),
    _case("CartPole", "CartPole-v1"),
    _case("CartPole, sync", "CartPole-v1", environment={"vectorization": "sync"}),
    _case("CartPole, time-aware", "CartPole-v1", **_wrapped("TimeAwareObservation")),
    _case("CartPole, stacked", "CartPole-v1", **_wrapped(
        {"FrameStackObservation": {"stack_size": 3}}, "FlattenObservation")),
    _case("Acrobot", "Acrobot-v1"),
    _case("MountainCar", "MountainCar-v0"),
    _case("MountainCarContinuous", "MountainCarContinuous-v0", **_CONTINUOUS),
    _case("Pendulum", "Pendulum-v1", **_CONTINUOUS),
    _case("FrozenLake", "FrozenLake-v1"),
    _case("Taxi", "Taxi-v3"),
    _case("CliffWalking", "CliffWalking-v1"),
    _case("Blackjack", "Blackjack-v1"),
    _case("LunarLander", "LunarLander-v3", "Box2D"),
    _case("LunarLander, continuous", "LunarLander-v3", "Box2D",
          environment={"kwargs": {"continuous": True}}, **_CONTINUOUS),
    _case("BipedalWalker", "BipedalWalker-v3", "Box2D", **_CONTINUOUS),
    _case("CarRacing", "CarRacing-v3", "Box2D", model_config=_FILTERS,
          environment={"kwargs": {"continuous": False}}),
    _case("InvertedPendulum", "InvertedPendulum-v5", "mujoco", **_CONTINUOUS),
    _case("Hopper", "Hopper-v5", "mujoco", **_CONTINUOUS),
    _case("HalfCheetah, rescaled", "HalfCheetah-v5", "mujoco", **_wrapped(
        {"RescaleAction": {"min_action": -2.0, "max_action": 0.5}}), **_CONTINUOUS),
    _case("MiniGrid", "MiniGrid-Empty-5x5-v0", "minigrid", environment=_MINIGRID,
          refused={"all": "FilterObservation: {filter_keys: .direction, image"}),
    _case("MiniGrid, filtered", "MiniGrid-Empty-5x5-v0", "minigrid", **_wrapped(
        {"FilterObservation": {"filter_keys": ["direction", "image"]}}, **_MINIGRID)),
    _case("MiniGrid, flat", "MiniGrid-Empty-5x5-v0", "minigrid", **_wrapped(
        {"minigrid.wrappers.FlatObsWrapper": {}}, **_MINIGRID)),
    _case("MiniGrid, image", "MiniGrid-DoorKey-5x5-v0", "minigrid", model_config={
        "conv_filters": [[4, 3, 2], [4, 2, 1]]}, **_wrapped(
        "minigrid.wrappers.ImgObsWrapper", **_MINIGRID)),
    _case("highway", "highway-v0", "highway_env", environment={
        "module": "highway_env", "kwargs": {"config": {"duration": 3, "vehicles_count": 3}}},
        refused={"all": r"observations have the shape \[5, 5\].*FlattenObservation"}),
    _case("highway, flat", "highway-v0", "highway_env", **_wrapped(
        "FlattenObservation", module="highway_env",
        kwargs={"config": {"duration": 3, "vehicles_count": 3}})),
    _case("Atari, memory", "ALE/Pong-v5", "ale_py",
          environment={**_ATARI, "kwargs": {"obs_type": "ram"}}),
    _case("Atari, pixels", "ALE/Pong-v5", "ale_py", environment=_ATARI,
          model_config={"conv_filters": [[4, 16, 16], [4, 4, 4]]}),
    _case("Atari, preprocessed", "ALE/Breakout-v5", "ale_py", "cv2", model_config=_FILTERS,
          **_wrapped("AtariPreprocessing", {"FrameStackObservation": {"stack_size": 4}},
                     **_ATARI, kwargs={"frameskip": 1})),
)  # fmt: skip
