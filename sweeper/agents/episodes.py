"""Play whole episodes with an agent, each on an environment seed of its own."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np

from sweeper.environments.building import build_env
from sweeper.environments.containment import USER_ERRORS, close_quietly, contained, seed_process
from sweeper.environments.modules import summarise
from sweeper.environments.outcomes import OWN_REWARD, CheckedEnv, EnvironmentFault
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings
from sweeper.errors import UserError
from sweeper.trainables.examination import AGENT_STAGE
from sweeper.trainables.seeding import Purpose, seed_sequence
from sweeper.veil import veil

__all__ = [
    "Camera",
    "Episode",
    "Player",
    "Step",
    "Tally",
    "action_generator",
    "action_seeds",
    "episode_seeds",
    "play_episodes",
    "walk_episodes",
]

_MAX_ENVS = 20
_MAX_SMALL_ENVS = 100  # of observations of at most so many numbers:
_SMALL = 1000


class Episode(NamedTuple):
    """A played episode: its return, in the rewards below all wrappers, and its env steps."""

    episode_return: float
    length: int


class Step(NamedTuple):
    """One step of an episode.

    Attributes:
        episode: from 0.
        step: from 0 in each episode.
        observation: before the action.
        action: as the environment was given it.
        reward: below all wrappers.
        terminated: as the environment said.
        truncated: the same, or the episode was cut.
        frame: what the environment looked like before the action; None if no frame was taken.
        last_frame: the same after the episode's last action; None before.
    """

    episode: int
    step: int
    observation: Any
    action: Any
    reward: float
    terminated: bool
    truncated: bool
    frame: Any = None
    last_frame: Any = None


@dataclass
class Tally:
    """Counts what episodes come to, step by step.

    Attributes:
        returns: one per episode.
        lengths: the same, in env steps.
    """

    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def begin(self, step: int) -> None:
        """Begin another episode if this is the first step of one."""
        if step == 0:
            self.returns.append(0.0)
            self.lengths.append(0)

    def add(self, reward: float) -> None:
        """Count a step of the episode that was begun."""
        self.returns[-1] += reward
        self.lengths[-1] += 1


class Player(Protocol):
    """Acts: `sweeper.agents.agent.Agent`."""

    def act(
        self,
        observation: Any,
        *,
        explore: bool = False,
        seed: int | np.random.Generator | None = None,
    ) -> Any:
        """The action for one observation."""

    def act_batch(
        self, observations: Any, generator: np.random.Generator | None = None
    ) -> np.ndarray[Any, Any]:
        """The actions for an array of observations; greedy without a generator."""


class Camera(Protocol):
    """Takes frames: `sweeper.agents.video.rendering.Camera`."""

    def __call__(
        self, env: gymnasium.Env[Any, Any], step: int = 0, *, is_last: bool = False
    ) -> Any:
        """A frame after so many steps of an episode; None if it is not wanted."""


def action_generator(seed: int, trained_with: int | None) -> np.random.Generator:
    """The generator that an agent's actions are sampled with.

    Args:
        seed: of the episodes.
        trained_with: the agent's seed, if it is known: each replica has a stream of its own.
    """
    return np.random.default_rng(action_seeds(seed, trained_with))


def action_seeds(seed: int, trained_with: int | None) -> np.random.SeedSequence:
    """What that generator is made from; the same arguments."""
    root = seed_sequence(seed, AGENT_STAGE, Purpose.EVALUATION_ACTIONS)
    key = 0 if trained_with is None else trained_with + 1
    return np.random.SeedSequence(root.entropy, spawn_key=(key,))


def play_episodes(
    player: Player,
    settings: EnvironmentSettings,
    *,
    episodes: int,
    seed: int,
    max_episode_steps: int | None = None,
    generator: np.random.Generator | None = None,
) -> tuple[list[float], list[int]]:
    """Play whole episodes; the n-th always has the same seed, however they are distributed.

    Args:
        player: acts.
        settings: of the environment.
        episodes: how many. Each counts once; short ones, which end first, are not preferred.
        seed: which episodes.
        max_episode_steps: an episode is cut after so many steps; None: by the environment only.
        generator: actions are sampled with it, over all episodes; None: they are greedy.

    Returns:
        Returns, in the rewards below all wrappers, and lengths, one per episode, in order.

    Raises:
        UserError: the environment returned what it must not.
    """
    seeds = episode_seeds(seed, episodes)
    with contained():
        seed_process(seeds[0])  # for environments without a generator of their own
        return _play(player, settings, seeds, max_episode_steps, generator)


def walk_episodes(
    player: Player,
    settings: EnvironmentSettings,
    *,
    episodes: int,
    seed: int,
    max_episode_steps: int | None = None,
    generator: np.random.Generator | None = None,
    camera: Camera | None = None,
) -> Generator[Step, None, None]:
    """Play the same episodes one after the other, and show every step.

    Args:
        player: acts.
        settings: of the environment; for a camera it needs a ``render_mode`` of arrays.
        episodes: how many.
        seed: which; those of `play_episodes`.
        max_episode_steps: an episode is cut after so many steps; None: by the environment only.
        generator: actions are sampled with it; None: they are greedy.
        camera: takes the frames that steps have.

    Raises:
        UserError: the environment returned what it must not.
    """
    seeds = episode_seeds(seed, episodes)
    with contained():
        seed_process(seeds[0])
        for episode, first in enumerate(seeds):
            # A new one each time: some begin another episode of the same seed once they were used.
            env = CheckedEnv(build_env(settings, enforces_order=False), refuses_non_finite=True)
            try:
                with _explaining(settings):
                    yield from _walk(
                        player, env, episode, first, max_episode_steps, generator, camera
                    )
            finally:
                close_quietly(env.close)


def _walk(
    player: Player,
    env: gymnasium.Env[Any, Any],
    episode: int,
    seed: int,
    max_episode_steps: int | None,
    generator: np.random.Generator | None,
    camera: Camera | None,
) -> Iterator[Step]:
    observation, step, is_over = env.reset(seed=seed)[0], 0, False
    frame = camera(env) if camera else None
    while not is_over:
        action = player.act(observation, explore=generator is not None, seed=generator)
        after, reward, terminated, truncated, info = env.step(action)
        is_cut = step + 1 == max_episode_steps and not terminated
        is_over = bool(terminated or truncated or is_cut)
        shown = camera(env, step + 1, is_last=is_over) if camera else None
        yield Step(
            episode,
            step,
            observation,
            action,
            float(info.get(OWN_REWARD, reward)),
            bool(terminated),
            bool(truncated or is_cut),
            frame,
            shown if is_over else None,
        )
        observation, frame, step = after, shown, step + 1


def episode_seeds(seed: int, episodes: int) -> list[int]:
    """With which seed each episode begins."""
    sequence = seed_sequence(seed, AGENT_STAGE, Purpose.EVALUATION_ENVIRONMENTS)
    return [int(word >> 1) for word in sequence.generate_state(episodes)]


def _play(
    player: Player,
    settings: EnvironmentSettings,
    seeds: Sequence[int],
    max_episode_steps: int | None,
    generator: np.random.Generator | None,
) -> tuple[list[float], list[int]]:
    episodes = len(seeds)
    envs = _build_envs(settings, episodes)
    returns, lengths = [0.0] * episodes, [0] * episodes
    try:
        waiting = iter(range(episodes))
        playing: list[tuple[Any, int, Any]] = []
        for env, episode in zip(envs, waiting, strict=False):
            with _explaining(settings):
                observation = env.reset(seed=seeds[episode])[0]
            playing.append((env, episode, observation))
        while playing:
            actions = _act(player, [observation for _, _, observation in playing], generator)
            going_on = []
            with _explaining(settings):  # once for all of them: it takes longer than some steps
                for (env, episode, _), action in zip(playing, actions, strict=True):
                    observation, reward, terminated, truncated, info = env.step(action)
                    returns[episode] += float(info.get(OWN_REWARD, reward))
                    lengths[episode] += 1
                    is_cut = lengths[episode] == max_episode_steps
                    if not (terminated or truncated or is_cut):
                        going_on.append((env, episode, observation))
                    elif (following := next(waiting, None)) is not None:
                        observation, _ = env.reset(seed=seeds[following])
                        going_on.append((env, following, observation))
            playing = going_on
    finally:
        for env in envs:
            close_quietly(env.close)
    return returns, lengths


def _build_envs(settings: EnvironmentSettings, episodes: int) -> list[gymnasium.Env[Any, Any]]:
    """Build environments to play in side by side; one, if a process can hold no more."""
    envs = [build_env(settings, enforces_order=False)]
    shape = envs[0].observation_space.shape
    is_small = shape is not None and math.prod(shape) <= _SMALL
    number = min(episodes, _MAX_SMALL_ENVS if is_small else _MAX_ENVS)
    with contextlib.suppress(EnvironmentBuildError):
        envs.extend(build_env(settings, enforces_order=False) for _ in range(number - 1))
    return [CheckedEnv(env, refuses_non_finite=True) for env in envs]


@contextlib.contextmanager
def _explaining(settings: EnvironmentSettings) -> Iterator[None]:
    try:
        yield
    except UserError:  # of the agent
        raise
    except EnvironmentFault as fault:
        raise UserError(f"{settings.id}: {veil(str(fault))}") from fault
    except USER_ERRORS as error:
        raise UserError(f"environment {settings.id} failed: {summarise(error)}") from error


def _act(
    player: Player, observations: Sequence[Any], generator: np.random.Generator | None
) -> Sequence[Any]:
    first = observations[0]
    if isinstance(first, np.ndarray):
        return list(player.act_batch(np.stack(observations), generator))
    return [
        player.act(observation, explore=generator is not None, seed=generator)
        for observation in observations
    ]
