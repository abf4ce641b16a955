"""What a command's own process makes of its standard streams and of SIGTERM."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import sweeper
from run_folders import make_run

SWEEPER = [sys.executable, "-m", "sweeper"]
NAME = "made-20260101-000000"


def test_a_damaged_journal_is_a_one_line_warning(tmp_path: Path) -> None:
    paths = make_run(tmp_path / "runs", NAME)
    lines = paths.journal.read_bytes().split(b"\n")
    lines[2] = b"\x00\xff damaged"
    paths.journal.write_bytes(b"\n".join(lines))
    done = sweeper("status", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == (
        f"WARNING sweeper.journal: {paths.journal}:3: damaged line in the middle of the journal: "
        "skipped, its event is missing\n"
    )


def test_sigterm_interrupts_a_command_and_leaves_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "hold.py").write_text("import time\nprint('held')\ntime.sleep(30)\n")
    (tmp_path / "spec.yaml").write_text(
        "environment: {id: Held-v0, module: hold}\nalgorithm: PPO\nstop: {training_iteration: 1}\n"
    )
    with subprocess.Popen(
        [*SWEEPER, "run", "spec.yaml"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "held\n"  # by the import, while the plan is made
        process.terminate()
        assert process.wait() == 130
        assert process.stderr.read() == "\ninterrupted\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("command", "closed", "code"),
    [
        ("plan spec.yaml", ">&-", 0),
        ("plan nowhere.yaml", "2>&-", 2),
        ("results", ">&- 2>&-", 0),
        ("clean --keep 0", "<&-", 2),
    ],
)
def test_a_closed_stream_causes_no_traceback(
    tmp_path: Path, command: str, closed: str, code: int
) -> None:
    make_run(tmp_path / "runs", NAME)
    (tmp_path / "spec.yaml").write_text(
        "environment: CartPole-v1\nalgorithm: PPO\nstop: {num_env_steps_sampled_lifetime: 100}\n"
    )
    script = f"{' '.join(SWEEPER)} {command} {closed}"
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "--version",
        "results",
        "results --json",
        "results --csv",
        "best",
        "status --json",
        "list",
        "logs t0002",
        "doctor",
        "schema",
        "plan spec.yaml",
        "completion bash",
    ],
)
def test_a_reader_that_has_gone_is_no_failure(tmp_path: Path, words: str) -> None:
    make_run(tmp_path / "runs", NAME, ["TERMINATED", "ERROR"])
    (tmp_path / "spec.yaml").write_text(
        "environment: CartPole-v1\nalgorithm: PPO\nstop: {num_env_steps_sampled_lifetime: 100}\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*SWEEPER, *words.split()], cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_read_enough_is_no_failure(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", NAME)
    script = 'set -o pipefail; "$0" -m sweeper results --json | head -c 1'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[", "")


def test_another_broken_pipe_is_an_error(tmp_path: Path) -> None:
    """Such as that to a process of Ray's: the command has not done what it should."""
    script = (
        "from sweeper.cli import cli, main\n"
        "def fail(**_): raise BrokenPipeError(32, 'Broken pipe')\n"
        "cli.commands['list'].callback = fail\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "list"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "error: a pipe to another process is broken\n"


@pytest.mark.parametrize(
    ("words", "code", "out"),
    [
        (("plan", "nowhere.yaml"), 2, ""),
        (("clean", NAME, "--yes"), 0, NAME),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("kind", ["a closed pipe", "a full disk"])
def test_a_stderr_that_takes_nothing_changes_neither_code_nor_output(
    tmp_path: Path, words: tuple[str, ...], code: int, out: str, kind: str
) -> None:
    make_run(tmp_path / "runs", NAME)
    reading, writing = os.pipe()
    os.close(reading)
    with Path("/dev/full").open("w") as full:
        stderr = writing if kind == "a closed pipe" else full
        done = subprocess.run(
            [*SWEEPER, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    os.close(writing)
    assert done.returncode == code
    assert out in done.stdout
    assert (tmp_path / "runs" / NAME).exists() == (words[0] != "clean")
