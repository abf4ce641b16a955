"""`sweeper plan --rehearse` on real trials: its estimates hold, and failures are one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import started, sweeper

from sweeper.rehearsal.process import processes_below

ENVS = Path(__file__).parents[1] / "envs"
SPEC = """
name: small
environment: CartPole-v1
algorithm: PPO
seeds: 2
param_space:
  lr: 1.0e-3
  num_epochs: {grid_search: [2, 4, 12]}
  train_batch_size_per_learner: 512
  minibatch_size: 64
  num_envs_per_env_runner: 4
  model_config: {fcnet_hiddens: [32, 32]}
search: {max_concurrent: 1}
stop: {num_env_steps_sampled_lifetime: 40000}
evaluation: {episodes: 4, every_env_steps: 10000}
"""


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The processes' temporary folder; a short name, because Ray puts its sockets there."""
    with tempfile.TemporaryDirectory(prefix="t", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def rehearse(spec: Path, seconds: float = 6.0) -> dict[str, Any]:
    arguments = ("plan", spec.name, "--rehearse", "--json", "--seconds", str(seconds))
    done = sweeper(*arguments, cwd=spec.parent)
    assert done.returncode == 0, done.stderr
    plan: dict[str, Any] = json.loads(done.stdout)
    return plan


@pytest.mark.acceptance
@pytest.mark.timeout(600)
def test_the_estimate_of_a_real_sweep_holds_within_half_of_it(
    tmp_path: Path, temporary: Path
) -> None:
    spec = tmp_path / "small.yaml"
    spec.write_text(SPEC)
    estimate = rehearse(spec)["estimate"]
    assert list(tmp_path.iterdir()) == [spec]
    assert list(temporary.glob("sweeper-*")) == []
    assert estimate["based_on"] == "rehearsal"
    assert not estimate["is_upper_bound"]
    assert 100e6 < estimate["trial_memory_bytes"] < estimate["memory_bytes"] < 4e9

    began = time.monotonic()
    done = sweeper("run", "small.yaml", "-q", cwd=tmp_path)
    took_s = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    size = sum(path.stat().st_size for path in (tmp_path / "runs").rglob("*") if path.is_file())
    assert size / 1.5 < estimate["disk_bytes"] < 1.5 * size, done.stderr

    times = [estimate["time_s"]]
    if not took_s / 1.5 < times[0] < 1.5 * took_s:
        # The machine's load may have changed: the sweep must lie between two rehearsals.
        times.append(rehearse(spec)["estimate"]["time_s"])
    assert min(times) < 1.5 * took_s, times
    assert max(times) > took_s / 1.5, times


def test_a_failing_environment_fails_the_rehearsal_in_one_line(tmp_path: Path) -> None:
    spec = tmp_path / "crash.yaml"
    spec.write_text(
        SPEC.replace("CartPole-v1", f"{{id: Crashing-v0, module: corridor_envs, "
                     f"search_paths: [{ENVS}]}}")
    )  # fmt: skip
    done = sweeper("plan", spec.name, "--rehearse", "--seconds", "1", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: the rehearsal failed while training with num_epochs=")
    assert "OSError: the simulator went away" in line
    assert "corridor_envs.py:" in line


@pytest.mark.acceptance
def test_rllib_is_rehearsed_and_a_return_may_come_later(tmp_path: Path) -> None:
    # Episodes of 200 steps, in 64 environments: 12,800 env steps until the first ones end.
    spec = tmp_path / "long.yaml"
    spec.write_text(
        """
environment: Pendulum-v1
algorithm: PPO
backend: rllib
param_space:
  {train_batch_size_per_learner: 256, minibatch_size: 128, num_epochs: 1,
   num_envs_per_env_runner: 64}
stop: {num_env_steps_sampled_lifetime: 20000}
"""
    )
    plan = rehearse(spec, seconds=1.0)
    (warning,) = (text for text in plan["warnings"] if "has no value" in text)
    assert "it needs a finished episode (one may take 200 steps)" in warning
    assert "a trial goes on to 20,000" in warning
    assert plan["estimate"]["rehearsal"]["configurations"][0]["value"] is None
    assert plan["estimate"]["time_s"] > 5


def test_a_configuration_can_be_rehearsed_twice_in_a_row(tmp_path: Path) -> None:
    from sweeper.planning.plan import build_plan
    from sweeper.planning.settings import trial_settings
    from sweeper.rehearsal.worker import _without_end, _Worker
    from sweeper.spec import load_spec

    (tmp_path / "small.yaml").write_text(SPEC)
    spec = load_spec(tmp_path / "small.yaml")
    settings = _without_end(trial_settings(build_plan(spec)))
    worker = _Worker(settings, tmp_path, keeps_trainer=False)
    worker.prepare({"num_epochs": 2})
    for _ in range(2):
        found = worker.rehearse({"num_epochs": 2}, 0, 0.1)
        assert found["iteration_steps"] == 512


def test_the_last_line_of_stderr_says_why_the_process_ended(tmp_path: Path) -> None:
    with subprocess.Popen(
        [
            *(sys.executable, "-c", "from sweeper.rehearsal.worker import main; main()"),
            *(str(tmp_path), "1"),
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.wait(timeout=120) == 1
        assert process.stderr is not None
        last = process.stderr.read().splitlines()[-1]
    assert last.startswith("FileNotFoundError")
    assert "rehearsal.json" in last


def test_an_interrupted_rehearsal_leaves_nothing_behind(tmp_path: Path, temporary: Path) -> None:
    spec = tmp_path / "small.yaml"
    spec.write_text(SPEC)
    arguments = ("plan", spec.name, "--rehearse", "--seconds", "60")
    with started(*arguments, cwd=tmp_path) as process:
        deadline = time.monotonic() + 120
        while not any(_is_worker(one) for one in processes_below(process.pid)):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.2)
        below = processes_below(process.pid)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "interrupted"
    deadline = time.monotonic() + 60  # for the kernel to reap them
    while any(_is_alive(one) for one in below):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert list(temporary.glob("sweeper-*")) == []
    assert list(tmp_path.iterdir()) == [spec]


def _is_worker(process: int) -> bool:
    try:
        return b"ray::_Worker" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
