"""Two real, confirmed sweeps held against each other, and a copy of one of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import sweeper_here

import sweeper
from sweeper.evidence.statistics import probability_of_improvement

SPEC = """
name: NAME
environment: CartPole-v1
algorithm: PPO
seeds: 2
param_space:
  lr: LR
  train_batch_size_per_learner: 100
  minibatch_size: 50
  num_epochs: 1
  num_envs_per_env_runner: 2
  model_config: {fcnet_hiddens: [8]}
stop: {num_env_steps_sampled_lifetime: STEPS}
selection: {finalists: 1, confirm_seeds: 3, confirm_episodes: 4}
tracking: null
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """A working directory with two runs, the second with another lr and more env steps."""
    folder = tmp_path_factory.mktemp("comparison")
    for name, lr, steps in (("slow", "1.0e-4", "600"), ("fast", "5.0e-3", "900")):
        text = SPEC.replace("NAME", name).replace("LR", lr).replace("STEPS", steps)
        (folder / f"{name}.yaml").write_text(text)
        done = sweeper_here("run", f"{name}.yaml", "-q", cwd=folder)
        assert done.returncode == 0, done.stderr
        Path(done.stdout.strip()).rename(folder / "runs" / name)
    return folder


def compared(folder: Path, *references: str) -> dict[str, Any]:
    done = sweeper_here("compare", *references, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_real_runs_are_compared_by_what_their_confirmations_came_to(folder: Path) -> None:
    found = compared(folder, "slow", "fast/champion")
    first, second = found["runs"]
    for run, name in ((first, "slow"), (second, "fast")):
        best = json.loads(sweeper_here("best", name, "--json", cwd=folder).stdout)
        assert run["confirmation"] == best["confirmation"]
        assert (run["search"]["value"], run["name"]) == (best["score"], name)
        assert run["curve"]["stage"] == "confirmation"
        assert run["curve"]["runs"] == 3
        # Two replicas of the search, three of the finalist; nothing is searched, so no baseline.
        steps = run["curve"]["env_steps"][-1]
        assert run["cost"]["env_steps"] == 2 * steps
        assert run["cost"]["confirmation_env_steps"] == 3 * steps
        assert run["cost"]["core_hours"] > 0
        assert run["cost"]["time_s"] > 0
    (improvement,) = found["improvements"]
    values = [run["confirmation"]["runs"] for run in (second, first)]
    assert improvement["probability_of_improvement"] == probability_of_improvement(*values)
    low, high = improvement["interval"]
    expected = "better" if low > 0.5 else "worse" if high < 0.5 else "undecided"
    assert improvement["verdict"] == expected
    assert found["differences"] == [
        {"parameter": "lr", "values": [1e-4, 5e-3], "is_default": [False, False]}
    ]
    assert (
        "They were given different amounts of training: stop.num_env_steps_sampled_lifetime is 600 "
        "in A, 900 in B."
    ) in found["notes"]
    assert not any("Without a record" in note for note in found["notes"])


def test_a_copy_of_a_run_is_known_by_its_runs(folder: Path) -> None:
    shutil.copytree(folder / "runs" / "slow", folder / "elsewhere" / "copy")
    (improvement,) = compared(folder, "slow", "elsewhere/copy")["improvements"]
    assert improvement["probability_of_improvement"] is None
    assert "these are the same runs again" in improvement["reason"]


def test_a_real_run_in_another_environment_is_refused(folder: Path) -> None:
    run = sweeper.open_run("slow", folder / "runs")
    (launch,) = run.results.launches
    assert launch.environment["packages"].keys() == {"gymnasium"}
    # Another argument of the same environment, as a run in it would have recorded it.
    shutil.copytree(folder / "runs" / "fast", folder / "runs" / "changed")
    spec = folder / "runs" / "changed" / "spec.yaml"
    spec.write_text(
        spec.read_text().replace(
            "{id: CartPole-v1}", "{id: CartPole-v1, kwargs: {sutton_barto_reward: true}}"
        )
    )
    done = sweeper_here("compare", "slow", "changed", cwd=folder)
    assert done.returncode == 2
    assert done.stderr == (
        "error: these runs can't be compared: the environment's argument sutton_barto_reward is "
        "left out in slow, true in changed\n"
    )
