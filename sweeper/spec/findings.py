"""What pydantic finds wrong with a section, in the words of a spec's problems."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from sweeper.spec.sections import Section
from sweeper.spec.yaml_text import number_hint, quote_hint, switch_hint

__all__ = ["explain_finding"]


def explain_finding(details: ErrorDetails, model: type[Section]) -> str:
    """One finding about a section of that model: what is due, what was found, what was meant."""
    kind, found = details["type"], details.get("input")
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        return _explain_extra(details, model)
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(context.get("error", details["msg"]))
    if kind == "literal_error":
        return _explain_literal(str(context.get("expected", "")), found)
    due = _DUE.get(kind)
    if due is None:
        due = _explain_bound(context)
    if due is None:
        return f"{details['msg']}; found {found!r}"
    hint = number_hint(found) if "number" in due else ""
    hint += switch_hint(found) if "true" in due else ""
    hint += quote_hint(found) if due == "a text" else ""
    return f"{due} is due; found {found!r}{hint}"


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


def _explain_bound(context: Mapping[str, Any]) -> str | None:
    for name, words in (("ge", "a number from {} on"), ("gt", "a number above {}")):
        if name in context:
            return words.format(f"{context[name]:g}")
    return None


def _explain_literal(expected: str, found: Any) -> str:
    choices = re.findall(r"'([^']*)'", expected)
    near = difflib.get_close_matches(str(found).lower(), choices, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"one of {', '.join(choices)} is due; found {found!r}{hint}"


def _explain_extra(details: ErrorDetails, model: type[Section]) -> str:
    *way, key = details["loc"]
    fields = list(_fields_at(model, way))
    near = difflib.get_close_matches(str(key), fields, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; one of {', '.join(fields)}"
    return f"unknown key{hint}"


def _fields_at(model: type[Section], way: list[int | str]) -> Iterator[str]:
    for key in way:
        inner = model.model_fields[str(key)].annotation if key in model.model_fields else None
        if isinstance(inner, type) and issubclass(inner, Section):
            model = inner
    yield from model.model_fields
