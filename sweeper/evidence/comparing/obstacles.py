"""What makes runs incomparable: another task, another metric, episodes played in another way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import gymnasium

from sweeper.evidence.comparing.entry import (
    Entry,
    count_confirmed,
    tell_apart,
)
from sweeper.evidence.comparing.tasks import describe_code, describe_task
from sweeper.hints import show
from sweeper.planning.episode_cap import default_episode_cap

__all__ = ["Obstacles", "find_obstacles"]

_EXTREMES = ("episode_return_min", "episode_return_max")


@dataclass(frozen=True)
class Obstacles:
    """What stands in the way of a comparison, each in a clause that names the runs.

    Attributes:
        lasting: no comparison would mean anything.
        code: the environment's code is another one; whoever knows that it does the same may
            compare all the same.
    """

    lasting: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


def find_obstacles(entries: Sequence[Entry]) -> Obstacles:
    """What makes these runs incomparable."""
    task = tuple(describe_task(entries))
    lasting = (*task, *_describe_measure(entries), *_describe_episodes(entries))
    return Obstacles(lasting, () if task else tuple(describe_code(entries)))


def _describe_measure(entries: Sequence[Entry]) -> Iterator[str]:
    """What is measured, and which way is better."""
    objectives = [one.objective for one in entries]
    yield from tell_apart("the metric", entries, [one.metric for one in objectives])
    yield from tell_apart("the mode", entries, [one.mode for one in objectives])
    if any(one.evidence is None for one in entries):  # else the confirmations speak, all alike
        yield from tell_apart("selection.score", entries, [one.score for one in objectives])


def _describe_episodes(entries: Sequence[Entry]) -> Iterator[str]:
    """How the episodes are played that the scores are of."""
    played = [one for one in entries if one.is_evaluated]
    yield from tell_apart("evaluation.explore", played, [one.explores for one in played], show)
    capped = [one for one in played if one.spec.evaluation is not None or _find_limit(one)]
    yield from tell_apart(
        "evaluation.max_episode_steps",
        capped,
        [_find_cap(one) for one in capped],
        lambda cap: "none" if cap is None else f"{cap:,}",
    )
    # Which grow with the number of episodes.
    if entries[0].objective.metric.rpartition("/")[2] in _EXTREMES:
        confirmed = [one for one in entries if one.evidence is not None]
        counts = [count_confirmed(one) for one in confirmed]
        yield from tell_apart("selection.confirm_episodes", confirmed, counts)


def _find_limit(entry: Entry) -> tuple[int | None] | None:
    """The environment's own time limit, in a tuple.

    None where it is not known: only importing a module of the user's would tell.
    """
    name = entry.spec.environment.id
    registered = None if ":" in name else gymnasium.registry.get(name)
    return None if registered is None else (registered.max_episode_steps,)


def _find_cap(entry: Entry) -> int | None:
    """Where episodes are cut; None where the environment's own limit ends them before."""
    limit = (_find_limit(entry) or (None,))[0]
    evaluation = entry.spec.evaluation
    if evaluation is None:
        return default_episode_cap(entry.spec) if limit is None else None
    cap = evaluation.max_episode_steps
    return None if cap is not None and limit is not None and cap >= limit else cap
