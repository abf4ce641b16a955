"""Algorithms of RLlib over every kind of space, with weights that make them act."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

OBSERVATIONS = {
    "box": gym.spaces.Box(-2.0, 2.0, (3,), np.float32),
    "discrete": gym.spaces.Discrete(5),
    "multi_discrete": gym.spaces.MultiDiscrete([3, 4]),
    "dict": gym.spaces.Dict(
        {"x": gym.spaces.Box(-1.0, 1.0, (2,), np.float32), "d": gym.spaces.Discrete(3)}
    ),
    "tuple": gym.spaces.Tuple(
        (gym.spaces.Discrete(2), gym.spaces.Box(-1.0, 1.0, (2,), np.float32))
    ),
    "image": gym.spaces.Box(0, 1, (10, 10, 3), np.float32),
    "order": gym.spaces.Dict(
        [
            ("z", gym.spaces.Discrete(3)),
            ("a", gym.spaces.Box(-1, 1, (2, 2), np.float32)),
            ("m", gym.spaces.Tuple([gym.spaces.Discrete(2), gym.spaces.MultiDiscrete([2, 3])])),
        ]
    ),
}
ACTIONS = {
    "discrete": gym.spaces.Discrete(4),
    "multi_discrete": gym.spaces.MultiDiscrete([3, 2]),
    "box": gym.spaces.Box(np.float32([-2.0, 0.0]), np.float32([-0.5, 10.0]), dtype=np.float32),
    "unbounded": gym.spaces.Box(-np.inf, np.inf, (2,), np.float32),
    "partly bounded": gym.spaces.Box(
        np.float32([-4.0, -np.inf]), np.float32([4.0, np.inf]), dtype=np.float32
    ),
}


class RecordingEnv(gym.Env[Any, Any]):
    """Gives random observations, and notes the action that each one got."""

    log: ClassVar[list[tuple[Any, Any]]] = []

    def __init__(self, config: dict[str, Any]) -> None:
        self.observation_space = copy.deepcopy(OBSERVATIONS[config["observations"]])
        self.action_space = copy.deepcopy(ACTIONS[config["actions"]])
        self._seen: Any = None
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self.observation_space.seed(seed)
        self._steps = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.log.append((self._seen, copy.deepcopy(action)))
        self._steps += 1
        return self._observe(), 1.0, False, self._steps >= 10, {}

    def _observe(self) -> Any:
        self._seen = self.observation_space.sample()
        return copy.deepcopy(self._seen)


@dataclass(frozen=True)
class Case:
    algorithm: str
    observations: str = "box"
    actions: str = "discrete"
    flatten: bool = False
    statistics: bool = False
    keys: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        marks = "+filter" * self.statistics + "".join(f"+{key}" for key in self.keys)
        return f"{self.algorithm}-{self.observations}-{self.actions}{marks}"


CASES = [
    Case("PPO"),
    Case("PPO", actions="multi_discrete"),
    Case("PPO", actions="box"),
    Case("PPO", actions="unbounded"),
    Case("PPO", actions="box", keys={"normalize_actions": False, "clip_actions": True}),
    Case("PPO", "discrete", flatten=True),
    Case("PPO", "multi_discrete", flatten=True),
    Case("PPO", "dict", "box", flatten=True),
    Case("PPO", "tuple", flatten=True),
    Case("PPO", statistics=True),
    Case("DQN"),
    Case("SAC", actions="box"),
    Case("APPO"),
    Case("IMPALA"),
]


def build(case: Case, change: Callable[[Any], None] = lambda _: None) -> Any:
    """Build a case's algorithm, whose config may be changed before."""
    from ray.rllib.connectors.env_to_module import FlattenObservations, MeanStdFilter
    from ray.tune.registry import get_trainable_cls

    config = get_trainable_cls(case.algorithm).get_default_config()
    config.environment(
        RecordingEnv,
        env_config={"observations": case.observations, "actions": case.actions},
        **case.keys,
    )
    pieces: list[Callable[[], Any]] = []
    if case.flatten:
        pieces.append(FlattenObservations)
    if case.statistics:
        pieces.append(MeanStdFilter)
    config.env_runners(num_env_runners=0, env_to_module_connector=_connectors(pieces))
    config.learners(num_learners=0)
    config.rl_module(model_config={"fcnet_hiddens": [16]})
    config.debugging(seed=1, log_level="ERROR")
    change(config)
    return config.build_algo()


def _connectors(pieces: list[Callable[[], Any]]) -> Callable[..., Any]:
    # New at each call, because a piece belongs to one pipeline.
    return lambda env, spaces, device: [piece() for piece in pieces]


def scatter_weights(algorithm: Any) -> None:
    """Spread the weights: fresh networks act nearly the same on everything."""
    import torch

    generator = torch.Generator().manual_seed(3)
    learner = algorithm.learner_group._learner
    with torch.no_grad():
        for parameter in learner.module["default_policy"].parameters():
            scale = 0.5 if parameter.ndim > 1 else 0.0
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    algorithm.env_runner_group.sync_weights(
        from_worker_or_learner_group=algorithm.learner_group, inference_only=True
    )


def stack(space: gym.Space[Any], items: list[Any]) -> Any:
    if isinstance(space, gym.spaces.Dict):
        return {key: stack(part, [i[key] for i in items]) for key, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(
            stack(part, [item[n] for item in items]) for n, part in enumerate(space.spaces)
        )
    return np.stack([np.asarray(item) for item in items])
