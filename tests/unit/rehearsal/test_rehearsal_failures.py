"""What goes wrong in a rehearsal is an error of one line, or a warning if the sweep can go on."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from test_forecast import PROBE, plan_of

from sweeper.errors import RunError, UserError
from sweeper.planning import feasibility
from sweeper.rehearsal.measurements import Rehearsal, read_result
from sweeper.rehearsal.process import rehearse_plan

MEASURED = {
    **asdict(PROBE),
    "metrics": ["episode_return_mean", "learner/entropy", "learner/policy_loss"],
    "has_learned": True,
}
REFUSED = {
    "parameters": {"lr": 0.5},
    "doing": "building",
    "error": "minibatch_size is more than the train batch",
    "place": None,
    "is_its_own": True,
}
CRASHED = {**REFUSED, "doing": "training", "error": "OSError: gone", "is_its_own": False}


@pytest.fixture(autouse=True)
def _a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feasibility, "usable_cores", lambda: 4)
    monkeypatch.chdir(tmp_path)


def read(*probes: Mapping[str, Any], overrides: tuple[str, ...] = ()) -> Rehearsal:
    times = {"start_s": 5.0, "workers_s": 4.0, "end_s": 1.0, "memory_bytes": 10**9}
    result = {"probes": list(probes), **times}
    return read_result(result, plan_of(*overrides), concurrent=2, seconds=10.0)


def test_a_rehearsal_without_problems_has_no_warnings() -> None:
    rehearsal = read(MEASURED, MEASURED)
    assert rehearsal.probes == (PROBE, PROBE)
    assert rehearsal.warnings == ()


def test_a_refused_configuration_is_a_warning() -> None:
    rehearsal = read(MEASURED, REFUSED)
    assert rehearsal.probes == (PROBE,)
    assert rehearsal.warnings == (
        "1 of 2 rehearsed configurations failed, as some of the sweep's will: while building with "
        "lr=0.5: minibatch_size is more than the train batch",
    )


def test_the_rehearsal_fails_if_all_configurations_are_refused() -> None:
    with pytest.raises(RunError, match=r"^the rehearsal failed while building with lr=0.5: mini"):
        read(REFUSED, REFUSED)


def test_the_rehearsal_fails_if_an_environment_fails_once() -> None:
    place = {**CRASHED, "place": "/home/me/envs.py:12"}
    with pytest.raises(RunError, match=r"while training with lr=0.5: OSError: gone \(/home/me/env"):
        read(MEASURED, place)


def test_a_metric_that_no_trial_reports_is_a_user_error() -> None:
    nothing = {**MEASURED, "value": None}
    judged_by = ("algorithm=IMPALA", "backend=rllib", "selection.metric=learner/entropie")
    with pytest.raises(UserError) as caught:
        read(nothing, overrides=judged_by)
    assert str(caught.value) == (
        "no trial reports selection.metric learner/entropie; there are learner/entropy, "
        "learner/policy_loss; did you mean learner/entropy?"
    )


def test_a_return_without_a_finished_episode_is_a_warning() -> None:
    rehearsal = read({**MEASURED, "value": None})
    assert rehearsal.warnings == (
        "episode_return_mean has no value after the rehearsal's 5,000 env steps a replica: it "
        "needs a finished episode (one may take 500 steps); a trial goes on to 100,000",
    )


def test_a_rehearsal_without_an_update_is_a_warning() -> None:
    (warning,) = read({**MEASURED, "has_learned": False}).warnings
    assert warning.startswith("the rehearsal was too short for an update")


def test_a_silent_rehearsal_is_ended_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.raises(RunError) as caught:
        rehearse_plan(plan_of(), 0.01, patience_s=0.05)
    assert str(caught.value).startswith("the rehearsal was silent for 0s while starting")
    assert list(temporary.iterdir()) == []


def test_other_output_of_the_process_is_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = b'{"doing": "mischief"}\n{"result": {}}\n{"error": "made up"}\n{no JSON\n\xff\n'
    (tmp_path / "sitecustomize.py").write_text(
        f"import os\nos.write(1, {said!r})\nos.write(2, b'caf\\xe9 is closed\\n')\nos._exit(3)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RunError) as caught:
        rehearse_plan(plan_of(), 0.01)
    assert str(caught.value) == "the rehearsal ended while starting Ray: caf\ufffd is closed"
