"""Whose weights training begins with: which replica of a checkpoint for each seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.agents.locate import AgentPlace, find_agents, find_diverged
from sweeper.agents.whereabouts import Whereabouts
from sweeper.errors import UserError
from sweeper.hints import join_words
from sweeper.opened_agent import find_best_seed, find_recorded
from sweeper.results.scoring import env_steps_of

__all__ = ["Choice", "choose", "find_env_steps", "name_agent"]


@dataclass(frozen=True)
class Choice:
    """Which replica each of the run's own begins as.

    Attributes:
        places: in the order of the run's seeds.
        why: in words.
    """

    places: tuple[AgentPlace, ...]
    why: str


def choose(where: Whereabouts, seeds: Sequence[int], replica: int | None) -> Choice:
    """Which replica each seed begins as.

    Raises:
        UserError: there is no replica of that seed, or none can be preferred.
    """
    places = find_agents(where.folder, where.description, replica)
    own = {place.seed: place for place in places}
    everybody = "its only seed" if len(seeds) == 1 else f"all {len(seeds)} seeds"
    if replica is not None:
        return Choice((places[0],) * len(seeds), f"{everybody}, as asked for")
    if all(seed in own for seed in seeds):
        each = "its only seed" if len(seeds) == 1 else "each seed"
        chosen = tuple(own[seed] for seed in seeds)
        return Choice(chosen, f"{each} as the replica of the same seed")
    if len(places) == 1:
        return Choice((places[0],) * len(seeds), f"{everybody}, since no other is there")
    lacking = [seed for seed in seeds if seed not in own]
    diverged = set(find_diverged(where.folder, where.description))
    words = f"it has no replica of seed {join_words(list(map(str, lacking)), 'or')}"
    if gone := sorted(diverged & set(lacking)):
        words += f" ({join_words(list(map(str, gone)))} diverged)"
    best = find_best_seed(where)
    if best not in own:
        known = ", ".join(str(place.seed) for place in places)
        raise UserError(
            f"{where.folder} holds replicas of the seeds {known}: {words}, and no run tells which "
            "one is the best; choose the one that all begin as with --replica SEED"
        )
    return Choice((own[best],) * len(seeds), f"{everybody} as the best one, since {words}")


def name_agent(where: Whereabouts) -> str:
    """The agent in words that mean something wherever it lies now."""
    trial = where.description.get("retrained_as") or where.description.get("trial_id")
    if where.run is None:
        return f"{trial} in {where.folder}" if trial else str(where.folder)
    inside = where.folder.relative_to(where.run.root).parts
    if inside[0] == where.run.trials.name and len(inside) > 1:
        trial = inside[1]
    return f"{trial or inside[0]} of {where.run.root.name}"


def find_env_steps(where: Whereabouts) -> int | None:
    """For how many env steps an agent was trained; None if nothing says."""
    steps = where.description.get("env_steps")
    if steps is not None:
        return int(steps)
    found = find_recorded(where)
    recorded = None if found is None else env_steps_of(found[1].metrics)
    return None if recorded is None else int(recorded)
