"""Paths become addresses of SQLite databases as SQLAlchemy reads them, and come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from sweeper.spec.uris import check_tracking_uri
from sweeper.sqlite_address import default_tracking_uri, sqlite_path, sqlite_query, sqlite_uri
from sweeper.tracking.credentials import find_address
from sweeper.tracking.destination import mlflow_uri, resolve_uri

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1)


NAMED = ("my%20runs", "what?", "a#b", "100%", "%3F", "ada@corp", "a:b@c", "${env:HOME}", "$${x}")


def examples(test: Callable[[str], None]) -> Callable[[str], None]:
    for name in NAMED:
        test = example(name)(test)
    return test


@pytest.fixture(scope="module", autouse=True)
def password() -> Iterator[None]:
    """A password for another server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_PASSWORD", "pa55-w0rd")
        yield


@given(NAMES)
@examples
def test_any_path_survives_and_is_the_one_that_sqlalchemy_opens(name: str) -> None:
    path = Path("/srv") / name / "mlflow.db"
    uri = sqlite_uri(path)
    assert sqlite_path(uri) == path
    assert make_url(uri).database == str(path)
    assert make_url(mlflow_uri(uri)).database == str(path)
    assert resolve_uri(uri) == uri
    address = find_address(uri)
    assert (address.uri, address.user, address.password) == (uri, None, None)
    assert check_tracking_uri(uri) == uri
    assert sqlite_path(sqlite_uri(path, "?timeout=5")) == path
    assert sqlite_query(sqlite_uri(path, "?timeout=5")) == "?timeout=5"


@pytest.mark.parametrize("name", NAMED)
def test_a_folder_s_name_is_no_part_of_a_uri_s_language(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a login nor a reference, wherever the path comes from."""
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    written = (
        default_tracking_uri("runs"),
        "sqlite:///runs/mlflow.db",
        "sqlite:///~/runs/mlflow.db",
    )
    for uri in map(check_tracking_uri, written):
        assert sqlite_path(find_address(uri).uri) == folder / "runs" / "mlflow.db"


def test_a_reference_in_a_written_path_stays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEAM", "a@b")
    uri = check_tracking_uri("sqlite:///${env:TEAM}/mlflow.db?timeout=5")
    assert uri == "sqlite:///${env:TEAM}/mlflow.db?timeout=5", "its folder may be absolute"
    uri = check_tracking_uri("sqlite:///db/${env:TEAM}.db?timeout=5")
    assert uri == f"sqlite:///{tmp_path}/db/${{env:TEAM}}.db?timeout=5"
    assert find_address(uri).uri == f"sqlite:///{tmp_path}/db/a@b.db?timeout=5"


def test_usual_addresses_look_as_usual(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_tracking_uri("runs") == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert mlflow_uri("sqlite:////a b/mlflow.db") == "sqlite:////a b/mlflow.db"
    assert mlflow_uri("https://mlflow.example/a%20b") == "https://mlflow.example/a%20b"
    assert sqlite_path("https://mlflow.example") is None
