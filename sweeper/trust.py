"""Refuse to act on what somebody else may have put into a run, unless the user trusts it.

Reading a run runs no code. Building its environment, training on and loading RLlib's checkpoints
do, and connecting to the servers that it names sends them data and passwords. Environments and
wrappers that everybody has can do harm, too, if whoever made the run chose their arguments: one
may be the folder that videos are written to. A launch seals what it uses (`sweeper.seals`);
whatever is not sealed is named before it is used, and needs ``trust``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import UserError
from sweeper.hints import show
from sweeper.paths import RunPaths
from sweeper.presets.catalogue import is_preset_name
from sweeper.received_database import find_ways_out
from sweeper.references import is_unresolved
from sweeper.run_files import is_regular, read_json
from sweeper.seals import find_key, is_folder_sealed, is_sealed, key_path, seal
from sweeper.sqlite_address import default_tracking_uri, sqlite_path

__all__ = [
    "Trust",
    "TrustLike",
    "find_foreign_baseline",
    "find_foreign_environment",
    "find_foreign_pickles",
    "find_foreign_servers",
    "make_seals",
    "refuse_foreign",
    "without_default",
]

_ENVIRONMENT, _SERVERS, _BASELINE = "environment", "servers", "baseline"
_NO_BASELINE = "none"
_NO_FILES = (_NO_BASELINE, "defaults")
_MAX_NAMED = 5


class Trust(Enum):
    """Whose code a verb may run, and to whose servers it may connect."""

    NONE = "none"
    """Nobody's: not even what this user made on this machine."""
    OWN = "own"
    """What this user made on this machine."""
    ALL = "all"
    """Anybody's; what is not this user's own is named first."""

    @classmethod
    def of(cls, value: TrustLike) -> Trust:
        """True is ``ALL``, False is ``OWN``; a text is the value of a member.

        Raises:
            UserError: a text is none.
        """
        if isinstance(value, bool):
            return cls.ALL if value else cls.OWN
        try:
            return cls(value)
        except ValueError:
            raise UserError(f"trust is {value!r}; it must be none, own or all") from None


TrustLike: TypeAlias = bool | str | Trust


def make_seals(
    settings: EnvironmentSettings, servers: Mapping[str, str | None], baseline: str = _NO_BASELINE
) -> dict[str, Any]:
    """Seals of what a launch imports, connects to and reads, for the run's ``environment.json``.

    Args:
        settings: of the environment.
        servers: by its key in the spec, such as ``ray.address``, `without_default`; None if there
            is none.
        baseline: the spec's ``selection.baseline``.
    """
    documents: dict[str, Any] = {
        _ENVIRONMENT: _plain(settings),
        _SERVERS: dict(servers),
        _BASELINE: baseline,
    }
    return {kind: seal(kind, document) for kind, document in documents.items()}


def find_foreign_environment(
    settings: EnvironmentSettings,
    paths: RunPaths | None,
    checkpoint: Path | None = None,
    *,
    recorded: EnvironmentSettings | None = None,
    trust: TrustLike = Trust.OWN,
) -> list[str]:
    """What an environment imports and is told, in words; empty if this user sealed it.

    A module that would now be found in a folder that was not recorded came with the run, and may
    have been changed on the way. An argument that is or holds a text may be a path to write to;
    numbers, truth values and null can't be.

    Args:
        settings: of the environment, with the folders where its modules may lie now.
        paths: of the run whose environment it is, if any.
        checkpoint: the folder whose ``agent.json`` describes the environment, if one does.
        recorded: the settings that were sealed, if they have other folders.
        trust: with `Trust.NONE` a seal says nothing.
    """
    names = [settings.module, settings.id.rpartition(":")[0]]
    names += [wrapper.name.rpartition(".")[0] for wrapper in settings.wrappers]
    modules = list(dict.fromkeys(name for name in names if name))
    told = [f"give {words}" for words in _find_texts(settings)]
    if not modules and not told:
        return []
    known = settings if recorded is None else recorded
    is_own = Trust.of(trust) is not Trust.NONE
    if is_own and all(
        _lies_in(module, settings.search_paths, known.search_paths) for module in modules
    ):
        if _is_sealed(paths, _ENVIRONMENT, _plain(known)):
            return []
        if checkpoint is not None and is_folder_sealed(checkpoint):
            return []
    folders = ", ".join([*settings.search_paths, "Python's path"])
    imports = [f"import {', '.join(modules)} (looked up in {folders})"] if modules else []
    return imports + told


def _find_texts(settings: EnvironmentSettings) -> Iterator[str]:
    """The arguments that hold a text at any depth, each with who gets it."""
    owners = [(settings.id, settings.kwargs)]
    owners += [(f"the wrapper {one.name}", one.kwargs) for one in settings.wrappers]
    for owner, arguments in owners:
        for name, value in arguments.items():
            if _holds_text(value):
                yield f"{owner} {name}: {show(value)}, which may be a path"


def _holds_text(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_text(one) for pair in value.items() for one in pair)
    if isinstance(value, list | tuple):
        return any(map(_holds_text, value))
    return not (value is None or isinstance(value, bool | int | float))


def find_foreign_pickles(checkpoints: Iterable[Path], trust: TrustLike = Trust.OWN) -> list[str]:
    """Which checkpoints of RLlib this user did not seal, in words; loading one can run any code.

    Args:
        checkpoints: their folders; those that are not there are left out.
        trust: with `Trust.NONE` a seal says nothing.
    """
    is_own = Trust.of(trust) is not Trust.NONE
    there = [path for path in checkpoints if path.is_dir()]
    found = [str(path) for path in there if not (is_own and is_folder_sealed(path))]
    more = len(found) - _MAX_NAMED
    named = [f"unpickle {path}" for path in found[:_MAX_NAMED]]
    return [*named, f"unpickle {more} more checkpoints"] if more > 0 else named


def find_foreign_servers(
    paths: RunPaths,
    servers: Mapping[str, str | None],
    experiment: str | None = None,
    *,
    trust: TrustLike = Trust.OWN,
) -> list[str]:
    """Which servers and databases a run has one connect to, in words; empty if it is sealed.

    A tracking database beside the run is no server: it came with the run. What it has written
    elsewhere is named.

    Args:
        paths: the run's.
        servers: by their keys in the spec.
        experiment: in which files are going to be stored; None if none are.
        trust: with `Trust.NONE` a seal says nothing.
    """
    named = {key: place for key, place in servers.items() if place is not None}
    is_own = Trust.of(trust) is not Trust.NONE
    if not named or (is_own and _is_sealed(paths, _SERVERS, without_default(servers, paths))):
        return []
    actions = []
    for key, place in named.items():
        database = _find_brought(place, paths)
        ways = (
            [f"connect to {place}"]
            if database is None
            else find_ways_out(database, experiment, besides=paths.root.name)
        )
        actions += [f"{way} ({key})" for way in ways]
    return actions


def find_foreign_baseline(
    paths: RunPaths, baseline: str, *, trust: TrustLike = Trust.OWN
) -> list[str]:
    """Which spec a run has one read for its baseline, in words; empty if there is none, or sealed.

    A spec can read other files, and the reader's variables; a copy in the run, which is read
    instead if there is one, can't, and a preset comes with this package.
    """
    if baseline in _NO_FILES or is_preset_name(baseline) or is_regular(paths.baseline):
        return []
    if Trust.of(trust) is not Trust.NONE and _is_sealed(paths, _BASELINE, baseline):
        return []
    return [f"read the spec {baseline} (selection.baseline)"]


def without_default(servers: Mapping[str, str | None], paths: RunPaths) -> dict[str, str | None]:
    """The servers of a run as they are sealed: its storage's own database moves with the run."""
    usual = default_tracking_uri(str(paths.root.parent))
    return {key: None if place == usual else place for key, place in servers.items()}


def _find_brought(place: str, paths: RunPaths) -> Path | None:
    """The database that a server's address means, if it came with the run; else None."""
    database = None if is_unresolved(place) else sqlite_path(place)
    is_beside = database is not None and database.parent == paths.root.parent.absolute()
    return database if is_beside else None


def refuse_foreign(
    actions: Sequence[str], *, name: str, trust: TrustLike, say: Callable[[str], None]
) -> None:
    """Name what a verb is going to do with what this user did not make, or refuse to do it.

    Args:
        actions: in words; nothing happens if there are none.
        name: of the run or the checkpoint.
        trust: whom the user trusts.
        say: receives the actions, before they happen, if that is everybody.

    Raises:
        UserError: there are actions, and the user has not said so.
    """
    if not actions:
        return
    steps = "\n".join(f"  {action}" for action in actions)
    trusted = Trust.of(trust)
    if trusted is Trust.ALL:
        say(f"{name} is trusted, so this is done as it says:\n{steps}")
        return
    if trusted is Trust.NONE:
        raise UserError(
            f"with --trust none nothing of {name} is run, but this would need:\n{steps}\n"
            "nothing was done"
        )
    why = ""
    if find_key() is None:
        why = f"; this user has no key{_describe_place()}, so nothing counts as made here"
    raise UserError(
        f"{name} was not made by this user on this machine, or its modules have moved since{why}. "
        f"Going on would do what whoever made it has chosen:\n{steps}\n"
        "nothing was done; if you trust it, add --trust (in Python: trust=True)"
    )


def _describe_place() -> str:
    try:
        return f" in {key_path()}"
    except RuntimeError:
        return " and no home folder for one (HOME or XDG_STATE_HOME names it)"


def _lies_in(module: str, folders: Sequence[str], known: Sequence[str]) -> bool:
    """Whether a module is found in a known folder, or in none of these."""
    name = module.partition(".")[0]
    for folder in map(Path, folders):
        if (folder / f"{name}.py").exists() or (folder / name).is_dir():
            return folder.absolute() in {Path(other).absolute() for other in known}
    return True


def _plain(settings: EnvironmentSettings) -> dict[str, Any]:
    # A relative folder means another one from another working directory.
    folders = tuple(os.path.abspath(path) for path in settings.search_paths)  # noqa: PTH100
    return replace(settings, search_paths=folders).to_json()


def _is_sealed(paths: RunPaths | None, kind: str, document: Any) -> bool:
    if paths is None:
        return False
    try:
        marks = read_json(paths.environment)["seals"]
        return is_sealed(kind, document, marks.get(kind))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
