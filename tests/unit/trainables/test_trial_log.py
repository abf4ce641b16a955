from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.trainables.trial_log import TrialLog, cut_middle, describe_report

NOISY = """
import os, subprocess, sys, time
from pathlib import Path
from sweeper.trainables import trial_log

trial_log._MAX_BYTES, trial_log._HEAD_BYTES, trial_log._TAIL_BYTES = 60_000, 10_000, 10_000
trial_log._CHECK_EVERY_S = 0.01
log = trial_log.TrialLog()
log.begin(Path(sys.argv[1]), "t0001")
for number in range(40_000):
    print("line", number, flush=number % 100 == 0)
subprocess.run(["echo", "from a child"])
sys.stdout.flush()
time.sleep(0.5)
log.begin(Path(sys.argv[2]), "t0002")
print("another trial", flush=True)
os.abort()
"""


def test_the_middle_is_cut_out_in_whole_lines_and_said(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    lines = [f"line {number}" for number in range(1000)]
    log.write_text("\n".join(lines) + "\n")
    size = log.stat().st_size
    cut_middle(log, head_bytes=100, tail_bytes=200)
    kept = log.read_text().splitlines()
    (at,) = (index for index, line in enumerate(kept) if line.startswith("[sweeper: "))
    assert kept[:at] == lines[:at]
    assert kept[at + 1 :] == lines[-len(kept[at + 1 :]) :]
    missing = size - sum(len(line) + 1 for line in [*kept[:at], *kept[at + 1 :]])
    assert kept[at].startswith(f"[sweeper: {missing:,} bytes are cut out here")
    assert len("\n".join(kept)) < 400


def test_a_second_cut_counts_the_first(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    lines = [f"line {number}\n" for number in range(3000)]
    log.write_text("".join(lines[:1000]))
    cut_middle(log, head_bytes=100, tail_bytes=200)
    with log.open("a") as stream:
        stream.writelines(lines[1000:])
    cut_middle(log, head_bytes=100, tail_bytes=200)
    kept = log.read_text().splitlines(keepends=True)
    (words,) = (line for line in kept if line.startswith("[sweeper: "))
    missing = len("".join(lines)) - len("".join(kept)) + len(words)
    assert words.startswith(f"[sweeper: {missing:,} bytes are cut out here")


def test_a_line_without_end_is_cut_too(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"x" * 10_000)
    cut_middle(log, head_bytes=100, tail_bytes=200)
    assert log.stat().st_size < 500


def test_a_log_that_is_no_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("x\n" * 100)
    (tmp_path / "log.txt").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="it is a link"):
        cut_middle(tmp_path / "log.txt", head_bytes=10, tail_bytes=10)
    assert (tmp_path / "other").read_text() == "x\n" * 100


def test_a_trial_that_prints_without_end_fills_no_disk(tmp_path: Path) -> None:
    first, second = tmp_path / "t0001" / "log.txt", tmp_path / "t0002" / "log.txt"
    done = subprocess.run([sys.executable, "-c", NOISY, str(first), str(second)])
    assert done.returncode < 0
    text = first.read_text()
    assert len(text) <= 60_000
    assert " trial t0001 in process " in text.splitlines()[0]
    assert "line 10\n" in text
    assert text.endswith(("line 39999\nfrom a child\n", "from a child\nline 39999\n"))
    assert text.count("[sweeper: ") >= 1
    assert second.read_text().splitlines()[1:] == ["another trial"]


def test_a_report_is_one_line_of_its_numbers(capfd: pytest.CaptureFixture[str]) -> None:
    row = {
        "num_env_steps_sampled_lifetime": 4096,
        "learner/entropy": 0.6,
        "episode_return_mean": 41.23456,
        "replica/episode_return_mean": [41.0, 42.0],
        "should_checkpoint": True,
        "stopped_by": None,
    }
    line = describe_report(row)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d num_env_steps_sampled_lifetime=4096 episode_return_mean=41.23 "
        r"learner/entropy=0.6",
        line,
    )
    assert describe_report({**row, "stopped_by": "time_total_s >= 3"}).endswith(
        " ended by time_total_s >= 3"
    )
    TrialLog().report(row)  # of a trainable in the driver's own process
    assert capfd.readouterr().out == ""
