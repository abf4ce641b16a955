"""PPO on the torch backend: all replicas of a trial trained as one batch.

An iteration collects one train batch with every replica (`rollout`), estimates its advantages
with the values from before the update (`advantages`), and learns from it (`update`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from sweeper.environments.spaces import ObservationEncoder, build_observation_encoder
from sweeper.trainables.contract import NetworkDescription, ReplicaProgress, TrialSettings
from sweeper.trainables.torch_backend.architecture import (
    MODEL_CONFIG_DEFAULTS,
    Architecture,
    build_architecture,
)
from sweeper.trainables.torch_backend.distributions import ActionDistribution, build_distribution
from sweeper.trainables.torch_backend.fitting import describe_architecture
from sweeper.trainables.torch_backend.networks import ReplicaNetworks
from sweeper.trainables.torch_backend.normalisation import (
    ObservationNormaliser,
    RewardNormaliser,
    RunningMoments,
)
from sweeper.trainables.torch_backend.ppo.advantages import estimate_advantages, standardise
from sweeper.trainables.torch_backend.ppo.loss import Minibatch
from sweeper.trainables.torch_backend.ppo.rollout import Fragment, RolloutCollector
from sweeper.trainables.torch_backend.ppo.settings import PPOSettings, read_settings
from sweeper.trainables.torch_backend.ppo.update import PPOLearner, TrainBatch
from sweeper.trainables.torch_backend.progress import describe_progress
from sweeper.trainables.torch_backend.streams import ReplicaStreams
from sweeper.trainables.torch_backend.trainer import TorchTrainer

__all__ = ["TorchPPOTrainer"]

Array = NDArray[Any]

_IMAGES_AT_ONCE = 512  # of a replica; a whole train batch takes hundreds of megabytes


class TorchPPOTrainer(TorchTrainer):
    """PPO's `ReplicaTrainer`."""

    _learner: PPOLearner

    def __init__(self, settings: TrialSettings, configuration: Mapping[str, Any]) -> None:
        self._ppo = ppo = read_settings(configuration)
        names = ("initialisation", "actions", "shuffling", "environments")
        super().__init__(
            settings,
            ReplicaStreams(settings, names),
            ppo.envs,
            model_config={**MODEL_CONFIG_DEFAULTS, **ppo.model_config},
            normalize_actions=ppo.normalize_actions,
            clip_actions=ppo.clip_actions,
        )

    @classmethod
    def describe_network(
        cls,
        settings: TrialSettings,
        configuration: Mapping[str, Any],
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
    ) -> NetworkDescription:
        """What weights of a configuration must be like."""
        ppo = read_settings(configuration)
        encoder = build_observation_encoder(observation_space)
        scale = settings.environment.normalize.image_scale
        distribution, architecture = _design(ppo, encoder, action_space, scale)
        # It says what the network's outputs mean.
        meaning = {"normalize_actions": ppo.normalize_actions} if distribution.is_gaussian else {}
        return describe_architecture(architecture, meaning)

    # A replica with non-finite numbers is frozen; numpy's warnings would add nothing.
    @np.errstate(all="ignore")
    def train(self) -> list[ReplicaProgress]:
        """Collect one train batch with every replica, and learn from it."""
        steps_before = self._lifetime_env_steps
        # A copy: the learner may freeze more replicas below.
        was_frozen = self._learner.is_frozen.copy()
        fields = [
            self._to_fields(self._collector.collect(self._networks.act, was_frozen))
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
            causes=self._explain(self._collector.faults),
        )

    def _restart(self, folder: Path, state: Mapping[str, Any]) -> None:  # noqa: ARG002
        self._collector.restart()

    @property
    def _lifetime_env_steps(self) -> int:
        """The env steps for schedules: all replicas that still train have the same number."""
        return max(self._env_steps)

    def _build(self, device: torch.device) -> None:
        settings, ppo = self._settings, self._ppo
        replicas = len(settings.seeds)
        normalize = settings.environment.normalize
        self._distribution, architecture = _design(
            ppo, self._encoder, self._envs.single_action_space, normalize.image_scale
        )
        self._observation_normaliser = (
            ObservationNormaliser(replicas, self._encoder.shape) if normalize.observations else None
        )
        self._reward_normaliser = (
            RewardNormaliser(replicas, ppo.envs, ppo.gamma) if normalize.rewards else None
        )
        self._networks = ReplicaNetworks(architecture, replicas=replicas, device=device)
        self._policy = self._networks.policy
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
        envs = observations.shape[2]
        values = self._values(observations)
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

    def _values(self, observations: Array) -> Array:
        """``float32[replicas, steps, envs]`` of a fragment's ``[replicas, steps, envs, *shape]``.

        What the policy has given is not computed again, and of images not all are copied at once.
        """
        known, envs = self._collector.values, observations.shape[2]
        parts = [] if known is None else [known]
        rest = observations if known is None else observations[:, -1:]
        at_once = _IMAGES_AT_ONCE // envs + 1 if len(self._encoder.shape) == 3 else rest.shape[1]
        for start in range(0, rest.shape[1], at_once):
            part = rest[:, start : start + at_once]
            flat = part.reshape(len(part), -1, *self._encoder.shape)
            parts.append(self._networks.values(flat).reshape(part.shape[:3]))
        return np.concatenate(parts, axis=1)

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
        steps = self._env_steps
        metrics = {
            "default_optimizer_learning_rate": np.array(list(map(self._ppo.lr.value, steps))),
            "curr_entropy_coeff": np.array(list(map(self._ppo.entropy_coeff.value, steps))),
        }
        if self._ppo.use_kl_loss:
            metrics["curr_kl_coeff"] = self._learner.kl_coeffs.astype(np.float64)
        return metrics

    def _moments(self) -> dict[str, RunningMoments]:
        named = {"observations": self._observation_normaliser, "rewards": self._reward_normaliser}
        return {name: normaliser.moments for name, normaliser in named.items() if normaliser}


def _design(
    ppo: PPOSettings,
    encoder: ObservationEncoder,
    action_space: gymnasium.Space[Any],
    image_scale: float,
) -> tuple[ActionDistribution, Architecture]:
    """The distribution of actions, and the networks that give its inputs."""
    distribution = build_distribution(action_space, normalize_actions=ppo.normalize_actions)
    architecture = build_architecture(
        ppo.model_config,
        observation_shape=encoder.shape,
        distribution_inputs=distribution.input_size,
        is_gaussian=distribution.is_gaussian,
        image_scale=image_scale,
    )
    return distribution, architecture
