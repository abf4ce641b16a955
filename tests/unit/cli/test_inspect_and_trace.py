"""`sweeper inspect` and `sweeper trace` on real runs and agents."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
import pytest
from command_line import sweeper_here
from run_mutations import extract_run

import sweeper
from sweeper.agents.episodes import Step
from sweeper.agents.traces import trace_rows, write_trace
from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import UserError
from sweeper.evidence.evaluation import evaluate
from sweeper.seals import seal_folder
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.torch_backend.dqn.trainer import TorchDQNTrainer
from sweeper.trainables.torch_backend.ppo.trainer import TorchPPOTrainer
from sweeper.views.agents import name_output


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run whose champion is there, and with agents of other spaces beside it."""
    place = tmp_path_factory.mktemp("place")
    run = extract_run(place / "runs")
    assert (run / "champion" / "agent.json").is_file()
    support = str(Path(__file__).parents[2] / "support")
    nested = EnvironmentSettings(
        "AnySpaces-v0",
        kwargs={"observations": "Dict in an order of its own", "actions": "float32"},
        module="space_envs",
        search_paths=(support,),
    )
    model = {"model_config": {"fcnet_hiddens": [4]}}
    small: Mapping[str, Any] = {"train_batch_size_per_learner": 32, "minibatch_size": 32, **model}
    q_keys = {"num_steps_sampled_before_learning_starts": 8, "num_atoms": 3, **model}
    for name, kind, settings, keys in (
        ("nested", TorchPPOTrainer, nested, small),
        ("dqn", TorchDQNTrainer, EnvironmentSettings("CartPole-v1"), q_keys),
    ):
        algorithm = "PPO" if kind is TorchPPOTrainer else "DQN"
        trainer = kind(TrialSettings(algorithm, "torch", settings, {}, (3, 8)), keys)
        (place / name).mkdir()
        trainer.save(place / name)
        trainer.close()
        seal_folder(place / name)
    return place


def run(place: Path, *words: str) -> str:
    done = sweeper_here(*words, cwd=place)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refuse(place: Path, *words: str) -> str:
    done = sweeper_here(*words, cwd=place)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
    return done.stderr


def test_the_champion_is_shown_layer_by_layer(place: Path) -> None:
    printed = run(place, "inspect")
    assert "CartPole-v1" in printed
    assert "PPO on torch" in printed
    document = json.loads(run(place, "inspect", "--json"))
    agent = sweeper.load_agent(place / "runs" / "torch-ppo")
    assert document["network"]["parameters"] == sum(one.size for one in agent.weights.values())
    for summary in document["weights"]:
        array = agent.weights[summary["name"]]
        assert tuple(summary["shape"]) == array.shape
        assert summary["norm"] == pytest.approx(float(np.linalg.norm(array)), rel=1e-5)
        assert summary["name"] in printed
    assert document["answer"] is None
    assert document["versions"]["format"] == "1"


def test_an_observation_is_answered(place: Path) -> None:
    words = ("inspect", "dqn", "--replica", "8", "--observation", "[0.1, 0, -0.2, 1]")
    answer = json.loads(run(place, *words, "--json"))["answer"]
    agent = sweeper.load_agent(place / "dqn", replica=8)
    observation = np.array([0.1, 0, -0.2, 1])
    q_values = agent.q_values(observation)
    assert answer["q_values"]["values"] == pytest.approx(q_values.values.tolist())
    assert np.array(answer["q_values"]["probabilities"]).shape == (2, 3)
    assert answer["value"] == pytest.approx(max(q_values))
    assert answer["action"] == agent.act(observation)
    assert sum(answer["distribution"]["probabilities"]) == pytest.approx(1)
    printed = run(place, *words)
    assert "Q-values" in printed
    assert "seed 8; also here: 3" in printed


def test_an_observation_of_a_dict_is_an_object(place: Path) -> None:
    observation = {"z": 1, "a": [[0, 0.5], [0, 0]], "m": {"y": 1, "b": 3}}
    words = ("inspect", "nested", "--observation", json.dumps(observation))
    answer = json.loads(run(place, *words, "--json"))["answer"]
    assert np.array(answer["distribution"]["mean"]).shape == (2,)
    assert answer["q_values"] is None
    assert isinstance(answer["value"], float)
    assert "Q-values" not in run(place, *words)


@pytest.mark.parametrize(
    ("observation", "said"),
    [
        ("[1, 2", "--observation is no JSON"),
        ("[" * 5000, "--observation is no JSON"),
        ("[1, 2]", "of shape (2,); the agent takes one element of Box("),
        ('"word"', "of type str"),
        ("[NaN, 0, 0, 0]", "holds NaN"),
        ("null", "of type NoneType"),
    ],
)
def test_a_wrong_observation_is_one_error(place: Path, observation: str, said: str) -> None:
    assert said in refuse(place, "inspect", "dqn", "--observation", observation)


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_a_trace_has_the_episodes_of_an_evaluation(
    place: Path, ending: str, tmp_path: Path
) -> None:
    file = tmp_path / f"steps.{ending}"
    words = ("trace", "dqn", "--replica", "8", "--episodes", "3", "--seed", "4", "-o", str(file))
    document = json.loads(run(place, *words, "--json"))
    read = pd.read_parquet(file) if ending == "parquet" else pd.read_json(file, lines=True)
    (played,) = evaluate(str(place / "dqn"), "runs", episodes=3, seed=4, replica=8).agents
    assert document["returns"] == list(played.returns)
    assert document["lengths"] == list(played.lengths)
    assert read.groupby("episode").reward.sum().tolist() == list(played.returns)
    assert read.groupby("episode").step.max().tolist() == [one - 1 for one in played.lengths]
    assert list(read.columns) == [
        "episode", "step", "observation", "action", "reward", "terminated", "truncated",
        "log_prob", "value", "q_values",
    ]  # fmt: skip
    agent = sweeper.load_agent(place / "dqn", replica=8)
    for row in read.iloc[[0, 5, -1]].itertuples():
        observation = np.asarray(row.observation, np.float32)
        assert row.action == agent.act(observation)
        assert row.value == pytest.approx(agent.value(observation), rel=1e-5)
        chances = agent.action_distribution(observation)
        assert row.log_prob == pytest.approx(float(chances.log_prob(row.action)), rel=1e-5)
    ends = read.groupby("episode").tail(1)
    assert (ends.terminated | ends.truncated).all()
    assert not (read.drop(ends.index).terminated | read.drop(ends.index).truncated).any()


def test_structured_observations_and_sampled_actions_are_written(
    place: Path, tmp_path: Path
) -> None:
    file = tmp_path / "steps.jsonl"
    words = ("trace", "nested", "--episodes", "2", "--max-episode-steps", "3", "-o", str(file))
    printed = run(place, *words, "--explore")
    assert "2 episodes, 6 steps" in printed
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert rows[0]["observation"].keys() == {"z", "a", "m"}
    assert [row["truncated"] for row in rows] == [False, False, True] * 2
    assert all(np.isfinite(row["log_prob"]) for row in rows)
    again = tmp_path / "again.jsonl"
    run(place, *words[:-1], str(again), "--explore")
    assert again.read_text() == file.read_text()
    run(place, *words[:-1], str(tmp_path / "steps.parquet"))
    assert len(pd.read_parquet(tmp_path / "steps.parquet")) == 6


def test_a_trace_is_named_after_its_run_and_trial(place: Path) -> None:
    printed = run(place, "trace", "--episodes", "1")
    (file,) = place.glob("trace-*.parquet")
    assert file.name in printed
    assert file.name.startswith("trace-torch-ppo-t")
    file.unlink()


def test_a_trace_that_can_t_be_written_plays_nothing(place: Path, tmp_path: Path) -> None:
    assert "must end in .parquet or .jsonl" in refuse(place, "trace", "dqn", "-o", "x.csv")
    assert "there is no folder" in refuse(place, "trace", "dqn", "-o", "gone/x.jsonl")
    (tmp_path / "x.jsonl").mkdir()
    assert "is a folder" in refuse(place, "trace", "dqn", "-o", str(tmp_path / "x.jsonl"))


def test_a_stranger_s_agent_is_read_but_plays_only_if_trusted(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "nested", tmp_path / "stranger")
    (tmp_path / "stranger" / "seal.json").unlink()
    run(tmp_path, "inspect", "stranger")
    words = ("trace", "stranger", "--episodes", "1", "--max-episode-steps", "2", "-o", "t.jsonl")
    assert "import space_envs" in refuse(tmp_path, *words)
    assert "--trust none" in refuse(tmp_path, *words, "--trust", "none")
    assert not (tmp_path / "t.jsonl").exists()
    run(tmp_path, *words, "--trust")
    assert "--trust none" in refuse(place, "trace", "--trust", "none", "nested")


@pytest.mark.parametrize("verb", ["inspect", "trace"])
def test_what_holds_no_agent_is_said(place: Path, verb: str, tmp_path: Path) -> None:
    assert "no agent in" in refuse(tmp_path, verb, str(place))
    assert "no run 'gone'" in refuse(place, verb, "gone")
    broken = shutil.copytree(place / "dqn", tmp_path / "broken")
    weights = broken / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    assert "weights.safetensors is damaged" in refuse(tmp_path, verb, "broken")


def test_replicas_that_diverged_are_listed_as_that(place: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(place / "dqn", tmp_path / "dqn")
    described = json.loads((folder / "agent.json").read_text())
    (folder / "agent.json").write_text(json.dumps({**described, "diverged": [3]}))
    document = json.loads(run(tmp_path, "inspect", "dqn", "--json"))
    assert (document["replicas"], document["diverged"]) == ([8], [3])
    assert "diverged" in (printed := run(tmp_path, "inspect", "dqn"))
    assert "seeds 3, which are frozen" in printed
    assert "diverged" not in run(place, "inspect", "dqn")


def test_a_replica_of_a_trial_is_named_after_the_trial(place: Path, tmp_path: Path) -> None:
    root = shutil.copytree(place / "runs", tmp_path / "runs") / "torch-ppo"
    (checkpoint,) = root.glob("trials/t0002/checkpoint_*")
    replica = shutil.copytree(place / "dqn", checkpoint / "replica_0")
    agent = sweeper.load_agent(replica, replica=8)
    assert agent.title == ("t0002", "seed 8")
    assert name_output(agent) == "torch-ppo-t0002-replica_0-seed8"
    assert name_output(sweeper.load_agent(checkpoint)).startswith("torch-ppo-t0002-seed")
    assert name_output(sweeper.load_agent(root)).startswith("torch-ppo-t0002")


def rows(*observations: Any) -> list[dict[str, Any]]:
    return [
        {"step": number, "observation": one, "reward": 1.0}
        for number, one in enumerate(observations)
    ]


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_an_error_of_playing_is_not_told_as_one_of_the_file(tmp_path: Path, ending: str) -> None:
    def play() -> Iterator[dict[str, Any]]:
        yield from rows(1)
        raise OSError(5, "the simulator is gone")

    with pytest.raises(OSError, match="the simulator is gone"):
        write_trace(play(), tmp_path / f"trace.{ending}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_a_file_that_can_t_be_written_is_named(tmp_path: Path, ending: str) -> None:
    with pytest.raises(UserError, match=r"can't be written: .*too long"):
        write_trace(rows(1), tmp_path / f"{'x' * 250}.{ending}")


def test_values_of_several_types_fit_no_parquet(tmp_path: Path) -> None:
    mixed = rows({"a": 1}, "word")
    with pytest.raises(UserError, match=r"values of several types .* a \.jsonl file takes any"):
        write_trace(mixed, tmp_path / "trace.parquet")
    assert list(tmp_path.iterdir()) == []
    assert write_trace(mixed, tmp_path / "trace.jsonl").lengths == (2,)


def test_a_space_that_can_t_be_sampled_has_a_trace(place: Path) -> None:
    agent = sweeper.load_agent(place / "dqn", replica=8)
    huge = np.finfo(np.float64).max
    wide = replace(agent, observation_space=gymnasium.spaces.Box(-huge, huge, (4,), np.float64))
    with pytest.raises(OverflowError):
        wide.observation_space.sample()
    step = Step(0, 0, np.zeros(4), 1, 1.0, terminated=True, truncated=False)
    (row,) = trace_rows(wide, [step])
    assert row["value"] == pytest.approx(agent.value(np.zeros(4)))
