"""PPO on the torch backend: all replicas of a trial trained as one batch.

An iteration collects one train batch with every replica (`rollout`), estimates its advantages
with the values from before the update (`advantages`), and learns from it (`update`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sweeper.environments.spaces import build_observation_encoder
from sweeper.paths import CheckpointPaths
from sweeper.trainables.contract import EvaluationResult, ReplicaProgress, TrialSettings
from sweeper.trainables.torch_backend import checkpoints
from sweeper.trainables.torch_backend.architecture import MODEL_CONFIG_DEFAULTS, build_architecture
from sweeper.trainables.torch_backend.devices import find_device, limit_threads
from sweeper.trainables.torch_backend.distributions import build_distribution
from sweeper.trainables.torch_backend.envs import open_replica_envs
from sweeper.trainables.torch_backend.evaluation import HeldOutEpisodes, play_episodes
from sweeper.trainables.torch_backend.networks import ReplicaNetworks
from sweeper.trainables.torch_backend.normalisation import ObservationNormaliser, RewardNormaliser
from sweeper.trainables.torch_backend.ppo.advantages import estimate_advantages, standardise
from sweeper.trainables.torch_backend.ppo.loss import Minibatch
from sweeper.trainables.torch_backend.ppo.rollout import Fragment, RolloutCollector
from sweeper.trainables.torch_backend.ppo.settings import read_settings
from sweeper.trainables.torch_backend.ppo.update import PPOLearner, TrainBatch
from sweeper.trainables.torch_backend.progress import describe_progress
from sweeper.trainables.torch_backend.streams import ReplicaStreams

__all__ = ["TorchPPOTrainer"]

Array = NDArray[Any]


class TorchPPOTrainer:
    """PPO's `ReplicaTrainer`.

    Raises:
        ConfigurationRefusedError: this backend does not support a key, a value or a space.
        UserError: a GPU is requested and none is found.
    """

    def __init__(self, settings: TrialSettings, configuration: Mapping[str, Any]) -> None:
        self._settings = settings
        self._ppo = read_settings(configuration)
        device = find_device(settings)
        self._streams = ReplicaStreams(
            settings, ("initialisation", "actions", "shuffling", "environments")
        )
        with contextlib.ExitStack() as opened:
            opened.enter_context(limit_threads(settings))
            self._envs = opened.enter_context(open_replica_envs(settings, self._ppo.envs))
            self._held_out = opened.enter_context(contextlib.closing(HeldOutEpisodes(settings)))
            self._build(device)
            self._opened = opened.pop_all()  # closed by `close`, or here if building fails
        self._env_steps = [0] * len(settings.seeds)

    # A replica with non-finite numbers is frozen; numpy's warnings would add nothing.
    @np.errstate(all="ignore")
    def train(self) -> list[ReplicaProgress]:
        """Collect one train batch with every replica, and learn from it."""
        steps_before = self._lifetime_env_steps
        # A copy: the learner may freeze more replicas below.
        was_frozen = self._learner.is_frozen.copy()
        fields = [
            self._to_fields(self._collector.collect(self._networks.policy, was_frozen))
            for _ in range(self._ppo.fragments)
        ]
        failed = self._collector.has_failed & ~was_frozen
        if failed.any():
            self._learner.freeze(failed)
        for replica in np.flatnonzero(~was_frozen & ~failed):
            self._env_steps[replica] += self._ppo.rows
        metrics = self._learner.update(self._to_batch(fields), steps_before)
        metrics |= self._scheduled_metrics()
        return describe_progress(
            env_steps=self._env_steps,
            episodes=self._collector.take_episodes(),
            metrics=metrics,
            diverged=self._learner.is_frozen,
        )

    def evaluate(self) -> list[EvaluationResult | None]:
        """Play the held-out episodes, the same ones at every evaluation."""
        return play_episodes(
            self._networks.policy,
            self._held_out,
            encoder=self._encoder,
            distribution=self._distribution,
            normalise=self._normalise,
            skipped=self._learner.is_frozen,
        )

    def save(self, folder: Path) -> dict[str, Any]:
        """Write agent.json, weights.safetensors and trainer.safetensors.

        Returns:
            Counters, coefficients and generator states, as JSON.
        """
        moments, learner = self._learner.state()
        checkpoints.write_agent(folder, self._describe_agent(), self._agent_tensors())
        tensors = {f"optimiser.{name}": tensor for name, tensor in moments.items()}
        checkpoints.write_tensors(CheckpointPaths(folder).trainer, tensors)
        return {
            "env_steps": list(self._env_steps),
            "learner": learner,
            "generators": self._streams.state(),
        }

    def restore(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Continue from what `save` wrote, with new episodes on unused seeds."""
        tensors = checkpoints.read_tensors(CheckpointPaths(folder).weights)
        self._networks.load(tensors)
        for name, normaliser in self._normalisers().items():
            normaliser.moments.restore(
                {
                    field: tensors[f"normalisation.{name}.{field}"].numpy()
                    for field in normaliser.moments.state()
                }
            )
        trainer = checkpoints.read_tensors(CheckpointPaths(folder).trainer)
        moments = {name.removeprefix("optimiser."): tensor for name, tensor in trainer.items()}
        self._learner.restore(moments, state["learner"])
        self._env_steps = [int(steps) for steps in state["env_steps"]]
        self._streams.restore(state["generators"])
        self._collector.restart()

    def close(self) -> None:
        """Close the environments and restore BLAS's number of threads."""
        self._opened.close()

    @property
    def _lifetime_env_steps(self) -> int:
        """The env steps for schedules: all replicas that still train have the same number."""
        return max(self._env_steps)

    def _build(self, device: torch.device) -> None:
        settings, ppo = self._settings, self._ppo
        replicas = len(settings.seeds)
        self._encoder = build_observation_encoder(self._envs.single_observation_space)
        self._distribution = build_distribution(
            self._envs.single_action_space,
            normalize_actions=ppo.normalize_actions,
            clip_actions=ppo.clip_actions,
        )
        architecture = build_architecture(
            ppo.model_config,
            observation_shape=self._encoder.shape,
            distribution_inputs=self._distribution.input_size,
            is_gaussian=self._distribution.is_gaussian,
        )
        normalize = settings.environment.normalize
        self._observation_normaliser = (
            ObservationNormaliser(replicas, self._encoder.shape) if normalize.observations else None
        )
        self._reward_normaliser = (
            RewardNormaliser(replicas, ppo.envs, ppo.gamma) if normalize.rewards else None
        )
        self._networks = ReplicaNetworks(architecture, replicas=replicas, device=device)
        self._networks.initialise(self._streams.torch_generators("initialisation"))
        self._learner = PPOLearner(
            self._networks, self._distribution, ppo, self._streams["shuffling"]
        )
        self._collector = RolloutCollector(
            self._envs,
            steps=ppo.fragment_steps,
            encoder=self._encoder,
            distribution=self._distribution,
            action_generators=self._streams["actions"],
            env_generators=self._streams["environments"],
            observation_normaliser=self._observation_normaliser,
            reward_normaliser=self._reward_normaliser,
        )

    def _to_fields(self, fragment: Fragment) -> list[Array]:
        """Copy a fragment's valid rows, with advantages and value targets, out of its buffers.

        Returns:
            Observations, actions, inputs of the distribution, advantages and value targets,
            each ``[replicas, rows, ...]``.
        """
        replicas = len(self._envs)
        observations = fragment.observations
        steps, envs = observations.shape[1:3]
        flat = observations.reshape(replicas, steps * envs, *self._encoder.shape)
        values = self._networks.values(flat).reshape(replicas, steps, envs)
        advantages = estimate_advantages(
            rewards=fragment.rewards,
            values=values,
            terminated=fragment.terminated,
            ended=fragment.ended,
            valid=fragment.valid,
            gamma=self._ppo.gamma,
            lambda_=self._ppo.lambda_,
        )
        arrays = (
            observations[:, :-1],
            fragment.actions,
            fragment.distribution,
            advantages,
            advantages + values[:, :-1],
        )
        rows = self._ppo.fragment_steps * envs
        return [array[fragment.valid].reshape(replicas, rows, *array.shape[3:]) for array in arrays]

    def _to_batch(self, fragments: list[list[Array]]) -> TrainBatch:
        observations, actions, inputs, advantages, targets = (
            np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
            for parts in zip(*fragments, strict=True)
        )
        device = self._networks.device
        with torch.no_grad():
            taken = torch.from_numpy(actions).to(device)
            old = self._distribution.normalise(torch.from_numpy(inputs).to(device))
            return TrainBatch.build(
                Minibatch(
                    observations=torch.from_numpy(observations).to(device),
                    actions=taken,
                    log_probs=self._distribution.log_prob(old, taken),
                    advantages=torch.from_numpy(standardise(advantages)).to(device),
                    value_targets=torch.from_numpy(targets).to(device),
                    old_distribution=old,
                )
            )

    def _scheduled_metrics(self) -> dict[str, Array]:
        """The coefficients of the next iteration, as RLlib reports them."""
        steps, ones = self._lifetime_env_steps, np.ones(len(self._envs))
        metrics = {
            "default_optimizer_learning_rate": ones * self._ppo.lr.value(steps),
            "curr_entropy_coeff": ones * self._ppo.entropy_coeff.value(steps),
        }
        if self._ppo.use_kl_loss:
            metrics["curr_kl_coeff"] = self._learner.kl_coeffs.astype(np.float64)
        return metrics

    def _normalise(self, observations: Array) -> Array:
        if self._observation_normaliser is None:
            return observations
        return self._observation_normaliser.normalise(observations)

    def _normalisers(self) -> dict[str, ObservationNormaliser | RewardNormaliser]:
        named = {"observations": self._observation_normaliser, "rewards": self._reward_normaliser}
        return {name: normaliser for name, normaliser in named.items() if normaliser is not None}

    def _agent_tensors(self) -> dict[str, torch.Tensor]:
        tensors = self._networks.named_parameters()
        for name, normaliser in self._normalisers().items():
            for field, array in normaliser.moments.state().items():
                tensors[f"normalisation.{name}.{field}"] = torch.from_numpy(array)
        return tensors

    def _describe_agent(self) -> dict[str, Any]:
        return checkpoints.describe_agent(
            self._settings,
            observation_space=self._envs.single_observation_space,
            action_space=self._envs.single_action_space,
            model_config={**MODEL_CONFIG_DEFAULTS, **self._ppo.model_config},
            architecture=self._networks.architecture,
            normalize_actions=self._ppo.normalize_actions,
            clip_actions=self._ppo.clip_actions,
            normalisers=tuple(self._normalisers()),
        )
