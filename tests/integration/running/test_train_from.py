"""`sweeper train --from`: a run that begins with another's weights, killed and resumed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from command_line import started, sweeper_here
from safetensors.numpy import load_file
from tiers import leave_after

from sweeper.agents.reading import read_agent
from sweeper.api import open_run, train
from sweeper.spec import load_spec

pytestmark = pytest.mark.usefixtures("ray_cluster")

SPEC = """
name: {name}
environment: {environment}
algorithm: {algorithm}
backend: {backend}
seeds: [3, 8]
param_space:
  lr: 0.01
  num_envs_per_env_runner: 1
  model_config: {{fcnet_hiddens: [8]}}
{more}
stop: {{num_env_steps_sampled_lifetime: 300}}
selection: {{finalists: 0}}
"""
PPO = "  train_batch_size_per_learner: 100\n  minibatch_size: 50\n  num_epochs: 2"
DQN = (
    "  num_steps_sampled_before_learning_starts: 50\n  min_sample_timesteps_per_iteration: 100\n"
    "  train_batch_size_per_learner: 8\n  replay_buffer_config: {capacity: 400}"
)
NORMALISED = "{id: CartPole-v1, normalize: {observations: true, rewards: true}}"
# A step of float32 that changes no weight.
STILL = "param_space.lr=1e-30"


@dataclass(frozen=True)
class Source:
    """A finished run whose weights others begin with.

    Attributes:
        cwd: where the command was called, with the spec.
        run: its folder.
        backend: which trained it.
    """

    cwd: Path
    run: Path
    backend: str

    @property
    def checkpoint(self) -> Path:
        return _last_checkpoint(self.run)


KINDS = {
    "torch-PPO": ("torch", "PPO", PPO, NORMALISED),
    "torch-DQN": ("torch", "DQN", DQN, "CartPole-v1"),
    "rllib-PPO": ("rllib", "PPO", PPO, "CartPole-v1"),
}


@pytest.fixture(scope="module", params=leave_after(1, KINDS))
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    cwd = tmp_path_factory.mktemp(request.param)
    backend, algorithm, more, environment = KINDS[request.param]
    text = SPEC.format(
        name="source", environment=environment, algorithm=algorithm, backend=backend, more=more
    )
    (cwd / "spec.yaml").write_text(text)
    done = sweeper_here("train", "spec.yaml", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return Source(cwd, Path(done.stdout.strip()), backend)


def _last_checkpoint(run: Path) -> Path:
    return max(run.glob("trials/t0001/checkpoint_*"))


def _weights(checkpoint: Path, backend: str) -> dict[str, Any]:
    """The networks of all replicas, by name."""
    if backend == "torch":
        found = load_file(checkpoint / "weights.safetensors")
        return {name: one for name, one in found.items() if not name.startswith("normalisation.")}
    module = "learner_group/learner/rl_module/default_policy/module_state.pkl"
    return {
        f"{replica}/{name}": np.asarray(array)
        for replica in ("replica_3", "replica_8")
        for name, array in pickle.loads((checkpoint / replica / module).read_bytes()).items()  # noqa: S301
    }


def _assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def _tags(cwd: Path, run: Path) -> set[str]:
    with closing(sqlite3.connect(cwd / "runs" / "mlflow.db")) as database:
        rows = database.execute(
            "select value from tags where key = 'sweeper.origin' and run_uuid in "
            "(select run_uuid from tags where key = 'sweeper.run' and value = ?)",
            [run.name],
        )
        return {value for (value,) in rows}


def test_training_begins_with_the_weights_and_says_so(source: Source) -> None:
    target = str(source.checkpoint)
    done = sweeper_here("train", "spec.yaml", "name=after", STILL, "--from", target, cwd=source.cwd)
    assert done.returncode == 0, done.stderr
    run = Path(done.stdout.strip())
    words = f"the weights of t0001 of {source.run.name} after 300 env steps"
    first, second, third, *_ = done.stderr.splitlines()
    assert first.endswith(f"begins with {words}")
    assert second == (
        f"note: training begins with {words}: each seed as the replica of the same seed"
    )
    assert third.startswith("note: not taken over: the optimiser's state")
    _assert_same(
        _weights(_last_checkpoint(run), source.backend), _weights(source.checkpoint, source.backend)
    )
    status = json.loads(sweeper_here("status", str(run), "--json", cwd=source.cwd).stdout)
    assert status["origin"] == words
    assert f"began with  {words}" in sweeper_here("status", str(run), cwd=source.cwd).stdout
    assert json.loads((run / "plan.json").read_text())["origin"]["checkpoint"] == target
    assert _tags(source.cwd, run) == {words}
    refused = sweeper_here("confirm", str(run), cwd=source.cwd)
    assert refused.returncode == 2
    assert f"{run.name} began with {words}; a confirmation trains from scratch" in refused.stderr


def test_with_another_learning_rate_and_other_seeds_it_goes_on_from_there(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = source.cwd / "spec.yaml"
    monkeypatch.chdir(source.cwd)  # which the storage is relative to
    run = train(
        load_spec(spec, ["name=other", "param_space.lr=0.05", "seeds=[0, 1, 2]"]),
        from_checkpoint=source.run,
    )
    origin = run.results.origin
    assert origin is not None
    agent = json.loads((source.run / "champion/agent.json").read_text())
    assert origin.seeds == (agent["seed"],) * 3
    begun = load_file(run.paths.start / "weights.safetensors")
    champion = read_agent(source.run / "champion", trust=True)
    for name, array in champion.weights.items():
        np.testing.assert_array_equal(begun[name], np.stack([array] * 3), err_msg=name)
    after = read_agent(run.paths.champion, trust=True).weights
    assert any(not np.array_equal(array, after[name]) for name, array in champion.weights.items())
    if champion.normalisation:
        after = read_agent(run.paths.champion).normalisation
        for name in ("observations.count", "rewards.count"):
            assert after[name] > champion.normalisation[name]


@pytest.mark.parametrize("source", leave_after(1, ["torch-PPO", "rllib-PPO"]), indirect=True)
def test_a_run_that_was_killed_before_its_first_checkpoint_begins_there_again(
    source: Source, tmp_path: Path
) -> None:
    cwd = tmp_path / "work"
    shutil.copytree(source.cwd, cwd)
    (copied,) = cwd.glob(f"runs/{source.run.name}")
    target = str(_last_checkpoint(copied))
    address = ray.get_runtime_context().gcs_address
    options = ("name=killed", STILL, "tracking=null", f"ray.address={address}")
    with started("train", "spec.yaml", *options, "--from", target, cwd=cwd) as process:
        while not (found := list(cwd.glob("runs/killed-*/journal.jsonl"))) or (
            "trial_started" not in found[0].read_text()
        ):
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
    run = found[0].parent
    assert not list(run.glob("trials/t0001/checkpoint_*"))
    due = _weights(Path(target), source.backend)
    shutil.rmtree(copied)  # it is not needed any more
    kept = run / "start" / "weights.safetensors"
    data = kept.read_bytes()
    kept.write_bytes(data[:-1])
    refused = sweeper_here("resume", str(run), cwd=cwd)
    assert refused.returncode == 2
    assert f"t0001 of {run.name} would begin with the weights of t0001 of source-" in refused.stderr
    kept.write_bytes(data)
    done = sweeper_here("resume", str(run), cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "t0001 goes on from the start, with the weights of t0001 of source-" in done.stderr
    _assert_same(_weights(_last_checkpoint(run), source.backend), due)
    opened = open_run(run)
    assert opened.results.origin is not None
    assert opened.results.origin.checkpoint == target
