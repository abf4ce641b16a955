from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from run_folders import make_run
from run_mutations import extract_run

from sweeper.agents.episodes import play_episodes
from sweeper.agents.whereabouts import Whereabouts
from sweeper.environments.building import describe
from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import UserError
from sweeper.evidence.evaluation import evaluate
from sweeper.evidence.played import AgentEvaluation, Evaluation, Yardstick
from sweeper.seals import seal_folder
from sweeper.views.evaluation import print_evaluation


class Lottery(gymnasium.Env[Any, Any]):
    """Return and length of an episode depend on its seed; the observation is the reward."""

    action_space = gymnasium.spaces.Discrete(2)
    made: list[Lottery]

    def __init__(self, nested: bool = False) -> None:
        box = gymnasium.spaces.Box(0, 1, (1,), np.float64)
        self.nested = nested
        self.observation_space = gymnasium.spaces.Dict({"x": box}) if nested else box
        self.closed = False
        type(self).made.append(self)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        assert seed is not None
        self.worth = self.np_random.random()
        self.left = int(self.np_random.integers(1, 50))
        return self._observe(), {}

    def step(self, action: Any) -> Any:
        assert self.left > 0
        self.left -= 1
        return self._observe(), self.worth if action else -1.0, self.left == 0, False, {}

    def _observe(self) -> Any:
        value = np.array([self.worth])
        return {"x": value} if self.nested else value

    def close(self) -> None:
        self.closed = True


class Yes:
    """Always acts with 1, and notes the batch sizes."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def act(self, observation: Any, *, explore: bool = False, seed: Any = None) -> Any:
        assert observation["x"].shape == (1,)
        return 1

    def act_batch(self, observations: Any, generator: np.random.Generator | None) -> Any:
        self.batches.append(len(observations))
        return np.ones(len(observations), dtype=np.int64)


@pytest.fixture
def lottery() -> Iterator[EnvironmentSettings]:
    Lottery.made = []
    gymnasium.register("Lottery-v0", entry_point=Lottery)
    yield EnvironmentSettings("Lottery-v0")
    del gymnasium.registry["Lottery-v0"]


def test_an_episode_depends_on_its_number_and_not_on_how_it_is_played(
    lottery: EnvironmentSettings,
) -> None:
    many = play_episodes(Yes(), lottery, episodes=50, seed=0)
    few = play_episodes(Yes(), lottery, episodes=3, seed=0)
    assert (many[0][:3], many[1][:3]) == few
    nested = EnvironmentSettings("Lottery-v0", kwargs={"nested": True})
    assert play_episodes(Yes(), nested, episodes=50, seed=0) == many
    assert play_episodes(Yes(), lottery, episodes=50, seed=1) != many


def test_every_episode_counts_once_however_long_it_is(lottery: EnvironmentSettings) -> None:
    returns, lengths = play_episodes(Yes(), lottery, episodes=200, seed=0)
    assert len(returns) == len(lengths) == 200
    # The first 200 to finish would hold too many short ones.
    assert 23 < np.mean(lengths) < 28
    assert len(set(returns)) == 200


def test_an_episode_is_cut_at_the_cap_and_the_next_ones_are_the_same(
    lottery: EnvironmentSettings,
) -> None:
    whole = play_episodes(Yes(), lottery, episodes=50, seed=0)
    returns, lengths = play_episodes(Yes(), lottery, episodes=50, seed=0, max_episode_steps=20)
    assert lengths == [min(20, length) for length in whole[1]]
    short = [index for index, length in enumerate(whole[1]) if length <= 20]
    assert [returns[index] for index in short] == [whole[0][index] for index in short]


def test_cut_episodes_of_all_agents_are_counted() -> None:
    agents = tuple(AgentEvaluation(name, (1.0, 3.0), (7, 9)) for name in ("a", "b"))
    document = Evaluation(Path("/x"), "E-v0", 2, 0, agents, 9).to_json()
    assert (document["max_episode_steps"], document["num_capped_episodes"]) == (9, 2)
    assert Evaluation(Path("/x"), "E-v0", 2, 0, agents).num_capped == 0


@pytest.mark.parametrize(
    ("env_id", "description", "asked", "cap"),
    [
        ("Lottery-v0", {}, None, 27_000),
        ("Lottery-v0", {"max_episode_steps": 40}, None, 40),
        ("Lottery-v0", {"max_episode_steps": 40}, 50, 50),
        ("CartPole-v1", {"max_episode_steps": 40}, None, 40),
        ("CartPole-v1", {"max_episode_steps": None}, None, None),
        ("CartPole-v1", {}, 500, None),  # its own limit
    ],
)
def test_an_evaluation_has_the_cap_of_its_run(
    lottery: EnvironmentSettings,
    tmp_path: Path,
    env_id: str,
    description: dict[str, Any],
    asked: int | None,
    cap: int | None,
) -> None:
    limit = describe(EnvironmentSettings(env_id)).max_episode_steps
    assert Whereabouts(tmp_path, description, None).episode_cap(limit, asked) == cap


def test_the_environments_are_closed(lottery: EnvironmentSettings) -> None:
    play_episodes(Yes(), lottery, episodes=30, seed=0)
    assert len(Lottery.made) == 30
    assert all(env.closed for env in Lottery.made)


def test_the_unit_of_several_replicas_is_the_training_run() -> None:
    agents = (
        AgentEvaluation("replica_0", (1.0, 3.0), (1, 1)),
        AgentEvaluation("replica_1", (5.0, 7.0), (1, 1)),
    )
    made = Evaluation(Path("/x"), "E-v0", 2, 0, agents)
    document = made.to_json()
    assert document["runs"] == [2.0, 6.0]
    assert document["mean"] == 4.0
    assert document["interval_over"] == "training runs"
    # t(0.975, 1) = 12.706, deviation 2.828, of two.
    assert document["interval"] == pytest.approx([4 - 25.412, 4 + 25.412], abs=1e-3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize(
    "returns",
    [(math.inf, 1.0), (-math.inf, 1.0), (math.inf, -math.inf), (1.7e308, 1.7e308), (1e200, 1e200)],
    ids=str,
)
def test_returns_beyond_what_can_be_computed_with_are_shown_without_an_interval(
    returns: tuple[float, ...], number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    agents = [AgentEvaluation("replica_0", returns, (1, 1))]
    agents += [AgentEvaluation(f"replica_{n}", (1.0, 3.0), (1, 1)) for n in range(1, number)]
    made = Evaluation(
        Path("/x"), "E-v0", 2, 0, tuple(agents), yardstick=Yardstick(others=((1.0, 2.0, 3.0),))
    )
    document = made.to_json()
    assert document["interval"] is None
    assert document["prediction"] is None
    assert document["interval_reason"] == "values beyond 1e+50 bear none"
    print_evaluation(made)
    assert "none: values beyond 1e+50 bear none" in capsys.readouterr().out


def test_the_unit_of_one_agent_is_the_episode() -> None:
    made = Evaluation(Path("/x"), "E-v0", 2, 0, (AgentEvaluation("a", (1.0, 3.0), (1, 1)),))
    assert made.to_json()["interval_over"] == "episodes of one agent"
    assert made.summary.mean == 2.0


def test_an_evaluation_without_a_champion_names_the_checkpoints(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "a-20260101-000000")
    (paths.trial("t0001") / "checkpoint_000000").mkdir()
    with pytest.raises(UserError, match="has no champion; give a checkpoint of one of its trials"):
        evaluate("last", str(tmp_path))


def test_an_unknown_replica_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "a-20260101-000000")
    checkpoint = paths.trial("t0001") / "checkpoint_000000"
    for seed in (0, 7, 10):
        (checkpoint / f"replica_{seed}").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no replica 3 in .*; it has those of the seeds 0, 7, 10"):
        evaluate(str(checkpoint), str(tmp_path), replica=3)


def test_a_folder_whose_environment_is_unknown_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"it has no agent.json and lies in no run"):
        evaluate(str(tmp_path), str(tmp_path))


def test_a_torch_checkpoint_has_the_replicas_that_its_description_names(tmp_path: Path) -> None:
    space = {"type": "Discrete", "n": 2, "start": 0}
    spaces = {"observation_space": space, "action_space": space}
    described = {"backend": "torch", "seeds": [4, 9], **spaces}
    (tmp_path / "agent.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match=r"no replica 3 in .*; it has those of the seeds 4, 9"):
        evaluate(str(tmp_path), str(tmp_path), replica=3)


def test_a_damaged_description_is_an_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "agent.json").write_text("{")
    with pytest.raises(UserError, match=r"agent.json is damaged: "):
        evaluate(str(tmp_path), str(tmp_path))


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An agent out of its run, with a module that was recorded in a folder beside it."""
    champion = extract_run(tmp_path / "theirs") / "champion"
    folder = shutil.copytree(champion, tmp_path / "agent")
    described = json.loads((folder / "agent.json").read_text())
    described["environment"] |= {
        "id": "Alone-v0",
        "module": "alone_env",
        "search_paths": [str(tmp_path / "before")],
    }
    (folder / "agent.json").write_text(json.dumps(described))
    seal_folder(folder)
    (tmp_path / "before").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", list(sys.path))
    return folder


@pytest.fixture
def _forgotten() -> Iterator[None]:
    yield
    sys.modules.pop("alone_env", None)
    gymnasium.registry.pop("Alone-v0", None)


MODULE = """\
import gymnasium
gymnasium.register("Alone-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=9)
"""


@pytest.mark.usefixtures("_forgotten")
def test_the_module_of_an_agent_alone_is_found_here_and_asked_for(alone: Path) -> None:
    Path("alone_env.py").write_text(MODULE)
    with pytest.raises(UserError, match=r"import alone_env \(looked up in .*/before, .*/here"):
        evaluate(str(alone), "runs", episodes=1)
    assert "alone_env" not in sys.modules
    assert len(evaluate(str(alone), "runs", episodes=1, trust=True).agents) == 1


@pytest.mark.usefixtures("_forgotten")
def test_where_it_was_recorded_the_module_of_an_agent_alone_comes_first(alone: Path) -> None:
    (alone.parent / "before" / "alone_env.py").write_text(MODULE)
    Path("alone_env.py").write_text("raise RuntimeError")
    assert len(evaluate(str(alone), "runs", episodes=1).agents) == 1
