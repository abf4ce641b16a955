from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.search.distributions import Distribution
from sweeper.sqlite_address import sqlite_path
from sweeper.tracking.curves import name_replicas
from sweeper.tracking.destination import resolve_uri
from sweeper.tracking.naming import (
    clip_tag,
    describe_parameters,
    describe_value,
    metric_name,
    scalar_metrics,
)


def test_a_nested_configuration_gets_dotted_names() -> None:
    configuration = {"lr": 1e-3, "model_config": {"fcnet_hiddens": [64, 64], "share": False}}
    assert describe_parameters(configuration) == {
        "lr": "0.001",
        "model_config.fcnet_hiddens": "[64, 64]",
        "model_config.share": "false",
    }


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        (math.inf, "inf"),
        ([[0, 1e-3], [1000, 0.0]], "[[0, 0.001], [1000, 0.0]]"),
        ("relu", "relu"),
        ({}, "{}"),
        (Distribution("loguniform", (1e-5, 0.01)), "loguniform(1e-05, 0.01)"),
        (Distribution("choice", ([64], [8, 8])), "choice([64], [8, 8])"),
        (Distribution("choice", (1, 2), when={"a": True}), "choice(1, 2) when {a: true}"),
    ],
)
def test_values_read_like_the_spec(value: object, words: str) -> None:
    assert describe_value(value) == words


def test_names_that_differ_only_in_forbidden_characters_stay_apart() -> None:
    assert describe_parameters({"a@b": 1, "a#b": 2, "a/b": 3}) == {
        "a_b": "1",
        "a_b_2": "2",
        "a_b_3": "3",
    }


_KEYS = st.text(min_size=1, max_size=300)


@given(st.recursive(st.floats() | st.text(max_size=9000), lambda c: st.dictionaries(_KEYS, c)))
def test_any_configuration_is_within_mlflow_s_limits(tree: object) -> None:
    flat = describe_parameters({"space": tree, "other": 1})
    for name, value in flat.items():
        assert 0 < len(name) <= 250
        assert "/" not in name
        assert len(value) <= 6000


@given(st.text(max_size=400))
def test_any_metric_name_becomes_one_that_mlflow_takes(name: str) -> None:
    import posixpath
    import re

    made = metric_name(name)
    assert 0 < len(made) <= 250
    assert re.fullmatch(r"[/\w.\- :]+", made)
    assert posixpath.normpath(made) == made
    assert not made.startswith(("/", ".."))
    assert metric_name(made) == made


def test_good_metric_names_stay_as_they_are() -> None:
    for name in ("episode_return_mean", "evaluation/episode_return_mean", "learner/vf_loss"):
        assert metric_name(name) == name


def test_only_finite_scalars_are_metrics() -> None:
    row = {
        "a": 1,
        "b": math.nan,
        "c": math.inf,
        "d": True,
        "e": "text",
        "f": None,
        "g": [1.0],
        "replica/a": [1.0, 2.0],
        "learner/h": -0.5,
    }
    assert scalar_metrics(row) == {"a": 1.0, "learner/h": -0.5}


def test_replicas_are_named_by_their_seed() -> None:
    assert name_replicas("evaluation/x", [1.0, None, math.nan, 4], (5, 6, 7, 8)) == {
        "replica/evaluation.x.seed_5": 1.0,
        "replica/evaluation.x.seed_8": 4.0,
    }
    assert name_replicas("x", [1.0, 2.0], (7,)) == {
        "replica/x.seed_0": 1.0,
        "replica/x.seed_1": 2.0,
    }, "a list that does not match the seeds is numbered"


def test_a_long_tag_is_cut_visibly() -> None:
    assert clip_tag("x" * 9000) == "x" * 7999 + "…"


def test_a_relative_sqlite_path_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_uri("sqlite:///runs/mlflow.db") == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert resolve_uri("sqlite:////abs/mlflow.db") == "sqlite:////abs/mlflow.db"
    assert resolve_uri("http://server:5000") == "http://server:5000"
    assert sqlite_path("http://server:5000") is None
