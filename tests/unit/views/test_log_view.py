from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from run_folders import make_run

from sweeper.paths import RunPaths
from sweeper.results.builder import load_results
from sweeper.results.records import SweepResults
from sweeper.views.logs import follow_logs, tail_lines


class LiveRun:
    """A live run that takes one step whenever its follower sleeps."""

    def __init__(self, paths: RunPaths, *steps: Callable[[], None]) -> None:
        self.paths = paths
        self.steps = list(steps)
        self.states: dict[str, str] = {}

    def load(self) -> SweepResults:
        results = load_results(self.paths)
        trials = tuple(
            dataclasses.replace(record, state=self.states.get(record.trial_id, record.state))
            for record in results.trials
        )
        return dataclasses.replace(results, trials=trials, is_live=bool(self.steps))

    def sleep(self, _: float) -> None:
        if self.steps:
            self.steps.pop(0)()


def append(path: Path, text: str) -> Callable[[], None]:
    def step() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as stream:
            stream.write(text)

    return step


def wait() -> None:
    """Nothing happens."""


def test_following_prints_the_last_lines_then_each_new_line_once(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "a-20260101-000000", ["RUNNING"], reason=None)
    log = paths.trial_log("t0001")
    run = LiveRun(
        paths, append(log, "new one\nhal"), append(log, "f a line\n"), wait, append(log, "no end")
    )
    lines = list(follow_logs(run.load, "t0001", tail=2, sleep=run.sleep))
    assert [text for _, text in lines] == [
        "t0001 line 29", "t0001 line 30", "new one", "half a line", "no end",
    ]  # fmt: skip


def test_following_a_trial_stops_when_the_trial_ends(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "a-20260101-000000", ["TERMINATED"], reason=None)
    run = LiveRun(paths, *[wait] * 100)
    lines = list(follow_logs(run.load, "t0001", tail=1, sleep=run.sleep))
    assert [text for _, text in lines] == ["t0001 line 30"]
    assert len(run.steps) == 100


def test_running_trials_and_those_that_start_later_are_followed(tmp_path: Path) -> None:
    paths = make_run(
        tmp_path, "a-20260101-000000", ["TERMINATED", "RUNNING", "RUNNING"], reason=None
    )
    late = paths.trial_log("t0003")
    late.unlink()
    run = LiveRun(paths, *[wait] * 5, append(late, "here I am\n"), *[wait] * 10)
    lines = list(follow_logs(run.load, None, tail=1, sleep=run.sleep))
    assert lines == [("t0002", "t0002 line 30"), ("t0003", "here I am")]


def test_a_rewritten_log_is_read_from_its_start(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "a-20260101-000000", ["RUNNING"], reason=None)
    log = paths.trial_log("t0001")

    def write_anew() -> None:
        log.write_text("again\n")

    run = LiveRun(paths, write_anew, wait)
    lines = list(follow_logs(run.load, "t0001", tail=0, sleep=run.sleep))
    assert [text for _, text in lines] == ["again"]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"one", ["one"]),
        (b"\n\n", ["", ""]),
        (b"a\nb\nc\nd\n", ["c", "d"]),
        (b"\xff\xfe\n", ["��"]),
    ],
)
def test_tail_lines_splits_any_bytes(tmp_path: Path, data: bytes, lines: list[str]) -> None:
    file = tmp_path / "log.txt"
    file.write_bytes(data)
    assert tail_lines(file, 2) == lines


def test_the_tail_of_a_missing_file_is_empty(tmp_path: Path) -> None:
    assert tail_lines(tmp_path / "no.txt", 2) == []


def test_the_tail_of_a_huge_line_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    file.write_bytes(b"x" * 10_000_000)
    assert len(tail_lines(file, 2)[0]) == 64 * 1024
