from __future__ import annotations

import json
import logging
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from run_folders import make_run
from terminals import run_on_a_terminal

from sweeper.cli import cli, main

SWEEPER = [sys.executable, "-m", "sweeper"]


class Said:
    """What a call came to."""

    def __init__(self, code: Any, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """The command line in a working directory of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["sweeper", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return Said(end.value.code or 0, *capsys.readouterr())

    return run


# -- errors: one line, exit code 2 ----------------------------------------------------------------


def test_a_run_that_does_not_exist_is_answered_with_those_that_do(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    make_run(Path("runs"), "made-20260102-000000")
    for verb in ("results", "best", "status", "logs", "log", "ui", "clean"):
        said = call(verb, "nope", *(["--yes"] if verb == "clean" else []))
        assert (said.code, said.out) == (2, "")
        assert said.err == (
            "error: no run 'nope': give a path, a name in runs, or `last`; the last runs in runs: "
            "made-20260101-000000, made-20260102-000000\n"
        )


def test_without_any_run_the_answer_says_how_to_make_one(call: Any) -> None:
    said = call("status")
    assert said.code == 2
    assert said.err == "error: no run in runs yet; start one with `sweeper run SPEC`\n"


def test_an_unknown_metric_is_answered_with_the_known_ones(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    said = call("best", "--metric", "episode_return_maen")
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        "error: no trial reported 'episode_return_maen' (nearest: episode_return_mean); reported "
        "were: env_steps_per_s, episode_return_mean, num_env_steps_sampled_lifetime, "
        "time_total_s, training_iteration\n"
    )


def test_a_journal_that_can_not_be_read_is_an_error_in_one_line(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    paths.journal.unlink()
    paths.journal.symlink_to(paths.root)  # a folder: not even root can read it
    said = call("status", str(paths.root))
    assert said.code == 2
    assert said.err.startswith(f"error: no run '{paths.root}'")


def test_a_damaged_journal_is_told_of_in_one_line(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    lines = paths.journal.read_bytes().split(b"\n")
    lines[2] = b"\x00\xff damaged"
    paths.journal.write_bytes(b"\n".join(lines))
    done = subprocess.run([*SWEEPER, "status"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == (
        f"WARNING sweeper.journal: {paths.journal}:3: damaged line in the middle of the journal: "
        "skipped, its event is missing\n"
    )


def test_a_run_whose_own_spec_is_damaged_says_so(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    paths.spec.write_text("name: [")
    said = call("status")
    assert said.code == 2
    assert said.err.startswith(f"error: the run's spec can't be read: {paths.spec}:")
    assert said.err.count("\n") == 1


def test_a_run_without_a_plan_is_described_all_the_same(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    paths.plan.unlink()
    assert call("status", "--json").json["trials"] == 2
    paths.plan.write_text("[]")
    assert call("status", "--json").json["trials"] == 2


def test_storage_that_can_not_be_written_is_an_error_in_one_line(call: Any) -> None:
    Path("spec.yaml").write_text(
        "environment: CartPole-v1\nalgorithm: PPO\nbackend: rllib\n"
        "stop: {training_iteration: 1}\nstorage: file/runs\n"
    )
    Path("file").write_text("")
    said = call("run", "spec.yaml", "-q")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines() == [
        f"spec.yaml:5: storage: must be a folder for runs; {Path('file').absolute()} is a file",
        "1 problem; nothing was started",
    ]


def test_a_misspelt_verb_or_option_is_answered_with_the_nearest(call: Any) -> None:
    said = call("reslts")
    assert said.code == 2
    assert said.err == (
        "error: no such command 'reslts'; did you mean one of 'best', 'results'?\n"
        "usage: sweeper [OPTIONS] COMMAND [ARGS]...\n"
        "`sweeper --help` explains it\n"
    )
    said = call("status", "--jsn")
    assert said.code == 2
    assert said.err.startswith("error: no such option '--jsn'; did you mean '--json'?\n")


def test_a_key_of_the_spec_written_as_an_option_is_explained(call: Any) -> None:
    for verb in ("plan", "run", "train"):
        said = call(verb, "spec.yaml", "--seeds", "3")
        assert said.code == 2
        assert said.err.splitlines() == [
            "error: no such option '--seeds'; a key of the spec is set without dashes: seeds=VALUE",
            f"usage: sweeper {verb} [OPTIONS] SPEC [KEY=VALUE]...",
            f"`sweeper {verb} --help` explains it",
        ]
    said = call("run", "spec.yaml", "--search.num-samples=3")
    assert "without dashes: search.num_samples=VALUE" in said.err
    assert "dashes" not in call("status", "--seeds", "3").err


def test_without_a_verb_the_help_is_there(call: Any) -> None:
    said = call()
    assert said.code == 2
    assert said.err.startswith("Usage: sweeper [OPTIONS] COMMAND [ARGS]...")


def test_a_criterion_without_a_number_is_answered_with_one(call: Any) -> None:
    said = call("resume", "--stop", "episode_return_mean")
    assert said.code == 2
    assert said.err == (
        "error: --stop episode_return_mean: write KEY=NUMBER, as in "
        "num_env_steps_sampled_lifetime=200000\n"
    )


def test_a_file_that_can_not_be_written_is_an_error_in_one_line(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    said = call("results", "--parquet", "no/such/folder.parquet")
    assert said.code == 2
    assert said.err == (
        "error: no/such/folder.parquet can't be written: there is no folder no/such\n"
    )
    Path("taken").mkdir()
    said = call("results", "--parquet", "taken")
    assert said.code == 2
    assert said.err == "error: taken can't be written: Is a directory\n"


def test_a_tracking_uri_that_is_none_is_an_error_in_one_line(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    said = call("log", "--uri", "foo://bar")
    assert said.code == 2
    assert said.err == (
        "error: --uri: must be sqlite:///FILE, http(s)://HOST:PORT, or a database's URI; "
        "found 'foo://bar'\n"
    )
    said = call("log")
    assert said.code == 2
    assert said.err == (
        "error: made-20260101-000000 was run without tracking; say where to with --uri\n"
    )


# -- status, list ---------------------------------------------------------------------------------


def test_status_of_a_live_run_says_what_it_is_doing_and_when_it_will_end(call: Any) -> None:
    make_run(
        Path("runs"), "made-20260101-000000", ["TERMINATED", "RUNNING"],
        reason=None, pid=os.getpid(),
    )  # fmt: skip
    told = call("status", "--json").json
    assert told["state"] == "running"
    assert told["states"] == {"TERMINATED": 1, "RUNNING": 1}
    assert (told["best"], told["score"], told["parameters"]) == ("t0002", 20.0, {"lr": 0.2})
    assert told["running"] == [
        {
            "trial_id": "t0002",
            "parameters": {"lr": 0.2},
            "score": 20.0,
            "env_steps": 500,
            "env_steps_per_s": 25.0,
        }
    ]
    # Two more trials of about 30 s on the other slot, while this one needs 20 s.
    assert 20 < told["left_s"] < 70
    said = call("status")
    assert "1 of 4 done, 1 running" in said.out
    assert re.search(r"left +about \S+ \(.*\d\d:\d\d\)", said.out)
    assert re.search(r"t0002 +20 +500 +25 +lr=0.2", said.out)


def test_status_of_a_run_that_is_over_estimates_nothing(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    told = call("status", "--json").json
    assert (told["state"], told["left_s"], told["running"]) == ("finished", None, [])
    assert re.search(r"^took +1m00s$", call("status").out, re.MULTILINE)


def test_list_shows_every_run_also_one_that_is_damaged(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    paths = make_run(Path("runs"), "made-20260102-000000", ["PAUSED"], reason="interrupted")
    broken = make_run(Path("runs"), "made-20260103-000000")
    broken.spec.unlink()
    (Path("runs") / "no-run").mkdir()
    rows = call("list", "--json").json
    assert [row["state"] for row in rows] == ["finished", "interrupted", "damaged"]
    assert rows[1]["run"] == str(paths.root)
    said = call("list")
    assert re.search(r"made-20260101-000000 +finished +2/4 +1 +t0001 \(10\)", said.out)
    assert "made-20260103-000000: " in said.out


def test_names_that_look_like_markup_are_shown_as_they_are(call: Any) -> None:
    said = call("list", "--storage", "[bold]runs")
    assert said.out == "no runs in [bold]runs\n"


def test_a_table_in_a_pipe_is_not_cut(call: Any, tmp_path: Path) -> None:
    make_run(
        Path("runs"), "a-run-with-a-rather-long-name-so-that-eighty-is-too-few-20260101-000000"
    )
    for verb in ("list", "status", "results", "logs"):
        said = call(verb)
        assert "…" not in said.out
    assert "eighty-is-too-few-20260101-000000  finished" in call("list").out


# -- logs -----------------------------------------------------------------------------------------


def test_logs_shows_which_there_are_and_the_ends_of_failed_ones(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    said = call("logs")
    assert re.search(r"t0001 +done +\d+ B +runs/made-20260101-000000/trials/t0001/", said.out)
    assert "t0002: crashed: ValueError: no such luck" in said.out
    assert "t0002 line 30" in said.out
    assert "t0002 line 21" in said.out
    assert "t0002 line 20\n" not in said.out
    assert "t0001 line" not in said.out
    rows = call("logs", "--json").json
    assert [row["path"] for row in rows] == [
        str(paths.trial_log(trial_id)) for trial_id in ("t0001", "t0002")
    ]


def test_logs_of_a_trial_are_printed_whole_or_from_the_end(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    done = subprocess.run([*SWEEPER, "logs", "last", "t0001"], capture_output=True)
    assert done.stdout == paths.trial_log("t0001").read_bytes()
    assert call("logs", "last", "t0001", "-n", "2").out == "t0001 line 29\nt0001 line 30\n"
    assert call("logs", "t0001", "-n", "1").out == "t0001 line 30\n"


def test_a_trial_that_is_not_there_or_has_no_log_is_answered(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    said = call("logs", "last", "t0009")
    assert said.code == 2
    assert said.err == ("error: no trial 't0009' in made-20260101-000000; it has t0001 to t0002\n")
    paths.trial_log("t0001").unlink()
    said = call("logs", "last", "t0001")
    assert said.code == 2
    assert said.err == (
        f"error: t0001 of made-20260101-000000 has no log: no file {paths.trial_log('t0001')}\n"
    )


# -- clean ----------------------------------------------------------------------------------------


def test_clean_asks_before_it_deletes(call: Any, tmp_path: Path) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    command = [*SWEEPER, "clean", "made-20260101-000000"]
    code, said = run_on_a_terminal(command, typed="n\n", cwd=tmp_path)
    assert code == 0
    assert "Delete 1 run, " in said
    assert "nothing was deleted" in said
    assert paths.journal.is_file()
    code, said = run_on_a_terminal(command, typed="y\n", cwd=tmp_path)
    assert code == 0
    assert not paths.root.exists()
    assert "MLflow's record of them was left as it is" in said


def test_clean_without_a_terminal_wants_yes(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    said = call("clean", "--keep", "0")
    assert said.code == 2
    assert said.err == "error: there is no terminal to ask on; add --yes to delete them\n"
    assert paths.journal.is_file()
    said = call("clean", "--keep", "0", "--yes")
    assert said.code == 0
    assert said.err.splitlines() == [
        f"deleted {paths.root}",
        "MLflow's record of them was left as it is",
    ]
    assert not paths.root.exists()


def test_clean_wants_to_know_which_runs(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    said = call("clean", "--yes")
    assert said.code == 2
    assert said.err == (
        "error: say which runs: their names, --older-than 7d, --failed or --keep N "
        "(--keep 0: all); nothing was deleted\n"
    )
    said = call("clean", "--older-than", "7 parsecs", "--yes")
    assert said.code == 2
    assert said.err == (
        "error: '7 parsecs' is no age: give a number and a unit, as 12h, 7d or 2w\n"
    )
    assert paths.journal.is_file()


def test_clean_json_only_looks(call: Any) -> None:
    paths = make_run(Path("runs"), "made-20260101-000000")
    (row,) = call("clean", "--keep", "0", "--json").json
    assert row["run"] == str(paths.root)
    assert row["size_bytes"] > 1000
    assert paths.journal.is_file()


# -- doctor, completion, the frame ----------------------------------------------------------------


def test_doctor_says_that_this_machine_is_fit(call: Any) -> None:
    told = call("doctor", "--quick", "--json").json
    assert told["fit"] is True
    names = {check["name"] for check in told["checks"]}
    assert {"python", "ray", "torch", "extra box2d", "GPU", "storage", "cores"} <= names
    said = call("doctor", "--quick")
    assert said.code == 0
    assert said.err == "fit\n"
    assert str(Path.cwd() / "runs") in said.out


def test_doctor_fails_where_nothing_can_be_written(call: Any) -> None:
    Path("file").write_text("")
    said = call("doctor", "--quick", "--storage", "file")
    assert said.code == 1
    assert f"{Path.cwd() / 'file'} is a file; give a folder with storage=PATH" in said.out
    assert said.err.startswith("error: not fit for a sweep: 1 of ")


def test_no_color_takes_the_colours_away_on_a_terminal(tmp_path: Path) -> None:
    command = [*SWEEPER, "doctor", "--quick"]
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
    _, said = run_on_a_terminal(command, cwd=tmp_path)
    assert colour.search(said)
    _, said = run_on_a_terminal(command, cwd=tmp_path, environment={"NO_COLOR": "1"})
    assert not colour.search(said)


def test_nothing_is_coloured_in_a_pipe(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    for arguments in (["list"], ["status"], ["results"], ["logs"], ["doctor", "--quick"], ["nope"]):
        said = call(*arguments)
        assert "\x1b" not in said.out + said.err


@pytest.mark.parametrize("width", [80, 120])
def test_the_help_shows_every_verb_in_a_line_of_its_own_uncut(width: int) -> None:
    context = cli.make_context("sweeper", [], resilient_parsing=True, terminal_width=width)
    shown = cli.get_help(context).splitlines()
    assert max(map(len, shown)) <= width
    for name in cli.commands:
        (line,) = (line for line in shown if line.split()[:1] == [name])
        assert line.endswith(".")
        assert not line.endswith("..")
    assert "Others:" not in shown


def test_every_option_of_every_verb_is_explained() -> None:
    for name, command in cli.commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.opts}"
            assert parameter.make_metavar(click.Context(command)) not in ("TEXT", "INTEGER RANGE")


def test_ray_can_be_let_to_speak_before_the_verb_and_after_it(call: Any) -> None:
    make_run(Path("runs"), "made-20260101-000000")
    level = logging.getLogger().level
    try:
        for arguments in (("-v", "log"), ("log", "-v"), ("--log-level", "info", "log")):
            logging.getLogger().setLevel("ERROR")
            assert call(*arguments).code == 2  # it was run without tracking
            assert logging.getLogger().level == logging.INFO
            assert logging.getLogger("sweeper").level == logging.INFO
        assert call("log").code == 2
        assert logging.getLogger().level == logging.ERROR
        assert logging.getLogger("sweeper").level == logging.WARNING
    finally:
        logging.getLogger().setLevel(level)
        logging.getLogger("sweeper").setLevel(logging.NOTSET)


def test_help_is_there_at_once_and_knows_nothing_heavy() -> None:
    code = (
        "import sys, sweeper.cli\n"
        "sweeper.cli.cli.main(['--help'], standalone_mode=False)\n"
        "heavy = {'ray', 'torch', 'mlflow', 'pandas', 'numpy', 'gymnasium', 'rich'}\n"
        "sys.exit(str(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else 0)\n"
    )
    took = []
    for _ in range(3):
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Processor time, for other tests may be running beside this one.
        took.append(ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime)
        assert done.returncode == 0, done.stderr
    assert min(took) < 0.3


def test_a_verb_that_is_told_to_end_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "hold.py").write_text("import time\nprint('held')\ntime.sleep(30)\n")
    (tmp_path / "spec.yaml").write_text(
        "environment: {id: Held-v0, module: hold}\nalgorithm: PPO\nstop: {training_iteration: 1}\n"
    )
    with subprocess.Popen(
        [*SWEEPER, "run", "spec.yaml"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "held\n"  # from the import, in the middle of the plan
        process.terminate()
        assert process.wait() == 130
        assert process.stderr.read() == "\ninterrupted\n"
    assert not (tmp_path / "runs").exists()


def test_whoever_stops_reading_gets_no_traceback(tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "made-20260101-000000")
    done = subprocess.run(
        ["sh", "-c", '"$0" -m sweeper results --json | head -c 1', sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
