"""Images are learned from wherever their channels are, or refused with a remedy that works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dqn_tasks
import image_tasks  # noqa: F401  registers its environment
import numpy as np
import ppo_tasks
import pytest
from gymnasium import spaces

from sweeper.agents.torch_policy import TorchPolicy
from sweeper.environments.building import build_env
from sweeper.environments.settings import (
    EnvironmentBuildError,
    EnvironmentSettings,
    WrapperSettings,
)
from sweeper.environments.spaces import build_observation_encoder, has_channels_first
from sweeper.errors import SpecError
from sweeper.planning.plan import build_plan
from sweeper.spec import load_spec

PANELS = "image_tasks/Panels-v0"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 84, 84), True),
        ((3, 210, 160), True),
        ((84, 84, 4), False),
        ((10, 10, 10), False),
        ((10, 10, 12), False),
        ((7, 7, 3), False),
        ((84, 84), False),
        ((4, 84, 84, 3), False),
    ],
)
def test_the_first_axis_holds_the_channels_if_it_is_the_smallest(
    shape: tuple[int, ...], expected: bool
) -> None:
    assert has_channels_first(shape) is expected


def test_encoding_moves_the_channels_without_copying() -> None:
    encoder = build_observation_encoder(spaces.Box(0, 255, (2, 5, 7), np.uint8))
    batch = np.arange(3 * 2 * 5 * 7, dtype=np.uint8).reshape(3, 2, 5, 7)
    encoded = encoder.encode(batch)
    assert encoder.shape == (5, 7, 2)
    assert encoded.dtype == np.uint8
    assert np.array_equal(encoded, np.moveaxis(batch, 1, -1))
    assert np.shares_memory(encoded, batch)


PPO = {"model_config": {"conv_filters": [[4, 4, 2], [8, 3, 2]]}, "lr": 1e-2}
DQN = {**PPO, "min_sample_timesteps_per_iteration": 120, "train_batch_size_per_learner": 16}


def returns_of(tasks: Any, layout: str, iterations: int, **kwargs: Any) -> list[list[float]]:
    settings = tasks.settings_of(PANELS, seeds=(0, 1), layout=layout, **kwargs)
    trainer = tasks.build_trainer(settings, **(PPO if tasks is ppo_tasks else DQN))
    try:
        rows = [trainer.train() for _ in range(iterations)]
        return [list(row[replica].episode_returns) for replica in (0, 1) for row in rows]
    finally:
        trainer.close()


@pytest.mark.parametrize("tasks", [ppo_tasks, dqn_tasks], ids=["PPO", "DQN"])
def test_training_is_the_same_wherever_the_channels_are(tasks: Any) -> None:
    first = returns_of(tasks, "chw", 2)
    assert first == returns_of(tasks, "hwc", 2)
    assert any(first)


def test_floats_are_moved_too() -> None:
    first = returns_of(ppo_tasks, "chw", 1, dtype="float32")
    assert first == returns_of(ppo_tasks, "hwc", 1, dtype="float32")


def test_an_agent_takes_images_as_its_environment_gives_them(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 4, (20, 10, 10, 3)).astype(np.uint8)
    actions = []
    for layout, batch in (("hwc", pictures), ("chw", pictures.transpose(0, 3, 1, 2))):
        trainer = ppo_tasks.build_trainer(ppo_tasks.settings_of(PANELS, layout=layout), **PPO)
        trainer.train()
        (tmp_path / layout).mkdir()
        trainer.save(tmp_path / layout)
        trainer.close()
        policy = TorchPolicy(tmp_path / layout)
        assert policy.observation_shape == batch.shape[1:]
        actions.append(policy.act(batch).tolist())
    assert actions[0] == actions[1]
    assert len(set(actions[0])) == 2


# --- what is neither a vector nor an image ---------------------------------------------------


def spec_of(folder: Path, environment: str, **lines: str) -> Path:
    path = folder / "spec.yaml"
    given = {"environment": environment, "algorithm": "PPO", "stop": "{training_iteration: 3}"}
    path.write_text("".join(f"{key}: {value}\n" for key, value in {**given, **lines}.items()))
    return path


def refusal_of(folder: Path, environment: str, **lines: str) -> str:
    with pytest.raises(SpecError) as raised:
        build_plan(load_spec(spec_of(folder, environment, **lines)))
    (problem,) = raised.value.problems
    return str(problem)


@pytest.mark.parametrize(
    ("layout", "wrappers", "named"),
    [
        ("hw", "[{ReshapeObservation: {shape: [10, 10, 1]}}]", "same"),
        ("shwc", "[FlattenObservation]", "same"),
        # Stacked colour images: the remedy stands before the stack.
        (
            "hwc",
            "[GrayscaleObservation, {FrameStackObservation: {stack_size: 4}}]",
            "GrayscaleObservation before FrameStackObservation",
        ),
    ],
)
def test_the_remedy_for_a_shape_is_accepted(
    tmp_path: Path, layout: str, wrappers: str, named: str
) -> None:
    bare = {"hwc": ", wrappers: [{FrameStackObservation: {stack_size: 4}}]"}.get(layout, "")
    refused = refusal_of(tmp_path, f"{{id: {PANELS}, kwargs: {{layout: {layout}}}{bare}}}")
    assert (f"wrappers: {wrappers}" if named == "same" else named) in refused
    mended = f"{{id: {PANELS}, kwargs: {{layout: {layout}}}, wrappers: {wrappers}}}"
    assert build_plan(load_spec(spec_of(tmp_path, mended))).trials == 1


def test_images_that_can_not_be_resized_are_not_told_to_be(tmp_path: Path) -> None:
    wrappers = "[{ReshapeObservation: {shape: [3, 20, 5]}}]"
    refused = refusal_of(tmp_path, f"{{id: {PANELS}, wrappers: {wrappers}}}")
    assert "images of 20 x 5 have no default filters" in refused
    assert "96 x 96; make a vector of them (wrappers: [FlattenObservation])" in refused


def test_preprocessing_for_atari_says_how_to_switch_frame_skipping_off() -> None:
    pytest.importorskip("cv2")
    settings = EnvironmentSettings(PANELS, wrappers=(WrapperSettings("AtariPreprocessing"),))
    with pytest.raises(EnvironmentBuildError, match=r"environment\.kwargs: \{frameskip: 1\}"):
        build_env(settings)
