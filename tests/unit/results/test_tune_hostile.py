"""A Tune experiment that is damaged, or comes from a stranger, is read or refused in a sentence."""

from __future__ import annotations

import copy
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from random import Random
from typing import Any

import pytest
from command_line import sweeper_here
from deep_trees import deep_tree
from run_mutations import VALUES, dump, mutate_tree

from sweeper.results.records import SweepResults
from sweeper.results.tune_import.experiments import is_tune_experiment, open_tune

NOW = 1_700_000_000
SECRET = "the only line of a file outside"  # noqa: S105 - none
DIGITS = 10**400
VERBS = [
    ("results", "exp"),
    ("results", "exp", "--json"),
    ("results", "exp", "--csv"),
    ("results", "exp", "--parquet", "trials.parquet"),
    ("best", "exp", "--json"),
    ("status", "exp", "--json"),
    ("advise", "exp"),
    ("logs", "exp"),
]


def trial(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tune's state of a trial."""
    state = {
        "trial_id": f"x_{number:05d}",
        "status": "TERMINATED",
        "relative_logdir": f"trial_{number}",
        "config": {"lr": number / 10},
        "evaluated_params": {"lr": number / 10},
    }
    return state, {"start_time": NOW, "last_result_time": NOW + 9, "num_failures": 0}


def row(number: int, iteration: int) -> dict[str, Any]:
    return {
        "env_runners": {"episode_return_mean": 10.0 * number},
        "num_env_steps_sampled_lifetime": 100 * iteration,
        "training_iteration": iteration,
        "timestamp": NOW + iteration,
        "time_total_s": 1.5 * iteration,
        "checkpoint_dir_name": f"checkpoint_{iteration:06d}",
        "trial_id": f"x_{number:05d}",
        "node_ip": "10.0.0.1",
        "replica/episode_return_mean": [1.0, 2.0],
    }


class Experiment:
    """An experiment whose parts a test changes before it is written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.trials = [trial(number) for number in (1, 2, 3)]
        self.document: Any = {"runner_data": {"_metric": "env_runners/episode_return_mean"}}
        self.rows = {number: [row(number, 1), row(number, 2)] for number in (1, 2)}
        self.params: Any = {"lr": 0.1}

    def write(self) -> None:
        self.root.mkdir()
        if isinstance(self.document, dict):
            pairs = [[dump(part).decode() for part in pair] for pair in self.trials]
            self.document = {"trial_data": pairs, **self.document}
        self.state.write_bytes(dump(self.document))
        for number, rows in self.rows.items():
            folder = self.root / f"trial_{number}"
            (folder / "checkpoint_000002").mkdir(parents=True)
            (folder / "result.json").write_bytes(b"".join(dump(one) + b"\n" for one in rows))
            (folder / "params.json").write_bytes(dump(self.params))
        (self.root / "trial_2" / "error.txt").write_text("ValueError: no luck\n")

    @property
    def state(self) -> Path:
        return self.root / "experiment_state-2026-01-01_00-00-00.json"


@pytest.fixture
def experiment(tmp_path: Path) -> Iterator[Experiment]:
    (tmp_path / "outside").mkdir()
    for name in ("result.json", "params.json", "error.txt", "progress.csv"):
        (tmp_path / "outside" / name).write_text(json.dumps({"secret": SECRET, "lr": SECRET}))
    with chdir(tmp_path):
        yield Experiment(tmp_path / "exp")


def show_all() -> str:
    """What every verb says; nothing of it may come from outside."""
    said = ""
    for verb in VERBS:
        done = sweeper_here(*verb, cwd=Path.cwd())
        assert done.returncode in (0, 1, 2), done.stderr
        assert done.returncode == 0 or done.stderr.startswith(("error: ", "WARNING "))
        if "--json" in verb and done.returncode == 0:
            json.loads(done.stdout, parse_constant=pytest.fail)
        said += done.stdout + done.stderr
    assert SECRET not in said
    return said


def test_a_whole_experiment_is_read(experiment: Experiment) -> None:
    experiment.write()
    assert [one.state for one in open_tune(experiment.root).trials] == ["TERMINATED"] * 3
    assert "10" in show_all()


STATES: list[Any] = [[], "x", None, DIGITS, {"runner_data": []}, {"runner_data": {"_metric": []}}]
STATES += [{"trial_data": value} for value in (7, {}, "x", [7], [[1, 2]], [["[]", "[]"]], [["{"]])]


@pytest.mark.parametrize("document", STATES, ids=lambda one: str(one)[:25])
def test_a_state_of_another_form(experiment: Experiment, document: Any) -> None:
    experiment.document = document
    experiment.write()
    show_all()


PARTS = ["status", "trial_id", "relative_logdir", "config", "evaluated_params"]
OTHERS: list[Any] = [
    *([], {}, 7, None, True, "LOST", DIGITS, float("nan"), [[]], "\ud800", "a\0b", "../outside"),
    *("..", ".", "", "/etc", "a/b", {"a/" * 3000: 1}, {"_type": "CLOUDPICKLE", "value": "80"}),
    *(f"<{depth} {kind}>" for depth in (40, 60, 500, 990) for kind in "[{"),
]


@pytest.mark.parametrize("value", OTHERS, ids=lambda one: repr(one)[:20])
def test_a_trials_state_of_another_form(experiment: Experiment, value: Any) -> None:
    for name in PARTS:
        experiment.trials.append(({**trial(4)[0], name: value}, {}))
    for name in ("start_time", "last_result_time", "num_failures", "last_result"):
        experiment.trials.append((trial(5)[0], {name: value}))
    experiment.write()
    show_all()


@pytest.mark.parametrize("value", OTHERS, ids=lambda one: repr(one)[:20])
def test_a_report_of_another_form(experiment: Experiment, value: Any) -> None:
    experiment.rows[1] += [{**row(1, 3), name: value} for name in row(1, 3)]
    experiment.rows[1] += [{**row(1, 3), name: value} for name in ("replica/diverged", "a/b")]
    for name in ("diverged", "diverged_because", "episode_return_mean"):
        experiment.rows[2].append({**row(2, 3), "env_runners": {f"replica/{name}": value}})
    experiment.rows[1].append(value)
    experiment.params = value
    experiment.write()
    show_all()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)


def _link(path: Path) -> None:
    path.symlink_to(path.parents[1] / "outside" / "result.json")


def _link_to_a_folder(path: Path) -> None:
    path.symlink_to(Path.cwd() / "outside")


PLACES = [
    *("trial_1/result.json", "trial_1/params.json", "trial_2/error.txt", "trial_1/progress.csv"),
    *("experiment_state-2027-01-01_00-00-00.json", "trial_1", "trial_1/checkpoint_000002"),
    "experiment_state-2026-01-01_00-00-00.json",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("put", [_pipe, _socket, _link, _link_to_a_folder, Path.mkdir])
def test_something_else_in_the_place_of_a_file(
    experiment: Experiment, place: str, put: Callable[[Path], object]
) -> None:
    experiment.write()
    path = experiment.root / place
    if path.is_dir():
        path.rename(experiment.root / "away")
    else:
        path.unlink(missing_ok=True)
    if place.endswith(".csv"):
        (experiment.root / "trial_1" / "result.json").unlink()
    put(path)
    show_all()


@pytest.mark.parametrize("text", ["a,b\n" + "9" * 400 + ',"x\0"\n', '"' + "x" * 200_000 + '"\n1\n'])
def test_a_damaged_table_is_read_as_far_as_it_goes(experiment: Experiment, text: str) -> None:
    experiment.write()
    (experiment.root / "trial_1" / "result.json").unlink()
    (experiment.root / "trial_1" / "progress.csv").write_text(text)
    show_all()


def test_a_deep_tree_in_a_trial_is_not_looked_into(experiment: Experiment) -> None:
    experiment.write()
    with deep_tree(experiment.root / "trial_1"):
        show_all()


def test_only_a_pipe_with_the_name_of_a_state_is_no_experiment(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "experiment_state-1.json")
    assert not is_tune_experiment(tmp_path)


def test_what_is_outside_is_not_a_trial(experiment: Experiment) -> None:
    experiment.trials.append(({**trial(4)[0], "relative_logdir": "../outside"}, {}))
    experiment.write()
    results: SweepResults = open_tune(experiment.root)
    assert not any(one.reports for one in results.trials if one.trial_id == "x_00004")


@pytest.mark.parametrize("seed", range(40))
def test_random_changes_are_borne(experiment: Experiment, seed: int) -> None:
    random = Random(seed)  # noqa: S311 - mutations, not secrets
    for tree in (experiment.trials[0][0], experiment.trials[1][1], experiment.rows[1][1]):
        mutate_tree(tree, random)
    experiment.params = copy.deepcopy(random.choice(VALUES))
    experiment.write()
    results = open_tune(experiment.root)
    assert results.trials
    done = sweeper_here(*VERBS[seed % len(VERBS)], cwd=Path.cwd())
    assert done.returncode in (0, 1, 2), done.stderr
