"""Real MLflow, on SQLite databases and local servers; nothing is mocked."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeper.errors import UserError
from sweeper.evidence.selection import Exclusion, Selection
from sweeper.evidence.verdict import Sample, judge
from sweeper.journal import (
    Event,
    Journal,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
)
from sweeper.paths import RunPaths, create_run_folder
from sweeper.results.builder import load_results
from sweeper.spec import parse
from sweeper.sqlite_address import default_tracking_uri
from sweeper.tracking import standing
from sweeper.tracking.destination import import_mlflow, mlflow_uri
from sweeper.tracking.tracker import MlflowTracker
from sweeper.tracking.ui import open_ui

T0 = 1_700_000_000.0


@dataclass
class Sweep:
    """A run folder with a journal that a test writes, and trackers that follow it."""

    storage: Path
    paths: RunPaths
    uri: str
    experiment: str
    register_as: str | None = None
    system_metrics: bool = False
    clock: float = T0
    trackers: list[MlflowTracker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.paths.spec.write_text("name: cartpole\n")
        self.paths.plan.write_text("{}\n")
        self.paths.environment.write_text(
            json.dumps(
                {
                    "versions": {"sweeper": "0.1.0", "ray": "2.60.0"},
                    "git": {"commit": "abc", "dirty": True},
                    "command": ["sweeper", "run", "my spec.yaml"],
                    "platform": "Linux",
                    "cpus": 2,
                }
            )
        )
        self.journal = Journal(self.paths.journal)

    def tracker(self, *, is_launch: bool = True) -> MlflowTracker:
        spec = parse(
            {
                "name": "cartpole",
                "environment": "CartPole-v1",
                "algorithm": "PPO",
                "backend": "rllib",
                "seeds": [7, 8],
                "param_space": {
                    "lr": {"loguniform": [1e-5, 1e-2]},
                    "gamma": 0.99,
                    "model_config": {"fcnet_hiddens": [64, 64]},
                },
                "search": {"num_samples": 3},
                "stop": {"num_env_steps_sampled_lifetime": 1000},
                "tracking": {
                    "uri": self.uri,
                    "experiment": self.experiment,
                    "register_as": self.register_as,
                    "system_metrics": self.system_metrics,
                },
            }
        )
        artifact_root = self.storage / "mlartifacts"
        tracker = MlflowTracker(
            spec.plan(),
            self.paths,
            spec.tracking,
            artifact_root=artifact_root,
            is_launch=is_launch,
        )
        self.trackers.append(tracker)
        self.journal.listeners[:] = [tracker]
        tracker.start()
        return tracker

    def write(self, kind: type[Event], *args: Any, **kwargs: Any) -> None:
        self.clock += 1.0
        self.journal.append(kind(self.clock, *args, **kwargs))

    def launch(self, number: int = 1) -> None:
        self.write(LaunchStarted, number, os.getpid(), ("sweeper", "run"))

    def trial(self, trial_id: str, *, reports: int = 3, state: str | None = "TERMINATED") -> None:
        configuration = {
            "lr": 0.001,
            "gamma": 0.99,
            "model_config": {"fcnet_hiddens": [64, 64]},
        }
        self.write(TrialAsked, trial_id, configuration, {"lr": 0.001}, (7, 8))
        self.write(TrialStarted, trial_id, "node")
        for iteration in range(1, reports + 1):
            self.report(trial_id, iteration)
        if state:
            self.end(trial_id, state)

    def report(
        self, trial_id: str, iteration: int, *, replaces: bool = False, **metrics: Any
    ) -> None:
        row = {
            "training_iteration": iteration,
            "num_env_steps_sampled_lifetime": 100 * iteration,
            "episode_return_mean": 10.0 * iteration,
            "learner/entropy": 0.5,
            "learner/broken": float("nan"),
            "replica/episode_return_mean": [9.0 * iteration, 11.0 * iteration],
            **metrics,
        }
        self.write(TrialReported, trial_id, row, replaces=replaces)

    def end(self, trial_id: str, state: str = "TERMINATED") -> None:
        error = "ValueError: boom" if state == "ERROR" else None
        self.write(TrialEnded, trial_id, state, "crashed" if error else "done", error)

    def client(self) -> Any:
        return import_mlflow().MlflowClient(tracking_uri=mlflow_uri(self.uri))

    def runs(self) -> dict[str, Any]:
        """MLflow's runs by trial id; the parent's is the empty string."""
        client = self.client()
        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None:
            return {}
        found = client.search_runs(
            [experiment.experiment_id],
            filter_string=f"tags.`sweeper.run` = '{self.paths.root.name}'",
            max_results=1000,
        )
        runs = {run.data.tags.get("sweeper.trial", ""): run for run in found}
        assert len(runs) == len(found), "a run is there twice"
        return runs

    def history(self, trial_id: str, metric: str) -> list[tuple[int, float, int]]:
        run_id = self.runs()[trial_id].info.run_id
        history = self.client().get_metric_history(run_id, metric)
        return sorted((item.step, item.value, item.timestamp) for item in history)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for the module, because creating one takes seconds. A hostile name."""
    return tmp_path_factory.mktemp("sto räge") / "runs"


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database to copy, for tests that need their own; creating one takes seconds."""
    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    import_mlflow().MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def sweep(storage: Path, request: pytest.FixtureRequest) -> Iterator[Sweep]:
    yield from _sweep(storage, default_tracking_uri(str(storage)), request.node.name)


def _sweep(storage: Path, uri: str, experiment: str) -> Iterator[Sweep]:
    from datetime import datetime

    paths = create_run_folder(storage, "cartpole", datetime(2026, 11, 24))
    made = Sweep(storage, paths, uri, experiment)
    yield made
    made.journal.close()
    for tracker in made.trackers:
        tracker.close("finished", timeout_s=5)


def _until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def _removed(folder: Path) -> bool:
    """Remove a folder in which SQLite may be creating files."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _dump(database: Path) -> dict[str, list[str]]:
    tables = ("runs", "metrics", "params", "tags", "latest_metrics", "logged_models", "experiments")
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return {
            table: sorted(map(repr, connection.execute(f"SELECT * FROM {table}")))  # noqa: S608
            for table in tables
        }


def test_a_sweep_is_a_parent_run_with_a_nested_run_per_trial(sweep: Sweep) -> None:
    tracker = sweep.tracker()
    sweep.launch()
    sweep.trial("t0001")
    sweep.paths.trial_log("t0002").parent.mkdir(parents=True)
    sweep.paths.trial_log("t0002").write_text("Traceback\nthe last line of its log\n")
    sweep.trial("t0002", state="ERROR")
    sweep.trial("t0003", state="PRUNED")
    sweep.write(LaunchEnded, "finished")
    assert tracker.close("finished") == []

    runs = sweep.runs()
    parent = runs.pop("")
    assert parent.info.run_name == sweep.paths.root.name
    assert parent.info.status == "FINISHED"
    assert parent.data.params["lr"] == "loguniform(1e-05, 0.01)"
    assert parent.data.params["gamma"] == "0.99"
    tags = parent.data.tags
    assert tags["sweeper.version"] == "0.1.0"
    assert tags["mlflow.source.git.commit"] == "abc"
    assert tags["sweeper.git.dirty"] == "true"
    assert tags["sweeper.command"] == "sweeper run 'my spec.yaml'"
    assert tags["sweeper.machine"] == "Linux, 2 cores"
    assert tags["sweeper.versions"] == "sweeper 0.1.0, ray 2.60.0"
    assert tags["sweeper.algorithm"] == "PPO"
    assert "3 trials: 1 done, 1 failed, 1 pruned" in tags["mlflow.note.content"]
    artifacts = {item.path for item in sweep.client().list_artifacts(parent.info.run_id)}
    assert artifacts >= {"spec.yaml", "plan.json", "environment.json"}
    assert (sweep.storage / "mlartifacts").is_dir()

    assert set(runs) == {"t0001", "t0002", "t0003"}
    for trial_id, run in runs.items():
        assert run.info.run_name == f"{trial_id} lr=0.001"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params == {
            "lr": "0.001",
            "gamma": "0.99",
            "model_config.fcnet_hiddens": "[64, 64]",
        }
        assert "learner/broken" not in run.data.metrics
        assert run.data.metrics["replica/episode_return_mean.seed_7"] == 27.0
        assert run.data.metrics["replica/episode_return_mean.seed_8"] == 33.0
    assert [runs[f"t000{n}"].info.status for n in (1, 2, 3)] == ["FINISHED", "FAILED", "FINISHED"]
    assert runs["t0002"].data.tags["sweeper.error"] == "ValueError: boom"
    assert runs["t0003"].data.tags["sweeper.state"] == "PRUNED"
    log = sweep.client().list_artifacts(runs["t0002"].info.run_id)
    assert [one.path for one in log] == ["log.txt"]
    assert "the last line of its log" in runs["t0002"].data.tags["mlflow.note.content"]
    (dataset,) = parent.inputs.dataset_inputs
    assert dataset.dataset.name == "CartPole-v1"
    assert [(one[0], one[1]) for one in sweep.history("", "Decision/so_far_by_trials")] == [
        (number, 30.0) for number in (1, 2, 3)
    ]
    assert parent.data.metrics["cost/env_steps"] == 3 * 2 * 300
    assert not [name for name in parent.data.metrics if name.startswith("system/")]
    first = int((T0 + 4) * 1000)
    assert sweep.history("t0001", "episode_return_mean") == [
        (100, 10.0, first),
        (200, 20.0, first + 1000),
        (300, 30.0, first + 2000),
    ]


def test_curves_are_written_while_the_sweep_runs(sweep: Sweep) -> None:
    tracker = sweep.tracker()
    sweep.launch()
    sweep.trial("t0001", reports=2, state=None)
    _until(lambda: "t0001" in sweep.runs() and len(sweep.history("t0001", "learner/entropy")) == 2)
    assert {run.info.status for run in sweep.runs().values()} == {"RUNNING"}
    sweep.report("t0001", 3)
    _until(lambda: len(sweep.history("t0001", "learner/entropy")) == 3)
    tracker.close("finished")


def test_the_machine_s_load_is_recorded_on_request_while_a_launch_runs(sweep: Sweep) -> None:
    sweep.system_metrics = True
    tracker = sweep.tracker()
    sweep.launch()
    sweep.trial("t0001")
    load = "system/cpu_utilization_percentage"
    _until(lambda: any(load in run.data.metrics for run in sweep.runs().values()))
    metrics = sweep.runs()[""].data.metrics
    assert metrics["system/system_memory_usage_megabytes"] > 100
    assert 0 < metrics["system/disk_usage_percentage"] <= 100
    sweep.write(LaunchEnded, "finished")
    assert tracker.close("finished") == []
    before = _dump(sweep.storage / "mlflow.db")
    # To log a run again says nothing of the machine on which it is done.
    assert sweep.tracker(is_launch=False).close("finished") == []
    assert _dump(sweep.storage / "mlflow.db") == before


def test_the_description_has_the_top_configurations_while_the_sweep_runs(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def description() -> str:
        run = sweep.runs().get("")
        return "" if run is None else str(run.data.tags.get("mlflow.note.content", ""))

    monkeypatch.setattr(standing, "_EVERY_S", 0.0)
    tracker = sweep.tracker()
    sweep.launch()
    sweep.trial("t0001", reports=1, state=None)
    _until(lambda: "**Running.**" in description())
    sweep.report("t0001", 2)
    _until(lambda: "20 (18 to 22)" in description().replace("\N{NO-BREAK SPACE}", " "))
    sweep.end("t0001")
    _until(lambda: "best so far: [t0001]" in description())
    assert "1 trial so far: 1 done." in description()
    sweep.trial("t0002", reports=4)
    sweep.trial("t0003", reports=9, state="PRUNED")
    sweep.trial("t0004", reports=1, state=None)
    _until(lambda: "4 trials so far: 2 done, 1 pruned, 1 running." in description())
    text = description()
    assert "best so far: [t0002]" in text
    assert "`lr = 0.001`, 40." in text
    rows = [line.split("]")[0].strip("| [") for line in text.splitlines() if line[:3] == "| ["]
    assert rows == ["t0002", "t0001", "t0003", "t0004"]  # a pruned trial can't win
    sweep.end("t0004")
    sweep.write(LaunchEnded, "finished")
    tracker.log_champion(_selection("t0002"), None)
    assert tracker.close("finished") == []
    assert description().startswith("**Champion: [t0002]")
    assert "so far" not in description()


def test_writing_the_same_journal_again_changes_nothing(sweep: Sweep) -> None:
    tracker = sweep.tracker()
    sweep.launch()
    sweep.trial("t0001")
    sweep.trial("t0002", state="ERROR")
    sweep.trial("t0003", reports=40, state="PAUSED")
    sweep.write(LaunchEnded, "interrupted")
    tracker.close("interrupted")
    before = _dump(sweep.storage / "mlflow.db")
    assert sweep.tracker().close("interrupted") == []
    assert _dump(sweep.storage / "mlflow.db") == before


def test_a_resumed_run_continues_in_the_same_mlflow_runs(sweep: Sweep) -> None:
    tracker = sweep.tracker()
    sweep.launch()
    sweep.trial("t0001", reports=3, state="PAUSED")
    sweep.write(LaunchEnded, "interrupted")
    tracker.close("interrupted")
    first = sweep.runs()
    assert {run.info.status for run in first.values()} == {"KILLED"}

    tracker = sweep.tracker()
    sweep.launch(2)
    sweep.write(TrialStarted, "t0001", "node")
    _until(lambda: {run.info.status for run in sweep.runs().values()} == {"RUNNING"})
    for iteration in (2, 3, 4):  # two of them repeated, from the checkpoint
        sweep.report("t0001", iteration)
    sweep.end("t0001")
    sweep.trial("t0002")
    sweep.write(LaunchEnded, "finished")
    assert tracker.close("finished") == []
    second = sweep.runs()
    assert {run.info.status for run in second.values()} == {"FINISHED"}
    for key, run in first.items():
        assert second[key].info.run_id == run.info.run_id
    history = sweep.history("t0001", "episode_return_mean")
    assert [step for step, *_ in history] == [100, 200, 300, 400]


def test_a_driver_that_was_killed_leaves_nothing_running_once_it_is_logged_again(
    sweep: Sweep,
) -> None:
    sweep.launch()
    sweep.trial("t0001", state=None)
    assert sweep.tracker().close("interrupted") == []
    runs = sweep.runs()
    assert {run.info.status for run in runs.values()} == {"KILLED"}
    assert runs["t0001"].data.tags["sweeper.state"] == "PAUSED"


@pytest.mark.parametrize(
    ("reason", "states", "status"),
    [
        ("finished", ["ERROR", "ERROR"], "FAILED"),
        ("finished", ["ERROR", "TERMINATED"], "FINISHED"),
        ("budget.time_s", ["TERMINATED", "PAUSED"], "FINISHED"),
        ("interrupted", ["TERMINATED", "PAUSED"], "KILLED"),
        ("failed", ["TERMINATED"], "FAILED"),
    ],
)
def test_the_parent_s_status_tells_how_the_sweep_ended(
    sweep: Sweep, reason: str, states: list[str], status: str
) -> None:
    tracker = sweep.tracker()
    sweep.launch()
    for number, state in enumerate(states, start=1):
        sweep.trial(f"t{number:04d}", reports=1, state=state)
    tracker.close(reason)
    assert sweep.runs()[""].info.status == status


def test_a_retried_trial_has_one_curve(sweep: Sweep) -> None:
    tracker = sweep.tracker()
    sweep.launch()
    sweep.trial("t0001", reports=3, state=None)
    sweep.write(TrialRetried, "t0001", "RuntimeError: lost")
    sweep.write(TrialStarted, "t0001", "node")
    for iteration in (1, 2, 3, 4):
        sweep.report("t0001", iteration)
    sweep.end("t0001")
    tracker.close("finished")
    steps = [step for step, *_ in sweep.history("t0001", "episode_return_mean")]
    assert steps == [100, 200, 300, 400]
    assert sweep.runs()["t0001"].data.tags["sweeper.retries"] == "1"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([5.0, 5.0, 5.0, 8.0], [5.0, 5.0, 9.0]),
        ([5.0, 5.0, 6.0], [5.0, 5.0, 9.0]),
        ([5.0, 5.0, 6.0], [5.0, 5.0, 5.0]),
        ([5.0, 5.0, 5.0, 8.0], [5.0, 5.0]),
    ],
    ids=["made by both", "made by the second", "same as before", "made by the first"],
)
def test_after_a_rollback_mlflow_and_the_results_have_the_same_last_evaluation(
    sweep: Sweep, first: list[float], second: list[float]
) -> None:
    """Each launch reports up to iteration 3; one more value is the final evaluation."""
    name = "evaluation/episode_return_mean"
    tracker = sweep.tracker()
    sweep.launch()
    sweep.trial("t0001", reports=0, state=None)
    for start, values in ((1, first), (2, second)):
        for iteration, value in enumerate(values, start):
            sweep.report("t0001", min(iteration, 3), replaces=iteration > 3, **{name: value})
        if start == 1:  # killed before its last checkpoint, and resumed from iteration 1
            sweep.launch(2)
            sweep.write(TrialStarted, "t0001", "node")
    sweep.end("t0001", "PAUSED")
    assert tracker.close("budget.time_s") == []
    (trial,) = load_results(sweep.paths).trials
    assert trial.last_report[name] == second[-1]
    assert sweep.runs()["t0001"].data.metrics[name] == second[-1]


def test_more_metrics_and_params_than_fit_a_batch_all_arrive(sweep: Sweep) -> None:
    tracker = sweep.tracker()
    sweep.launch()
    configuration = {f"p{number}": number for number in range(250)}
    sweep.write(TrialAsked, "t0001", configuration, {}, (7, 8))
    sweep.write(TrialStarted, "t0001", "node")
    sweep.report("t0001", 1, **{f"learner/m{number}": float(number) for number in range(2500)})
    sweep.end("t0001")
    assert tracker.close("finished") == []
    run = sweep.runs()["t0001"]
    assert len(run.data.params) == 250
    assert run.data.metrics["learner/m2499"] == 2499.0


def test_without_time_left_every_run_is_closed_and_a_warning_counts_the_rest(sweep: Sweep) -> None:
    tracker = sweep.tracker()
    sweep.launch()
    sweep.trial("t0001", reports=1, state=None)
    _until(lambda: "t0001" in sweep.runs())
    for iteration in range(2, 2000):
        sweep.report("t0001", iteration)
    sweep.end("t0001")
    sweep.trial("t0002")
    (warning,) = tracker.close("finished", timeout_s=0)
    assert "the time was too short for the last" in warning
    runs = sweep.runs()
    assert runs[""].info.status == "FINISHED"
    assert runs["t0001"].info.status == "FINISHED"
    assert len(sweep.history("t0001", "episode_return_mean")) < 1999

    assert sweep.tracker().close("finished") == []
    assert len(sweep.history("t0001", "episode_return_mean")) == 1999
    assert sweep.runs()["t0002"].info.status == "FINISHED"


def test_refused_files_cost_no_curves(tmp_path: Path, empty_database: Path) -> None:
    storage = tmp_path / "runs"
    storage.mkdir()
    shutil.copy(empty_database, storage)
    for sweep in _sweep(storage, f"sqlite:///{storage}/mlflow.db", "x"):
        (storage / "mlartifacts").write_text("a file where a folder should be")
        tracker = sweep.tracker()
        sweep.launch()
        sweep.trial("t0001")
        (warning,) = tracker.close("finished")
        assert "files" in warning
        assert len(sweep.history("t0001", "episode_return_mean")) == 3
        assert {run.info.status for run in sweep.runs().values()} == {"FINISHED"}


def test_a_deleted_mlflow_run_costs_that_trial_only(sweep: Sweep) -> None:
    tracker = sweep.tracker()
    sweep.launch()
    sweep.trial("t0001", reports=1, state=None)
    _until(lambda: "t0001" in sweep.runs())
    sweep.client().delete_run(sweep.runs()["t0001"].info.run_id)
    sweep.report("t0001", 2)
    sweep.end("t0001")
    sweep.trial("t0002")
    (warning,) = tracker.close("finished")
    assert "t0001" in warning
    assert {key: run.info.status for key, run in sweep.runs().items()} == {
        "": "FINISHED",
        "t0002": "FINISHED",
    }


def test_a_deleted_experiment_is_named_and_the_sweep_goes_on(sweep: Sweep) -> None:
    sweep.launch()
    sweep.tracker().close("finished")
    client = sweep.client()
    experiment = client.get_experiment_by_name(sweep.experiment)
    client.delete_experiment(experiment.experiment_id)
    tracker = sweep.tracker()
    sweep.trial("t0001")
    (warning,) = tracker.close("finished")
    assert sweep.experiment in warning
    assert "mlflow experiments restore" in warning


@pytest.mark.parametrize("kind", ["text", "folder", "blocked"])
def test_a_destination_that_is_no_database_is_one_warning(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "mlflow.db"
    if kind == "text":
        target.write_text("this is not a database, it is a text")
    elif kind == "folder":
        target.mkdir()
    else:
        target.write_text("")
        target = target / "mlflow.db"
    for sweep in _sweep(tmp_path / "runs", f"sqlite:///{target}", "x"):
        tracker = sweep.tracker()
        sweep.launch()
        sweep.trial("t0001")
        (warning,) = tracker.close("finished")
        assert str(target.parent if kind == "blocked" else target) in warning
        assert "can be written again" in warning
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1


def test_a_missing_server_never_holds_up_the_sweep(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for sweep in _sweep(tmp_path / "runs", uri, "x"):
            tracker = sweep.tracker()
            event = TrialReported(1.0, "t0001", {"x": 1.0})
            began = time.perf_counter()
            for _ in range(10_000):
                tracker(event)
            assert time.perf_counter() - began < 20  # one attempt each would take hours
            began = time.perf_counter()
            (warning,) = tracker.close("finished")
            assert time.perf_counter() - began < 30
            assert uri in warning
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) <= 1


def test_a_server_that_dies_and_comes_back_gets_the_whole_record(
    tmp_path: Path,
    empty_database: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    database = f"sqlite:///{shutil.copy(empty_database, tmp_path / 'server.db')}"
    ui = open_ui(database, port=0)
    uri = ui.url.split("/#")[0]
    for sweep in _sweep(tmp_path / "runs", uri, "x"):
        try:
            tracker = sweep.tracker()
            sweep.launch()
            sweep.trial("t0001", reports=1, state=None)
            _until(lambda sweep=sweep: "t0001" in sweep.runs())
            ui.stop()
            sweep.report("t0001", 2)
            _until(lambda: "MLflow is tried again" in caplog.text)
            sweep.report("t0001", 3)
            ui = open_ui(database, port=int(uri.rsplit(":", 1)[1]))
            sweep.end("t0001")
            sweep.write(LaunchEnded, "finished")
            assert tracker.close("finished") == []
            assert [s for s, *_ in sweep.history("t0001", "learner/entropy")] == [100, 200, 300]
            assert sweep.runs()["t0001"].info.status == "FINISHED"
            parent = sweep.runs()[""].info.run_id
            artifacts = {item.path for item in sweep.client().list_artifacts(parent)}
            assert artifacts >= {"spec.yaml", "plan.json", "environment.json"}
            assert capfd.readouterr().out == ""
        finally:
            ui.stop()


def test_a_database_that_vanishes_does_not_stop_the_sweep(
    tmp_path: Path, empty_database: Path
) -> None:
    storage = tmp_path / "runs"
    (storage / "db").mkdir(parents=True)
    shutil.copy(empty_database, storage / "db")
    for sweep in _sweep(storage, f"sqlite:///{storage}/db/mlflow.db", "x"):
        tracker = sweep.tracker()
        sweep.launch()
        sweep.trial("t0001", reports=1, state=None)
        _until(lambda sweep=sweep: "t0001" in sweep.runs())
        _until(lambda storage=storage: _removed(storage / "db"))
        sweep.report("t0001", 2)
        sweep.end("t0001")
        assert len(tracker.close("finished", timeout_s=20)) == 1


def test_two_sweeps_that_start_at_once_make_one_database(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from sweeper.tracking import standing
from sweeper.tracking.destination import Destination, connect
client = connect(Destination("sqlite:///{tmp_path}/new/mlflow.db", "x"))
print(len(client.search_experiments()))
"""
    (tmp_path / "new").mkdir()
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs == ["1\n"] * 2


def test_the_users_own_mlflow_settings_are_left_alone(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = import_mlflow()
    monkeypatch.chdir(tmp_path)
    before = (mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI"))
    tracker = sweep.tracker()
    sweep.launch()
    sweep.trial("t0001")
    tracker.close("finished")
    assert (mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")) == before
    assert mlflow.active_run() is None
    assert list(tmp_path.iterdir()) == []


def test_the_tracker_s_thread_ends_with_the_sweep(sweep: Sweep) -> None:
    tracker = sweep.tracker()
    sweep.launch()
    tracker.close("finished")
    assert not [t for t in threading.enumerate() if t.name == "sweeper-mlflow"]


# -- the champion -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained PPO of RLlib."""
    from ray.rllib.algorithms.ppo import PPOConfig

    folder = tmp_path_factory.mktemp("champion") / "checkpoint"
    algorithm = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .build_algo()
    )
    algorithm.save_to_path(str(folder))
    algorithm.stop()
    return folder


def _selection(trial_id: str = "t0001") -> Selection:
    return Selection(
        trial_id=trial_id,
        state="TERMINATED",
        configuration={"lr": 0.001, "model_config": {"fcnet_hiddens": [64, 64]}},
        metric="episode_return_mean",
        mode="max",
        score_kind="last",
        score=30.0,
        env_steps=300,
        partial=False,
        checkpoint=None,
        checkpoint_note=None,
        replica=0,
        seed=7,
        candidates=1,
        excluded=(Exclusion("t0002", "error: boom"),),
    )


def _log_champion(sweep: Sweep, checkpoint: Path) -> list[str]:
    tracker = sweep.tracker()
    tracker.log_champion(_selection(), checkpoint.parent)
    return tracker.close("finished")


def _models(sweep: Sweep) -> list[Any]:
    client = sweep.client()
    experiment = client.get_experiment_by_name(sweep.experiment)
    return list(client.search_logged_models([experiment.experiment_id]))


def test_the_champion_acts_in_a_process_without_sweeper(
    sweep: Sweep, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweeper.agents.rllib_policy import RLlibPolicy

    mlflow = import_mlflow()
    monkeypatch.chdir(tmp_path)
    before = (mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI"))
    sweep.launch()
    sweep.trial("t0001")
    sweep.trial("t0002", state="ERROR")
    sweep.write(LaunchEnded, "finished")
    assert _log_champion(sweep, checkpoint) == []
    assert (mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")) == before
    assert list(tmp_path.iterdir()) == []

    (model,) = _models(sweep)
    runs = sweep.runs()
    assert (model.name, str(model.status)) == ("champion", "READY")
    assert model.source_run_id == runs[""].info.run_id
    assert runs[""].data.metrics["champion/episode_return_mean"] == 30.0
    assert "**Champion: [t0001]" in runs[""].data.tags["mlflow.note.content"]
    assert "t0002 (error: boom)" in runs[""].data.tags["mlflow.note.content"]
    assert _selection().verdict_text in runs[""].data.tags["mlflow.note.content"]
    assert runs["t0001"].data.tags["sweeper.champion"] == "true"

    observations = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    code = f"""
import json, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "sweeper":
            raise ImportError("sweeper is not installed here")
sys.meta_path.insert(0, Absent())
import mlflow, numpy as np
mlflow.set_tracking_uri({sweep.uri!r})
model = mlflow.pyfunc.load_model("models:/{model.model_id}")
observations = np.array({observations.tolist()!r}, np.float32)
actions = model.predict(observations)
schema = model.metadata.signature
print(json.dumps([actions.tolist(), str(actions.dtype), str(schema.inputs)]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    actions, dtype, inputs = json.loads(done.stdout.splitlines()[-1])
    assert actions == RLlibPolicy(checkpoint).act(observations).tolist()
    assert dtype == "int64"
    assert "float32" in inputs
    assert "(-1, 4)" in inputs


def test_the_champion_is_logged_once(sweep: Sweep, checkpoint: Path) -> None:
    sweep.launch()
    sweep.trial("t0001")
    sweep.write(LaunchEnded, "finished")
    _log_champion(sweep, checkpoint)
    before = _dump(sweep.storage / "mlflow.db")
    _log_champion(sweep, checkpoint)
    assert _dump(sweep.storage / "mlflow.db") == before


def test_a_registered_champion_is_challenged_by_the_next(sweep: Sweep, checkpoint: Path) -> None:
    sweep.register_as = "cartpole agent"
    sweep.launch()
    sweep.trial("t0001")
    assert _log_champion(sweep, checkpoint) == []
    for other in _sweep(sweep.storage, sweep.uri, sweep.experiment):
        other.register_as = sweep.register_as
        other.launch()
        other.trial("t0001")
        assert _log_champion(other, checkpoint) == []
    client = sweep.client()
    by_alias = {
        alias: client.get_model_version_by_alias("cartpole agent", alias).version
        for alias in ("champion", "challenger")
    }
    assert {alias: int(version) for alias, version in by_alias.items()} == {
        "champion": 1,
        "challenger": 2,
    }


def test_a_champion_without_an_agent_is_still_named(sweep: Sweep) -> None:
    sweep.launch()
    sweep.trial("t0001")
    tracker = sweep.tracker()
    tracker.log_champion(_selection(), None)
    assert tracker.close("finished") == []
    assert sweep.runs()[""].data.tags["sweeper.champion"] == "t0001"
    assert "**Champion: [t0001]" in sweep.runs()[""].data.tags["mlflow.note.content"]


def test_a_new_champion_takes_the_title_from_the_former_one(sweep: Sweep) -> None:
    sweep.launch()
    sweep.trial("t0001")
    sweep.trial("t0002", reports=1)
    first = sweep.tracker()
    first.log_champion(_selection("t0001"), None)
    assert first.close("finished") == []
    assert sweep.runs()["t0001"].data.tags["sweeper.champion"] == "true"

    sweep.launch(2)
    second = sweep.tracker()
    better = replace(_selection("t0002"), score=20.0, env_steps=100)
    second.log_champion(better, None)
    assert second.close("finished") == []
    runs = sweep.runs()
    assert runs[""].data.tags["sweeper.champion"] == "t0002"
    assert "sweeper.champion" not in runs["t0001"].data.tags
    assert runs["t0002"].data.tags["sweeper.champion"] == "true"
    assert runs[""].data.metrics["champion/episode_return_mean"] == 20.0
    assert runs[""].data.metrics["champion/num_env_steps_sampled_lifetime"] == 100


def test_a_former_champions_evidence_does_not_pass_as_the_new_ones(sweep: Sweep) -> None:
    retrained = Sample("t0001", (28.0, 31.0, 29.0), 300.0, 30.0)
    verdict = judge([retrained], Sample("baseline", (9.0, 11.0), 300.0))
    confirmed = replace(_selection("t0001"), verdict=verdict)
    sweep.launch()
    sweep.trial("t0001")
    sweep.trial("t0002", reports=1)
    for number, selection in enumerate([confirmed, replace(_selection("t0002"), env_steps=100)]):
        tracker = sweep.tracker()
        tracker.log_champion(selection, None)
        assert tracker.close("finished") == []
        metrics = sweep.runs()[""].data.metrics
        assert math.isnan(metrics["confirmation/mean"]) == bool(number)
        assert math.isnan(metrics["baseline/interval_low"]) == bool(number)
        assert metrics["champion/num_env_steps_sampled_lifetime"] == [300, 100][number]
    before = sweep.history("", "confirmation/mean")
    again = sweep.tracker()
    again.log_champion(replace(_selection("t0002"), env_steps=100), None)
    assert again.close("finished") == []
    assert len(sweep.history("", "confirmation/mean")) == len(before) == 2
    better = sweep.client().search_runs(
        [sweep.runs()[""].info.experiment_id], "metrics.`confirmation/mean` > -1000"
    )
    assert better == []


def test_a_champion_that_can_t_be_logged_is_only_a_warning(sweep: Sweep, tmp_path: Path) -> None:
    sweep.launch()
    sweep.trial("t0001")
    tracker = sweep.tracker()
    tracker.log_champion(_selection(), tmp_path)
    (warning,) = tracker.close("finished")
    assert "no agent" in warning
    assert sweep.runs()[""].info.status == "FINISHED"


def _status(url: str) -> int:
    host, port = url.removeprefix("http://").rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        return connection.getresponse().status


# -- the UI -----------------------------------------------------------------------------------


def test_the_ui_opens_on_the_sweep_s_trials_by_score_on_a_free_port(sweep: Sweep) -> None:
    sweep.launch()
    sweep.trial("t0001")
    sweep.tracker().close("finished")
    name = sweep.paths.root.name
    with socket.socket() as other:
        with contextlib.suppress(OSError):  # it is taken already
            other.bind(("127.0.0.1", 5000))
            other.listen()
        ui = open_ui(sweep.uri, experiment=sweep.experiment, run_name=name)
    try:
        base = ui.url.split("/#")[0]
        port = int(base.rsplit(":", 1)[1])
        assert base == f"http://127.0.0.1:{port}"
        assert port != 5000
        run = sweep.runs()[""]
        page = f"{base}/#/experiments/{run.info.experiment_id}/runs"
        assert ui.url == f"{page}?workflowType=machine_learning&viewStateShareKey={name}"
        assert ui.run_url == f"{page}/{run.info.run_id}?workflowType=machine_learning"
        tags = sweep.client().get_experiment(run.info.experiment_id).tags
        assert json.loads(tags[f"mlflow.sharedViewState.{name}"])["name"] == name
        assert _status(base) == 200
        with pytest.raises(UserError, match=f"127.0.0.1:{port}"):
            open_ui(sweep.uri, port=port)
    finally:
        ui.stop()
    assert ui.process.poll() is not None
    with pytest.raises(ConnectionError):
        _status(base)


def test_the_ui_of_a_missing_database_is_the_user_s_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no MLflow database"):
        open_ui(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="server already"):
        open_ui("http://127.0.0.1:1")


def test_a_folder_of_any_name_gets_its_own_record(tmp_path: Path) -> None:
    """Addresses of databases encode such characters."""
    storage = tmp_path / "my%20runs? #1"
    for sweep in _sweep(storage, default_tracking_uri(str(storage)), "any"):
        tracker = sweep.tracker()
        sweep.launch()
        sweep.trial("t0001")
        sweep.write(LaunchEnded, "finished")
        assert tracker.close("finished") == []
        assert set(sweep.runs()) == {"", "t0001"}
        artifacts = sweep.client().list_artifacts(sweep.runs()[""].info.run_id)
        assert "spec.yaml" in {one.path for one in artifacts}
    assert (storage / "mlflow.db").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [storage.name]
