"""Train DQN: all replicas of a trial as one batch.

A round collects a few env steps of every replica into its replay memory (`rollout`, `replay`),
then learns from batches drawn from it (`update`). An iteration repeats rounds until it has
``min_sample_timesteps_per_iteration`` env steps. Hyperparameters are RLlib's (`settings`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from sweeper.environments.spaces import build_observation_encoder
from sweeper.errors import ConfigurationRefusedError
from sweeper.paths import CheckpointPaths
from sweeper.trainables.contract import (
    EvaluationResult,
    Examination,
    NetworkDescription,
    ReplicaProgress,
    TrialSettings,
)
from sweeper.trainables.torch_backend import checkpoints
from sweeper.trainables.torch_backend.dqn.actions import EpsilonGreedy, build_epsilon_greedy
from sweeper.trainables.torch_backend.dqn.networks import QHead, QNetworks, build_q_architecture
from sweeper.trainables.torch_backend.dqn.rollout import ReplayCollector
from sweeper.trainables.torch_backend.dqn.settings import DQN_DEFAULTS, DQNSettings, read_settings
from sweeper.trainables.torch_backend.dqn.update import DQNLearner
from sweeper.trainables.torch_backend.fitting import describe_architecture
from sweeper.trainables.torch_backend.progress import describe_progress
from sweeper.trainables.torch_backend.replay.buffer import ReplayBuffer
from sweeper.trainables.torch_backend.replay.memory import (
    bound_steps,
    check_free_memory,
    count_frames,
    describe_memory,
)
from sweeper.trainables.torch_backend.replay.observation_store import ObservationStore
from sweeper.trainables.torch_backend.streams import ReplicaStreams
from sweeper.trainables.torch_backend.trainer import TorchTrainer

__all__ = ["TorchDQNTrainer", "build_head"]

Array = NDArray[Any]


class TorchDQNTrainer(TorchTrainer):
    """DQN's `ReplicaTrainer`.

    Raises:
        UserError: the replay does not fit into the free memory; others as in `TorchTrainer`.
    """

    _distribution: EpsilonGreedy
    _learner: DQNLearner

    def __init__(self, settings: TrialSettings, configuration: Mapping[str, Any]) -> None:
        self._dqn = dqn = read_settings(configuration)
        normalize = settings.environment.normalize
        if normalize.observations or normalize.rewards:
            raise ConfigurationRefusedError("environment.normalize is not supported by DQN")
        names = ("initialisation", "actions", "environments")
        streams = ReplicaStreams(settings, names, with_replay=True)
        model_config = {**DQN_DEFAULTS["model_config"], **dqn.model_config}
        super().__init__(settings, streams, dqn.envs, model_config=model_config)
        # Env steps at which the replay memory was empty; learning_starts counts from there.
        self._replay_begun = 0

    @classmethod
    def describe_network(
        cls,
        settings: TrialSettings,
        configuration: Mapping[str, Any],
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
    ) -> NetworkDescription:
        """What weights of a configuration must be like."""
        dqn = read_settings(configuration)
        head = build_head(dqn, build_epsilon_greedy(action_space).input_size)
        shape = build_observation_encoder(observation_space).shape
        architecture = build_q_architecture(
            dqn.model_config,
            observation_shape=shape,
            head=head,
            image_scale=settings.environment.normalize.image_scale,
        )
        meaning: dict[str, Any] = {"dueling": head.is_dueling, "num_atoms": head.atoms}
        if head.atoms > 1:
            meaning |= {"v_min": head.v_min, "v_max": head.v_max}
        described = describe_architecture(architecture, meaning)
        if head.is_dueling:
            return described
        shapes = described.shapes.items()
        used = {name: shape for name, shape in shapes if not name.startswith("head.value.")}
        return dataclasses.replace(described, shapes=used)

    # Non-finite numbers freeze a replica; the learner checks for them, so numpy need not warn.
    @np.errstate(all="ignore")
    def train(self) -> list[ReplicaProgress]:
        """Collect and learn until every replica has taken an iteration's env steps."""
        before = self._collector.steps
        self._learner.begin_iteration()
        while True:
            self._run_round()
            if self._collector.steps - before >= self._dqn.iteration_steps:
                break
        for replica in np.flatnonzero(~self._learner.is_frozen):
            self._env_steps[replica] = self._collector.steps
        metrics = self._learner.end_iteration()
        return describe_progress(
            env_steps=self._env_steps,
            episodes=self._collector.take_episodes(),
            metrics=metrics,
            diverged=self._learner.is_frozen,
            causes=self._explain(self._collector.faults),
        )

    def evaluate(self, examination: Examination | None = None) -> list[EvaluationResult | None]:
        """Play the held-out episodes, if exploring then with the current epsilon."""
        self._distribution = dataclasses.replace(self._distribution, epsilon=self._epsilon)
        return super().evaluate(examination)

    @property
    def _epsilon(self) -> float:
        return self._dqn.epsilon.value(self._collector.steps)

    def _save_collected(self, folder: Path) -> dict[str, Any]:
        """With ``checkpoint_replay`` in the settings, write the replay memories too."""
        with_replay = self._settings.checkpoint_replay
        if with_replay:
            checkpoints.write_arrays(CheckpointPaths(folder).replay, self._buffer.state())
        return {
            "collected_steps": self._collector.steps,
            "replay_begun": self._replay_begun if with_replay else None,
        }

    def _restart(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Without saved replay memories, learn only after ``learning_starts`` new env steps."""
        self._replay_begun = steps = int(state["collected_steps"])
        if state["replay_begun"] is not None:
            # Copied from a memory map straight into the rings.
            tensors = checkpoints.read_tensors(CheckpointPaths(folder).replay)
            replay = {name: tensor.numpy() for name, tensor in tensors.items()}
            if self._buffer.can_restore(replay):
                self._buffer.restore(replay)
                self._replay_begun = int(state["replay_begun"])
        self._collector.restart(steps)

    def _run_round(self) -> None:
        dqn, steps = self._dqn, self._collector.steps + self._dqn.round_steps
        collector, learner = self._collector, self._learner
        collector.collect(self._networks.values, dqn.round_steps, learner.is_frozen)
        if collector.faults:
            learner.freeze(np.isin(np.arange(len(self._envs)), list(collector.faults)))
        if steps - self._replay_begun < dqn.learning_starts or not self._buffer.starts.any():
            return
        for _ in range(dqn.updates):
            sample = self._buffer.sample(dqn.batch)
            errors = self._learner.update(sample, steps)
            self._buffer.update_priorities(sample.slots, errors)

    def _build(self, device: torch.device) -> None:
        dqn, replicas = self._dqn, len(self._settings.seeds)
        envs, normalize = self._envs, self._settings.environment.normalize
        self._distribution = build_epsilon_greedy(envs.single_action_space)
        actions = self._distribution.input_size
        head = build_head(dqn, actions)
        architecture = build_q_architecture(
            dqn.model_config,
            observation_shape=self._encoder.shape,
            head=head,
            image_scale=normalize.image_scale,
        )
        self._networks = QNetworks(architecture, head, replicas=replicas, device=device)
        self._policy = self._networks.values
        self._networks.initialise(self._streams.torch_generators("initialisation"))
        self._learner = DQNLearner(self._networks, dqn)
        steps = bound_steps(self._settings.stop, dqn.iteration_steps + dqn.round_steps)
        frames = count_frames(self._settings.environment, envs.single_observation_space)
        replay = dataclasses.replace(dqn.replay, max_steps=steps, frames=frames)
        memory = describe_memory(
            replay,
            observation_space=envs.single_observation_space,
            action_space=envs.single_action_space,
            envs=dqn.envs,
            replicas=replicas,
        )
        check_free_memory(memory, replicas)
        store = ObservationStore(self._encoder)
        self._buffer = ReplayBuffer(
            store,
            replay,
            replicas=replicas,
            envs=dqn.envs,
            actions=actions,
            generators=self._streams["replay"],
        )
        self._collector = ReplayCollector(
            self._envs,
            self._buffer,
            store,
            epsilon=dqn.epsilon,
            distribution=self._distribution,
            action_generators=self._streams["actions"],
            env_generators=self._streams["environments"],
        )

    def _describe_agent(self) -> dict[str, Any]:
        head = self._networks.head
        return {
            **super()._describe_agent(),
            "dueling": head.is_dueling,
            "num_atoms": head.atoms,
            "v_min": head.v_min,
            "v_max": head.v_max,
            "epsilon": self._epsilon,  # agents of earlier versions have none
        }


def build_head(settings: DQNSettings, actions: int) -> QHead:
    """Build the head of a configuration's networks."""
    return QHead(
        actions=actions,
        is_dueling=settings.dueling,
        atoms=settings.num_atoms,
        v_min=settings.v_min,
        v_max=settings.v_max,
    )
