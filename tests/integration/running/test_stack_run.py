"""`sweeper stack` finds an environment that hangs, in the middle of a run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command_line import started, sweeper_here
from tiers import leave_after

# In the second trial each of these hangs in `step`, until a file of its name is there.
ENVS = """
import pathlib, threading, time, gymnasium
HERE = pathlib.Path(__file__).parent

class Hanging(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    count = 0

    def reset(self, *, seed=None, options=None):
        return self.observation_space.high, {}

    def step(self, action):
        self.count += 1
        if self.count % 10 == 0 and any(HERE.glob("runs/*/trials/t0002")):
            for hang in (in_sleep, in_loop, in_lock):
                if not (HERE / hang.__name__).exists():
                    hang(HERE / hang.__name__)
        return self.observation_space.high, float(action), self.count % 10 == 0, False, {}

def in_sleep(end):
    while not end.exists():
        time.sleep(3)

def in_loop(end):
    while not end.exists():
        for _ in range(10_000_000): pass

def in_lock(end):
    lock = threading.Lock()
    threading.Thread(target=release_later, args=(lock, end)).start()
    lock.acquire()
    lock.acquire()

def release_later(lock, end):
    while not end.exists():
        time.sleep(0.1)
    lock.release()

gymnasium.register("Hanging-v0", entry_point=Hanging)
"""
LINES = {"in_sleep": "time.sleep(3)", "in_loop": "range(10_000_000)", "in_lock": "lock.acquire()"}
SPEC = """
name: hanging
environment: {{id: Hanging-v0, module: {module}}}
algorithm: PPO
backend: {backend}
seeds: 1
param_space:
  lr: {{grid_search: [0.001, 0.002]}}
  train_batch_size_per_learner: 40
  minibatch_size: 20
  num_epochs: 1
  num_envs_per_env_runner: 1
  model_config: {{fcnet_hiddens: [8]}}
search: {{max_concurrent: 1}}
stop: {{num_env_steps_sampled_lifetime: 80}}
selection: {{finalists: 0}}
tracking: null
"""


@pytest.mark.parametrize("backend", leave_after(1, ["torch", "rllib"]))
def test_a_hang_in_step_is_shown_by_its_file_and_line(tmp_path: Path, backend: str) -> None:
    module = f"hanging_{backend}_envs"
    file = tmp_path / f"{module}.py"
    file.write_text(ENVS)
    (tmp_path / "spec.yaml").write_text(SPEC.format(module=module, backend=backend))
    with started("run", "spec.yaml", cwd=tmp_path) as process:
        pids = set()
        for function, text in LINES.items():
            worker = _wait_for(function, process, tmp_path)
            frame = next(one for one in _frames(worker) if one["function"] == function)
            assert Path(frame["file"]) == file
            assert text in ENVS.splitlines()[frame["line"] - 1]
            caller = next(one for one in _frames(worker) if one["function"] == "step")
            assert Path(caller["file"]) == file
            # The second trial is trained by the process of the first.
            assert (worker["process"], worker["trial_id"]) == ("worker", "t0002")
            log = next(tmp_path.glob("runs/*/trials/t0001/log.txt"))
            assert f"trial t0001 in process {worker['pid']}\n" in log.read_text()
            pids.add(worker["pid"])
            (tmp_path / function).touch()
        _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert len(pids) == 1
    assert not list(tmp_path.glob("runs/*/.stacks"))


def _wait_for(function: str, process: subprocess.Popen[str], cwd: Path) -> dict[str, Any]:
    """The worker, as soon as its main thread is in a function."""
    while True:
        assert process.poll() is None, process.communicate()
        if list(cwd.glob("runs/*/trials/t0002")):
            done = sweeper_here("stack", "--json", cwd=cwd)
            assert done.returncode == 0, done.stderr
            driver, *workers = json.loads(done.stdout)
            for worker in workers:
                if any(one["function"] == function for one in _frames(worker)):
                    assert driver["process"] == "driver"
                    assert any(one["function"] == "run_launch" for one in _frames(driver))
                    return worker


def _frames(process: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of the main thread."""
    threads = process["threads"]
    assert all(one["is_main"] for one in threads[:1])
    return threads[0]["frames"] if threads else []
