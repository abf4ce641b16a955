"""Paths become addresses of SQLite databases as SQLAlchemy reads them, and come back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from sweeper.sqlite_address import default_tracking_uri, sqlite_path, sqlite_query, sqlite_uri
from sweeper.tracking.destination import mlflow_uri, resolve_uri

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1)


@given(NAMES)
@example("my%20runs")
@example("what?")
@example("a#b")
@example("100%")
@example("%3F")
def test_any_path_survives_and_is_the_one_that_sqlalchemy_opens(name: str) -> None:
    path = Path("/srv") / name / "mlflow.db"
    uri = sqlite_uri(path)
    assert sqlite_path(uri) == path
    assert make_url(uri).database == str(path)
    assert make_url(mlflow_uri(uri)).database == str(path)
    assert resolve_uri(uri) == uri
    assert sqlite_path(sqlite_uri(path, "?timeout=5")) == path
    assert sqlite_query(sqlite_uri(path, "?timeout=5")) == "?timeout=5"


def test_usual_addresses_look_as_usual(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_tracking_uri("runs") == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert mlflow_uri("sqlite:////a b/mlflow.db") == "sqlite:////a b/mlflow.db"
    assert mlflow_uri("https://mlflow.example/a%20b") == "https://mlflow.example/a%20b"
    assert sqlite_path("https://mlflow.example") is None
