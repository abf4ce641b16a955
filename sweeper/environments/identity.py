"""What an environment is beside its settings: its spaces, and the code behind it.

A run records this at every launch. Results of one code and of another can't be compared, and
weights trained on one space don't fit another.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import gymnasium

from sweeper.environments.building import EnvironmentDescription
from sweeper.environments.registry import find_spec
from sweeper.environments.settings import EnvironmentSettings
from sweeper.environments.spaces import space_from_json, space_to_json
from sweeper.errors import ConfigurationRefusedError, UserError
from sweeper.veil import veil

__all__ = [
    "EnvironmentChanges",
    "EnvironmentIdentity",
    "find_changes",
    "identify",
    "refuse_changes",
    "show_space",
]

_INSTALLED = {"site-packages", "dist-packages"}
_OURS = "sweeper"  # its version is recorded elsewhere
_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(?=:[A-Za-z_]\w*\Z)")  # "module:Name"
_MAX_SHOWN = 80


@dataclass(frozen=True)
class EnvironmentIdentity:
    """The spaces and the code of an environment, as JSON types.

    Attributes:
        observation_space: as `space_to_json` writes it; of other kinds its text.
        action_space: the same.
        sources: SHA-256 of every source file that the environment's modules import from where
            they lie, by its path from there.
        packages: versions of the installed distributions that its modules come from.
    """

    observation_space: Mapping[str, Any]
    action_space: Mapping[str, Any]
    sources: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The identity as the journal has it."""
        return {name: dict(value) for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> EnvironmentIdentity | None:
        """Read what `to_json` returned; None for anything else.

        Earlier versions recorded nothing, which is an empty document.
        """
        names = cls.__dataclass_fields__
        known = {name: value for name, value in document.items() if name in names}
        if not {"observation_space", "action_space"} <= known.keys():
            return None
        if not all(isinstance(value, Mapping) for value in known.values()):
            return None
        texts = [*known.get("sources", {}).values(), *known.get("packages", {}).values()]
        return cls(**known) if all(isinstance(text, str) for text in texts) else None


@dataclass(frozen=True)
class EnvironmentChanges:
    """What is not as it was, each in words; both empty if nothing has changed."""

    spaces: tuple[str, ...] = ()
    code: tuple[str, ...] = ()


def identify(
    settings: EnvironmentSettings, described: EnvironmentDescription
) -> EnvironmentIdentity:
    """The identity of an environment that this process has built; imports nothing.

    Code that is only loaded while the environment runs, and data files, are not looked at.
    """
    sources: dict[str, str] = {}
    packages: dict[str, str] = {}
    for name in dict.fromkeys(_find_modules(settings)):
        root = _find_root(name.partition(".")[0])
        if root is None:
            continue
        if _INSTALLED & set(root.parts):
            packages.update(_find_version(name.partition(".")[0]))
        else:
            sources.update(_digest(root, name))
    return EnvironmentIdentity(
        _record_space(described.observation_space),
        _record_space(described.action_space),
        dict(sorted(sources.items())),
        dict(sorted(packages.items())),
    )


def find_changes(before: EnvironmentIdentity, now: EnvironmentIdentity) -> EnvironmentChanges:
    """How the environment differs from the one that was recorded."""
    spaces = tuple(
        f"{what} were {show_space(was)} and are {show_space(is_)} now"
        for what, was, is_ in (
            ("observations", before.observation_space, now.observation_space),
            ("actions", before.action_space, now.action_space),
        )
        if was != is_
    )
    code = []
    for name in sorted(before.sources.keys() | now.sources.keys()):
        was, is_ = before.sources.get(name), now.sources.get(name)
        if was != is_:
            what = "is new" if was is None else "is gone" if is_ is None else "was changed"
            code.append(f"{name} {what}")
    for name in sorted(before.packages.keys() | now.packages.keys()):
        was, is_ = before.packages.get(name, "none"), now.packages.get(name, "none")
        if was != is_:
            code.append(f"{name} is {is_} instead of {was}")
    return EnvironmentChanges(spaces, tuple(code))


def refuse_changes(
    before: EnvironmentIdentity, now: EnvironmentIdentity, *, allows_code: bool
) -> tuple[str, ...]:
    """Refuse an environment that is not the one that a run was trained in.

    Args:
        before: as the run's last launch recorded it.
        now: as it is built now.
        allows_code: accept other code; other spaces are always refused.

    Returns:
        What has changed and was accepted, in words.

    Raises:
        UserError: with what has changed.
    """
    changes = find_changes(before, now)
    found = "; ".join([*changes.spaces, *changes.code])
    start = f"the environment is not the one that the run was trained in: {found}"
    if changes.spaces:
        raise UserError(
            f"{start}; the run's weights don't fit it; put it back, or start a new run with "
            "`sweeper run`"
        )
    if changes.code and not allows_code:
        raise UserError(
            f"{start}; values from before and after can't be compared; put it back, start a new "
            "run with `sweeper run`, or accept it with --allow-changed-environment"
        )
    return changes.code


# --- code ------------------------------------------------------------------------------------


def _find_modules(settings: EnvironmentSettings) -> Iterator[str]:
    """The modules that the settings and the environment's registration name."""
    yield from settings.modules
    if any("." not in wrapper.name for wrapper in settings.wrappers):
        yield "gymnasium.wrappers"
    try:
        entry = find_spec(settings.id).entry_point
    except gymnasium.error.Error:
        return
    if isinstance(entry, str):
        yield entry.partition(":")[0]
    elif entry is not None:
        yield entry.__module__


def _find_root(top: str) -> Path | None:
    """The folder that a loaded top-level module was imported from; None for built-in ones."""
    module = sys.modules.get(top)
    path = getattr(module, "__path__", None)
    if path:
        return Path(next(iter(path))).absolute().parent
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file).absolute().parent


def _find_version(top: str) -> dict[str, str]:
    """The version of the distribution that has a top-level module; empty if it is unknown."""
    try:
        return {top: metadata.version(top)}  # most distributions are named like their module
    except metadata.PackageNotFoundError:
        names = metadata.packages_distributions().get(top, [])
        return {name: metadata.version(name) for name in names}


def _digest(root: Path, module: str) -> dict[str, str]:
    """The digests of a module's file and of all that it imports below the same folder."""
    found: dict[str, str] = {}
    seen, waiting = {_OURS}, [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name.partition(".")[0] == _OURS:
            continue
        seen.add(name)
        waiting.append(name.rpartition(".")[0] or name)  # a package's __init__ runs, too
        file = _find_file(root, name)
        if file is None:
            continue
        content = file.read_bytes().replace(b"\r\n", b"\n")
        found[file.relative_to(root).as_posix()] = hashlib.sha256(content).hexdigest()
        if file.suffix == ".py":
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            waiting.extend(_find_imports(content, package))
    return found


def _find_file(root: Path, name: str) -> Path | None:
    path = root.joinpath(*name.split("."))
    candidates = [path / "__init__.py", *(Path(f"{path}{end}") for end in (".py", *_COMPILED))]
    return next((one for one in candidates if one.is_file()), None)


_COMPILED = tuple(EXTENSION_SUFFIXES)


def _find_imports(content: bytes, package: str) -> Iterator[str]:
    """The names that a source may import, relative ones made absolute; most are not modules."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _resolve(node, package)
            yield from _with_names(base, (alias.name for alias in node.names))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # An entry point in a call of gymnasium.register.
            reference = _REFERENCE.match(node.value)
            if reference is not None:
                yield reference[0]


def _resolve(node: ast.ImportFrom, package: str) -> str:
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    return ".".join([*above, *([node.module] if node.module else [])])


def _with_names(base: str, names: Iterable[str]) -> Iterator[str]:
    if base:
        yield base
        yield from (f"{base}.{name}" for name in names)


# --- spaces ----------------------------------------------------------------------------------


def _record_space(space: gymnasium.Space[Any]) -> dict[str, Any]:
    try:
        return space_to_json(space)
    except ConfigurationRefusedError:
        return {"type": type(space).__name__, "text": " ".join(veil(str(space)).split())}


def show_space(document: Mapping[str, Any]) -> str:
    """A recorded space in words, at most 80 letters; it may be none."""
    text = document.get("text")
    if not isinstance(text, str):
        try:
            text = " ".join(str(space_from_json(document)).split())
        except Exception:  # whatever numpy and gymnasium say of what is no space
            text = json.dumps(document)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"
