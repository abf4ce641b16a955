"""Text from elsewhere, made fit for a terminal: the one place that it all goes through.

Specs, names, error texts and logs may hold escape sequences, which can rewrite what the terminal
shows, set its title or have it send keys. Whatever the command line and the views print has
passed through `printable`; JSON has escapes of its own.
"""

from __future__ import annotations

import logging
import re

from sweeper.veil import hide_passwords, veil

__all__ = ["PrintableFormatter", "printable"]

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
# Control characters but tab and newline; marks that reverse the direction of writing; halves of
# surrogate pairs, which can't be written as UTF-8.
_UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""The text with what a terminal would act on spelled out, as ``\x1b``.

    Colours are taken away, passwords in URIs are hidden. Newlines and tabs stay.
    """
    text = hide_passwords(text)
    if text.isprintable():
        return text
    return _UNFIT.sub(_spell, _COLOUR.sub("", text.replace("\r\n", "\n")))


def _spell(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


class PrintableFormatter(logging.Formatter):
    """Formats log records, of whatever code, for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as printable text, without secrets."""
        return printable(veil(super().format(record)))
