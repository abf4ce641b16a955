"""A spec as YAML."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from sweeper.search.distributions import Distribution
from sweeper.spec.sections import Environment, Plateau, Tracking
from sweeper.spec.text.scalars import explain_typography, parse_scalar, refuse_untyped
from sweeper.sqlite_address import default_tracking_uri

__all__ = ["dump_environment", "dump_spec", "dump_value"]

_WIDTH = 100


def dump_spec(spec: Any) -> str:
    """A spec as YAML; `load_spec` reads back an equal one.

    Args:
        spec: an `ExperimentSpec`.
    """
    plain: dict[str, Any] = {}
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if isinstance(value, Environment):
            plain[name] = _plain_environment(value)
        elif isinstance(value, Plateau):
            plain["stop"] = {**plain["stop"], name: value.model_dump(exclude_none=True)}
        elif isinstance(value, BaseModel):
            plain[name] = value.model_dump(exclude_none=True)
            if isinstance(value, Tracking):
                plain[name]["uri"] = _Reference(value.uri)
                # A default stays one, so that the run can be moved with its database.
                if value.uri == default_tracking_uri(spec.storage):
                    del plain[name]["uri"]
        elif name == "param_space":
            plain[name] = _plain_space(value)
        elif value is not None:
            plain[name] = list(value) if isinstance(value, tuple) else value
        elif name == "tracking":
            plain[name] = None  # on by default
    return _dump(
        {name: value for name, value in plain.items() if value != {} or name == "evaluation"}
    )


def dump_environment(environment: Environment) -> str:
    """A spec's lines of its environment, in any folder: without where its module is looked for."""
    plain = _plain_environment(environment)
    plain.pop("search_paths", None)
    if set(plain) == {"id"}:
        return f"environment: {dump_value(plain['id'])}"
    line = f"environment: {dump_value(plain)}"
    return line if len(line) <= _WIDTH else _dump({"environment": plain}).rstrip()


def _dump(document: Mapping[str, Any]) -> str:
    return yaml.dump(
        document,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=_WIDTH,
    )


def dump_value(value: Any) -> str:
    """A value as YAML in one line, whole, as an override takes it."""
    text = yaml.dump(
        [value],
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=True,
        width=math.inf,
    )
    return text.strip()[1:-1]


def _plain_environment(environment: Environment) -> dict[str, Any]:
    plain = environment.model_dump(exclude_defaults=True)
    if environment.kwargs:
        plain["kwargs"] = _with_references(environment.kwargs)
    if environment.wrappers:
        plain["wrappers"] = [
            {wrapper.name: _with_references(wrapper.kwargs)} if wrapper.kwargs else wrapper.name
            for wrapper in environment.wrappers
        ]
    return plain


class _Reference(str):
    """A text in which ``${env:NAME}`` refers to a variable, and is written as it is."""

    __slots__ = ()


def _with_references(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_references(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_references(item) for item in value]
    return _Reference(value) if isinstance(value, str) else value


def _plain_space(value: Any) -> Any:
    if isinstance(value, Distribution):
        return value.to_plain()
    if isinstance(value, Mapping):
        return {key: _plain_space(item) for key, item in value.items()}
    return value


class _Dumper(yaml.SafeDumper):
    """Writes YAML 1.2: quotes texts that are read as another type, or refused without quotes."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's interface
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return _represent_reference(dumper, text.replace("${", "$${"))


def _represent_reference(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    escaped = str(text)
    try:
        # YAML folds line breaks unless they are escaped.
        is_plain = parse_scalar(escaped) is escaped and escaped.isprintable()
        is_plain = is_plain and not (refuse_untyped(escaped) or explain_typography(escaped))
    except ValueError:
        is_plain = False
    return dumper.represent_scalar("tag:yaml.org,2002:str", escaped, None if is_plain else '"')


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(_Reference, _represent_reference)
