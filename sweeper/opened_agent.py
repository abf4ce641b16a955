"""An agent, opened: the champion of a run, or one of a trial's checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sweeper.agents.agent import Agent, read_agent
from sweeper.agents.locate import AgentPlace, find_agents
from sweeper.agents.whereabouts import Whereabouts, find_agent
from sweeper.paths import DEFAULT_STORAGE
from sweeper.trust import TrustLike, refuse_foreign

__all__ = ["load_agent"]

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
        say: receives, in words, what is unpickled so.

    Raises:
        UserError: there is no agent, it is damaged, or whoever made it is not trusted.
    """
    where = find_agent(str(path), str(storage))
    place = _choose(where, replica)
    refuse_foreign(where.foreign_pickles(trust), name=str(where.folder), trust=trust, say=say)
    if where.is_champion_of is not None:
        _refuse_stale(where)
    agent = read_agent(place.folder, place.index, trust=True)  # it was asked above
    return replace(agent, seed=place.seed, where=where, trust=trust)


def _choose(where: Whereabouts, replica: int | None) -> AgentPlace:
    """The replica that was asked for, or else the best of the checkpoint, if that is known."""
    places = find_agents(where.folder, where.description, replica)
    if len(places) == 1 or where.run is None:
        return places[0]
    best = _find_best_seed(where)
    return next((place for place in places if place.seed == best), places[0])


def _find_best_seed(where: Whereabouts) -> int | None:
    """By the report at which the checkpoint was made; None if the run does not have it."""
    from sweeper.results.builder import load_results
    from sweeper.results.ranking import best_replica
    from sweeper.results.scoring import iteration_of
    from sweeper.spec import load_record

    run = where.run
    if run is None:
        return None
    results, objective = load_results(run), load_record(run.spec).objective
    for trial in (*results.trials, *results.retrained):
        for checkpoint in trial.checkpoints:
            if (run.root / checkpoint.path).absolute() == where.folder:
                made = iteration_of(checkpoint.metrics)
                rows = [row for row in trial.reports if iteration_of(row) == made]
                index = best_replica((rows or [trial.last_report])[-1], objective)
                return trial.seeds[index] if index < len(trial.seeds) else None
    return None


def _refuse_stale(where: Whereabouts) -> None:
    """Refuse the agent of an earlier champion.

    Raises:
        UserError: ``champion/`` holds one.
    """
    from sweeper.evidence.evaluation import find_champions_runs

    run = where.is_champion_of
    if run is not None:
        find_champions_runs(run, where.description)
