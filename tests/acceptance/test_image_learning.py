"""The slow tier: a small game is learned from its images to the end, from YAML alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import sweeper

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200)]

SUPPORT = Path(__file__).parents[1] / "support"
SPEC = """
environment:
  id: image_tasks/Catch-v0
  module: image_tasks
  wrappers: [{FrameStackObservation: {stack_size: 2}}]
  normalize: {images: true}
seeds: 3
tracking: null
selection: {finalists: 0}
"""
PPO = """
algorithm: PPO
param_space:
  lr: 1.0e-3
  gamma: 0.97
  lambda_: 0.95
  clip_param: 0.2
  use_kl_loss: false
  vf_clip_param: .inf
  entropy_coeff: 0.01
  grad_clip: 0.5
  num_epochs: 4
  num_envs_per_env_runner: 8
  train_batch_size_per_learner: 512
  minibatch_size: 128
  model_config:
    conv_filters: [[16, 3, 1], [32, 3, 2], [64, 5, 1, valid]]
    conv_activation: relu
    vf_share_layers: true
stop: {num_env_steps_sampled_lifetime: 150000}
evaluation: {episodes: 50}
"""
DQN = """
algorithm: DQN
param_space:
  lr: 5.0e-4
  gamma: 0.97
  train_batch_size_per_learner: 32
  rollout_fragment_length: 4
  training_intensity: 8
  num_steps_sampled_before_learning_starts: 1000
  target_network_update_freq: 1000
  epsilon: [[0, 1.0], [10000, 0.02]]
  grad_clip: 10.0
  replay_buffer_config: {type: EpisodeReplayBuffer, capacity: 20000}
  model_config:
    conv_filters: [[16, 3, 1], [32, 3, 2], [64, 5, 1, valid]]
    conv_activation: relu
stop: {num_env_steps_sampled_lifetime: 40000}
evaluation: {episodes: 50}
"""


@pytest.mark.parametrize("training", [PPO, DQN], ids=["PPO", "DQN"])
def test_a_game_is_learned_from_its_images(
    training: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(SUPPORT)  # where the game's module is
    path = tmp_path / "catch.yaml"
    path.write_text(SPEC + training, "utf-8")
    run = sweeper.run(path, [f"storage={tmp_path / 'runs'}"])
    (trial,) = run.trials.to_dict("records")
    assert trial["score"] > 9, "of ten balls; a policy that can't see the ball move gets about 0"
    replicas = run.replicas.groupby("seed").last()
    assert len(replicas) == 3
