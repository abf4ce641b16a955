"""PPO on the torch backend: all replicas of a trial trained as one batch.

An iteration collects one train batch with every replica (`rollout`), judges it by GAE
(`advantages`) with values from before the update, and learns from it (`ppo_update`,
`ppo_loss`). Hyperparameters and their meaning are RLlib's (`ppo_settings`, `architectures`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from sweeper.trainables import checkpoints
from sweeper.trainables.actions import build_distribution
from sweeper.trainables.advantages import estimate_advantages, standardise
from sweeper.trainables.architectures import MODEL_CONFIG_DEFAULTS, build_architecture
from sweeper.trainables.devices import find_device, limit_threads
from sweeper.trainables.episodes import divide_episodes, play_episodes
from sweeper.trainables.networks import ReplicaNetworks
from sweeper.trainables.normalisation import ObservationNormaliser, RewardNormaliser
from sweeper.trainables.ppo_loss import Minibatch
from sweeper.trainables.ppo_settings import read_settings
from sweeper.trainables.ppo_update import PPOLearner, TrainBatch
from sweeper.trainables.replicas import (
    EvaluationResult,
    EvaluationSettings,
    Purpose,
    ReplicaProgress,
    TrialSettings,
    derive_seed,
    seed_sequence,
)
from sweeper.trainables.rollout import Fragment, RolloutCollector
from sweeper.trainables.spaces import build_observation_encoder
from sweeper.trainables.vector_envs import build_vector_env

__all__ = ["TorchPPOTrainer"]

Array = NDArray[Any]

_DEFAULT_EVALUATION_EPISODES = 20


class _Generators(NamedTuple):
    """The generators of one replica, one a purpose."""

    initialisation: np.random.Generator
    actions: np.random.Generator
    shuffling: np.random.Generator
    environments: np.random.Generator


class TorchPPOTrainer:
    """A `ReplicaTrainer` of PPO.

    Raises:
        ConfigurationRefusedError: a key, a value or a space that this backend does not take.
        UserError: a GPU is asked for and there is none.
    """

    def __init__(self, settings: TrialSettings, configuration: Mapping[str, Any]) -> None:
        self._settings = settings
        self._ppo = read_settings(configuration)
        device = find_device(settings)
        self._thread_limits = limit_threads(settings)
        self._generators = [
            _Generators(*map(np.random.default_rng, root.spawn(len(_Generators._fields))))
            for root in (
                seed_sequence(seed, settings.stage, Purpose.TRAINING) for seed in settings.seeds
            )
        ]
        self._envs: list[VectorEnv] = []
        self._evaluation_envs: list[VectorEnv] = []
        try:
            for _ in settings.seeds:
                self._envs.append(build_vector_env(settings.environment, self._ppo.envs))
            self._build(device)
        except BaseException:
            self.close()
            raise
        self._env_steps = [0] * len(settings.seeds)

    def train(self) -> list[ReplicaProgress]:
        """Collect one train batch with every replica, and learn from it."""
        # Numbers that are not finite end a replica; they are looked for, not warned of.
        with np.errstate(all="ignore"):
            return self._train()

    def evaluate(self) -> list[EvaluationResult | None]:
        """Play held-out episodes, the same ones at every evaluation."""
        settings = self._settings
        evaluation = settings.evaluation or EvaluationSettings(_DEFAULT_EVALUATION_EPISODES, None)
        if not self._evaluation_envs:
            envs = len(divide_episodes(evaluation.episodes))
            self._evaluation_envs = [
                build_vector_env(settings.environment, envs) for _ in settings.seeds
            ]
        generators = [
            np.random.default_rng(seed_sequence(seed, settings.stage, Purpose.EVALUATION_ACTIONS))
            for seed in settings.seeds
        ]
        return play_episodes(
            self._networks.policy,
            self._evaluation_envs,
            episodes=evaluation.episodes,
            env_seeds=[
                derive_seed(seed, settings.stage, Purpose.EVALUATION_ENVIRONMENTS)
                for seed in settings.seeds
            ],
            generators=generators if evaluation.explore else None,
            encoder=self._encoder,
            distribution=self._distribution,
            normalise=self._normalise,
            skipped=self._learner.is_frozen,
        )

    def save(self, folder: Path) -> dict[str, Any]:
        """Write agent.json, weights.safetensors and trainer.safetensors.

        Returns:
            Counters, coefficients and generator states; integers beyond 64 bits among them,
            which JSON takes.
        """
        moments, learner = self._learner.state()
        checkpoints.write_agent(folder, self._describe_agent(), self._agent_tensors())
        tensors = {f"optimiser.{name}": tensor for name, tensor in moments.items()}
        checkpoints.write_tensors(folder / checkpoints.TRAINER_FILE, tensors)
        return {
            "env_steps": list(self._env_steps),
            "learner": learner,
            "generators": [
                {
                    name: generator.bit_generator.state
                    for name, generator in generators._asdict().items()
                }
                for generators in self._generators
            ],
        }

    def restore(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Go on with what `save` wrote; episodes begin anew, on seeds not used before."""
        tensors = checkpoints.read_tensors(folder / checkpoints.WEIGHTS_FILE)
        self._networks.load(tensors)
        for name, normaliser in self._normalisers().items():
            normaliser.moments.restore(
                {
                    field: tensors[f"normalisation.{name}.{field}"].numpy()
                    for field in normaliser.moments.state()
                }
            )
        trainer = checkpoints.read_tensors(folder / checkpoints.TRAINER_FILE)
        moments = {name.removeprefix("optimiser."): tensor for name, tensor in trainer.items()}
        self._learner.restore(moments, state["learner"])
        self._env_steps = [int(steps) for steps in state["env_steps"]]
        for generators, saved in zip(self._generators, state["generators"], strict=True):
            for name, generator in generators._asdict().items():
                generator.bit_generator.state = saved[name]
        self._collector.restart()

    def close(self) -> None:
        """Close the environments, and give BLAS back its threads."""
        for envs in (*self._envs, *self._evaluation_envs):
            envs.close()
        self._evaluation_envs = []
        self._thread_limits.restore_original_limits()

    def _train(self) -> list[ReplicaProgress]:
        steps_before = self._lifetime_env_steps
        # Copied: a learner that freezes a replica does not change what happened here.
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
        return [
            ReplicaProgress(
                env_steps=self._env_steps[replica],
                episode_returns=tuple(episode.episode_return for episode in episodes),
                episode_lengths=tuple(episode.length for episode in episodes),
                learner={
                    key: float(values[replica])
                    for key, values in metrics.items()
                    if np.isfinite(values[replica])
                },
                diverged=bool(self._learner.is_frozen[replica]),
            )
            for replica, episodes in enumerate(self._collector.take_episodes())
        ]

    @property
    def _lifetime_env_steps(self) -> int:
        """What schedules go by: every replica that trains has equally many."""
        return max(self._env_steps)

    def _build(self, device: torch.device) -> None:
        settings, ppo = self._settings, self._ppo
        replicas = len(settings.seeds)
        self._encoder = build_observation_encoder(self._envs[0].single_observation_space)
        self._distribution = build_distribution(
            self._envs[0].single_action_space,
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
        self._networks.initialise(
            [
                torch.Generator().manual_seed(int(generators.initialisation.integers(2**63)))
                for generators in self._generators
            ]
        )
        self._learner = PPOLearner(
            self._networks,
            self._distribution,
            ppo,
            [generators.shuffling for generators in self._generators],
        )
        self._collector = RolloutCollector(
            self._envs,
            steps=ppo.fragment_steps,
            encoder=self._encoder,
            distribution=self._distribution,
            action_generators=[generators.actions for generators in self._generators],
            env_generators=[generators.environments for generators in self._generators],
            observation_normaliser=self._observation_normaliser,
            reward_normaliser=self._reward_normaliser,
        )

    def _to_fields(self, fragment: Fragment) -> list[Array]:
        """A fragment's rows with their advantages and value targets, copied out of its buffers.

        Returns:
            Observations, actions, inputs of the distribution, advantages and value targets,
            each ``float32[replicas, rows, ...]``.
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
        """Coefficients of the next iteration, which is what RLlib reports."""
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
            observation_space=self._envs[0].single_observation_space,
            action_space=self._envs[0].single_action_space,
            model_config={**MODEL_CONFIG_DEFAULTS, **self._ppo.model_config},
            architecture=self._networks.architecture,
            normalize_actions=self._ppo.normalize_actions,
            clip_actions=self._ppo.clip_actions,
            normalisers=tuple(self._normalisers()),
        )
