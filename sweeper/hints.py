"""Parts of error messages: the value that was found, and what was probably meant.

Values come from untrusted files: what is shown is cut short, and no function here takes longer
for a longer value.
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sweeper.veil import hide_passwords

__all__ = [
    "did_you_mean",
    "folder_name",
    "join_words",
    "nearest",
    "number_hint",
    "quote_hint",
    "seconds_hint",
    "show",
    "switch_hint",
]

_MAX_SHOWN = 60
_MAX_NAME = 80  # a longer name is no typo, and makes difflib slow


def show(value: Any) -> str:
    """A value as a spec writes it, in one line of at most 60 characters."""
    text = ""
    for piece in _pieces(value):
        text += piece
        if len(text) > _MAX_SHOWN:
            return f"{text[: _MAX_SHOWN - 1]}…"
    return text


def nearest(name: object, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name closest to ``name``, ignoring case; None if none is close."""
    text = str(name).lower()
    if len(text) > _MAX_NAME:
        return None
    folded: dict[str, str] = {}
    for one in known:
        folded.setdefault(one.lower(), one)
    near = difflib.get_close_matches(text, folded, n=1, cutoff=cutoff)
    return folded[near[0]] if near else None


def did_you_mean(name: object, known: Iterable[str], cutoff: float = 0.6) -> str:
    """``; did you mean lr?``, or an empty string."""
    near = nearest(name, known, cutoff)
    return f"; did you mean {near}?" if near else ""


def join_words(words: Sequence[str], last: str = "and") -> str:
    """``PPO``, ``PPO and DQN``, ``PPO, DQN and SAC``."""
    *first, final = words
    return f"{', '.join(first)} {last} {final}" if first else final


def folder_name(text: str) -> str:
    """The nearest name that a folder may have anywhere: ``f\u00fcr mich`` becomes ``fur-mich``."""
    letters = unicodedata.normalize("NFKD", text)
    spelt = "".join(one for one in letters if not unicodedata.combining(one))
    return re.sub(r"[^A-Za-z0-9._-]+", "-", spelt).strip(".-")


def number_hint(found: Any) -> str:
    """For text where a number belongs: the number to write, or an empty string."""
    if not isinstance(found, str) or len(found) > _MAX_SHOWN:
        return ""
    # Full-width digits and typographic minus signs become ASCII.
    plain = unicodedata.normalize("NFKC", found).replace("\u2212", "-").replace("\u2013", "-")
    plain = plain.replace("_", "").strip()
    if re.fullmatch(r"[-+]?[1-9]\d{0,2}([,' ]\d{3})+(\.\d+)?", plain):
        plain = re.sub(r"[,' ]", "", plain)
    elif re.fullmatch(r"[-+]?\d+,\d+", plain):  # a decimal comma
        plain = plain.replace(",", ".")
    elif short := re.fullmatch(r"(\d+(?:\.\d+)?)([kKM])", plain):
        number = float(short[1]) * (1e6 if short[2] == "M" else 1e3)
        plain = str(int(number)) if number.is_integer() else str(number)
    try:
        is_number = plain.isascii() and math.isfinite(
            float(plain)
        )  # a bare `inf` is text in YAML, too
    except ValueError:
        return ""
    return f"; that is text, write {plain}" if is_number else ""


def seconds_hint(found: Any) -> str:
    """For a time with a unit where seconds belong: the seconds, or an empty string."""
    if not isinstance(found, str) or len(found) > _MAX_SHOWN:
        return ""
    clock = re.fullmatch(r"(\d{1,4}):([0-5]\d):([0-5]\d)", found.strip())
    if clock:
        hours, minutes, seconds = map(int, clock.groups())
        return f"; in seconds: {3600 * hours + 60 * minutes + seconds}"
    time = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]+)", found.strip().lower())
    unit = _TIME_UNITS_S.get(time[2].rstrip("s") or "s") if time else None
    return f"; in seconds: {float(time[1]) * unit:g}" if time and unit else ""


_TIME_UNITS_S: Mapping[str, float] = {
    **dict.fromkeys(("s", "sec", "second"), 1),
    **dict.fromkeys(("m", "min", "minute"), 60),
    **dict.fromkeys(("h", "hr", "hour"), 3600),
    **dict.fromkeys(("d", "day"), 86_400),
}


def switch_hint(found: Any) -> str:
    """For a boolean of YAML 1.1, which is text in YAML 1.2: what to write, or an empty string."""
    if not isinstance(found, str) or found.lower() not in _SWITCHES:
        return ""
    return f"; {found} is text in YAML 1.2, write {_SWITCHES[found.lower()]}"


_SWITCHES: Mapping[str, str] = {
    **dict.fromkeys(("yes", "on", "true"), "true"),
    **dict.fromkeys(("no", "off", "false"), "false"),
}


def quote_hint(found: Any) -> str:
    """For a number or boolean where text belongs: the value in quotes, or an empty string."""
    return f'; for a text write "{show(found)}"' if isinstance(found, bool | int | float) else ""


def _pieces(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield "{"
        for number, (key, item) in enumerate(value.items()):
            yield f"{', ' if number else ''}{str(key)[:_MAX_SHOWN]}: "
            yield from _pieces(item)
        yield "}"
    elif isinstance(value, list | tuple):
        yield "["
        for number, item in enumerate(value):
            if number:
                yield ", "
            yield from _pieces(item)
        yield "]"
    else:
        yield _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    if isinstance(value, str):
        value = hide_passwords(value)  # before the text is cut, which would hide the @
    return repr(value[: _MAX_SHOWN + 1]) if isinstance(value, str) else repr(value)
