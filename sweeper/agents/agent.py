"""An agent that was trained: its actions, what they are drawn from, its values, its weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import gymnasium as gym
import numpy as np

from sweeper.agents.distributions import ActionDistribution, QValues, build_distribution
from sweeper.agents.episodes import Episode, action_generator, play_episodes
from sweeper.agents.network import NetworkTable, list_modules, list_torch_layers
from sweeper.agents.observations import Observations
from sweeper.agents.playing import Playground, open_playground, small_batches
from sweeper.environments.building import build_env
from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import UserError
from sweeper.trust import Trust, TrustLike, refuse_foreign

if TYPE_CHECKING:
    from sweeper.agents.video.record import Video
    from sweeper.agents.whereabouts import Whereabouts

__all__ = ["Agent", "Policy"]

_logger = logging.getLogger(__name__)

_IS_BARE = "the agent was read from a bare folder: its environment is not known"


class Policy(Protocol):
    """Acts on batches: `RLlibPolicy` or `TorchPolicy`.

    Attributes:
        observation_shape: of one observation as an array, flattened for a Dict or Tuple.
    """

    observation_shape: tuple[int, ...]

    def act(
        self, observations: Any, generator: np.random.Generator | None = None
    ) -> np.ndarray[Any, Any]:
        """Actions ``[batch, ...]`` for observations ``[batch, *observation]``.

        Greedy ones, or sampled with a generator.
        """

    def distribution(self, observations: Any) -> dict[str, Any]:
        """What actions are sampled from; see `TorchPolicy.distribution`."""

    def values(self, observations: Any) -> np.ndarray[Any, Any]:
        """The value of each state, ``float32[batch]``."""

    def q_values(self, observations: Any) -> dict[str, Any]:
        """Fields of `QValues`."""

    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """The network's weights, by name."""

    def normalisation(self) -> dict[str, np.ndarray[Any, Any]]:
        """Running moments of observations and rewards, by name."""


@dataclass(frozen=True, repr=False)
class Agent:
    """An agent, loaded; Ray is never started for it, and for one of torch not even imported.

    Observations are given as the environment returns them, one or a batch; what the agent does to
    them, such as one-hot encoding and normalisation, is part of it.

    Attributes:
        policy: acts on batches.
        observation_space: the environment's.
        action_space: the environment's.
        description: the contents of ``agent.json``; empty for RLlib's own checkpoint.
        seed: that the replica was trained with; None if that is not known.
        where: its folder, and what is known of the run; None if it was read from a bare folder.
    """

    policy: Policy
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    description: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    where: Whereabouts | None = None
    trust: TrustLike = Trust.OWN

    def act(
        self,
        observation: Any,
        *,
        explore: bool = False,
        seed: int | np.random.Generator | None = None,
    ) -> Any:
        """The action for an observation, as ``env.step`` takes it, or those for a batch.

        Args:
            observation: an element of the observation space, or a batch of them.
            explore: sample the action as in training: from the policy's distribution, or with the
                epsilon that DQN had come to. By default it is the greedy one.
            seed: of the sampling; a generator is drawn from, so it gives another action each time.

        Raises:
            ObservationError: the observation has another shape or type.
            UserError: the agent can't explore.
        """
        batch, is_single = self._observations.batch(observation)
        generator = np.random.default_rng(seed) if explore else None
        try:
            actions = self.policy.act(batch, generator)
        except ValueError as error:
            raise UserError(str(error)) from error
        return actions[0] if is_single else actions

    def act_batch(
        self, observations: Any, generator: np.random.Generator | None = None
    ) -> np.ndarray[Any, Any]:
        """The actions for a batch of observations, which are not looked at; see `Policy`."""
        return self.policy.act(observations, generator)

    def action_distribution(self, observation: Any) -> ActionDistribution:
        """What an agent that explores draws its actions from: `Categorical` or `Gaussian`.

        Args:
            observation: an element of the observation space, or a batch of them.

        Raises:
            ObservationError: the observation has another shape or type.
            UserError: the agent can't explore, or its distribution is of another kind.
        """
        batch, is_single = self._observations.batch(observation)
        try:
            parts = self.policy.distribution(batch)
        except ValueError as error:
            raise UserError(str(error)) from error
        return build_distribution(
            parts, is_single=is_single, act=lambda generator: self.policy.act(batch, generator)
        )

    def value(self, observation: Any) -> Any:
        """The discounted return that the agent expects from a state on, or from each of a batch.

        Of PPO it is the critic's, in the environment's rewards; of DQN the greatest Q-value.

        Raises:
            ObservationError: the observation has another shape or type.
            UserError: the algorithm has no value of a state.
        """
        batch, is_single = self._observations.batch(observation)
        try:
            values = self.policy.values(batch)
        except ValueError as error:
            raise UserError(str(error)) from error
        return float(values[0]) if is_single else values

    def q_values(self, observation: Any) -> QValues:
        """DQN's Q-values of a state, or of each of a batch, and what they are made of.

        Raises:
            ObservationError: the observation has another shape or type.
            UserError: the algorithm has no Q-values of each action.
        """
        batch, is_single = self._observations.batch(observation)
        try:
            found = self.policy.q_values(batch)
        except ValueError as error:
            raise UserError(str(error)) from error
        if is_single:
            found = {
                name: one if one is None or name == "atoms" else one[0]
                for name, one in found.items()
            }
        return QValues(**found)

    @property
    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """The network's weights by name; copies, so that changing them changes nothing."""
        return {name: np.array(array) for name, array in self.policy.weights().items()}

    @property
    def normalisation(self) -> dict[str, np.ndarray[Any, Any]]:
        """By what observations and rewards are normalised: running moments, by name; copies."""
        return {name: np.array(array) for name, array in self.policy.normalisation().items()}

    def env_runner_weights(self) -> dict[int, dict[str, np.ndarray[Any, Any]]]:
        """The weights of each of RLlib's env runners, by its index; see `runner_weights`.

        The algorithm is restored for it with its environment, so Ray is started unless it is
        running.

        Raises:
            UserError: the agent is not RLlib's, its environment is not trusted, or it can't be
                restored.
        """
        checkpoint = getattr(self.policy, "checkpoint", None)
        if checkpoint is None:
            raise UserError(
                "an agent of the torch backend has no env runners: one process steps the "
                "environments and trains, with the weights that `weights` gives"
            )
        is_known = self.where is not None and (
            self.where.run is not None or "environment" in self.where.description
        )
        if is_known:  # else it is in the pickle, which was loaded
            self._find_environment()
        from sweeper.agents.rllib_runners import runner_weights

        return runner_weights(checkpoint)

    @cached_property
    def network(self) -> NetworkTable:
        """The network's layers with their numbers of parameters; printed it is a table."""
        module = getattr(self.policy, "module", None)
        if module is not None:
            return NetworkTable(list_modules(module.named_modules()))
        shapes = {name: array.shape for name, array in self.policy.weights().items()}
        return NetworkTable(list_torch_layers(self.description["network"], shapes))

    def make_env(self, *, render_mode: str | None = None) -> gym.Env[Any, Any]:
        """Build the environment that it was trained in, with its module and wrappers.

        Args:
            render_mode: gymnasium's, such as ``rgb_array``.

        Raises:
            UserError: it is not known, can't be built, or its code is not trusted.
        """
        settings = self._find_environment()
        return build_env(settings.drawn_as(render_mode))

    def play(
        self,
        episodes: int = 1,
        seed: int = 0,
        *,
        explore: bool = False,
        max_episode_steps: int | None = None,
        allow_changed_environment: bool = False,
    ) -> Iterator[Episode]:
        """Play episodes in the environment that it was trained in, on seeds of their own.

        They are those of ``sweeper evaluate``: of the same seed the same ones.

        Args:
            episodes: how many.
            seed: which.
            explore: sample actions.
            max_episode_steps: an episode is cut after so many; None: as in the run.
            allow_changed_environment: play although the environment's code has changed since.

        Yields:
            Each episode, in order. All are played, side by side, before the first.

        Raises:
            UserError: the environment is not known, another one, not trusted, or can't be built,
                or the agent can't explore.
        """
        playground = self._prepare(episodes, seed, max_episode_steps, allow_changed_environment)
        try:
            with small_batches(self.description):
                returns, lengths = play_episodes(
                    self,
                    playground.settings,
                    episodes=episodes,
                    seed=seed,
                    max_episode_steps=playground.guard,
                    generator=action_generator(seed, self.seed) if explore else None,
                )
        except ValueError as error:  # of the policy
            raise UserError(str(error)) from error
        yield from map(Episode, returns, lengths)

    def record(
        self,
        file: str | Path,
        episodes: int = 3,
        seed: int = 0,
        *,
        explore: bool = False,
        max_episode_steps: int | None = None,
        fps: float | None = None,
        width: int | None = None,
        allow_changed_environment: bool = False,
    ) -> Video:
        """Film the episodes of `play`, as ``sweeper video`` does.

        Args:
            file: a name that ends in ``.gif`` or ``.mp4``.
            episodes: how many.
            seed: which.
            explore: sample actions.
            max_episode_steps: an episode is cut after so many; None: as in the run.
            fps: frames a second; None: as the environment says.
            width: of the pictures, in pixels; None: the frames', at most 600.
            allow_changed_environment: play although the environment's code has changed since.

        Raises:
            UserError: as `play`, the environment can't draw itself, or the file can't be written.
        """
        from sweeper.agents.video.record import VideoSettings, record_video

        playground = self._prepare(episodes, seed, max_episode_steps, allow_changed_environment)
        with small_batches(self.description):
            return record_video(
                self,
                playground.settings,
                VideoSettings(Path(file), self.title, fps, width),
                episodes=episodes,
                seed=seed,
                max_episode_steps=playground.guard,
                generator=action_generator(seed, self.seed) if explore else None,
            )

    def _prepare(
        self, episodes: int, seed: int, max_episode_steps: int | None, allows_code: bool
    ) -> Playground:
        if episodes < 1:
            raise UserError(f"episodes is {episodes}; it must be at least 1")
        if seed < 0:
            raise UserError(f"seed is {seed}; it must be at least 0")
        if self.where is None:
            raise UserError(_IS_BARE)
        return open_playground(
            self.where,
            max_episode_steps=max_episode_steps,
            allow_changed_environment=allows_code,
            trust=self.trust,
            say=_logger.info,
        )

    def _find_environment(self) -> EnvironmentSettings:
        """The environment's settings, after whose code it is was looked at."""
        if self.where is None:
            raise UserError(_IS_BARE)
        foreign = self.where.foreign_environment(self.trust)
        refuse_foreign(foreign, name=str(self.where.folder), trust=self.trust, say=_logger.info)
        return self.where.environment()[1]

    @property
    def title(self) -> tuple[str, ...]:
        """Who it is, as in ``("champion t0003", "seed 7")``; untrusted text."""
        name = "agent" if self.where is None else self.where.title
        return (name,) if self.seed is None else (name, f"seed {self.seed}")

    @property
    def algorithm(self) -> str:
        """As a spec names it; ``?`` where the checkpoint does not say."""
        if self.where is not None:
            named = self.where.algorithm
        else:
            named = str(self.description.get("algorithm", "?"))
        return str(getattr(self.policy, "algorithm", "?")) if named == "?" else named

    def __repr__(self) -> str:
        known = [self.algorithm, str(self.description.get("backend", "rllib"))]
        if self.seed is not None:
            known.append(f"seed {self.seed}")
        environment = self.description.get("environment")
        if isinstance(environment, Mapping) and "id" in environment:
            known.append(str(environment["id"]))
        place = f", {self.where.folder}" if self.where is not None else ""
        return f"<Agent {', '.join(known)}{place}>"

    @cached_property
    def _observations(self) -> Observations:
        return Observations(self.observation_space)
