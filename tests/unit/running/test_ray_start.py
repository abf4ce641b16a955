"""What a local Ray is started with; however it fails to start, the user gets a sentence."""

from __future__ import annotations

import pytest
import ray
from ray._private import utils as ray_utils
from ray._private.node import Node

from sweeper.errors import UserError
from sweeper.running.tune import session
from sweeper.running.tune.session import ray_session

SERVANTS = ("start_api_server", "start_monitor", "start_log_monitor")


@pytest.mark.parametrize(
    "error",
    [
        Exception("The current node timed out during startup.\nThis could happen"),  # Ray's own
        RuntimeError("The current node timed out during startup."),
        OSError(28, "The current node timed out during startup."),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("address", [None, "127.0.0.1:1"])
def test_a_failed_start_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception, address: str | None
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # another test may have started it
    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setattr("sweeper.running.tune.session._probe", lambda _: None)
    restored = []
    with (
        pytest.raises(UserError, match=r"The current node timed out during startup\.") as raised,
        ray_session(address, lambda: restored.append(1)),
    ):
        pass
    assert "\n" not in str(raised.value)
    assert ("`sweeper doctor`" if address is None else "127.0.0.1:1") in str(raised.value)
    assert restored == [1]


def test_a_cluster_of_other_versions_is_told_from_one_that_is_not_there() -> None:
    theirs = {"ray_version": "2.1.0", "python_version": "3.8.1"}
    with pytest.raises(RuntimeError) as raised:
        ray_utils.check_version_info(theirs, "node 10.0.0.2")
    text = str(session._no_cluster("10.0.0.1:6379", raised.value))
    assert text.startswith("another Ray or Python on the cluster: The cluster was started with: ")
    assert "Ray: 2.1.0 Python: 3.8.1" in text
    assert "\n" not in text


def test_a_cluster_whose_token_is_missing_here_is_told_from_one_that_is_not_there() -> None:
    error = ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379")
    text = str(session._no_cluster("10.0.0.1:6379", error))
    assert "~/.ray/auth_token" in text
    assert "ray start --head" not in text


def find_started(address: str | None) -> list[str]:
    """Which of the processes that can be left out a Ray is started with."""
    theirs = {name: getattr(Node, name) for name in SERVANTS}
    with session._without_servants(address):
        started = [name for name in SERVANTS if getattr(Node, name) is theirs[name]]
    assert all(getattr(Node, name) is theirs[name] for name in SERVANTS)
    return started


@pytest.mark.parametrize("missing", [None, ImportError("no module named aiohttp_cors")], ids=repr)
def test_the_api_server_is_left_out_only_where_nobody_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, missing: ImportError | None
) -> None:
    """With the dashboard's packages the node's agent logs a traceback a second without it."""
    monkeypatch.setattr(ray_utils, "get_dashboard_dependency_error", lambda: missing)
    monkeypatch.setattr(session, "_is_verbose", lambda: False)
    assert find_started(None) == (["start_api_server"] if missing is None else [])
    assert find_started("127.0.0.1:1") == list(SERVANTS)
