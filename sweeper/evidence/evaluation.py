"""Play episodes with trained agents, on environment seeds that nothing else uses."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from sweeper.agents.agent import Agent, load_agent
from sweeper.agents.locate import find_agents, read_description
from sweeper.environments.building import build_env, describe
from sweeper.environments.containment import USER_ERRORS, contained, seed_process
from sweeper.environments.identity import EnvironmentIdentity, identify, refuse_changes
from sweeper.environments.modules import summarise
from sweeper.environments.outcomes import OWN_REWARD, CheckedEnv, EnvironmentFault
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings
from sweeper.errors import UserError
from sweeper.evidence.champions_runs import ChampionsRuns, describe_champion
from sweeper.evidence.statistics import Summary, summarise_sample
from sweeper.journal import LaunchStarted, read_journal
from sweeper.paths import RunPaths, find_run, is_run, run_reference
from sweeper.relocation import find_modules, relocate
from sweeper.spec import load_record
from sweeper.trainables.contract import MAX_EPISODE_STEPS
from sweeper.trainables.seeding import Purpose, seed_sequence
from sweeper.trust import find_foreign_environment, find_foreign_pickles, refuse_foreign
from sweeper.veil import veil

__all__ = ["AgentEvaluation", "Evaluation", "evaluate", "play_episodes"]

_logger = logging.getLogger(__name__)

_MAX_ENVS = 20
_MAX_SMALL_ENVS = 100  # of observations of at most so many numbers:
_SMALL = 1000
_STAGE = "agent evaluation"


@dataclass(frozen=True)
class AgentEvaluation:
    """One agent's episodes.

    Attributes:
        name: of its folder, e.g. ``replica_0``.
        returns: one per episode.
        lengths: one per episode, in env steps.
    """

    name: str
    returns: tuple[float, ...]
    lengths: tuple[int, ...]

    @property
    def mean(self) -> float:
        """The mean return."""
        try:
            return math.fsum(self.returns) / len(self.returns)
        except (OverflowError, ValueError):  # beyond the largest float, or both infinities
            return sum(self.returns) / len(self.returns)


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one agent, or of all replicas of a checkpoint.

    Attributes:
        episodes: how many each agent played.
        seed: which episodes.
        max_episode_steps: an episode was cut after so many steps; None: by the environment only.
        environment_changes: how the environment differs from the one of the training, where that
            was allowed.
        champion: whose agent played, if that of a run did.
    """

    folder: Path
    environment: str
    episodes: int
    seed: int
    agents: tuple[AgentEvaluation, ...]
    max_episode_steps: int | None = None
    environment_changes: tuple[str, ...] = ()
    champion: ChampionsRuns | None = None

    @property
    def num_capped(self) -> int:
        """How many episodes of all agents reached ``max_episode_steps``."""
        cap = self.max_episode_steps
        lengths = [length for agent in self.agents for length in agent.lengths]
        return 0 if cap is None else sum(length >= cap for length in lengths)

    @property
    def summary(self) -> Summary:
        """Over the means of several replicas, or over the episodes of one agent.

        The latter says nothing about training again.
        """
        if len(self.agents) > 1:
            return summarise_sample([agent.mean for agent in self.agents])
        return summarise_sample(self.agents[0].returns)

    @property
    def unit(self) -> str:
        """The unit of the sample that the interval is computed from."""
        return "training runs" if len(self.agents) > 1 else "episodes of one agent"

    def to_json(self) -> dict[str, Any]:
        """The object that `sweeper evaluate --json` prints."""
        return {
            "checkpoint": str(self.folder),
            "environment": self.environment,
            "episodes": self.episodes,
            "seed": self.seed,
            "max_episode_steps": self.max_episode_steps,
            "num_capped_episodes": self.num_capped,
            "environment_changes": list(self.environment_changes),
            **self.summary.to_json(),
            "interval_over": self.unit,
            "runs": [agent.mean for agent in self.agents],
            "champion": None if self.champion is None else asdict(self.champion),
            "agents": [
                {
                    "agent": agent.name,
                    **summarise_sample(agent.returns).to_json(),
                    "returns": list(agent.returns),
                    "lengths": list(agent.lengths),
                }
                for agent in self.agents
            ],
        }


def evaluate(
    target: str,
    storage: str,
    *,
    episodes: int = 100,
    seed: int = 0,
    replica: int | None = None,
    max_episode_steps: int | None = None,
    allow_changed_environment: bool = False,
    trust: bool = False,
    say: Callable[[str], None] = _logger.info,
) -> Evaluation:
    """Play episodes with a run's champion, or with a checkpoint.

    Args:
        target: a run (name, path or ``last``), whose champion plays; a trial's checkpoint, all
            of whose replicas play; or the folder of a single agent.
        storage: the folder that holds the runs.
        episodes: how many each agent plays.
        seed: which episodes; the same for every agent, so that results can be compared.
        replica: only the replica that was trained with this seed.
        max_episode_steps: an episode is cut after so many steps and counts with what it has
            earned; None: as in the run, whose default holds where there is no run.
        allow_changed_environment: play although the code of the environment has changed since the
            training.
        trust: import and unpickle what this user did not make on this machine.
        say: receives, in words, what that is.

    Raises:
        UserError: there is nothing to evaluate, the environment is another one, or whoever made
            it is not trusted.
    """
    folder = _find_folder(target, storage)
    description = read_description(folder)
    agents = find_agents(folder, description, replica)
    recorded, settings = _find_environment(folder, description)
    foreign = find_foreign_environment(settings, _find_run_of(folder), folder, recorded=recorded)
    if description.get("backend") != "torch":
        foreign += find_foreign_pickles([folder])
    refuse_foreign(foreign, name=str(folder), trust=trust, say=say)
    described = describe(settings)
    cap = _find_episode_cap(folder, description, described.max_episode_steps, max_episode_steps)
    now = identify(settings, described)
    before = _find_identity(folder, description, now)
    changes = refuse_changes(before, now, allows_code=allow_changed_environment)
    evaluated = []
    with _small_batches(description):
        for agent in agents:
            player = load_agent(agent.folder, agent.index, trust=True)  # it was asked above
            # Wrappers can hide that the environment's own limit was reached.
            guard = cap or max(described.max_episode_steps or 0, MAX_EPISODE_STEPS)
            returns, lengths = play_episodes(
                player, settings, episodes=episodes, seed=seed, max_episode_steps=guard
            )
            cap = guard if max(lengths) >= guard else cap
            evaluated.append(AgentEvaluation(agent.name, tuple(returns), tuple(lengths)))
    champion = describe_champion(target, storage, description)
    return Evaluation(folder, settings.id, episodes, seed, tuple(evaluated), cap, changes, champion)


def _small_batches(description: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
    """More threads than one would only wait for each other."""
    if description.get("backend") != "torch":
        return contextlib.nullcontext()
    from sweeper.agents.torch_policy import one_thread

    return one_thread()


def play_episodes(
    player: Agent,
    settings: EnvironmentSettings,
    *,
    episodes: int,
    seed: int,
    max_episode_steps: int | None = None,
) -> tuple[list[float], list[int]]:
    """Play whole episodes; the n-th always has the same seed, however they are distributed.

    Args:
        player: acts greedily.
        settings: of the environment.
        episodes: how many. Each counts once; short ones, which end first, are not preferred.
        seed: which episodes.
        max_episode_steps: an episode is cut after so many steps; None: by the environment only.

    Returns:
        Returns, in the rewards below all wrappers, and lengths, one per episode, in order.

    Raises:
        UserError: the environment returned what it must not.
    """
    sequence = seed_sequence(seed, _STAGE, Purpose.EVALUATION_ENVIRONMENTS)
    seeds = [int(word >> 1) for word in sequence.generate_state(episodes)]
    with contained():
        seed_process(seeds[0])  # for environments without a generator of their own
        return _play(player, settings, seeds, max_episode_steps)


def _play(
    player: Agent,
    settings: EnvironmentSettings,
    seeds: Sequence[int],
    max_episode_steps: int | None,
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
            actions = _act(player, [observation for _, _, observation in playing])
            going_on = []
            for (env, episode, _), action in zip(playing, actions, strict=True):
                with _explaining(settings):
                    observation, reward, terminated, truncated, info = env.step(action)
                returns[episode] += float(info.get(OWN_REWARD, reward))
                lengths[episode] += 1
                is_cut = lengths[episode] == max_episode_steps
                if not (terminated or truncated or is_cut):
                    going_on.append((env, episode, observation))
                elif (following := next(waiting, None)) is not None:
                    with _explaining(settings):
                        observation, _ = env.reset(seed=seeds[following])
                    going_on.append((env, following, observation))
            playing = going_on
    finally:
        for env in envs:
            env.close()
    return returns, lengths


def _build_envs(settings: EnvironmentSettings, episodes: int) -> list[gymnasium.Env[Any, Any]]:
    """Build environments to play in side by side; one, if a process can hold no more."""
    envs = [build_env(settings)]
    shape = envs[0].observation_space.shape
    is_small = shape is not None and math.prod(shape) <= _SMALL
    number = min(episodes, _MAX_SMALL_ENVS if is_small else _MAX_ENVS)
    with contextlib.suppress(EnvironmentBuildError):
        envs.extend(build_env(settings) for _ in range(number - 1))
    return [CheckedEnv(env, refuses_non_finite=True) for env in envs]


@contextlib.contextmanager
def _explaining(settings: EnvironmentSettings) -> Iterator[None]:
    try:
        yield
    except EnvironmentFault as fault:
        raise UserError(f"{settings.id}: {veil(str(fault))}") from fault
    except USER_ERRORS as error:
        raise UserError(f"environment {settings.id} failed: {summarise(error)}") from error


def _act(player: Agent, observations: Sequence[Any]) -> Sequence[Any]:
    first = observations[0]
    if isinstance(first, np.ndarray):
        return list(player.act_batch(np.stack(observations)))
    return [player.act(observation) for observation in observations]


def _find_folder(target: str, storage: str) -> Path:
    folder = Path(target)
    if folder.is_dir() and not is_run(folder):
        return folder.absolute()
    paths = find_run(target, Path(storage))
    if not paths.champion.is_dir():
        if next(paths.trials.glob("*/checkpoint_*"), None) is None:
            raise UserError(
                f"{paths.root.name} has no champion, and no checkpoint is left to make one of; "
                f"`sweeper best {run_reference(paths.root)}` has the winner's configuration, to be "
                "trained again"
            )
        raise UserError(
            f"{paths.root.name} has no champion; give a checkpoint of one of its trials: "
            f"{paths.trials}/<trial>/<checkpoint>"
        )
    return paths.champion


def _find_environment(
    folder: Path, description: Mapping[str, Any]
) -> tuple[EnvironmentSettings, EnvironmentSettings]:
    """The environment of the agent's own description, else of the run's spec.

    Returns:
        The environment as recorded, and with the folders where its modules may lie now.
    """
    run = _find_run_of(folder)
    if "environment" in description:
        recorded = EnvironmentSettings.from_json(description["environment"])
        if run is None:
            return recorded, recorded
        return recorded, find_modules(recorded, run, load_record(run.spec).storage)
    if run is not None:
        spec = load_record(run.spec)
        return spec.environment.settings(), relocate(run, spec).environment.settings()
    raise UserError(
        f"{folder} is no checkpoint: it has no agent.json and lies in no run; give a run, its "
        "champion/, or a checkpoint_… folder of one of its trials"
    )


def _find_run_of(folder: Path) -> RunPaths | None:
    """The run that a checkpoint lies in, if any."""
    root = next((parent for parent in folder.parents if is_run(parent)), None)
    return None if root is None else RunPaths(root)


def _find_episode_cap(
    folder: Path,
    description: Mapping[str, Any],
    limit: int | None,
    asked: int | None,
) -> int | None:
    """What was asked for, else the cap of the run; None if the environment's limit is shorter."""
    cap = asked or description.get("max_episode_steps")
    run = _find_run_of(folder)
    if cap is None and run is not None:
        evaluation = load_record(run.spec).evaluation
        cap = None if evaluation is None else evaluation.max_episode_steps
    if limit is None:
        return cap or MAX_EPISODE_STEPS
    return cap if cap is not None and cap < limit else None


def _find_identity(
    folder: Path, description: Mapping[str, Any], now: EnvironmentIdentity
) -> EnvironmentIdentity:
    """The environment as the run's last launch recorded it.

    An agent outside of its run knows the spaces at most, and a run of an earlier version has no
    record; what is not known is as it is now.
    """
    found = None
    run = _find_run_of(folder)
    if run is not None:
        for event in read_journal(run.journal, strict=False):
            if isinstance(event, LaunchStarted):
                found = EnvironmentIdentity.from_json(event.environment) or found
    if found is not None or description.get("backend") != "torch":
        return found or now
    others = {
        key: description[key]
        for key in ("observation_space", "action_space")
        if _shape(description[key]) != _shape(getattr(now, key))
    }
    return replace(now, **others)


def _shape(space: Mapping[str, Any]) -> Any:
    """What of a space the network's layers depend on, which its bounds are not."""
    parts = space.get("spaces")
    if isinstance(parts, Mapping):
        return {name: _shape(part) for name, part in parts.items()}
    if isinstance(parts, list):
        return [_shape(part) for part in parts]
    return {name: value for name, value in space.items() if name not in ("low", "high", "dtype")}
