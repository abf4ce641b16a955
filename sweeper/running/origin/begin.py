"""A plan whose training begins with the weights of another agent, and what is said of that.

All is found out before anything starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sweeper.agents.agent import Agent
from sweeper.agents.reading import read_agent
from sweeper.agents.whereabouts import Whereabouts, find_agent
from sweeper.errors import UserError
from sweeper.hints import join_words, show
from sweeper.opened_agent import refuse_stale
from sweeper.origin import Origin
from sweeper.planning.plan import SweepPlan
from sweeper.running.origin.choice import choose, find_env_steps, name_agent
from sweeper.running.origin.fitting import (
    note_spaces,
    refuse_other_algorithm,
    refuse_other_backend,
    refuse_other_network,
)
from sweeper.spec import ExperimentSpec
from sweeper.spec.keys.names import default
from sweeper.trust import TrustLike, refuse_foreign

__all__ = ["begin_from"]

# What becomes of weights if only one of both trainings normalises.
_WITHOUT = {
    "observations": "they act otherwise than they did",
    "rewards": "their values are of another scale",
}


def begin_from(
    plan: SweepPlan,
    target: str,
    *,
    replica: int | None = None,
    trust: TrustLike = False,
    say: Callable[[str], None],
) -> SweepPlan:
    """The plan of training that begins with the weights of another agent.

    Args:
        plan: of one configuration.
        target: as for `find_agent`: a checkpoint, a champion's folder, or a run.
        replica: all begin as the replica that was trained with this seed. None: each as that of
            its own seed; else as the only one, or the best.
        trust: unpickle RLlib's checkpoint although this user did not make it on this machine.
        say: receives, in words, what is unpickled so.

    Returns:
        The plan with its `Origin`, and notes that say what is taken over and what is not.

    Raises:
        UserError: there is no agent, it is damaged, whoever made it is not trusted, or its
            algorithm, its spaces or its network are not those of the plan.
    """
    spec = plan.spec
    where = find_agent(target, spec.storage, say=say)
    refuse_other_backend(where, spec)
    choice = choose(where, spec.seeds, replica)
    refuse_foreign(where.foreign_pickles(trust), name=str(where.folder), trust=trust, say=say)
    refuse_other_algorithm(where, choice.places[0], spec)
    if where.is_champion_of is not None:
        refuse_stale(where)
    agents = {place: read_agent(place.folder, place.index, trust=True) for place in choice.places}
    agent = agents[choice.places[0]]
    notes = list(note_spaces(where, agent, spec))
    refuse_other_network(where, agents, plan)
    chosen = [agents[place] for place in choice.places]
    weights = _stack(where, chosen)
    origin = Origin(
        agent=name_agent(where),
        checkpoint=str(where.folder),
        seeds=tuple(place.seed for place in choice.places),
        env_steps=find_env_steps(where),
        weights=weights,
    )
    notes = [
        f"training begins with {origin}: {choice.why}",
        *_note_left_behind(spec),
        *_note_statistics(agent, spec),
        *notes,
    ]
    return replace(plan, origin=origin, notes=(*plan.notes, *notes))


def _stack(where: Whereabouts, agents: Sequence[Agent]) -> dict[str, Any]:
    """The numbers of all replicas, ``[replicas, ...]`` each.

    Raises:
        UserError: they are not finite.
    """
    parts = [
        {
            **agent.weights,
            **{f"normalisation.{name}": array for name, array in agent.normalisation.items()},
        }
        for agent in agents
    ]
    stacked = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    for name, array in stacked.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise UserError(f"{where.folder}: {name} is not finite; name another checkpoint")
    return stacked


def _note_left_behind(spec: ExperimentSpec) -> Iterator[str]:
    left = ["the optimiser's state", "coefficients that had adapted themselves"]
    if spec.support.learns_from == "replay":
        left.insert(1, "the replay memory")
    yield (
        f"not taken over: {join_words(left)}; env steps are counted from 0, and every schedule "
        "begins at its start"
    )
    usual = default(spec.algorithm, ("epsilon",), spec.backend)
    epsilon = spec.param_space.get("epsilon", usual)
    if isinstance(epsilon, list) and epsilon:
        yield (
            f"so exploration begins with an epsilon of {show(epsilon[0][1])} again; "
            f"param_space.epsilon={show(epsilon[-1][1])} keeps what the schedule ends with"
        )


def _note_statistics(agent: Agent, spec: ExperimentSpec) -> Iterator[str]:
    """What becomes of running statistics, without which weights act otherwise."""
    there = {name.partition(".")[0] for name in agent.normalisation}
    asked = spec.environment.normalize
    here = {name for name in ("observations", "rewards") if getattr(asked, name)}
    if both := sorted(there & here):
        yield f"the running statistics of {join_words(both)} are taken over with the weights"
    for name in sorted(there - here):
        yield (
            f"the weights were trained on normalised {name}, which this spec does not have: "
            f"{_WITHOUT[name]}; environment.normalize.{name}=true normalises them"
        )
    for name in sorted(here - there):
        yield (
            f"this spec normalises {name}, and the weights were trained without that: "
            f"{_WITHOUT[name]}"
        )
