"""What PPO's and DQN's trainers share: environments, evaluation and checkpoints."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from sweeper.environments.spaces import build_observation_encoder, space_to_json
from sweeper.errors import SweeperError
from sweeper.paths import CheckpointPaths
from sweeper.trainables.contract import EvaluationResult, Examination, TrialSettings
from sweeper.trainables.spaces import check_spaces
from sweeper.trainables.torch_backend import checkpoints
from sweeper.trainables.torch_backend.devices import find_device, limit_threads
from sweeper.trainables.torch_backend.distributions import ActionDistribution
from sweeper.trainables.torch_backend.envs import open_replica_envs
from sweeper.trainables.torch_backend.evaluation import HeldOutEpisodes
from sweeper.trainables.torch_backend.normalisation import ObservationNormaliser, RunningMoments
from sweeper.trainables.torch_backend.optimiser import ReplicaLearner
from sweeper.trainables.torch_backend.streams import ReplicaStreams

__all__ = ["TorchTrainer"]

Array = NDArray[Any]

_FORMAT_VERSION = 1


class TorchTrainer(abc.ABC):
    """A `ReplicaTrainer` without its `train`; `_build` sets the annotated attributes.

    Args:
        envs: sub-environments per replica.
        model_config: complete, with the defaults; for ``agent.json``, as the next two.
        normalize_actions: whether numbers in [-1, 1] are mapped to the bounds.
        clip_actions: for ``agent.json`` alone: what is sent never leaves the bounds.

    Raises:
        ConfigurationRefusedError: this backend does not support a value or a space.
        UserError: a GPU is requested and none is found.
    """

    _learner: ReplicaLearner
    _policy: Callable[[Array], Array]
    _distribution: ActionDistribution
    _observation_normaliser: ObservationNormaliser | None = None

    def __init__(
        self,
        settings: TrialSettings,
        streams: ReplicaStreams,
        envs: int,
        *,
        model_config: Mapping[str, Any],
        normalize_actions: bool = True,
        clip_actions: bool = False,
    ) -> None:
        self._settings, self._streams, self._model_config = settings, streams, model_config
        self._normalize_actions, self._clip_actions = normalize_actions, clip_actions
        self._env_steps = [0] * len(settings.seeds)
        device = find_device(settings)
        with contextlib.ExitStack() as opened:
            self._envs = opened.enter_context(open_replica_envs(settings, envs))
            # Afterwards, since a user's module may set a number of its own.
            opened.enter_context(limit_threads(settings))
            spaces = self._envs.single_observation_space, self._envs.single_action_space
            check_spaces(settings, *spaces, model_config)
            self._held_out = HeldOutEpisodes(settings)
            self._encoder = build_observation_encoder(self._envs.single_observation_space)
            self._build(device)
            self._opened = opened.pop_all()  # closed by `close`, or here if building fails

    def evaluate(self, examination: Examination | None = None) -> list[EvaluationResult | None]:
        """Play the held-out episodes, the same ones at every evaluation.

        Replicas that diverge in it are frozen.
        """
        held_out, skipped = self._held_out, self._learner.is_frozen
        if examination is not None:
            held_out = HeldOutEpisodes(
                dataclasses.replace(
                    self._settings, evaluation=examination.settings, stage=examination.stage
                )
            )
            plays = [examination.includes(index) for index in range(len(skipped))]
            skipped = skipped | ~np.array(plays)
        with held_out.open_envs() as envs:
            results = held_out.play(
                envs,
                self._policy,
                encoder=self._encoder,
                distribution=self._distribution,
                normalise=self._normalise,
                skipped=skipped,
            )
        diverged = np.array([result is not None and result.diverged for result in results])
        if diverged.any():
            self._learner.freeze(diverged)
        return results

    def save(self, folder: Path) -> dict[str, Any]:
        """Write agent.json, weights.safetensors and trainer.safetensors.

        Returns:
            Counters, coefficients and generator states, as JSON; integers may exceed 64 bits.
        """
        tensors, learner = self._learner.state()
        weights = self._learner.trained.named_parameters()
        for name, moments in self._moments().items():
            for field, array in moments.state().items():
                weights[f"normalisation.{name}.{field}"] = torch.from_numpy(array)
        checkpoints.write_agent(folder, self._describe_agent(), weights)
        checkpoints.write_tensors(CheckpointPaths(folder).trainer, tensors)
        return {
            "env_steps": list(self._env_steps),
            **self._save_collected(folder),
            "learner": learner,
            "generators": self._streams.state(),
        }

    def restore(self, folder: Path, state: Mapping[str, Any], *, branch: int | None = None) -> None:
        """Continue from what `save` wrote, with new episodes on unused seeds."""
        tensors = checkpoints.read_tensors(CheckpointPaths(folder).weights)
        self._learner.trained.load(tensors)
        for name, moments in self._moments().items():
            moments.restore(_find_moments(tensors, name, moments))
        trainer = checkpoints.read_tensors(CheckpointPaths(folder).trainer)
        self._learner.restore(trainer, state["learner"])
        self._env_steps = [int(steps) for steps in state["env_steps"]]
        self._streams.restore(state["generators"])
        if branch is not None:
            self._streams.start_anew(max(self._env_steps), branch)
        self._restart(folder, state)

    def begin(self, folder: Path) -> None:
        """Begin with the weights in a folder, and with the statistics that are kept here, too."""
        path = CheckpointPaths(folder).weights
        tensors = checkpoints.read_tensors(path)
        try:
            self._learner.begin(tensors)
            for name, moments in self._moments().items():
                if f"normalisation.{name}.mean" in tensors:
                    moments.restore(_find_moments(tensors, name, moments))
        except (KeyError, ValueError) as error:
            raise SweeperError(f"{path} does not fit this network: {error}") from error

    def close(self) -> None:
        """Close the environments and restore BLAS's number of threads."""
        self._opened.close()

    @abc.abstractmethod
    def _build(self, device: torch.device) -> None: ...

    def _save_collected(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002
        return {}

    @abc.abstractmethod
    def _restart(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Begin new episodes everywhere."""

    def _normalise(self, observations: Array) -> Array:
        if self._observation_normaliser is None:
            return observations
        return self._observation_normaliser.normalise(observations)

    def _explain(self, faults: Mapping[int, str]) -> dict[int, str]:
        """Name the environment, the seed and the env steps beside what was returned."""
        settings = self._settings
        return {
            replica: f"{settings.environment.id} returned {fault} (seed {settings.seeds[replica]}, "
            f"in the iteration after {self._env_steps[replica]:,} env steps)"
            for replica, fault in faults.items()
        }

    def _moments(self) -> dict[str, RunningMoments]:
        """By which observations and rewards are normalised, if they are."""
        return {}

    def _describe_agent(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "version": _FORMAT_VERSION,
            "algorithm": settings.algorithm,
            "backend": "torch",
            "environment": settings.environment.to_json(),
            "observation_space": space_to_json(self._envs.single_observation_space),
            "action_space": space_to_json(self._envs.single_action_space),
            "model_config": dict(self._model_config),
            "network": dataclasses.asdict(self._learner.trained.architecture),
            "normalize_actions": self._normalize_actions,
            "clip_actions": self._clip_actions,
            # Without it: an agent of an older version, see `agents.torch_policy`.
            "bounds_by_dimension": True,
            "normalisation": list(self._moments()),
            "seeds": list(settings.seeds),
            # Seeds of replicas that no longer train; agents of earlier versions don't say.
            "diverged": [
                seed
                for seed, is_frozen in zip(settings.seeds, self._learner.is_frozen, strict=True)
                if is_frozen
            ],
            "stage": settings.stage,
            "versions": {"torch": torch.__version__, "gymnasium": gymnasium.__version__},
        }


def _find_moments(
    tensors: Mapping[str, torch.Tensor], name: str, moments: RunningMoments
) -> dict[str, Array]:
    """The statistics of a name in a checkpoint."""
    return {key: tensors[f"normalisation.{name}.{key}"].numpy() for key in moments.state()}
