"""What a syntax error of PyYAML's parser means, in words for somebody who writes a spec."""

from __future__ import annotations

from typing import Any

import yaml

from sweeper.spec.text.scalars import explain_character, find_odd_blank

__all__ = ["explain_syntax", "line_of"]

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


def explain_syntax(error: yaml.MarkedYAMLError, text: str) -> tuple[int, str]:
    """The line to name, and what is wrong there."""
    line = line_of(_place(error))
    lines = text.splitlines()
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    neighbours = lines[max(0, line - 2) : line + 1]
    indent = shown[: len(shown) - len(shown.lstrip())]
    if "\t" in indent or any(near.startswith("\t") for near in neighbours):
        return line, "a tab indents this line; YAML indents with spaces"
    for number, near in enumerate(neighbours, start=max(1, line - 1)):
        odd = find_odd_blank(near.partition(" #")[0])
        if odd is not None:
            return number, f"{explain_character(odd)} is on this line; YAML takes spaces only"
    context = f" ({error.context})" if error.context else ""
    theirs = f"{error.problem}{context}"
    for part, ours in _SYNTAX:
        if part in theirs:
            begin = line_of(error.context_mark) if error.context_mark else line
            return line, f"not readable as YAML: {ours.replace('{}', str(begin))}"
    return line, f"not readable as YAML: {theirs}"


def _place(error: yaml.MarkedYAMLError) -> Any:
    """The mark to report: where the context begins for errors that are found late."""
    if error.context_mark and any(part in str(error.problem) for part in _REPORTED_LATE):
        return error.context_mark
    return error.problem_mark or error.context_mark


def line_of(mark: Any) -> int:
    """The line of a mark of PyYAML's, from 1; 0 without a mark."""
    return 0 if mark is None else int(mark.line) + 1
