"""A spec around a preset is run for real: searched, and confirmed beside the preset itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import sweeper_here

from sweeper.planning.presets import load_presets
from sweeper.spec import load_record, load_spec

SHORT = (
    "seeds=2",
    "search.num_samples=2",
    "stop.num_env_steps_sampled_lifetime=1024",
    "evaluation={episodes: 2, every_env_steps: 1024}",
    "selection.finalists=1",
    "selection.confirm_seeds=2",
    "selection.confirm_episodes=2",
    "tracking=null",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a short form of CartPole's spec was run."""
    place = tmp_path_factory.mktemp("preset")
    for words in (("init", "CartPole-v1", "--preset"), ("run", "cartpole-ppo.yaml", "-q", *SHORT)):
        done = sweeper_here(*words, cwd=place)
        assert done.returncode == 0, done.stderr
    return place


def test_a_run_holds_its_champion_against_the_preset_and_keeps_it(folder: Path) -> None:
    (preset,) = (one for one in load_presets() if one.name == "zoo:cartpole_ppo")
    done = sweeper_here("best", "--json", cwd=folder)
    best = json.loads(done.stdout)
    assert best["verdict"] in {"better", "undecided", "worse"}
    assert best["baseline"]["name"] == preset.name
    assert len(best["baseline"]["runs"]) == 2
    theirs = best["baseline"]["configuration"]
    assert theirs.pop("vf_clip_param") == "inf"
    assert theirs == {
        key: value for key, value in preset.spec.param_space.items() if key != "vf_clip_param"
    }
    (run,) = folder.glob("runs/*/journal.jsonl")
    kept = load_spec(run.with_name("baseline.yaml"))
    assert (kept.environment, kept.param_space) == (
        preset.spec.environment,
        preset.spec.param_space,
    )
    assert "zoo:cartpole_ppo" in sweeper_here("best", cwd=folder).stdout
    assert load_record(run.with_name("spec.yaml")).selection.baseline == preset.name


def test_more_seeds_are_trained_of_what_the_run_keeps_without_trust(folder: Path) -> None:
    done = sweeper_here("confirm", "--seeds", "3", "-q", cwd=folder)
    assert done.returncode == 0, done.stderr
    best = json.loads(sweeper_here("best", "--json", cwd=folder).stdout)
    assert [len(best[name]["runs"]) for name in ("confirmation", "baseline")] == [3, 3]
