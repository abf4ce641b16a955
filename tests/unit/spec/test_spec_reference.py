"""docs/spec.md has every key of a spec, as the models have it, and its examples are accepted."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from sweeper.search.distributions import KINDS, is_distribution, parse_space
from sweeper.spec import load_spec
from sweeper.spec.keys.descriptions import TOP_LEVEL_KEYS
from sweeper.spec.keys.domains import check_value
from sweeper.spec.keys.names import domain
from sweeper.spec.keys.support import find_support
from sweeper.spec.section_table import SECTIONS
from sweeper.spec.sections import Plateau

ROOT = Path(__file__).parents[3]
SPEC = """\
environment: {id: CartPole-v1}
algorithm: PPO
backend: torch
param_space: {lr: {loguniform: [1.0e-5, 1.0e-2]}, gamma: {uniform: [0.9, 0.99]}}
search: {algorithm: random, num_samples: 8}
stop: {num_env_steps_sampled_lifetime: 100000}
evaluation: {every_env_steps: 20000}
checkpoint: {every_env_steps: 20000}
"""


def read_script() -> ModuleType:
    found = importlib.util.spec_from_file_location(
        "write_spec_reference", ROOT / "tools" / "write_spec_reference.py"
    )
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


script = read_script()
MODELS = {
    **{name: model for name, model in SECTIONS.items() if name != "scheduler"},
    "stop.plateau": Plateau,
    **{
        f"{section}.{name}": model
        for section, options in script.OPTIONS.items()
        for name, model in options.items()
    },
}


def test_the_page_is_the_one_that_the_models_give() -> None:
    written = script.DOCUMENT.read_text(encoding="utf-8")
    assert written == script.page(), "run make docs"


def test_every_key_of_the_models_is_on_the_page_and_no_other() -> None:
    for name, model in MODELS.items():
        assert [key for key, _ in script.fields(name, model)] == list(script.DATA[name]), name
    assert set(script.DATA["top level"]) == set(TOP_LEVEL_KEYS)
    assert list(script.DATA["distributions"]) == list(KINDS)
    others = {"top level", "defaults", "backends", "hyperparameters", "distributions"}
    assert set(script.DATA) == MODELS.keys() | others


def test_every_hyperparameter_is_on_the_page_once() -> None:
    patterns = [key for group in script.DATA["hyperparameters"].values() for key in group]
    named = Counter(name for pattern in patterns for name in script.matching(pattern))
    assert named == Counter(script.known_hyperparameters().keys())
    text = script.DOCUMENT.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in named)


def examples() -> Iterator[tuple[str, list[str]]]:
    """Each key of a section, and the overrides that set it to its example."""
    chosen = {"search": "search.algorithm", "scheduler": "scheduler.type"}
    for name in MODELS:
        section, _, option = name.partition(".")
        with_option = [f"{chosen[section]}={option}"] if option and section in chosen else []
        for key, (_, example) in script.DATA[name].items():
            path = f"{name}.{key}" if section not in chosen else f"{section}.{key}"
            yield f"{name}.{key}", [*with_option, f"{path}={_plain(example)}"]
    for key, (_, example) in script.DATA["top level"].items():
        if key not in ("extends", "param_space"):
            yield key, [f"{key}={_plain(example)}"]


def _plain(example: Any) -> str:
    return str(example).lower() if isinstance(example, bool) else str(example)


# What a key needs beside it.
NEEDED = {
    "checkpoint.replay": ["algorithm=DQN"],
    "search.points_to_evaluate": ["search.points_to_evaluate=[{lr: 3.0e-4, gamma: 0.95}]"],
    "stop.plateau.metric_threshold": ["stop.plateau.mode=max"],
    "stop.plateau.mode": ["stop.plateau.metric_threshold=100"],
    **{
        f"scheduler.pbt.{key}": ["scheduler.perturbation_interval=20000"]
        for key in script.DATA["scheduler.pbt"]
    },
    "scheduler.asha.brackets": ["scheduler.grace_period=10000"],
    **{
        f"scheduler.{name}.max_t": ["scheduler.grace_period=20000"]
        for name in ("asha", "hyperband")
    },
}


@pytest.mark.parametrize(("key", "overrides"), examples(), ids=lambda one: str(one)[:60])
def test_every_example_of_a_section_is_accepted(
    tmp_path: Path, key: str, overrides: list[str]
) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    load_spec(tmp_path / "spec.yaml", [*overrides, *NEEDED.get(key, [])])


@pytest.mark.parametrize(
    "pattern", [key for group in script.DATA["hyperparameters"].values() for key in group]
)
def test_every_example_of_a_hyperparameter_is_in_its_domain(pattern: str) -> None:
    groups = script.DATA["hyperparameters"].values()
    (_, example) = next(group[pattern] for group in groups if pattern in group)
    value = yaml.safe_load(example) if isinstance(example, str) else example
    if is_distribution(value):
        space, problems = parse_space({"x": value})
        assert problems == []
        tried = space["x"].values or space["x"].bounds
    else:
        tried = [value]
    for name in script.matching(pattern):
        for algorithm, backend in script.known_hyperparameters()[name]:
            if name in find_support(backend, algorithm).fixed:
                continue
            for one in tried:
                found = domain(algorithm, tuple(name.split(".")), backend)
                assert check_value(found, one) is None, (name, algorithm, backend, one)


def test_the_specs_on_the_page_are_accepted(tmp_path: Path) -> None:
    text = script.DOCUMENT.read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        (tmp_path / "spec.yaml").write_text(block)
        assert load_spec(tmp_path / "spec.yaml").seeds == (0, 1, 2, 3, 4)
    for kind, (_, example) in script.DATA["distributions"].items():
        space, problems = parse_space({"x": yaml.safe_load(example)})
        assert problems == []
        assert space["x"].kind == kind
