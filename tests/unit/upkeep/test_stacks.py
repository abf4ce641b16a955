"""Stack traces are shown by processes that expect the question, and nobody else is asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command_line import sweeper_here
from run_folders import make_run

from sweeper.errors import UserError
from sweeper.locks import run_lock
from sweeper.paths import RunPaths
from sweeper.stack_files import SIGNAL, StackFile, find_notes, stacks_shown
from sweeper.upkeep import stacks
from sweeper.upkeep.stacks import RunStacks, find_stacks

# A process that answers: sys.argv has its folder, and what it does then.
ANSWERING = """
import os, signal, sys, threading, time
from pathlib import Path
from sweeper.stack_files import SIGNAL, StackFile

def in_sleep():
    time.sleep(600)

def in_loop():
    while True:
        pass

def in_lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

def in_library():
    import numpy
    matrix = numpy.random.rand(3000, 3000)
    while True:
        numpy.linalg.svd(matrix)

def in_child():
    if os.fork() == 0:
        in_sleep()
    in_lock()

def in_vector():
    import gymnasium
    class Slow(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (2,))
        action_space = gymnasium.spaces.Discrete(2)
        def reset(self, *, seed=None, options=None):
            in_sleep()
    gymnasium.vector.AsyncVectorEnv([Slow, Slow]).reset()

def in_next_trial():
    stack.note(None)
    stack.note("t0002")
    in_sleep()

def blocking_it():
    signal.pthread_sigmask(signal.SIG_BLOCK, [SIGNAL])
    in_sleep()

stack = StackFile(Path(sys.argv[1]))
stack.note("t0001")
print("ready", flush=True)
globals()[sys.argv[2]]()
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunPaths]:
    """A live run whose driver is this process; its trial t0001 is running, t0003 is over."""
    paths = make_run(
        tmp_path / "runs", "a-20260101-000000", ["RUNNING", "RUNNING", "ERROR"], reason=None
    )
    with run_lock(paths.lock), stacks_shown(paths):
        yield paths


@contextmanager
def doing(what: str, run: RunPaths, *, code: str = ANSWERING) -> Iterator[subprocess.Popen[str]]:
    """A process that does something, for the length of the block."""
    command = [sys.executable, "-c", code, str(run.stacks), what]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ask_until(run: RunPaths, function: str, kind: str = "worker") -> RunStacks:
    """Ask again and again until a process of a kind is in a function."""
    while True:
        found = find_stacks(run.root, trial_id=None)
        processes = [one for one in found.processes if one.process == kind]
        if processes and all(function in _functions(one) for one in processes):
            return found


def _functions(process: Any) -> list[str]:
    return [frame.function for frame in process.threads[0].frames]


@pytest.mark.parametrize("what", ["in_sleep", "in_loop", "in_lock", "in_library"])
def test_a_process_that_hangs_shows_where(run: RunPaths, what: str) -> None:
    with doing(what, run) as process:
        for _ in range(2):  # it goes on after an answer
            found = ask_until(run, what)
            driver, worker = found.processes
            assert (worker.process, worker.trial_id, worker.pid) == ("worker", "t0001", process.pid)
            assert worker.threads[0].is_main
            assert worker.threads[0].frames[-1].function == "<module>"
            assert (driver.process, driver.pid) == ("driver", os.getpid())
            # Traces are not collected.
            assert {file.stat().st_size for file in run.stacks.glob("*.txt")} == {0}
        assert process.poll() is None


def test_the_frames_have_file_and_line(run: RunPaths) -> None:
    with doing("in_sleep", run):
        frame = ask_until(run, "in_sleep").processes[1].threads[0].frames[0]
    lines = ANSWERING.splitlines()
    assert frame.file == "<string>"
    assert frame.line == lines.index("    time.sleep(600)") + 1


@pytest.mark.parametrize(
    ("what", "children"), [("in_child", 1), ("in_vector", 2)], ids=["fork", "AsyncVectorEnv"]
)
def test_forked_processes_are_shown_beside_their_parent(
    run: RunPaths, what: str, children: int
) -> None:
    with doing(what, run) as process:
        while True:
            found = ask_until(run, "in_sleep", "child")
            own = [one for one in found.processes if one.process == "child"]
            if len(own) == children:
                break
    assert {(one.parent, one.trial_id) for one in own} == {(process.pid, "t0001")}
    worker = next(one for one in found.processes if one.process == "worker")
    assert what in _functions(worker)
    assert "in_sleep" not in _functions(worker)


def test_a_worker_that_is_used_again_is_shown_with_its_trial_of_now(run: RunPaths) -> None:
    with doing("in_next_trial", run) as process:
        ask_until(run, "in_sleep")
        (worker,) = find_stacks(run.root, trial_id="t0002").processes
        assert (worker.trial_id, worker.pid) == ("t0002", process.pid)
        lost = find_stacks(run.root, trial_id="t0001")
    assert not lost.processes
    assert "t0001 runs on node 127.0.0.1" in lost.notes[0]


def test_a_stopped_process_is_not_waited_for(run: RunPaths) -> None:
    with doing("in_sleep", run) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        (worker,) = find_stacks(run.root, trial_id="t0001").processes
        assert worker.problem is not None
        assert f"`kill -CONT {process.pid}`" in worker.problem
        process.send_signal(signal.SIGCONT)
        assert ask_until(run, "in_sleep").processes[1].problem is None


def test_a_process_that_does_not_answer_is_said_with_its_state(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "_PATIENCE_S", 0.1)
    with doing("blocking_it", run):
        while True:
            (worker,) = find_stacks(run.root, trial_id="t0001").processes
            if worker.problem is not None and "sleep" in worker.problem:
                break
    assert worker.problem == "it did not answer within 0.1 s: its state is S (sleeping)"
    assert not worker.threads


STRANGERS = {
    "one that knows nothing": "",
    "one that has the file open": "file = open(sys.argv[2], 'a')",
    "one that takes the signal": f"signal.signal({SIGNAL}, lambda *_: sys.exit(5))",
}


@pytest.mark.parametrize("prepared", STRANGERS.values(), ids=STRANGERS)
def test_a_process_that_a_note_names_and_that_does_not_answer_gets_no_signal(
    run: RunPaths, prepared: str
) -> None:
    """As when a run came from somebody else, or an id is used again."""
    note = find_notes(run)[0]
    traces = run.stacks / "stranger.txt"
    traces.write_text("precious")
    code = f"import signal, sys\n{prepared}\nprint('ready', flush=True)\nsys.stdin.read()"
    command = [sys.executable, "-c", code, "", str(traces)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        document = {**vars(note), "pid": process.pid, "is_driver": False, "trial_id": "t0001"}
        traces.with_suffix(".json").write_text(json.dumps({**document, "traces": "x"}))
        assert len(find_notes(run)) == 2
        found = find_stacks(run.root)
        process.communicate("")
    assert [one.process for one in found.processes] == ["driver"]
    assert process.returncode == 0
    assert traces.read_text() == "precious"


def test_a_process_that_has_ended_is_left_out(run: RunPaths) -> None:
    with doing("in_sleep", run):
        ask_until(run, "in_sleep")
    assert len(find_notes(run)) == 2
    assert [one.process for one in find_stacks(run.root).processes] == ["driver"]


def test_no_link_is_followed(run: RunPaths, tmp_path: Path) -> None:
    with doing("in_sleep", run):
        note = next(one for one in find_notes(run) if not one.is_driver)
        elsewhere = tmp_path / "elsewhere.txt"
        note.traces.rename(elsewhere)
        note.traces.symlink_to(elsewhere)
        (worker,) = find_stacks(run.root, trial_id="t0001").processes
        assert worker.problem is not None
        assert "not followed" in worker.problem
        run.stacks.rename(tmp_path / "folder")
        run.stacks.symlink_to(tmp_path / "folder")
        assert not find_stacks(run.root).processes


@pytest.mark.parametrize(
    "change",
    [
        {"pid": "1"},
        {"pid": -1},
        {"pid": True},
        {"since": 1e300},
        {"trial_id": "../t0001"},
        {"host": 3},
        {"is_driver": 1},
        {"more": 1},
    ],
    ids=str,
)
def test_a_note_of_another_form_is_none(run: RunPaths, change: dict[str, Any]) -> None:
    (file,) = run.stacks.glob("*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    found = find_stacks(run.root)
    assert not found.processes
    assert found.notes[0].startswith("the driver of a-20260101-000000 shows no stack: process")


def test_a_process_elsewhere_is_named_with_what_to_do(run: RunPaths) -> None:
    (file,) = run.stacks.glob("*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "host": "far.example"}))
    (driver,) = find_stacks(run.root).processes
    assert driver.problem is not None
    assert driver.problem.startswith("it is on far.example: run `sweeper stack ")


def test_a_run_that_is_not_running_is_said_in_one_sentence(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "a-20260101-000000", reason="finished")
    for arguments in ("last",), ("last", "t0001"), ("t0009",):
        done = sweeper_here("stack", *arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == "a-20260101-000000 is not running: finished\n"
    assert sweeper_here("stack", "--json", cwd=tmp_path).stdout == "[]\n"


def test_a_trial_that_is_not_running_is_refused(run: RunPaths) -> None:
    with pytest.raises(UserError, match=r"t0003 .* not running: failed; running: t0001, t0002"):
        find_stacks(run.root, trial_id="t0003")
    with pytest.raises(UserError, match=r"no trial 't0009' in a-20260101-000000; running: t0001"):
        find_stacks(run.root, trial_id="t0009")


def test_the_command_prints_lines_or_json(run: RunPaths, tmp_path: Path) -> None:
    with doing("in_vector", run) as process:
        ask_until(run, "in_sleep", "child")
        done = sweeper_here("stack", "t0001", cwd=tmp_path)
        shown = json.loads(sweeper_here("stack", "last", "t0001", "--json", cwd=tmp_path).stdout)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"trial t0001, process {process.pid}, since ")
    assert '  File "<string>", line 7, in in_sleep' in lines
    children = [one["pid"] for one in shown if one["process"] == "child"]
    # They do the same, so it is shown once.
    names = ", ".join(map(str, children))
    assert f"processes {names}, forked by process {process.pid}" in lines
    assert shown[1]["threads"][0]["frames"][0] == {
        "file": "<string>",
        "line": 7,
        "function": "in_sleep",
    }


def test_what_a_launch_wrote_for_it_is_gone_at_its_end(tmp_path: Path) -> None:
    paths = make_run(tmp_path / "runs", "a-20260101-000000", ["RUNNING"], reason=None)
    paths.stacks.mkdir()
    (paths.stacks / "left-by-a-kill.json").touch()
    with stacks_shown(paths):
        assert len(list(paths.stacks.iterdir())) == 2
    assert not paths.stacks.exists()
    os.kill(os.getpid(), SIGNAL)  # one that was sent too late


def test_a_link_in_the_place_of_the_folder_is_replaced(tmp_path: Path) -> None:
    paths = make_run(tmp_path / "runs", "a-20260101-000000", ["RUNNING"], reason=None)
    (tmp_path / "elsewhere").mkdir()
    paths.stacks.symlink_to(tmp_path / "elsewhere")
    with stacks_shown(paths):
        assert not paths.stacks.is_symlink()
        assert find_notes(paths)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_without_the_folder_or_the_right_to_write_a_process_goes_on(tmp_path: Path) -> None:
    stack = StackFile(tmp_path / "not there")
    stack.note("t0001")
    stack.close()
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_other_code_uses_is_left_to_it(run: RunPaths) -> None:
    code = (
        f"import signal\nsignal.signal({SIGNAL}, lambda *_: print('mine', flush=True))\n"
        + ANSWERING.replace("globals()", f"os.kill(os.getpid(), {SIGNAL})\nglobals()")
    )
    with doing("in_sleep", run, code=code) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        assert len(find_notes(run)) == 1
