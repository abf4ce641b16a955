"""What docs/environments.md says is so: its examples are planned, its messages are said.

tests/integration/environments/test_trained_examples.py trains some of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from command_line import sweeper, sweeper_here
from environments_page import (
    PAGE,
    Command,
    flatten,
    read_code,
    read_commands,
    read_files,
    read_specs,
    read_table,
    written,
)
from gymnasium import spaces

from sweeper.environments.probing import probe
from sweeper.errors import SpecError
from sweeper.planning.plan import build_plan, load_plan
from sweeper.spec import load_spec

# The packages of the examples that need one; most machines of ours don't have them.
NEEDS = {
    "cheetah.yaml": ("mujoco", "imageio"),
    "highway.yaml": ("highway_env",),
    "minigrid_flat.yaml": ("minigrid",),
    "minigrid_image.yaml": ("minigrid",),
    "minigrid_parts.yaml": ("minigrid",),
    "pong.yaml": ("ale_py", "cv2"),
    "racing.yaml": ("Box2D", "cv2"),
}
REFUSED = {"clash.yaml", "lake.yaml", "script.yaml", "statistics.yaml"}
PLANS = read_commands("plan")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with written(tmp_path_factory.mktemp("page")) as folder:
        yield folder


@pytest.mark.parametrize("name", [one for one in read_specs() if one not in REFUSED | NEEDS.keys()])
def test_an_example_can_be_planned(folder: Path, name: str) -> None:
    assert build_plan(load_spec(folder / name)).trials == 1


@pytest.mark.parametrize("name", NEEDS)
def test_an_example_that_needs_a_package_can_be_planned(folder: Path, name: str) -> None:
    for package in NEEDS[name]:
        pytest.importorskip(package, exc_type=ImportError)
    # In a process of its own, since these packages register many ids.
    done = sweeper("plan", name, cwd=folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", PLANS, ids=lambda one: one.words[-1])
def test_plan_says_what_the_page_quotes(folder: Path, command: Command) -> None:
    done = sweeper_here(*command.words, cwd=folder)
    assert done.returncode == (2 if command.words[-1] in REFUSED else 0)
    said = flatten(done.stdout + done.stderr)
    assert command.says
    for line in command.says:
        assert flatten(line) in said


def test_each_refused_example_shows_what_is_said() -> None:
    assert {command.words[-1] for command in PLANS} >= REFUSED
    assert NEEDS.keys() <= set(read_specs())


def test_modules_are_not_executed_as_scripts(folder: Path, capfd: pytest.CaptureFixture) -> None:
    assert "__main__" in read_files()["walk_envs.py"]
    build_plan(load_spec(folder / "walk.yaml"))
    assert capfd.readouterr().out == ""


# --- what an environment returns -------------------------------------------------------------


class Returning(gymnasium.Env):
    """Returns what a cell of the page says."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, code: str):
        self.code = code

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        names = {"np": np, "seen": np.zeros(2, np.float32)}
        return eval(self.code, names)  # noqa: S307 - a cell of our own page


RETURNS = read_table("`step` returns")


@pytest.mark.parametrize(("cell", "message"), RETURNS)
def test_what_step_returns_is_answered_as_the_page_says(cell: str, message: str) -> None:
    (code,) = read_code(cell)
    fault, notes = probe(Returning(code))
    assert (fault or notes[0]).removesuffix(" (step 1)") == message


def test_the_page_has_faults_and_deviations() -> None:
    assert len(RETURNS) >= 10
    (right,) = {str(Returning.observation_space)}
    assert right in " ".join(message for _, message in RETURNS)


# --- spaces ----------------------------------------------------------------------------------

SPACES_ENV = """
import gymnasium
import numpy as np
from gymnasium.spaces import *

class Page(gymnasium.Env):
    def __init__(self, observations, actions):
        self.observation_space, self.action_space = eval(observations), eval(actions)

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        return self.observation_space.sample(), 0.0, False, False, {}

gymnasium.register("PageSpaces-v0", Page, max_episode_steps=9)
"""
TRAINERS = {
    "PPO": (("torch", "PPO"), ("rllib", "PPO")),
    "DQN": (("torch", "DQN"), ("rllib", "DQN")),
    "SAC": (("rllib", "SAC"),),
    "APPO, IMPALA": (("rllib", "APPO"), ("rllib", "IMPALA")),
    "torch": (("torch", "PPO"), ("torch", "DQN")),
    "rllib": (("rllib", "PPO"), ("rllib", "DQN"), ("rllib", "APPO"), ("rllib", "IMPALA")),
}
SEEN = [
    (one, "Discrete(2)", trainers, answer)
    for cell, *answers, _ in read_table("observation")
    for one in read_code(cell)
    for trainers, answer in zip(("torch", "rllib"), answers, strict=True)
]
SENT = [
    ("Box(-1, 1, (2,))", one, trainers, answer)
    for cell, *answers in read_table("action")
    for one in read_code(cell)
    for trainers, answer in zip(("PPO", "DQN", "SAC", "APPO, IMPALA"), answers, strict=True)
]


@pytest.mark.parametrize(("observations", "actions", "trainers", "answer"), [*SEEN, *SENT])
def test_a_space_is_taken_or_refused_as_the_page_says(
    folder: Path, observations: str, actions: str, trainers: str, answer: str
) -> None:
    (folder / "page_spaces.py").write_text(SPACES_ENV, encoding="utf-8")
    kwargs = f"{{observations: '{observations}', actions: '{actions}'}}"
    for backend, algorithm in TRAINERS[trainers]:
        (folder / "spaces.yaml").write_text(
            f"environment: {{id: PageSpaces-v0, module: page_spaces, kwargs: {kwargs}}}\n"
            f"algorithm: {algorithm}\nbackend: {backend}\nseeds: 1\n"
            "stop: {training_iteration: 1}\n",
            encoding="utf-8",
        )
        if answer == "yes":
            assert load_plan(folder / "spaces.yaml").trials == 1
        else:
            assert answer == "no"
            with pytest.raises(SpecError, match="PageSpaces-v0: "):
                load_plan(folder / "spaces.yaml")


# --- arguments in YAML -----------------------------------------------------------------------


def test_arguments_are_read_as_the_page_says(folder: Path) -> None:
    for cell, what, _ in read_table("written"):
        for written_so in read_code(cell):
            (folder / "argument.yaml").write_text(
                "algorithm: PPO\nstop: {training_iteration: 1}\n"
                "environment:\n  id: Walk-v0\n  module: walk_envs\n"
                f"  kwargs:\n    size: {written_so}\n",
                encoding="utf-8",
            )
            try:
                size = load_spec(folder / "argument.yaml").environment.kwargs["size"]
            except SpecError:
                assert "error" in what, written_so
            else:
                kind = {float: "number", list: "list", str: "text"}[type(size)]
                assert kind in what.partition(";")[0], written_so
                assert "error" not in what, written_so


def test_links_within_the_page_lead_somewhere() -> None:
    heads = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
