"""References to environment variables, resolved as late as possible because they may be secrets.

Arguments of the environment and the tracking URI keep the text ``${env:NAME}``: in memory, in
every record and on the way to the workers. Only the process that builds the environment, or
connects, puts the value in its place. In these texts ``$${`` stands for the text ``${``.

This file needs nothing of ours: RLlib's checkpoints hold `resolve` and load without this package.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = [
    "KEY_PREFIX",
    "NAMESPACE",
    "UnsetError",
    "escape",
    "find_names",
    "is_unresolved",
    "look_up",
    "resolve",
]

_REFERENCE = re.compile(r"\$\$\{|\$\{\s*env:([^${}]*)\}")
# Where a launch keeps the values for its workers: in the memory of Ray's control store.
KEY_PREFIX, NAMESPACE = "variable:", b"sweeper"

# As YAML 1.2 reads a plain scalar; `sweeper.spec.text.scalars` has the same for specs.
_TYPES: tuple[tuple[str, Callable[[str], Any]], ...] = (
    (r"[-+]?[0-9]+", lambda text: int(text) if len(text) <= 300 else text),
    (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", float),
    (r"null|Null|NULL|~|", lambda _: None),
    (r"true|True|TRUE", lambda _: True),
    (r"false|False|FALSE", lambda _: False),
    (r"0(o[0-7]{1,300}|x[0-9a-fA-F]{1,200})", lambda text: int(text, 0)),
    (r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", lambda text: float(text.replace(".", ""))),
)


class UnsetError(Exception):
    """A variable that is referred to is not set; the text is its name."""


def escape(value: Any) -> Any:
    """Plain values as texts with references: a text ``${`` in them stays one."""
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {key: escape(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [escape(item) for item in value]
    return value


def find_names(value: Any) -> Iterator[str]:
    """The names of the variables that a value refers to, at any depth."""
    if isinstance(value, str):
        for match in _REFERENCE.finditer(value):
            if match.group(1) is not None:
                yield match.group(1).strip()
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from find_names(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from find_names(item)


def is_unresolved(value: Any) -> bool:
    """Whether a value refers to a variable."""
    return next(find_names(value), None) is not None


def resolve(value: Any, note: Callable[[str], None] = lambda _: None) -> Any:
    """A value with the variables in their places.

    A text that is nothing but a reference gets the type that the variable's text has in YAML.

    Args:
        value: texts, numbers, lists and mappings.
        note: called with the text of every variable that is put in place.

    Raises:
        UnsetError: a variable is not set.
    """
    # Other kinds of mappings and sequences, such as spaces, are arguments as they are.
    if type(value) is dict:
        return {key: resolve(item, note) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(resolve(item, note) for item in value)
    if not isinstance(value, str) or "${" not in value:
        return value

    def put_in(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return "${"
        text = look_up(match.group(1).strip())
        note(text)
        return text

    whole = _REFERENCE.fullmatch(value)
    if whole is None or whole.group(1) is None:
        return _REFERENCE.sub(put_in, value)
    text = put_in(whole)
    for pattern, read in _TYPES:
        if re.fullmatch(pattern, text):
            return read(text)
    return text


def look_up(name: str) -> str:
    """The text of a variable: the launch's, within a Ray session that has it, else the process's.

    Workers of a cluster have not inherited the launch's environment.

    Raises:
        UnsetError: it is not set.
    """
    store = sys.modules.get("ray.experimental.internal_kv")
    # Ray would never answer a process that was forked, as those of a vector environment are.
    is_forked = multiprocessing.parent_process() is not None
    if store is not None and not is_forked and store._internal_kv_initialized():
        found = store._internal_kv_get((KEY_PREFIX + name).encode(), namespace=NAMESPACE)
        if found is not None:
            os.environ[name] = found.decode()  # where a process that is forked finds it
    if name not in os.environ:
        raise UnsetError(name)
    return os.environ[name]
