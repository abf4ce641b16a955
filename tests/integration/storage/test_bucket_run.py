"""A sweep in a bucket: killed, resumed from another machine, its bucket away for a while."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from bucket_runs import Storage
from command_line import started
from command_line import sweeper as run_command
from faulty_proxy import answering

import sweeper
from sweeper.journal import TrialAsked, TrialEnded, TrialRetried, read_journal
from sweeper.paths import find_run

_TIMEOUT_S = 240
_MODULE = """
import time, gymnasium
from gymnasium.envs.classic_control import CartPoleEnv
class Paced(CartPoleEnv):
    def step(self, action):
        time.sleep(0.004)
        return super().step(action)
gymnasium.register("Paced-v0", entry_point=Paced, max_episode_steps=50)
"""
_SPEC = """
name: away
environment: {id: Paced-v0, module: paced}
algorithm: PPO
seeds: 1
param_space:
  lr: {loguniform: [1.0e-4, 1.0e-2]}
  train_batch_size_per_learner: 100
  minibatch_size: 50
  num_epochs: 1
  model_config: {fcnet_hiddens: [8]}
search: {algorithm: random, num_samples: 3, seed: 3, max_concurrent: 1}
stop: {num_env_steps_sampled_lifetime: 1000}
evaluation: {episodes: 2}
selection: {finalists: 0}
checkpoint: {every_env_steps: 200}
resources: {retries: 0}
tracking: null
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with the spec and its environment."""
    made = tmp_path / "work"
    made.mkdir()
    (made / "paced.py").write_text(_MODULE)
    (made / "spec.yaml").write_text(_SPEC)
    return made


def _count(storage: Storage, kind: str) -> int:
    keys = [key for key in storage.bucket.list_keys() if "/journal/0" in key]
    return sum(storage.read(key).count(f'"{kind}"'.encode()) for key in keys)


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_killed_sweep_goes_on_from_nothing_but_its_address(
    storage: Storage, address: str, folder: Path, elsewhere: Callable[[str], None]
) -> None:
    with started("run", "spec.yaml", f"storage={address}", cwd=folder) as process:
        _wait(lambda: _count(storage, "trial_checkpointed") >= 7 or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    name = sweeper.list_runs(address)["run"][0]
    elsewhere("there")
    target = f"{address}/{name}"
    refused = run_command("resume", target, cwd=folder)
    assert refused.returncode == 2, refused
    assert "is being run by process" in refused.stderr
    storage.delete(f"{target.removeprefix('s3://sweeps/')}/lease/")  # as if its time were over

    def leave() -> None:
        _wait(lambda: _count(storage, "trial_ended") >= 2)
        storage.proxy.fault = answering(503, "<Error/>", "application/xml")
        time.sleep(8)
        storage.proxy.fault = None

    away = threading.Thread(target=leave)
    away.start()
    resumed = run_command("resume", target, "--trust", cwd=folder)
    assert resumed.returncode == 0, resumed
    assert resumed.stdout.strip() == target
    assert "Traceback" not in resumed.stderr
    away.join()

    elsewhere("third")
    paths = find_run(target, Path("runs"))
    events = list(read_journal(paths.journal))
    ids = ["t0001", "t0002", "t0003"]
    assert Counter(e.trial_id for e in events if isinstance(e, TrialAsked)) == Counter(ids)
    ends = [e for e in events if isinstance(e, TrialEnded)]
    assert Counter(e.trial_id for e in ends if e.state == "TERMINATED") == Counter(ids)
    assert not [e for e in events if isinstance(e, TrialRetried)]
    run = sweeper.open_run(target)
    assert list(run.trials["num_env_steps_sampled_lifetime"]) == [1000] * 3
    reports = Counter(zip(run.history["trial_id"], run.history["training_iteration"], strict=True))
    assert set(reports.values()) == {1}
    best = json.loads(run_command("best", target, "--json", cwd=folder).stdout)
    assert best["run"] == target
    assert best["checkpoint"].startswith(f"{target}/trials/")
    played = run_command("evaluate", best["checkpoint"], "--episodes", "2", "--trust", cwd=folder)
    assert played.returncode == 0, played
    logs = run_command("logs", target, "t0001", cwd=folder)
    assert "num_env_steps_sampled_lifetime=1000" in logs.stdout
    # Each finished trial keeps the agents of one checkpoint, and nothing that only training needs.
    kept = [key for key in storage.bucket.list_keys() if key.endswith("/complete.json")]
    assert len([key for key in kept if name in key]) == 3
    assert not [key for key in storage.bucket.list_keys() if name in key and "trainer" in key]
