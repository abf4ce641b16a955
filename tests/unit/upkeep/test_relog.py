"""Which agent `sweeper log` hands to MLflow, without MLflow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_folders import add_confirmation, make_run
from run_mutations import extract_run
from safetensors.numpy import load_file, save_file

from sweeper.errors import SweeperError
from sweeper.evidence.selection import Selection
from sweeper.opened_run import open_run
from sweeper.paths import CheckpointPaths, RunPaths
from sweeper.upkeep import relog
from sweeper.views.runs import summarise

CONFIRMED = {"trial_id": "t0002", "seed": 1, "env_steps": 1000, "retrained_as": "c0001"}


class Tracker:
    """Notes what it is to log."""

    logged: list[tuple[str, Path | None]]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        type(self).logged = []

    def start(self) -> None:
        pass

    def log_champion(self, selection: Selection, folder: Path | None) -> None:
        self.logged.append((selection.trial_id, folder))

    def close(self, reason: str, *, timeout_s: float) -> list[str]:
        return []


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPaths:
    monkeypatch.setattr(relog, "MlflowTracker", Tracker)
    paths = make_run(tmp_path, "a-20260101-000000", ["TERMINATED", "TERMINATED"])
    add_confirmation(paths)
    return paths


def write_agent(paths: RunPaths, **description: Any) -> None:
    paths.champion.mkdir()
    CheckpointPaths(paths.champion).agent.write_text(json.dumps(description))


def log(paths: RunPaths) -> list[str]:
    said: list[str] = []
    relog.log_run(open_run(paths.root), uri="sqlite:///x.db", say=said.append)
    return said


def test_the_champions_agent_is_logged(run: RunPaths) -> None:
    write_agent(run, **CONFIRMED)
    assert log(run) == []
    assert Tracker.logged == [("t0002", run.champion)]
    assert f"{run.champion}" in summarise(open_run(run.root))


@pytest.mark.parametrize(
    "other",
    [
        {"trial_id": "t0001"},
        {"seed": 0},
        {"env_steps": 500},
        {"retrained_as": None},
        {"retrained_as": "c0002"},
    ],
    ids=str,
)
def test_the_agent_of_an_earlier_choice_is_not_logged_as_the_champions(
    run: RunPaths, other: dict[str, Any]
) -> None:
    write_agent(run, **{**CONFIRMED, **other})
    (said,) = log(run)
    assert "holds the agent of an earlier choice, so it is not uploaded; `sweeper resume" in said
    assert Tracker.logged == [("t0002", None)]
    assert f"{run.champion}" not in summarise(open_run(run.root))


def test_a_champion_without_an_agent_is_logged_without_a_word(run: RunPaths) -> None:
    assert log(run) == []
    assert Tracker.logged == [("t0002", None)]


@pytest.fixture
def champion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a real run of the torch backend."""
    monkeypatch.setattr(relog, "MlflowTracker", Tracker)
    return RunPaths(extract_run(tmp_path)).champion


def test_a_torch_agent_that_can_act_is_logged(champion: Path) -> None:
    assert log(RunPaths(champion.parent)) == []
    assert Tracker.logged == [("t0002", champion)]


def truncate(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-100])


def empty(weights: Path) -> None:
    weights.write_bytes(b"")


def take_another_network(weights: Path) -> None:
    save_file({name: np.zeros((1, 7, 7), np.float32) for name in load_file(weights)}, weights)


@pytest.mark.parametrize("change", [truncate, empty, take_another_network])
def test_a_torch_agent_that_can_not_act_is_refused_and_the_champion_logged_without_it(
    champion: Path, change: Callable[[Path], None]
) -> None:
    change(CheckpointPaths(champion).weights)
    with pytest.raises(SweeperError) as raised:
        log(RunPaths(champion.parent))
    assert str(raised.value).startswith(
        f"MLflow: the champion is not logged as a model: {champion} holds no agent that can act: "
        "weights.safetensors is damaged or does not fit agent.json ("
    )
    assert Tracker.logged == [("t0002", None)]


def test_an_agent_of_rllib_is_left_to_the_tracker_which_loads_it(run: RunPaths) -> None:
    write_agent(run, **CONFIRMED)
    paths = CheckpointPaths(run.champion)
    for file in (paths.weights, CheckpointPaths(paths.algorithm).rllib_metadata):
        file.parent.mkdir(exist_ok=True)
        file.write_text("{}")
    relog.log_run(open_run(run.root), uri="sqlite:///x.db", trust=True)
    assert Tracker.logged == [("t0002", run.champion)]
