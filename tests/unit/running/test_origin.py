"""Training that begins with another agent's weights: whose, what is refused, what is said."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_mutations import extract_run
from safetensors.numpy import load_file, save_file

from sweeper.api import plan_training
from sweeper.checkpoint_marker import mark_complete
from sweeper.errors import UserError
from sweeper.origin import Origin
from sweeper.paths import RunPaths
from sweeper.planning.plan import SweepPlan
from sweeper.running.origin.folder import check_start, find_beginners, write_start
from sweeper.running.resume.state import LaunchState

SPEC = """
environment: CartPole-v1
algorithm: PPO
backend: torch
seeds: [0, 1]
param_space: {lr: 0.0001, minibatch_size: 64, model_config: {fcnet_hiddens: [4]}}
stop: {num_env_steps_sampled_lifetime: 1000}
storage: our runs
"""
DQN = ["param_space=null", "algorithm=DQN", "param_space.model_config={fcnet_hiddens: [4], "
       "head_fcnet_hiddens: [4]}"]  # fmt: skip
CHECKPOINT = "trials/t0002/checkpoint_000008"


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SweepPlan]:
    """Plans training that begins with what a real run of an earlier version has left."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(SPEC)

    def make(target: str | Path, *overrides: str, **given: Any) -> SweepPlan:
        return plan_training("spec.yaml", overrides, from_checkpoint=target, **given)

    return make


@pytest.fixture
def ppo(tmp_path: Path) -> Path:
    return extract_run(tmp_path / "our runs")


def change_agent(folder: Path, **fields: Any) -> None:
    path = folder / "agent.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


# --- whose weights -------------------------------------------------------------------------------


def test_each_seed_begins_as_the_replica_of_the_same_seed(plan, ppo: Path) -> None:
    made = plan(ppo / CHECKPOINT, "seeds=[1, 0]")
    assert made.origin == Origin(
        "t0002 of torch-ppo", str(ppo / CHECKPOINT), seeds=(1, 0), env_steps=16384
    )
    assert made.notes[0] == (
        "training begins with the weights of t0002 of torch-ppo after 16,384 env steps: each seed "
        "as the replica of the same seed"
    )
    there = load_file(ppo / CHECKPOINT / "weights.safetensors")
    assert made.origin.weights.keys() == there.keys()
    for name, array in there.items():
        np.testing.assert_array_equal(made.origin.weights[name], array[::-1])


@pytest.mark.parametrize("target", ["champion", "torch-ppo", "last", "t0002"])
def test_a_run_means_its_champion_and_a_trial_its_newest_checkpoint(
    plan, ppo: Path, target: str
) -> None:
    shutil.copytree(ppo / CHECKPOINT, ppo / "trials/t0002/checkpoint_000009")
    for number in (8, 9):
        mark_complete(ppo / f"trials/t0002/checkpoint_00000{number}")
    named = {"champion": ppo / "champion", "t0002": ppo / "trials/t0002"}.get(target, target)
    made = plan(named, "seeds=[1]")
    assert made.origin.seeds == (1,)
    place = "trials/t0002/checkpoint_000009" if target == "t0002" else "champion"
    assert made.origin.checkpoint == str(ppo / place)
    assert made.origin.agent == "t0002 of torch-ppo"


def test_all_begin_as_the_only_replica_of_a_champion(plan, ppo: Path) -> None:
    made = plan("torch-ppo", "seeds=3")
    seed = json.loads((ppo / "champion/agent.json").read_text())["seed"]
    assert made.origin.seeds == (seed,) * 3
    assert made.notes[0].endswith(f"replica {seed}: all 3 seeds, since no other is there")
    there = load_file(ppo / "champion/weights.safetensors")
    for name, array in made.origin.weights.items():
        np.testing.assert_array_equal(array, np.repeat(there[name], 3, axis=0))


def test_all_begin_as_the_best_replica_where_seeds_differ(plan, ppo: Path) -> None:
    best = json.loads((ppo / "champion/agent.json").read_text())["seed"]
    made = plan(ppo / CHECKPOINT, "seeds=[0, 1, 2]")
    assert made.origin.seeds == (best,) * 3
    assert made.notes[0].endswith(
        f"replica {best}: all 3 seeds as the best one, since it has no replica of seed 2"
    )


def test_all_begin_as_the_replica_that_is_asked_for(plan, ppo: Path) -> None:
    for replica in (0, 1):
        made = plan(ppo / CHECKPOINT, replica=replica)
        assert made.origin.seeds == (replica, replica)
        assert made.notes[0].endswith(f"replica {replica}: all 2 seeds, as asked for")
    with pytest.raises(UserError, match=r"no replica 5 in .* seeds 0, 1"):
        plan(ppo / CHECKPOINT, replica=5)
    with pytest.raises(UserError, match="--replica names a replica of the checkpoint"):
        plan_training("spec.yaml", replica=1)


def test_a_replica_that_diverged_is_no_beginning(plan, ppo: Path) -> None:
    change_agent(ppo / CHECKPOINT, diverged=[0])
    made = plan(ppo / CHECKPOINT)
    assert made.origin.seeds == (1, 1)
    with pytest.raises(UserError, match=r"replica 0 in .* diverged and is frozen"):
        plan(ppo / CHECKPOINT, replica=0)


def test_without_its_run_a_checkpoint_has_no_best_replica(plan, ppo: Path, tmp_path: Path) -> None:
    shutil.copytree(ppo / CHECKPOINT, tmp_path / "carried")
    assert plan("carried").origin.seeds == (0, 1)
    with pytest.raises(
        UserError, match=r"no replica of seed 2, and no run tells .* --replica SEED"
    ):
        plan("carried", "seeds=[0, 1, 2]")
    made = plan("carried", "seeds=[2]", replica=1)
    assert made.origin.agent == str(tmp_path / "carried")
    assert made.origin.env_steps is None


# --- what is said --------------------------------------------------------------------------------


def test_what_is_not_taken_over_is_said(plan, ppo: Path, tmp_path: Path) -> None:
    notes = plan(ppo / CHECKPOINT).notes
    assert notes[1].startswith("not taken over: the optimiser's state and coefficients that had ")
    assert len(notes) == 2
    made = plan(extract_run(tmp_path / "our runs", "torch-dqn"), *DQN, "seeds=[0]")
    assert "the optimiser's state, the replay memory and coefficients" in made.notes[1]
    assert made.notes[2] == (
        "so exploration begins with an epsilon of 1.0 again; param_space.epsilon=0.05 keeps what "
        "the schedule ends with"
    )
    assert len(plan("torch-dqn", *DQN, "seeds=[0]", "param_space.epsilon=0.1").notes) == 2


def test_statistics_are_taken_over_where_both_normalise(plan, ppo: Path) -> None:
    path = ppo / CHECKPOINT / "weights.safetensors"
    own = {"mean": (2, 4), "variance": (2, 4), "count": (2,)}
    moments = {
        f"normalisation.observations.{name}": np.full(shape, 2.0) for name, shape in own.items()
    }
    save_file({**load_file(path), **moments}, path)
    both = "environment={id: CartPole-v1, normalize: {observations: true}}"
    made = plan(ppo / CHECKPOINT, both)
    for name, array in moments.items():
        np.testing.assert_array_equal(made.origin.weights[name], array)
    assert made.notes[2] == "the running statistics of observations are taken over with the weights"
    (note,) = plan(ppo / CHECKPOINT).notes[2:]
    assert note == (
        "the weights were trained on normalised observations, which this spec does not have: they "
        "act otherwise than they did; environment.normalize.observations=true normalises them"
    )
    rewards = "environment={id: CartPole-v1, normalize: {observations: true, rewards: true}}"
    assert plan(ppo / CHECKPOINT, rewards).notes[3] == (
        "this spec normalises rewards, and the weights were trained without that: their values are "
        "of another scale"
    )


def test_another_environment_with_the_same_spaces_is_said(plan, ppo: Path, tmp_path: Path) -> None:
    (tmp_path / "origin_envs.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "gymnasium.register('Other-v0', CartPoleEnv, max_episode_steps=20)\n"
    )
    made = plan(ppo / CHECKPOINT, "environment={id: Other-v0, module: origin_envs}")
    assert made.notes[2:] == ("the weights were trained in CartPole-v1, and go on in Other-v0",)


# --- what is refused -----------------------------------------------------------------------------


def refused(plan: Callable[..., SweepPlan], *given: Any, **more: Any) -> str:
    with pytest.raises(UserError) as error:
        plan(*given, **more)
    return str(error.value)


def test_what_is_no_agent_is_refused(plan, ppo: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "it is no checkpoint; give a checkpoint_… folder" in refused(plan, "empty")
    assert "no run 'nothing'" in refused(plan, "nothing")
    shutil.rmtree(ppo / "champion")
    assert "has no champion; give a checkpoint of one of its trials" in refused(plan, "torch-ppo")


def test_another_backend_or_algorithm_is_refused(plan, ppo: Path, tmp_path: Path) -> None:
    why = refused(plan, ppo / CHECKPOINT, "backend=rllib")
    assert "was trained on the backend torch, and this spec trains on rllib" in why
    rllib = extract_run(tmp_path / "our runs", "rllib-ppo")
    for target in ("rllib-ppo", rllib / "trials/t0002/checkpoint_000005"):
        assert "on the backend rllib, and this spec trains on torch" in refused(plan, target)
    why = refused(plan, ppo / CHECKPOINT, *DQN)
    assert "is an agent of PPO, and this spec trains DQN" in why


def test_other_spaces_are_refused(plan, ppo: Path, tmp_path: Path) -> None:
    why = refused(plan, ppo / CHECKPOINT, "environment=Acrobot-v1")
    assert "was trained with other observations than Acrobot-v1 has: Box([-4.8" in why
    (tmp_path / "three_actions_envs.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "class Three(CartPoleEnv):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.action_space = gymnasium.spaces.Discrete(3)\n"
        "    def step(self, action):\n"
        "        return super().step(min(1, action))\n"
        "gymnasium.register('Three-v0', Three, max_episode_steps=20)\n"
    )
    given = "environment={id: Three-v0, module: three_actions_envs}"
    assert "other actions than Three-v0 has: Discrete(2) there, Discrete(3) here" in refused(
        plan, ppo / CHECKPOINT, given
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "{fcnet_hiddens: [8]}",
            "encoder.policy.0.weight is 4 x 4 there and 8 x 4 here; encoder.value.0.weight is 4 x "
            "4 there and 8 x 4 here; encoder.policy.0.bias is 4 there and 8 here; and 3 more",
        ),
        (
            "{fcnet_hiddens: [4, 4]}",
            "encoder.policy.1.weight, 4 x 4 here, is not there; encoder.value.1.weight, 4 x 4 "
            "here, is not there; ",
        ),
        ("{fcnet_hiddens: [4], vf_share_layers: true}", "encoder.shared.0.weight, 4 x 4 here, is"),
        (
            "{fcnet_hiddens: [4], fcnet_activation: relu}",
            "activation is 'tanh' there and 'relu' here.",
        ),
    ],
)
def test_another_network_is_refused_with_its_first_layers(
    plan, ppo: Path, change: str, words: str
) -> None:
    why = refused(plan, ppo / CHECKPOINT, f"param_space.model_config={change}")
    assert "has another network than this spec: " in why
    assert words in why


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("dueling=false", "dueling is true there and false here; head.value.0."),
        ("num_atoms=5", "num_atoms is 1 there and 5 here; head.policy.out.weight is 2 x 4 there"),
        ("v_min=-3", None),
    ],
)
def test_what_a_network_s_outputs_mean_is_part_of_it(
    plan, tmp_path: Path, change: str, words: str | None
) -> None:
    run = extract_run(tmp_path / "our runs", "torch-dqn")
    given = (run, *DQN, f"param_space.{change}", "seeds=[0]")
    if words is None:
        assert plan(*given).origin is not None
    else:
        assert words in refused(plan, *given)


def test_weights_that_are_not_finite_are_refused(plan, ppo: Path) -> None:
    path = ppo / CHECKPOINT / "weights.safetensors"
    arrays = load_file(path)
    arrays["head.policy.out.bias"][1] = np.nan
    save_file(arrays, path)
    assert "head.policy.out.bias holds NaN or an infinity" in refused(plan, ppo / CHECKPOINT)
    assert plan(ppo / CHECKPOINT, replica=0).origin is not None


class _Reached:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "weights.safetensors").unlink(),
        lambda folder: (folder / "weights.safetensors").write_bytes(pickle.dumps(_Reached())),
        lambda folder: (folder / "weights.safetensors").write_bytes(
            (folder / "weights.safetensors").read_bytes()[:-5]
        ),
        lambda folder: (folder / "agent.json").write_text("{"),
        lambda folder: change_agent(folder, seeds=[]),
        lambda folder: change_agent(folder, version=99),
        lambda folder: change_agent(folder, observation_space={"type": "Box"}),
    ],
    ids=["gone", "a pickle", "half", "no JSON", "no seeds", "of a later version", "no space"],
)
@pytest.mark.parametrize("is_marked", [True, False], ids=["marked", "of an earlier version"])
def test_a_damaged_checkpoint_is_refused(
    plan, ppo: Path, tmp_path: Path, damage: Callable[[Path], object], is_marked: bool
) -> None:
    folder = ppo / CHECKPOINT
    if is_marked:
        mark_complete(folder)
    damage(folder)
    why = refused(plan, folder)
    assert str(folder) in why
    assert not (tmp_path / "executed").exists()


def test_a_flipped_bit_is_noticed(plan, ppo: Path) -> None:
    folder = ppo / CHECKPOINT
    mark_complete(folder)
    data = bytearray((folder / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(data)
    assert "is damaged: the contents of weights.safetensors have changed" in refused(plan, folder)


def test_the_champion_of_an_earlier_choice_is_refused(plan, ppo: Path) -> None:
    change_agent(ppo / "champion", trial_id="t0001")
    assert "holds the agent of an earlier choice" in refused(plan, "torch-ppo", "seeds=[0]")


@pytest.mark.parametrize("name", ["champion", "trials/t0002/checkpoint_000005"])
@pytest.mark.parametrize("trust", [False, "none"])
def test_a_pickle_of_somebody_else_is_not_loaded(
    plan, tmp_path: Path, name: str, trust: bool | str
) -> None:
    folder = extract_run(tmp_path / "our runs", "rllib-ppo") / name
    for path in folder.rglob("*.pkl"):
        path.write_bytes(pickle.dumps(_Reached()))
    why = refused(plan, folder, "backend=rllib", trust=trust)
    assert f"unpickle {folder}" in why
    assert not (tmp_path / "executed").exists()


# --- in the run's folder -------------------------------------------------------------------------


def test_the_run_keeps_the_weights_and_notices_that_they_are_gone(
    plan, ppo: Path, tmp_path: Path
) -> None:
    made = plan(ppo / CHECKPOINT)
    paths = RunPaths(tmp_path / "run")
    paths.root.mkdir()
    write_start(made.origin, paths)
    kept = load_file(paths.start / "weights.safetensors")
    for name, array in made.origin.weights.items():
        np.testing.assert_array_equal(kept[name], array)
    recorded = Origin.from_json(made.origin.to_json())
    assert recorded == made.origin
    begun = find_beginners(made, LaunchState(asked=0))
    assert begun == ["the next trial"]
    check_start(recorded, paths, begun)
    (paths.start / "weights.safetensors").write_bytes(b"x")
    check_start(recorded, paths, [])  # nobody needs them
    with pytest.raises(UserError, match="the next trial of run would begin with the weights of t"):
        check_start(recorded, paths, begun)
    shutil.rmtree(paths.start)
    with pytest.raises(UserError, match=r"is damaged: complete.json is missing"):
        check_start(recorded, paths, begun)


@pytest.mark.parametrize(
    "document",
    [{"agent": 3, "seeds": "x", "env_steps": "many"}, {"seeds": [True, "1", 2]}, {"x": []}],
    ids=str,
)
def test_a_record_of_another_form_still_says_that_there_were_weights(
    document: dict[str, Any],
) -> None:
    origin = Origin.from_json(document)
    assert origin is not None
    assert str(origin).startswith("the weights of ")
    assert all(seed is None or type(seed) is int for seed in origin.seeds)
    assert Origin.from_json({}) is None
