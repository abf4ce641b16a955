from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import sweeper_here
from run_folders import make_run

from sweeper.cli import cli
from sweeper.cli.completion import SHELLS, completion_script


def complete(words: str, cwd: Path) -> list[str]:
    """The kind and value of each candidate that bash gets for an input line."""
    shell = {
        "_SWEEPER_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - (not words.endswith(" "))),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shell.items():
            patch.setenv(name, value)
        done = sweeper_here(cwd=cwd)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_run(tmp_path / "runs", "a-20260101-000000")
    make_run(tmp_path / "runs", "b-20260102-000000")
    make_run(tmp_path / "other", "c-20260103-000000")
    (tmp_path / "configs").mkdir()
    for name in ("one.yaml", "two.yml", "notes.txt"):
        (tmp_path / "configs" / name).write_text("")
    (tmp_path / "spec.yaml").write_text("")
    return tmp_path


def test_runs_are_completed_newest_first_after_last(folder: Path) -> None:
    assert complete("sweeper status ", folder) == [
        "plain,last", "plain,b-20260102-000000", "plain,a-20260101-000000",
    ]  # fmt: skip
    assert complete("sweeper results a", folder) == ["plain,a-20260101-000000"]
    assert complete("sweeper clean a-20260101-000000 b", folder) == ["plain,b-20260102-000000"]


def test_runs_are_completed_from_the_given_storage(folder: Path) -> None:
    assert complete("sweeper logs --storage other ", folder) == [
        "plain,last", "plain,c-20260103-000000",
    ]  # fmt: skip
    assert complete("sweeper logs --storage nowhere ", folder) == []


def test_a_path_is_left_to_the_shell(folder: Path) -> None:
    assert complete("sweeper status ./ru", folder) == ["dir,./ru"]


def test_specs_are_completed_with_yaml_files(folder: Path) -> None:
    assert complete("sweeper run configs/", folder) == [
        "plain,configs/one.yaml", "plain,configs/two.yml",
    ]  # fmt: skip
    assert complete("sweeper plan sp", folder) == ["plain,spec.yaml"]
    # If a folder matches, the shell completes files itself.
    assert complete("sweeper run ", folder) == ["file,"]


def test_commands_and_options_are_completed(folder: Path) -> None:
    assert complete("sweeper res", folder)[0] == "plain,results"
    assert "plain,--metric" in complete("sweeper best --", folder)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_accepts_its_script(shell: str, tmp_path: Path) -> None:
    script = completion_script(cli, shell)
    assert f"_SWEEPER_COMPLETE={shell}_complete" in script
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} here")
    file = tmp_path / "script"
    file.write_text(script)
    assert subprocess.run([program, "-n", str(file)], capture_output=True).stderr == b""


def test_fish_shows_whole_descriptions(folder: Path) -> None:
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("no fish here")
    program = folder / "bin" / "sweeper"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom sweeper.cli import main\nmain()\n")
    program.chmod(0o755)
    (folder / "script").write_text(completion_script(cli, "fish"))
    done = subprocess.run(
        [fish, "--no-config", "-c", "source script; complete --do-complete 'sweeper stat'"],
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    verb = cli.commands["status"]
    assert "," in verb.get_short_help_str(), "this test needs a comma"
    assert done.stdout.splitlines() == [f"status\t{verb.get_short_help_str()}"]
