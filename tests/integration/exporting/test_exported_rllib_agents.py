"""RLlib's agents act the same without Ray, or are refused with what stands in the way."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from command_line import sweeper_here
from played_scripts import play_script
from rllib_agents import CASES, Case, build, scatter_weights
from run_mutations import extract_run
from tiers import leave_after

import sweeper
from sweeper.agents.torch_policy import TorchPolicy
from sweeper.errors import UserError
from sweeper.exporting.conversion import InconvertibleError, check_conversion
from sweeper.exporting.export import export_agent
from sweeper.seals import seal_folder

pytestmark = pytest.mark.usefixtures("ray_cluster")

FAST = [
    Case("PPO", "dict", "box", flatten=True),
    Case("DQN"),
    Case("SAC", actions="box"),
    Case("PPO", "image"),
]
CONVERTED = [
    *FAST,
    *(case for case in CASES if not case.statistics and case not in FAST),
    Case("SAC"),
    Case("DQN", "order", flatten=True),
    Case("SAC", "dict", "box", flatten=True),
]
NETWORKS = [
    ("PPO", {"fcnet_hiddens": [8], "vf_share_layers": True, "fcnet_use_layernorm": True}, {}),
    ("PPO", {"fcnet_hiddens": [8, 6], "head_fcnet_hiddens": [4], "free_log_std": True}, {}),
    ("PPO", {"fcnet_hiddens": [8], "log_std_clip_param": 0.01, "fcnet_activation": "silu"}, {}),
    ("DQN", {"fcnet_hiddens": [8]}, {"dueling": False}),
    ("DQN", {"fcnet_hiddens": [8]}, {"num_atoms": 5, "v_min": -3.0, "v_max": 4.0}),
]


def load(folder: Path, case: Case, change: Any = lambda config: None) -> Any:
    """Build an algorithm, save it, and load the checkpoint as an agent of ours."""
    algorithm = build(case, change)
    try:
        scatter_weights(algorithm)
        algorithm.save_to_path(str(folder / "checkpoint"))
    finally:
        algorithm.stop()
    seal_folder(folder / "checkpoint")
    return sweeper.load_agent(folder / "checkpoint")


def compare(agent: Any, folder: Path) -> Any:
    """The exported agent, after it was held against the original once more, on other samples."""
    exported = export_agent(agent, folder)
    assert exported.description["converted_from"] == "rllib"
    # A bare checkpoint does not say which environment it acts in.
    assert exported.needs[0].startswith("The checkpoint does not say which environment")
    assert "play.py" not in exported.files
    policy = TorchPolicy(folder)
    space = agent.observation_space
    space.seed(5)
    items = [space.sample() for _ in range(30)]
    for item in items:
        np.testing.assert_allclose(
            np.asarray(agent.act(item), np.float64),
            np.asarray(sweeper.load_agent(folder).act(item), np.float64),
            rtol=1e-3,
            atol=1e-3,
        )
    return policy


@pytest.mark.parametrize("case", leave_after(len(FAST), CONVERTED), ids=str)
def test_a_converted_agent_acts_as_rllib_s(case: Case, tmp_path: Path) -> None:
    agent = load(tmp_path, case)
    policy = compare(agent, tmp_path / "agent")
    # What they draw from is the same, so what they draw is distributed alike.
    space = agent.observation_space
    space.seed(9)
    observation = space.sample()
    first = agent.action_distribution(observation)
    second = sweeper.load_agent(tmp_path / "agent").action_distribution(observation)
    drawn = first.sample(3)
    assert second.log_prob(drawn) == pytest.approx(first.log_prob(drawn), abs=1e-3)
    assert policy.description["seeds"] == [None]
    assert policy.description["action_space"]["type"] in ("Box", "Discrete", "MultiDiscrete")


@pytest.mark.parametrize(("algorithm", "network", "keys"), leave_after(1, NETWORKS))
def test_every_network_of_rllib_s_is_converted_layer_by_layer(
    tmp_path: Path, algorithm: str, network: dict[str, Any], keys: dict[str, Any]
) -> None:
    def change(config: Any) -> None:
        config.rl_module(model_config=network)
        config.training(**keys)

    case = Case(algorithm, actions="box" if "log_std" in str(network) else "discrete")
    agent = load(tmp_path, case, change)
    compare(agent, tmp_path / "agent")
    again = sweeper.load_agent(tmp_path / "agent")
    observation = agent.observation_space.sample()
    assert again.value(observation) == pytest.approx(agent.value(observation), rel=1e-3, abs=1e-4)
    if algorithm == "DQN":
        np.testing.assert_allclose(
            again.q_values(observation), agent.q_values(observation), rtol=1e-3, atol=1e-4
        )
        assert again.description["epsilon"] == 1.0  # it was not trained yet


def test_sac_samples_squashed_numbers_within_the_range_of_rllib_s_deviations(
    tmp_path: Path,
) -> None:
    from ray.rllib.utils.numpy import MAX_LOG_NN_OUTPUT, MIN_LOG_NN_OUTPUT

    agent = load(tmp_path, Case("SAC", actions="box"))
    exported = export_agent(agent, tmp_path / "agent")
    found = exported.description["network"]["log_std_range"]
    assert found == [MIN_LOG_NN_OUTPUT, MAX_LOG_NN_OUTPUT]
    policy, space = TorchPolicy(tmp_path / "agent"), agent.action_space
    observation = np.array([[1.9, -1.9, 1.0]], np.float32)
    batch = np.repeat(observation, 4000, axis=0)
    ours = policy.act(batch, np.random.default_rng(1))
    theirs = agent.policy.act(batch, np.random.default_rng(1))
    assert all(space.contains(action) for action in ours[:50])
    width = space.high - space.low
    np.testing.assert_allclose(ours.mean(axis=0) / width, theirs.mean(axis=0) / width, atol=0.04)
    np.testing.assert_allclose(ours.std(axis=0) / width, theirs.std(axis=0) / width, atol=0.04)
    with pytest.raises(UserError, match="SAC has no value of a state"):
        sweeper.load_agent(tmp_path / "agent").value(observation[0])


def test_what_has_no_counterpart_is_refused(tmp_path: Path) -> None:
    agent = load(tmp_path, Case("PPO", statistics=True))
    with pytest.raises(UserError) as caught:
        export_agent(agent, tmp_path / "agent")
    assert "can't act without Ray: its observations or actions pass MeanStdFilter; its RLlib" in (
        str(caught.value)
    )
    assert "loads in plain RLlib, with Algorithm.from_checkpoint" in str(caught.value)
    assert not (tmp_path / "agent").exists()


def test_a_module_of_somebody_s_own_is_refused(tmp_path: Path) -> None:
    from own_modules import OwnModule
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    def change(config: Any) -> None:
        config.rl_module(rl_module_spec=RLModuleSpec(module_class=OwnModule))

    agent = load(tmp_path, Case("PPO"), change)
    with pytest.raises(UserError, match="its RLModule, OwnModule, is none of RLlib's own"):
        export_agent(agent, tmp_path / "agent")


def test_an_agent_that_acts_otherwise_is_not_written(tmp_path: Path) -> None:
    agent = load(tmp_path, Case("PPO"))
    export_agent(agent, tmp_path / "agent")
    other = TorchPolicy(tmp_path / "agent")
    for tensor in other.tensors.values():
        tensor += 0.1
    with pytest.raises(InconvertibleError, match="distribution differ from RLlib's"):
        check_conversion(agent.policy, other, agent.observation_space)
    asked = SimpleNamespace(**{
        name: getattr(agent.policy, name)
        for name in ("distribution", "values", "q_values", "observation_shape")
    }, act=lambda batch: 1 - agent.policy.act(batch))  # fmt: skip
    with pytest.raises(InconvertibleError, match="acts otherwise than RLlib's"):
        check_conversion(asked, TorchPolicy(tmp_path / "agent"), agent.observation_space)


@pytest.mark.parametrize("name", leave_after(1, ["rllib-ppo", "rllib-dqn"]))
def test_an_earlier_version_s_champion_is_exported_if_it_is_trusted(
    tmp_path: Path, name: str
) -> None:
    run = extract_run(tmp_path / "runs", name)
    refused = sweeper_here("export", str(run), "-o", "agent", cwd=tmp_path)
    assert refused.returncode == 2
    assert "unpickle" in refused.stderr
    done = sweeper_here("export", str(run), "-o", "agent", "--trust", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    exported = json.loads(done.stdout)
    assert (exported["algorithm"], exported["trained_by"]) == (name[6:].upper(), "rllib")
    played = play_script(tmp_path / "agent")
    assert played.returncode == 0, (played.stdout, played.stderr)
    assert exported["reported"] is not None
    assert sweeper.load_agent(tmp_path / "agent").algorithm == exported["algorithm"]
