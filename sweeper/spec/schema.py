"""The JSON Schema of a spec, for completion and checks in editors.

It is made from the sections' models and the tables of hyperparameters. What needs the environment
or two keys at once is left to `sweeper plan`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sweeper.search.distributions import KINDS
from sweeper.spec.keys.descriptions import METRICS, TOP_LEVEL_KEYS, describe_key
from sweeper.spec.keys.domains import Domain, describe_domain
from sweeper.spec.keys.names import algorithms, default, defaults, domain, recorded_version
from sweeper.spec.keys.support import BACKENDS, default_backend, find_support, supports
from sweeper.spec.schedulers import SCHEDULER_OPTIONS, Fifo
from sweeper.spec.search import SEARCH_OPTIONS, BestOf, NoOptions
from sweeper.spec.section_table import SECTIONS
from sweeper.spec.sections import Plateau, SeedGroups

__all__ = ["spec_schema"]

Schema = dict[str, Any]

_NULL: Schema = {"type": "null"}
_REFERENCE: Schema = {"$ref": "#/$defs/reference"}
_MAX_SHOWN = 10**9  # larger upper bounds are left out: they only guard libraries


def spec_schema() -> Schema:
    """The schema as plain JSON values."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "sweeper spec",
        "description": f"A sweep; hyperparameters are those of RLlib {recorded_version()}.",
        "type": "object",
        "additionalProperties": False,
        "properties": {key: _top_level(key) for key in TOP_LEVEL_KEYS},
        "anyOf": [{"required": ["environment", "algorithm"]}, {"required": ["extends"]}],
        "allOf": list(_spaces()),
        "$defs": {
            "reference": {
                "type": "string",
                "pattern": r"\$\{[^}]+\}",
                "description": "${a.b}: another key of this spec; ${env:NAME}: a variable.",
            },
            **{
                _space_name(algorithm, backend): _space(algorithm, backend)
                for algorithm, backend in _pairs()
            },
            **dict(_domains()),
        },
    }


# --- keys of the top level -------------------------------------------------------------------


def _top_level(key: str) -> Schema:
    described = {"description": TOP_LEVEL_KEYS[key]}
    if key in SECTIONS:
        return described | _section(key)
    if key == "algorithm":
        return described | _open({"enum": list(algorithms())})
    if key == "backend":
        return described | _open({"enum": list(BACKENDS)})
    if key == "seeds":
        seed = {"type": "integer", "minimum": 0}
        count = {"type": "integer", "minimum": 1, "maximum": 1000}
        listed = {"type": "array", "items": seed, "minItems": 1, "uniqueItems": True}
        return described | _open(count, listed)
    if key == "param_space":
        return described | {"type": ["object", "null"]}
    if key == "stop":
        return described | {
            "type": ["object", "null"],
            "properties": {
                **{
                    name: {"description": text, **_open({"type": "number"})}
                    for name, text in METRICS.items()
                },
                "plateau": _plateau(),
            },
            "additionalProperties": _open({"type": "number"}),
        }
    if key == "name":
        return described | _open({"type": "string", "pattern": r"^[A-Za-z0-9._-]{1,100}$"})
    return described | _open({"type": "string", "minLength": 1})


def _plateau() -> Schema:
    section = _object(Plateau.model_json_schema())
    return {"description": section.pop("description"), "anyOf": [section, _NULL]}


def _section(name: str) -> Schema:
    schema = SECTIONS[name].model_json_schema()
    section = _object(schema)
    if name == "environment":
        named = {"type": "object", "minProperties": 1, "maxProperties": 1}
        wrappers = {"type": "array", "items": {"anyOf": [{"type": "string"}, named]}}
        section["properties"]["wrappers"] |= {"anyOf": [wrappers, _NULL]}
        return {"anyOf": [{"type": "string", "minLength": 1}, section, _NULL]}
    if name == "selection":
        key, step = "confirm_seeds", {"type": "integer", "minimum": 2, "maximum": 1000}
        about = SeedGroups.model_fields
        groups: Schema = {
            "type": "object",
            "properties": {
                name: {"description": about[name].description, **step} for name in about
            },
        }
        groups |= {"required": ["step", "max"], "additionalProperties": False}
        seed = {"type": "integer", "minimum": 0}
        listed = {"type": "array", "items": seed, "minItems": 2, "uniqueItems": True}
        section["properties"][key] |= _open(step, listed, groups)
        for name in ("finalists", key):
            del section["properties"][name]["default"]  # which depends on the backend
    if name == "scheduler":
        names = schema["properties"]["type"]["enum"]
        return {"anyOf": [{"enum": names}, *_schedulers(), _NULL]}
    if name == "search":
        return {"anyOf": [*_searches(section), _NULL]}
    return {"anyOf": [section, _NULL]}


def _schedulers() -> Iterator[Schema]:
    for name, model in SCHEDULER_OPTIONS.items():
        section = _object(model.model_json_schema())
        section["properties"] = {"type": {"const": name}, **section["properties"]}
        if model is Fifo:  # the default, described already
            del section["description"]
            yield section
        else:
            yield section | {"required": ["type"]}


def _searches(shared: Schema) -> Iterator[Schema]:
    """The section for each algorithm, with its options; without a name it is grid or random."""
    best = _object(BestOf.model_json_schema()) | {"required": ["from", "top"]}
    points = {"type": "array", "items": {"type": "object"}}
    about = shared["properties"]["points_to_evaluate"]
    about = {"description": about["description"], **_open(points, best)}
    for name, model in SEARCH_OPTIONS.items():
        own = _object(model.model_json_schema())
        chosen = {"const": name}
        known = {**shared["properties"], "points_to_evaluate": about, "algorithm": chosen}
        section = {**own, "properties": {**known, **own["properties"]}}
        if model is NoOptions:
            section["description"] = shared["description"]
            yield section
        else:
            yield section | {"required": ["algorithm"]}


def _object(schema: Schema) -> Schema:
    """A model's schema that also allows null and references for every key; none is required."""
    definitions = schema.get("$defs", {})
    return {
        "type": "object",
        **({"description": schema["description"]} if "description" in schema else {}),
        "properties": {
            key: _property(value, definitions) for key, value in schema["properties"].items()
        },
        "additionalProperties": False,
    }


def _property(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    about = {key: schema[key] for key in ("description", "default") if key in schema}
    if "description" in about:
        about["description"] = " ".join(about["description"].split())
    if "$ref" in schema:
        inner = definitions[schema["$ref"].rpartition("/")[2]]
        about.setdefault("description", inner.get("description", ""))
        return about | {"anyOf": [_object(inner), _NULL]}
    kinds = schema.get("anyOf") or [
        {key: value for key, value in schema.items() if key not in ("description", "default")}
    ]
    return about | _open(*(_tidy(kind) for kind in kinds if kind != _NULL))


def _tidy(schema: Schema) -> Schema:
    # pydantic keeps its own names for the bounds of fields with a validator before them.
    words = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum"}
    kept = {words.get(key, key): value for key, value in schema.items() if key != "title"}
    if kept.get("maximum", 0) > _MAX_SHOWN:
        del kept["maximum"]
    return kept


def _open(*kinds: Schema) -> Schema:
    return {"anyOf": [*kinds, _REFERENCE, _NULL]}


# --- the param space -------------------------------------------------------------------------


def _pairs() -> Iterator[tuple[str, str]]:
    for backend in BACKENDS:
        for algorithm in algorithms():
            if supports(backend, algorithm):
                yield algorithm, backend


def _space_name(algorithm: str, backend: str) -> str:
    return f"{algorithm}-{backend}"


def _spaces() -> Iterator[Schema]:
    """The keys of ``param_space`` for each algorithm and backend."""
    for algorithm, backend in _pairs():
        is_default, name = backend == default_backend(algorithm), _space_name(algorithm, backend)
        yield {
            "if": {
                "properties": {"algorithm": {"const": algorithm}, "backend": {"const": backend}},
                "required": ["algorithm", *([] if is_default else ["backend"])],
            },
            "then": {"properties": {"param_space": {"$ref": f"#/$defs/{name}"}}},
        }


def _space(algorithm: str, backend: str) -> Schema:
    known = defaults(algorithm, backend)
    fixed = find_support(backend, algorithm).fixed
    properties: Schema = {}
    for key, usual in known.items():
        if isinstance(usual, Mapping):
            inner = {name: _leaf(algorithm, (key, name), backend) for name in usual}
            whole = {"type": "object", "properties": inner, "additionalProperties": False}
            tried = _distribution(
                {"type": "object"}, Domain(is_free=True), ("choice", "grid_search")
            )
            properties[key] = _described(key, _open(whole, tried))
        elif key in fixed:
            properties[key] = _described(key, _open({"const": usual}), usual, algorithm=algorithm)
        else:
            properties[key] = _leaf(algorithm, (key,), backend)
    return {
        "type": ["object", "null"],
        "description": f"Hyperparameters of {algorithm} on {backend}.",
        "properties": properties,
        "additionalProperties": False,
    }


def _leaf(algorithm: str, path: tuple[str, ...], backend: str) -> Schema:
    found = domain(algorithm, path, backend)
    # Draft 7 ignores keys beside a $ref.
    schema = {"anyOf": [{"$ref": f"#/$defs/{_domain_name(found)}"}]}
    usual = default(algorithm, path, backend)
    return _described(".".join(path), schema, usual, algorithm=algorithm)


def _domains() -> Iterator[tuple[str, Schema]]:
    """The domains of all hyperparameters, by name."""
    for algorithm, backend in _pairs():
        for key, usual in defaults(algorithm, backend).items():
            inner = [(key, name) for name in usual] if isinstance(usual, Mapping) else [(key,)]
            for path in inner:
                found = domain(algorithm, path, backend)
                values = list(_values(found))
                value = values[0] if len(values) == 1 else {"anyOf": values}
                yield _domain_name(found), _open(*values, _distribution(value, found))


def _domain_name(found: Domain) -> str:
    words = re.sub(r"[^A-Za-z0-9.]+", "-", describe_domain(found)).strip("-")
    return f"value-{words or 'any'}"


def _described(
    name: str, schema: Schema, usual: Any = None, *, algorithm: str | None = None
) -> Schema:
    """With the description, and the default; null is the default of a single key only."""
    about: Schema = {"description": describe_key(name, algorithm) or name}
    is_json = not isinstance(usual, float) or math.isfinite(usual)
    if is_json and (algorithm is not None or usual is not None):
        about["default"] = usual
    return about | schema


def _values(found: Domain) -> Iterator[Schema]:
    """The forms that a value of a domain can have."""
    if found.is_free:
        yield {}
        return
    if found.is_bool:
        yield {"type": "boolean"}
    if found.is_mapping:
        yield {"type": "object"}
    if found.is_filters:
        yield {"type": "array", "items": {"type": "array", "minItems": 3, "maxItems": 3}}
    if found.is_sizes:
        size = {"type": "integer", "minimum": 1}
        least = {"minItems": int(found.lower)} if found.lower > 0 else {}
        yield {"type": "array", "items": size} | least
    if found.is_number:
        yield _number(found)
    if found.words is not None:
        yield {"enum": list(found.words)} if found.words else {"type": "string"}
    if found.has_range:
        yield {"type": "array", "items": _number(found), "minItems": 2, "maxItems": 2}
    if found.has_schedule:
        # A schedule may end at its bound.
        point = [{"type": "integer", "minimum": 0}, {"type": "number", "minimum": found.lower}]
        yield {
            "type": "array",
            "items": {"type": "array", "items": point, "minItems": 2, "maxItems": 2},
            "minItems": 2,
            "description": "A schedule: [[0, value], [step, value], …], steps in env steps.",
        }
    if found.is_nullable or found.is_filters:
        yield _NULL


def _number(found: Domain) -> Schema:
    schema: Schema = {"type": "integer" if found.is_integer else "number"}
    if found.lower > -1e300:
        schema["exclusiveMinimum" if found.is_open else "minimum"] = found.lower
    if found.upper < _MAX_SHOWN:
        schema["maximum"] = found.upper
    return schema


def _distribution(value: Schema, found: Domain, kinds: tuple[str, ...] = tuple(KINDS)) -> Schema:
    """A distribution over values, with its optional condition."""
    offered: Schema = {}
    for kind in kinds:
        names = KINDS[kind]
        if names is None:
            text = "Every value is tried." if kind == "grid_search" else "One of the values."
            offered[kind] = {"type": "array", "items": value, "minItems": 1, "description": text}
        elif found.is_number and _suits(kind, found):
            offered[kind] = {
                "type": "array",
                "items": {"type": "number"},
                "minItems": 0 if kind == "randn" else len(names),
                "maxItems": len(names),
                "description": f"{kind}: [{', '.join(names)}]",
            }
    when = {
        "type": "object",
        "minProperties": 1,
        "description": "Other parameters and the values that they must have for this to matter.",
    }
    return {
        "type": "object",
        "properties": {**offered, "when": when},
        "additionalProperties": False,
        "oneOf": [{"required": [kind]} for kind in offered],
    }


def _suits(kind: str, found: Domain) -> bool:
    """Whether a kind of range can draw from a domain."""
    if kind in ("randn", "qrandn"):
        return not found.is_bounded and not found.is_integer
    return "int" in kind or not found.is_integer
