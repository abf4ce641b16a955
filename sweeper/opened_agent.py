"""An agent, opened: the champion of a run, or one of a trial's checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.agents.agent import Agent
from sweeper.agents.locate import AgentPlace, find_agents
from sweeper.agents.playing import open_playground
from sweeper.agents.reading import read_agent
from sweeper.agents.whereabouts import Whereabouts, find_agent
from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import UserError
from sweeper.paths import DEFAULT_STORAGE
from sweeper.trust import Trust, TrustLike, refuse_foreign

if TYPE_CHECKING:
    from sweeper.results.records import TrialCheckpoint, TrialRecord

__all__ = [
    "PlayingAgent",
    "find_best_seed",
    "find_recorded",
    "load_agent",
    "open_playing_agent",
    "refuse_stale",
]

_logger = logging.getLogger(__name__)


def load_agent(
    path: str | Path = "last",
    *,
    replica: int | None = None,
    storage: str | Path = DEFAULT_STORAGE,
    trust: TrustLike = False,
    say: Callable[[str], None] = _logger.info,
) -> Agent:
    """Load an agent for acting; torch's without importing Ray, RLlib's without starting it.

    Args:
        path: a champion's folder, a trial's checkpoint or folder (its newest one), a checkpoint
            of RLlib's own, or a run (a path, a name under ``storage``, ``last``), whose champion
            it is.
        replica: the one that was trained with this seed; by default the best at that checkpoint.
        storage: the folder that holds the runs.
        trust: unpickle RLlib's checkpoint, and run the environment's code, although this user did
            not make them on this machine; ``"none"``: not even if this user did.
        say: receives, in words, what is unpickled so, and which checkpoints are passed over.

    Raises:
        UserError: there is no agent, it is damaged, or whoever made it is not trusted.
    """
    Trust.of(trust)
    where = find_agent(str(path), str(storage), say=say)
    place = _choose(where, replica)
    refuse_foreign(where.foreign_pickles(trust), name=str(where.folder), trust=trust, say=say)
    if where.is_champion_of is not None:
        refuse_stale(where)
    agent = read_agent(place.folder, place.index, trust=True)  # it was asked above
    return replace(agent, seed=place.seed, where=where, trust=trust)


@dataclass(frozen=True)
class PlayingAgent:
    """An agent, and the environment that it plays in.

    Attributes:
        settings: of the environment, after whose code it was looked at.
        max_episode_steps: an episode is cut after so many steps.
    """

    agent: Agent
    settings: EnvironmentSettings
    max_episode_steps: int


def open_playing_agent(
    target: str,
    storage: str,
    *,
    replica: int | None = None,
    max_episode_steps: int | None = None,
    allow_changed_environment: bool = False,
    trust: TrustLike = False,
    say: Callable[[str], None] = _logger.info,
) -> PlayingAgent:
    """Load an agent, and build its environment once, as `sweeper evaluate` does.

    Args:
        target: as in `load_agent`.
        storage: the same.
        replica: the same.
        max_episode_steps: an episode is cut after so many steps; None: as in the run.
        allow_changed_environment: play although the environment's code has changed since.
        trust: as in `load_agent`.
        say: receives, in words, what is imported and unpickled.

    Raises:
        UserError: as for `load_agent`, or the environment is another one.
    """
    agent = load_agent(target, replica=replica, storage=storage, trust=trust, say=say)
    where = agent.where
    if where is None:
        raise UserError(f"{target} does not say which environment it acts in")
    playground = open_playground(
        where,
        max_episode_steps=max_episode_steps,
        allow_changed_environment=allow_changed_environment,
        trust=trust,
        say=say,
    )
    return PlayingAgent(agent, playground.settings, playground.guard)


def _choose(where: Whereabouts, replica: int | None) -> AgentPlace:
    """The replica that was asked for, or else the best of the checkpoint, if that is known."""
    places = find_agents(where.folder, where.description, replica)
    if len(places) == 1 or where.run is None:
        return places[0]
    best = find_best_seed(where)
    return next((place for place in places if place.seed == best), places[0])


def find_best_seed(where: Whereabouts) -> int | None:
    """The seed of the replica that did best, by the report at which the checkpoint was made.

    None if the run does not have it.
    """
    from sweeper.results.ranking import best_replica
    from sweeper.results.scoring import iteration_of
    from sweeper.spec import load_record

    found = find_recorded(where)
    if found is None or where.run is None:
        return None
    trial, checkpoint = found
    made = iteration_of(checkpoint.metrics)
    rows = [row for row in trial.reports if iteration_of(row) == made]
    objective = load_record(where.run.spec).objective
    index = best_replica((rows or [trial.last_report])[-1], objective)
    return trial.seeds[index] if index < len(trial.seeds) else None


def find_recorded(where: Whereabouts) -> tuple[TrialRecord, TrialCheckpoint] | None:
    """The trial that a checkpoint is of, with what its run recorded of it; None if it has not."""
    from sweeper.results.builder import load_results

    if where.run is None:
        return None
    results, folder = load_results(where.run), where.folder.resolve()
    for trial in (*results.trials, *results.retrained):
        for checkpoint in trial.checkpoints:
            if results.resolve(checkpoint).resolve() == folder:
                return trial, checkpoint
    return None


def refuse_stale(where: Whereabouts) -> None:
    """Refuse the agent of an earlier champion.

    Raises:
        UserError: ``champion/`` holds one.
    """
    from sweeper.evidence.evaluation import find_champions_runs

    run = where.is_champion_of
    if run is not None:
        find_champions_runs(run, where.description)
