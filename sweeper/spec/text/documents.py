"""Composing a spec's file into one mapping: `extends`, overrides and references."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.errors import Location, Problem
from sweeper.hints import show
from sweeper.spec.text.files import Unreadable, read_file, read_record
from sweeper.spec.text.interpolation import escape_late, interpolate, keep_references
from sweeper.spec.text.scalars import TOO_LARGE, is_too_large
from sweeper.spec.text.yaml import KeyPath, dotted, is_index, locate, parse_yaml

__all__ = ["COMMAND_LINE", "Document", "load_document", "plain_document"]

COMMAND_LINE = "command line"

_MAX_EXTENDS = 20

_Locations = dict[KeyPath, Location]


@dataclass(frozen=True)
class Document:
    """A spec as plain data.

    Attributes:
        data: the composed mapping; empty if nothing could be read.
        locations: of each key and list item.
        problems: found so far.
        source: the file; None if there is none.
        is_partial: whether a file in the `extends` chain could not be read, so keys may be missing.
        variables: the texts of environment variables that are in it; no problem shows them.
        files: what was read, the spec's own file first and then what it extends; empty of a record.
    """

    data: dict[str, Any]
    locations: Mapping[KeyPath, Location] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    source: Path | None = None
    is_partial: bool = False
    variables: tuple[str, ...] = ()
    files: tuple[tuple[Path, str], ...] = ()

    def locate(self, path: KeyPath) -> Location:
        """The location of a key, or of the nearest key above it."""
        return locate(self.locations, path, Location(str(self.source or "spec")))


def plain_document(data: Mapping[str, Any], shorthands: Mapping[str, str]) -> Document:
    """A document from plain values; ``shorthands`` as in `load_document`."""
    plain = copy.deepcopy(dict(data))
    escape_late(plain)
    locations: _Locations = {(): Location("spec")}
    _expand_shorthands(shorthands, plain, locations)
    huge = tuple(
        Problem(Location("spec"), dotted(path), TOO_LARGE) for path in _take_huge(plain, ())
    )
    return Document(plain, locations, huge)


def _take_huge(holder: Any, path: KeyPath) -> Iterator[KeyPath]:
    """Put None in place of whole numbers that are too large, and yield where they were."""
    if not isinstance(holder, dict | list):
        return
    for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
        if isinstance(value, int) and is_too_large(value):
            holder[key] = None
            yield (*path, key)
        yield from _take_huge(value, (*path, key))


def load_document(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    text: str | None = None,
    shorthands: Mapping[str, str] | None = None,
    is_leaf: Callable[[Mapping[str, Any]], bool] = lambda _: False,
    is_untyped: Callable[[KeyPath], bool] = lambda _: False,
    is_spec: Callable[[str], bool] = lambda _: True,
    is_record: bool = False,
) -> Document:
    """Read a spec with all that it extends, set the overrides, resolve the references.

    Problems are collected in the document, never raised.

    Args:
        path: the file.
        overrides: ``key.path=value``, the value in YAML.
        text: used instead of the file's content.
        shorthands: top-level keys that may be a bare text, and the key it stands for; expanded
            before merging.
        is_leaf: which mappings `extends` replaces instead of merging (distributions).
        is_untyped: where nothing else checks a value's type, so that ``no`` or ``1_000`` would
            pass as a text.
        is_spec: whether the text of a file that is extended can be a spec. If it is something
            else, nothing of it is repeated: an unknown spec may name any file.
        is_record: whether it is a run's own record, which may come from somebody else: no link is
            followed, `extends` is refused, and references stay as they are.
    """
    composer = _Composer(shorthands or {}, is_leaf, is_untyped, is_spec, text, is_record)
    data = composer.read_chain(path)
    if data is None:
        return Document({}, composer.locations, tuple(composer.problems), path)
    for override in overrides:
        composer.override(data, override)
    if is_record:
        kept, problems = keep_references(data), tuple(composer.problems)
        return Document(kept, composer.locations, problems, path, composer.is_partial)
    resolved, unresolved, texts = interpolate(data, composer.locations)
    problems = (*composer.problems, *unresolved)
    return Document(
        resolved,
        composer.locations,
        problems,
        path,
        composer.is_partial,
        texts,
        tuple(composer.files),
    )


@dataclass
class _Composer:
    shorthands: Mapping[str, str]
    is_leaf: Callable[[Mapping[str, Any]], bool]
    is_untyped: Callable[[KeyPath], bool]
    is_spec: Callable[[str], bool]
    text: str | None = None
    is_record: bool = False
    locations: _Locations = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    is_partial: bool = False
    files: list[tuple[Path, str]] = field(default_factory=list)

    def read_chain(self, path: Path) -> dict[str, Any] | None:
        """The file merged over those it extends; None if it can't be read."""
        layers: list[tuple[dict[str, Any], _Locations]] = []
        seen: list[Path] = []
        current: Path | None = path
        origin = Location(str(path))
        while current is not None:
            key = "extends" if layers else ""
            identity = Path(os.path.realpath(current))
            if identity in seen or len(seen) >= _MAX_EXTENDS:
                names = " -> ".join(file.name for file in [*seen, identity])
                reason = "goes in a circle" if identity in seen else "is too long a chain"
                self._complain(origin, "extends", f"{names} {reason}")
                self.is_partial = True
                break
            seen.append(identity)
            read = self._read_file(current, origin, key)
            if read is None:
                self.is_partial = True
                break
            data, locations = read
            layers.append(read)
            current, origin = self._parent(data, locations, current)
        if not layers:
            return None
        layers.reverse()
        merged, self.locations = layers[0]
        for data, locations in layers[1:]:
            merged = self._merge(merged, data, locations)
        return merged

    def _parent(
        self, data: dict[str, Any], locations: _Locations, path: Path
    ) -> tuple[Path | None, Location]:
        origin = locations.pop(("extends",), locations[()])
        parent = data.pop("extends", None)
        if parent is None:
            return None, origin
        if self.is_record:
            message = "a run's record extends no other file, so none was read; take this key out"
            self._complain(origin, "extends", message)
            self.is_partial = True
            return None, origin
        if not isinstance(parent, str) or not parent:
            message = f"must be the file of the spec to start from; found {show(parent)}"
            self._complain(origin, "extends", message)
            self.is_partial = True
            return None, origin
        return path.parent / parent, origin

    def _read_file(
        self, path: Path, origin: Location, key: str
    ) -> tuple[dict[str, Any], _Locations] | None:
        # A given text extends no file.
        read = read_record if self.is_record else read_file
        text = read(path) if self.text is None else self.text
        whole = Location(str(path))
        if isinstance(text, Unreadable):
            if text.line:
                self._complain(Location(str(path), text.line), "", text.reason)
            else:
                self._complain(origin, key, f"{path}: {text.reason}" if key else text.reason)
            return None
        if key and not self.is_spec(text):
            self._complain(origin, key, f"{path} is no spec: it has none of a spec's keys")
            return None
        parsed = parse_yaml(text, str(path))
        self.problems.extend(parsed.problems)
        for where, words in parsed.doubtful.items():
            if self.is_untyped(where):
                self._complain(parsed.locations[where], dotted(where), words)
        data = parsed.value
        if data is None and parsed.problems:
            return None
        if not isinstance(data, dict):
            kind = "a list" if isinstance(data, list) else "a single value"
            message = f"the file is {kind}; a spec is a mapping, one `key: value` a line"
            if data is None:
                message = "the file is empty; a spec needs at least environment, algorithm and stop"
            self._complain(whole, "", message)
            return None
        self.files.append((path, text))
        parsed.locations[()] = whole
        _expand_shorthands(self.shorthands, data, parsed.locations)
        return data, parsed.locations

    def _complain(self, location: Location, key: str, message: str) -> None:
        self.problems.append(Problem(location, key, message))

    def _merge(
        self, base: dict[str, Any], child: dict[str, Any], locations: _Locations
    ) -> dict[str, Any]:
        replaced: set[KeyPath] = set()
        merged = self._merge_level(base, child, (), replaced)
        kept = {
            path: location
            for path, location in self.locations.items()
            if not any(path[:length] in replaced for length in range(1, len(path) + 1))
        }
        self.locations = {**kept, **locations}
        return merged

    def _merge_level(
        self, base: dict[str, Any], child: dict[str, Any], path: KeyPath, replaced: set[KeyPath]
    ) -> dict[str, Any]:
        """Merge one mapping over another; adds the paths whose old locations are void."""
        merged = dict(base)
        for key, value in child.items():
            here = (*path, key)
            below = merged.get(key)
            if value is None and key in merged:
                # `tracking: null` switches it off; a missing key would leave it on.
                if here == ("tracking",):
                    merged[key] = None
                else:
                    del merged[key]
                replaced.add(here)
            elif (
                isinstance(value, dict)
                and isinstance(below, dict)
                and not self.is_leaf(value)
                and not self.is_leaf(below)
            ):
                merged[key] = self._merge_level(below, value, here, replaced)
            else:
                merged[key] = value
                replaced.add(here)
        return merged

    def _relocate(self, path: KeyPath, place: Location) -> None:
        """Give a key and everything below it one location."""
        length = len(path)
        for old in [known for known in self.locations if known[:length] == path]:
            del self.locations[old]
        self.locations[path] = place

    def override(self, data: dict[str, Any], override: str) -> None:
        """Set ``key.path=value`` in place."""
        place = Location(COMMAND_LINE)
        name, equals, text = override.partition("=")
        path: KeyPath = tuple(name.strip().split("."))
        if not equals or not all(path):
            message = f"{show(override)} is no override; write key.path=value"
            # A shell splits an override that is not quoted.
            hint = ", in quotes where it has blanks" if _is_fragment(override) else ""
            self._complain(place, "", f"{message}{hint}")
            return
        if not text.strip():
            message = f"has no value; write {name.strip()}=null to leave it out"
            self._complain(place, name.strip(), message)
            return
        if path[0] == "extends":
            message = "can't be set here: it is composed before the overrides"
            self._complain(place, "extends", message)
            return
        parsed = parse_yaml(text, COMMAND_LINE)
        if parsed.problems:
            for problem in parsed.problems:
                self._complain(place, name.strip(), problem.message)
            return
        for where, words in parsed.doubtful.items():
            if self.is_untyped((*path, *where)):
                self._complain(place, dotted((*path, *where)), words)
        self._assign(data, path, parsed.value, place)

    def _assign(self, data: dict[str, Any], path: KeyPath, value: Any, place: Location) -> None:
        target: Any = data
        for position, key in enumerate(path[:-1]):
            holder = _get(target, key)
            if not isinstance(holder, dict | list):
                if isinstance(target, list):
                    break
                holder = {}
                target[key] = holder
                self._relocate(path[: position + 1], place)
            target = holder
        last = path[-1]
        if not isinstance(target, list):
            target[last] = value
        elif is_index(last, target):
            target[int(last)] = value
        else:
            message = f"{last} is no item of a list of {len(target)}"
            self._complain(place, dotted(path), message)
            return
        self._relocate(tuple(_as_index(data, path)), place)
        _expand_shorthands(self.shorthands, data, self.locations)


def _expand_shorthands(
    shorthands: Mapping[str, str], data: dict[str, Any], locations: _Locations
) -> None:
    for key, inner in shorthands.items():
        value = data.get(key)
        if isinstance(value, str):
            data[key] = {inner: value}
            locations[(key, inner)] = locations.get((key,), locations[()])


def _is_fragment(override: str) -> bool:
    return override.startswith("=") or bool(set(override) & set("[]{},"))


def _get(holder: Any, key: str | int) -> Any:
    if isinstance(holder, list):
        return holder[int(key)] if is_index(key, holder) else None
    return holder.get(key) if isinstance(holder, dict) else None


def _as_index(data: Any, path: KeyPath) -> list[str | int]:
    """The path with list positions as integers, as in locations."""
    found: list[str | int] = []
    for key in path:
        found.append(int(key) if isinstance(data, list) else key)
        data = _get(data, key)
    return found
