"""What a loaded torch agent says of an observation is what its trainer's networks say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_mutations import extract_run
from safetensors.numpy import load_file, save_file
from space_envs import ACTIONS, OBSERVATIONS
from torch.distributions import Categorical, Normal

import sweeper
from sweeper.agents.observations import ObservationError, Observations
from sweeper.environments.building import describe
from sweeper.environments.identity import identify
from sweeper.environments.settings import EnvironmentSettings, NormalizeSettings
from sweeper.errors import UserError
from sweeper.evidence.evaluation import evaluate
from sweeper.journal_lines import decode_line, encode_line
from sweeper.seals import seal_folder
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.torch_backend.dqn.trainer import TorchDQNTrainer
from sweeper.trainables.torch_backend.ppo.trainer import TorchPPOTrainer

PPO = {
    "train_batch_size_per_learner": 32,
    "minibatch_size": 32,
    "num_epochs": 1,
    "model_config": {"fcnet_hiddens": [8]},
}
DQN = {
    "min_sample_timesteps_per_iteration": 32,
    "num_steps_sampled_before_learning_starts": 16,
    "train_batch_size_per_learner": 8,
    "model_config": {"fcnet_hiddens": [8]},
    "epsilon": 0.3,
}
CHOICES = ("Discrete", "Discrete from 1", "MultiDiscrete from 1")
NUMBERS = ("float32", "rank 0", "float64")


def of_actions(actions: str) -> EnvironmentSettings:
    support = str(Path(__file__).parents[2] / "support")
    return EnvironmentSettings(
        "AnySpaces-v0", kwargs={"actions": actions}, module="space_envs", search_paths=(support,)
    )


def save(
    folder: Path, environment: EnvironmentSettings, more: Mapping[str, Any], algorithm: str = "PPO"
) -> Any:
    settings = TrialSettings(algorithm, "torch", environment, {}, (3, 8))
    kind, keys = (TorchDQNTrainer, DQN) if algorithm == "DQN" else (TorchPPOTrainer, PPO)
    trainer = kind(settings, {**keys, **more})
    trainer.train()
    trainer.save(folder)
    seal_folder(folder)  # as the driver does: this user made it
    trainer.close()
    return trainer


def inputs_of(trainer: Any, observations: np.ndarray, index: int) -> torch.Tensor:
    """Of the policy's distribution, by the trainer's own normaliser and network."""
    batch = np.repeat(trainer._encoder.encode(observations)[None], 2, axis=0)
    return torch.from_numpy(trainer._networks.policy(trainer._normalise(batch))[index])


@pytest.mark.parametrize("actions", CHOICES)
def test_choices_have_the_probabilities_of_the_trainers_logits(
    tmp_path: Path, actions: str
) -> None:
    trainer = save(tmp_path, of_actions(actions), {})
    agent, space = sweeper.load_agent(tmp_path, replica=8), ACTIONS[actions]
    observations = np.random.default_rng(1).uniform(-1, 1, (40, 3)).astype(np.float32)
    counts = getattr(space, "nvec", None)
    sizes = [int(space.n)] if counts is None else counts.tolist()
    parts = torch.split(inputs_of(trainer, observations, 1), sizes, dim=1)
    expected = [Categorical(logits=part) for part in parts]
    found = agent.action_distribution(observations)
    probabilities = found.probabilities if counts is not None else (found.probabilities,)
    for one, reference in zip(probabilities, expected, strict=True):
        np.testing.assert_allclose(one, reference.probs, rtol=1e-4)
    drawn = found.sample(4)
    assert drawn.tolist() == agent.act(observations, explore=True, seed=4).tolist()
    numbers = torch.from_numpy((drawn - space.start).reshape(40, -1).astype(np.int64))
    logs = sum(one.log_prob(column) for one, column in zip(expected, numbers.T, strict=True))
    np.testing.assert_allclose(found.log_prob(drawn), logs, rtol=1e-4, atol=1e-5)
    entropy = sum(one.entropy() for one in expected)
    np.testing.assert_allclose(found.entropy(), entropy, rtol=1e-4)
    assert found.mode().tolist() == agent.act(observations).tolist()
    alone = agent.action_distribution(observations[5])
    assert alone.log_prob(drawn[5]) == pytest.approx(float(logs[5]), abs=1e-5)
    assert alone.entropy() == pytest.approx(float(entropy[5]), rel=1e-4)
    assert found.log_prob(drawn + 100).tolist() == [-np.inf] * 40


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("normalize_actions", [False, True])
@pytest.mark.parametrize("actions", NUMBERS)
def test_numbers_have_the_density_of_the_trainers_gaussian(
    tmp_path: Path, actions: str, normalize_actions: bool, free: bool
) -> None:
    more = {
        "normalize_actions": normalize_actions,
        # A small clip, so that both its ends are felt.
        "model_config": {"fcnet_hiddens": [8], "free_log_std": free, "log_std_clip_param": 0.001},
    }
    trainer = save(tmp_path, of_actions(actions), more)
    agent, space = sweeper.load_agent(tmp_path, replica=8), ACTIONS[actions]
    observations = np.random.default_rng(1).uniform(-1, 1, (2000, 3)).astype(np.float32)
    mean, log_std = inputs_of(trainer, observations, 1).chunk(2, dim=1)
    expected = Normal(mean, log_std.exp())
    found = agent.action_distribution(observations)
    np.testing.assert_allclose(found.mean.reshape(2000, -1), mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.deviation.reshape(2000, -1), log_std.exp(), rtol=1e-4)
    np.testing.assert_allclose(found.entropy(), expected.entropy().sum(1), rtol=1e-4)
    drawn = found.sample(4)
    assert drawn.tolist() == agent.act(observations, explore=True, seed=4).tolist()
    assert drawn.shape == (2000, *space.shape)
    assert drawn.dtype == space.dtype
    noise = np.random.default_rng(4).standard_normal(mean.shape, dtype=np.float32)
    own = mean + log_std.exp() * torch.from_numpy(noise)
    edges = (space.low.reshape(-1), space.high.reshape(-1))
    flat = drawn.reshape(2000, -1)
    inside = ((flat > edges[0]) & (flat < edges[1])).all(axis=1)  # others were clipped
    assert inside.sum() > 5
    logs = expected.log_prob(own).sum(1)
    np.testing.assert_allclose(found.log_prob(drawn)[inside], logs[inside], rtol=1e-3, atol=1e-3)
    alone = agent.action_distribution(observations[5])
    assert alone.log_prob(drawn[5]) == pytest.approx(found.log_prob(drawn)[5], rel=1e-3)
    assert alone.mean.shape == space.shape


def test_a_value_is_in_the_environments_rewards(tmp_path: Path) -> None:
    normalize = NormalizeSettings(observations=True, rewards=True)
    environment = EnvironmentSettings("CartPole-v1", normalize=normalize)
    trainer = save(tmp_path, environment, {})
    agent = sweeper.load_agent(tmp_path, replica=8)
    observations = np.random.default_rng(1).uniform(-1, 1, (5, 4)).astype(np.float32)
    batch = trainer._normalise(np.repeat(observations[None], 2, axis=0))
    deviation = np.sqrt(agent.normalisation["rewards.variance"])
    assert deviation != pytest.approx(1, rel=1e-3)
    expected = trainer._networks.values(batch)[1] * deviation
    np.testing.assert_allclose(agent.value(observations), expected, rtol=1e-4)
    assert agent.value(observations[2]) == pytest.approx(expected[2], rel=1e-4)
    assert isinstance(agent.value(observations[2]), float)
    with pytest.raises(UserError, match="PPO has no Q-values; DQN has"):
        agent.q_values(observations)


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("atoms", [1, 7])
def test_q_values_are_those_of_the_online_network(
    tmp_path: Path, dueling: bool, atoms: int
) -> None:
    more = {"dueling": dueling, "num_atoms": atoms, "v_min": -2.0, "v_max": 9.0}
    trainer = save(tmp_path, EnvironmentSettings("CartPole-v1"), more, "DQN")
    agent = sweeper.load_agent(tmp_path, replica=8)
    observations = np.random.default_rng(1).uniform(-1, 1, (5, 4)).astype(np.float32)
    expected = trainer._networks.values(np.repeat(observations[None], 2, axis=0))[1]
    found = agent.q_values(observations)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.argmax(found, axis=1).tolist() == agent.act(observations).tolist()
    np.testing.assert_allclose(agent.value(observations), expected.max(axis=1), rtol=1e-4)
    alone = agent.q_values(observations[3])
    np.testing.assert_allclose(alone, expected[3], rtol=1e-4, atol=1e-5)
    assert (len(alone), alone.shape) == (2, (2,))
    if atoms > 1:
        assert found.atoms.tolist() == pytest.approx(np.linspace(-2, 9, 7).tolist())
        assert alone.probabilities.shape == (2, 7)
        assert alone.probabilities.sum(axis=1).tolist() == pytest.approx([1, 1])
        np.testing.assert_allclose(alone.probabilities @ alone.atoms, alone, rtol=1e-4, atol=1e-5)
    else:
        assert found.probabilities is None
    if dueling and atoms == 1:
        centred = found.advantages - found.advantages.mean(axis=1, keepdims=True)
        np.testing.assert_allclose(centred + found.state_value[:, None], expected, rtol=1e-4)
    assert (found.state_value is None) is not dueling
    names = set(agent.weights)
    assert any(name.startswith("head.value") for name in names) is dueling
    assert agent.network.parameters == sum(array.size for array in agent.weights.values())
    # With a probability of 0.3 any of the two.
    probabilities = agent.action_distribution(observations).probabilities
    assert probabilities.max(axis=1).tolist() == pytest.approx([0.85] * 5)
    assert probabilities.argmax(axis=1).tolist() == agent.act(observations).tolist()


def test_the_network_is_a_table_and_weights_are_copies(tmp_path: Path) -> None:
    model = {"fcnet_hiddens": [8, 6], "fcnet_use_layernorm": True, "free_log_std": True}
    save(tmp_path, EnvironmentSettings("Pendulum-v1"), {"model_config": model})
    agent = sweeper.load_agent(tmp_path)
    assert agent.seed == 3
    lines = str(agent.network).splitlines()
    assert [line.split()[0] for line in lines if line[0] not in "-lt"] == [
        "encoder.policy.0", "encoder.policy.1", "encoder.value.0", "encoder.value.1",
        "head.policy.out", "head.value.out",
    ]  # fmt: skip
    assert "Linear + LayerNorm" in lines[2]
    assert lines[-1].split()[-1] == f"{sum(one.size for one in agent.weights.values()):,}"
    observation = np.zeros(3, np.float32)
    before = agent.act(observation)
    for array in agent.weights.values():
        array[:] = 5
    assert agent.act(observation) == before
    assert "PPO, torch, seed 3, Pendulum-v1" in repr(agent)


WRONG = [
    ("float32", np.zeros(4), "of shape (4,)"),
    ("float32", np.zeros((2, 3, 3)), "of shape (2, 3, 3)"),
    ("float32", np.zeros((0, 3)), "an empty batch"),
    ("float32", "word", "of type str"),
    ("float32", None, "of type NoneType"),
    ("float32", [1, [2], 3], "no array"),
    ("float32", {"a": 1}, "of type dict"),
    ("float32", [0.0, np.nan, 0.0], "holds NaN"),
    ("unbounded", [0.0, np.inf, 0.0], "holds inf"),
    ("bytes", [0, 1, 2, 3, 300], "holds 300"),
    ("bytes", [0, 1, 2, 3, -4], "holds -4"),
    ("small integers", [0, 0.5, 1], "holds 0.5"),
    ("a number", [[1.0]], "of shape (1, 1)"),
    ("Discrete from 3", 7, "holds 7"),
    ("Discrete from 3", [3, 2], "holds 2"),
    ("Discrete", 0.5, "holds 0.5"),
    ("MultiDiscrete from 1", [3, 0], "holds 3"),
    ("byte image", np.zeros((10, 10)), "of shape (10, 10)"),
    ("Tuple", (1,), "no tuple of 2"),
    ("Tuple", (1, [0, 0, 0]), "observation[1] is of shape (3,)"),
    ("Tuple", ([1, 2], [0, 0]), "some parts of the observation are batches"),
    ("Tuple", ([1, 2], [[0, 0]]), "batches of 1, 2"),
    ("Dict in an order of its own", {"z": 1}, "a, m is missing"),
    ("Dict in an order of its own", [1, 2], "of shape (2,)"),
]


@pytest.mark.parametrize(("space", "observation", "found"), WRONG)
def test_a_wrong_observation_is_named_with_what_is_wanted(
    space: str, observation: Any, found: str
) -> None:
    with pytest.raises(ObservationError) as caught:
        Observations(OBSERVATIONS[space]).batch(observation)
    assert found in str(caught.value)
    assert (
        "the agent takes one element of" in str(caught.value)
        or "equally long" in found
        or ("must be equally long" in str(caught.value))
    )


NOT_SEEN = (
    *("a number", "image", "matrix", "Binary", "rank 2", "Dict", "Text", "Sequence", "Graph"),
    "OneOf",
)
SEEN_BY_TORCH = [
    *(name for name in OBSERVATIONS if not any(word in name for word in NOT_SEEN)),
    *("Dict in an order of its own", "Tuple of a Dict"),
]


@pytest.mark.parametrize("name", SEEN_BY_TORCH)
def test_an_agent_takes_one_observation_and_a_batch_of_any_space(tmp_path: Path, name: str) -> None:
    environment = replace(
        of_actions("Discrete"), kwargs={"observations": name, "actions": "Discrete"}
    )
    trainer = save(tmp_path, environment, {})
    agent, space = sweeper.load_agent(tmp_path, replica=8), OBSERVATIONS[name]
    space.seed(3)
    items = [space.sample() for _ in range(20)]
    batch = Observations(space)._join([Observations(space).batch(one)[0] for one in items])
    actions = agent.act(batch)
    assert [agent.act(one) for one in items] == actions.tolist()
    encoded = np.repeat(trainer._encoder.encode(batch)[None], 2, axis=0)
    inputs = trainer._networks.policy(encoded)[1]
    assert actions.tolist() == inputs.argmax(axis=1).tolist()
    assert np.isfinite(agent.value(batch)).all()


def test_a_list_of_mappings_is_a_batch() -> None:
    space = OBSERVATIONS["Dict in an order of its own"]
    items = [space.sample() for _ in range(3)]
    batch, is_single = Observations(space).batch(items)
    assert not is_single
    assert batch["m"]["b"].tolist() == [one["m"]["b"] for one in items]
    with pytest.raises(ObservationError, match="is missing"):
        Observations(space).batch([items[0], {}])


@pytest.mark.parametrize("action", [[0, 1], "left", [[0]], None, [0, [1]]])
def test_an_action_of_another_shape_has_no_probability(tmp_path: Path, action: Any) -> None:
    save(tmp_path, EnvironmentSettings("CartPole-v1"), {})
    agent = sweeper.load_agent(tmp_path)
    with pytest.raises(UserError, match="its action is an array of shape"):
        agent.action_distribution(np.zeros(4)).log_prob(action)
    with pytest.raises(UserError, match=r"of a batch of 3, so its action"):
        agent.action_distribution(np.zeros((3, 4))).log_prob(action)


FOREIGN: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("a head too wide", lambda t: t.update({
        "head.policy.out.weight": np.zeros((2, 5, 8), np.float32),
        "head.policy.out.bias": np.zeros((2, 5), np.float32),
    }), "head.policy.out.bias has the shape (5,), not (2,)"),
    ("values of another network", lambda t: t.update({
        "head.value.out.weight": np.zeros((2, 1, 9), np.float32)
    }), "head.value.out.weight has the shape (1, 9), not (1, 8)"),
    ("a stranger", lambda t: t.update({"x.weight": np.zeros((2, 3), np.float32)}),
     "x.weight belongs to no part of the network"),
    ("one missing", lambda t: t.pop("encoder.value.0.bias"), "encoder.value.0.bias is missing"),
    ("NaN", lambda t: t["head.policy.out.bias"].fill(np.nan),
     "head.policy.out.bias holds NaN or an infinity"),
    ("whole numbers", lambda t: t.update({
        "encoder.policy.0.bias": np.zeros((2, 8), np.int64)
    }), "encoder.policy.0.bias holds int64"),
    ("more replicas", lambda t: t.update({
        name: np.concatenate([one, one]) for name, one in t.items()
    }), "4 replicas, not 2"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"), [one[1:] for one in FOREIGN], ids=[one[0] for one in FOREIGN]
)
def test_tensors_that_are_not_the_networks_are_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    save(tmp_path, EnvironmentSettings("CartPole-v1"), {})
    file = tmp_path / "weights.safetensors"
    tensors = {name: np.array(one) for name, one in load_file(file).items()}
    change(tensors)
    save_file(tensors, file)
    with pytest.raises(UserError) as caught:
        sweeper.load_agent(tmp_path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("version", "9", "version is '9', no number"),
        ("version", 99, "was written in format 99"),
        ("versions", [1], "versions are no mapping of texts"),
        ("algorithm", {"a": 1}, "algorithm is of another type"),
        ("network", [], "network is no mapping"),
    ],
)
def test_a_description_of_another_form_is_named(
    tmp_path: Path, key: str, value: Any, said: str
) -> None:
    save(tmp_path, EnvironmentSettings("CartPole-v1"), {})
    document = json.loads((tmp_path / "agent.json").read_text())
    (tmp_path / "agent.json").write_text(json.dumps({**document, key: value}))
    with pytest.raises(UserError) as caught:
        sweeper.load_agent(tmp_path)
    assert said in str(caught.value)


def test_it_plays_the_episodes_of_an_evaluation(tmp_path: Path) -> None:
    save(tmp_path, EnvironmentSettings("CartPole-v1"), {})
    agent = sweeper.load_agent(tmp_path, replica=8)
    for explore in (False, True):
        (reference,) = evaluate(
            str(tmp_path), "runs", episodes=5, seed=2, replica=8, explore=explore
        ).agents
        played = list(agent.play(5, 2, explore=explore))
        assert [one.episode_return for one in played] == list(reference.returns)
        assert [one.length for one in played] == list(reference.lengths)
    assert {one.length for one in agent.play(2, max_episode_steps=3)} == {3}
    with pytest.raises(UserError, match="episodes is 0; it must be at least 1"):
        next(agent.play(0))


def test_playing_refuses_another_environment_and_code_unless_it_is_accepted(
    tmp_path: Path,
) -> None:
    run = extract_run(tmp_path)
    settings = EnvironmentSettings("CartPole-v1")
    now = identify(settings, describe(settings))
    before = replace(now, packages={"gymnasium": "0.1"}).to_json()
    first, *others = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    launch, _ = decode_line(first.rstrip(b"\n"))
    launch = {key: value for key, value in launch.items() if key not in ("line", "crc")}
    changed = encode_line({**launch, "environment": before})
    (run / "journal.jsonl").write_bytes(b"".join([changed, *others]))
    (folder,) = run.glob("trials/t0002/checkpoint_*")
    agent = sweeper.load_agent(folder)
    target = tmp_path / "film.gif"
    asked = {"episodes": 1, "max_episode_steps": 3}
    for refuse in (lambda: list(agent.play(**asked)), lambda: agent.record(target, **asked)):
        with pytest.raises(UserError, match="is not the one that the run was trained in"):
            refuse()
    accepted = {**asked, "allow_changed_environment": True}
    assert [one.length for one in agent.play(**accepted)] == [3]
    assert agent.record(target, **accepted).lengths == (3,)


def test_an_agent_that_cant_play_as_asked_says_so(tmp_path: Path) -> None:
    save(tmp_path, EnvironmentSettings("CartPole-v1"), {}, "DQN")
    described = json.loads((tmp_path / "agent.json").read_text())
    del described["epsilon"]
    (tmp_path / "agent.json").write_text(json.dumps(described))
    agent = sweeper.load_agent(tmp_path)
    for wrong, said in (
        ({"explore": True}, "epsilon"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"max_episode_steps": 0}, "max_episode_steps is 0; it must be at least 1"),
    ):
        with pytest.raises(UserError, match=said):
            list(agent.play(1, **wrong))
        with pytest.raises(UserError, match=said):
            agent.record(tmp_path / "film.gif", 1, **wrong)


def test_a_checkpoint_of_a_run_gives_its_best_replica_and_a_trial_its_newest(
    tmp_path: Path,
) -> None:
    run = extract_run(tmp_path)
    opened = sweeper.open_run(run)
    trial = opened.results.trial("t0002")
    values = trial.last_report[f"replica/{opened.objective.metric}"]
    best = trial.seeds[int(np.argmax(values))]
    (folder,) = run.glob("trials/t0002/checkpoint_*")
    agent = sweeper.load_agent(folder)
    assert agent.seed == best
    other = next(seed for seed in trial.seeds if seed != best)
    assert sweeper.load_agent(folder, replica=other).seed == other
    with pytest.raises(UserError, match="no replica 99"):
        sweeper.load_agent(folder, replica=99)
    assert sweeper.load_agent(run / "trials" / "t0002").where.folder == folder


def test_an_agents_environment_is_built_only_if_its_code_is_trusted(tmp_path: Path) -> None:
    save(tmp_path, of_actions("Discrete"), {})
    assert sweeper.load_agent(tmp_path).make_env().action_space == ACTIONS["Discrete"]
    strict = sweeper.load_agent(tmp_path, trust="none")
    assert strict.act(np.zeros(3, np.float32)) in (0, 1, 2)  # which runs no code
    with pytest.raises(UserError, match=r"with --trust none nothing of (?s:.*) import space_envs"):
        strict.make_env()
    (tmp_path / "seal.json").unlink()
    with pytest.raises(UserError, match="was not made by this user"):
        sweeper.load_agent(tmp_path).make_env()
    assert sweeper.load_agent(tmp_path, trust=True).make_env() is not None
    with pytest.raises(UserError, match="trust is 'some'; it must be none, own or all"):
        sweeper.load_agent(tmp_path, trust="some").make_env()


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_a_torch_agent_is_loaded_without_torch_and_other_heavy_libraries(
    algorithm: str, tmp_path: Path
) -> None:
    save(tmp_path, EnvironmentSettings("CartPole-v1"), {}, algorithm)
    code = (
        "import sys, numpy, sweeper\n"
        f"agent = sweeper.load_agent({str(tmp_path)!r})\n"
        "agent.act(numpy.zeros(4)), agent.value(numpy.zeros(4)), str(agent.network)\n"
        "list(agent.play(2)), agent.action_distribution(numpy.zeros(4)).entropy()\n"
        "found = {'ray', 'torch', 'mlflow', 'pandas', 'optuna'} & sys.modules.keys()\n"
        "sys.exit(', '.join(found) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
