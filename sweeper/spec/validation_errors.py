"""Pydantic's validation errors as the messages of a spec's problems."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic_core import ErrorDetails

from sweeper.hints import did_you_mean, number_hint, quote_hint, seconds_hint, show, switch_hint
from sweeper.schedulers.registry import SCHEDULERS
from sweeper.search.registry import SEARCH_ALGORITHMS
from sweeper.spec.schedulers import explain_unknown_option
from sweeper.spec.search import explain_unknown_search_option
from sweeper.spec.sections import Section

__all__ = ["explain_error", "explain_no_mapping", "strip_tags"]


def strip_tags(way: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """A problem's key path without the names of the alternatives that a value can be."""
    return tuple(part for part in way if not str(part).startswith("<"))


def explain_error(details: ErrorDetails, model: type[Section]) -> str:
    """The message of one error in a section: what is allowed, what was found, what was meant."""
    kind, found = details["type"], details.get("input")
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        return _explain_extra(details, model)
    if kind == "missing":
        return f"is missing{_EXAMPLES.get(str(details['loc'][-1]), '')}"
    if kind == "value_error":
        return str(context.get("error", details["msg"]))
    if kind == "literal_error":
        return _explain_literal(str(context.get("expected", "")), found, model)
    due = _DUE.get(kind)
    if due is None:
        due = _explain_bound(context, is_whole=_is_whole(model, details["loc"]))
    if due is None:
        return f"{details['msg']}; found {show(found)}"
    hint = number_hint(found) if "number" in due else ""
    if not hint and "number" in due and str(details["loc"][-1]).endswith("_s"):
        hint = seconds_hint(found)
    hint += switch_hint(found) if "true" in due else ""
    hint += quote_hint(found) if due == "a text" else ""
    return f"must be {due}; found {show(found)}{hint}"


_EXAMPLES: Mapping[str, str] = {"id": "; give a gymnasium id, e.g. id: CartPole-v1"}
_DUE: Mapping[str, str] = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a mapping",
    "string_too_short": "a text",
    "string_type": "a text",
}


def _explain_bound(context: Mapping[str, Any], *, is_whole: bool) -> str | None:
    kind = "a whole number" if is_whole else "a number"
    for name, words in (("ge", "from {} on"), ("gt", "above {}"), ("le", "up to {}")):
        if name in context:
            bound = context[name]
            return f"{kind} {words.format(f'{bound:,}' if is_whole else f'{bound:g}')}"
    return None


def _is_whole(model: type[Section], way: tuple[int | str, ...]) -> bool:
    """Whether a key takes only whole numbers."""
    info = model.model_fields.get(str(way[0])) if way else None
    inner = None if info is None or len(way) < 2 else _find_section(info.annotation)
    if inner is not None:
        return _is_whole(inner, way[1:])
    return info is not None and _mentions(info.annotation, int)


def _mentions(annotation: Any, kind: type) -> bool:
    parts = get_args(annotation)
    return annotation is kind or any(_mentions(part, kind) for part in parts)


def _explain_literal(expected: str, found: Any, model: type[Section]) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    available = _AVAILABLE.get(model.__name__)
    if available is not None:
        choices = [choice for choice in choices if choice in available] or choices
    hint = did_you_mean(found, choices) or _begun_like(found, choices)
    return f"must be one of {', '.join(choices)}; found {show(found)}{hint}"


# Suggest only what this version has.
_AVAILABLE: Mapping[str, Mapping[str, Any]] = {"Search": SEARCH_ALGORITHMS, "Scheduler": SCHEDULERS}


def _begun_like(found: Any, choices: Iterable[str]) -> str:
    """``; did you mean max?`` for ``maximize``, which `did_you_mean` finds too different."""
    text = str(found).lower()
    near = next((one for one in choices if len(one) > 2 and text.startswith(one)), None)
    return f"; did you mean {near}?" if near else ""


def _explain_extra(details: ErrorDetails, model: type[Section]) -> str:
    *way, key = details["loc"]
    fields = list(_fields_at(model, way))
    special = explain_unknown_option(str(key), model)
    special = special or (None if way else explain_unknown_search_option(str(key), model))
    if special is not None:
        return special
    hint = did_you_mean(key, fields) or f"; one of {', '.join(fields)}"
    return f"unknown key{hint}"


def _fields_at(model: type[Section], way: list[int | str]) -> Iterator[str]:
    for key in way:
        info = model.model_fields.get(str(key))
        model = _find_section(None if info is None else info.annotation) or model
    for name, info in model.model_fields.items():
        yield info.alias or name


def _find_section(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_find_section, get_args(annotation))), None)


_OPTIONAL = ("evaluation", "tracking")  # None if switched off


def explain_no_mapping(name: str, model: type[Section], value: Any) -> str:
    """The message of a section that is no mapping."""
    short = {"environment": "a gymnasium id or ", "scheduler": "a scheduler's name or "}
    keys = ", ".join(model.model_fields)
    message = f"must be {short.get(name, '')}a mapping of {keys}; found {show(value)}"
    if name in _OPTIONAL and str(value).lower() in {"false", "no", "off", "none"}:
        return f"{message}; write {name}: null to switch it off"
    if name == "evaluation" and str(value).lower() in {"true", "yes", "on"}:
        return f"{message}; write evaluation: {{}} for the defaults"
    return message
