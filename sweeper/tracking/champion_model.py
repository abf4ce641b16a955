"""The champion's model in MLflow; needs neither sweeper nor the run.

MLflow copies this file into the model and executes it when the model is loaded, with
``torch_policy`` or ``rllib_policy.py`` on the path ("models from code").
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class ChampionModel(PythonModel):  # type: ignore[misc]
    """``predict(observation or batch) -> action or actions``, greedy."""

    def load_context(self, context: Any) -> None:
        """Load the policy from the model's artifacts."""
        folder = Path(context.artifacts["checkpoint"])
        is_rllib = (folder / "rllib_checkpoint.json").is_file()
        module, name = ("rllib", "RLlibPolicy") if is_rllib else ("torch", "TorchPolicy")
        policy = importlib.import_module(f"{module}_policy")
        self._policy = getattr(policy, name)(folder)
        if is_rllib:
            self._space = _describe(self._policy.observation_space)
        else:
            self._space = self._policy.description["observation_space"]
        self._flat_shape = self._policy.observation_shape

    # The input is annotated as an array because MLflow warns of any wider type.
    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> Any:  # noqa: ARG002
        """Act greedily.

        Args:
            context: MLflow's, unused.
            model_input: an observation as the environment gives it, of any type of number, or a
                batch of them: with one more axis in front, for a Dict or Tuple in front of every
                part, or as a list. A Dict or Tuple may also be as ``gymnasium.spaces.flatten``
                returns it. Lists stand for arrays.
            params: unused.

        Returns:
            The action as the environment takes it, or with one more axis in front for a batch:
            int64 or int64[parts] for discrete actions, float32[*action] for continuous ones.

        Raises:
            MlflowException: the observation has another structure or shape.
        """
        batch, is_single = self._batch(model_input)
        try:
            actions = self._policy.act(batch)
        except (ValueError, TypeError, IndexError) as error:
            raise self._refuse(str(error)) from error
        return actions[0] if is_single else actions

    def _batch(self, observation: Any) -> tuple[Any, bool]:
        """The observation with a batch axis, and whether it had none before."""
        if hasattr(observation, "to_numpy"):  # a table, a row each
            observation = observation.to_numpy()
        if self._space["type"] not in ("Dict", "Tuple"):
            return self._leaf(self._space, observation, self._flat_shape)
        if _is_list_of_structures(self._space, observation):
            return _join([self._structure(self._space, one, [])[0] for one in observation]), False
        if _is_structure(self._space, observation):
            singles: list[bool] = []
            batch = self._structure(self._space, observation, singles)[0]
            if len(set(singles)) > 1:
                raise self._refuse("some of its parts are batches and others are not")
            return batch, all(singles)
        return self._leaf(self._space, observation, self._flat_shape)

    def _structure(
        self, space: Mapping[str, Any], observation: Any, singles: list[bool]
    ) -> tuple[Any, bool]:
        if space["type"] not in ("Dict", "Tuple"):
            leaf, is_single = self._leaf(space, observation, _shape(space))
            singles.append(is_single)
            return leaf, is_single
        if not _is_structure(space, observation):
            raise self._refuse("it has other parts")
        inner = space["spaces"]
        if space["type"] == "Dict":
            return {
                key: self._structure(below, observation[key], singles)[0]
                for key, below in inner.items()
            }, False
        parts = zip(inner, observation, strict=True)
        return tuple(self._structure(below, one, singles)[0] for below, one in parts), False

    def _leaf(
        self, space: Mapping[str, Any], observation: Any, shape: tuple[int, ...]
    ) -> tuple[Any, bool]:
        try:
            array = np.asarray(observation)
        except ValueError as error:
            raise self._refuse("its lists are of unequal lengths") from error
        if array.dtype.kind not in "biuf":
            raise self._refuse(f"it holds {array.dtype} where numbers are wanted")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise self._refuse("it holds NaN or infinity")
        if array.shape == tuple(shape):
            return array[None], True
        if array.ndim == len(shape) + 1 and array.shape[1:] == tuple(shape) and len(array):
            return array, False
        wanted = _name(space) if shape == _shape_or_none(space) else f"the shape {shape}"
        raise self._refuse(f"it has the shape {array.shape} where {wanted} is wanted")

    def _refuse(self, why: str) -> MlflowException:
        recipe = ""
        if self._space["type"] in ("Dict", "Tuple"):
            recipe = (
                f", with its parts, or flattened to {self._flat_shape} by "
                "gymnasium.spaces.flatten(env.observation_space, observation)"
            )
        return MlflowException.invalid_parameter_value(
            f"The agent can't take this observation: {why}. It takes one observation of "
            f"{_name(self._space)}{recipe}, or a batch of them."
        )


def _is_structure(space: Mapping[str, Any], observation: Any) -> bool:
    inner = space["spaces"]
    if space["type"] == "Dict":
        return isinstance(observation, Mapping) and set(observation) == set(inner)
    is_sequence = isinstance(observation, tuple | list)
    return is_sequence and len(observation) == len(inner)


def _is_list_of_structures(space: Mapping[str, Any], observation: Any) -> bool:
    if not isinstance(observation, list | tuple) or not observation:
        return False
    kind = Mapping if space["type"] == "Dict" else tuple
    return all(isinstance(one, kind) and _is_structure(space, one) for one in observation)


def _join(batches: list[Any]) -> Any:
    first = batches[0]
    if isinstance(first, dict):
        return {key: _join([one[key] for one in batches]) for key in first}
    if isinstance(first, tuple):
        return tuple(_join(list(parts)) for parts in zip(*batches, strict=True))
    return np.concatenate(batches)


def _shape(space: Mapping[str, Any]) -> tuple[int, ...]:
    if space["type"] == "MultiDiscrete":
        return (len(space["nvec"]),)
    return () if space["type"] == "Discrete" else tuple(space["shape"])


def _shape_or_none(space: Mapping[str, Any]) -> tuple[int, ...] | None:
    return None if space["type"] in ("Dict", "Tuple") else _shape(space)


def _describe(space: Any) -> dict[str, Any]:
    """A gymnasium space as ``agent.json`` has it, as far as it is needed here."""
    name = type(space).__name__
    if name == "Dict":
        return {"type": name, "spaces": {key: _describe(one) for key, one in space.items()}}
    if name == "Tuple":
        return {"type": name, "spaces": [_describe(one) for one in space.spaces]}
    if name == "Discrete":
        return {"type": name}
    # Whatever else has a shape is taken as an array of it.
    return {"type": "Box", "shape": space.shape or (), "dtype": str(space.dtype)}


def _name(space: Mapping[str, Any]) -> str:
    match space["type"]:
        case "Dict":
            return f"Dict({', '.join(f'{key}: {_name(one)}' for key, one in _parts(space))})"
        case "Tuple":
            return f"Tuple({', '.join(_name(one) for _, one in _parts(space))})"
        case "Box":
            return f"{space.get('dtype', 'number')}{list(space['shape'])}"
    return f"{space['type']}"


def _parts(space: Mapping[str, Any]) -> list[tuple[Any, Mapping[str, Any]]]:
    inner = space["spaces"]
    return list(inner.items() if isinstance(inner, dict) else enumerate(inner))


set_model(ChampionModel())
