from __future__ import annotations

import fcntl
import json
import math
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_mutations import extract_run

from sweeper import locks
from sweeper.errors import UserError
from sweeper.locks import is_locked, read_owner, run_lock
from sweeper.run_files import open_regular
from sweeper.stopping import stop

HOLD = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from sweeper.locks import run_lock\n"
    "with run_lock(Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is held is refused after two attempts, not after a second of them."""
    monkeypatch.setattr(locks, "_PATIENCE_S", 0.01)
    monkeypatch.setattr(locks, "_RETRY_S", 0.01)


def test_a_look_of_another_process_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_PATIENCE_S", 60.0)
    lock = tmp_path / ".lock"
    lock.touch()
    looking = open_regular(lock)
    fcntl.flock(looking, fcntl.LOCK_SH)
    ended = threading.Timer(0.05, os.close, [looking])
    ended.start()
    with run_lock(lock):
        assert is_locked(lock)
    ended.join()


def test_the_lock_is_held_in_the_block_and_only_there(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    assert is_locked(lock) is None
    with run_lock(lock):
        assert is_locked(lock) is True
    assert is_locked(lock) is False


def test_the_lock_file_names_its_owner(tmp_path: Path) -> None:
    with run_lock(tmp_path / ".lock"):
        owner = read_owner(tmp_path / ".lock")
    assert owner is not None
    assert (owner.pid, owner.host) == (os.getpid(), socket.gethostname())


def test_looking_does_not_take_the_lock_away(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with run_lock(lock):
        for _ in range(3):
            assert is_locked(lock)
            assert read_owner(lock)
        with pytest.raises(UserError), run_lock(lock):
            pass


def test_a_second_process_is_refused_until_the_first_is_killed(
    tmp_path: Path,
) -> None:
    lock = tmp_path / "cartpole-1" / ".lock"
    lock.parent.mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=f"cartpole-1 .* process {holder.pid} on "),
            run_lock(lock),
        ):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with run_lock(lock):
        assert is_locked(lock)


def test_a_child_that_outlives_the_owner_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    code = (
        "import os, subprocess, sys\n"
        "from pathlib import Path\n"
        "from sweeper.locks import run_lock\n"
        "with run_lock(Path(sys.argv[1])):\n"
        # Not our pipes: their reader would wait for the child.
        "    quiet = subprocess.DEVNULL\n"
        "    child = subprocess.Popen(['sleep', '30'], stdout=quiet, stderr=quiet)\n"
        "    print(child.pid, flush=True)\n"
        "    os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(lock)], capture_output=True, text=True)
    try:
        assert is_locked(lock) is False
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


OWNER: dict[str, Any] = {"pid": 7, "host": "here", "since": 1.0}
OTHERS = [
    {"pid": math.inf}, {"pid": math.nan}, {"pid": 0}, {"pid": -1}, {"pid": 10**400}, {"pid": 2**63},
    {"pid": 1.5}, {"pid": []}, {"host": 7}, {"host": None}, {"since": 1e20}, {"since": math.nan},
    {"since": -math.inf}, {"since": -1e11}, {"since": 10**40}, {"since": "x"}, {"since": None},
]  # fmt: skip


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: str(other)[:20])
def test_a_held_lock_whose_file_is_damaged_is_refused_in_a_sentence(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    lock = tmp_path / "cartpole-1" / ".lock"
    lock.parent.mkdir()
    with run_lock(lock):
        lock.write_text(json.dumps(OWNER | other))
        assert read_owner(lock) is None
        with (
            pytest.raises(UserError, match="cartpole-1 is being run by another process; `sweeper"),
            run_lock(lock),
        ):
            pass


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 500, json.dumps({"pid": "x"})])
def test_a_damaged_lock_file_names_no_owner_and_can_be_locked(tmp_path: Path, text: str) -> None:
    lock = tmp_path / ".lock"
    lock.write_text(text)
    assert read_owner(lock) is None
    with run_lock(lock):
        assert read_owner(lock) is not None


def test_a_missing_run_folder_is_the_users_mistake(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="can't write to the run folder"),
        run_lock(tmp_path / "gone" / ".lock"),
    ):
        pass


FORK = (
    "import os, sys, time\n"
    "from pathlib import Path\n"
    "from sweeper.locks import run_lock\n"
    "with run_lock(Path(sys.argv[1])):\n"
    "    pid = {fork}\n"
    "    if pid == 0:\n"
    "        os.close(1), os.close(2)  # else their reader would wait\n"
    "        time.sleep(30)\n"
    "        os._exit(0)\n"
    "    print(pid, flush=True)\n"
    "    os._exit(0)\n"
)
FORKS = {"python": "os.fork()", "c": "__import__('ctypes').CDLL(None).fork()"}


@pytest.fixture
def forked(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The lock of a driver that has forked a process and died."""
    lock = tmp_path / "cartpole-1" / ".lock"
    lock.parent.mkdir()
    code = FORK.format(fork=FORKS[request.param])
    done = subprocess.run([sys.executable, "-c", code, str(lock)], capture_output=True, text=True)
    yield lock
    os.kill(int(done.stdout), signal.SIGKILL)


@pytest.mark.parametrize("forked", ["python"], indirect=True)
def test_a_forked_process_that_outlives_the_owner_does_not_keep_the_lock(forked: Path) -> None:
    assert is_locked(forked) is False
    with run_lock(forked):
        assert is_locked(forked)


@pytest.mark.parametrize("forked", ["c"], indirect=True)
def test_a_process_forked_without_python_is_told_from_the_owner(forked: Path) -> None:
    with (
        pytest.raises(UserError, match=r"process \d+ on .* has ended, but a process that it start"),
        run_lock(forked),
    ):
        pass


ORPHANED = r"process \d+ on .* has ended, but a process that it started still holds the run's lock"
DRIVE = (
    "import ctypes, os, sys, time\n"
    "from pathlib import Path\n"
    "from sweeper.locks import run_lock\n"
    "run = Path(sys.argv[1])\n"
    "with run_lock(run / '.lock'):\n"
    "    pid = ctypes.CDLL(None).fork()\n"
    "    if pid == 0:\n"
    "        os.close(1), time.sleep(60), os._exit(0)\n"
    "    print(pid, flush=True)\n"
    "    while sys.argv[2] == 'asked' and not (run / '.stop').exists():\n"
    "        time.sleep(0.01)\n"
    "    os._exit(0)\n"
)


@pytest.mark.parametrize("ends", ["before", "asked"])
@pytest.mark.parametrize("is_waited_for", [True, False], ids=["gone", "zombie"])
def test_stop_does_not_wait_for_a_driver_that_has_left_a_process_behind(
    tmp_path: Path, ends: str, is_waited_for: bool
) -> None:
    """Whether its own parent has taken note of its end or not, and whenever that is."""
    run = extract_run(tmp_path / "runs")
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVE, str(run), ends], stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    orphan = int(driver.stdout.readline())
    waiting = threading.Thread(target=driver.wait)
    try:
        if is_waited_for:
            waiting.start()
        if ends == "before" and is_waited_for:
            waiting.join()
        elif ends == "before":
            os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT)
        said: list[str] = []
        with pytest.raises(UserError, match=ORPHANED):
            stop(run, say=said.append)
        assert bool(said) == (ends == "asked")
        assert (run / ".stop").exists() == (ends == "asked")
        with pytest.raises(UserError, match=ORPHANED), run_lock(run / ".lock"):
            pass
    finally:
        os.kill(orphan, signal.SIGKILL)
        (waiting.join if is_waited_for else driver.wait)()
        driver.stdout.close()


def test_stop_waits_for_a_driver_that_ends(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")
    code = DRIVE.replace("ctypes.CDLL(None).fork()", "os.fork()")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(run), "asked"], stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        orphan = int(driver.stdout.readline())
        assert not stop(run).is_live
        os.kill(orphan, signal.SIGKILL)


def test_forking_does_not_take_the_lock_from_its_owner(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with run_lock(lock):
        child = multiprocessing.get_context("fork").Process(target=int)
        child.start()
        child.join()
        assert is_locked(lock)
