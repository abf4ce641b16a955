"""Values as JSON, which has no NaN, no infinities and no numpy numbers.

Two forms: `encode_json` for our own records, which `parse_json` and `decode_json` read back, and
`to_json` for people and scripts. A record that is read may be damaged, or come from someone else.
So what none of ours can hold is refused here, once for all readers.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["LARGEST", "UnfitError", "decode_json", "encode_json", "parse_json", "to_json"]

_MAX_DEPTH = 50  # of a configuration; Python's own limit is a thousand
LARGEST = int(sys.float_info.max)
"""Whole numbers beyond it fit no float."""
_MAX_DIGITS = len(str(LARGEST)) + 1  # one for the sign
# orjson makes whole numbers beyond 64 bits floats; so long ones are looked for first.
_LONG, _TO_ZEROS = b"0" * len(str(2**63)), bytes.maketrans(b"123456789", b"000000000")
_WHOLE = re.compile(rb"(?<![0-9.])[0-9]{%d}" % len(_LONG))  # and no fraction's digits
_NON_FINITE = {repr(number): number for number in (math.nan, math.inf, -math.inf)}


class UnfitError(ValueError):
    """JSON that is none of our records; the message says why."""


def parse_json(text: str | bytes, *, keeps_halves: bool = False) -> Any:
    """Parse a record.

    Args:
        text: JSON; as bytes in UTF-8.
        keeps_halves: keep half surrogate pairs, which JSON can hold and UTF-8 can't, as names of
            files may; else ``?`` takes their place.

    Raises:
        UnfitError: it is nested more than 50 deep, or has a whole number beyond the largest float.
        ValueError: it is no JSON.
    """
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if _LONG not in raw.translate(_TO_ZEROS) or not _WHOLE.search(raw):
        try:
            document = orjson.loads(raw)
        except orjson.JSONDecodeError:  # what is wrong with it, if anything, Python's parser knows
            pass
        else:
            if raw.count(b"{") + raw.count(b"[") > _MAX_DEPTH:
                _check_depth(document, _MAX_DEPTH)
            return document
    return _parse_slowly(text.decode("utf-8") if isinstance(text, bytes) else text, keeps_halves)


def _parse_slowly(text: str, keeps_halves: bool) -> Any:
    """Parse what orjson can't: the halves of surrogate pairs, NaN, whole numbers of any length."""
    try:
        document = _CAREFUL.decode(text)
    except RecursionError:
        raise UnfitError("nested too deeply") from None
    _check_depth(document, _MAX_DEPTH)
    if ("\\ud" in text or "\\uD" in text) and not keeps_halves:
        whole = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
        document = json.loads(whole)
    return document


def _parse_whole(digits: str) -> int:
    if len(digits) <= _MAX_DIGITS and abs(number := int(digits)) <= LARGEST:
        return number
    raise UnfitError("a number beyond the largest float")


_CAREFUL = json.JSONDecoder(parse_int=_parse_whole)


def _check_depth(value: Any, room: int) -> None:
    if not isinstance(value, dict | list):
        return
    if not room:
        raise UnfitError("nested too deeply")
    for item in value.values() if isinstance(value, dict) else value:
        _check_depth(item, room - 1)


def encode_json(value: Any) -> Any:
    """Encode so that `decode_json` can restore the value.

    Non-finite floats become ``{"$float": "nan"}``, so that text stays text; so do whole numbers
    beyond the largest float, as infinities. Tuples become lists, numpy's scalars and arrays
    Python's.
    """
    if isinstance(value, Mapping):
        return {str(key): encode_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode_json(item) for item in value]
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, int):
        if -LARGEST <= value <= LARGEST:
            return value
        value = math.inf if value > 0 else -math.inf
    if hasattr(value, "tolist") and not isinstance(value, float):
        return encode_json(value.tolist())
    number = float(value)
    return number if math.isfinite(number) else {"$float": repr(number)}


def decode_json(value: Any) -> Any:
    """Undo `encode_json`, except that tuples stay lists.

    Raises:
        UnfitError: ``$float`` holds no number that JSON lacks.
    """
    if isinstance(value, dict):
        if value.keys() == {"$float"}:
            name = value["$float"]
            if not isinstance(name, str) or name not in _NON_FINITE:
                raise UnfitError("no number in $float")
            return _NON_FINITE[name]
        return {key: decode_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode_json(item) for item in value]
    return value


def to_json(value: Any) -> Any:
    """Convert to JSON types for output; not reversible.

    Non-finite numbers become the text that a spec takes (``nan``, ``inf``, ``-inf``), tuples
    lists, numpy's scalars and arrays Python's, and any other object its text.
    """
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if value is None or isinstance(value, bool | int | str):
        return value
    return to_json(value.tolist()) if hasattr(value, "tolist") else str(value)
