"""Do what a message of a refused spec says: its remedy, where it stands there as YAML."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sweeper.errors import Problem
from sweeper.spec.text.yaml import parse_yaml

Data = dict[str, Any]
_VALUE = r"""(?P<value>\{.*?\}(?![\]}])|\[.*?\](?![\]}])|"[^"]*"|[^\s;,]+)"""


@dataclass(frozen=True)
class Remedy:
    """What to do, in words, and the spec after it was done."""

    words: str
    target: str
    data: Data


def find_remedies(problem: Problem, data: Data) -> Iterator[Remedy]:
    """Every remedy of a message, each applied to a copy of the spec."""
    for pattern, apply in _FORMS:
        for found in re.finditer(pattern, problem.message):
            if "…" in found[0] or "<" in found[0]:
                continue  # an outline, to be filled in
            mended = copy.deepcopy(data)
            target = apply(mended, problem.key, found)
            if target is not None:
                yield Remedy(found[0], target, mended)


def _replace(data: Data, key: str, found: re.Match[str]) -> str | None:
    """``write 1024``: another value; in a list of numbers, of the one that is a text."""
    value, old = _read(found["value"]), _get(data, key)
    if "quotation mark" in found.string and old is not None and not key[-1].isascii():
        return _rename(data, key, found)
    if isinstance(old, list) and any(isinstance(one, str) for one in old):
        value = [value if isinstance(one, str) and _read(one) == value else one for one in old]
    return _assign(data, key, value)


def _set(data: Data, key: str, found: re.Match[str]) -> str | None:
    """``backend: rllib``, ``environment.normalize: {observations: true}``: another key."""
    target = "environment.id" if found["key"] == "id" else found["key"]
    value = _read(found["value"])
    if target.startswith(("wrappers", "environment.wrappers")):
        target = "environment.wrappers"
        value = [*(_get(data, target) or []), *value]
    if "not a hyperparameter" in found.string or "ignores it" in found.string:
        _remove(data, key)
    return _assign(data, target, value)


def _rename(data: Data, key: str, found: re.Match[str]) -> str | None:
    """``its name here is lr``: the same value under another key."""
    value, name = _get(data, key), found["value"].strip('"')
    if value is None:
        return None
    _remove(data, key)
    above = key.rpartition(".")[0]
    return _assign(data, f"{above}.{name}" if above else name, value)


def _mean(data: Data, key: str, found: re.Match[str]) -> str | None:
    """``did you mean X?``: another key for an unknown one, else another value."""
    message = found.string
    if inner := re.match(r"([\w.]+): unknown key", message):
        return _rename(data, f"{key}.{inner[1]}", found)
    if message.startswith(("unknown key", "unknown hyperparameter")):
        return _rename(data, key, found)
    if "no trial reports" in message and key.startswith("stop."):
        return _rename(data, key, found)
    if "unknown distribution" in message:
        (old,) = _get(data, key)
        return _assign(data, key, {found["value"]: _get(data, f"{key}.{old}")})
    if re.search(r"has no argument|refers to|not searched|in param_space|in gymnasium", message):
        return None
    return _assign(data, key, _read(found["value"]))


_FORMS: tuple[tuple[str, Callable[[Data, str, re.Match[str]], str | None]], ...] = (
    (rf"\bwrite {_VALUE}(?!:)(?=$|;|,| instead)", _replace),
    (rf"in seconds: {_VALUE}", _replace),
    (rf"(?P<key>\b(?:environment\.)?wrappers): {_VALUE}", _set),
    (rf"(?P<key>\benvironment\.normalize): {_VALUE}", _set),
    (r"(?P<key>\bbackend): (?P<value>torch|rllib)", _set),
    (r"(?P<key>\bevaluation): (?P<value>\{\})", _set),
    (r"(?P<key>\bsearch\.algorithm): (?P<value>random|grid)", _set),
    (r"e\.g\. (?P<key>algorithm|environment|id): (?P<value>[\w-]+)", _set),
    (r"its name here is (?P<value>[\w.]+)$", _rename),
    (r"did you mean (?P<value>[^?\s]+)\?", _mean),
)


def _read(text: str) -> Any:
    parsed = parse_yaml(text, "remedy")
    assert not parsed.problems, (text, parsed.problems)
    return parsed.value


def _steps(data: Any, key: str) -> Iterator[tuple[Any, Any]]:
    """Each holder on the way to a key, with the part of the key below it."""
    rest = key
    while rest:
        if isinstance(data, list):
            part, _, rest = rest.partition(".")
            step: Any = int(part)
        else:
            # A key may have points in it; the longest that is there counts.
            parts = rest.split(".")
            tries = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
            step = next((one for one in tries if isinstance(data, dict) and one in data), parts[0])
            rest = rest[len(step) + 1 :]
        yield data, step
        is_there = isinstance(data, list) or (isinstance(data, dict) and step in data)
        data = data[step] if is_there else None


def _get(data: Data, key: str) -> Any:
    value: Any = None
    for holder, step in _steps(data, key):
        if not isinstance(holder, list | dict) or (isinstance(holder, dict) and step not in holder):
            return None
        value = holder[step]
    return value


def _remove(data: Data, key: str) -> None:
    for holder, step in _steps(data, key):
        last = holder, step
    if isinstance(last[0], dict):
        last[0].pop(last[1], None)


def _assign(data: Data, key: str, value: Any) -> str:
    if isinstance(data.get("environment"), str) and key.startswith("environment."):
        data["environment"] = {"id": data["environment"]}
    holder: Any = data
    *above, last = key.split(".")
    for part in above:
        if isinstance(holder, list):
            holder = holder[int(part)]
            continue
        if not isinstance(holder.get(part), dict | list):
            holder[part] = {}
        holder = holder[part]
    if isinstance(holder, list):
        holder[int(last)] = value
    else:
        holder[last] = value
    return key
