"""Whether the weights of an agent fit what is going to be trained."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sweeper.agents.agent import Agent
from sweeper.agents.locate import AgentPlace
from sweeper.agents.whereabouts import Whereabouts, space_layout
from sweeper.environments.building import describe
from sweeper.environments.spaces import space_to_json
from sweeper.errors import SweeperError, UserError
from sweeper.hints import show
from sweeper.json_values import to_json
from sweeper.paths import CheckpointPaths
from sweeper.planning.plan import SweepPlan
from sweeper.planning.settings import trial_settings
from sweeper.search.configuration import merge_configuration
from sweeper.spec import ExperimentSpec, load_record
from sweeper.spec.keys.support import REFERENCE_BACKEND
from sweeper.trainables.spaces import shorten

if TYPE_CHECKING:
    from sweeper.trainables.contract import NetworkDescription

__all__ = [
    "note_spaces",
    "refuse_other_algorithm",
    "refuse_other_backend",
    "refuse_other_network",
]

_MAX_NAMED = 3


def refuse_other_backend(where: Whereabouts, spec: ExperimentSpec) -> None:
    """Refuse what is no checkpoint, or one of the other backend.

    Raises:
        UserError: it is.
    """
    paths = CheckpointPaths(where.folder)
    backend = where.description.get("backend")
    if backend is None and (paths.is_rllib or paths.replicas):
        backend = REFERENCE_BACKEND
    if backend is None:
        raise UserError(
            f"no agent in {where.folder}: it is no checkpoint; give a checkpoint_… folder of a "
            "trial, a champion/, or a run"
        )
    if backend != spec.backend:
        raise UserError(
            f"{where.folder} was trained on the backend {backend}, and this spec trains on "
            f"{spec.backend}, whose networks have other weights; add backend={backend}, or name "
            f"a checkpoint of {spec.backend}"
        )


def refuse_other_algorithm(where: Whereabouts, place: AgentPlace, spec: ExperimentSpec) -> None:
    """Refuse an agent of another algorithm; may unpickle a part of it.

    Raises:
        UserError: it is one.
    """
    algorithm = where.description.get("algorithm")
    if algorithm is None and where.run is not None:
        algorithm = load_record(where.run.spec).algorithm
    if algorithm is None:
        _import_ray_with_settings()
        from sweeper.trainables.rllib_backend.weights import read_algorithm

        algorithm = read_algorithm(place.folder)
    if algorithm != spec.algorithm:
        raise UserError(
            f"{where.folder} is an agent of {algorithm}, and this spec trains {spec.algorithm}: "
            f"weights of one mean nothing to the other; name a checkpoint of {spec.algorithm}, or "
            f"add algorithm={algorithm}"
        )


def note_spaces(where: Whereabouts, agent: Agent, spec: ExperimentSpec) -> Iterator[str]:
    """What differs from the environment that the agent was trained in, in sentences.

    Raises:
        UserError: its spaces do, so that the network does not fit.
    """
    here = describe(spec.environment.settings())
    for what, theirs, ours in (
        ("observations", agent.observation_space, here.observation_space),
        ("actions", agent.action_space, here.action_space),
    ):
        if _layout(theirs) != _layout(ours):
            raise UserError(
                f"{where.folder} was trained with other {what} than {spec.environment.id} has: "
                f"{shorten(theirs)} there, {shorten(ours)} here; its network does not fit"
            )
        if what == "actions" and theirs != ours:
            yield (
                f"the actions there were {shorten(theirs)}, and are {shorten(ours)} here: the same "
                "outputs of the policy mean others"
            )
    try:
        trained_in = where.environment()[0].id
    except UserError:  # a bare checkpoint of RLlib's does not say
        return
    if trained_in != spec.environment.id:
        yield f"the weights were trained in {trained_in}, and go on in {spec.environment.id}"


def _layout(space: Any) -> Any:
    try:
        return space_layout(space_to_json(space))
    except SweeperError:  # no JSON form for this kind
        return str(space)


def refuse_other_network(
    where: Whereabouts, agents: Mapping[AgentPlace, Agent], plan: SweepPlan
) -> None:
    """Refuse agents whose network is another than the one that the plan trains.

    Raises:
        UserError: one is; the message names the first layers that differ.
    """
    from sweeper.trainables.trainers import trainer_class

    if not where.is_torch:
        _import_ray_with_settings()
    settings = trial_settings(plan)
    given = merge_configuration(settings.constants, {})
    spaces = _spaces_of(next(iter(agents.values())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of environments that RLlib builds when it is imported
        expected = trainer_class(settings).describe_network(settings, given, *spaces)
    for place, agent in agents.items():
        found = _describe_agent(agent, expected)
        differences = [*_name_first(_compare_meaning(found, expected))]
        differences += _name_first(_compare_shapes(found, expected))
        if differences:
            raise UserError(
                f"{place.folder} has another network than this spec: {'; '.join(differences)}. "
                "Give the values that it was trained with"
            )


def _name_first(differences: Iterator[str]) -> list[str]:
    found = list(differences)
    more = len(found) - _MAX_NAMED
    return [*found[:_MAX_NAMED], *([f"and {more} more"] if more > 0 else [])]


def _spaces_of(agent: Agent) -> tuple[Any, Any]:
    return agent.observation_space, agent.action_space


def _describe_agent(agent: Agent, expected: NetworkDescription) -> NetworkDescription:
    """What the agent's weights are like, as far as its checkpoint tells."""
    module = getattr(agent.policy, "module", None)
    if module is not None:
        from sweeper.trainables.rllib_backend.weights import describe_module

        return describe_module(module)
    known = {**agent.description["network"], **agent.description}
    return replace(
        expected,
        shapes={name: array.shape for name, array in agent.weights.items()},
        meaning={name: known[name] for name in expected.meaning if name in known},
    )


def _compare_shapes(found: NetworkDescription, expected: NetworkDescription) -> Iterator[str]:
    for name, due in expected.shapes.items():
        given = found.shapes.get(name)
        if given is None:
            yield f"{name}, {_size(due)} here, is not there"
        elif tuple(given) != tuple(due):
            yield f"{name} is {_size(given)} there and {_size(due)} here"
    for name, given in found.shapes.items():
        if name not in expected.shapes:
            yield f"{name}, {_size(given)} there, is not here"


def _compare_meaning(found: NetworkDescription, expected: NetworkDescription) -> Iterator[str]:
    for name, due in expected.meaning.items():
        if name in found.meaning and to_json(found.meaning[name]) != to_json(due):
            yield f"{name} is {show(found.meaning[name])} there and {show(due)} here"


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) if shape else "a number"


def _import_ray_with_settings() -> None:
    """Import Ray as a launch does: it reads its environment variables when it is imported."""
    import sweeper.running.tune.session  # noqa: F401
