"""Resolving `${a.b}` and `${env:NAME}` in the texts of a document."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.errors import Location, Problem
from sweeper.hints import did_you_mean
from sweeper.references import escape
from sweeper.spec.text.scalars import parse_scalar
from sweeper.spec.text.yaml import KeyPath, dotted, is_index, locate

__all__ = ["escape_late", "interpolate", "keep_references"]

# Free texts that may be secrets: variables are put in their places when they are used, by
# `sweeper.references`, and not before.
_LATE: tuple[KeyPath, ...] = (
    ("environment", "kwargs"),
    ("environment", "wrappers"),
    ("tracking", "uri"),
)
# Its values are recorded with every trial.
_PLAIN: KeyPath = ("param_space",)

_MAX_VALUES = 10_000
_MAX_TEXT = 1 << 20
_REFERENCE = re.compile(r"\$\$\{|\$\{([^${}]*)\}")
_MISSING = object()


def interpolate(
    data: dict[str, Any], locations: Mapping[KeyPath, Location]
) -> tuple[dict[str, Any], tuple[Problem, ...], tuple[str, ...]]:
    """Replace the references in every text; ``$${`` stands for the text ``${``.

    A text that is nothing but a reference becomes the value it refers to, type included. An
    environment variable has the type that its text would have in YAML.

    In arguments of the environment and in the tracking URI, which may hold secrets, references to
    variables and ``$${`` stay as they are.

    Returns:
        The document with its references resolved, the problems, and the texts of variables that
        were put in place.
    """
    work = _Interpolation(data, locations)
    resolved = {key: work.resolve(value, (key,), ()) for key, value in data.items()}
    return resolved, tuple(work.problems), tuple(work.texts)


def escape_late(data: dict[str, Any]) -> None:
    """Mark texts that were given as plain values, in place: a ``${`` in them is no reference."""
    for *parents, last in _LATE:
        holder: Any = data
        for key in parents:
            holder = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and last in holder:
            holder[last] = escape(holder[last])


def keep_references(data: dict[str, Any]) -> dict[str, Any]:
    """What a run recorded of its spec: nothing in it is looked up, whoever wrote it.

    A launch resolves what is not late, and records ``$${`` for each ``${`` that is left. A
    reference there was put in by somebody else, who must not learn the reader's variables: it is
    a text like any other.
    """
    return {key: _unescape(value, (key,)) for key, value in data.items()}


def _unescape(value: Any, path: KeyPath) -> Any:
    if isinstance(value, dict):
        return {key: _unescape(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_unescape(item, (*path, number)) for number, item in enumerate(value)]
    if isinstance(value, str) and not _is_late(path):
        return value.replace("$${", "${")
    return value


def _is_late(path: KeyPath) -> bool:
    return any(path[: len(late)] == late for late in _LATE)


@dataclass
class _Interpolation:
    data: dict[str, Any]
    locations: Mapping[KeyPath, Location]
    problems: list[Problem] = field(default_factory=list)
    values: int = 0
    texts: list[str] = field(default_factory=list)

    def resolve(self, value: Any, path: KeyPath, chain: tuple[str, ...]) -> Any:
        self.values += 1
        if self.values > _MAX_VALUES:
            if self.values == _MAX_VALUES + 1:
                self._complain(
                    path,
                    f"references make this document too large: more than {_MAX_VALUES:,} values",
                )
            return None
        if isinstance(value, dict):
            return {key: self.resolve(item, (*path, key), chain) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item, (*path, n), chain) for n, item in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            return self._resolve_text(value, path, chain)
        return value

    def _resolve_text(self, text: str, path: KeyPath, chain: tuple[str, ...]) -> Any:
        whole = _REFERENCE.fullmatch(text)
        if whole is not None and whole.group(1) is not None:
            found = self._look_up(whole.group(1), path, chain)
            if whole.group(1).strip().startswith("env:") and path[:1] == _PLAIN:
                self._refuse_text(found, path)
            return None if found is _MISSING else found

        def replace(match: re.Match[str]) -> str:
            if match.group(1) is None:  # $${ is the text ${
                return match.group(0) if _is_late(path) else "${"
            found = self._look_up(match.group(1), path, chain)
            if match.group(1).strip().startswith("env:") and path[:1] == _PLAIN:
                self._refuse_text(found, path)
            if isinstance(found, dict | list):
                self._complain(
                    path,
                    f"{match.group(0)} is a list or a mapping, which can't be put inside a text",
                )
                return ""
            return "" if found is _MISSING else _as_text(found)

        replaced = _REFERENCE.sub(replace, text)
        if len(replaced) > _MAX_TEXT:
            self._complain(
                path, f"references make this text too large: more than {_MAX_TEXT:,} characters"
            )
            return ""
        return replaced

    def _look_up(self, name: str, path: KeyPath, chain: tuple[str, ...]) -> Any:
        name = name.strip()
        if name.startswith("env:"):
            return self._look_up_variable(name.removeprefix("env:"), path)
        if name in chain:
            circle = " -> ".join([*chain[chain.index(name) :], name])
            self._complain(path, f"the reference goes in a circle: {circle}")
            return _MISSING
        value: Any = self.data
        for key in name.split("."):
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, list) and is_index(key, value):
                value = value[int(key)]
            else:
                known = [str(known) for known in value] if isinstance(value, dict) else []
                hint = did_you_mean(key, known)
                self._complain(path, f"${{{name}}} refers to no key of this document{hint}")
                return _MISSING
        return self.resolve(value, path, (*chain, name))

    def _look_up_variable(self, name: str, path: KeyPath) -> Any:
        value = os.environ.get(name)
        if value is None:
            if _is_late(path):  # whoever only reads a recorded spec does not need it
                return f"${{env:{name}}}"
            self._complain(path, f"the environment variable {name} is not set")
            return _MISSING
        if _is_late(path):
            return f"${{env:{name}}}"
        self.texts.append(value)
        try:
            return parse_scalar(value)
        except ValueError:
            return value

    def _refuse_text(self, value: Any, path: KeyPath) -> None:
        """A number is a setting, which is recorded; a text may be a secret, which must not be."""
        if isinstance(value, str):
            self._complain(
                path,
                "a text from the environment can't be a hyperparameter: it would be recorded with "
                "every trial; write it out, or set it on the command line",
            )

    def _complain(self, path: KeyPath, message: str) -> None:
        location = locate(self.locations, path, Location("spec"))
        self.problems.append(Problem(location, dotted(path), message))


def _as_text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
