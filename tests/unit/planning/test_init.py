"""`sweeper init` writes a spec that plans without changes, and overwrites no file."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from sweeper.cli import cli
from sweeper.errors import UserError
from sweeper.planning.plan import SweepPlan, load_plan
from sweeper.planning.starter import Starter, make_starter, write_new
from sweeper.search.distributions import distributions
from sweeper.spec.keys.names import default

DISCRETE = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "FrozenLake-v1", "Taxi-v3")
CONTINUOUS = ("Pendulum-v1", "MountainCarContinuous-v0")
PAIRS = [
    *((env_id, algorithm) for env_id in DISCRETE for algorithm in ("PPO", "DQN", "SAC", "IMPALA")),
    *((env_id, algorithm) for env_id in CONTINUOUS for algorithm in ("PPO", "SAC", "APPO")),
]


@pytest.fixture(autouse=True)
def _a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


@cache
def planned(env_id: str, algorithm: str) -> tuple[Starter, SweepPlan]:
    starter = make_starter(env_id, algorithm)
    write_new(Path("spec.yaml"), starter.text)
    return starter, load_plan("spec.yaml")


@pytest.mark.parametrize(("env_id", "algorithm"), PAIRS)
def test_a_starter_plans_without_changes_or_warnings(env_id: str, algorithm: str) -> None:
    starter, plan = planned(env_id, algorithm)
    assert plan.warnings == ()
    assert plan.trials == 30
    assert plan.spec.evaluation is not None
    assert plan.spec.name == starter.name
    assert max(len(line) for line in starter.text.splitlines()) <= 100


@pytest.mark.parametrize(("env_id", "algorithm"), PAIRS)
def test_learning_rates_are_searched_on_a_log_scale_in_a_usual_range(
    env_id: str, algorithm: str
) -> None:
    spec = planned(env_id, algorithm)[1].spec
    rates = [leaf for path, leaf in distributions(spec.param_space) if path[-1].endswith("lr")]
    assert rates
    for leaf in rates:
        assert leaf.kind == "loguniform"
        assert leaf.bounds is not None
        assert leaf.bounds[0] >= 1e-5
        assert leaf.bounds[1] <= 1e-2
    assert default(algorithm, ("gamma",)) in dict(distributions(spec.param_space))[("gamma",)].args


def test_discounts_suit_the_length_of_episodes() -> None:
    short, long = make_starter("Pendulum-v1").text, make_starter("Acrobot-v1").text
    assert "gamma: {choice: [0.9, 0.95, 0.98, 0.99]}" in short  # 200 steps
    assert "gamma: {choice: [0.97, 0.98, 0.99, 0.995]}" in long  # 500 steps


def test_gymnasiums_reward_threshold_is_what_counts_as_solved_and_ends_no_trial() -> None:
    write_new(Path("spec.yaml"), make_starter("CartPole-v1").text)
    spec = load_plan("spec.yaml").spec
    assert spec.selection.solved_at == 475
    assert list(spec.stop) == ["num_env_steps_sampled_lifetime"]
    assert "solved_at" not in make_starter("Pendulum-v1").text  # it has no threshold
    assert "solved_at" not in make_starter("CartPole-v1", "SAC").text  # and this no confirmation


@pytest.mark.parametrize("file", ["ll.yaml", "my specs/first one.yaml", "a\nname: b.yaml"])
def test_the_header_names_the_file_that_was_asked_for(file: str) -> None:
    Path("my specs").mkdir()
    runner = CliRunner()
    assert runner.invoke(cli, ["init", "CartPole-v1", "-o", file]).exit_code == 0
    text = Path(file).read_text()
    command = next(line for line in text.splitlines() if line.startswith("#   sweeper plan"))
    named = shlex.split(command)[3].replace("\\n", "\n")
    assert named == file
    assert load_plan(file).spec.name == "cartpole-ppo"


def test_the_searcher_and_the_scheduler_are_those_that_the_benchmark_recommends() -> None:
    text = make_starter("CartPole-v1").text
    assert "docs/choosing.md" in text
    write_new(Path("spec.yaml"), text)
    spec = load_plan("spec.yaml").spec
    assert (spec.search.algorithm, spec.scheduler.type) == ("random", "median")


def test_a_custom_environment_is_found_in_the_working_directory() -> None:
    Path("starter_maze.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('StarterMaze-v3', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    starter = make_starter("starter_maze:StarterMaze-v3")
    assert starter.name == "startermaze-ppo"
    write_new(Path("spec.yaml"), starter.text)
    assert load_plan("spec.yaml").trials == 30


@pytest.mark.parametrize(
    ("env_id", "words"),
    [
        ("StarterGrid-v0", "starter_grid.py registers it, so write starter_grid:StarterGrid-v0"),
        ("mine/Grid-v1", "starter_grid.py registers it, so write starter_grid:mine/Grid-v1"),
        (
            "starter_grid",
            "starter_grid.py registers StarterGrid-v0 and mine/Grid-v1, "
            "so write starter_grid:StarterGrid-v0",
        ),
        ("starter_grid:StarterGird-v0", "did you mean starter_grid:StarterGrid-v0?"),
        ("starter_grid:StarterGrid-v3", "did you mean starter_grid:StarterGrid-v0?"),
    ],
)
def test_an_id_without_its_module_is_answered_with_the_module(
    env_id: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "starter_grid", raising=False)
    Path("starter_broken.py").write_text("register(id='StarterGrid-v0'")
    Path("starter_grid.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.registration import register\n"
        "register(id='StarterGrid-v0', entry_point='gymnasium.envs.classic_control:CartPoleEnv')\n"
        "gymnasium.register('mine/Grid-v1', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    with pytest.raises(UserError, match=re.escape(words)):
        make_starter(env_id)


REGISTERING = (
    "import gymnasium\ngymnasium.register('{}', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
)


@pytest.mark.parametrize(
    ("place", "env_id", "words"),
    [
        (
            "nested_a/envs.py",
            "NestedA-v0",
            "nested_a/envs.py registers it, so write nested_a.envs:",
        ),
        ("nested_b/__init__.py", "NestedB-v0", "registers it, so write nested_b:NestedB-v0"),
        ("nested_c/d/e.py", "NestedC-v0", "so write nested_c.d.e:NestedC-v0"),
        ("nested_f/envs.py", "nested_f.envs", "so write nested_f.envs:NestedF-v0"),
    ],
)
def test_an_id_of_a_package_is_answered_with_its_module(
    place: str, env_id: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = "NestedF-v0" if "." in env_id else env_id
    Path(place).parent.mkdir(parents=True)
    Path(place).write_text(REGISTERING.format(registered))
    with pytest.raises(UserError, match=re.escape(words)) as refused:
        make_starter(env_id)
    named = str(refused.value).rpartition("so write ")[2]
    write_new(Path("spec.yaml"), make_starter(named).text)
    assert load_plan("spec.yaml").spec.environment.id == named


def test_only_folders_that_can_be_packages_are_looked_through() -> None:
    for place in (".venv/lib", "python3.11/site-packages", "a/b/c/d/e"):
        Path(place).mkdir(parents=True)
        Path(place, "hidden.py").write_text(REGISTERING.format("Hidden-v0"))
    for number in range(300):  # however many there are
        Path(f"b{number}").mkdir()
    with pytest.raises(UserError, match="needs its module, as in my_envs:Hidden-v0"):
        make_starter("Hidden-v0")


@pytest.mark.parametrize(
    ("env_id", "module", "whose"),
    [
        ("ALE/Pong-v5", "ale_py", "the Atari games"),
        ("MiniGrid-Empty-5x5-v0", "minigrid", "MiniGrid's environments"),
        ("highway-fast-v0", "highway_env", "highway-env's environments"),
    ],
)
def test_an_id_of_a_known_package_is_answered_with_what_init_takes(
    env_id: str, module: str, whose: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written = f"write {module}:{env_id}"
    if importlib.util.find_spec(module) is None:
        with pytest.raises(UserError, match=rf"{whose} need .* install .*; then {written}$"):
            make_starter(env_id)
    (tmp_path / f"{module}.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=f"{module} registers {whose}, so {written}$"):
        make_starter(env_id)


SPACES = """
import gymnasium
import numpy as np
from gymnasium import spaces
class Seen(gymnasium.Env):
    action_space = spaces.Discrete(2)
    def __init__(self{arguments}):
        self.observation_space = {space}
    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {{}}
    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {{}}
gymnasium.register('{name}-v0', Seen)
"""


@pytest.mark.parametrize(
    ("name", "space", "arguments", "keys"),
    [
        ("ByHandPhoto", "spaces.Box(0, 255, (210, 160, 3), 'uint8')", "",
         "environment.wrappers or param_space.model_config"),
        ("ByHandText", "spaces.Dict({'seen': spaces.Box(0, 1, (2,)), 'said': spaces.Text(3)})", "",
         "environment.wrappers"),
        ("ByHandMatrix", "spaces.Box(0, 1, (5, 5))", "", "environment.wrappers"),
        ("ByHandSized", "spaces.Box(0, 1, (size,))", ", size", "environment.kwargs"),
    ],
)  # fmt: skip
def test_what_has_to_be_written_by_hand_is_said(
    name: str, space: str, arguments: str, keys: str
) -> None:
    module = f"starter_{name.lower()}"
    Path(f"{module}.py").write_text(SPACES.format(name=name, space=space, arguments=arguments))
    with pytest.raises(UserError) as refused:
        make_starter(f"{module}:{name}-v0")
    assert str(refused.value).endswith(
        f"; init can't write that: put {keys} into a spec by hand, beside environment.id: "
        f'"{module}:{name}-v0" (docs/environments.md has examples)'
    )


def test_an_algorithm_that_does_not_fit_is_not_mended_by_hand() -> None:
    with pytest.raises(UserError) as refused:
        make_starter("Pendulum-v1", "DQN")
    assert "by hand" not in str(refused.value)


def test_images_get_the_default_network() -> None:
    Path("starter_image.py").write_text(
        "import gymnasium\n"
        "class Image(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(0, 255, (84, 84, 3), 'uint8')\n"
        "    action_space = gymnasium.spaces.Discrete(2)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        return self.observation_space.low, {}\n"
        "    def step(self, action):\n"
        "        return self.observation_space.low, 0.0, False, False, {}\n"
        "gymnasium.register('StarterImage-v0', Image)\n"
    )
    starter = make_starter("starter_image:StarterImage-v0")
    assert "fcnet_hiddens" not in starter.text
    write_new(Path("spec.yaml"), starter.text)
    assert load_plan("spec.yaml").spec.param_space["num_epochs"].args == (5, 10, 20)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("CartPoel-v1",), "did you mean CartPole-v1"),
        (("CartPole-v1", "ppo"), "did you mean PPO"),
        (("Pendulum-v1", "DQN"), "DQN can't act in Box"),
        (("CartPole-v1", "PPO", "tf"), "must be one of torch, rllib"),
        (("CartPole-v1", "SAC", "torch"), "torch has no SAC"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        make_starter(*arguments)


def test_nothing_is_overwritten() -> None:
    runner = CliRunner()
    first = runner.invoke(cli, ["init", "CartPole-v1", "--algorithm", "DQN"])
    assert first.exit_code == 0
    assert first.stdout == "cartpole-dqn.yaml\n"
    before = Path("cartpole-dqn.yaml").read_text()
    Path("cartpole-dqn.yaml").write_text("mine")
    again = runner.invoke(cli, ["init", "CartPole-v1", "--algorithm", "DQN"])
    assert isinstance(again.exception, UserError)
    assert "is there already" in str(again.exception)
    assert Path("cartpole-dqn.yaml").read_text() == "mine"
    assert runner.invoke(cli, ["init", "CartPole-v1", "--output", "-"]).stdout.startswith(
        "# PPO on"
    )
    assert "environment: CartPole-v1" in before


def test_a_missing_folder_is_an_error() -> None:
    with pytest.raises(UserError, match="can't be written: No such file"):
        write_new(Path("nowhere") / "spec.yaml", "x")
