"""The policy of an RLlib checkpoint: observations in, actions out.

This file is copied into the champion's MLflow model, so it does not import sweeper. It runs
RLlib's connector pipelines as saved in the checkpoint, so observations and actions are processed
as in training (flattening, one-hot, running statistics, unsquashing).

Loading a checkpoint of RLlib runs code from it, because its classes are pickled. Load only
checkpoints that you trust.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.connectors.connector_pipeline_v2 import ConnectorPipelineV2
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import (
    TorchCategorical,
    TorchDiagGaussian,
    TorchMultiCategorical,
    TorchSquashedGaussian,
)
from ray.rllib.core.rl_module.apis import QNetAPI, ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

__all__ = ["RLlibPolicy", "load_spaces"]

_MODULE = Path("learner_group", "learner", "rl_module", "default_policy")
_MODULE_FILE = "class_and_ctor_args.pkl"
_BY_DIMENSION = ".rllib_backend.connectors"  # sweeper's own, which checkpoints hold by value


class RLlibPolicy:
    """One policy of RLlib's new API stack, for a single agent.

    Args:
        checkpoint: the folder that ``Algorithm.save_to_path`` made.

    Attributes:
        observation_space: the environment's.
        action_space: the environment's.
        observation_shape: of one observation as an array; for a Dict or Tuple that of
            ``gymnasium.spaces.flatten``.
        module: RLlib's RLModule, in evaluation mode.
        checkpoint: the folder, absolute.

    Raises:
        FileNotFoundError: the folder holds no such checkpoint.
        ValueError: the policy is stateful, or plays several agents.
    """

    def __init__(self, checkpoint: str | Path) -> None:
        root = Path(checkpoint).absolute()  # RLlib reads a relative path as a URI
        folder = root / _MODULE
        if not (folder / _MODULE_FILE).is_file():
            modules = folder.parent
            if modules.is_dir() and any(modules.glob(f"*/{_MODULE_FILE}")):
                raise ValueError(f"{root} plays several agents; one policy alone can't act")
            raise FileNotFoundError(f"no RLlib Algorithm checkpoint in {root}")
        with _own_deprecations_silenced():
            self.module: Any = RLModule.from_checkpoint(str(folder))
        self.module.eval()
        self.checkpoint = root
        if self.module.is_stateful():
            raise ValueError(f"the policy in {root} has a memory; acting with one needs episodes")
        self._runner_state = root / "env_runner" / "state.pkl"
        self._env_to_module = _load_pipeline(root, "env_to_module_connector")
        self._module_to_env = _load_pipeline(root, "module_to_env_connector")
        # Else RLlib would update its running statistics with every observation.
        for piece in _pieces(self._env_to_module):
            if hasattr(piece, "_update_stats"):
                piece._update_stats = False
        self.observation_space: gym.Space[Any] = self._env_to_module.input_observation_space
        self.action_space: gym.Space[Any] = self._env_to_module.input_action_space
        self.observation_shape: tuple[int, ...] = (
            (gym.spaces.flatdim(self.observation_space),)
            if self.observation_space.shape is None
            else tuple(self.observation_space.shape)
        )

    def act(
        self, observations: Any, generator: np.random.Generator | None = None
    ) -> np.ndarray[Any, Any]:
        """The action for each observation of a batch.

        Args:
            observations: numbers[batch, *observation_shape]; for a Dict or Tuple space also
                the space's own structure with batched leaves.
            generator: actions are sampled with it as in evaluations that explore, with the
                coefficients that schedules had come to. None: greedily.

        Returns:
            As the environment takes them, in the dtype of the space: ``[batch]`` for Discrete,
            ``[batch, parts]`` for MultiDiscrete, ``[batch, *shape]`` for Box; an object array
            for other spaces.

        Raises:
            ValueError: the batch has another shape, or the agent can't explore.
        """
        batch = list(self._split(observations))
        if not batch:
            raise ValueError("an empty batch")
        actions = self._run(batch, generator)
        spaces = gym.spaces
        if isinstance(self.action_space, spaces.Discrete | spaces.MultiDiscrete | spaces.Box):
            return np.asarray(actions, dtype=self.action_space.dtype)
        boxed = np.empty(len(actions), dtype=object)
        boxed[:] = actions
        return boxed

    def distribution(self, observations: Any) -> dict[str, Any]:
        """What actions are sampled from, as numbers; see `TorchPolicy.distribution`.

        Raises:
            ValueError: the policy's distribution is of a kind that has no such numbers.
        """
        space, spaces = self.action_space, gym.spaces
        if not isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.Box):
            raise ValueError(f"no distribution of actions of {space} can be shown")
        choices = {
            "start": tuple(np.atleast_1d(getattr(space, "start", 0)).tolist()),
            "is_multiple": isinstance(space, spaces.MultiDiscrete),
        }
        inputs, _ = self._prepare(list(self._split(observations)), explore=True)
        if hasattr(self.module, "epsilon_schedule"):
            epsilon = self.find_epsilon()
            with torch.no_grad():
                values = self.module.compute_q_values(inputs)["qf_preds"].numpy()
            explored = np.full(values.shape, epsilon / values.shape[-1])
            explored[np.arange(len(values)), values.argmax(axis=-1)] += 1 - epsilon
            return {"probabilities": [explored], **choices}
        with torch.no_grad():
            outputs = self.module.forward_exploration(inputs)
            if Columns.ACTION_DIST_INPUTS not in outputs:
                raise ValueError(f"{type(self.module).__name__} gives no distribution of actions")
            kind = self.module.get_exploration_action_dist_cls()
            made = kind.from_logits(outputs[Columns.ACTION_DIST_INPUTS])
        if isinstance(made, TorchCategorical):
            return {"logits": [made.logits.numpy()], **choices}
        if isinstance(made, TorchMultiCategorical):
            return {"logits": [one.logits.numpy() for one in made._cats], **choices}
        if isinstance(made, TorchDiagGaussian | TorchSquashedGaussian):
            mean, deviation = (one.numpy() for one in (made._dist.loc, made._dist.scale))
            shape = (len(mean), *space.shape)
            return {
                "mean": mean.reshape(shape),
                "deviation": np.broadcast_to(deviation, mean.shape).reshape(shape),
                "to_policy": self._to_policy,
                "is_squashed": isinstance(made, TorchSquashedGaussian),
            }
        raise ValueError(f"a {kind.__name__} can't be shown")

    def find_epsilon(self) -> float:
        """With which probability a DQN that explores acts at random, by its schedule.

        Raises:
            ValueError: the checkpoint does not say for how long it was trained.
        """
        step = self._trained_env_steps
        return float(self.module.epsilon_schedule.update(timestep=step))

    @cached_property
    def algorithm(self) -> str:
        """The name of the class that made the checkpoint; ``?`` if it can't be read."""
        try:
            made = pickle.loads((self.checkpoint / _MODULE_FILE).read_bytes())  # noqa: S301
            return str(made["class"].__name__)
        except Exception:  # whatever pickle says
            return "?"

    @property
    def connectors(self) -> tuple[Any, ...]:
        """RLlib's connectors that observations and then actions pass, in this order."""
        return (*_pieces(self._env_to_module), *_pieces(self._module_to_env))

    def _to_policy(self, actions: Any) -> np.ndarray[Any, Any]:
        """The policy's own numbers ``[batch, size]`` that actions stand for."""
        space: Any = self.action_space
        given = np.asarray(actions, np.float64).reshape(len(actions), -1)
        pieces = _pieces(self._module_to_env)
        sends = [one for one in pieces if getattr(one, "normalize_actions", False)]
        if not sends:
            return given
        low, high = (one.astype(np.float64).reshape(-1) for one in (space.low, space.high))
        is_bounded = (space.bounded_below & space.bounded_above).reshape(-1)
        if not all(type(one).__module__.endswith(_BY_DIMENSION) for one in sends) and not (
            is_bounded.all() and space.dtype in (np.float32, np.float64)
        ):
            return given  # RLlib's own piece unsquashes a whole space or nothing
        with np.errstate(all="ignore"):
            half = high / 2 - low / 2
            squashed = (given - low) / half - 1
        return np.where(is_bounded & (half > 0), squashed, given)

    def values(self, observations: Any) -> np.ndarray[Any, Any]:
        """The value of each state, ``float32[batch]``; see `TorchPolicy.values`.

        Raises:
            ValueError: the policy has no values.
        """
        if isinstance(self.module, QNetAPI) and hasattr(self.module, "epsilon_schedule"):
            greatest: np.ndarray[Any, Any] = self.q_values(observations)["values"].max(axis=-1)
            return greatest
        if not isinstance(self.module, ValueFunctionAPI):
            raise ValueError(f"{type(self.module).__name__} has no value of a state")
        inputs, _ = self._prepare(list(self._split(observations)), explore=False)
        with torch.no_grad():
            found: np.ndarray[Any, Any] = self.module.compute_values(inputs).numpy()
        return found

    def q_values(self, observations: Any) -> dict[str, Any]:
        """The Q-values and what they are made of; see `TorchPolicy.q_values`.

        Raises:
            ValueError: the policy has none, or needs an action for them.
        """
        module = self.module
        if not isinstance(module, QNetAPI) or not hasattr(module, "af"):
            raise ValueError(f"{type(module).__name__} has no Q-values of each action")
        inputs, _ = self._prepare(list(self._split(observations)), explore=False)
        with torch.no_grad():
            outputs = {key: one.numpy() for key, one in module.compute_q_values(inputs).items()}
            found = {"values": outputs["qf_preds"], "probabilities": outputs.get("qf_probs")}
            if "atoms" in outputs:
                found["atoms"] = outputs["atoms"]
            if module.uses_dueling:
                encoded = module.encoder(inputs)["encoder_out"]
                advantages = module.af(encoded).numpy()
                if found["probabilities"] is not None:
                    advantages = advantages.reshape(found["probabilities"].shape)
                found |= {"advantages": advantages, "state_value": module.vf(encoded)[:, 0].numpy()}
        return found

    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """The module's weights, by name."""
        return {name: np.asarray(array) for name, array in self.module.get_state().items()}

    def normalisation(self) -> dict[str, np.ndarray[Any, Any]]:
        """Empty: RLlib's connectors keep what they do to observations to themselves."""
        return {}

    def _run(self, batch: Sequence[Any], generator: np.random.Generator | None) -> list[Any]:
        inputs, common = self._prepare(batch, explore=generator is not None)
        with torch.no_grad(), _sampling_with(generator):
            if generator is None:
                outputs = self.module.forward_inference(inputs)
            else:
                outputs = self.module.forward_exploration(inputs, t=self._trained_env_steps)
            outputs = self._module_to_env(batch=outputs, **common)
        return list(outputs.get(Columns.ACTIONS_FOR_ENV, outputs[Columns.ACTIONS]))

    def _prepare(self, batch: Sequence[Any], *, explore: bool) -> tuple[Any, dict[str, Any]]:
        """What the module takes for these observations, and what both pipelines are given."""
        # The same steps as `_sample` of rllib/env/single_agent_env_runner.py.
        episodes = []
        for observation in batch:
            episode = SingleAgentEpisode(
                observation_space=self.observation_space, action_space=self.action_space
            )
            episode.add_env_reset(observation=observation, infos={})
            episodes.append(episode)
        common = {
            "rl_module": self.module,
            "episodes": episodes,
            "explore": explore,
            "shared_data": {},
        }
        return self._env_to_module(batch={}, **common), common

    @cached_property
    def _trained_env_steps(self) -> int:
        """Where the schedule of an epsilon is; 0 for policies without one."""
        if not hasattr(self.module, "epsilon_schedule"):
            return 0
        try:
            state = pickle.loads(self._runner_state.read_bytes())  # noqa: S301 - as all of RLlib's
            return int(state["num_env_steps_sampled_lifetime"])
        except Exception:  # whatever pickle says of what is none, or of half of one
            raise ValueError(
                f"{self._runner_state} does not say for how many env steps the agent was trained, "
                "and so not with which epsilon it explores: play it greedily"
            ) from None

    def _split(self, observations: Any) -> Iterator[Any]:
        """Yield each observation in the environment's own form."""
        space = self.observation_space
        if not isinstance(observations, dict | tuple):
            array = np.asarray(observations)
            if array.ndim != 1 + len(self.observation_shape) or (
                array.shape[1:] != self.observation_shape
            ):
                raise ValueError(
                    f"observations of shape {array.shape}; expected a batch of "
                    f"{self.observation_shape}, that is (batch, *{self.observation_shape})"
                )
            for item in array:
                yield _as_observation(space, item)
            return
        for index in range(len(_first_leaf(observations))):
            yield _take(space, observations, index)


def load_spaces(checkpoint: str | Path) -> tuple[gym.Space[Any], gym.Space[Any]]:
    """The environment's observation and action space, without loading the network.

    Args:
        checkpoint: the folder that ``Algorithm.save_to_path`` made.

    Raises:
        FileNotFoundError: the folder holds no such checkpoint.
    """
    pipeline = _load_pipeline(Path(checkpoint).absolute(), "env_to_module_connector")
    return pipeline.input_observation_space, pipeline.input_action_space


@contextmanager
def _own_deprecations_silenced() -> Iterator[None]:
    """At every load RLModule warns about an argument that it passes itself."""
    logger = logging.getLogger("ray._common.deprecation")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _sampling_with(generator: np.random.Generator | None) -> Iterator[None]:
    """Within the block torch draws its random numbers from the generator's next one."""
    if generator is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator.integers(2**63)))
        yield


def _load_pipeline(root: Path, name: str) -> Any:
    """Load it from the env runner's folder, or from the root if no env runner was local."""
    for folder in (root / "env_runner" / name, root / name):
        if folder.is_dir():
            return ConnectorPipelineV2.from_checkpoint(str(folder))
    raise FileNotFoundError(f"{root} has no {name}; it was made by another version of RLlib")


def _pieces(pipeline: Any) -> Iterator[Any]:
    for piece in getattr(pipeline, "connectors", ()):
        yield piece
        yield from _pieces(piece)


def _as_observation(space: gym.Space[Any], value: Any) -> Any:
    if isinstance(space, gym.spaces.Discrete):
        return np.int64(value)
    if space.shape is None:
        return gym.spaces.unflatten(space, np.asarray(value))
    return np.asarray(value, dtype=space.dtype)


def _take(space: gym.Space[Any], batch: Any, index: int) -> Any:
    if isinstance(space, gym.spaces.Dict):
        return {key: _take(part, batch[key], index) for key, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(
            _take(part, batch[position], index) for position, part in enumerate(space.spaces)
        )
    return _as_observation(space, batch[index])


def _first_leaf(batch: Any) -> Any:
    while isinstance(batch, dict | tuple):
        batch = next(iter(batch.values() if isinstance(batch, dict) else batch))
    return batch
