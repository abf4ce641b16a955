"""DQN on the torch backend: all replicas of a trial trained as one batch.

A round collects a few env steps with every replica into its replay memory (`dqn_rollout`,
`replay`), then learns from batches drawn from it (`dqn_update`, `dqn_loss`, `q_networks`); an
iteration is as many rounds as it takes to reach ``min_sample_timesteps_per_iteration``.
Hyperparameters and their meaning are RLlib's (`dqn_settings`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from sweeper.trainables import checkpoints
from sweeper.trainables.devices import find_device, limit_threads
from sweeper.trainables.dqn_actions import build_epsilon_greedy
from sweeper.trainables.dqn_memory import REPLAY_FILE, describe_memory, refuse_too_much
from sweeper.trainables.dqn_rollout import ReplayCollector
from sweeper.trainables.dqn_settings import DQN_DEFAULTS, DQNSettings, read_settings
from sweeper.trainables.dqn_update import DQNLearner
from sweeper.trainables.episodes import divide_episodes, play_episodes
from sweeper.trainables.observation_store import ObservationStore
from sweeper.trainables.q_networks import QHead, QNetworks, build_q_architecture
from sweeper.trainables.replay import ReplayBuffer
from sweeper.trainables.replicas import (
    ConfigurationRefusedError,
    EvaluationResult,
    EvaluationSettings,
    Purpose,
    ReplicaProgress,
    TrialSettings,
    derive_seed,
    seed_sequence,
)
from sweeper.trainables.spaces import build_observation_encoder
from sweeper.trainables.vector_envs import build_vector_env, choose_vectorization

__all__ = ["TorchDQNTrainer", "build_head"]

Array = NDArray[Any]

_DEFAULT_EVALUATION_EPISODES = 20


class _Generators(NamedTuple):
    """The generators of one replica, one a purpose."""

    initialisation: np.random.Generator
    actions: np.random.Generator
    environments: np.random.Generator
    replay: np.random.Generator


class TorchDQNTrainer:
    """A `ReplicaTrainer` of DQN.

    Raises:
        ConfigurationRefusedError: a key, a value or a space that this backend does not take.
        UserError: a GPU is asked for and there is none.
    """

    def __init__(self, settings: TrialSettings, configuration: Mapping[str, Any]) -> None:
        self._settings = settings
        self._dqn = read_settings(configuration)
        normalize = settings.environment.normalize
        if normalize.observations or normalize.rewards:
            raise ConfigurationRefusedError("environment.normalize is not carried out by DQN")
        device = find_device(settings)
        self._thread_limits = limit_threads(settings)
        self._generators = [_spawn_generators(seed, settings.stage) for seed in settings.seeds]
        self._envs: list[VectorEnv] = []
        self._evaluation_envs: list[VectorEnv] = []
        try:
            self._envs += [self._build_envs(self._dqn.envs) for _ in settings.seeds]
            self._build(device)
        except BaseException:
            self.close()
            raise
        self._env_steps = [0] * len(settings.seeds)
        # Env steps at which the replay memory was empty: learning waits for so many more.
        self._replay_begun = 0

    def train(self) -> list[ReplicaProgress]:
        """Collect and learn until every replica has taken an iteration's env steps."""
        # Numbers that are not finite end a replica; they are looked for, not warned of.
        with np.errstate(all="ignore"):
            return self._train()

    def evaluate(self) -> list[EvaluationResult | None]:
        """Play held-out episodes, the same ones at every evaluation."""
        settings = self._settings
        evaluation = settings.evaluation or EvaluationSettings(_DEFAULT_EVALUATION_EPISODES, None)
        if not self._evaluation_envs:
            envs = len(divide_episodes(evaluation.episodes))
            self._evaluation_envs = [self._build_envs(envs) for _ in settings.seeds]
        generators = [
            np.random.default_rng(seed_sequence(seed, settings.stage, Purpose.EVALUATION_ACTIONS))
            for seed in settings.seeds
        ]
        epsilon = self._dqn.epsilon.value(self._collector.steps)
        return play_episodes(
            self._networks.values,
            self._evaluation_envs,
            episodes=evaluation.episodes,
            env_seeds=[
                derive_seed(seed, settings.stage, Purpose.EVALUATION_ENVIRONMENTS)
                for seed in settings.seeds
            ],
            generators=generators if evaluation.explore else None,
            encoder=self._encoder,
            distribution=dataclasses.replace(self._distribution, epsilon=epsilon),
            normalise=lambda observations: observations,
            skipped=self._learner.is_frozen,
        )

    def save(self, folder: Path) -> dict[str, Any]:
        """Write agent.json, weights.safetensors and trainer.safetensors.

        Where the settings ask for it the replay memories are written too, as replay.safetensors.

        Returns:
            Counters and generator states; integers beyond 64 bits among them, which JSON takes.
        """
        tensors, learner = self._learner.state()
        weights = self._networks.online.named_parameters()
        checkpoints.write_agent(folder, self._describe_agent(), weights)
        checkpoints.write_tensors(folder / checkpoints.TRAINER_FILE, tensors)
        with_replay = self._settings.checkpoint_replay
        if with_replay:
            checkpoints.write_arrays(folder / REPLAY_FILE, self._buffer.state())
        return {
            "env_steps": list(self._env_steps),
            "collected_steps": self._collector.steps,
            "replay_begun": self._replay_begun if with_replay else None,
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
        """Go on with what `save` wrote; episodes begin anew, on seeds not used before.

        Without the replay memories no update is made until they hold
        ``num_steps_sampled_before_learning_starts`` new env steps.
        """
        self._networks.online.load(checkpoints.read_tensors(folder / checkpoints.WEIGHTS_FILE))
        trainer = checkpoints.read_tensors(folder / checkpoints.TRAINER_FILE)
        self._learner.restore(trainer, state["learner"])
        self._env_steps = [int(steps) for steps in state["env_steps"]]
        for generators, saved in zip(self._generators, state["generators"], strict=True):
            for name, generator in generators._asdict().items():
                generator.bit_generator.state = saved[name]
        steps = int(state["collected_steps"])
        self._replay_begun = steps
        if state["replay_begun"] is not None:
            # Through a memory map, straight into the rings.
            replay = checkpoints.read_tensors(folder / REPLAY_FILE)
            self._buffer.restore({name: tensor.numpy() for name, tensor in replay.items()})
            self._replay_begun = int(state["replay_begun"])
        self._collector.restart(steps)

    def close(self) -> None:
        """Close the environments, and give BLAS back its threads."""
        for envs in (*self._envs, *self._evaluation_envs):
            envs.close()
        self._evaluation_envs = []
        self._thread_limits.restore_original_limits()

    def _train(self) -> list[ReplicaProgress]:
        # Copied: a learner that freezes a replica does not change what happened here.
        was_frozen = self._learner.is_frozen.copy()
        before = self._collector.steps
        self._learner.begin_iteration()
        while True:
            self._run_round(was_frozen)
            if self._collector.steps - before >= self._dqn.iteration_steps:
                break
        for replica in np.flatnonzero(~was_frozen):
            self._env_steps[replica] = self._collector.steps
        metrics = self._learner.end_iteration()
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

    def _run_round(self, is_frozen: NDArray[np.bool_]) -> None:
        dqn, steps = self._dqn, self._collector.steps + self._dqn.round_steps
        self._collector.collect(self._networks.values, dqn.round_steps, is_frozen)
        if steps - self._replay_begun < dqn.learning_starts or not self._buffer.starts.any():
            return
        for _ in range(dqn.updates):
            sample = self._buffer.sample(dqn.batch)
            errors = self._learner.update(sample, steps)
            self._buffer.update_priorities(sample.places, errors)

    def _build(self, device: torch.device) -> None:
        dqn, replicas = self._dqn, len(self._settings.seeds)
        envs = self._envs[0]
        self._encoder = build_observation_encoder(envs.single_observation_space)
        self._distribution = build_epsilon_greedy(envs.single_action_space)
        actions = self._distribution.input_size
        head = build_head(dqn, actions)
        architecture = build_q_architecture(
            dqn.model_config, observation_shape=self._encoder.shape, head=head
        )
        self._networks = QNetworks(architecture, head, replicas=replicas, device=device)
        self._networks.initialise(
            [
                torch.Generator().manual_seed(int(generators.initialisation.integers(2**63)))
                for generators in self._generators
            ]
        )
        self._learner = DQNLearner(self._networks, dqn)
        memory = describe_memory(
            dqn.replay,
            observation_space=envs.single_observation_space,
            action_space=envs.single_action_space,
            envs=dqn.envs,
            replicas=replicas,
        )
        refuse_too_much(memory, replicas)
        store = ObservationStore(self._encoder)
        self._buffer = ReplayBuffer(
            store,
            dqn.replay,
            replicas=replicas,
            envs=dqn.envs,
            actions=actions,
            generators=[generators.replay for generators in self._generators],
        )
        self._collector = ReplayCollector(
            self._envs,
            self._buffer,
            store,
            epsilon=dqn.epsilon,
            distribution=self._distribution,
            action_generators=[generators.actions for generators in self._generators],
            env_generators=[generators.environments for generators in self._generators],
        )

    def _build_envs(self, num_envs: int) -> VectorEnv:
        environment = self._settings.environment
        mode = choose_vectorization(environment, num_envs, self._settings.algorithm)
        return build_vector_env(dataclasses.replace(environment, vectorization=mode), num_envs)

    def _describe_agent(self) -> dict[str, Any]:
        head = self._networks.head
        return {
            **checkpoints.describe_agent(
                self._settings,
                observation_space=self._envs[0].single_observation_space,
                action_space=self._envs[0].single_action_space,
                model_config={**DQN_DEFAULTS["model_config"], **self._dqn.model_config},
                architecture=self._networks.online.architecture,
                normalize_actions=True,
                clip_actions=False,
                normalisers=(),
            ),
            "dueling": head.is_dueling,
            "num_atoms": head.atoms,
            "v_min": head.v_min,
            "v_max": head.v_max,
        }


def _spawn_generators(seed: int, stage: str) -> _Generators:
    training = seed_sequence(seed, stage, Purpose.TRAINING).spawn(3)
    return _Generators(
        *map(np.random.default_rng, (*training, seed_sequence(seed, stage, Purpose.REPLAY)))
    )


def build_head(settings: DQNSettings, actions: int) -> QHead:
    """The head of a configuration's network."""
    return QHead(
        actions=actions,
        is_dueling=settings.dueling,
        atoms=settings.num_atoms,
        v_min=settings.v_min,
        v_max=settings.v_max,
    )
