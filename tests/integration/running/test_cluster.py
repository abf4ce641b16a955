"""A sweep on a cluster of two nodes, one of which is broken: real Ray, on one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from cluster_nodes import IsolatedNode, can_hide_folders
from decisions import check_decisions
from ray.cluster_utils import Cluster
from ray.experimental import internal_kv

from sweeper.api import open_run
from sweeper.environments.modules import PACKED
from sweeper.journal import (
    Event,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
    read_journal,
)
from sweeper.metrics import ITERATION
from sweeper.paths import RunPaths
from sweeper.states import TrialState

MEMORY = 80 * 2**20
SPEC = """
name: tiny
environment: {{id: Picky-v0, module: envs}}
algorithm: PPO
backend: torch
seeds: 1
param_space:
  lr: {{loguniform: [1.0e-4, 1.0e-2]}}
  train_batch_size_per_learner: 100
  minibatch_size: 50
  num_epochs: 1
  num_envs_per_env_runner: 1
  model_config: {{fcnet_hiddens: [8]}}
search: {{num_samples: 8, seed: 3, max_concurrent: 4}}
stop: {{training_iteration: 2}}
selection: {{finalists: 0}}
resources: {{retries: 1}}
ray: {{address: "{address}"}}
tracking: null
"""
ENVIRONMENT = """
import pathlib, gymnasium, ray
class Picky(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    def __init__(self):
        broken = pathlib.Path(__file__).with_name("broken").read_text()
        if ray.is_initialized():
            node = ray.get_runtime_context().get_node_id()
            pathlib.Path(__file__).with_name(f"seen_{node}").touch()
            if node == broken:
                raise OSError("libpicky.so is not on this node")
    def reset(self, *, seed=None, options=None):
        self.count = 0
        return self.observation_space.low, {}
    def step(self, action):
        self.count += 1
        return self.observation_space.low, float(action), self.count >= 5, False, {}
gymnasium.register("Picky-v0", entry_point=Picky)
"""


@dataclass(frozen=True)
class TwoNodes:
    """A cluster of a head and one more node, which does not see what is in ``hidden``."""

    address: str
    second: str
    hidden: Path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    hidden = tmp_path_factory.mktemp("hidden")
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": MEMORY},
    )
    node = IsolatedNode(made.address, 3, hidden if can_hide_folders() else None)
    yield TwoNodes(made.address, node.node_id, hidden)
    node.kill()
    made.shutdown()
    if ray.is_initialized():  # by other tests of this process; the shutdown forgot their store
        internal_kv._initialize_internal_kv(ray._private.worker.global_worker.gcs_client)


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Call ``sweeper`` in a folder."""
    command = [sys.executable, "-m", "sweeper", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)


def sweep(folder: Path, *options: str) -> tuple[RunPaths, str]:
    """Run ``tiny.yaml``; the run's folder, and what was said."""
    done = call(folder, "run", "tiny.yaml", *options, "--json")
    assert done.returncode == 0, done.stderr
    return RunPaths(Path(json.loads(done.stdout)["run"])), done.stderr


@pytest.mark.acceptance
def test_a_node_on_which_everything_fails_is_avoided_and_named(
    cluster: TwoNodes, tmp_path: Path
) -> None:
    broken = cluster.second
    (tmp_path / "broken").write_text(broken)
    (tmp_path / "envs.py").write_text(ENVIRONMENT)
    (tmp_path / "tiny.yaml").write_text(SPEC.format(address=cluster.address))
    paths, said = sweep(tmp_path)
    events = list(read_journal(paths.journal))
    failed = [event for event in events if isinstance(event, TrialRetried)]
    # Each of them got on at the other node, and once that was known to work nobody was sent to
    # this one any more.
    assert 3 <= len(failed) <= 6
    assert all(f"({broken[:8]})" in event.error for event in failed)
    assert all("libpicky.so is not on this node" in event.error for event in failed)
    states = [event.state for event in events if isinstance(event, TrialEnded)]
    assert states == ["TERMINATED"] * 8
    (line,) = [line for line in said.splitlines() if "everything fails on node" in line]
    assert broken[:8] in line


@pytest.mark.acceptance
def test_a_search_and_a_scheduler_learn_from_both_nodes(cluster: TwoNodes, tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("none")
    (tmp_path / "envs.py").write_text(ENVIRONMENT)
    (tmp_path / "tiny.yaml").write_text(SPEC.format(address=cluster.address))
    paths, _ = sweep(
        tmp_path,
        "search={algorithm: tpe, n_startup_trials: 4, num_samples: 12, max_concurrent: 4}",
        "scheduler={type: asha, grace_period: 200, reduction_factor: 2}",
        "stop={num_env_steps_sampled_lifetime: 600}",
    )
    assert len(list(tmp_path.glob("seen_*"))) == 2
    run = open_run(paths.root)
    trials = run.results.trials
    assert len({repr(one.parameters) for one in trials}) == len(trials) == 12
    assert {one.state for one in trials} == {TrialState.TERMINATED, TrialState.PRUNED}
    check_decisions(paths)
    told = {"TERMINATED": "COMPLETE", "PRUNED": "PRUNED"}
    assert [one.state.name for one in run.to_optuna().trials] == [told[one.state] for one in trials]


@pytest.mark.skipif(not can_hide_folders(), reason="folders can't be hidden from a process")
def test_a_storage_on_one_nodes_disk_is_refused_by_name_and_leaves_nothing(
    cluster: TwoNodes, tmp_path: Path
) -> None:
    storage = cluster.hidden / "runs"
    (tmp_path / "broken").write_text("none")
    (tmp_path / "envs.py").write_text(ENVIRONMENT)
    (tmp_path / "tiny.yaml").write_text(SPEC.format(address=cluster.address))
    done = call(tmp_path, "run", "tiny.yaml", f"storage={storage}", "-q")
    assert done.returncode == 2, done.stderr
    first, line = done.stderr.splitlines()
    assert first == "error: trials would fail on this cluster:"
    assert cluster.second[:8] in line
    assert f"the storage {storage} is not shared" in line
    assert "storage=PATH" in line
    assert list(storage.iterdir()) == []


@pytest.mark.skipif(not can_hide_folders(), reason="folders can't be hidden from a process")
def test_the_doctor_says_of_each_node_what_a_sweep_would_lack(
    cluster: TwoNodes, tmp_path: Path
) -> None:
    bad = call(tmp_path, "doctor", "--address", cluster.address, "--storage", str(cluster.hidden))
    assert bad.returncode == 1
    assert bad.stderr == "error: not fit for a sweep: 1 of 2 nodes\n"
    rows = [line.split()[0] for line in bad.stdout.splitlines()]
    assert sorted(rows) == ["failed", "node", "node", "ok"]
    assert f"({cluster.second[:8]}): the storage {cluster.hidden} is not shared" in bad.stdout
    good = call(tmp_path, "doctor", "--address", cluster.address, "--storage", "new/runs", "--json")
    assert good.returncode == 0, good.stderr
    answer = json.loads(good.stdout)
    assert answer["fit"]
    assert [node["status"] for node in answer["nodes"]] == ["ok", "ok"]
    assert list(tmp_path.iterdir()) == []


TRAVELLING = """
import pathlib, gymnasium
import numpy as np
from helper import LENGTH
class Travelling(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    def __init__(self, place):
        start = float(pathlib.Path(__file__).with_name("start.txt").read_text())
        self.start = np.array([start, 0.0])
        import ray
        if ray.is_initialized():
            node = ray.get_runtime_context().get_node_id()
            (pathlib.Path(place) / node).write_text(__file__)
    def reset(self, *, seed=None, options=None):
        self.count = 0
        return self.start.astype(np.float32), {}
    def step(self, action):
        self.count += 1
        return self.start.astype(np.float32), float(action), self.count >= LENGTH, False, {}
gymnasium.register("Picky-v0", entry_point=Travelling)
"""


@pytest.mark.skipif(not can_hide_folders(), reason="folders can't be hidden from a process")
def test_a_node_without_the_environments_module_is_sent_it_with_what_lies_beside_it(
    cluster: TwoNodes, tmp_path: Path
) -> None:
    project = cluster.hidden / "project"
    project.mkdir()
    (project / "envs.py").write_text(TRAVELLING)
    (project / "helper.py").write_text("LENGTH = 5\n")
    (project / "start.txt").write_text("0.5")
    (project / "film.bin").write_bytes(bytes(21 * 2**20))
    (project / "tiny.yaml").write_text(SPEC.format(address=cluster.address))
    seen = tmp_path / "seen"
    seen.mkdir()
    options = f"environment.kwargs={{place: {seen}}}", f"storage={tmp_path / 'runs'}"
    paths, said = sweep(project, *options, "search.num_samples=12")
    events = read_journal(paths.journal)
    states = [event.state for event in events if isinstance(event, TrialEnded)]
    assert states == ["TERMINATED"] * 12
    places = {file.name: file.read_text() for file in seen.iterdir()}
    assert PACKED in places.pop(cluster.second)
    assert list(places.values()) == [str(project / "envs.py")]
    assert f"lacks what is large in it: {project / 'film.bin'} (22 MB)" in said


def test_a_module_that_only_the_driver_can_import_is_said_of_each_node(
    cluster: TwoNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "envs_of_the_driver.py").write_text(SLOW)
    (tmp_path / "tiny.yaml").write_text(SPEC.format(address=cluster.address))
    monkeypatch.setenv("PYTHONPATH", str(library), prepend=os.pathsep)
    module = "environment.module=envs_of_the_driver"
    done = call(tmp_path, "run", "tiny.yaml", module, f"storage={tmp_path / 'runs'}")
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("node ")]
    assert len(lines) == 2
    assert all(": no module named envs_of_the_driver; looked in " in line for line in lines)
    assert all(line.endswith("; install it there, or lay it beside the spec") for line in lines)


SLOW = """
import time, gymnasium
class Slow(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        self.count = 0
        return self.observation_space.low, {}
    def step(self, action):
        time.sleep(0.003)
        self.count += 1
        return self.observation_space.low, float(action), self.count >= 5, False, {}
gymnasium.register("Picky-v0", entry_point=Slow)
"""


def wait_until(holds: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120.0
    while not holds():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.3)


def count_running(events: Sequence[Event]) -> list[int]:
    """How many trials run after each start and end."""
    running: set[str] = set()
    counts = []
    for event in events:
        if isinstance(event, TrialStarted):
            running.add(event.trial_id)
        elif isinstance(event, TrialEnded | TrialRetried):
            running.discard(event.trial_id)
        counts.append(len(running))
    return counts


@pytest.mark.acceptance
def test_a_sweep_waits_for_a_node_loses_it_and_goes_on_with_the_next_one(
    cluster: TwoNodes, tmp_path: Path
) -> None:
    """No node of the first two has room for a trial. One lost node costs no retry."""
    (tmp_path / "envs.py").write_text(SLOW)
    (tmp_path / "tiny.yaml").write_text(SPEC.format(address=cluster.address))
    log = tmp_path / "log"
    command = [sys.executable, "-m", "sweeper", "run", "tiny.yaml", "-q"]
    options = ["search={num_samples: 3, seed: 3}", "resources={cpus: 4, retries: 0}"]
    options += ["stop={training_iteration: 25}", "checkpoint={every_env_steps: 300, keep: 1}"]
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, *options], cwd=tmp_path, stderr=stream)

    def read() -> list[Event]:
        return [one for path in tmp_path.glob("runs/*/journal.jsonl") for one in read_journal(path)]

    def count(kind: type[Event]) -> int:
        return len({one.trial_id for one in read() if isinstance(one, kind)})

    nodes = []
    try:
        wait_until(lambda: "no trial runs: t0001 needs 4 CPUs" in log.read_text(), process, log)
        assert count(TrialStarted) == 0
        nodes.append(IsolatedNode(cluster.address, 8))
        wait_until(lambda: count(TrialCheckpointed) == 2, process, log)
        nodes.pop().kill()
        wait_until(lambda: count(TrialRetried) == 2, process, log)
        nodes.append(IsolatedNode(cluster.address, 8))
        assert process.wait(240) == 0, log.read_text()
    finally:
        process.kill()
        for node in nodes:
            node.kill()
    events = read()
    assert max(count_running(events)) == 2  # what the added node has room for
    asked = [event.trial_id for event in events if isinstance(event, TrialAsked)]
    ended = [event for event in events if isinstance(event, TrialEnded)]
    assert sorted(asked) == sorted(event.trial_id for event in ended) == ["t0001", "t0002", "t0003"]
    assert {event.state for event in ended} == {TrialState.TERMINATED}
    lost = [event for event in events if isinstance(event, TrialRetried)]
    assert len(lost) == 2
    for event in lost:
        index = events.index(event)
        saved = [one for one in events[:index] if isinstance(one, TrialCheckpointed)]
        last = [one for one in saved if one.trial_id == event.trial_id][-1]
        reports = [one for one in events[index:] if isinstance(one, TrialReported)]
        mine = [one.metrics[ITERATION] for one in reports if one.trial_id == event.trial_id]
        assert mine == list(range(int(last.metrics[ITERATION]) + 1, 26))
