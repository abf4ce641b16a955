"""Plays whole episodes with a replica's Algorithm, for evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from sweeper.environments.containment import close_quietly
from sweeper.environments.settings import EnvironmentSettings
from sweeper.trainables.contract import (
    NON_FINITE_POLICY,
    EvaluationResult,
    EvaluationSettings,
)
from sweeper.trainables.rllib_backend.config import make_return_counter, set_environment

__all__ = ["Evaluator", "module_state"]

_CHUNK_STEPS = 32


class Evaluator:
    """One env runner that plays the episodes of every replica of the trial."""

    def __init__(
        self,
        algorithm: Algorithm,
        settings: EvaluationSettings,
        environment: EnvironmentSettings,
    ) -> None:
        self._settings = settings
        self._quotas = settings.quotas
        self._finished: list[list[tuple[float, int]]] = [[] for _ in self._quotas]
        finished, sum_rewards = self._finished, make_return_counter()

        def record(*, episode, env_index, prev_episode_chunks=(), **_):  # type: ignore[no-untyped-def]
            total = sum_rewards([*prev_episode_chunks, episode])
            finished[env_index].append((float(total), int(episode.t)))

        config = algorithm.config.copy(copy_frozen=False)
        config.env_runners(num_env_runners=0, num_envs_per_env_runner=len(self._quotas))
        config.in_evaluation = True
        self._environment = fixed = settings.fix_episodes(environment)
        if fixed is not environment:
            set_environment(config, fixed)
        self._runner = type(algorithm.env_runner)(config=config, worker_index=0, num_workers=0)
        # Set on the runner's own copy: the constructor deep-copies the config, and `finished`.
        self._runner.config.callbacks(on_episode_end=record)
        self._env_steps = 0
        self._guard(self._runner.module)

    def play(self, algorithm: Algorithm, env_seed: int, env_steps: int) -> EvaluationResult:
        """Play all episodes, the same ones for the same seed.

        Args:
            algorithm: whose policy plays.
            env_seed: of the environments.
            env_steps: that it was trained for: where the schedule of an exploration is.

        Raises:
            FloatingPointError: the policy's outputs are not finite.
            EnvironmentFault: an episode that has a time limit does not end.
        """
        self._env_steps = env_steps
        runner = self._runner
        runner.set_state(
            {
                **algorithm.env_runner.get_state(not_components=[COMPONENT_RL_MODULE]),
                COMPONENT_RL_MODULE: module_state(algorithm, inference_only=True),
                NUM_ENV_STEPS_SAMPLED_LIFETIME: 0,
            }
        )
        for episodes in self._finished:
            episodes.clear()
        # Makes the next sample() reset the environments with this seed.
        runner._seed, runner._needs_initial_reset = env_seed, True
        while any(
            len(done) < quota for done, quota in zip(self._finished, self._quotas, strict=True)
        ):
            steps = _CHUNK_STEPS * len(self._quotas)
            played = runner.sample(num_timesteps=steps, explore=self._settings.explore)
            self._settings.refuse_endless(max(one.t for one in played), self._environment)
            runner.get_metrics()  # frees the data of finished episodes
        cap = self._settings.max_episode_steps
        return EvaluationResult.count(self._finished, self._quotas, cap)

    def close(self) -> None:
        """Close the environments."""
        close_quietly(self._runner.stop)

    def _guard(self, module: Any) -> None:
        """Have a module refuse outputs that are not finite, and explore as it did last.

        Its env runner would begin schedules anew, and greedy actions can't show such outputs.
        """

        def guard(name: str) -> None:
            forward = getattr(module, name)

            def guarded(*args: Any, **kwargs: Any) -> Any:
                if "t" in kwargs:
                    kwargs["t"] = self._env_steps
                outputs = forward(*args, **kwargs)
                _refuse_non_finite(outputs)
                return outputs

            setattr(module, name, guarded)

        for name in ("forward_inference", "forward_exploration", "compute_q_values"):
            if hasattr(module, name):
                guard(name)


def _refuse_non_finite(outputs: Mapping[str, Any]) -> None:
    for output in outputs.values():
        is_float = isinstance(output, torch.Tensor) and output.is_floating_point()
        if is_float and not torch.isfinite(output).all():
            raise FloatingPointError(NON_FINITE_POLICY)


def module_state(algorithm: Algorithm, *, inference_only: bool) -> Any:
    """The state of an Algorithm's RLModule."""
    return algorithm.learner_group.get_state(
        components=f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}", inference_only=inference_only
    )[COMPONENT_LEARNER][COMPONENT_RL_MODULE]
