"""The winner of a population as a spec."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from sweeper.evidence.schedule import WinnersSchedule, as_schedule, trace_schedule
from sweeper.results.exchanges import Exchange
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.spec import load_spec
from sweeper.states import TrialState
from sweeper.trainables.torch_backend.schedules import parse_schedule

SPEC = """
environment: CartPole-v1
algorithm: {algorithm}
backend: {backend}
stop: {{num_env_steps_sampled_lifetime: 100000}}
param_space:
  lr: {{loguniform: [1.0e-5, 1.0e-2]}}
  {more}
search: {{num_samples: 8}}
scheduler: pbt
tracking: null
"""


def trace(
    folder: Path, first: dict[str, Any], then: dict[str, Any], **spec: str
) -> tuple[WinnersSchedule | None, Path]:
    """t0001 trains with some values, t0002 copies it at 20,000 env steps."""
    names = {"algorithm": "PPO", "backend": "torch", "more": "gamma: {uniform: [0.9, 1]}", **spec}
    (folder / "spec.yaml").write_text(SPEC.format(**names))
    exchange = Exchange(
        "t0002", 1.0, 21_000, "t0001", 20_000, replaced={"lr": 9e-3}, parameters=then
    )
    results = SweepResults(
        folder,
        (
            TrialRecord("t0001", TrialState.TERMINATED, configuration=first, parameters=first),
            TrialRecord(
                "t0002",
                TrialState.TERMINATED,
                configuration={**then, "num_epochs": 4},
                parameters=then,
                exchanges=(exchange,),
            ),
        ),
    )
    found = trace_schedule(load_spec(folder / "spec.yaml"), results, "t0002")
    return found, folder / "replay.yaml"


def test_values_that_take_schedules_are_repeated_exactly(tmp_path: Path) -> None:
    found, file = trace(tmp_path, {"lr": 1e-3, "gamma": 0.9}, {"lr": 2e-3, "gamma": 0.9})
    assert found is not None
    assert found.is_exact
    assert found.ancestors == ((0, "t0001"), (20_000, "t0002"))
    file.write_text(found.to_yaml())
    spec = load_spec(file)
    assert spec.param_space == {
        "lr": [[0, 1e-3], [19_999, 1e-3], [20_000, 2e-3]],
        "gamma": 0.9,
        "num_epochs": 4,
    }
    assert (spec.scheduler.type, spec.search.num_samples, spec.name) == ("fifo", 1, "spec-schedule")
    assert "# These weights were trained by t0001, then t0002 from 20,000 env steps on." in (
        file.read_text()
    )


def test_an_infinite_value_is_repeated_as_exactly(tmp_path: Path) -> None:
    more = "vf_clip_param: {choice: [.inf, 100.0, 10.0]}"
    first, then = ({"lr": 1e-3, "vf_clip_param": one} for one in (math.inf, 10.0))
    found, file = trace(tmp_path, first, then, more=more)
    assert found is not None
    assert found.is_exact
    file.write_text(found.to_yaml())
    given = load_spec(file).param_space["vf_clip_param"]
    schedule = parse_schedule("vf_clip_param", given)
    values = [schedule.value(steps) for steps in (0, 19_998, 19_999, 20_000, 10**6)]
    assert values == [math.inf, math.inf, math.inf, 10.0, 10.0]


def test_values_that_take_none_are_named(tmp_path: Path) -> None:
    found, file = trace(tmp_path, {"lr": 1e-3, "gamma": 0.9}, {"lr": 1e-3, "gamma": 0.95})
    assert found is not None
    assert not found.is_exact
    assert found.scheduled == {}
    assert found.describe()[1:] == [
        "Not exact: gamma takes no schedule on backend torch, so training takes the last value "
        "from the start on.",
        "gamma was 0.9 at first, 0.95 from 20,000 env steps on.",
    ]
    file.write_text(found.to_yaml())
    assert load_spec(file).param_space["gamma"] == 0.95


@pytest.mark.parametrize(("backend", "is_exact"), [("torch", True), ("rllib", False)])
def test_what_takes_a_schedule_depends_on_the_backend(
    tmp_path: Path, backend: str, is_exact: bool
) -> None:
    found, _ = trace(
        tmp_path,
        {"lr": 1e-3, "clip_param": 0.2},
        {"lr": 1e-3, "clip_param": 0.3},
        backend=backend,
        more="clip_param: {uniform: [0.1, 0.4]}",
    )
    assert found is not None
    assert found.is_exact is is_exact


def test_values_that_never_changed_need_no_schedule(tmp_path: Path) -> None:
    found, _ = trace(tmp_path, {"lr": 1e-3}, {"lr": 1e-3})
    assert found is not None
    assert (found.scheduled, found.lost) == ({}, {})
    results = SweepResults(tmp_path, (TrialRecord("t0001", TrialState.TERMINATED),))
    assert trace_schedule(load_spec(tmp_path / "spec.yaml"), results, "t0001") is None


def test_a_schedule_holds_each_value_until_the_next_one() -> None:
    points = as_schedule([(0, 0.1), (1000, 0.2), (1001, 0.3), (5000, 0.1)])
    schedule = parse_schedule("lr", points)
    for env_steps, value in ((0, 0.1), (999, 0.1), (1000, 0.2), (1001, 0.3), (4999, 0.3)):
        assert schedule.value(env_steps) == pytest.approx(value)
    assert schedule.value(5000) == schedule.value(90_000) == pytest.approx(0.1)
