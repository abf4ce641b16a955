"""One line of a journal as bytes: JSON with a checksum, and what its fields must be.

A run folder may be damaged, or come from someone else, so a line that is read is not trusted: its
checksum tells a flipped bit from news, and every field must be of its declared type. Trial ids
and paths must have the form that we give them, because folders are made and deleted by them.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
import zlib
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from sweeper.json_values import UnfitError, decode_json, parse_json

__all__ = [
    "Check",
    "LineError",
    "NoLineError",
    "UnknownKindError",
    "decode_line",
    "encode_line",
    "find_checks",
]

Check = Callable[[Any], Any]
"""Converts a field's value; raises ValueError if it is of another type."""

_CHECKSUM = re.compile(rb', "crc": "([0-9a-f]{8})"}\Z')
_CHECKSUM_BYTES = 20
_MAX_TIME = 1e11  # seconds; `datetime` knows no year 5138
_TRIAL_ID = re.compile(r"[tc]\d{1,9}")
_CHECKPOINT = re.compile(rf"trials/{_TRIAL_ID.pattern}/checkpoint_\d{{1,9}}")
_PER_REPLICA = ("replica/", "agent/")
_OBJECTIVE = {"mode": ("max", "min"), "score": ("last", "best", "auc")}


class LineError(ValueError):
    """A whole line that is not as it was written; the message says what is wrong with it."""


class NoLineError(LineError):
    """Not even JSON: a kill can have cut the line off."""


class UnknownKindError(LineError):
    """An event of a kind that only a later version knows, in a line that is whole.

    Attributes:
        kind: the event's name.
        number: of the line; None if it has none.
    """

    def __init__(self, kind: str, number: int | None) -> None:
        super().__init__(f"unknown event {kind!r}")
        self.kind, self.number = kind, number


def encode_line(document: Mapping[str, Any]) -> bytes:
    """A document as a line with its checksum, and its line break."""
    text = json.dumps(document, allow_nan=False)[:-1].encode()
    return b'%s, "crc": "%08x"}\n' % (text, zlib.crc32(text))


def decode_line(line: bytes) -> tuple[dict[str, Any], bool]:
    """Read what `encode_line` returned, or a line of an earlier version, without a checksum.

    Returns:
        The document, and whether it had a checksum.

    Raises:
        NoLineError: it is no JSON.
        LineError: its checksum is of another line, or it is no mapping.
    """
    found = _CHECKSUM.search(line, max(0, len(line) - _CHECKSUM_BYTES))
    try:
        document = parse_json(line)
        # Few lines hold a non-finite number, and decoding takes as long as parsing.
        if b'"$float"' in line:
            document = decode_json(document)
    except UnfitError as unfit:
        raise LineError(str(unfit)) from None
    except ValueError:
        raise NoLineError("no JSON") from None
    if not isinstance(document, dict):
        raise LineError("no mapping")
    checksum = document.pop("crc", None)
    if found is None:
        if checksum is not None:
            raise LineError("its checksum is not where it belongs")
        return document, False
    if zlib.crc32(line[: found.start()]) != int(found[1], 16):
        raise LineError("its checksum does not fit")
    return document, True


def find_checks(event: type) -> Mapping[str, Check]:
    """A check for every field of an event, by its declared type and, for some, by its name.

    Raises:
        TypeError: a field is declared with a type that has no check.
    """
    hints = typing.get_type_hints(event)
    names = [item.name for item in dataclasses.fields(event)]
    return {name: _BY_NAME.get(name) or _find_check(hints[name]) for name in names}


def _find_check(hint: Any) -> Check:
    if hint in _BY_TYPE:
        return _BY_TYPE[hint]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _member_of(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and arguments[1:] == (...,):
        return _tuple_of(_find_check(arguments[0]))
    if origin in (types.UnionType, typing.Union) and types.NoneType in arguments:
        (inner,) = (part for part in arguments if part is not types.NoneType)
        return _optional(_find_check(inner))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping if arguments[1] is Any else _mapping_of(_find_check(arguments[1]))
    raise TypeError(f"the journal has no check for the type {hint}")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("no number")
    if not 0 <= value <= _MAX_TIME:  # NaN included
        raise ValueError("out of range")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("no whole number")
    if abs(value) >= 2**63:
        raise ValueError("out of range")
    return value


def _scores(value: Any) -> Any:
    """The values of two trials, which may be of any size."""
    is_pair = isinstance(value, list) and len(value) == 2
    if not is_pair or not all(isinstance(one, int | float) for one in value):
        raise ValueError("not two numbers")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("neither true nor false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("no mapping")
    return value


def _mapping_of(inner: Check) -> Check:
    return lambda value: {name: inner(item) for name, item in _mapping(value).items()}


def _record_of(checks: Mapping[str, Check]) -> Check:
    """A mapping some of whose keys are ours; any may be missing."""

    def check(value: Any) -> Mapping[str, Any]:
        for name, item in _mapping(value).items():
            try:
                checks.get(name, _anything)(item)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return _mapping(value)

    return check


def _anything(value: Any) -> Any:
    return value


def _objective(value: Any) -> Mapping[str, str]:
    if _mapping(value).keys() != {"metric", *_OBJECTIVE} or not isinstance(value["metric"], str):
        raise ValueError("no objective")
    if any(value[name] not in allowed for name, allowed in _OBJECTIVE.items()):
        raise ValueError("no objective")
    return _mapping(value)


def _of(value: Any) -> str:
    return _text(value) if value in ("", "baseline") else _ID(value)


def _baseline(value: Any) -> Mapping[str, Any]:
    if value and not {"name", "configuration"} <= _mapping(value).keys():
        raise ValueError("no name, or no configuration")
    return _mapping(_record_of({"name": _text, "configuration": _mapping})(value))


def _row(value: Any) -> Mapping[str, Any]:
    for name, item in _mapping(value).items():
        if name == "agent/replica":
            if not isinstance(item, int) or not 0 <= item < 2**31:
                raise ValueError(f"{name} is no number of a replica")
        elif name.startswith(_PER_REPLICA):
            if not isinstance(item, list):
                raise ValueError(f"{name} is no list")
            is_fit = _are_causes if name == "replica/diverged_because" else _are_values
            if not is_fit(item):
                raise ValueError(f"{name} holds something else")
    return _mapping(value)


_NO_WHOLE = frozenset({bool, float, types.NoneType})


def _are_values(items: list[Any]) -> bool:
    # A call for each takes as long as parsing the line.
    return _NO_WHOLE.issuperset(map(type, items)) or all(map(_is_value, items))


def _is_value(item: Any) -> bool:
    is_whole = isinstance(item, int) and abs(item) < 2**63
    return item is None or is_whole or isinstance(item, float)


def _are_causes(items: list[Any]) -> bool:
    return all(item is None or isinstance(item, str) for item in items)


def _form(pattern: re.Pattern[str], what: str) -> Check:
    def check(value: Any) -> str:
        if pattern.fullmatch(_text(value)) is None:
            raise ValueError(f"no {what} of ours")
        return _text(value)

    return check


def _member_of(enumeration: type[StrEnum]) -> Check:
    def check(value: Any) -> StrEnum:
        if value not in enumeration.__members__.values():
            raise ValueError("unknown")
        return enumeration(value)

    return check


def _tuple_of(inner: Check) -> Check:
    def check(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError("no list")
        return tuple(map(inner, value))

    return check


def _optional(inner: Check) -> Check:
    return lambda value: None if value is None else inner(value)


_BY_TYPE: Mapping[Any, Check] = {float: _number, int: _whole, bool: _flag, str: _text}
_ID = _form(_TRIAL_ID, "trial's id")
_BY_NAME: Mapping[str, Check] = {
    "trial_id": _ID,
    "finalists": _tuple_of(_ID),
    "of": _of,
    "objective": _objective,
    "baseline": _baseline,
    "decision": _optional(
        _record_of(
            {
                "action": _text,
                "reason": _text,
                "rung": _whole,
                "donor": _ID,
                "parameters": _mapping,
                "donor_env_steps": _whole,
                "scores": _scores,
            }
        )
    ),
    "path": _form(_CHECKPOINT, "checkpoint's path"),
    "metrics": _row,
}
