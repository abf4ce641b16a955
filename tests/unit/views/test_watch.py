from __future__ import annotations

import logging
import re
import sys
import time
from pathlib import Path

import pytest
from launch_events import Launch, make_plan
from rich.console import Console
from terminals import Terminal, run_on_a_terminal

from sweeper.evidence.ties import find_ties
from sweeper.journal import TrialAsked, TrialRetried, TrialStarted
from sweeper.paths import RunPaths
from sweeper.views.lines import LineProgress
from sweeper.views.live import draw
from sweeper.views.progress import make_progress


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    return Launch(make_plan(tmp_path))


@pytest.fixture
def lines(launch: Launch) -> LineProgress:
    view = LineProgress(launch.watch, RunPaths(launch.root))
    launch.to = view
    return view


def picture(launch: Launch, width: int = 80, height: int = 24) -> list[str]:
    """The lines that a terminal of this size shows."""
    launch.watch.refresh()
    console = Console(width=width, height=height, force_terminal=False)
    with console.capture() as capture:
        for line in draw(launch.watch, width=width, height=height):
            console.print(line)
    return capture.get().splitlines()


def a_busy_launch(launch: Launch, running: int = 3) -> None:
    launch.begin()
    launch.start("t0001", lr=3.125e-4, num_epochs=8)
    launch.report("t0001", 0.5, 200.0)
    launch.report("t0001", 1.0, 475.25)
    launch.end("t0001")
    launch.start("t0002", lr=1e-2, num_epochs=2)
    launch.report("t0002", 0.1, 9.0)
    launch.end("t0002", "PRUNED")
    launch.start("t0003", lr=1.0, num_epochs=2)
    launch.end("t0003", "ERROR", "ValueError: no")
    launch.now += 100.0
    for number in range(4, 4 + running):
        launch.start(f"t{number:04d}", lr=1e-5 * number, num_epochs=number)
        launch.report(f"t{number:04d}", 0.2, 10.0 * number)
        launch.report(f"t{number:04d}", 0.4, 20.0 * number)
    launch.now += 30.0


def test_the_table_shows_counts_times_the_best_and_running_trials(launch: Launch) -> None:
    a_busy_launch(launch)
    shown = picture(launch)
    assert shown[0] == "cartpole  1 of 32 done, 1 pruned, 1 failed, 3 running"
    assert re.fullmatch(r"2m10s elapsed, about \S+ left \(.*\d\d:\d\d\)", shown[1])
    assert shown.pop(2) == "t0002 pruned at 100 env steps: 9 < 120.5, the cut-off of rung 1"
    assert shown[2:6] == [
        "",
        "best so far  t0001  475.2  episode_return_mean",
        "             lr=0.0003125 num_epochs=8",
        "",
    ]
    assert shown[6].split() == ["trial", "score", "steps", "lr", "num_epochs"]
    assert shown[7].split() == ["t0004", "80", "400", "4e-05", "4"]
    assert [line.split()[0] for line in shown[7:]] == ["t0004", "t0005", "t0006"]


def report_runs(launch: Launch, trial_id: str, *values: float) -> None:
    mean = sum(values) / len(values)
    launch.report(trial_id, 0.5, mean, **{"replica/episode_return_mean": [*values]})


def test_who_can_not_be_told_from_the_best_is_marked(tmp_path: Path) -> None:
    launch = Launch(make_plan(tmp_path), seeds=(0, 1, 2))
    launch.begin()
    for number in range(1, 8):
        launch.start(f"t{number:04d}", lr=1e-5 * number)
    report_runs(launch, "t0001", 90.0, 100.0, 110.0)
    assert not any("~" in line for line in picture(launch))  # there is no other
    report_runs(launch, "t0002", 1.0, 2.0, 3.0)
    report_runs(launch, "t0003", 80.0, 99.0, 108.0)
    report_runs(launch, "t0004", 70.0, 101.0, 99.0)
    shown = picture(launch)
    assert shown[5] == "             ~ can't be told from it: t0003, t0004"
    scores = {line.split()[0]: line.split()[1] for line in shown if line.startswith("t000")}
    assert {trial for trial, score in scores.items() if score.startswith("~")} == {
        "t0003",
        "t0004",
    }
    for trial in ("t0005", "t0006"):
        report_runs(launch, trial, 80.0, 99.0, 108.0)
    assert picture(launch)[5].endswith("t0003, t0004, t0005 and 1 more")
    report_runs(launch, "t0007", 300.0, 301.0, 302.0)  # a new best one, told from all others
    assert not any("~" in line for line in picture(launch))
    ties = find_ties(launch.results.snapshot(is_live=True).trials, launch.plan.spec.objective)
    assert launch.watch.ties == ties == frozenset()


def test_where_one_replica_tells_nothing_nobody_is_marked(launch: Launch) -> None:
    a_busy_launch(launch)
    assert not any("~" in line for line in picture(launch))
    assert launch.watch.ties


def test_a_trial_that_says_nothing_for_a_minute_is_named(launch: Launch) -> None:
    a_busy_launch(launch)
    assert not any("no report" in line for line in picture(launch))
    launch.now += 35.0
    launch.report("t0005", 0.6, 30.0)
    shown = picture(launch)
    assert shown[2] == "t0004 and 1 more: no report for 1m05s (a long iteration)"
    launch.end("t0004")
    launch.end("t0006")
    assert not any("no report" in line for line in picture(launch))


def test_a_silent_trial_of_a_spec_that_evaluates_may_be_evaluating(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launch = Launch(make_plan(tmp_path, more="evaluation: {}\n"))
    launch.to = LineProgress(launch.watch, RunPaths(launch.root))
    launch.begin()
    launch.start("t0001", lr=1.0)
    launch.now += 125.0
    launch.to.break_silence()
    said = capsys.readouterr().err
    assert "t0001: no report for 2m05s (a long iteration or evaluation)" in said


def test_a_line_says_where_and_why_a_trial_was_pruned(
    launch: Launch, lines: LineProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    launch.begin()
    launch.start("t0002", lr=1e-2)
    launch.report("t0002", 0.1, 9.0)
    launch.end("t0002", "PRUNED")
    said = capsys.readouterr().err
    wanted = "t0002 pruned at 100 env steps: 9 < 120.5, the cut-off of rung 1; lr=0.01"
    assert said.splitlines()[-1] == wanted


def test_a_trial_that_copies_another_is_told_of_with_the_reason(
    launch: Launch, lines: LineProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    launch.begin()
    for trial_id in ("t0001", "t0002"):
        launch.start(trial_id, lr=1e-2)
    launch.report("t0001", 0.1, 90.0)
    reason = "ranks 2 of 2 at 100 env steps with 9; copies t0001 (90), lr 0.01 to 0.012"
    copy = {"action": "copy", "donor": "t0001", "donor_env_steps": 100, "parameters": {"lr": 0.012}}
    launch.report("t0002", 0.1, 9.0, {**copy, "reason": reason})
    assert capsys.readouterr().err.splitlines()[-1] == f"t0002 {reason}"
    assert picture(launch)[2] == f"t0002 {reason}"


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, width: int) -> None:
    launch = Launch(
        make_plan(
            tmp_path,
            name="n" * 90,
            metric="evaluation/episode_return_mean",
            more="evaluation: {episodes: 3}\n",
        )
    )
    launch.begin()
    long = {f"a_parameter_with_a_long_name_{n}": 0.123456789 for n in range(9)}
    for number in range(1, 12):
        launch.start(f"t{number:04d}", **long)
        launch.report(
            f"t{number:04d}", 0.5, -123456.789, **{"evaluation/episode_return_mean": -1.5e-7}
        )
    shown = picture(launch, width)
    assert max(len(line) for line in shown) <= width
    assert shown[0].startswith("nnn")
    assert "0 of 32 done, 11 running" in shown[0]
    (heading,) = (line for line in shown if line.startswith("trial"))
    names = re.findall(r"a_param…name_\d", heading)
    assert heading.endswith(f"  +{9 - len(names)}")
    assert all(line.count("0.1235") == len(names) for line in shown if line.startswith("t00"))


def test_columns_do_not_move_when_numbers_grow(launch: Launch) -> None:
    launch.begin()
    launch.start("t0001", lr=1.0)
    launch.report("t0001", 0.01, 1.0)
    before = picture(launch)[-1]
    launch.report("t0001", 0.5, -12345.678, num_env_steps_sampled_lifetime=123_456_789)
    after = picture(launch)[-1]
    assert before.index(" 1 ") == before.rindex(" 1 ")
    assert len(before) == len(after)
    assert before.endswith("   1")
    assert after.endswith("   1")


def test_parameters_that_tell_trials_apart_are_columns_the_most_varied_first(
    tmp_path: Path,
) -> None:
    metric = "evaluation/episode_return_mean"
    launch = Launch(make_plan(tmp_path, metric=metric, more="evaluation: {}\n"))
    launch.begin()
    for number in range(1, 5):
        launch.start(
            f"t{number:04d}",
            gamma=0.99,
            model_config={"fcnet_hiddens": [[64, 64], [256, 256]][number % 2]},
            minibatch_size=64 * (1 + number % 3),
            lr=number / 30_000,
            entropy_coeff=number / 7_000_000,
        )
    narrow, wide = picture(launch, 80), picture(launch, 120)
    heading = ["trial", "score", "steps", "lr", "entropy_coeff", "minibatch_size", "+1"]
    assert narrow[-5].split() == heading
    assert narrow[-4].split()[3:] == ["3.333e-05", "1.429e-07", "128"]
    assert wide[-5].split()[-3:] == ["entropy_coeff", "minibatch_size", "fcnet_hiddens"]
    assert wide[-4].endswith("128     [256, 256]")
    assert not any("gamma" in line for line in wide)


def test_the_parameters_of_a_lone_trial_are_all_shown(launch: Launch) -> None:
    launch.begin()
    launch.start("t0001", lr=0.5, gamma=0.99)
    assert picture(launch)[-2].split()[-2:] == ["lr", "gamma"]


def test_a_trial_of_the_confirmation_shows_whom_it_trains_again(launch: Launch) -> None:
    launch.begin()
    launch.feed(TrialAsked(launch.now, "c0001", {"lr": 0.5}, {}, (7,), "confirmation", "t0004"))
    launch.feed(TrialStarted(launch.now, "c0001", "127.0.0.1"))
    shown = picture(launch)
    assert shown[-2].split()[:3] == ["trial", "of", "score"]
    assert shown[-1].split()[:2] == ["c0001", "t0004"]


def test_a_wide_terminal_shows_the_progress_of_each_trial(launch: Launch) -> None:
    a_busy_launch(launch, running=1)
    assert "40%" in picture(launch, 120)[-1]
    assert "40%" not in picture(launch, 80)[-1]


def test_running_trials_that_do_not_fit_are_counted(launch: Launch) -> None:
    a_busy_launch(launch, running=60)
    shown = picture(launch, height=24)
    assert len(shown) == 23
    assert shown[-1] == "… and 46 more"
    assert sum(line.startswith("t00") for line in shown) == 15


def test_before_the_first_event_the_table_says_that_ray_is_starting(launch: Launch) -> None:
    assert picture(launch) == ["cartpole  starting Ray", "0s elapsed"]


def test_trials_without_a_worker_are_starting(launch: Launch) -> None:
    launch.begin()
    for number in (1, 2):
        launch.feed(TrialAsked(launch.now, f"t{number:04d}", {}, {}, (0,)))
    assert picture(launch)[0] == "cartpole  0 of 32 done, 2 starting"
    launch.feed(TrialStarted(launch.now, "t0001", "127.0.0.1"))
    assert picture(launch)[0] == "cartpole  0 of 32 done, 1 running"


def test_a_resumed_run_shows_its_earlier_trials(launch: Launch) -> None:
    launch.begin()
    launch.start("t0001", lr=0.5)
    launch.report("t0001", 1.0, 99.0)
    launch.end("t0001")
    later = Launch(launch.plan)
    later.results = launch.results
    later.watch.results = launch.results
    later.begin()
    assert picture(later)[0] == "cartpole  1 of 32 done"
    assert "best so far  t0001  99  episode_return_mean" in picture(later)


def test_an_interrupted_launch_shows_that_it_is_ending(launch: Launch) -> None:
    a_busy_launch(launch, running=1)
    launch.end("t0004", "PAUSED")
    assert "ending:" in picture(launch)[1]
    launch.over("interrupted")
    assert "writing the champion" in picture(launch)[1]


def test_the_end_of_a_trial_is_a_line(
    launch: Launch, lines: LineProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    launch.begin()
    launch.start("t0001", lr=0.5)
    launch.report("t0001", 1.0, 99.0)
    launch.now += 100
    launch.end("t0001")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "t0001 done (num_env_steps_sampled_lifetime >= 1000): "
        "episode_return_mean 99, 1000 env steps, lr=0.5\n"
    )


def test_the_status_is_printed_now_and_then(
    launch: Launch, lines: LineProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    launch.begin()
    launch.start("t0001", lr=0.5)
    for step in range(1, 11):
        launch.now += 10
        launch.report("t0001", step / 100, float(step))
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 5
    assert printed[-1].startswith("0 of 32 done, 1 running, 1m40s elapsed, about ")
    assert printed[-1].endswith("; best so far t0001: 10")


def test_a_long_silence_is_broken_once_a_minute(
    launch: Launch, lines: LineProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    launch.begin()
    lines.break_silence()
    launch.now += 59.0
    lines.break_silence()
    assert capsys.readouterr().err == ""
    launch.now += 1.0
    for _ in range(3):
        lines.break_silence()
    assert capsys.readouterr().err == "starting Ray, 1m00s elapsed\n"
    launch.start("t0001", lr=1.0)
    launch.now += 61.0
    lines.break_silence()
    assert capsys.readouterr().err == (
        "0 of 32 done, 1 running, 2m01s elapsed; t0001: no report for 1m01s (a long iteration)\n"
    )


def test_a_silence_without_events_is_broken(
    launch: Launch, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.views.lines._CHECK_EVERY_S", 0.001)
    lines = LineProgress(launch.watch, RunPaths(launch.root))
    launch.to = lines
    launch.begin()
    lines.start()
    launch.now += 60.0
    printed = ""
    deadline = time.monotonic() + 5
    while not printed and time.monotonic() < deadline:
        time.sleep(0.001)
        printed = capsys.readouterr().err
    assert printed == "starting Ray, 1m00s elapsed\n"
    lines.close()
    launch.now += 60.0
    time.sleep(0.02)
    assert capsys.readouterr().err == ""


def test_very_short_trials_do_not_fill_a_log(
    launch: Launch, lines: LineProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    launch.begin()
    for number in range(1, 201):
        launch.start(f"t{number:04d}", lr=0.5)
        launch.report(f"t{number:04d}", 1.0, 99.0)
        launch.now += 0.1
        launch.end(f"t{number:04d}")
    lines.close()
    printed = capsys.readouterr().err.splitlines()
    assert 25 <= len(printed) <= 32
    skipped = sum(
        int(match[1]) for line in printed if (match := re.search(r"and (\d+) more", line))
    )
    assert skipped + sum(" done (" in line for line in printed) == 200


def test_every_new_error_is_printed_with_its_log(
    launch: Launch, lines: LineProgress, capsys: pytest.CaptureFixture[str]
) -> None:
    launch.begin()
    for number, error in enumerate(["ValueError: a"] * 30 + ["OSError: b"], start=1):
        launch.start(f"t{number:04d}", lr=0.5)
        launch.end(f"t{number:04d}", "ERROR", error)
    launch.feed(TrialRetried(launch.now, "t0032", "OSError: c"))
    printed = capsys.readouterr().err
    assert (
        "t0001 failed (crashed): ValueError: a; log: /runs/cartpole/trials/t0001/log.txt" in printed
    )
    assert "t0030" not in printed
    assert "t0031 failed (crashed): OSError: b" in printed
    assert "t0032 failed and is tried again: OSError: c" in printed


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_dumb_terminal_gets_lines(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", term)
    made = make_progress(launch.plan, RunPaths(launch.root), launch.results)
    assert isinstance(made, LineProgress)


def test_verbose_progress_is_lines(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(logging.getLogger(), "level", logging.INFO)
    made = make_progress(launch.plan, RunPaths(launch.root), launch.results)
    assert isinstance(made, LineProgress)


ON_A_TERMINAL = """
import logging, os, sys, time
from pathlib import Path
from launch_events import Launch, make_plan
from sweeper.views import live
from sweeper.views.live import LiveProgress
live._REDRAW_PER_S = 50
launch = Launch(make_plan(Path(sys.argv[1])))
view = LiveProgress(launch.watch)
launch.to = view
launch.begin()
launch.start("t0001", lr=0.5)
launch.report("t0001", 0.5, 99.0)
time.sleep(0.2)
os.write(2, b"written by a signal handler\\n")
logging.warning("a warning")
time.sleep(0.2)
view.close()
print("the summary", file=sys.stderr)
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The output of a short launch on a terminal of 80 columns."""
    folder = tmp_path_factory.mktemp("terminal")
    code, printed = run_on_a_terminal([sys.executable, "-c", ON_A_TERMINAL, str(folder)])
    assert code == 0, printed
    return printed


def test_other_output_goes_above_the_table_and_the_table_disappears(written: str) -> None:
    screen = Screen()
    screen.feed(written)
    assert screen.text() == [
        "written by a signal handler",
        "WARNING:root:a warning",
        "the summary",
    ]
    assert any("best so far  t0001  99" in line for line in screen.ever)


def test_the_cursor_stays_visible_with_the_table(written: str) -> None:
    # A second Ctrl-C ends the process without restoring the cursor.
    assert "\x1b[?25l" in written
    shown = written.index("best so far")
    assert written.rindex("\x1b[?25l", 0, shown) < written.rindex("\x1b[?25h", 0, shown)


RESIZED = """
import sys, time
from pathlib import Path
from launch_events import Launch, make_plan
from sweeper.views import live
from sweeper.views.live import LiveProgress
live._REDRAW_PER_S = 20
launch = Launch(make_plan(Path(sys.argv[1])))
view = LiveProgress(launch.watch)
launch.to = view
launch.begin()
for number in range(1, 4):
    launch.start(f"t000{number}", lr=0.5 / number, gamma=0.9, lambda_=number / 10)
    launch.report(f"t000{number}", 0.5, 99.0)
sys.stdin.readline()
print("a warning", file=sys.stderr)
sys.stdin.readline()
view.close()
print("the summary", file=sys.stderr)
"""


def test_resizing_the_terminal_leaves_no_stale_line(tmp_path: Path) -> None:
    screen = Screen(120)
    with Terminal([sys.executable, "-c", RESIZED, str(tmp_path)], 120) as terminal:
        screen.feed(terminal.read_until("t0003"))
        for width in (40, 120, 30, 100):
            terminal.resize(width)
            screen.resize(width)
            for _ in range(2):  # the first may have been begun for the old width
                screen.feed(terminal.read_until("t0003"))
            screen.feed(terminal.read_for(0.02))
            shown = screen.text()
            assert sum("elapsed" in line for line in shown) == 1, shown
            assert sum(line.startswith("t000") for line in shown) == 3, shown
        terminal.write("\n")
        screen.feed(terminal.read_until("a warning"))
        terminal.write("\n")
        screen.feed(terminal.read_until("the summary"))
    assert screen.text() == ["a warning", "the summary"]


class Screen:
    """The part of a terminal that the table needs: lines, cursor up, erase.

    Lines that are too long for ``width`` go on in the next row, also after a resize.
    """

    def __init__(self, width: int = 1000) -> None:
        self.width = width
        self.lines = [""]
        self.goes_on = [False]  # whether a row is the rest of the one above
        self.row = 0
        self.column = 0
        self.ever: set[str] = set()

    def text(self) -> list[str]:
        return [line.rstrip() for line in self.lines if line.strip()]

    def feed(self, written: str) -> None:
        for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", written):
            self._take(part)

    def resize(self, width: int) -> None:
        whole: list[str] = []
        cursor = (0, 0)
        for row, (line, goes_on) in enumerate(zip(self.lines, self.goes_on, strict=True)):
            before = whole[-1] if goes_on else ""
            whole[len(whole) - goes_on :] = [before + line]
            if row == self.row:
                cursor = (len(whole) - 1, len(before) + self.column)
        self.width, self.lines, self.goes_on = width, [], []
        for number, line in enumerate(whole):
            rows = [line[at : at + width] for at in range(0, max(1, len(line)), width)]
            if number == cursor[0]:
                self.row = len(self.lines) + min(cursor[1] // width, len(rows) - 1)
                self.column = cursor[1] - width * (self.row - len(self.lines))
            self.lines += rows
            self.goes_on += [False, *[True] * (len(rows) - 1)]

    def _take(self, part: str) -> None:
        if part == "\r":
            self.column = 0
        elif part == "\n":
            self._go_down(goes_on=False)
        elif match := re.fullmatch(r"\x1b\[(\d*)A", part):
            self.row = max(0, self.row - int(match[1] or 1))
        elif part == "\x1b[2K":
            self.lines[self.row] = ""
        elif not part.startswith("\x1b"):
            for letter in part:
                if self.column >= self.width:
                    self._go_down(goes_on=True)
                    self.column = 0
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + letter + line[self.column + 1 :]
                self.column += 1
            self.ever.add(self.lines[self.row])

    def _go_down(self, *, goes_on: bool) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")
            self.goes_on.append(goes_on)
        else:
            self.goes_on[self.row] = goes_on
