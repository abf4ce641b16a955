"""Agents act like RLlib's own env runner, and the champion's folder is standalone."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from rllib_agents import (
    ACTIONS,
    CASES,
    OBSERVATIONS,
    Case,
    RecordingEnv,
    build,
    scatter_weights,
    stack,
)
from tiers import leave_after

import sweeper
from sweeper.agents.champion import Champion
from sweeper.agents.reading import read_agent
from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import SweeperError, UserError
from sweeper.seals import seal_folder

pytestmark = pytest.mark.usefixtures("ray_cluster")


FAST = [
    Case("PPO", actions="multi_discrete"),
    Case("PPO", "dict", "box", flatten=True),
    Case("PPO", statistics=True),
    Case("DQN"),
    Case("SAC", actions="box"),
]
OTHERS = [case for case in CASES if case not in FAST]


@pytest.mark.parametrize("case", leave_after(len(FAST), [*FAST, *OTHERS]), ids=str)
def test_a_policy_acts_greedily_as_rllibs_env_runner(case: Case, tmp_path: Path) -> None:
    from sweeper.agents.rllib_policy import RLlibPolicy

    algorithm = build(case)
    try:
        scatter_weights(algorithm)
        if case.statistics:  # give the filter some statistics
            algorithm.env_runner.sample(num_timesteps=50, explore=True)
        checkpoint = algorithm.save_to_path(str(tmp_path / "checkpoint"))
        policy = RLlibPolicy(checkpoint)
        if case.statistics:  # keep those of the reference runner fixed
            for piece in algorithm.env_runner._env_to_module.connectors:
                if hasattr(piece, "_update_stats"):
                    piece._update_stats = False
        RecordingEnv.log.clear()
        algorithm.env_runner.sample(num_timesteps=25, explore=False, force_reset=True)
    finally:
        algorithm.stop()
    observations = [seen for seen, _ in RecordingEnv.log]
    expected = np.stack([np.asarray(action) for _, action in RecordingEnv.log])
    assert len(expected) >= 25
    assert len(np.unique(expected.reshape(len(expected), -1), axis=0)) > 1
    assert policy.observation_space == OBSERVATIONS[case.observations]
    assert policy.action_space == ACTIONS[case.actions]

    space = policy.observation_space
    actions = policy.act(stack(space, observations))
    np.testing.assert_allclose(actions, expected, rtol=1e-4, atol=1e-4)
    assert all(policy.action_space.contains(action) for action in actions)
    # The same for single observations, and for the float arrays that a served model receives.
    one = policy.act(stack(space, observations[:1]))
    np.testing.assert_allclose(one, expected[:1], rtol=1e-4, atol=1e-4)
    flat = observations
    if space.shape is None:
        flat = [gym.spaces.flatten(space, item) for item in observations]
    plain = np.stack([np.asarray(item, dtype=np.float32) for item in flat])
    assert plain.shape[1:] == policy.observation_shape
    np.testing.assert_allclose(policy.act(plain), expected, rtol=1e-4, atol=1e-4)


SAYING = [
    Case("PPO", actions="multi_discrete"),
    Case("PPO", actions="partly bounded"),
    Case("SAC", actions="box"),
    Case("PPO"),
    Case("PPO", actions="box"),
    Case("PPO", actions="box", keys={"normalize_actions": False, "clip_actions": True}),
    Case("PPO", "dict", "unbounded", flatten=True),
]


@pytest.mark.parametrize("case", leave_after(3, SAYING), ids=str)
def test_what_is_said_of_actions_is_what_rllibs_own_distribution_says(
    case: Case, tmp_path: Path
) -> None:
    import torch

    algorithm = build(case)
    try:
        scatter_weights(algorithm)
        checkpoint = algorithm.save_to_path(str(tmp_path / "checkpoint"))
    finally:
        algorithm.stop()
    agent = sweeper.load_agent(checkpoint, trust=True)
    agent.observation_space.seed(1)
    items = [agent.observation_space.sample() for _ in range(200)]
    batch = stack(agent.observation_space, items)
    found = agent.action_distribution(batch)
    drawn = found.sample(3)
    np.testing.assert_array_equal(drawn, agent.act(batch, explore=True, seed=3))
    np.testing.assert_array_equal(found.mode(), agent.act(batch))
    # RLlib's module on its own; its observations are flat.
    module = agent.policy.module
    flat = np.stack([gym.spaces.flatten(agent.observation_space, item) for item in items])
    with torch.no_grad():
        outputs = module.forward_exploration({"obs": torch.from_numpy(flat.astype(np.float32))})
        kind = module.get_exploration_action_dist_cls()
        reference = kind.from_logits(outputs["action_dist_inputs"])
    own = np.asarray(drawn)
    space = agent.action_space
    if isinstance(space, gym.spaces.Box):
        is_fitted = case.keys.get("normalize_actions", True) and case.actions == "box"
        if is_fitted:
            own = (own - space.low) / (space.high - space.low) * 2 - 1
        inside = ((drawn > space.low) & (drawn < space.high)).all(axis=1)
        assert inside.sum() > 10
    else:
        inside = np.ones(len(items), bool)
    logs = reference.logp(torch.from_numpy(own)).numpy()
    np.testing.assert_allclose(
        np.asarray(found.log_prob(drawn))[inside], logs[inside], rtol=2e-2, atol=2e-2
    )
    if case.algorithm == "SAC":
        with pytest.raises(UserError, match="no closed form"):
            found.entropy()
        with pytest.raises(UserError, match="has no value of a state"):
            agent.value(batch)
        with pytest.raises(UserError, match="has no Q-values of each action"):
            agent.q_values(batch)
    else:
        np.testing.assert_allclose(found.entropy(), reference.entropy().numpy(), rtol=1e-4)
        with torch.no_grad():
            values = module.compute_values({"obs": torch.from_numpy(flat.astype(np.float32))})
        np.testing.assert_allclose(agent.value(batch), values.numpy(), rtol=1e-4, atol=1e-5)
        assert agent.value(items[7]) == pytest.approx(float(values[7]), rel=1e-4, abs=1e-5)
    parameters = {name for name, _ in module.named_parameters()}
    assert parameters <= agent.weights.keys()
    assert agent.network.parameters == sum(one.numel() for one in module.parameters())


@pytest.mark.parametrize("keys", [{}, {"dueling": False}, {"num_atoms": 5, "v_max": 7.0}], ids=str)
def test_q_values_are_rllibs(keys: dict[str, Any], tmp_path: Path) -> None:
    import torch
    from ray.rllib.algorithms.dqn import DQNConfig

    config = DQNConfig().environment(
        RecordingEnv, env_config={"observations": "box", "actions": "discrete"}
    )
    config.training(epsilon=0.4, **keys)
    config.env_runners(num_env_runners=0).learners(num_learners=0)
    config.rl_module(model_config={"fcnet_hiddens": [16]}).debugging(seed=1, log_level="ERROR")
    algorithm = config.build_algo()
    try:
        scatter_weights(algorithm)
        checkpoint = algorithm.save_to_path(str(tmp_path / "checkpoint"))
    finally:
        algorithm.stop()
    agent = sweeper.load_agent(checkpoint, trust=True)
    observations = np.random.default_rng(0).uniform(-2, 2, (9, 3)).astype(np.float32)
    with torch.no_grad():
        expected = agent.policy.module.compute_q_values({"obs": torch.from_numpy(observations)})
    found = agent.q_values(observations)
    np.testing.assert_allclose(found, expected["qf_preds"].numpy(), rtol=1e-5, atol=1e-6)
    assert np.argmax(found, axis=1).tolist() == agent.act(observations).tolist()
    assert (found.state_value is None) is (keys == {"dueling": False})
    if "num_atoms" in keys:
        np.testing.assert_allclose(found.probabilities, expected["qf_probs"].numpy(), rtol=1e-5)
        assert found.atoms[-1] == 7
        assert found.advantages.shape == (9, 4, 5)
    elif found.state_value is not None:
        centred = found.advantages - found.advantages.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(centred + found.state_value[:, None], found, rtol=1e-4)
    probabilities = agent.action_distribution(observations[0]).probabilities
    assert sorted(probabilities.tolist()) == pytest.approx([0.1, 0.1, 0.1, 0.7])
    assert agent.algorithm == "DQN"
    state = Path(checkpoint) / "env_runner" / "state.pkl"
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    assert agent.act(observations, explore=True, seed=1).shape == (9,), "it was read before"
    damaged = sweeper.load_agent(checkpoint, trust=True)
    for explore in (
        lambda: damaged.act(observations, explore=True, seed=1),
        lambda: damaged.action_distribution(observations),
    ):
        with pytest.raises(UserError, match=r"state\.pkl does not say for how many env steps"):
            explore()


@pytest.fixture(scope="module")
def trial_checkpoint(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """A trial's checkpoint with one replica: PPO on CartPole, one tiny iteration."""
    from ray.rllib.algorithms.ppo import PPOConfig

    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    config.training(train_batch_size_per_learner=64, minibatch_size=32, num_epochs=1)
    config.rl_module(model_config={"fcnet_hiddens": [8]})
    algorithm = config.build_algo()
    algorithm.train()
    folder = tmp_path_factory.mktemp("trial") / "checkpoint_000000"
    algorithm.save_to_path(str(folder / "replica_7"))
    algorithm.stop()
    seal_folder(folder)  # as a launch does
    return folder


def champion_of(folder: Path, **more: Any) -> Champion:
    values: dict[str, Any] = {
        "trial_id": "t0003",
        "configuration": {"lr": 0.1, "grad_clip": math.inf},
        "metric": "episode_return_mean",
        "mode": "max",
        "score": 21.5,
        "env_steps": 64,
        "checkpoint": folder,
        "replica": 0,
        "seed": 7,
    }
    return Champion(**{**values, **more})


def spec() -> Any:
    from sweeper.environments.settings import EnvironmentSettings

    settings = EnvironmentSettings("CartPole-v1", kwargs={"sutton_barto_reward": False})
    return SimpleNamespace(
        backend="rllib",
        algorithm="PPO",
        environment=SimpleNamespace(settings=lambda: settings),
        evaluation=None,
    )


def export(folder: Path, destination: Path, **more: Any) -> Path:
    from sweeper.agents.champion import export_champion

    return export_champion(champion_of(folder, **more), spec(), destination)


def test_the_champions_folder_describes_the_agent(trial_checkpoint: Path, tmp_path: Path) -> None:
    folder = export(trial_checkpoint, tmp_path / "champion")
    document = json.loads(
        (folder / "agent.json").read_text(), parse_constant=lambda word: pytest.fail(word)
    )
    assert document["algorithm"] == "PPO"
    assert document["environment"]["id"] == "CartPole-v1"
    assert document["environment"]["kwargs"] == {"sutton_barto_reward": False}
    assert document["action_space"] == {"type": "Discrete", "n": 2, "start": 0}
    assert document["observation_space"]["shape"] == [4]
    assert document["configuration"] == {"lr": 0.1, "grad_clip": "inf"}
    assert (document["trial_id"], document["seed"], document["env_steps"]) == ("t0003", 7, 64)
    assert {"sweeper", "ray", "torch", "gymnasium", "python"} <= document["versions"].keys()
    assert [path.name for path in tmp_path.iterdir()] == ["champion"]


def test_the_agent_plays_its_environment(trial_checkpoint: Path, tmp_path: Path) -> None:
    from sweeper.opened_agent import load_agent

    agent = load_agent(export(trial_checkpoint, tmp_path / "champion"))
    assert agent.description["trial_id"] == "t0003"
    env = gym.make("CartPole-v1")
    observation, _ = env.reset(seed=1)
    steps = 0
    is_over = False
    while not is_over:
        action = agent.act(observation)
        assert action == agent.act_batch(observation[None])[0]
        observation, _, terminated, truncated, _ = env.step(action)
        is_over = terminated or truncated
        steps += 1
    env.close()
    assert steps >= 1


def test_a_champion_from_somebody_elses_checkpoint_needs_trust_as_that_does(
    trial_checkpoint: Path, tmp_path: Path
) -> None:
    from sweeper.opened_agent import load_agent

    theirs = shutil.copytree(trial_checkpoint, tmp_path / "checkpoint_000000")
    (theirs / "seal.json").unlink()
    champion = export(theirs, tmp_path / "champion")
    with pytest.raises(UserError, match="unpickle"):
        load_agent(champion)
    assert load_agent(champion, trust=True).act(np.zeros(4, np.float32)) in (0, 1)


def test_a_bare_checkpoint_is_an_agent_too(
    trial_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweeper.opened_agent import load_agent

    monkeypatch.chdir(trial_checkpoint.parent)
    agent = load_agent(Path(trial_checkpoint.name) / "replica_7", trust=True)
    assert agent.description == {}
    assert agent.act(np.zeros(4, np.float32)) in (0, 1)


def test_a_pickle_of_somebody_else_is_loaded_only_if_trusted(tmp_path: Path) -> None:
    from sweeper.opened_agent import load_agent

    module = tmp_path / "learner_group" / "learner" / "rl_module" / "default_policy"
    module.mkdir(parents=True)
    (tmp_path / "rllib_checkpoint.json").write_text("{}")
    (module / "class_and_ctor_args.pkl").write_bytes(pickle.dumps(Touch(tmp_path / "mark")))
    with pytest.raises(UserError, match="unpickle"):
        load_agent(tmp_path)
    assert not (tmp_path / "mark").exists()
    with pytest.raises(UserError, match="no agent in"):
        load_agent(tmp_path, trust=True)
    assert (tmp_path / "mark").exists(), "else this shows nothing"


class Touch:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_policy_with_a_memory_is_exported_and_refuses_to_act(tmp_path: Path) -> None:
    from ray.rllib.algorithms.ppo import PPOConfig

    from sweeper.opened_agent import load_agent

    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=0)
    config.rl_module(model_config={"fcnet_hiddens": [8], "use_lstm": True, "lstm_cell_size": 4})
    algorithm = config.build_algo()
    algorithm.save_to_path(str(tmp_path / "trial" / "replica_7"))
    algorithm.stop()
    folder = export(tmp_path / "trial", tmp_path / "champion")
    assert json.loads((folder / "agent.json").read_text())["action_space"]["n"] == 2
    with pytest.raises(UserError, match="has a memory"):
        load_agent(folder, trust=True)


def test_exporting_again_replaces_the_older_agent(trial_checkpoint: Path, tmp_path: Path) -> None:
    destination = tmp_path / "champion"
    export(trial_checkpoint, destination)
    (destination / "left over").touch()
    export(trial_checkpoint, destination, trial_id="t0009")
    assert json.loads((destination / "agent.json").read_text())["trial_id"] == "t0009"
    names = sorted(path.name for path in destination.iterdir())
    assert names == ["agent.json", "checkpoint", "seal.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["champion"]


def test_a_missing_checkpoint_leaves_the_older_agent(
    trial_checkpoint: Path, tmp_path: Path
) -> None:
    destination = export(trial_checkpoint, tmp_path / "champion")
    with pytest.raises(SweeperError, match="is not there"):
        export(tmp_path / "gone", destination)
    assert (destination / "agent.json").is_file()


def test_a_folder_without_an_agent_is_the_users_mistake(
    trial_checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no agent in"):
        sweeper.load_agent(tmp_path)
    with pytest.raises(UserError, match="take one of replica_7"):
        read_agent(trial_checkpoint)
    assert sweeper.load_agent(trial_checkpoint).seed == 7
    with pytest.raises(UserError, match="no replica 3"):
        sweeper.load_agent(trial_checkpoint, replica=3)


@pytest.mark.parametrize("runners", [0, 1])
def test_each_env_runner_has_the_weights_of_the_policy(runners: int, tmp_path: Path) -> None:
    from ray.rllib.algorithms.ppo import PPOConfig

    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=runners)
    config.learners(num_learners=0).rl_module(model_config={"fcnet_hiddens": [8]})
    algorithm = config.build_algo()
    try:
        scatter_weights(algorithm)
        checkpoint = algorithm.save_to_path(str(tmp_path / "checkpoint"))
    finally:
        algorithm.stop()
    agent = sweeper.load_agent(checkpoint, trust=True)
    found = agent.env_runner_weights()
    assert list(found) == list(range(runners + 1))
    for weights in found.values():  # those of the value's network are not there: it only acts
        assert weights.keys() <= agent.weights.keys()
        for name, array in weights.items():
            np.testing.assert_array_equal(array, agent.weights[name])


def test_env_runners_build_an_environment_only_if_it_is_trusted(
    trial_checkpoint: Path, tmp_path: Path
) -> None:
    agent = sweeper.load_agent(trial_checkpoint, trust=True)
    settings = EnvironmentSettings("CartPole-v1", kwargs={"log": "/a/place"})
    where = replace(agent.where, description={"environment": settings.to_json()})
    with pytest.raises(UserError, match=r"give CartPole-v1 log: .*, which may be a path"):
        replace(agent, where=where, trust="none").env_runner_weights()


def test_a_batch_of_the_wrong_shape_is_refused(trial_checkpoint: Path) -> None:
    from sweeper.agents.rllib_policy import RLlibPolicy

    policy = RLlibPolicy(trial_checkpoint / "replica_7")
    for wrong in (np.zeros(4), np.zeros((2, 3)), np.zeros((0, 4))):
        with pytest.raises(ValueError, match=r"shape|empty"):
            policy.act(wrong)


def test_the_policy_needs_neither_sweeper_nor_a_started_ray(
    trial_checkpoint: Path, tmp_path: Path
) -> None:
    import sweeper.agents.rllib_policy

    copied = tmp_path / "rllib_policy.py"
    copied.write_text(Path(sweeper.agents.rllib_policy.__file__).read_text())
    code = (
        "import sys, numpy, rllib_policy, ray\n"
        f"policy = rllib_policy.RLlibPolicy({str(trial_checkpoint / 'replica_7')!r})\n"
        "print(policy.act(numpy.zeros((2, 4), numpy.float32)).tolist())\n"
        "assert not ray.is_initialized()\n"
        "assert not any(name.split('.')[0] == 'sweeper' for name in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) in ([0, 0], [1, 1])
    assert "Deprecat" not in done.stderr
