"""What a plain scalar means by YAML 1.2, and which ones its author may have meant otherwise."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from sweeper.hints import number_hint, show, switch_hint

__all__ = [
    "BLANKS",
    "TOO_LARGE",
    "explain_character",
    "explain_typography",
    "find_odd_blank",
    "is_too_large",
    "join_number",
    "parse_scalar",
    "refuse_number",
    "refuse_untyped",
]

_MAX_BITS = 1023  # of the largest float


def is_too_large(number: int) -> bool:
    """Whether a whole number is beyond the largest float; comparing or printing it may fail."""
    return number.bit_length() > _MAX_BITS


def _whole(text: str, base: int = 10) -> int:
    number = int(text, base)
    if is_too_large(number):
        raise ValueError(TOO_LARGE)
    return number


# YAML 1.2's core schema (10.3.2).
_SCALARS: tuple[tuple[str, Callable[[str], Any]], ...] = (
    (r"[-+]?[0-9]+", _whole),
    (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", float),
    (r"null|Null|NULL|~|", lambda _: None),
    (r"true|True|TRUE", lambda _: True),
    (r"false|False|FALSE", lambda _: False),
    (r"0o[0-7]+", lambda text: _whole(text, 8)),
    (r"0x[0-9a-fA-F]+", lambda text: _whole(text, 16)),
    (r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", lambda text: float(text.replace(".", ""))),
)
TOO_LARGE = "a number of more digits than can be read"
_QUOTES = "\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab\u00bb"
_INFINITE = {"inf": ".inf", "-inf": "-.inf", "+inf": ".inf", "nan": ".nan"}
# What looks like a blank or like nothing, and is neither to YAML.
_ODD = (
    "\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029"
    "\u202f\u205f\u3000\u200b\u200c\u200d\u2060\ufeff\u00ad"
)
BLANKS = f" \t\r{_ODD}"


def parse_scalar(text: str) -> Any:
    """The value of a plain scalar by YAML 1.2's core schema.

    Raises:
        ValueError: a whole number that is larger than the largest float.
    """
    read = next((read for form, read in _SCALARS if re.fullmatch(form, text)), None)
    return text if read is None else read(text)


def refuse_number(text: str) -> str | None:
    """Why a plain scalar is not taken as the number that YAML 1.2 makes of it; None if it is."""
    if re.fullmatch(r"[-+]?0[0-9]+", text):
        whole = _whole(text)
        return (
            f"{text} begins with 0, which older YAML reads as an octal number; write {whole}, or "
            f'for a text "{text}"'
        )
    value = parse_scalar(text) if re.fullmatch(r"[-+.0-9eE]+", text) else None
    if isinstance(value, float):
        if math.isinf(value):
            return f"{text} is more than a number can be"
        if value == 0 and re.search(r"[1-9]", text.lower().partition("e")[0]):
            return f"{text} is less than a number can be, and would be 0"
    return None


def refuse_untyped(text: str) -> str | None:
    """Why a plain text can't stand where any type may: older YAML or Python reads another type."""
    value = _INFINITE.get(text.lower())
    if value is None:
        hint = switch_hint(text) or ("" if text[-1:].isalpha() else number_hint(text))
        value = hint.rpartition("write ")[2]
    if not value:
        return None
    return f'{text} is text in YAML 1.2; write {value}, or for the text "{text}"'


def join_number(first: str, rest: str) -> str | None:
    """The number that ``first,rest`` was meant to be; None if it is none.

    Inside braces YAML makes the value ``1`` and the key ``024`` of ``1,024``.
    """
    if not re.fullmatch(r"\d+(\.\d+)?", rest):
        return None
    if re.fullmatch(r"[-+]?[1-9]\d{0,2}(\d{3})*", first) and re.match(r"\d{3}(?!\d)", rest):
        return first + rest
    return f"{first}.{rest}" if re.fullmatch(r"[-+]?\d+", first) and rest.isdecimal() else None


def explain_typography(text: str) -> str | None:
    """Why a plain scalar or a key can't be meant as it is: its quotes, or what can't be seen."""
    if text and text[0] in _QUOTES:
        return f'{text[0]} is no quotation mark in YAML; write "{text.strip(_QUOTES)}"'
    odd = find_odd_blank(text)
    return None if odd is None else f"{explain_character(odd)} is in {show(text)}; delete it"


def find_odd_blank(text: str) -> str | None:
    """The first character that looks like a blank, or like nothing, and is no blank in YAML."""
    return next((one for one in text if one in _ODD), None)


def explain_character(character: str) -> str:
    """``a no-break space (U+00A0)``."""
    name = unicodedata.name(character, "control character").lower()
    article = "an" if name[0] in "aeiou" else "a"
    return f"{article} {name} (U+{ord(character):04X})"
