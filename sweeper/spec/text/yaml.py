"""Reading YAML 1.2 text as plain values, with the line of every key.

PyYAML resolves scalars by YAML 1.1 (``no`` is False, ``1e-4`` a string, ``12:30`` the number 750),
keeps the last of two equal keys, and follows any tag and alias. So only its parser is used: the
values are built here from its events, by the core schema of YAML 1.2.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from sweeper.errors import Location, Problem

__all__ = ["KeyPath", "YamlText", "dotted", "is_index", "locate", "parse_scalar", "parse_yaml"]

KeyPath = tuple[str | int, ...]

_MAX_DEPTH = 50
_MAX_VALUES = 10_000

# YAML 1.2's core schema (10.3.2).
_SCALARS: tuple[tuple[str, Callable[[str], Any]], ...] = (
    (r"[-+]?[0-9]+", int),
    (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", float),
    (r"null|Null|NULL|~|", lambda _: None),
    (r"true|True|TRUE", lambda _: True),
    (r"false|False|FALSE", lambda _: False),
    (r"0o[0-7]+", lambda text: int(text, 8)),
    (r"0x[0-9a-fA-F]+", lambda text: int(text, 16)),
    (r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", lambda text: float(text.replace(".", ""))),
)

# What YAML 1.2 does not allow in a file (5.1, "Character Set").
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def is_index(key: str | int, items: list[Any]) -> bool:
    """Whether a part of a key path is the index of a list's item."""
    return str(key).isdecimal() and int(key) < len(items)


def dotted(path: KeyPath) -> str:
    """A key path as the user writes it: ``environment.wrappers.0``."""
    return ".".join(str(part) for part in path)


def locate(locations: Mapping[KeyPath, Location], path: KeyPath, otherwise: Location) -> Location:
    """The location of a key, or of the nearest key above it."""
    ways = (path[:length] for length in range(len(path), -1, -1))
    return next((locations[way] for way in ways if way in locations), otherwise)


@dataclass(frozen=True)
class YamlText:
    """A parsed text.

    Attributes:
        value: of dicts with text keys, lists and scalars; None after a syntax error.
        locations: of every key and list item.
        problems: of the text itself.
    """

    value: Any
    locations: dict[KeyPath, Location]
    problems: tuple[Problem, ...]


def parse_scalar(text: str) -> Any:
    """The value of a plain scalar by YAML 1.2's core schema.

    Raises:
        ValueError: an integer with more digits than Python reads.
    """
    read = next((read for form, read in _SCALARS if re.fullmatch(form, text)), None)
    return text if read is None else read(text)


def parse_yaml(text: str, file: str) -> YamlText:
    """Read one YAML document.

    Args:
        text: the document.
        file: how problems and locations name it.
    """
    builder = _Builder(file)
    unprintable = _UNPRINTABLE.search(text)
    if unprintable is not None:
        builder.line = text[: unprintable.start()].count("\n") + 1
        found = "a NUL byte" if unprintable[0] == "\0" else f"the character {unprintable[0]!a}"
        builder.complain((), f"this line holds {found}: it is not text", fatal=True)
        return builder.result()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.line = _line(event.start_mark)
            builder.take(event)
    except _GiveUp as hopeless:
        builder.complain((), str(hopeless), fatal=True)
    except yaml.MarkedYAMLError as error:
        builder.line = _line(_place(error))
        builder.complain((), _explain_syntax(error, text, builder.line), fatal=True)
    except yaml.YAMLError as error:
        builder.line = 0
        reason = str(error).splitlines()[0]
        builder.complain((), f"not readable as YAML: {reason}", fatal=True)
    return builder.result()


class _GiveUp(Exception):  # noqa: N818 - a jump out of the event loop, never seen outside
    """The text is hostile or unreadable from here on."""


@dataclass
class _Open:
    """A collection whose end has not been read; a list if ``mapping`` is None."""

    path: KeyPath
    anchor: str | None
    first_count: int
    mapping: dict[str, Any] | None
    items: list[Any] = field(default_factory=list)
    key: str = ""
    has_key: bool = False
    duplicate: bool = False

    @property
    def value(self) -> dict[str, Any] | list[Any]:
        return self.items if self.mapping is None else self.mapping


@dataclass
class _Builder:
    """Builds values from parser events, without recursion: a hostile text may nest deeply."""

    file: str
    line: int = 0
    root: Any = None
    documents: int = 0
    values: int = 0
    fatal: bool = False
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)  # values and their sizes
    locations: dict[KeyPath, Location] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def result(self) -> YamlText:
        value = None if self.fatal else self.root
        return YamlText(value, self.locations, tuple(self.problems))

    def complain(self, path: KeyPath, message: str, *, fatal: bool = False) -> None:
        self.fatal = self.fatal or fatal
        location = Location(self.file, self.line)
        self.problems.append(Problem(location, dotted(path), message))

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise _GiveUp("a second document starts here (---); a spec is one document")
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._start(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if self._awaits_key():
            self._key(event.value)
            return
        path = self._next_path()
        self._refuse_tag(event, path)
        try:
            value = parse_scalar(event.value) if event.implicit[0] else event.value
        except ValueError:
            self.complain(path, "a number of more digits than can be read")
            value = None
        self._count(1)
        if event.anchor is not None:
            self.anchors[event.anchor] = value, 1
        self._place(value, path)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if self._awaits_key():
            raise _GiveUp(f"*{event.anchor} can't be a key; write the key out")
        path = self._next_path()
        if event.anchor not in self.anchors:
            enclosing = any(item.anchor == event.anchor for item in self.stack)
            reason = "refers to what it lies in" if enclosing else f"has no &{event.anchor} above"
            self.complain(path, f"*{event.anchor} {reason}")
            self._place(None, path)
            return
        value, size = self.anchors[event.anchor]
        self._count(size)
        self._place(copy.deepcopy(value), path)

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        if self._awaits_key():
            raise _GiveUp("a key must be plain text, not a list or a mapping")
        if len(self.stack) >= _MAX_DEPTH:
            raise _GiveUp(f"nested more than {_MAX_DEPTH} levels deep")
        path = self._next_path()
        self._refuse_tag(event, path)
        self._count(1)
        mapping: dict[str, Any] | None = {} if isinstance(event, yaml.MappingStartEvent) else None
        opened = _Open(path, event.anchor, self.values - 1, mapping)
        self._place(opened.value, path)
        self.stack.append(opened)

    def _end(self) -> None:
        done = self.stack.pop()
        if done.anchor is not None:
            self.anchors[done.anchor] = done.value, self.values - done.first_count

    def _awaits_key(self) -> bool:
        top = self.stack[-1] if self.stack else None
        return top is not None and top.mapping is not None and not top.has_key

    def _key(self, key: str) -> None:
        top = self.stack[-1]
        top.key, top.has_key = key, True
        path = (*top.path, key)
        top.duplicate = top.mapping is not None and key in top.mapping
        if top.duplicate:
            first = self.locations[path].line
            self.complain(path, f"the key is there twice, first on line {first}; keep one")
            return
        self.locations[path] = Location(self.file, self.line)
        if key == "<<":
            self.complain(path, "merge keys (<<) are not YAML 1.2; use extends, or write it out")

    def _next_path(self) -> KeyPath:
        if not self.stack:
            return ()
        top = self.stack[-1]
        return (*top.path, len(top.items) if top.mapping is None else top.key)

    def _place(self, value: Any, path: KeyPath) -> None:
        if not self.stack:
            self.root = value
            self.locations[()] = Location(self.file, self.line)
            return
        top = self.stack[-1]
        if top.mapping is None:
            self.locations[path] = Location(self.file, self.line)
            top.items.append(value)
            return
        if not top.duplicate:
            top.mapping[top.key] = value
        top.has_key, top.duplicate = False, False

    def _count(self, size: int) -> None:
        self.values += size
        if self.values > _MAX_VALUES:
            raise _GiveUp(f"more than {_MAX_VALUES} values, aliases counted as what they stand for")

    def _refuse_tag(self, event: yaml.NodeEvent, path: KeyPath) -> None:
        tag = getattr(event, "tag", None)
        if tag is not None:
            short = str(tag).replace("tag:yaml.org,2002:", "!!")
            self.complain(path, f"tags ({short}) are not allowed: a spec is plain data")


# Errors that PyYAML reports after the place that causes them.
_REPORTED_LATE = (
    "could not find expected ':'",
    "unexpected end of stream",
    "unexpected document indicator",
)
_NEAR = "check the indentation, and the brackets and quotes above"
# libyaml's messages (src/parser.c, src/scanner.c) and ours; {} is the line of the context.
_SYNTAX: tuple[tuple[str, str], ...] = (
    (
        "expected ',' or ']'",
        "the list that begins with [ on line {} is not closed, or lacks a comma",
    ),
    (
        "expected ',' or '}'",
        "the mapping that begins with { on line {} is not closed, or lacks a comma",
    ),
    ("unexpected end of stream", "the quoted text that begins here is not closed"),
    ("unexpected document indicator", "the quoted text that begins here is not closed"),
    (
        "mapping values are not allowed",
        "a key where none can stand: indented too far, two on one line, or no blank after the "
        "colon above",
    ),
    ("could not find expected ':'", "this line has no `key: value`; a key ends with `: `"),
    ("found unexpected ':'", "a colon without a blank after it; put one there, or quotes around"),
    ("expected key", f"this does not belong to the mapping that begins on line {{}}; {_NEAR}"),
    ("expected '-' indicator", f"this is no item of the list that begins on line {{}}; {_NEAR}"),
    ("expected node content", f"a value is missing; {_NEAR}"),
    ("cannot start any token", "no value can begin with this character; put it into quotes"),
    ("scanning a directive", "no line can begin with %"),
    ("unknown escape character", "no such escape in double quotes; single quotes take \\ as it is"),
    ("while scanning an alias", "* begins an alias; put the text into quotes"),
    ("while scanning an anchor", "& begins an anchor; put the text into quotes"),
)


def _explain_syntax(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    lines = text.splitlines()
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    neighbours = lines[max(0, line - 2) : line + 1]
    indent = shown[: len(shown) - len(shown.lstrip())]
    if "\t" in indent or any(near.startswith("\t") for near in neighbours):
        return "a tab indents this line; YAML indents with spaces"
    context = f" ({error.context})" if error.context else ""
    theirs = f"{error.problem}{context}"
    for part, ours in _SYNTAX:
        if part in theirs:
            begin = _line(error.context_mark) if error.context_mark else line
            return f"not readable as YAML: {ours.replace('{}', str(begin))}"
    return f"not readable as YAML: {theirs}"


def _place(error: yaml.MarkedYAMLError) -> Any:
    """The mark to report: where the context begins for errors that are found late."""
    if error.context_mark and any(part in str(error.problem) for part in _REPORTED_LATE):
        return error.context_mark
    return error.problem_mark or error.context_mark


def _line(mark: Any) -> int:
    return 0 if mark is None else int(mark.line) + 1
