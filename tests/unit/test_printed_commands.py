"""Commands that are shown to the user find the run, wherever its storage lies."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest
from comparable_runs import make_confirmed
from run_folders import make_run
from run_mutations import extract_run

from sweeper.compared_runs import compare_runs
from sweeper.errors import SweeperError, UserError
from sweeper.evidence.evaluation import evaluate
from sweeper.journal import read_journal
from sweeper.locks import RecordLock, run_lock
from sweeper.opened_run import open_run
from sweeper.paths import RunPaths, find_run
from sweeper.running.confirmation import refuse_confirmation
from sweeper.running.resume.extension import Extension, load_recorded_spec
from sweeper.running.resume.state import History
from sweeper.spec import dump_spec, load_spec
from sweeper.spec.foreign_files import explain_foreign_file
from sweeper.stopping import stop
from sweeper.upkeep.cleaning import choose_runs
from sweeper.upkeep.overview import describe_run
from sweeper.upkeep.relog import log_run
from sweeper.views.compare import print_comparison
from sweeper.views.runs import summarise
from sweeper.views.status import print_status
from sweeper.views.trials import print_trials

_COMMAND = re.compile(r"sweeper (?:resume|stop|results|best|logs|log|ui|confirm) [^`\n]+")
_RUN = "a-20260101-000000"
STORAGES = ("runs", "our runs/pendulum")


def _delete(paths: RunPaths) -> None:
    with run_lock(paths.lock):
        choose_runs(paths.root.parent, names=(str(paths.root),))


def _stop(paths: RunPaths) -> None:
    has_begun = threading.Event()

    def run_until_stopped() -> None:
        with run_lock(paths.lock):
            has_begun.set()
            while not paths.stop_request.exists():
                time.sleep(0.01)

    driver = threading.Thread(target=run_until_stopped)
    driver.start()
    has_begun.wait()
    stop(paths.root, say=click.echo)
    driver.join()


def _run_twice(paths: RunPaths) -> None:
    with run_lock(paths.lock), run_lock(paths.lock):
        pass


def _show(paths: RunPaths) -> None:
    opened = open_run(paths.root)
    click.echo(summarise(opened))
    print_status(describe_run(opened))


def _list_many_failures(paths: RunPaths) -> None:
    opened = open_run(paths.root)
    failed = replace(opened.results.trials[1], error="E: x")
    print_trials(replace(opened, results=replace(opened.results, trials=(failed,) * 30)))


def _open_confirmation(paths: RunPaths) -> None:
    _ = open_run(paths.root).retrained


def _confirm_too_early(paths: RunPaths) -> None:
    opened = open_run(paths.root)
    assert opened.spec is not None
    refuse_confirmation(opened.spec.plan(), opened.results, Extension(), is_over=False)


def _read_strictly(paths: RunPaths) -> None:
    lines = paths.journal.read_bytes().splitlines(keepends=True)
    paths.journal.write_bytes(b"".join([lines[0], b"{\n", *lines[1:]]))
    list(read_journal(paths.journal))


def _change_spec(paths: RunPaths) -> None:
    spec = load_spec(paths.spec)
    recorded = dump_spec(spec.model_copy(update={"name": "other"}))
    load_recorded_spec(paths, History(specs=(recorded,)))


def _lose_plan(paths: RunPaths) -> None:
    paths.plan.unlink()
    describe_run(open_run(paths.root))


def _compare(paths: RunPaths) -> None:
    other = make_confirmed(paths.root.parent, "b-20260102-000000")
    print_comparison(compare_runs(other.root, paths.root))


def _log_beside_another(paths: RunPaths) -> None:
    lock = RecordLock(paths.journal)
    assert lock.take()
    try:
        log_run(open_run(paths.root), uri="sqlite:///our db/mlflow.db", experiment="my experiment")
    finally:
        lock.release()


def _evaluate(paths: RunPaths) -> None:
    evaluate(str(paths.root), "runs")


_ACTIONS: dict[str, Callable[[RunPaths], object]] = {
    "a refused deletion": _delete,
    "a stop": _stop,
    "a lock": _run_twice,
    "a summary and a status": _show,
    "a table of failures": _list_many_failures,
    "a confirmation that is not there": _open_confirmation,
    "a confirmation before the end": _confirm_too_early,
    "a damaged journal": _read_strictly,
    "a changed spec": _change_spec,
    "a lost plan": _lose_plan,
    "an evaluation without an agent": _evaluate,
    "a comparison without a confirmation": _compare,
    "a record beside another": _log_beside_another,
}


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("action", _ACTIONS)
def test_a_command_that_is_shown_finds_the_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    storage: str,
    action: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sweeper.locks._PATIENCE_S", 0.0)
    paths = make_run(
        tmp_path / storage, _RUN, ["TERMINATED", "ERROR", "PAUSED"], reason="interrupted"
    )
    said = ""
    try:
        _ACTIONS[action](paths)
    except SweeperError as error:
        said = str(error)
    commands = _COMMAND.findall("\n".join((said, caplog.text, capsys.readouterr().out)))
    assert commands
    for command in commands:
        reference = shlex.split(command)[2]
        assert find_run(reference, Path("runs")) == paths
        assert reference == (_RUN if storage == "runs" else f"{storage}/{_RUN}")


@pytest.mark.parametrize("storage", STORAGES)
def test_a_checkpoint_that_is_shown_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run = extract_run(tmp_path / storage)
    path = run / "champion" / "agent.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "trial_id": "t0001"}))
    checkpoint = run / "trials" / "t0002" / "checkpoint_000008"

    def say_stale() -> list[str]:
        with pytest.raises(UserError, match="the agent of an earlier choice") as refused:
            evaluate(str(run), "runs")
        _, command, _ = str(refused.value).split("`")
        return shlex.split(command)

    assert say_stale() == ["sweeper", "evaluate", str(checkpoint), "--replica", "1"]
    shutil.rmtree(checkpoint)
    *words, reference = say_stale()
    assert words == ["sweeper", "best"]
    assert find_run(reference, Path("runs")) == RunPaths(run)


@pytest.mark.parametrize(
    ("env", "shown"),
    [
        ("CartPole-v1", "CartPole-v1"),
        ("my envs:Maze; x", "my envs:Maze; x"),
        ("a\nb", "ENVIRONMENT"),
        ("x" * 500, "ENVIRONMENT"),
        (7, "ENVIRONMENT"),
    ],
)
def test_another_program_s_environment_is_one_word_of_the_command(env: object, shown: str) -> None:
    found = explain_foreign_file({"mine": {"run": "PPO", "env": env, "stop": {}}})
    assert found is not None
    _, command, _ = found[1].split("`")
    assert shlex.split(command) == ["sweeper", "init", shown]
