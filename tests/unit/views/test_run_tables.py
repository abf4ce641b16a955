from __future__ import annotations

import re
import sys
import time
from dataclasses import asdict
from pathlib import Path

import click
import pytest
from effort import count_calls
from run_folders import make_run

from sweeper.evidence.played import AgentEvaluation, Evaluation
from sweeper.formatting import (
    describe_counts,
    fold_parameters,
    format_bytes,
    format_clock,
    format_duration,
    format_number,
    format_parameters,
    format_value,
    short_names,
)
from sweeper.json_values import to_json
from sweeper.metrics import Objective
from sweeper.opened_run import Run, open_run
from sweeper.paths import run_reference
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.spec import load_spec
from sweeper.states import TrialState
from sweeper.upkeep.overview import RunningTrial, RunOverview, describe_run, describe_runs
from sweeper.views.evaluation import print_evaluation
from sweeper.views.runs import print_best, print_runs, summarise
from sweeper.views.status import print_status
from sweeper.views.trials import print_trials


def run_of(*records: TrialRecord) -> Run:
    return Run(SweepResults(Path("/runs/x"), records), Objective())


def record(
    number: int, value: float = 1.0, error: str | None = None, **parameters: object
) -> TrialRecord:
    return TrialRecord(
        f"t{number:04d}",
        "ERROR" if error else "TERMINATED",
        error=error,
        parameters=parameters,
        reports=({"episode_return_mean": value, "num_env_steps_sampled_lifetime": 100},),
    )


def test_trials_are_sorted_best_first_and_failed_last(capsys: pytest.CaptureFixture[str]) -> None:
    print_trials(run_of(record(1, 5.0), record(2, 9.0, "ValueError: x"), record(3, 7.0)))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["t0003", "t0001", "t0002"]
    assert lines[-1] == "t0002: ValueError: x"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_states_are_shown_in_plain_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    records = [TrialRecord(state, state) for state in TrialState]
    print_trials(run_of(*records))
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    shown = {line.split()[0]: line.split()[1] for line in lines[1 : 1 + len(TrialState)]}
    assert shown == {
        "TERMINATED": "done", "PRUNED": "pruned", "ERROR": "failed", "RUNNING": "running",
        "PENDING": "waiting", "PAUSED": "paused",
    }  # fmt: skip
    assert [row["state"] for row in run_of(*records).rows] == list(TrialState)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_pruned_trial_shows_its_rung(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    run = run_of(TrialRecord("t0004", TrialState.PRUNED, "41.2 < 120.5", rung=2))
    print_trials(run)
    assert "t0004  pruned at rung 2" in click.unstyle(capsys.readouterr().out)
    assert [(row["reason"], row["rung"]) for row in run.rows] == [("41.2 < 120.5", 2)]


def test_what_ended_each_trial_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    steps, plateau = "num_env_steps_sampled_lifetime >= 6000", "plateau of loss (std < 0.01)"
    done = [TrialRecord(f"t{n:04d}", TrialState.TERMINATED, steps) for n in range(1, 11)]
    others = [
        TrialRecord("t0011", TrialState.TERMINATED, plateau),
        TrialRecord("t0012", TrialState.PAUSED, "budget.time_s"),
        TrialRecord("t0013", TrialState.RUNNING),
        TrialRecord("t0014", TrialState.ERROR, "crashed", "ValueError: x"),
    ]
    print_trials(run_of(*done, *others))
    assert capsys.readouterr().out.splitlines()[-4:] == [
        f"done by {steps}: t0001, t0002, t0003, t0004, t0005, t0006, t0007, t0008 and 2 more",
        f"done by {plateau}: t0011",
        "paused by budget.time_s: t0012",
        "t0014: ValueError: x",
    ]
    print_trials(run_of(*done))
    assert capsys.readouterr().out.splitlines()[-1] == f"done by {steps}: all 10"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_markup_in_values_is_printed_literally(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    print_trials(run_of(record(1, layers=["bold"], name="[red]x[/red]")))
    out = capsys.readouterr().out
    assert "['bold']" in out
    assert "[red]x[/red]" in out


@pytest.mark.parametrize("width", [80, 120])
def test_numbers_are_never_wrapped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    values = {
        "lr": 0.0006353, "gamma": 0.995, "lambda_": 0.98, "entropy_coeff": 1.388e-05,
        "num_epochs": 20, "minibatch_size": 256,
    }  # fmt: skip
    print_trials(run_of(record(1, **values), record(2, **values)))
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    shown = ["0.0006353", "0.995", "1.388e-05", "256"]
    if width < 100:
        shown = ["lr=0.0006353", "gamma=0.995", "entropy_coeff=1.388e-05", "minibatch_size=256"]
    assert all(words.count(word) == 2 for word in shown)


def test_the_work_of_printing_trials_grows_with_their_number(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def calls(trials: int) -> int:
        run = run_of(*(record(number, number / 7, lr=number / 1e5) for number in range(trials)))
        found = count_calls(lambda: print_trials(run))
        assert len(capsys.readouterr().out.splitlines()) == trials + 2
        return found

    assert calls(1000) < 6 * calls(250)  # were it quadratic, sixteen times as many


def test_a_thousand_failures_are_cut_to_twenty_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_trials(run_of(*(record(number, error=f"E: {number}") for number in range(1000))))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 1000 + 1 + 20 + 1
    assert lines[-1] == "… and 980 more that failed: sweeper logs /runs/x"


def test_the_summary_shows_the_winner_failures_and_next_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path, "a-20260101-000000", ["TERMINATED", "ERROR", "PAUSED"], reason="interrupted")
    monkeypatch.chdir(tmp_path)
    lines = summarise(open_run("last", tmp_path)).splitlines()
    assert lines[0] == "interrupted: 1 of 4 done, 1 failed, 1 paused"
    assert lines[1] == "  best        t0003: episode_return_mean 30 at 500 env steps"
    assert lines[2] == "              lr=0.3"
    assert "  go on       sweeper resume a-20260101-000000" in lines
    assert "  why         sweeper logs a-20260101-000000  (1 failed trial)" in lines
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80


def test_cut_evaluation_episodes_of_the_winner_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(
        "environment: CliffWalking-v1\nalgorithm: PPO\nstop: {training_iteration: 3}\n"
        "evaluation: {episodes: 10, max_episode_steps: 1000}\n"
    )
    row = {"episode_return_mean": 1.0, "num_env_steps_sampled_lifetime": 100}
    cut = {**row, "evaluation/num_capped_episodes": 12}
    for last, is_said in ((cut, True), (row, False)):
        trial = TrialRecord("t0001", TrialState.TERMINATED, seeds=(0, 1), reports=(last,))
        opened = Run(SweepResults(tmp_path, (trial,)), Objective(), load_spec(file))
        print_best(opened)
        said = (
            "note: 12 of 20 evaluation episodes of t0001 reached max_episode_steps (1,000) and "
            "count with what they had earned"
        )
        assert (said in capsys.readouterr().out.replace("\n", " ")) == is_said
        assert (said[6:] in summarise(opened)) == is_said


def test_the_summary_of_a_run_without_trials_says_how_to_resume_it(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "a-20260101-000000", [], reason="interrupted")
    assert summarise(open_run("last", tmp_path)).splitlines() == [
        "interrupted: no trial has started",
        f"  run         {paths.root}",
        f"  go on       sweeper resume {run_reference(paths.root)}",
    ]


def test_parameters_are_wrapped_between_each_other() -> None:
    words = "lr=0.1 layers=[64, 64] use_kl_loss=true"
    assert fold_parameters(words, 24) == ["lr=0.1 layers=[64, 64]", "use_kl_loss=true"]
    assert fold_parameters(words, 5) == ["lr=0.1", "layers=[64, 64]", "use_kl_loss=true"]
    assert fold_parameters(words, 5, max_lines=2) == ["lr=0.1", "layers=[64, 64] use_kl_loss=true"]
    assert fold_parameters("", 80) == []


def test_numbers_in_the_ten_thousands_have_no_exponent() -> None:
    assert [format_number(value) for value in (9876.5, 10567.8, -54321.9, 999_949.0)] == [
        "9876", "10,570", "-54,320", "999,949",
    ]  # fmt: skip


def test_hyperparameters_are_shown_as_a_spec_writes_them() -> None:
    values = (True, False, None, float("inf"), -float("inf"), 0.1234567, 128, [64, 64], "relu")
    assert [format_value(value) for value in values] == [
        "true", "false", "null", ".inf", "-.inf", "0.1235", "128", "[64, 64]", "relu",
    ]  # fmt: skip


def test_the_summary_of_a_run_without_a_score_says_so(tmp_path: Path) -> None:
    make_run(tmp_path, "a-20260101-000000", ["ERROR"])
    assert "  no trial has a value of episode_return_mean" in summarise(open_run("last", tmp_path))


def test_an_evaluation_shows_what_its_interval_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    one = AgentEvaluation("champion", (1.0, 2.0, 3.0, 4.0), (1, 1, 1, 1))
    print_evaluation(Evaluation(Path("/x"), "E-v0", 4, 0, (one,)))
    out = capsys.readouterr().out
    assert re.search(r"^interval +0.4457 to 4.554 \(95 %, over episodes of one agent\)$", out, re.M)
    same = AgentEvaluation("replica_0", (2.0, 2.0), (1, 1))
    print_evaluation(Evaluation(Path("/x"), "E-v0", 2, 0, (same, same)))
    out = capsys.readouterr().out
    assert re.search(r"^interval +none: all 2 values are equal$", out, re.MULTILINE)
    assert re.search(r"^replica_0 +2$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9949, "9.9 kB"), (9950, "10 kB"),
     (999_499, "999 kB"), (999_500, "1.0 MB"), (3.14e9, "3.1 GB"), (5e15, "5000 TB")],
)  # fmt: skip
def test_sizes_are_short(size: float, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (59.4, "59s"), (60, "1m00s"), (3599.6, "1h00m"), (90061, "1d01h")],
)
def test_times_are_short(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (True, "True"), (0.0003, "0.0003"), (1e-5, "1e-05"), (475.25, "475.2"),
     (10_000, "10,000"), (9999, "9999"), (float("nan"), "nan"), (float("inf"), "inf"),
     ([64, 64], "[64, 64]"), ("relu", "relu"), (-3.0, "-3")],
)  # fmt: skip
def test_numbers_are_short(value: object, text: str) -> None:
    assert format_number(value) == text


def test_a_time_on_another_day_has_a_date() -> None:
    now = time.mktime((2026, 11, 24, 12, 0, 0, 0, 0, -1))
    assert format_clock(now + 3600, now) == "13:00"
    assert format_clock(now + 86400, now) == "Nov 25 12:00"


def test_names_are_shortened_only_if_they_stay_distinct() -> None:
    assert short_names(["a.x", "b.x", "c.y", "z"]) == ["a.x", "b.x", "y", "z"]
    assert format_parameters({"model": {"lr": 1}, "lr": 2}, is_short=True) == "model.lr=1 lr=2"


def test_counts_are_described_in_plain_words() -> None:
    counts = {"TERMINATED": 3, "PRUNED": 2, "ERROR": 1, "RUNNING": 2, "PENDING": 1, "PAUSED": 4}
    assert describe_counts(counts, 32) == "3 of 32 done, 2 pruned, 1 failed, 2 running, 4 paused"
    assert describe_counts({}, 5) == "0 of 5 done"


def test_the_names_of_runs_are_not_broken_in_a_terminal_of_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    names = ["cartpole-20260101-000000", "cartpole-20260102-000000"]
    for name in names:
        make_run(tmp_path, name)
    print_runs(describe_runs(tmp_path), str(tmp_path))
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert [line.split()[0] for line in lines[1:] if not line.startswith(" ")] == names
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_running_trials_fit_a_terminal_with_nothing_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    parameters = {f"a_long_parameter_of_the_network_{letter}": 0.0001234 for letter in "abcdef"}
    trials = tuple(
        RunningTrial(f"t000{n}", parameters, 1234.5, 1, 1_234_567, 12_345.6, deviation=123.4)
        for n in (1, 2)
    )
    print_status(RunOverview(Path("/runs/x"), "running", running=trials))
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= width
    table = lines[lines.index("") + 1 :]
    assert table[0].split() == ["trial", "score", "steps", "steps/s", "parameters"]
    assert [line.split()[:6] for line in table if line.startswith("t0")] == [
        [name, "1234", "±123.4,", "1", "frozen", "1,234,567"] for name in ("t0001", "t0002")
    ]
    said = "".join(line[table[0].index("parameters") :].strip() for line in table[1:])
    for name, value in parameters.items():
        assert said.count(f"{name}={value}") == 2


def test_status_shows_the_best_parameters_as_the_other_views_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = run_of(record(1, grad_clip=float("inf")))
    print_status(describe_run(run))
    assert "grad_clip=.inf" in capsys.readouterr().out
    assert to_json(asdict(describe_run(run)))["parameters"] == {"grad_clip": "inf"}
