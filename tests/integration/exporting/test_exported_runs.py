"""The champions of real runs, carried away: played again, and their specs trained."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest
from command_line import sweeper, sweeper_here
from played_scripts import play_script

from sweeper.api import open_run
from sweeper.spec import load_spec

CONFIRMED = """
name: confirmed
environment:
  id: Pendulum-v1
  wrappers: [{TimeLimit: {max_episode_steps: 60}}, {RescaleAction: {min_action: -1, max_action: 1}}]
  normalize: {observations: true, rewards: true}
algorithm: PPO
seeds: 2
param_space:
  lr: {grid_search: [1.0e-3, 1.0e-4]}
  train_batch_size_per_learner: 200
  minibatch_size: 100
  num_epochs: 2
  vf_clip_param: .inf
  model_config: {fcnet_hiddens: [8]}
stop: {num_env_steps_sampled_lifetime: 600}
evaluation: {episodes: 4, explore: true}
selection: {finalists: 1, confirm_seeds: 2, confirm_episodes: 25, baseline: none}
tracking: null
"""
RLLIB = """
name: rl
environment: CartPole-v1
algorithm: PPO
backend: rllib
seeds: 2
param_space:
  train_batch_size_per_learner: 200
  minibatch_size: 100
  num_epochs: 2
  model_config: {fcnet_hiddens: [16]}
stop: {num_env_steps_sampled_lifetime: 400}
evaluation: {episodes: 23}
tracking: null
"""


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of a run with a confirmation."""
    folder = tmp_path_factory.mktemp("confirmed")
    (folder / "spec.yaml").write_text(CONFIRMED)
    done = sweeper("run", "spec.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_confirmed_champion_comes_to_the_return_of_every_episode(confirmed: Path) -> None:
    done = sweeper_here("export", "-o", "agent", "--json", cwd=confirmed)
    assert done.returncode == 0, done.stderr
    exported = json.loads(done.stdout)
    selection = open_run("last", confirmed / "runs").selection
    assert selection.agent is not None
    assert exported["trial_id"] == selection.agent.trial_id
    assert exported["seed"] == selection.agent.seed
    assert exported["reported"]["returns"] == list(selection.agent.returns)
    best = json.loads(sweeper_here("best", "--json", cwd=confirmed).stdout)
    assert best["evaluation"]["interval"] == exported["reported"]["interval"]
    played = play_script(confirmed / "agent")
    assert played.returncode == 0, (played.stdout, played.stderr)
    assert "25 of 25 episodes came to the same return as reported" in played.stdout
    assert "lands in the reported interval" in played.stdout


@pytest.mark.acceptance
def test_its_configuration_is_trained_again(confirmed: Path) -> None:
    done = sweeper_here("export", "--spec", "-o", "again.yaml", cwd=confirmed)
    assert done.returncode == 0, done.stderr
    assert "vf_clip_param: .inf" in (confirmed / "again.yaml").read_text()
    run = open_run("last", confirmed / "runs")
    trained = sweeper("train", "again.yaml", "storage=others", cwd=confirmed)
    assert trained.returncode == 0, trained.stderr
    (trial,) = open_run(trained.stdout.strip()).results.trials
    assert trial.configuration == run.selection.configuration
    before = run.results.trial(run.selection.trial_id)
    # The same configuration on the same seeds is the same training.
    name = "replica/evaluation/episode_return_mean"
    assert trial.last_report[name] == before.last_report[name]


@pytest.mark.acceptance
def test_an_rllib_agent_plays_its_evaluation_without_ray(tmp_path: Path) -> None:
    (tmp_path / "rl.yaml").write_text(RLLIB)
    done = sweeper("run", "rl.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = open_run(done.stdout.strip())
    trial = run.results.trial("t0001")
    assert sweeper_here("export", "--onnx", "-o", "champion", cwd=tmp_path).returncode == 0
    values = trial.last_report["replica/evaluation/episode_return_mean"]
    (checkpoint,) = (run.paths.trials / "t0001").glob("checkpoint_*")
    for seed, value in zip(trial.seeds, values, strict=True):
        place = (str(checkpoint), "--replica", str(seed), "-o", f"agent{seed}", "--json")
        exported = json.loads(sweeper_here("export", *place, cwd=tmp_path).stdout)
        assert exported["reported"]["mean"] == value
        assert (exported["algorithm"], exported["trial_id"]) == ("PPO", "t0001")
        played = play_script(tmp_path / f"agent{seed}")
        assert played.returncode == 0, (played.stdout, played.stderr)
        assert f"mean return {value:.6g} over 23 episodes" in played.stdout
        assert "lands on the reported mean" in played.stdout
    onnxruntime.InferenceSession(str(tmp_path / "champion" / "agent.onnx"))
    written = sweeper_here("export", str(checkpoint), "--spec", cwd=tmp_path)
    assert load_spec(written.stdout.strip()).param_space == trial.configuration
