"""Reading YAML 1.2 text as plain values, with the line of every key.

PyYAML resolves scalars by YAML 1.1 (``no`` is False, ``1e-4`` a string, ``12:30`` the number 750),
keeps the last of two equal keys, and follows any tag and alias. So only its parser is used: the
values are built here from its events, by the core schema of YAML 1.2.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from sweeper.errors import Location, Problem
from sweeper.spec.text.scalars import (
    BLANKS,
    TOO_LARGE,
    explain_character,
    explain_typography,
    find_odd_blank,
    join_number,
    parse_scalar,
    refuse_number,
    refuse_untyped,
)
from sweeper.spec.text.syntax import explain_syntax, line_of

__all__ = ["KeyPath", "YamlText", "dotted", "is_index", "locate", "parse_yaml"]

KeyPath = tuple[str | int, ...]

_MAX_DEPTH = 50
_MAX_VALUES = 10_000

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
        doubtful: plain texts that are wrong where a value of any type can stand, and why.
    """

    value: Any
    locations: dict[KeyPath, Location]
    problems: tuple[Problem, ...]
    doubtful: Mapping[KeyPath, str] = field(default_factory=dict)


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
    indent = _odd_indent(text)
    if indent is not None:
        builder.line, words = indent
        builder.complain((), words, fatal=True)
        return builder.result()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.line = line_of(event.start_mark)
            builder.take(event)
    except _GiveUp as hopeless:
        builder.complain((), str(hopeless), fatal=True)
    except yaml.MarkedYAMLError as error:
        builder.line, words = explain_syntax(error, text)
        builder.complain((), words, fatal=True)
    except yaml.YAMLError as error:
        builder.line = 0
        reason = str(error).splitlines()[0]
        builder.complain((), f"not readable as YAML: {reason}", fatal=True)
    return builder.result()


class _GiveUp(Exception):  # noqa: N818 - a jump out of the event loop, never seen outside
    """The text is hostile or unreadable from here on."""


@dataclass(frozen=True)
class _Written:
    """A plain scalar in brackets; ``joined`` if it was put together, as it stands in the text."""

    text: str
    path: KeyPath
    end: int
    joined: str = ""

    @property
    def whole(self) -> str:
        return self.joined or self.text


@dataclass
class _Open:
    """A collection whose end has not been read; a list if ``mapping`` is None."""

    path: KeyPath
    anchor: str | None
    first_count: int
    mapping: dict[str, Any] | None
    items: list[Any] = field(default_factory=list)
    is_flow: bool = False
    key: str = ""
    has_key: bool = False
    duplicate: bool = False
    last: _Written | None = None
    has_commas: bool = False

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
    doubtful: dict[KeyPath, str] = field(default_factory=dict)

    def result(self) -> YamlText:
        value = None if self.fatal else self.root
        return YamlText(value, self.locations, tuple(self.problems), self.doubtful)

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
        is_plain = event.implicit[0]
        if self._awaits_key():
            self._key(event.value, is_plain=is_plain)
            return
        if is_plain and self._joins_number(event):
            return
        path = self._next_path()
        self._refuse_tag(event, path)
        # A number with a tag is read, so that what else is wrong with it is said, too.
        is_read = is_plain or str(event.tag).endswith((":float", ":int", ":bool", ":null"))
        try:
            value = parse_scalar(event.value) if is_read else event.value
        except ValueError:
            self.complain(path, TOO_LARGE)
            value = None
        if is_plain:
            self._check_plain(event, value, path)
        self._count(1)
        if event.anchor is not None:
            self.anchors[event.anchor] = value, 1
        self._place(value, path)

    def _check_plain(self, event: yaml.ScalarEvent, value: Any, path: KeyPath) -> None:
        """Refuse or note a plain scalar whose author may have meant another value."""
        text = event.value
        is_text = isinstance(value, str)
        if value is not None:
            refusal = explain_typography(text) if is_text else refuse_number(text)
            if refusal is not None:
                self.complain(path, refusal)
        if is_text and (doubt := refuse_untyped(text)) is not None:
            self.doubtful[path] = doubt
        if self.stack and self.stack[-1].is_flow:
            self.stack[-1].last = _Written(text, path, _index(event.end_mark))

    def _joins_number(self, event: yaml.ScalarEvent) -> bool:
        """Whether this is the rest of a number with a comma in it, which brackets cut in two."""
        top = self.stack[-1] if self.stack else None
        if top is None or not top.is_flow or top.last is None:
            return False
        if top.mapping is None:
            rest = event.value
            is_rest = _index(event.start_mark) == top.last.end + 1
            is_rest = is_rest and (rest.startswith("0") or top.has_commas)
        else:
            rest = top.key
            is_rest = not event.value
        number = join_number(top.last.text, rest) if is_rest else None
        if number is None:
            return False
        try:
            value = parse_scalar(number)
        except ValueError:  # which the first part of it was called already, or is called now
            value = None
        first, whole = top.last, f"{top.last.whole},{rest}"
        if first.joined:  # the third part of 1,024,000
            self.problems.pop()
        words = f"{whole} is not one number in YAML; write {number}"
        self.problems.append(Problem(self.locations[first.path], dotted(first.path), words))
        top.has_commas = True
        if top.mapping is None:
            top.items[-1] = value
        else:
            del self.locations[self._next_path()]
            top.mapping[str(first.path[-1])] = value
            top.has_key = False
        top.last = _Written(number, first.path, _index(event.end_mark), whole)
        return True

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
        is_flow = bool(event.flow_style)
        opened = _Open(path, event.anchor, self.values - 1, mapping, is_flow=is_flow)
        self._place(opened.value, path)
        self.stack.append(opened)

    def _end(self) -> None:
        done = self.stack.pop()
        if done.anchor is not None:
            self.anchors[done.anchor] = done.value, self.values - done.first_count

    def _awaits_key(self) -> bool:
        top = self.stack[-1] if self.stack else None
        return top is not None and top.mapping is not None and not top.has_key

    def _key(self, key: str, *, is_plain: bool) -> None:
        top = self.stack[-1]
        top.key, top.has_key = key, True
        path = (*top.path, key)
        top.duplicate = top.mapping is not None and key in top.mapping
        if top.duplicate:
            first = self.locations[path].line
            self.complain(path, f"the key is there twice, first on line {first}; keep one")
            return
        self.locations[path] = Location(self.file, self.line)
        typography = explain_typography(key) if is_plain else None
        if typography is not None:
            self.complain(path, typography)
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
            text = getattr(event, "value", None)
            remedy = f"; write {text}" if text and short in _HARMLESS_TAGS else ""
            remedy = "; quotes make a text" if short == "!!str" else remedy
            self.complain(path, f"tags ({short}) are not allowed: a spec is plain data{remedy}")


_HARMLESS_TAGS = ("!!bool", "!!float", "!!int")


def _index(mark: Any) -> int:
    """The position of a mark of PyYAML's in the text."""
    return int(mark.index)


def _odd_indent(text: str) -> tuple[int, str] | None:
    """The first line that is indented with what only looks like spaces, and what that is."""
    for number, line in enumerate(text.split("\n"), start=1):
        odd = find_odd_blank(line[: len(line) - len(line.lstrip(BLANKS))])
        if odd is not None:
            what = explain_character(odd)
            return number, f"{what} indents this line; YAML indents with spaces"
    return None
