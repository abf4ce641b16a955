"""The search is followed in a thread, and a bad file is only a warning."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import pytest
from run_folders import make_run

from sweeper.journal import TrialEnded, read_journal
from sweeper.metrics import Objective
from sweeper.opened_run import open_run
from sweeper.paths import RunPaths
from sweeper.results.builder import ResultsBuilder
from sweeper.running.optuna_log import OptunaLog
from sweeper.search.distributions import parse_space

SPACE, _ = parse_space({"lr": {"grid_search": [0.1, 0.2, 0.3, 0.4]}})


def follow(paths: RunPaths, target: Path) -> None:
    """Follow a journal as the launch that writes it would."""
    builder = ResultsBuilder(paths.root)
    log = OptunaLog(target, SPACE, Objective(metric="episode_return_mean"), builder)
    log.start()
    for event in read_journal(paths.journal):
        builder.apply(event)
        log(event)
    log.close()


def test_the_log_is_what_the_run_says_of_itself(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "a", ["TERMINATED", "ERROR", "PRUNED", "RUNNING"])
    follow(paths, paths.optuna)
    from sweeper.search.sampling.export import StudyLog

    run = open_run(paths.root)
    study = run.to_optuna()
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "FAIL", "PRUNED", "RUNNING"]
    assert [trial.params["lr"] for trial in study.trials] == [0.1, 0.2, 0.3, 0.4]
    assert study.trials[2].intermediate_values == {500: 30.0}
    assert study.trials[0].duration == timedelta(seconds=58)
    written = paths.optuna.read_bytes()
    log = StudyLog(paths.optuna, SPACE, name="a", objective=run.objective)
    from sweeper.results.observing import observe_search

    log.open(observe_search(run.results, run.objective))
    assert paths.optuna.read_bytes() == written  # nothing was missing
    run.to_optuna(tmp_path / "copy.log")
    assert (tmp_path / "copy.log").is_file()


def test_a_file_that_can_t_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = make_run(tmp_path, "a")
    with caplog.at_level(logging.WARNING):
        follow(paths, tmp_path / "no folder" / "optuna.log")
    (said,) = [one.message for one in caplog.records if one.name.startswith("sweeper")]
    assert said.startswith("optuna.log is not written any more: ")


def test_an_end_comes_out_of_the_journal(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "a")
    assert any(isinstance(event, TrialEnded) for event in read_journal(paths.journal))
