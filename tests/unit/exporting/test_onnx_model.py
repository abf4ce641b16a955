"""An ONNX model answers in onnxruntime what the agent answers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from command_line import sweeper_here
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array
from run_mutations import extract_run
from space_envs import ACTIONS, OBSERVATIONS

import sweeper
from sweeper.agents.torch_policy import TorchPolicy
from sweeper.environments.settings import EnvironmentSettings, NormalizeSettings
from sweeper.errors import SweeperError, UserError
from sweeper.exporting.export import export_agent
from sweeper.exporting.onnx_file import write_onnx
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.torch_backend.dqn.trainer import TorchDQNTrainer
from sweeper.trainables.torch_backend.ppo.trainer import TorchPPOTrainer

SUPPORT = str(Path(__file__).parents[2] / "support")
PPO = {"train_batch_size_per_learner": 32, "minibatch_size": 32, "num_epochs": 1}
DQN = {
    "min_sample_timesteps_per_iteration": 32,
    "num_steps_sampled_before_learning_starts": 16,
    "train_batch_size_per_learner": 8,
}
SMALL = {"fcnet_hiddens": [8]}
# Algorithm, observations, actions, what else is set, and the type and shape of what goes in.
CASES: list[tuple[str, str, str, dict[str, Any], str]] = [
    ("PPO", "float64", "Discrete from -2, int32", {"model_config": SMALL}, "double[batch, 3]"),
    (
        "PPO",
        "byte image, channels first",
        "MultiDiscrete from 1",
        {"model_config": {"conv_filters": [[4, 3, 2]], "vf_share_layers": True}},
        "uint8[batch, 3, 10, 10]",
    ),
    (
        "PPO",
        "Tuple of a Dict",
        "each bounded otherwise",
        {"model_config": {**SMALL, "fcnet_use_layernorm": True, "head_fcnet_hiddens": [4]}},
        "float[batch, 9]",
    ),
    (
        "PPO",
        "Discrete from 3",
        "float16",
        {"model_config": {**SMALL, "free_log_std": True, "log_std_clip_param": 0.001}},
        "int64[batch]",
    ),
    (
        "DQN",
        "MultiDiscrete from 1",
        "Discrete from 1",
        {"model_config": SMALL, "num_atoms": 7, "v_min": -2.0, "v_max": 9.0},
        "int64[batch, 2]",
    ),
    ("DQN", "counts", "Discrete", {"model_config": SMALL, "dueling": False}, "uint16[batch, 3]"),
]


def train(
    folder: Path, environment: EnvironmentSettings, algorithm: str, more: dict[str, Any]
) -> Any:
    settings = TrialSettings(algorithm, "torch", environment, {}, (3,))
    kind, keys = (TorchDQNTrainer, DQN) if algorithm == "DQN" else (TorchPPOTrainer, PPO)
    trainer = kind(settings, {**keys, **more})
    trainer.train()
    trainer.save(folder)
    trainer.close()
    return sweeper.load_agent(folder)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case[:3]))
def test_its_answers_are_the_agent_s(tmp_path: Path, case: Any) -> None:
    algorithm, observations, actions, more, form = case
    environment = EnvironmentSettings(
        "AnySpaces-v0",
        kwargs={"observations": observations, "actions": actions},
        module="space_envs",
        search_paths=(SUPPORT,),
    )
    agent = train(tmp_path, environment, algorithm, more)
    model = write_onnx(agent.policy, agent.observation_space, tmp_path / "agent.onnx")
    assert model.inputs == {"observations": form}
    opset = onnx.load(tmp_path / "agent.onnx").opset_import[0]
    assert opset.version == model.opset
    space = OBSERVATIONS[observations]
    space.seed(11)
    items = [space.sample() for _ in range(50)]
    structured = concatenate(space, items, create_empty_array(space, 50))
    batch = structured
    if space.shape is None:
        batch = np.stack([spaces.flatten(space, item) for item in items]).astype(np.float32)
    session = onnxruntime.InferenceSession(str(tmp_path / "agent.onnx"))
    found = dict(zip(model.outputs, session.run(None, {"observations": batch}), strict=True))
    acted = agent.policy.act(structured)
    assert found["actions"].dtype == acted.dtype == ACTIONS[actions].dtype
    tolerance = 1e-2 if acted.dtype == np.float16 else 1e-4
    np.testing.assert_allclose(found["actions"], acted, rtol=tolerance, atol=1e-3)
    np.testing.assert_allclose(found["value"], agent.value(structured), rtol=1e-3, atol=1e-5)
    if algorithm == "DQN":
        q_values = agent.q_values(structured)
        np.testing.assert_allclose(found["q_values"], q_values, rtol=1e-3, atol=1e-5)
        if "num_atoms" in more:
            np.testing.assert_allclose(
                found["return_probabilities"], q_values.probabilities, rtol=1e-3, atol=1e-5
            )
        return
    distribution = agent.action_distribution(structured)
    if "mean" in found:
        size = found["mean"].shape[1]
        for name in ("mean", "deviation"):
            expected = getattr(distribution, name).reshape(-1, size)
            np.testing.assert_allclose(found[name], expected, rtol=1e-3, atol=1e-4)
        return
    parts = distribution.probabilities
    expected = np.concatenate(parts, axis=1) if isinstance(parts, list | tuple) else parts
    np.testing.assert_allclose(found["probabilities"], expected, rtol=1e-3, atol=1e-5)


def test_it_normalises_observations_and_values_as_the_agent_does(tmp_path: Path) -> None:
    normalize = NormalizeSettings(observations=True, rewards=True)
    environment = EnvironmentSettings("CartPole-v1", normalize=normalize)
    agent = train(tmp_path, environment, "PPO", {"model_config": SMALL})
    write_onnx(agent.policy, agent.observation_space, tmp_path / "agent.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "agent.onnx"))
    batch = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    batch[0] = 1e6  # clipped
    (actions, value) = session.run(["actions", "value"], {"observations": batch})
    assert actions.tolist() == agent.act(batch).tolist()
    np.testing.assert_allclose(value, agent.value(batch), rtol=1e-4)


def test_a_model_that_acts_otherwise_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = train(tmp_path, EnvironmentSettings("CartPole-v1"), "PPO", {"model_config": SMALL})
    act = TorchPolicy.act
    monkeypatch.setattr(TorchPolicy, "act", lambda *given: 1 - act(*given))
    with pytest.raises(SweeperError, match="is not kept: in onnxruntime its actions differ"):
        write_onnx(agent.policy, agent.observation_space, tmp_path / "agent.onnx")
    assert not (tmp_path / "agent.onnx").exists()


def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = sweeper.load_agent(extract_run(tmp_path))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError) as caught:
        export_agent(agent, tmp_path / "agent", onnx=True)
    assert "--onnx needs onnxruntime, which is not installed: " in str(caught.value)
    assert "[onnx]" in str(caught.value)
    assert not (tmp_path / "agent").exists()


def test_the_verb_writes_it_and_says_what_it_takes(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")
    done = sweeper_here("export", str(run), "--onnx", "-o", "agent", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ONNX      agent.onnx, opset 18: actions, logits, probabilities, value" in done.stdout
    readme = (tmp_path / "agent" / "README.md").read_text()
    assert "| in | `observations` | float[batch, 4] |" in readme
    assert "| out | `actions` | int64[batch] |" in readme
    session = onnxruntime.InferenceSession(str(tmp_path / "agent" / "agent.onnx"))
    actions = session.run(["actions"], {"observations": np.zeros((1, 4), np.float32)})[0]
    agent = sweeper.load_agent(tmp_path / "agent")
    assert actions[0] == agent.act(np.zeros(4, np.float32))
