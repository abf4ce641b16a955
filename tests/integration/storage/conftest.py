"""One S3 server for the tests of a file; each test has a path in it, and a machine, of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bucket_runs import Storage, opened_storage

_number = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Storage]:
    """The server."""
    with opened_storage() as storage:
        yield storage


@pytest.fixture
def storage(server: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Storage]:
    """The server, as this process reaches it from a machine without working copies."""
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "here"))
    server.proxy.fault = None
    yield server
    server.proxy.fault = None


@pytest.fixture
def address(storage: Storage) -> str:
    """A storage in the bucket that is still empty."""
    return f"s3://sweeps/case-{next(_number)}"


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """From now on this process stands for another machine, which has nothing yet."""
    return lambda name: monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / name))
