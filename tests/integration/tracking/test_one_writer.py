"""One process at a time writes a run's MLflow record; the others wait, or say so."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from command_line import started, sweeper, sweeper_here
from run_folders import make_run

from sweeper.journal import Journal, LaunchEnded, LaunchStarted
from sweeper.locks import RecordLock, run_lock
from sweeper.opened_run import open_run
from sweeper.paths import RunPaths
from sweeper.planning.plan import load_plan
from sweeper.spec.sections import Tracking
from sweeper.tracking.destination import import_mlflow
from sweeper.tracking.tracker import MlflowTracker

NAME = "made-20260101-000000"


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return make_run(tmp_path / "runs", NAME)


def arguments(tmp_path: Path) -> tuple[str, ...]:
    return ("log", NAME, "--uri", f"sqlite:///{tmp_path / 'mlflow.db'}", "--experiment", "e")


def recorded(tmp_path: Path) -> Counter[str]:
    """How many MLflow runs each trial has; the parent's is under an empty id."""
    client = import_mlflow().MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    return Counter(one.data.tags.get("sweeper.trial", "") for one in found)


def test_two_that_log_a_run_at_once_write_it_once(tmp_path: Path, run: RunPaths) -> None:
    command = arguments(tmp_path)
    with started(*command, cwd=tmp_path) as first, started(*command, cwd=tmp_path) as second:
        ends = [one.communicate(timeout=120) for one in (first, second)]
    codes = sorted((first.returncode, second.returncode))
    assert codes in ([0, 0], [0, 2]), ends
    if codes == [0, 2]:
        said = "".join(err for _, err in ends if err.startswith("error"))
        assert said == (
            f"error: another process is writing the record of {NAME}; once it has ended, `sweeper "
            f"{' '.join(command)}` adds what is missing\n"
        )
    assert recorded(tmp_path) == {"": 1, "t0001": 1, "t0002": 1}


def test_who_logs_a_run_is_told_who_writes_its_record(tmp_path: Path, run: RunPaths) -> None:
    lock = RecordLock(run.journal)
    assert lock.take()
    odd = ("log", NAME, "--uri", "sqlite:///our db/mlflow.db", "--experiment", "my experiment")
    said = sweeper_here(*odd, cwd=tmp_path)
    assert (said.returncode, said.stderr.count("\n")) == (2, 1)
    assert "another process is writing the record of" in said.stderr
    _, command, _ = said.stderr.split("`")
    with run_lock(run.lock):
        said = sweeper_here(*arguments(tmp_path), cwd=tmp_path)
    assert said.stderr == f"error: {NAME} is running and writes its record itself\n"
    lock.release()
    done = sweeper_here(*shlex.split(command)[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "our db" / "mlflow.db").exists()
    assert "experiment my experiment" in done.stderr


def test_writing_the_record_does_not_make_a_run_live(tmp_path: Path, run: RunPaths) -> None:
    lock = RecordLock(run.journal)
    assert lock.take()
    assert not open_run(run.root).results.is_live
    assert sweeper_here("status", NAME, cwd=tmp_path).returncode == 0
    with run_lock(run.lock):
        pass
    lock.release()


def tracker_of(run: RunPaths, database: Path) -> MlflowTracker:
    tracking = Tracking(uri=f"sqlite:///{database}", experiment="e")
    tracker = MlflowTracker(load_plan(run.spec), run, tracking, artifact_root=None)
    tracker.start()
    return tracker


def test_a_launch_beside_a_log_trains_on_and_its_record_follows(
    tmp_path: Path, run: RunPaths, caplog: pytest.LogCaptureFixture
) -> None:
    lock = RecordLock(run.journal)
    assert lock.take()
    tracker = tracker_of(run, tmp_path / "mlflow.db")
    journal = Journal(run.journal, [tracker])
    journal.append(LaunchStarted(time.time(), 2, 1, ()))
    deadline = time.monotonic() + 60
    while "another process is writing the record of this run" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (tmp_path / "mlflow.db").exists()
    lock.release()
    journal.append(LaunchEnded(time.time(), "finished"))
    journal.close()
    assert tracker.close("finished") == []
    assert recorded(tmp_path) == {"": 1, "t0001": 1, "t0002": 1}


def test_a_launch_that_ends_before_a_log_says_what_is_missing(
    tmp_path: Path, run: RunPaths
) -> None:
    lock = RecordLock(run.journal)
    assert lock.take()
    (problem,) = tracker_of(run, tmp_path / "mlflow.db").close("finished", timeout_s=0.5)
    assert "another process is still writing the record of this run" in problem
    assert "can be written again" in problem
    lock.release()


def test_the_lock_ends_with_its_process(tmp_path: Path, run: RunPaths) -> None:
    code = (
        "import sys, time; from pathlib import Path; from sweeper.locks import RecordLock\n"
        f"print(RecordLock(Path({str(run.journal)!r})).take(), flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    assert not RecordLock(run.journal).take()
    holder.kill()
    holder.communicate()
    lock = RecordLock(run.journal)
    assert lock.take()
    lock.release()


def test_a_run_that_nobody_may_write_to_is_logged(tmp_path: Path, run: RunPaths) -> None:
    for path in (run.journal, run.root):
        path.chmod(0o555 if path.is_dir() else 0o444)
    done = sweeper(*arguments(tmp_path), cwd=tmp_path)
    run.root.chmod(0o755)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "document", [[], {"versions": None}, {"git": "x"}, {"versions": [], "git": []}, 7]
)
def test_a_damaged_environment_does_not_end_a_record(
    tmp_path: Path, run: RunPaths, document: object
) -> None:
    run.environment.write_text(json.dumps(document))
    done = sweeper_here(*arguments(tmp_path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
