"""Examples of docs/environments.md are trained, and say in training what the page quotes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import sweeper_here
from environments_page import Command, flatten, read_commands, written
from tiers import leave_after

pytestmark = pytest.mark.usefixtures("ray_cluster")

FAILING = {"solo.yaml"}
RUNS = read_commands("run")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with written(tmp_path_factory.mktemp("page")) as folder:
        yield folder


def check_quotes(command: Command, said: str) -> None:
    assert command.says
    for line in command.says:
        assert flatten(line) in flatten(said)


@pytest.mark.parametrize("command", leave_after(1, RUNS), ids=lambda one: one.words[-1])
def test_a_run_says_what_the_page_quotes(folder: Path, command: Command) -> None:
    done = sweeper_here(*command.words, "tracking=null", cwd=folder)
    assert done.returncode == (1 if command.words[-1] in FAILING else 0), done.stderr
    check_quotes(command, done.stderr)


@pytest.mark.acceptance
def test_the_remedy_for_a_single_instance_trains(folder: Path) -> None:
    options = ["environment.vectorization=async", "seeds=2", "tracking=null"]
    options += ["param_space={train_batch_size_per_learner: 512, num_epochs: 1}"]
    done = sweeper_here("run", "solo.yaml", *options, cwd=folder)
    assert done.returncode == 0, done.stderr


def test_a_trained_example_is_scored_and_held_to_its_code(folder: Path) -> None:
    done = sweeper_here("run", "walk.yaml", "tracking=null", cwd=folder)
    assert done.returncode == 0, done.stderr
    best = json.loads(sweeper_here("best", "--json", cwd=folder).stdout)
    assert 0 <= best["score"] <= 1  # below the wrapper, where a step costs nothing
    module = folder / "walk_envs.py"
    module.write_text(f"{module.read_text('utf-8')}\n# changed\n", encoding="utf-8")
    (command,) = read_commands("evaluate")
    refused = sweeper_here(*command.words, cwd=folder)
    assert refused.returncode == 2
    check_quotes(command, refused.stderr)
