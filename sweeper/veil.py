"""Hide secrets in texts: the values of variables that were resolved, and passwords in URIs.

Records keep a reference in the place of a secret. But code that is given one can say it again, in
an error's text, in what it describes of itself, or on standard output. So what such code says goes
through `veil`, which knows the values that this process has resolved, where it enters: before it
is part of a record or of a message. Records as a whole do not: a value such as ``hopper`` or
``trials`` stands in names and paths as well, and these must stay what they are.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

__all__ = [
    "HIDDEN",
    "VeiledStream",
    "hide_beginnings",
    "hide_passwords",
    "hide_references",
    "remember",
    "unveiled",
    "veil",
    "veil_error",
    "veil_output",
]

HIDDEN = "***"
_MIN_LENGTH = 6
_CUT = 20
_WORD = re.compile(r"\S+")
_USER = re.compile(r"(?<=[\w+.-])://[^\s/:?#]*:")
_REFERENCE = re.compile(r"(?<!\$)\$\{\s*env:[^${}]*\}")
_NUMBER = re.compile(r"[-+]?[\d.]+([eE][-+]?\d+)?")

_values: dict[str, str] = {}
"""The pattern of each text that is hidden."""
_pattern: list[re.Pattern[str]] = []


def remember(text: str) -> None:
    """Hide a text from now on, in all that this process passes on of what other code says.

    A short text, a number and a path stand in many places where they are no secret, so they stay.
    """
    is_common = len(text) < _MIN_LENGTH or _NUMBER.fullmatch(text) or text in _values
    if is_common or os.path.isabs(text):  # noqa: PTH117 - a text
        return
    with contextlib.suppress(OSError):  # somebody has deleted it
        if text in str(Path.cwd()):
            return
    for form in (text, repr(text)[1:-1]):  # each as it is, and in JSON
        escaped = (json.dumps(form)[1:-1], json.dumps(form, ensure_ascii=False)[1:-1])
        _values.update((one, re.escape(one)) for one in (form, *escaped))
    _values[text] = "".join(map(_match_in_uri, text))
    parts = "|".join(_values[one] for one in sorted(_values, key=len, reverse=True))
    _pattern[:] = [re.compile(parts)]


def _match_in_uri(letter: str) -> str:
    """A pattern of a letter as it is and as a URI has it; how much is encoded differs."""
    if letter.isascii() and letter.isalnum():
        return letter
    # The text of a variable that is no UTF-8 has surrogates for its bytes.
    errors = "surrogateescape" if "\udc80" <= letter <= "\udcff" else "surrogatepass"
    encoded = "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", errors))
    forms = [re.escape(letter), f"(?i:{encoded})", *([r"\+"] if letter == " " else [])]
    return f"(?:{'|'.join(forms)})"


def veil(text: str) -> str:
    """What other code said, with ``***`` in the place of each secret."""
    return _pattern[0].sub(HIDDEN, text) if _pattern else text


def hide_passwords(text: str) -> str:
    """A text with ``***`` in the place of every password in a URI."""
    return _WORD.sub(_hide_password, text) if "://" in text and "@" in text else text


def _hide_password(word: re.Match[str]) -> str:
    """A word with the password of its first URI that has one, which goes up to the last @.

    Both ends are looked for once, so that it takes no longer than the word's length.
    """
    text = word[0]
    end = text.rfind("@")
    user = _USER.search(text, 0, max(0, end))
    return text if user is None else f"{text[: user.end()]}{HIDDEN}{text[end:]}"


def hide_references(text: str) -> str:
    """A text with ``***`` in the place of every ``${env:NAME}``."""
    return _REFERENCE.sub(HIDDEN, text) if "${" in text else text


def hide_beginnings(text: str, values: Iterable[str]) -> str:
    """A text with ``***`` for each of some values, even where it was cut short."""
    for value in values:
        if len(value) >= _MIN_LENGTH and not _NUMBER.fullmatch(value):
            beginning = re.escape(repr(value[:_CUT])[1:-1])
            text = re.sub(rf"{beginning}[^\s'\"]*", HIDDEN, text)
    return text


class VeiledStream(io.TextIOBase):
    """A text stream that hides secrets in what is written to another one."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str, /) -> int:
        """Write a text."""
        self.stream.write(veil(text))
        return len(text)

    def flush(self) -> None:
        """Flush the other stream."""
        self.stream.flush()

    def fileno(self) -> int:
        """The other stream's descriptor."""
        return self.stream.fileno()

    def isatty(self) -> bool:
        """Whether the other stream is a terminal."""
        return self.stream.isatty()

    def writable(self) -> bool:
        """Always: what is written goes on."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The other stream's encoding."""
        return self.stream.encoding

    @property
    def buffer(self) -> Any:
        """The other stream's bytes, which are written as they are."""
        return self.stream.buffer


def veil_output() -> None:
    """Hide secrets in what this process prints and logs to its output from now on."""
    if not isinstance(sys.stdout, VeiledStream):
        sys.stdout = VeiledStream(sys.stdout)
    if not isinstance(sys.stderr, VeiledStream):
        sys.stderr = VeiledStream(sys.stderr)
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    for handler in [one for logger in loggers for one in getattr(logger, "handlers", ())]:
        # Made before this, with the stream of that time.
        if isinstance(handler, logging.StreamHandler) and _is_plain_output(handler.stream):
            handler.setStream(VeiledStream(handler.stream))


def _is_plain_output(stream: Any) -> bool:
    if isinstance(stream, VeiledStream):
        return False
    with contextlib.suppress(AttributeError, OSError, ValueError):  # it has no descriptor
        return stream.fileno() in (1, 2)
    return False


def veil_error(error: Exception) -> Exception:
    """An error without secrets in its words: the same one, unless its class makes these itself."""
    chain: list[BaseException] = [error]
    for one in chain:
        one.args = tuple(veil(part) if isinstance(part, str) else part for part in one.args)
        causes = (one.__cause__, one.__context__)
        chain += [cause for cause in causes if cause is not None and cause not in chain]
    words = "".join(traceback.format_exception(error))
    if veil(words) == words:
        return error
    plain = RuntimeError(f"{type(error).__name__}: {veil(str(error))}")
    return plain.with_traceback(error.__traceback__)


def unveiled(stream: TextIO) -> TextIO:
    """The stream for words of our own, which holds names and paths as they are."""
    return stream.stream if isinstance(stream, VeiledStream) else stream
