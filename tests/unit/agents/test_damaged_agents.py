"""An agent whose files are damaged or don't fit each other is refused in a sentence."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import sweeper_here
from run_mutations import extract_run
from safetensors.torch import load_file, save_file

from sweeper.agents import playing
from sweeper.agents.locate import read_description
from sweeper.checkpoint_marker import mark_complete
from sweeper.errors import UserError
from sweeper.evidence import evaluation
from sweeper.evidence.evaluation import evaluate
from sweeper.opened_agent import load_agent
from sweeper.paths import RunPaths

BOX = {"type": "Box", "shape": [4], "dtype": "float32", "low": "-inf", "high": "inf"}


@pytest.fixture
def champion(tmp_path: Path) -> Path:
    """A real champion's folder."""
    return extract_run(tmp_path) / "champion"


def change(champion: Path, **values: Any) -> None:
    path = champion / "agent.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_the_champion_itself_acts(champion: Path) -> None:
    agent = load_agent(champion)
    assert agent.act(agent.observation_space.sample()) in (0, 1)


@pytest.mark.parametrize("part", [0, 3, 100, 0.5, 0.95])
def test_half_a_file_of_weights_is_refused(champion: Path, part: float) -> None:
    weights = champion / "weights.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[: part if isinstance(part, int) else int(part * len(data))])
    with pytest.raises(UserError, match=r"weights\.safetensors is damaged or does not fit"):
        load_agent(champion)
    with pytest.raises(UserError, match=r"weights\.safetensors is damaged or does not fit"):
        evaluate(str(champion), "runs", episodes=1)


@pytest.mark.parametrize("shape", [(1, 3, 3), (1, 4), (1,), (2, 4, 400)])
def test_weights_of_another_network_are_refused(champion: Path, shape: tuple[int, ...]) -> None:
    weights = champion / "weights.safetensors"
    save_file({name: torch.zeros(shape) for name in load_file(weights)}, weights)
    with pytest.raises(UserError, match="does not fit"):
        load_agent(champion)


def test_weights_under_other_names_are_refused(champion: Path) -> None:
    weights = champion / "weights.safetensors"
    save_file({"x": torch.zeros(1)}, weights)
    with pytest.raises(UserError, match="does not fit"):
        load_agent(champion)


def test_missing_weights_are_named(champion: Path) -> None:
    (champion / "weights.safetensors").unlink()
    with pytest.raises(UserError, match=r"no agent in .*weights\.safetensors: No such file"):
        load_agent(champion)


def test_a_named_pipe_is_not_waited_for(champion: Path) -> None:
    (champion / "weights.safetensors").unlink()
    os.mkfifo(champion / "weights.safetensors")
    with pytest.raises(UserError, match="it is a named pipe"):
        load_agent(champion)


NESTED = ["[" * depth + "]" * depth for depth in (60, 500, 900, 990)]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '"x"', "[" * 100_000, "\x00", *NESTED], ids=lambda one: one[:9]
)
def test_a_damaged_description_is_refused(champion: Path, text: str) -> None:
    (champion / "agent.json").write_text(text)
    with pytest.raises(UserError, match=r"agent\.json is damaged: "):
        load_agent(champion)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seeds", None),
        ("seeds", []),
        ("seeds", ["a"]),
        ("observation_space", None),
        ("observation_space", {"type": "Box"}),
        ("observation_space", {**BOX, "shape": [10**10]}),
        ("observation_space", {**BOX, "shape": [-1]}),
        ("observation_space", {**BOX, "dtype": "object"}),
        ("action_space", {"type": "Ball"}),
        ("action_space", {"type": "Discrete", "n": 0, "start": 0}),
        ("max_episode_steps", "many"),
        ("max_episode_steps", 0),
        *(("seed", value) for value in (float("nan"), "1", [1], True)),
        *((name, value) for name in ("trial_id", "retrained_as") for value in ([], 7, {})),
        ("environment", []),
        ("environment", {"id": "CartPole-v1"}),
        ("environment", {"id": 1, "wrappers": [], "search_paths": [], "normalize": {}}),
        ("environment", {"id": "x", "wrappers": [1], "search_paths": [], "normalize": {}}),
        ("environment", {"id": "x", "wrappers": [], "search_paths": [1], "normalize": {}}),
        ("environment", {"id": "x", "wrappers": [], "search_paths": [], "normalize": {"a": 1}}),
    ],
)
def test_a_part_of_another_type_is_named(champion: Path, name: str, value: Any) -> None:
    change(champion, **{name: value})
    with pytest.raises(UserError, match=rf"agent\.json is damaged: .*{name}"):
        read_description(champion)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", "x"),
        ("network", None),
        ("network", {}),
        ("algorithm", "DQN"),
        ("action_space", {"type": "MultiDiscrete", "nvec": [10**6, 3], "start": [0]}),
        ("observation_space", {**BOX, "shape": [5]}),
    ],
)
def test_a_description_of_another_agent_is_refused(champion: Path, name: str, value: Any) -> None:
    change(champion, **{name: value})
    with pytest.raises(UserError, match=r"does not fit agent\.json|agent\.json is damaged"):
        load_agent(champion)


def test_arguments_that_are_nested_deeper_than_ours_are_refused(champion: Path) -> None:
    environment = json.loads((champion / "agent.json").read_text())["environment"]
    for depth in (60, 300, 900):
        kwargs = {"a": json.loads("[" * depth + "]" * depth)}
        change(champion, environment={**environment, "kwargs": kwargs})
        with pytest.raises(UserError, match="damaged: nested too deeply"):
            evaluate(str(champion), "runs", episodes=1)


SELECTIONS = [{"score": float("nan")}, {"trial_id": []}, {"score": 10**400}, {"metric": 7}]


@pytest.mark.parametrize("values", SELECTIONS, ids=lambda values: str(values)[:20])
def test_with_a_damaged_selection_an_evaluation_goes_by_the_journal(
    champion: Path, values: dict[str, Any]
) -> None:
    path = RunPaths(champion.parent).selection
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    arguments = ("--episodes", "1", "--max-episode-steps", "5", "--json")
    done = sweeper_here("evaluate", str(champion.parent), *arguments, cwd=champion.parents[1])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["champion"]["trial_id"] == "t0002"


def test_a_later_format_is_named(champion: Path) -> None:
    change(champion, version=99)
    with pytest.raises(UserError, match="was written in format 99; this version reads up to 2"):
        load_agent(champion)


def test_a_wrapper_that_hides_the_end_of_episodes_does_not_keep_an_evaluation_going(
    champion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (champion.parent / "hiding.py").write_text(
        "import gymnasium\n"
        "class Hide(gymnasium.Wrapper):\n"
        "    def step(self, action):\n"
        "        observation, reward, _, _, info = self.env.step(action)\n"
        "        return observation, reward, False, False, info\n"
    )
    described = json.loads((champion / "agent.json").read_text())
    environment = described["environment"]
    wrapper = {"name": "hiding.Hide", "kwargs": {}}
    hidden = {"wrappers": [wrapper], "search_paths": [str(champion.parent)]}
    change(champion, environment={**environment, **hidden})
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(playing, "MAX_EPISODE_STEPS", 600)  # above the limit of CartPole
    done = evaluation.evaluate(
        str(champion), "runs", episodes=2, allow_changed_environment=True, trust=True
    )
    assert (done.max_episode_steps, done.num_capped) == (600, 2)


OLD = {"rllib_checkpoint.json": '{"checkpoint_version": "1.1"}'}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"rllib_checkpoint.json": '{"checkpoint_version": "0.1"}'}, "version 0.1"),
        (OLD, "version 1.1"),
        (
            {"rllib_checkpoint.json": '{"type": "Algorithm"}', "algorithm_state.pkl": "x"},
            "before checkpoints had versions",
        ),
        (
            {
                "rllib_checkpoint.json": '{"checkpoint_version": "2.1"}',
                "policies/p/policy_state.pkl": "x",
            },
            "version 2.1",
        ),
        ({"checkpoint-10": "x", "checkpoint-10.tune_metadata": "x"}, "before checkpoints had"),
        ({"policy_state.pkl": "x"}, "before checkpoints had"),
    ],
)
@pytest.mark.parametrize("place", [".", "checkpoint", "replica_3"])
@pytest.mark.parametrize("trust", [False, True])
def test_a_checkpoint_of_rllibs_old_stack_is_told_before_trust_is_asked(
    tmp_path: Path, files: dict[str, str], said: str, place: str, trust: bool
) -> None:
    write(tmp_path / place, files)
    with pytest.raises(UserError, match="RLlib's old API stack") as caught:
        load_agent(tmp_path, trust=trust)
    assert said in str(caught.value)
    assert "only those from version 2.0 on can be loaded" in str(caught.value)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize("verb", ["inspect", "evaluate", "trace", "video"])
def test_every_verb_tells_the_old_stack(tmp_path: Path, verb: str) -> None:
    write(tmp_path / "old", OLD)
    done = sweeper_here(verb, "old", cwd=tmp_path)
    assert done.returncode == 2
    assert "old API stack" in " ".join(done.stderr.split())
    assert "--trust" not in done.stderr


def test_a_checkpoint_of_the_new_stack_is_not_taken_for_an_old_one(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"rllib_checkpoint.json": '{"checkpoint_version": "2.1"}', "algorithm_state.pkl": "x"},
    )
    with pytest.raises(UserError, match="trust"):
        load_agent(tmp_path)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_checkpoint_that_is_not_as_its_marker_says_is_refused(champion: Path) -> None:
    (folder,) = champion.parent.glob("trials/t0002/checkpoint_*")
    mark_complete(folder)
    assert load_agent(folder).act(np.zeros(4)) in (0, 1)
    flip(folder / "weights.safetensors")
    for refuse in (load_agent, lambda one: evaluate(str(one), "runs", episodes=1)):
        with pytest.raises(UserError, match=r"the contents of weights\.safetensors have changed"):
            refuse(folder)


@pytest.mark.parametrize("is_marked", [True, False], ids=["marked", "of an earlier version"])
def test_of_a_trial_the_newest_whole_checkpoint_is_taken(champion: Path, is_marked: bool) -> None:
    (first,) = champion.parent.glob("trials/t0002/checkpoint_*")
    later = [first.with_name(f"checkpoint_00009{number}") for number in (1, 2)]
    for folder in later:
        shutil.copytree(first, folder)
    for folder in (first, *later) if is_marked else ():
        mark_complete(folder)
    said: list[str] = []
    assert load_agent(first.parent, say=said.append).where.folder == later[1]
    assert said == []
    weights = later[1] / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    assert load_agent(first.parent, say=said.append).where.folder == later[0]
    assert len(said) == 1
    assert "taking checkpoint_000091" in said[0]
    assert "because checkpoint_000092 is damaged (weights.safetensors" in said[0]
    for folder in (first, later[0]):
        (folder / "weights.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="has no checkpoint that is whole: checkpoint_000092 is"):
        load_agent(first.parent)


def test_a_checkpoint_that_is_still_being_written_is_not_taken(champion: Path) -> None:
    (first,) = champion.parent.glob("trials/t0002/checkpoint_*")
    mark_complete(first)
    shutil.copytree(first, first.with_name("checkpoint_000091"))
    (first.with_name("checkpoint_000091") / "complete.json").unlink()
    assert load_agent(first.parent).where.folder == first


def test_a_file_is_no_agent(tmp_path: Path) -> None:
    (tmp_path / "agent.pt").write_text("x")
    with pytest.raises(UserError, match=r"agent\.pt is a file; give the folder of an agent"):
        load_agent(tmp_path / "agent.pt")


def test_an_unknown_backend_is_named(champion: Path) -> None:
    change(champion, backend="torch2")
    with pytest.raises(UserError, match=r"the backend is 'torch2'; .* did you mean torch"):
        load_agent(champion)


def test_a_description_without_environment_is_told_as_that(champion: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(champion, alone)
    described = json.loads((alone / "agent.json").read_text())
    del described["environment"]
    (alone / "agent.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match=r"it has an agent\.json without an environment"):
        load_agent(alone).make_env()


def test_trust_is_checked_although_nothing_foreign_is_there(champion: Path) -> None:
    with pytest.raises(UserError, match="trust is 'sure'; it must be none, own or all"):
        load_agent(champion, trust="sure")
