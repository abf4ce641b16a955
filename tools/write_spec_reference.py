"""Write docs/spec.md, the page of all spec keys, from the models that specs are read with.

python tools/write_spec_reference.py           # renew the file
python tools/write_spec_reference.py --check   # exit 1 if it is out of date

Units and examples are in spec_reference.yaml beside this script.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from sweeper.hints import join_words, show
from sweeper.schedulers.registry import SCHEDULERS
from sweeper.search.distributions import KINDS
from sweeper.spec.keys.descriptions import METRICS, TOP_LEVEL_KEYS, describe_key
from sweeper.spec.keys.domains import describe_domain
from sweeper.spec.keys.names import algorithms, defaults, domain, recorded_version
from sweeper.spec.keys.support import BACKENDS, find_support, supports
from sweeper.spec.schedulers import SCHEDULER_OPTIONS
from sweeper.spec.search import SEARCH_OPTIONS, NoOptions
from sweeper.spec.section_table import SECTIONS
from sweeper.spec.sections import Plateau, Section

DOCUMENT = Path(__file__).parents[1] / "docs" / "spec.md"
DATA: Mapping[str, Any] = yaml.safe_load(
    Path(__file__).with_name("spec_reference.yaml").read_text(encoding="utf-8")
)
COLUMNS = ("key", "type", "default", "unit", "example", "meaning")
# Of the sections whose options depend on one of their keys: that key's name in a heading.
OPTIONS = {
    "search": {name: model for name, model in SEARCH_OPTIONS.items() if model is not NoOptions},
    "scheduler": {
        name: SCHEDULER_OPTIONS[name] for name in SCHEDULERS if SCHEDULER_OPTIONS[name].model_fields
    },
}
INTRODUCTION = f"""\
# Every key of a spec

A spec is one YAML 1.2 file. This page has all its keys, with type, default, unit, an example and
the meaning. It is made by `make docs` from the models that specs are read with; a test holds it,
and every example on it is accepted. `sweeper schema` has the same for editors, `sweeper plan SPEC`
checks a spec and says what its defaults come to. Hyperparameters are those of RLlib
{recorded_version()}.

A key is for all algorithms on both backends unless the page says otherwise. Env steps are those of
one replica, unless they are said to be of all. Any key can be set on the command line, as in
`sweeper run SPEC search.num_samples=8 'param_space.lr={{uniform: [0.001, 0.01]}}'`. `null` takes a
key away that `extends` brought. `${{a.b}}` stands for another key of the spec, `${{env:NAME}}` for
a variable of the environment.

A whole spec:

```yaml
name: cartpole-ppo
environment: CartPole-v1
algorithm: PPO
seeds: 5
param_space:
  lr: {{loguniform: [1.0e-4, 1.0e-2]}}
  minibatch_size: {{choice: [64, 128, 256]}}
  gamma: 0.99
search: {{algorithm: tpe, num_samples: 32, seed: 0}}
scheduler: median
stop: {{num_env_steps_sampled_lifetime: 100000}}
evaluation: {{episodes: 20, every_env_steps: 10000}}
selection: {{finalists: 3, solved_at: 475}}
```
"""
CONDITION = """
`when` beside a distribution makes it depend on others. This one is drawn only where `use_kl_loss`
is true: `{choice: [0.1, 0.2], when: {use_kl_loss: true}}`. A list names several values. Whatever is
no distribution is a constant.
"""


def page() -> str:
    """The whole document."""
    return "\n".join([INTRODUCTION, *_parts()])


def _parts() -> Iterator[str]:
    yield "## The top level\n"
    yield table((key, _top_level(key)) for key in TOP_LEVEL_KEYS)
    yield _section("environment")
    yield "## param_space: distributions\n"
    yield _distributions()
    yield CONDITION
    yield _hyperparameters()
    yield _section("search")
    yield _section("scheduler")
    yield _stop()
    for name in SECTIONS:
        if name not in ("environment", "search", "scheduler"):
            yield _section(name)


# --- sections --------------------------------------------------------------------------------


def _section(name: str) -> str:
    about = TOP_LEVEL_KEYS[name].rstrip(".")
    parts = [f"## {name}\n", f"{about}.\n"]
    schema = SECTIONS[name].model_json_schema()
    rows = list(fields(name, SECTIONS[name]))
    if name == "scheduler":
        names = join_words([f"`{one}`" for one in SCHEDULERS], "or")
        parts.append(f"`type` is {names}; alone it can be written as `scheduler: NAME`.\n")
    elif rows:
        parts.append(table(rows))
    for option, model in OPTIONS.get(name, {}).items():
        chooser = "type" if "type" in schema["properties"] else "algorithm"
        parts += [
            f"### {name}.{chooser}: {option}\n",
            f"{_one_line(model.__doc__)}\n",
            table(fields(f"{name}.{option}", model)),
        ]
    return "\n".join(parts)


def _stop() -> str:
    metrics = "\n".join(f"| `{name}` | {text} |" for name, text in METRICS.items())
    return (
        f"## stop\n\n{TOP_LEVEL_KEYS['stop']}\n\nA trial ends at the first of these numbers that "
        "it reaches; any metric that trials report can be one. The same names go into "
        f"`selection.metric`.\n\n| metric | meaning |\n|---|---|\n{metrics}\n\n### stop.plateau\n\n"
        f"{_one_line(Plateau.__doc__)}\n\n{table(fields('stop.plateau', Plateau))}"
    )


def fields(name: str, model: type[Section]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The rows of a section's model, those of a section in it under dotted names."""
    schema = model.model_json_schema(by_alias=False)
    definitions = schema.get("$defs", {})
    for key, field in schema["properties"].items():
        inner = definitions.get(str(field.get("$ref", "")).rpartition("/")[2], field)
        if name == "scheduler" and key == "type":
            continue
        nested = inner.get("properties", {}) if "$ref" in field else {key: field}
        for below, described in nested.items():
            dotted = f"{key}.{below}" if "$ref" in field else key
            unit, example = DATA[name][dotted]
            whole = f"{name}.{dotted}"
            meaning = _one_line(described.get("description", ""))
            if (backends := DATA["backends"].get(whole)) is not None:
                meaning = f"{meaning.rstrip('.')}. **{backends}**"
            yield (
                dotted,
                {
                    "type": _type(whole, described),
                    "default": DATA["defaults"].get(whole) or _default(described),
                    "unit": unit,
                    "example": code(example),
                    "meaning": meaning,
                },
            )


def _top_level(key: str) -> Mapping[str, str]:
    unit, example = DATA["top level"][key]
    kinds = {
        "seeds": "a whole number from 1 to 1000, or a list of seeds",
        "environment": "a text or a mapping",
        "scheduler": "a text or a mapping",
        "algorithm": f"one of {', '.join(algorithms())}",
        "backend": " or ".join(BACKENDS),
    }
    is_mapping = key in SECTIONS or key in ("param_space", "stop")
    usual = DATA["defaults"].get(key)
    return {
        "type": kinds.get(key, "a mapping" if is_mapping else "a text"),
        "default": usual or "must be given",
        "unit": unit,
        "example": code(example),
        "meaning": TOP_LEVEL_KEYS[key],
    }


_TYPES: Mapping[str, str] = {
    "environment.kwargs": "a mapping",
    "environment.wrappers": "a list of names or of {Name: {argument: value}}",
    "environment.search_paths": "a list of folders",
    "resources.cpus": "a number from 0.0001 on, whole above 1",
    "resources.gpus": "a number from 0 on, whole above 1",
    "search.points_to_evaluate": "a list of mappings, or {from: RUN, top: K}",
    "search.max_concurrent": "a whole number from 1 on, or auto",
    "selection.confirm_seeds": "a whole number from 2 on, a list of seeds, or {step, max}",
    "scheduler.pbt.perturbation_factors": "two numbers above 0",
}


def _type(name: str, schema: Mapping[str, Any]) -> str:
    if name in _TYPES:
        return _TYPES[name]
    kinds = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    words = [_kind(one) for one in kinds]
    if not all(words):
        raise ValueError(f"{name} has a type without words: {schema}")
    return " or ".join(words)


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    kind = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "string": "a text",
    }.get(str(schema.get("type")), "")
    least = schema.get("minimum", schema.get("ge"))
    above = schema.get("exclusiveMinimum", schema.get("gt"))
    most = schema.get("maximum", schema.get("le"))
    below = schema.get("exclusiveMaximum", schema.get("lt"))
    if least is not None:
        kind += f" from {least:g}"
    if above is not None:
        kind += f" above {above:g}"
    if most is not None and most < 2**53:
        kind += f" to {most:g}"
    elif below is not None:
        kind += f" and below {below:g}"
    elif least is not None:
        kind += " on"
    return kind


def _default(schema: Mapping[str, Any]) -> str:
    if "default" not in schema:
        return "none" if schema.get("type") in ("array", "object") else "must be given"
    value = schema["default"]
    return "none" if value is None else code(value)


# --- the param space -------------------------------------------------------------------------


def _distributions() -> str:
    lines = ["| distribution | arguments | draws | example |", "|---|---|---|---|"]
    for kind, names in KINDS.items():
        draws, example = DATA["distributions"][kind]
        arguments = "[value, …]" if names is None else f"[{', '.join(names)}]"
        lines.append(f"| `{kind}` | `{arguments}` | {draws} | {code(example)} |")
    return "\n".join(lines)


def _hyperparameters() -> str:
    parts = [
        "## param_space: hyperparameters\n",
        "All have RLlib's names and defaults, but for those of torch alone. *both* means the "
        "algorithms that have a key on both backends; SAC, APPO and IMPALA are on rllib alone. "
        "[parity.md](parity.md) has what the torch backend does with each.\n",
    ]
    for group, keys in DATA["hyperparameters"].items():
        rows = [(pattern, _hyperparameter(pattern, *about)) for pattern, about in keys.items()]
        columns = ("key", "type", "default", "unit", "example", "for", "meaning")
        parts += [f"### {group}\n", table(rows, columns)]
    return "\n".join(parts)


def known_hyperparameters() -> dict[str, dict[tuple[str, str], Any]]:
    """Every hyperparameter's dotted name, and its default for each algorithm and backend."""
    found: dict[str, dict[tuple[str, str], Any]] = {}
    for backend in BACKENDS:
        for algorithm in algorithms():
            if not supports(backend, algorithm):
                continue
            for key, value in defaults(algorithm, backend).items():
                inner = (
                    {f"{key}.{name}": one for name, one in value.items()}
                    if (isinstance(value, Mapping))
                    else {key: value}
                )
                for name, usual in inner.items():
                    found.setdefault(name, {})[algorithm, backend] = usual
    return found


def matching(pattern: str) -> list[str]:
    """The hyperparameters of one row, in the order of the network's parts."""
    names = [name for name in known_hyperparameters() if fnmatchcase(name, pattern)]
    parts = ("fcnet", "conv", "head_fcnet", "fusionnet", "lstm")
    part = {name: name.removeprefix("model_config.") for name in names}
    return sorted(names, key=lambda name: [part[name].startswith(f"{one}_") for one in parts][::-1])


def _hyperparameter(pattern: str, unit: str, example: Any) -> Mapping[str, str]:
    known, names = known_hyperparameters(), matching(pattern)
    meanings = {name: str(describe_key(name)) for name in names}
    first = names[0]
    meaning = meanings[first] if len(names) == 1 else _join_meanings(list(meanings.values()))
    sentences = [meaning, *_own_meanings(first), *_fixed_values(first)]
    return {
        "key": "<br>".join(f"`{name}`" for name in names),
        "type": "<br>".join(dict.fromkeys(_domains(name) for name in names)),
        "default": "<br>".join(_usual(known[name]) for name in names)
        if len({_usual(known[name]) for name in names}) > 1
        else _usual(known[first]),
        "unit": unit,
        "example": code(example),
        "for": "<br>".join(_who(known[name]) for name in names),
        "meaning": " ".join(sentences),
    }


def _own_meanings(name: str) -> Iterator[str]:
    """What a key is for an algorithm that takes it for something else than the others do."""
    for algorithm in dict.fromkeys(algorithm for algorithm, _ in known_hyperparameters()[name]):
        own = describe_key(name, algorithm)
        if own != describe_key(name):
            yield f"**{algorithm}**: {own}"


def _fixed_values(name: str) -> Iterator[str]:
    """For which algorithms a key takes its default only, everywhere or on torch."""
    values = known_hyperparameters()[name]
    fixed = {
        backend: {one for one, where in values if where == backend and _is_fixed(name, one, where)}
        for backend in BACKENDS
    }
    on_rllib, on_torch = fixed["rllib"], fixed["torch"] - fixed["rllib"]
    for where, names in (("", on_rllib), ("On torch ", on_torch)):
        if names:
            (only,) = {code(value) for (one, _), value in values.items() if one in names}
            takes = "takes" if len(names) == 1 else "take"
            yield f"{where}{join_words(sorted(names))} {takes} only {only}."


def _is_fixed(name: str, algorithm: str, backend: str) -> bool:
    return name in find_support(backend, algorithm).fixed


def _join_meanings(texts: Sequence[str]) -> str:
    """Sentences about the network's parts, such as the encoder, as one about that part."""
    (whole,) = dict.fromkeys(
        re.sub(r" of the (encoder|heads|network that.*?|layers for images|LSTM)(?=[;.])",
               " of that part", text)
        for text in texts
    )  # fmt: skip
    return whole


def _domains(name: str) -> str:
    path, by_backend = tuple(name.split(".")), dict[str, str]()
    by_text: dict[str, list[str]] = {}
    known = list(known_hyperparameters()[name])
    for algorithm, backend in [one for one in known if not _is_fixed(name, *one)] or known:
        text = describe_domain(domain(algorithm, path, backend))
        by_backend.setdefault(backend, text)
        if backend == "rllib":
            by_text.setdefault(text, []).append(algorithm)
    if len(by_text) > 1:
        return "; ".join(f"{text} ({', '.join(names)})" for text, names in by_text.items())
    texts = list(dict.fromkeys(by_backend.values()))
    if len(texts) == 1:
        return texts[0].replace("|", "\\|")
    common = texts[1] if texts[0].startswith(texts[1]) else ""
    if common:  # torch takes more, such as a schedule
        return f"{common}; on torch also{texts[0].removeprefix(common).removeprefix(' or')}"
    more = [one for one in texts[1].split(", ") if one not in texts[0].split(", ")]
    return f"{texts[0]}; on rllib also {', '.join(more)}"


def _usual(values: Mapping[tuple[str, str], Any]) -> str:
    by_value: dict[str, list[str]] = {}
    for (algorithm, _), value in values.items():
        by_value.setdefault(code(value), []).append(algorithm)
    if len(by_value) == 1:
        return next(iter(by_value))
    return "; ".join(
        f"{value} ({', '.join(dict.fromkeys(names))})" for value, names in by_value.items()
    )


def _who(values: Mapping[tuple[str, str], Any]) -> str:
    free = {backend: {name for name, where in values if where == backend} for backend in BACKENDS}
    both = free["torch"] & free["rllib"]
    named = {"both": both, **{backend: names - both for backend, names in free.items()}}
    return "; ".join(f"{who}: {', '.join(sorted(names))}" for who, names in named.items() if names)


# --- Markdown --------------------------------------------------------------------------------


def table(
    rows: Iterator[tuple[str, Mapping[str, str]]] | Sequence[tuple[str, Mapping[str, str]]],
    columns: Sequence[str] = COLUMNS,
) -> str:
    """Rows of cells by column; columns without any content are left out."""
    listed = list(rows)
    used = [one for one in columns if one == "key" or any(row.get(one) for _, row in listed)]
    lines = [f"| {' | '.join(used)} |", f"|{'---|' * len(used)}"]
    for key, row in listed:
        cells = [row.get("key", f"`{key}`"), *(row.get(one, "") for one in used[1:])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def code(value: Any) -> str:
    """A value as a spec has it, as code; texts that are YAML already stay as they are."""
    text = value if isinstance(value, str) else _plain(value)
    return f"`{text}`"


def _plain(value: Any) -> str:
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return str(int(value)) if abs(value) >= 10 else str(value)
    return show(value) if isinstance(value, float | int | bool) else json.dumps(value)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def main() -> int:
    """Renew or check the document."""
    if "--check" in sys.argv:
        is_current = DOCUMENT.is_file() and DOCUMENT.read_text(encoding="utf-8") == page()
        return 0 if is_current else 1
    DOCUMENT.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
