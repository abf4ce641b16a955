"""Whether runs were trained in the same environment: its settings, its spaces, its code.

Returns are in the rewards of the environment itself, below all wrappers. So wrappers that change
only what the agent sees, or is told of its rewards, leave the task as it is; any other one makes
another task of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweeper.environments.identity import show_space
from sweeper.evidence.comparing.entry import Entry, split, tell_apart
from sweeper.hints import join_words, show

__all__ = [
    "describe_code",
    "describe_task",
    "has_other_sight",
    "seen_wrappers",
    "show_wrappers",
    "simulator",
]

_LIBRARY = "gymnasium.wrappers."
_SIGHT = frozenset(
    {
        "ClipReward", "DtypeObservation", "FilterObservation", "FlattenObservation",
        "FrameStackObservation", "GrayscaleObservation", "OrderEnforcing", "PassiveEnvChecker",
        "RecordEpisodeStatistics", "RescaleObservation", "ReshapeObservation", "ResizeObservation",
        "TimeAwareObservation", "TransformObservation", "TransformReward",
    }
)  # fmt: skip
_MAX_FILES = 5


def describe_task(entries: Sequence[Entry]) -> Iterator[str]:
    """How the settings of the environments differ, each in a clause; nothing if they don't."""
    environments = [one.spec.environment for one in entries]
    ids = tell_apart("the environment", entries, [one.id for one in environments])
    if ids:  # then its arguments say nothing
        yield from ids
        return
    for name in sorted({name for one in environments for name in one.kwargs}):
        given = [(name in one.kwargs, one.kwargs.get(name)) for one in environments]
        yield from tell_apart(f"the environment's argument {name}", entries, given, _show_argument)
    wrappers = [_other_wrappers(one) for one in entries]
    yield from tell_apart("environment.wrappers", entries, wrappers, show_wrappers)


def describe_code(entries: Sequence[Entry]) -> Iterator[str]:
    """How the recorded spaces and code of the environments differ, each in a clause.

    A run that has recorded nothing is left out.
    """
    modules = [one.spec.environment.module for one in entries]
    yield from tell_apart("environment.module", entries, modules, show)
    if not all(one.is_evaluated for one in entries):  # else the episodes are gymnasium's
        yield from tell_apart("the simulator", entries, [simulator(one) for one in entries])
    known = [one for one in entries if one.identity is not None]
    identities = [one.identity for one in known if one.identity is not None]
    if not has_other_sight(entries):
        spaces = [one.observation_space for one in identities]
        yield from tell_apart("the observation space", known, spaces, show_space)
    spaces = [one.action_space for one in identities]
    yield from tell_apart("the action space", known, spaces, show_space)
    for package in sorted({package for one in identities for package in one.packages}):
        versions = [one.packages.get(package, "not used") for one in identities]
        yield from tell_apart(package, known, versions)
    yield from _describe_sources(known, [one.sources for one in identities])


def seen_wrappers(entry: Entry) -> tuple[tuple[str, Any], ...]:
    """The wrappers that leave the task as it is, in their order."""
    return tuple(one for one in _wrappers(entry) if one[0] in _SIGHT)


def has_other_sight(entries: Sequence[Entry]) -> bool:
    """Whether agents see, or are told, different things of the same task."""
    return len(split(entries, [seen_wrappers(one) for one in entries])) > 1


def simulator(entry: Entry) -> str:
    """Whose implementation of the environment a run is trained in."""
    return "envpool's" if entry.spec.environment.vectorization == "envpool" else "gymnasium's"


def show_wrappers(wrappers: Sequence[tuple[str, Any]]) -> str:
    """Wrappers with their arguments, or ``none``."""
    names = [f"{name} {show(kwargs)}" if kwargs else name for name, kwargs in wrappers]
    return join_words(names) if names else "none"


def _other_wrappers(entry: Entry) -> tuple[tuple[str, Any], ...]:
    return tuple(one for one in _wrappers(entry) if one[0] not in _SIGHT)


def _wrappers(entry: Entry) -> list[tuple[str, Any]]:
    return [
        (one.name.removeprefix(_LIBRARY), one.kwargs) for one in entry.spec.environment.wrappers
    ]


def _show_argument(given: tuple[bool, Any]) -> str:
    is_given, value = given
    return show(value) if is_given else "left out"


def _describe_sources(
    known: Sequence[Entry], sources: Sequence[Mapping[str, str]]
) -> Iterator[str]:
    groups = split(known, sources)
    if len(groups) < 2:
        return
    files = sorted({name for found in sources for name in found})
    changed = [name for name in files if len({found.get(name) for found in sources}) > 1]
    shown = changed[:_MAX_FILES]
    if len(changed) > _MAX_FILES:
        shown.append(f"{len(changed) - _MAX_FILES} more files")
    sides = " against ".join(join_words(names) for _, names in groups)
    yield f"the environment's code is not the same ({join_words(shown)}): {sides}"
