"""The RLlib backend: one Algorithm of the new API stack per replica, all in one process.

RLlib draws from the process-wide generators of ``random``, numpy and torch, and seeds its replay
buffers from the operating system. Therefore every replica owns generator states that are swapped
in for its turn, and its replay buffer is seeded after the build. A replica gives bit for bit the
same numbers alone and beside others.
"""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED,
)

from sweeper.environments.building import build_env
from sweeper.environments.modules import import_module
from sweeper.environments.settings import EnvironmentBuildError
from sweeper.errors import ConfigurationRefusedError
from sweeper.paths import CheckpointPaths
from sweeper.spec.keys.support import supports
from sweeper.trainables.contract import (
    NON_FINITE_POLICY,
    EnvironmentFailedError,
    EvaluationResult,
    EvaluationSettings,
    Examination,
    NetworkDescription,
    ReplicaProgress,
    TrialSettings,
)
from sweeper.trainables.generators import Generators
from sweeper.trainables.rllib_backend.config import (
    EPISODE_LENGTHS,
    EPISODE_RETURNS,
    build_algorithm_config,
)
from sweeper.trainables.rllib_backend.evaluation import Evaluator, module_state
from sweeper.trainables.rllib_backend.schedules import follow_schedules
from sweeper.trainables.rllib_backend.weights import (
    begin_with,
    build_module,
    describe_module,
    read_weights,
)
from sweeper.trainables.seeding import Purpose, derive_seed, seed_sequence, start_anew
from sweeper.trainables.spaces import check_spaces
from sweeper.veil import veil

__all__ = ["RLlibTrainer"]

_logger = logging.getLogger(__name__)

# Entries of RLlib's learner results that are no losses or statistics.
_BOOKKEEPING = (
    "diff_num_grad_updates_vs_sampler_policy",
    "module_train_batch_size_mean",
    "num_module_steps_trained",
    "num_trainable_parameters",
    "num_non_trainable_parameters",
    "weights_seq_no",
)


@dataclass
class _Replica:
    """One training run; its Algorithm is built in its first turn, and stopped if it diverges."""

    seed: int
    generators: Generators
    algorithm: Algorithm | None = None
    env_steps: int = 0
    diverged: bool = False
    cause: str | None = None


class RLlibTrainer:
    """RLlib's `ReplicaTrainer`; builds the Algorithms when they are first needed.

    Raises:
        ConfigurationRefusedError: RLlib refuses the configuration: raised by the constructor, or
            by the first `train` if only building the Algorithm shows it.
    """

    def __init__(self, settings: TrialSettings, configuration: Mapping[str, Any]) -> None:
        self._settings = settings
        self._configuration = configuration
        self._branch: int | None = None
        environment = settings.environment
        for module in (environment.module, environment.id.rpartition(":")[0]):
            if module:
                import_module(module, environment.search_paths)
        _check_default_dtype(settings.algorithm)
        torch.set_num_threads(max(1, int(settings.cpus)))
        self._replicas = [
            _Replica(seed, Generators(derive_seed(seed, settings.stage, Purpose.TRAINING)))
            for seed in settings.seeds
        ]
        build_algorithm_config(settings, configuration, seed=0)

    @classmethod
    def describe_network(
        cls,
        settings: TrialSettings,
        configuration: Mapping[str, Any],
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
    ) -> NetworkDescription:
        """What weights of a configuration must be like."""
        config = build_algorithm_config(settings, configuration, seed=0)
        return describe_module(build_module(config, observation_space, action_space))

    def train(self) -> list[ReplicaProgress]:
        """Train every replica for one iteration of its Algorithm, one after the other."""
        return [self._train_replica(replica) for replica in self._replicas]

    def evaluate(self, examination: Examination | None = None) -> list[EvaluationResult | None]:
        """Play the held-out episodes, the same ones at every evaluation.

        Replicas that diverge in it are frozen.
        """
        if examination is None:
            settings = self._settings.evaluation or EvaluationSettings()
            examination = Examination(settings, self._settings.stage)
        return [
            self._evaluate_replica(replica, examination) if examination.includes(index) else None
            for index, replica in enumerate(self._replicas)
        ]

    def save(self, folder: Path) -> dict[str, Any]:
        """Write an RLlib checkpoint for every replica that has not diverged."""
        for replica in self._replicas:
            if not replica.diverged:
                with replica.generators.swapped_in():
                    path = CheckpointPaths(folder.absolute()).replica(replica.seed)
                    self._build_once(replica).save_to_path(str(path))
        return {
            "env_steps": [replica.env_steps for replica in self._replicas],
            "diverged": [replica.diverged for replica in self._replicas],
        }

    def restore(self, folder: Path, state: Mapping[str, Any], *, branch: int | None = None) -> None:
        """Build every replica and load its checkpoint.

        RLlib saves neither environments, replay nor generators. The replica continues with new
        episodes, an empty replay and random numbers derived for this restart.
        """
        self._branch = branch
        for replica, env_steps, diverged in zip(
            self._replicas, state["env_steps"], state["diverged"], strict=True
        ):
            self._drop(replica)
            replica.env_steps, replica.diverged = int(env_steps), bool(diverged)
            if diverged:
                continue
            seed = self._training_seed(replica)
            replica.generators = Generators(seed)
            with replica.generators.swapped_in():
                path = CheckpointPaths(folder.absolute()).replica(replica.seed)
                algorithm = self._build_once(replica)
                algorithm.restore_from_path(str(path))
                follow_schedules(algorithm, replica.env_steps)

    def begin(self, folder: Path) -> None:
        """Build every replica, and give it its weights in the folder."""
        weights = read_weights(folder)
        for index, replica in enumerate(self._replicas):
            with replica.generators.swapped_in():
                own = {name: array[index] for name, array in weights.items()}
                begin_with(self._build_once(replica), own)

    def close(self) -> None:
        """Stop every Algorithm and close the environments."""
        for replica in self._replicas:
            self._drop(replica)

    def _train_replica(self, replica: _Replica) -> ReplicaProgress:
        if replica.diverged:
            return ReplicaProgress(env_steps=replica.env_steps, diverged=True, cause=replica.cause)
        with replica.generators.swapped_in():
            algorithm = self._build_once(replica)
            try:
                result = algorithm.train()
            except Exception as error:
                fault = _find_fault(error)
                if fault is not None:
                    replica.cause = f"{self._name(replica)}: {veil(str(fault))}"
                    if not hasattr(fault, "is_non_finite"):
                        raise EnvironmentFailedError(replica.cause) from error
                # Non-finite weights show in the first action sampled from them.
                elif not (_is_numeric_failure(error) or _has_diverged(algorithm, {})):
                    raise
                result = {}
        sampled = result.get(ENV_RUNNER_RESULTS, {})
        learner = result.get(LEARNER_RESULTS, {}).get(DEFAULT_MODULE_ID, {})
        new_env_steps = sampled.get(NUM_ENV_STEPS_SAMPLED, 0)
        if math.isfinite(new_env_steps):  # NaN: separate env runners delivered none
            replica.env_steps += int(new_env_steps)
        returns, lengths = _finished_episodes(sampled)
        if not np.isfinite(returns).all():  # below a wrapper that hides it
            replica.cause = f"{self._name(replica)}: an episode's return is not finite"
            returns, lengths = [], []
        if not result or replica.cause is not None or _has_diverged(algorithm, learner):
            replica.diverged = True
            self._drop(replica)
        return ReplicaProgress(
            env_steps=replica.env_steps,
            episode_returns=tuple(returns),
            episode_lengths=tuple(lengths),
            learner=dict(_learner_scalars(learner)),
            diverged=replica.diverged,
            cause=replica.cause,
        )

    def _name(self, replica: _Replica) -> str:
        return f"{self._settings.environment.id}, seed {replica.seed}"

    def _evaluate_replica(
        self, replica: _Replica, examination: Examination
    ) -> EvaluationResult | None:
        if replica.diverged:
            return None
        settings, stage = examination.settings, examination.stage
        with replica.generators.swapped_in():
            algorithm = self._build_once(replica)
        generators = Generators(derive_seed(replica.seed, stage, Purpose.EVALUATION_ACTIONS))
        with generators.swapped_in():
            env_seed = derive_seed(replica.seed, stage, Purpose.EVALUATION_ENVIRONMENTS)
            # A new one each time: in a used environment the same seed can begin another episode
            # (BipedalWalker), and a wrapper can carry something on.
            evaluator = Evaluator(algorithm, settings, self._settings.environment)
            try:
                result = evaluator.play(algorithm, env_seed, replica.env_steps)
            except Exception as error:
                result = EvaluationResult.failed(self._explain_failure(replica, error))
            finally:
                evaluator.close()
        if result.diverged:
            replica.diverged, replica.cause = True, result.cause
            self._drop(replica)
        return result

    def _explain_failure(self, replica: _Replica, error: Exception) -> str:
        """Why a replica diverged in an evaluation.

        Raises:
            EnvironmentFailedError: the environment returned what it must not.
            Exception: the error itself, if it tells of nothing that is not finite.
        """
        fault = _find_fault(error)
        if fault is None:
            if not _is_numeric_failure(error):
                raise error
            return NON_FINITE_POLICY
        words = f"{self._name(replica)}, in an evaluation: {veil(str(fault))}"
        if not hasattr(fault, "is_non_finite"):
            raise EnvironmentFailedError(words) from error
        return words

    def _training_seed(self, replica: _Replica) -> int:
        """A new seed for every restart, or environments would repeat their first episodes."""
        stage = self._settings.stage
        if not replica.env_steps:
            return derive_seed(replica.seed, stage, Purpose.TRAINING)
        root = seed_sequence(replica.seed, stage, Purpose.TRAINING)
        restart = start_anew(root, replica.env_steps, self._branch)
        return int(restart.generate_state(1)[0] >> 1)

    def _build_once(self, replica: _Replica) -> Algorithm:
        if replica.algorithm is None:
            config = build_algorithm_config(
                self._settings,
                self._configuration,
                seed=self._training_seed(replica),
                env_steps=replica.env_steps,
            )
            algorithm = replica.algorithm = self._build(config)
            # Every Algorithm, as a Trainable, makes an empty folder in ~/ray_results.
            shutil.rmtree(algorithm.logdir, ignore_errors=True)
            self._check_spaces(*algorithm.env_runner.get_spaces()[INPUT_ENV_SINGLE_SPACES])
            buffer = algorithm.local_replay_buffer
            if buffer is not None and hasattr(buffer, "rng"):
                # rllib/utils/replay_buffers/episode_replay_buffer.py: default_rng(seed=None)
                root = seed_sequence(replica.seed, self._settings.stage, Purpose.REPLAY)
                restart = start_anew(root, replica.env_steps, self._branch)
                buffer.rng = np.random.default_rng(restart)
        return replica.algorithm

    def _build(self, config: AlgorithmConfig) -> Algorithm:
        try:
            return config.build_algo()
        except Exception:  # for spaces without a network an AttributeError, or any other
            environment = self._settings.environment
            with contextlib.suppress(EnvironmentBuildError), build_env(environment) as env:
                self._check_spaces(env.observation_space, env.action_space)
            raise

    def _check_spaces(self, observation: Any, action: Any) -> None:
        network = self._configuration.get("model_config")
        check_spaces(self._settings, observation, action, network)

    def _drop(self, replica: _Replica) -> None:
        if replica.algorithm is not None:
            algorithm, replica.algorithm = replica.algorithm, None
            try:
                algorithm.stop()
            except Exception:  # e.g. of an environment's close(); nothing depends on it
                _logger.exception("an Algorithm did not stop cleanly")


def _check_default_dtype(algorithm: str) -> None:
    """RLlib's networks have torch's default dtype, its batches are float32."""
    dtype = torch.get_default_dtype()
    if dtype is not torch.float32:
        other = ", or use backend: torch" if supports("torch", algorithm) else ""
        raise ConfigurationRefusedError(
            f"environment.module sets torch's default dtype to {dtype}, but RLlib needs "
            f"torch.float32; give the dtype where the simulator makes its tensors{other}"
        )


def _has_diverged(algorithm: Algorithm, learner: Mapping[str, Any]) -> bool:
    """Whether a loss or a weight is not finite (RLlib turns NaN gradients into zeros).

    In an iteration without an update, e.g. while a restored replay fills, RLlib reports NaN for
    everything that the learner has ever logged.
    """
    updated = math.isfinite(float(learner.get("num_module_steps_trained", math.nan)))
    losses = [value for key, value in learner.items() if updated and key.endswith("loss")]
    if not all(math.isfinite(float(value)) for value in losses):
        return True
    weights = module_state(algorithm, inference_only=False)[DEFAULT_MODULE_ID]
    return not all(
        np.isfinite(array).all()
        for array in map(np.asarray, weights.values())
        if np.issubdtype(array.dtype, np.floating)
    )


def _find_fault(error: BaseException | None) -> BaseException | None:
    """The `EnvironmentFault` behind an error of RLlib's, Ray's or a vector environment's."""
    while error is not None and not hasattr(error, "is_environment_fault"):
        remote = getattr(error, "cause", None)
        error = remote if isinstance(remote, BaseException) else error.__cause__
    return error


def _is_numeric_failure(error: BaseException) -> bool:
    """Whether sampling failed because logits or probabilities are not finite.

    Products of finite weights can overflow. torch.distributions then reports "invalid values",
    torch.multinomial "inf, nan or element < 0".
    """
    text = str(error)
    return isinstance(error, FloatingPointError) or (
        isinstance(error, ValueError | RuntimeError)
        and ("invalid values" in text or "`inf`, `nan`" in text)
    )


def _finished_episodes(sampled: Mapping[str, Any]) -> tuple[list[float], list[int]]:
    """Returns and lengths of the episodes that ended in this iteration.

    RLlib gives a series as a list for two items or more, as the item itself for one, and as NaN
    for none. A single return may be NaN too, so the lengths decide.
    """
    returns, lengths = sampled.get(EPISODE_RETURNS), sampled.get(EPISODE_LENGTHS)
    if isinstance(returns, list) and isinstance(lengths, list):
        return [float(value) for value in returns], [int(length) for length in lengths]
    if returns is None or lengths is None or not math.isfinite(lengths):
        return [], []
    return [float(returns)], [int(lengths)]


def _learner_scalars(learner: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in learner.items():
        if key.startswith(_BOOKKEEPING) or isinstance(value, Mapping | list | str):
            continue
        with contextlib.suppress(TypeError, ValueError):
            number = float(value)
            if math.isfinite(number):
                yield key, number
