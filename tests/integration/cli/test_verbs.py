"""Commands on a real run, while it is live and after it has ended."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import started, sweeper_here

SPEC = """
name: watched
environment: CartPole-v1
algorithm: PPO
backend: rllib
seeds: 1
param_space:
  lr: {grid_search: [1.0e-3, 1.0e-4]}
  train_batch_size_per_learner: 200
  minibatch_size: 100
  num_epochs: 2
  model_config: {fcnet_hiddens: [16]}
stop: {num_env_steps_sampled_lifetime: 1000000}
checkpoint: {every_env_steps: 1000}
"""


class Watched:
    """Observations of a live run, and its folder for after the end."""

    folder: Path
    run: Path
    status: dict[str, Any]
    status_text: str
    refused: subprocess.CompletedProcess[str]
    relogged: subprocess.CompletedProcess[str]
    followed: str
    stderr: str


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A run that other processes observe, and that is then interrupted."""
    seen = Watched()
    seen.folder = tmp_path_factory.mktemp("watched")
    (seen.folder / "spec.yaml").write_text(SPEC)
    with started("run", "spec.yaml", cwd=seen.folder) as process:
        seen.run = _wait_for_reports(seen.folder, process)
        with started("logs", "-f", cwd=seen.folder) as follower:
            assert follower.stdout is not None
            first = follower.stdout.readline()  # on a busy machine it starts slowly
            done = sweeper_here("status", "--json", cwd=seen.folder)
            seen.status = json.loads(done.stdout)
            seen.status_text = sweeper_here("status", cwd=seen.folder).stdout
            seen.refused = sweeper_here("clean", "--keep", "0", "--yes", cwd=seen.folder)
            seen.relogged = sweeper_here("log", cwd=seen.folder)
            os.kill(process.pid, signal.SIGINT)
            _, seen.stderr = process.communicate(timeout=120)
            # Not `communicate`: it loses what was read together with the first line.
            seen.followed = first + follower.stdout.read()
    return seen


def _wait_for_reports(folder: Path, process: subprocess.Popen[str]) -> Path:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        for journal in folder.glob("runs/*/journal.jsonl"):
            events = [json.loads(line) for line in journal.read_text().splitlines()]
            reported = [event["trial_id"] for event in events if event["event"] == "trial_reported"]
            if len(reported) >= 6 and set(reported) == {"t0001", "t0002"}:
                return journal.parent
        time.sleep(0.2)
    raise AssertionError("no reports")


def _count_records(database: Path) -> dict[str, int]:
    connection = sqlite3.connect(database)
    tables = ("runs", "params", "metrics", "tags", "logged_models")
    return {
        table: connection.execute(f"select count(*) from {table}").fetchone()[0]  # noqa: S608
        for table in tables
    }


def test_status_in_another_process_shows_the_running_trials(watched: Watched) -> None:
    assert watched.status["state"] == "running"
    assert watched.status["run"] == str(watched.run)
    assert {trial["trial_id"] for trial in watched.status["running"]} <= {"t0001", "t0002"}
    assert all(trial["env_steps_per_s"] > 0 for trial in watched.status["running"])
    assert watched.status["left_s"] > 60  # a million steps
    assert re.search(r"^left +about ", watched.status_text, re.MULTILINE)


def test_a_live_run_is_neither_deleted_nor_logged_again(watched: Watched) -> None:
    assert watched.refused.returncode == 0
    assert watched.refused.stderr == "no run in runs to delete\n"
    assert watched.relogged.returncode == 2
    assert watched.relogged.stderr == (
        f"error: {watched.run.name} is running and writes its record itself\n"
    )
    assert (watched.run / "journal.jsonl").is_file()


def test_logs_are_followed_until_the_run_ends(watched: Watched) -> None:
    lines = watched.followed.splitlines()
    assert {line.split()[0] for line in lines} == {"t0001", "t0002"}
    assert len(lines) > 2


def test_without_a_terminal_progress_is_lines(watched: Watched) -> None:
    assert "t0001 paused (interrupted)" in watched.stderr
    assert "\x1b" not in watched.stderr
    assert watched.stderr.count("interrupted: 0 of 2 done, 2 paused") == 1


def test_logging_a_run_again_changes_nothing(watched: Watched) -> None:
    database = watched.folder / "runs" / "mlflow.db"
    before = _count_records(database)
    done = sweeper_here("log", cwd=watched.folder)
    assert done.returncode == 0, done.stderr
    assert watched.run.name in done.stderr
    assert _count_records(database) == before
    assert before["runs"] == 3


def test_a_whole_run_is_logged_to_another_database(watched: Watched) -> None:
    other = watched.folder / "other.db"
    arguments = ("log", "--uri", f"sqlite:///{other}", "--experiment", "elsewhere")
    done = sweeper_here(*arguments, cwd=watched.folder)
    assert done.returncode == 0, done.stderr
    first = _count_records(watched.folder / "runs" / "mlflow.db")
    copied = _count_records(other)
    assert (copied["runs"], copied["params"]) == (first["runs"], first["params"])
    assert copied["logged_models"] == first["logged_models"] == 1
    assert sweeper_here(*arguments, cwd=watched.folder).returncode == 0
    assert _count_records(other) == copied


def test_an_unreachable_server_is_a_one_line_error(watched: Watched) -> None:
    done = sweeper_here("log", "--uri", "http://127.0.0.1:9", cwd=watched.folder)
    assert done.returncode == 1
    assert done.stderr.startswith("error: MLflow: not everything is recorded: no server answers at")
    assert done.stderr.count("\n") == 1


def test_doctor_starts_ray(tmp_path: Path) -> None:
    done = sweeper_here("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["local Ray"] == {
        "name": "local Ray",
        "status": "ok",
        "detail": "starts and answers",
    }


def test_champion_and_checkpoint_play_the_same_episodes(watched: Watched) -> None:
    arguments = ("evaluate", "last", "--episodes", "4", "--json")
    champion = json.loads(sweeper_here(*arguments, cwd=watched.folder).stdout)
    assert champion["environment"] == "CartPole-v1"
    assert champion["checkpoint"] == str(watched.run / "champion")
    (agent,) = champion["agents"]
    assert agent["returns"] == [float(length) for length in agent["lengths"]]
    assert champion["mean"] == sum(agent["returns"]) / 4
    assert champion["interval_over"] == "episodes of one agent"
    best = json.loads(sweeper_here("best", "--json", cwd=watched.folder).stdout)
    arguments = ("evaluate", best["checkpoint"], "--episodes", "4", "--json")
    (replica,) = json.loads(sweeper_here(*arguments, cwd=watched.folder).stdout)["agents"]
    assert replica["agent"] == "replica_0"
    assert replica["returns"] == agent["returns"]
