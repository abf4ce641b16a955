from __future__ import annotations

import json
import logging
import os
import re
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import click
import pytest
from run_folders import make_run
from terminals import sweeper_on_a_terminal

from sweeper.cli import cli, main


class Result:
    """Exit code and output of a command."""

    def __init__(self, code: Any, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def error(self) -> str:
        """The message of a user error."""
        assert (self.code, self.out) == (2, "")
        return self.err

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Runs a command in this process, in a temporary working directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["sweeper", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return Result(end.value.code or 0, *capsys.readouterr())

    return run


# -- errors: one line, exit code 2 ----------------------------------------------------------------


def test_an_unknown_run_lists_the_last_runs(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    make_run(Path("runs"), "made-20260102-000000")
    for verb in ("results", "best", "status", "logs", "log", "ui", "clean"):
        assert call(verb, "nope", *(["--yes"] if verb == "clean" else [])).error == (
            "error: no run 'nope': give a path, a name in runs, or `last`; the last runs in runs: "
            "made-20260101-000000, made-20260102-000000\n"
        )


def test_without_any_run_the_error_says_how_to_start_one(call: Any) -> None:
    assert call("status").error == "error: no run in runs yet; start one with `sweeper run SPEC`\n"


def test_an_unknown_metric_lists_the_reported_ones(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    assert call("best", "--metric", "episode_return_maen").error == (
        "error: no trial reported 'episode_return_maen' (nearest: episode_return_mean); reported "
        "were: env_steps_per_s, episode_return_mean, num_env_steps_sampled_lifetime, "
        "time_total_s, training_iteration\n"
    )


def test_an_unreadable_journal_is_a_one_line_error(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    paths.journal.unlink()
    paths.journal.symlink_to(paths.spec)
    assert call("status", str(paths.root)).err == (
        f"error: can't read the journal {paths.journal}: it is a link to {paths.spec}, which is "
        "not followed\n"
    )


def test_a_damaged_spec_in_the_run_folder_is_a_one_line_error(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    paths.spec.write_text("name: [")
    error = call("status").error
    assert error.startswith(f"error: the run's spec can't be read: {paths.spec}:")
    assert error.count("\n") == 1


def test_status_works_without_a_readable_plan(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    paths.plan.unlink()
    assert call("status", "--json").json["trials"] == 2
    paths.plan.write_text("[]")
    assert call("status", "--json").json["trials"] == 2


def test_a_storage_that_is_a_file_is_an_error_with_its_line(call: Any) -> None:
    Path("spec.yaml").write_text(
        "environment: CartPole-v1\nalgorithm: PPO\nbackend: rllib\n"
        "stop: {training_iteration: 1}\nstorage: file/runs\n"
    )
    Path("file").write_text("")
    assert call("run", "spec.yaml", "-q").error.splitlines() == [
        f"spec.yaml:5: storage: must be a folder for runs; {Path('file').absolute()} is a file",
        "1 problem; nothing was started",
    ]


def test_a_misspelt_command_or_option_suggests_the_nearest(call: Any) -> None:
    assert call("reslts").error == (
        "error: no such command 'reslts'; did you mean one of 'best', 'results'?\n"
        "usage: sweeper [OPTIONS] COMMAND [ARGS]...\n"
        "`sweeper --help` explains it\n"
    )
    assert call("status", "--jsn").error.startswith(
        "error: no such option '--jsn'; did you mean '--json'?\n"
    )


def test_a_spec_key_given_as_an_option_is_explained(call: Any) -> None:
    for verb in ("plan", "run", "train"):
        assert call(verb, "spec.yaml", "--seeds", "3").error.splitlines() == [
            "error: no such option '--seeds'; a key of the spec is set without dashes: seeds=VALUE",
            f"usage: sweeper {verb} [OPTIONS] SPEC [KEY=VALUE]...",
            f"`sweeper {verb} --help` explains it",
        ]
    result = call("run", "spec.yaml", "--search.num-samples=3")
    assert "without dashes: search.num_samples=VALUE" in result.err
    assert "dashes" not in call("status", "--seeds", "3").err


def test_without_a_command_the_help_is_printed(call: Any) -> None:
    assert call().error.startswith("Usage: sweeper [OPTIONS] COMMAND [ARGS]...")


@pytest.mark.parametrize("verb", sorted(cli.commands))
def test_the_help_says_a_default_once(call: Any, verb: str) -> None:
    for option in re.split(r"\n  -", call(verb, "--help").out):
        assert option.count("[default:") <= 1, option


def test_a_stop_criterion_without_a_number_is_an_error_with_an_example(call: Any) -> None:
    assert call("resume", "--stop", "episode_return_mean").error == (
        "error: --stop episode_return_mean: write KEY=NUMBER, as in "
        "num_env_steps_sampled_lifetime=200000\n"
    )


def test_an_unwritable_file_is_a_one_line_error(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    assert call("results", "--parquet", "no/such/folder.parquet").error == (
        "error: no/such/folder.parquet can't be written: there is no folder no/such\n"
    )
    Path("taken").mkdir()
    error = call("results", "--parquet", "taken").error
    assert error == "error: taken can't be written: Is a directory\n"


def test_a_table_in_a_file_has_the_score_that_was_asked_for(call: Any) -> None:
    import pandas as pd

    make_run(Path("runs"), "made-20260101-000000", ["TERMINATED", "TERMINATED"])
    asked = ("--metric", "env_steps_per_s", "--mode", "min")
    call("results", "--parquet", "trials.parquet", *asked)
    printed = pd.read_csv(StringIO(call("results", "--csv", *asked).out))
    for table in (printed, pd.read_parquet("trials.parquet")):
        assert table["score"].tolist() == [25.0, 25.0]
        assert table["replicas"].tolist() == [0, 0]
    plain = pd.read_csv(StringIO(call("results", "--csv").out))
    assert plain["score"].tolist() == [10.0, 20.0]


def test_an_invalid_or_missing_tracking_uri_is_a_one_line_error(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    assert call("log", "--uri", "foo://bar").error == (
        "error: --uri: must be sqlite:///FILE, http(s)://HOST:PORT, or a database's URI; "
        "found 'foo://bar'\n"
    )
    assert call("log").error == (
        "error: made-20260101-000000 was run without tracking; give a tracking URI with --uri\n"
    )


# -- status, list ---------------------------------------------------------------------------------


def test_status_of_a_live_run_shows_its_running_trials_and_the_time_left(call: Any) -> None:
    make_run(
        Path("runs"), "made-20260101-000000", ["TERMINATED", "RUNNING"],
        reason=None, pid=os.getpid(),
    )  # fmt: skip
    status = call("status", "--json").json
    assert status["state"] == "running"
    assert status["states"] == {"TERMINATED": 1, "RUNNING": 1}
    assert (status["best"], status["score"], status["parameters"]) == ("t0002", 20.0, {"lr": 0.2})
    assert status["running"] == [
        {
            "trial_id": "t0002",
            "parameters": {"lr": 0.2},
            "score": 20.0,
            "diverged": 0,
            "env_steps": 500,
            "env_steps_per_s": 25.0,
            "of": "",
            "deviation": None,
        }
    ]
    # Two more trials of about 30 s on the other slot, while this one needs 20 s.
    assert 20 < status["left_s"] < 70
    result = call("status")
    assert "1 of 4 done, 1 running" in result.out
    assert re.search(r"left +about \S+ \(.*\d\d:\d\d\)", result.out)
    assert re.search(r"t0002 +20 +500 +25 +lr=0.2", result.out)


def test_status_of_an_ended_run_shows_no_time_left(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    status = call("status", "--json").json
    assert (status["state"], status["left_s"], status["running"]) == ("finished", None, [])
    assert re.search(r"^took +1m00s$", call("status").out, re.MULTILINE)


def test_list_includes_damaged_runs(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    paths = make_run(Path("runs"), "made-20260102-000000", ["PAUSED"], reason="interrupted")
    broken = make_run(Path("runs"), "made-20260103-000000")
    broken.spec.unlink()
    (Path("runs") / "no-run").mkdir()
    rows = call("list", "--json").json
    assert [row["state"] for row in rows] == ["finished", "interrupted", "damaged"]
    assert rows[1]["run"] == str(paths.root)
    result = call("list")
    assert re.search(r"made-20260101-000000 +finished +2/4 +1 +t0001 \(10\)", result.out)
    assert "made-20260103-000000: " in result.out


def test_markup_in_names_is_printed_literally(call: Any) -> None:
    result = call("list", "--storage", "[bold]runs")
    assert result.out == "no runs in [bold]runs\n"


def test_tables_are_not_cropped_in_a_pipe(call: Any, tmp_path: Path) -> None:
    make_run(
        Path("runs"), "a-run-with-a-rather-long-name-so-that-eighty-is-too-few-20260101-000000"
    )
    for verb in ("list", "status", "results", "logs"):
        result = call(verb)
        assert "…" not in result.out
    assert "eighty-is-too-few-20260101-000000  finished" in call("list").out


# -- logs -----------------------------------------------------------------------------------------


def test_logs_lists_all_and_shows_the_last_lines_of_failed_trials(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    result = call("logs")
    assert re.search(r"t0001 +done +\d+ B +runs/made-20260101-000000/trials/t0001/", result.out)
    assert "t0002: crashed: ValueError: no such luck" in result.out
    assert "t0002 line 30" in result.out
    assert "t0002 line 21" in result.out
    assert "t0002 line 20\n" not in result.out
    assert "t0001 line" not in result.out
    rows = call("logs", "--json").json
    assert [row["path"] for row in rows] == [
        str(paths.trial_log(trial_id)) for trial_id in ("t0001", "t0002")
    ]


def test_the_log_of_a_trial_is_printed_whole_or_its_last_lines(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    assert call("logs", "last", "t0001").out == paths.trial_log("t0001").read_text()
    assert call("logs", "last", "t0001", "-n", "2").out == "t0001 line 29\nt0001 line 30\n"
    assert call("logs", "t0001", "-n", "1").out == "t0001 line 30\n"


def test_an_unknown_trial_or_a_missing_log_is_an_error(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    assert call("logs", "last", "t0009").error == (
        "error: no trial 't0009' in made-20260101-000000; it has t0001 to t0002\n"
    )
    paths.trial_log("t0001").unlink()
    assert call("logs", "last", "t0001").error == (
        f"error: t0001 of made-20260101-000000 has no log: no file {paths.trial_log('t0001')}\n"
    )


# -- clean ----------------------------------------------------------------------------------------


def test_clean_asks_before_deleting(call: Any, tmp_path: Path) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    command = ("clean", "made-20260101-000000")
    code, result = sweeper_on_a_terminal(*command, typed="n\n", cwd=tmp_path)
    assert code == 0
    assert "Delete 1 run, " in result
    assert "nothing was deleted" in result
    assert paths.journal.is_file()
    code, result = sweeper_on_a_terminal(*command, typed="y\n", cwd=tmp_path)
    assert code == 0
    assert not paths.root.exists()
    assert "MLflow's record of them stays" in result


def test_clean_without_a_terminal_requires_yes(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    result = call("clean", "--keep", "0")
    assert result.code == 2
    assert result.err == "error: no terminal to ask on; add --yes to delete them\n"
    assert paths.journal.is_file()
    result = call("clean", "--keep", "0", "--yes")
    assert result.code == 0
    assert result.err.splitlines() == [
        f"deleted {paths.root}",
        "MLflow's record of them stays",
    ]
    assert not paths.root.exists()


def test_clean_requires_a_choice_of_runs(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    assert call("clean", "--yes").error == (
        "error: choose runs by name, --older-than 7d, --failed or --keep N "
        "(--keep 0: all); nothing was deleted\n"
    )
    assert call("clean", "--older-than", "7 parsecs", "--yes").error == (
        "error: '7 parsecs' is not an age: give a number and a unit, such as 12h, 7d or 2w\n"
    )
    assert paths.journal.is_file()


def test_clean_json_deletes_nothing(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    (row,) = call("clean", "--keep", "0", "--json").json
    assert row["run"] == str(paths.root)
    assert row["size_bytes"] > 1000
    assert paths.journal.is_file()


# -- doctor, completion, the frame ----------------------------------------------------------------


def test_doctor_reports_that_this_machine_is_fit(call: Any) -> None:
    status = call("doctor", "--quick", "--json").json
    assert status["fit"] is True
    names = {check["name"] for check in status["checks"]}
    assert {"python", "ray", "torch", "extra box2d", "GPU", "storage", "cores"} <= names
    result = call("doctor", "--quick")
    assert result.code == 0
    assert result.err == "fit\n"
    assert str(Path.cwd() / "runs") in result.out


def test_doctor_fails_if_the_storage_is_a_file(call: Any) -> None:
    Path("file").write_text("")
    result = call("doctor", "--quick", "--storage", "file")
    assert result.code == 1
    assert f"{Path.cwd() / 'file'} is a file; give a folder with storage=PATH" in result.out
    assert result.err.startswith("error: not fit for a sweep: 1 of ")


def test_no_color_disables_colours_on_a_terminal(tmp_path: Path) -> None:
    command = ("doctor", "--quick")
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
    _, result = sweeper_on_a_terminal(*command, cwd=tmp_path)
    assert colour.search(result)
    _, result = sweeper_on_a_terminal(*command, cwd=tmp_path, environment={"NO_COLOR": "1"})
    assert not colour.search(result)


def test_there_are_no_colours_in_a_pipe(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    for arguments in (["list"], ["status"], ["results"], ["logs"], ["doctor", "--quick"], ["nope"]):
        result = call(*arguments)
        assert "\x1b" not in result.out + result.err


@pytest.mark.parametrize("width", [80, 120])
def test_the_help_has_one_uncut_line_per_command(width: int) -> None:
    context = cli.make_context("sweeper", [], resilient_parsing=True, terminal_width=width)
    shown = cli.get_help(context).splitlines()
    assert max(map(len, shown)) <= width
    for name in cli.commands:
        (line,) = (line for line in shown if line.split()[:1] == [name])
        assert line.endswith(".")
        assert not line.endswith("..")


def test_every_option_of_every_command_has_help() -> None:
    for name, command in cli.commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.opts}"
            assert parameter.make_metavar(click.Context(command)) not in ("TEXT", "INTEGER RANGE")


def test_verbose_works_before_and_after_the_command(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    for arguments in (("-v", "log"), ("log", "-v"), ("--log-level", "info", "log")):
        logging.getLogger().setLevel("ERROR")
        assert call(*arguments).code == 2  # the run has no tracking
        assert logging.getLogger().level == logging.INFO
        assert logging.getLogger("sweeper").level == logging.INFO
    assert call("log").code == 2
    assert logging.getLogger().level == logging.ERROR
    assert logging.getLogger("sweeper").level == logging.WARNING
