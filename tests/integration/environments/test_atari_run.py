"""Atari as most people play it, from YAML alone; needs the extra atari."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest

from sweeper.planning.plan import build_plan
from sweeper.planning.settings import trial_settings
from sweeper.search.configuration import merge_configuration
from sweeper.spec import load_spec
from sweeper.trainables.trainers import trainer_class

pytest.importorskip("ale_py")
pytest.importorskip("cv2")

PRESET = Path(__file__).parents[3] / "configs" / "atari" / "pong_ppo.yaml"
SPEC = """
environment:
  id: ALE/Pong-v5
  module: ale_py
  kwargs: {frameskip: 1}
  wrappers: [AtariPreprocessing, {FrameStackObservation: {stack_size: 4}}]
seeds: 1
stop: {num_env_steps_sampled_lifetime: 512}
"""
FILTERS = "model_config: {conv_filters: [[8, 8, 8], [8, 4, 4]]}"
PPO = "train_batch_size_per_learner: 128, minibatch_size: 64, num_epochs: 1"
DQN = (
    "train_batch_size_per_learner: 16, num_steps_sampled_before_learning_starts: 64, "
    "min_sample_timesteps_per_iteration: 128, replay_buffer_config: {capacity: 500}"
)


@pytest.fixture(scope="module", autouse=True)
def _forgotten_games() -> Iterator[None]:
    """Other tests expect messages that name no Atari game."""
    yield
    for name in [one for one, spec in gymnasium.registry.items() if "ale_py" in str(spec)]:
        del gymnasium.registry[name]


@pytest.mark.parametrize("backend", ["torch", "rllib"])
@pytest.mark.parametrize(("algorithm", "space"), [("PPO", PPO), ("DQN", DQN)])
def test_pong_is_planned_and_trained(
    tmp_path: Path, ray_cluster: None, backend: str, algorithm: str, space: str
) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(
        f"{SPEC}backend: {backend}\nalgorithm: {algorithm}\nparam_space: {{{space}, {FILTERS}}}\n",
        "utf-8",
    )
    settings = trial_settings(build_plan(load_spec(path)))
    trainer = trainer_class(settings)(settings, merge_configuration(settings.constants, {}))
    try:
        (progress,) = trainer.train()
        assert progress.env_steps >= 128
        assert progress.learner
        assert not progress.diverged
    finally:
        trainer.close()


def test_the_preset_can_be_planned() -> None:
    assert build_plan(load_spec(PRESET)).trials == 4
