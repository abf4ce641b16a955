"""A torch agent's exported folder acts as the agent does, and plays its evaluation again."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import sweeper_here
from played_scripts import play_script
from run_mutations import change_spec, extract_run
from safetensors.numpy import load_file, save_file
from space_envs import OBSERVATIONS

import sweeper
from sweeper.agents.torch_policy import TorchPolicy
from sweeper.environments.settings import EnvironmentSettings, NormalizeSettings, WrapperSettings
from sweeper.errors import UserError
from sweeper.exporting.export import export_agent
from sweeper.exporting.reported import lay_out
from sweeper.exporting.standalone.episodes import judge, play
from sweeper.exporting.texts import PLAY
from sweeper.journal_lines import encode_line
from sweeper.seals import seal_folder
from sweeper.spec.keys.support import find_support
from sweeper.trainables.contract import EvaluationSettings, Examination, TrialSettings
from sweeper.trainables.examination import AGENT_STAGE
from sweeper.trainables.torch_backend.dqn.trainer import TorchDQNTrainer
from sweeper.trainables.torch_backend.ppo.trainer import TorchPPOTrainer

SUPPORT = str(Path(__file__).parents[2] / "support")
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "PPO": {
        "train_batch_size_per_learner": 32,
        "minibatch_size": 32,
        "num_epochs": 1,
        "model_config": {"fcnet_hiddens": [8]},
    },
    "DQN": {
        "min_sample_timesteps_per_iteration": 32,
        "num_steps_sampled_before_learning_starts": 16,
        "train_batch_size_per_learner": 8,
        "model_config": {"fcnet_hiddens": [8]},
        "epsilon": 0.3,
    },
}


def of_spaces(**kwargs: Any) -> EnvironmentSettings:
    return EnvironmentSettings(
        "AnySpaces-v0", kwargs=kwargs, module="space_envs", search_paths=(SUPPORT,)
    )


def train(
    folder: Path,
    environment: EnvironmentSettings,
    more: Mapping[str, Any] = {},
    algorithm: str = "PPO",
) -> Any:
    """A trainer after one iteration; its checkpoint is in the folder, sealed as by a launch."""
    settings = TrialSettings(algorithm, "torch", environment, {}, (3, 8))
    kind = TorchDQNTrainer if algorithm == "DQN" else TorchPPOTrainer
    trainer = kind(settings, {**CONFIGURATIONS[algorithm], **more})
    trainer.train()
    folder.mkdir(exist_ok=True)
    trainer.save(folder)
    seal_folder(folder)
    return trainer


@pytest.mark.parametrize(
    ("algorithm", "spaces"),
    [
        ("PPO", {"observations": "float64", "actions": "MultiDiscrete from 1"}),
        ("PPO", {"observations": "Discrete from 3", "actions": "float16"}),
        ("PPO", {"observations": "MultiDiscrete from 1", "actions": "each bounded otherwise"}),
        ("PPO", {"observations": "Dict in an order of its own", "actions": "rank 0"}),
        ("PPO", {"observations": "byte image, channels first"}),
        ("DQN", {"observations": "Tuple of a Dict", "actions": "Discrete from -2, int32"}),
    ],
)
def test_the_folder_holds_the_chosen_replica_and_acts_as_it_does(
    tmp_path: Path, algorithm: str, spaces: dict[str, str]
) -> None:
    is_image = "image" in spaces["observations"]
    more = {"model_config": {"conv_filters": [[4, 3, 2]]}} if is_image else {}
    train(tmp_path / "trial", of_spaces(**spaces), more, algorithm).close()
    agent = sweeper.load_agent(tmp_path / "trial", replica=8)
    exported = export_agent(agent, tmp_path / "out")
    again = sweeper.load_agent(exported.folder, trust=True)
    assert again.seed == 8
    space = OBSERVATIONS[spaces["observations"]]
    space.seed(2)
    for observation in [space.sample() for _ in range(20)]:
        action = agent.act(observation)
        np.testing.assert_array_equal(action, again.act(observation))
        assert np.asarray(action).dtype == np.asarray(again.act(observation)).dtype
        assert again.value(observation) == agent.value(observation)
    document = json.loads((exported.folder / "agent.json").read_text())
    assert document["environment"]["search_paths"] == ["."]
    assert SUPPORT not in (exported.folder / "evaluation.json").read_text()


CASES: dict[str, tuple[str, EnvironmentSettings, EvaluationSettings]] = {
    "one vector environment": (
        "PPO",
        EnvironmentSettings("CartPole-v1"),
        EvaluationSettings(episodes=20),
    ),
    "several episodes each": (
        "PPO",
        EnvironmentSettings("CartPole-v1"),
        EvaluationSettings(episodes=45),
    ),
    "cut episodes": (
        "DQN",
        EnvironmentSettings("CartPole-v1"),
        EvaluationSettings(episodes=7, max_episode_steps=9),
    ),
    "DQN that explores": (
        "DQN",
        EnvironmentSettings("CartPole-v1"),
        EvaluationSettings(episodes=7, explore=True, max_envs=3),
    ),
    "rewards below wrappers, normalised": (
        "PPO",
        EnvironmentSettings(
            "Pendulum-v1",
            wrappers=(
                WrapperSettings("TimeLimit", {"max_episode_steps": 30}),
                WrapperSettings("RescaleAction", {"min_action": -0.5, "max_action": 0.5}),
                WrapperSettings("ClipReward", {"min_reward": -0.1, "max_reward": 0.1}),
            ),
            normalize=NormalizeSettings(observations=True, rewards=True),
        ),
        EvaluationSettings(episodes=8, explore=True, max_envs=3),
    ),
    "a module's structure of observations": (
        "PPO",
        of_spaces(observations="Dict in an order of its own", length="varied"),
        EvaluationSettings(episodes=9, max_envs=4),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_evaluation_s_episodes_are_played_again(tmp_path: Path, case: str) -> None:
    algorithm, environment, settings = CASES[case]
    trainer = train(tmp_path / "trial", environment, algorithm=algorithm)
    result = trainer.evaluate(Examination(settings, AGENT_STAGE, (1,)))[1]
    trainer.close()
    episodes = lay_out(environment, find_support("torch", algorithm), settings, AGENT_STAGE, 8)
    assert (episodes["vectorization"] == "vector_entry_point") == (case == "one vector environment")
    document = json.loads(json.dumps(episodes))  # as evaluation.json has it
    played = play(TorchPolicy(tmp_path / "trial", 1), document)
    assert played == pytest.approx(result.episode_returns, rel=1e-6)
    assert len(set(played)) > 1 or settings.max_episode_steps


def test_the_script_plays_where_there_is_only_numpy_and_gymnasium(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")
    done = sweeper_here("export", str(run), "-o", "agent", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    exported = json.loads(done.stdout)
    trial = sweeper.open_run(run).results.trial("t0002")
    values = trial.last_report["replica/evaluation/episode_return_mean"]
    value = values[trial.seeds.index(exported["seed"])]
    assert exported["reported"]["mean"] == value == 500
    assert exported["trained_by"] == "torch"
    played = play_script(tmp_path / "agent")
    assert played.returncode == 0, (played.stdout, played.stderr)
    assert played.stdout.splitlines() == [
        "mean return 500 over 4 episodes",
        "reported 500: this agent (t0002, seed 1) over the 4 episodes of its trial's evaluation",
        "lands on the reported mean",
    ]
    readme = (tmp_path / "agent" / "README.md").read_text()
    assert "# PPO on CartPole-v1" in readme
    assert "500 of this agent (t0002, seed 1)" in readme
    needed = (tmp_path / "agent" / "requirements.txt").read_text().splitlines()
    assert [line.partition("==")[0] for line in needed] == ["numpy", "gymnasium"]
    weights = tmp_path / "agent" / "weights.safetensors"
    save_file({name: np.zeros_like(one) for name, one in load_file(weights).items()}, weights)
    worse = play_script(tmp_path / "agent")
    assert worse.returncode == 1
    assert "does NOT land so near it" in worse.stdout


def test_the_script_is_short() -> None:
    code = PLAY.partition("from torch_policy import TorchPolicy")[2]
    assert len([line for line in code.splitlines() if line]) <= 10
    compile(PLAY, "play.py", "exec")


def test_without_a_report_it_plays_the_episodes_of_evaluate(tmp_path: Path) -> None:
    train(tmp_path / "trial", EnvironmentSettings("CartPole-v1")).close()
    exported = export_agent(sweeper.load_agent(tmp_path / "trial", replica=3), tmp_path / "agent")
    assert exported.evaluation is not None
    assert exported.evaluation["reported"] is None
    assert "No evaluation of this agent was reported" in (tmp_path / "agent/README.md").read_text()
    agent = sweeper.load_agent(tmp_path / "agent")
    expected = [one.episode_return for one in agent.play(100)]
    played = play(TorchPolicy(tmp_path / "agent"), exported.evaluation)
    assert sorted(played) == pytest.approx(sorted(expected))
    done = play_script(tmp_path / "agent")
    assert done.returncode == 0, done.stderr
    assert "no evaluation of this agent was reported" in done.stdout


REPORTED = {"of": "this agent", "mean": 10.0, "interval": [8.0, 12.0], "interval_reason": None,
            "returns": [8.0, 12.0]}  # fmt: skip
EQUAL = {**REPORTED, "interval": None, "interval_reason": "all are equal", "returns": [10.0, 10.0]}
MEAN = {**REPORTED, "interval": None, "interval_reason": "not recorded", "returns": None}


@pytest.mark.parametrize(
    ("reported", "returns", "lands", "words"),
    [
        (REPORTED, [8.0, 12.0], True, "2 of 2 episodes came to the same return"),
        (REPORTED, [8.0, 12.0], True, "lands in the reported interval, 8 to 12"),
        (REPORTED, [8.5, 12.0], True, "1 of 2 episodes"),
        (REPORTED, [20.0, 12.0], False, "does NOT land in the reported interval"),
        (EQUAL, [10.0, 10.0], True, "lands on the reported mean (it has no interval: all are"),
        (EQUAL, [10.0, 9.9], False, "does NOT land on the reported mean"),
        (MEAN, [9.0, 11.0], True, "lands on the reported mean"),
        (MEAN, [9.0, 11.5], True, "lands so near it"),
        (MEAN, [19.0, 19.5], False, "does NOT land so near it"),
        (MEAN, [10.0], True, "lands on the reported mean"),
        (MEAN, [9.0], False, "does NOT land on the reported mean (it has no interval: not rec"),
        (None, [9.0], True, "no evaluation of this agent was reported"),
    ],
)
def test_it_says_whether_the_episodes_land_where_they_were_reported(
    reported: Any, returns: list[float], lands: bool, words: str
) -> None:
    said, found = judge(returns, {"reported": reported, "quantile": 12.7})
    assert found is lands
    assert words in said


def test_a_folder_is_written_completely_or_not_at_all(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")
    agent = sweeper.load_agent(run)
    for place, found in {
        "no/agent": "there is no folder",
        "file": "is no folder; give another --output",
        "mine": "it holds 'notes.txt'",
        "link": "is no folder",
    }.items():
        (tmp_path / "file").touch()
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / "notes.txt").touch()
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(tmp_path / "mine")
        with pytest.raises(UserError, match=found):
            export_agent(agent, tmp_path / place, overwrite=True)
    (tmp_path / "agent").mkdir()  # an empty one is fine
    first = export_agent(agent, tmp_path / "agent")
    with pytest.raises(UserError, match="give another --output, or --overwrite"):
        export_agent(agent, tmp_path / "agent")
    (tmp_path / "agent" / "play.py").write_text("")
    (tmp_path / "agent" / "__pycache__").mkdir()
    assert export_agent(agent, tmp_path / "agent", overwrite=True).files == first.files
    assert "play.py" in first.files
    (tmp_path / "agent" / "my_envs.py").touch()  # what somebody put there is not lost
    with pytest.raises(UserError, match=r"not replaced, since it holds 'my_envs\.py'"):
        export_agent(agent, tmp_path / "agent", overwrite=True)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"runs", "file", "mine", "link", "agent"}  # nothing half made is left


def test_what_the_environment_needs_is_said_and_its_module_lies_beside_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENGTH", "3")
    train(tmp_path / "trial", of_spaces(length="${env:LENGTH}")).close()
    exported = export_agent(sweeper.load_agent(tmp_path / "trial", replica=3), tmp_path / "agent")
    assert exported.needs == (
        "The environment needs the module space_envs: put it beside play.py, or install it.",
        "The environment reads the variable LENGTH; set it before.",
    )
    for file in exported.files:
        assert "${env:LENGTH}" in (tmp_path / "agent/evaluation.json").read_text()
        assert (tmp_path / "agent" / file).is_file()
    alone = play_script(tmp_path / "agent", LENGTH="3")
    assert (alone.returncode, alone.stdout) == (2, "")
    assert "the environment needs the module space_envs" in alone.stderr
    shutil.copy(Path(SUPPORT) / "space_envs.py", tmp_path / "agent")
    monkeypatch.delenv("LENGTH")
    unset = play_script(tmp_path / "agent")
    assert unset.returncode == 2
    assert "the environment needs the variable LENGTH, which is not set" in unset.stderr
    played = play_script(tmp_path / "agent", LENGTH="3")
    assert played.returncode == 0, played.stderr
    assert "over 100 episodes" in played.stdout


def test_an_agent_from_elsewhere_is_exported_and_its_code_is_named(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")
    described = run / "champion" / "agent.json"
    document = json.loads(described.read_text())
    document["environment"]["module"] = "evil"
    described.write_text(json.dumps(document))
    done = sweeper_here("export", str(run), "-o", "agent", "--trust", "none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "was not made by this user on this machine" in done.stderr
    assert "agent/play.py will do what whoever made it has chosen:\n  import evil" in done.stderr
    assert "evil" not in sys.modules


def test_exporting_builds_no_environment(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")
    (tmp_path / "touching.py").write_text("open('touched', 'w').close()")
    change_spec(run, {"environment: {id: CartPole-v1}": "environment: {id: touching:Maze-v0}"})
    described = run / "champion" / "agent.json"
    document = json.loads(described.read_text())
    document["environment"] |= {"id": "touching:Maze-v0", "search_paths": [str(tmp_path)]}
    described.write_text(json.dumps(document))
    done = sweeper_here("export", str(run), "-o", "agent", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "touched").exists()
    assert "needs     The environment needs the module touching" in done.stdout


def test_a_verb_of_ours_takes_the_folder_too(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")
    assert sweeper_here("export", str(run), "-o", "agent", cwd=tmp_path).returncode == 0
    run.rename(tmp_path / "gone")
    first = sweeper_here("evaluate", "agent", "--episodes", "3", "--json", cwd=tmp_path)
    second = sweeper_here("evaluate", "gone", "--episodes", "3", "--json", cwd=tmp_path)
    assert first.returncode == second.returncode == 0, first.stderr
    one, other = (json.loads(done.stdout)["agents"][0]["returns"] for done in (first, second))
    assert one == other


def test_options_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")
    for option in (("--onnx",), ("--replica", "1")):
        done = sweeper_here("export", str(run), "--spec", *option, cwd=tmp_path)
        assert done.returncode == 2
        assert f"--spec writes a configuration, which has no {option[0]}" in done.stderr


def test_a_diverged_or_damaged_agent_is_refused(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")
    weights = run / "champion" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])
    done = sweeper_here("export", str(run), "-o", "agent", cwd=tmp_path)
    assert done.returncode == 2
    assert "weights.safetensors is damaged or does not fit agent.json" in done.stderr
    assert not (tmp_path / "agent").exists()


def test_another_replica_has_its_own_report(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")
    (checkpoint,) = run.glob("trials/t0002/checkpoint_*")
    for seed, value in ((0, 236.5), (1, 500.0)):
        agent = sweeper.load_agent(checkpoint, replica=seed)
        exported = export_agent(agent, tmp_path / f"agent{seed}")
        assert exported.evaluation is not None
        assert exported.evaluation["reported"]["mean"] == value
        returns = play(TorchPolicy(exported.folder), exported.evaluation)
        assert np.mean(returns) == value
        assert exported.description["trial_id"] == "t0002"


def test_a_report_of_another_kind_is_none(tmp_path: Path) -> None:
    """Whoever made a run can write anything into its journal."""
    run = extract_run(tmp_path / "runs")
    (checkpoint,) = run.glob("trials/t0002/checkpoint_*")
    agent = sweeper.load_agent(checkpoint, replica=0)
    text = (run / "journal.jsonl").read_text()
    documents = [json.loads(line) for line in text.splitlines()]
    for document in documents:
        metrics = document.get("metrics", {})
        if "replica/evaluation/episode_return_mean" in metrics:
            metrics["replica/evaluation/episode_return_mean"] = ["many", None]
            metrics["agent/episode_returns"] = "x"
    (run / "journal.jsonl").write_bytes(b"".join(map(encode_line, documents)))
    exported = export_agent(agent, tmp_path / "agent")
    assert exported.evaluation is not None
    assert exported.evaluation["reported"] is None
