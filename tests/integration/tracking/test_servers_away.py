"""Sweeps whose tracking server is away, slow or unwilling: real ones, and a real server.

The sweep ends in order while the server is still so, says so in one sentence, and `sweeper log`
completes the record, to the same as that of a sweep that nothing has disturbed.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from command_line import started, sweeper_here
from faulty_proxy import (
    Fault,
    answering,
    cut,
    delayed,
    half_answered,
    hanging,
    not_answered,
    on_path,
    on_writes,
    opened_proxy,
)
from killed_sweeps import UNHURRIED
from tiers import leave_after
from tracking_servers import MlflowServer, opened_server, read_record

from sweeper.opened_run import open_run
from sweeper.tracking.destination import import_mlflow

SPEC = """
name: away
environment: {{id: Away{number}-v0, module: away_envs_{number}, kwargs: {{ends: {ends}}}}}
algorithm: PPO
seeds: 2
param_space:
  lr: {{grid_search: [0.001, 0.002, 0.003]}}
  train_batch_size_per_learner: 200
  minibatch_size: 50
  num_epochs: 1
  model_config: {{fcnet_hiddens: [8]}}
stop: {{num_env_steps_sampled_lifetime: 600}}
evaluation: {{episodes: 2, every_env_steps: 200}}
selection: {{finalists: 0}}
tracking: {{uri: "{uri}", experiment: "{experiment}"}}
"""
NEVER = 99
_numbers = iter(range(1000))


@dataclass
class Store:
    """A server, and the database and the files behind it."""

    server: MlflowServer
    database: Path
    files: Path

    def dump(self) -> list[str]:
        """All that it holds, and when each file was written."""
        files = [path for path in self.files.rglob("*") if path.is_file()]
        with closing(sqlite3.connect(self.database)) as connection:
            lines = list(connection.iterdump())
        return lines + sorted(f"{path} {path.stat().st_mtime_ns}" for path in files)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("store")
    database, files = folder / "server.db", folder / "files"
    with opened_server(f"sqlite:///{database}", files.as_uri()) as server:
        yield Store(server, database, files)


@dataclass
class Ended:
    """A sweep that has ended, and what it said."""

    folder: Path
    name: str
    said: list[str]
    words: str


def sweep(
    folder: Path,
    uri: str,
    *,
    experiment: str = "e",
    middle: Callable[[], bool] | None = None,
    act: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a sweep in a process of its own, on this process's Ray.

    Args:
        folder: where.
        uri: of its tracking server.
        experiment: of its record.
        middle: whether it has come to its middle, where it waits; None if it need not wait.
        act: what happens then, or before its start.
    """
    number = next(_numbers)
    (folder / f"away_envs_{number}.py").write_text(UNHURRIED.format(name=f"Away{number}"))
    spec = SPEC.format(
        number=number, uri=uri, experiment=experiment, ends=NEVER if middle is None else 1
    )
    (folder / "spec.yaml").write_text(spec)
    if middle is None:
        act()
    address = ray.get_runtime_context().gcs_address
    with started("run", "spec.yaml", f"ray.address={address}", cwd=folder) as process:
        if middle is not None:
            until(lambda: process.poll() is not None or middle())
            act()
            (folder / "hurry").touch()
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    run = open_run(folder / out.strip())
    assert run.results.counts() == {"TERMINATED": 3}
    assert run.is_champion_written
    lines = [line for line in err.splitlines() if "MLflow:" in line]
    return Ended(folder, run.paths.root.name, lines, err)


def until(condition: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def has_runs(url: str, experiment: str, number: int = 2) -> bool:
    client = import_mlflow().MlflowClient(tracking_uri=url)
    found = client.get_experiment_by_name(experiment)
    return found is not None and len(client.search_runs([found.experiment_id])) >= number


def log(ended: Ended, *options: str) -> str:
    done = sweeper_here("log", ended.name, *options, cwd=ended.folder)
    assert done.returncode == 0, done.stderr
    return done.stderr


def check_completed(ended: Ended, store: Store, experiment: str, *options: str) -> None:
    """After `log` the record is whole and single; once more writes nothing."""
    log(ended, *options)
    log(ended, "--uri", f"sqlite:///{ended.folder}/undisturbed.db", "--experiment", "e")
    found = read_record(store.server.url, experiment)
    assert set(found) == {"sweep", "t0001", "t0002", "t0003", "models"}
    assert found == read_record(f"sqlite:///{ended.folder}/undisturbed.db", "e")
    before = store.dump()
    log(ended, *options)
    assert store.dump() == before


# When, how, and what the sentence says of it. The first of a kind come first.
CASES: list[tuple[str, str, Fault, str]] = [
    ("hanging", "middle", hanging, "did not answer in time"),
    ("read-only", "middle", on_writes(answering(403, "Forbidden")), "403 Forbidden"),
    ("nothing but 500", "middle", answering(500, "<h1>no</h1>\n"), "500 Internal Server Error"),
    ("slow", "start", delayed(2), ""),
    ("half answers", "middle", half_answered, "broke off its answer"),
    ("answers lost", "middle", not_answered, "closed the connection"),
    ("connections cut", "middle", cut, "closed the connection"),
    ("another site", "start", answering(200, "<html>hi</html>"), "not as MLflow does"),
    (
        "maintenance",
        "middle",
        answering(503, '{"message": "down\\nfor now"}', "application/json"),
        "503 Service Unavailable",
    ),
    ("wants a login", "start", answering(401, "no"), "wants a login (401 Unauthorized); set MLF"),
    ("read-only from the start", "start", on_writes(answering(403, "no")), "403 Forbidden: no"),
    ("no MLflow", "start", answering(404, "Not Found"), "has no MLflow at this address"),
    (
        "files refused",
        "start",
        on_path("/mlflow-artifacts/", answering(500, "no")),
        "MLflow: the run's files are not there: the server at",
    ),
    (
        "model's answer lost",
        "start",
        on_path("/logged-models", not_answered),
        "MLflow: the champion is not logged as a model: the server at",
    ),
]


@pytest.mark.parametrize(("what", "when", "fault", "words"), leave_after(3, CASES))
def test_a_sweep_goes_on_beside_a_server_that_fails(
    what: str,
    when: str,
    fault: Fault,
    words: str,
    tmp_path: Path,
    store: Store,
    ray_cluster: None,
) -> None:
    with opened_proxy(store.server.url) as proxy:

        def fail() -> None:
            proxy.fault = fault

        ended = sweep(
            tmp_path,
            proxy.url,
            experiment=what,
            middle=(lambda: has_runs(store.server.url, what)) if when == "middle" else None,
            act=fail,
        )
        if words:
            (said,) = ended.said
            assert words in said
            assert proxy.url in said
            assert f"`sweeper log {ended.name}`" in said
        else:
            assert len(ended.said) <= 1
        proxy.fault = None
        check_completed(ended, store, what)


@pytest.mark.acceptance
def test_a_server_that_is_down_at_the_start_costs_the_sweep_nothing(
    tmp_path: Path, store: Store, ray_cluster: None
) -> None:
    with opened_proxy(store.server.url) as proxy:
        ended = sweep(tmp_path, proxy.url, experiment="down", act=proxy.stop)
    (said,) = ended.said
    assert f"no server answers at {proxy.url} (Connection refused); the sweep goes on" in said
    check_completed(ended, store, "down", "--uri", store.server.url, "--experiment", "down")


def test_a_server_that_is_killed_in_the_middle_and_comes_back_has_it_all(
    tmp_path: Path, store: Store, ray_cluster: None
) -> None:
    """Whether the sweep or `sweeper log` completes the record: it is the same."""
    server = MlflowServer(f"sqlite:///{tmp_path}/own.db", (tmp_path / "files").as_uri())
    own = Store(server, tmp_path / "own.db", tmp_path / "files")
    try:
        server.start()

        def kill() -> None:
            server.kill()
            with closing(sqlite3.connect(own.database)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)

        ended = sweep(tmp_path, server.url, middle=lambda: has_runs(server.url, "e"), act=kill)
        (said,) = ended.said
        assert server.url in said  # a request may have been on its way
        server.start()
        check_completed(ended, own, "e")
    finally:
        server.kill()


def test_a_sweep_into_a_deleted_experiment_names_it_and_the_remedy(
    tmp_path: Path, store: Store, ray_cluster: None
) -> None:
    client = import_mlflow().MlflowClient(tracking_uri=store.server.url)
    number = client.create_experiment("deleted")
    client.delete_experiment(number)
    ended = sweep(tmp_path, store.server.url, experiment="deleted")
    (said,) = ended.said
    assert "the experiment 'deleted' was deleted: restore it with `mlflow experiments" in said
    client.restore_experiment(number)
    check_completed(ended, store, "deleted")


@pytest.mark.acceptance
def test_an_experiment_that_is_deleted_in_the_middle_is_said_once(
    tmp_path: Path, store: Store, ray_cluster: None
) -> None:
    url, name = store.server.url, "archived"
    client = import_mlflow().MlflowClient(tracking_uri=url)

    def delete() -> None:
        client.delete_experiment(client.get_experiment_by_name(name).experiment_id)

    ended = sweep(tmp_path, url, experiment=name, middle=lambda: has_runs(url, name), act=delete)
    (said,) = ended.said
    assert "the experiment 'archived' was deleted: restore it with `mlflow experiments" in said
    client.restore_experiment(client.get_experiment_by_name(name).experiment_id)
    check_completed(ended, store, name)


@pytest.mark.acceptance
def test_two_sweeps_at_once_share_one_new_database(tmp_path: Path, ray_cluster: None) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    uri = f"sqlite:///{tmp_path}/shared.db"
    address = ray.get_runtime_context().gcs_address
    for folder in folders:
        folder.mkdir()
        number = next(_numbers)
        (folder / f"away_envs_{number}.py").write_text(UNHURRIED.format(name=f"Away{number}"))
        spec = SPEC.format(number=number, uri=uri, experiment=folder.name, ends=NEVER)
        (folder / "spec.yaml").write_text(spec)
    words = ("run", "spec.yaml", f"ray.address={address}", "-q")
    with started(*words, cwd=folders[0]) as first, started(*words, cwd=folders[1]) as second:
        ends = [one.communicate(timeout=200) for one in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), ends
    assert [err for _, err in ends if "MLflow" in err or "Traceback" in err] == []
    for folder, (out, _) in zip(folders, ends, strict=True):
        name = Path(out.strip()).name
        ended = Ended(folder, name, [], "")
        log(ended, "--uri", f"sqlite:///{folder}/undisturbed.db", "--experiment", "e")
        found = read_record(uri, folder.name)
        assert set(found) == {"sweep", "t0001", "t0002", "t0003", "models"}
        assert found == read_record(f"sqlite:///{folder}/undisturbed.db", "e")
