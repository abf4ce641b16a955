"""The JSON Schema accepts what the spec's own checks accept, and documents every key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from spec_mutations import valid_specs

from sweeper.spec.keys.descriptions import TOP_LEVEL_KEYS
from sweeper.spec.keys.names import algorithms, defaults
from sweeper.spec.keys.support import BACKENDS, supports
from sweeper.spec.schedulers import SCHEDULER_OPTIONS
from sweeper.spec.schema import spec_schema
from sweeper.spec.section_table import SECTIONS
from sweeper.spec.text.yaml import parse_yaml

ROOT = Path(__file__).parents[3]
CONFIGS = sorted([*(ROOT / "configs").rglob("*.yaml"), *(ROOT / "sweeper").rglob("*.yaml")])
SCHEMA = json.loads(json.dumps(spec_schema(), allow_nan=False))
LEAST = {"environment": "CartPole-v1", "algorithm": "PPO", "stop": {"training_iteration": 3}}


def errors(spec: Mapping[str, Any]) -> list[str]:
    validator = jsonschema.Draft7Validator(SCHEMA)
    return [error.message for error in validator.iter_errors(spec)]


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert len(json.dumps(SCHEMA)) < 300_000


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_validates(path: Path) -> None:
    assert errors(parse_yaml(path.read_text(encoding="utf-8"), path.name).value) == []


@pytest.mark.parametrize("text", valid_specs().values(), ids=list(valid_specs()))
def test_odd_but_right_specs_validate(text: str) -> None:
    assert errors(parse_yaml(text.removeprefix("\ufeff"), "spec").value) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"algoritm": "PPO"},
        {"algorithm": "ppo"},
        {"backend": "tensorflow"},
        {"seeds": 0},
        {"seeds": [1, 1]},
        {"name": "a/b"},
        {"search": {"num_samples": 0}},
        {"search": {"seeed": 1}},
        {"evaluation": {"episodes": "20"}},
        {"checkpoint": {"keep": 0}},
        {"scheduler": "ashaa"},
        {"scheduler": {"type": "fifo", "grace_period": 3}},
        {"scheduler": {"type": "asha", "reduction_factor": 1}},
        {"param_space": {"learning_rate": 1}},
        {"param_space": {"lr": -1}},
        {"param_space": {"lr": "1e-3"}},
        {"param_space": {"gamma": 1.5}},
        {"param_space": {"gamma": {"choice": []}}},
        {"param_space": {"gamma": {"choice": [0.9, 1.5]}}},
        {"param_space": {"gamma": {"log_uniform": [0.1, 0.2]}}},
        {"param_space": {"gamma": {"uniform": [0.1]}}},
        {"param_space": {"gamma": {"uniform": [0.1, 0.2], "choice": [0.1]}}},
        {"param_space": {"num_epochs": {"uniform": [1, 9]}}},
        {"param_space": {"use_gae": {"uniform": [0, 1]}}},
        {"param_space": {"double_q": True}},
        {"param_space": {"model_config": {"fcnet_hidens": [64]}}},
        {"param_space": {"model_config": {"fcnet_activation": "rellu"}}},
        {"backend": "torch", "param_space": {"use_gae": False}},
        {"backend": "torch", "param_space": {"model_config": {"use_lstm": True}}},
        {"stop": {"training_iteration": "3"}},
        {"environment": {"id": "CartPole-v1", "kwarg": {}}},
    ],
    ids=json.dumps,
)
def test_wrong_specs_do_not_validate(changes: dict[str, Any]) -> None:
    assert errors(LEAST) == []
    assert errors({**LEAST, **changes})


def test_a_spec_that_extends_another_may_lack_the_rest() -> None:
    assert errors({"extends": "base.yaml", "param_space": {"anything": 1}}) == []
    assert errors({"param_space": {}})


def test_hyperparameters_are_those_of_algorithm_and_backend() -> None:
    for algorithm in algorithms():
        for backend in BACKENDS:
            if supports(backend, algorithm):
                offered = SCHEMA["$defs"][f"{algorithm}-{backend}"]["properties"]
                assert set(offered) == set(defaults(algorithm, backend))


def _properties(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(schema, dict):
        found = schema.get("properties")
        is_condition = path.endswith(("/if", "/then"))
        if isinstance(found, dict) and not is_condition:
            for key, value in found.items():
                yield f"{path}/{key}", value
        for key, value in schema.items():
            yield from _properties(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            yield from _properties(value, f"{path}/{number}")


def test_every_key_is_documented() -> None:
    silent = [
        path
        for path, schema in _properties(SCHEMA)
        if "description" not in schema and "const" not in schema
    ]
    assert silent == []
    models = [*SECTIONS.values(), *SCHEDULER_OPTIONS.values()]
    for model in models:
        for name, info in model.model_fields.items():
            assert info.description or model.__name__ == "Wrapper", f"{model.__name__}.{name}"


def test_hyperparameters_are_described_in_words_with_their_defaults() -> None:
    ppo = SCHEMA["$defs"]["PPO-rllib"]["properties"]
    assert ppo["lr"]["description"] == "Adam's learning rate."
    assert ppo["lr"]["default"] == 5e-05
    for algorithm in algorithms():
        for key, value in SCHEMA["$defs"][f"{algorithm}-rllib"]["properties"].items():
            assert value["description"] != key


def test_domains_of_one_name_are_equal() -> None:
    from sweeper.spec.schema import _domains

    found: dict[str, Any] = {}
    for name, schema in _domains():
        assert found.setdefault(name, schema) == schema, name


def test_the_keys_of_the_top_level_keep_their_order() -> None:
    assert tuple(SCHEMA["properties"]) == tuple(TOP_LEVEL_KEYS)
