"""Atari as most people play it, from YAML alone; needs the extra atari."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest

from sweeper.planning.plan import build_plan
from sweeper.planning.settings import trial_settings
from sweeper.planning.starter import make_starter
from sweeper.search.configuration import merge_configuration
from sweeper.spec import load_spec
from sweeper.trainables.trainers import trainer_class

pytest.importorskip("ale_py")
pytest.importorskip("cv2")

PRESET = Path(__file__).parents[3] / "configs" / "zoo" / "pong_ppo.yaml"
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


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_the_presets_can_be_planned_and_searched_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    spec = load_spec(PRESET.with_name(f"pong_{algorithm.lower()}.yaml"))
    assert build_plan(spec).trials == 1
    monkeypatch.chdir(tmp_path)
    text = make_starter("ALE/Pong-v5", algorithm, from_preset=True).text
    assert max(map(len, text.splitlines())) <= 100
    Path("around.yaml").write_text(text, "utf-8")
    around = build_plan(load_spec(Path("around.yaml")))
    assert (around.trials, around.warnings) == (16, ())
    found, theirs = around.spec.environment, spec.environment
    assert found.model_dump(exclude={"search_paths"}) == theirs.model_dump(exclude={"search_paths"})
    evaluations = [one.spec.evaluation for one in (around, build_plan(spec))]
    assert evaluations[0] == evaluations[1]
    assert evaluations[0] is not None
    assert evaluations[0].explore


def test_the_dqn_preset_plans_its_replay_of_single_frames() -> None:
    """Five replicas of 100,000 steps fit into 4 GB: 7,056 bytes a step instead of 28,224."""
    spec = load_spec(PRESET.with_name("pong_dqn.yaml"))
    plan = build_plan(spec.model_copy(update={"seeds": (0, 1, 2, 3, 4)}))
    assert plan.replay is not None
    assert plan.replay.observation_shape == (84, 84)
    assert 3.5e9 < plan.replay.replay_bytes < 3.6e9
