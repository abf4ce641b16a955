"""Runs that are interrupted, killed, refused, extended: real Ray, by the command line."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from sweeper.api import open_run, resume
from sweeper.journal import (
    Journal,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
    read_journal,
)
from sweeper.paths import RunPaths, create_run_folder
from sweeper.running.failures import OUT_OF_MEMORY, describe_failure
from sweeper.spec import dump_spec, load_spec

CAMPAIGN = Path(__file__).parents[1] / "chaos" / "kill_campaign.py"
TINY = """
name: tiny
environment: CartPole-v1
algorithm: PPO
backend: rllib
seeds: 1
param_space:
  lr: {loguniform: [1.0e-4, 1.0e-2]}
  train_batch_size_per_learner: 100
  minibatch_size: 50
  num_epochs: 1
  model_config: {fcnet_hiddens: [8]}
search: {num_samples: 2, seed: 3}
stop: {num_env_steps_sampled_lifetime: 500}
checkpoint: {every_env_steps: 200}
"""
ENDLESS = TINY.replace("lifetime: 500", "lifetime: 10000000")
# What does not depend on the backend is tried on the one that starts faster.
FAST = TINY.replace("backend: rllib", "backend: torch").replace("200}", "200, trainer: true}")
ENDLESS_FAST = FAST.replace("lifetime: 500", "lifetime: 10000000")


def sweeper(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sweeper", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
    )


@contextmanager
def started(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeper", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(folder: Path, event: str, count: int, process: subprocess.Popen[str]) -> RunPaths:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        for journal in folder.glob("runs/*/journal.jsonl"):
            if journal.read_text().count(f'"{event}"') >= count:
                return RunPaths(journal.parent)
        time.sleep(0.1)
    raise AssertionError(f"no {event}")


def rows(folder: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(sweeper("results", "--json", cwd=folder).stdout)
    return found


def test_a_run_that_is_killed_again_and_again_comes_to_the_same_as_an_undisturbed_one() -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(CAMPAIGN),
            *("--driver-kills", "2", "--worker-kills", "1", "--trials", "3", "--no-tracking"),
        ],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_is_stopped_from_another_shell_guarded_meanwhile_moved_and_resumed(
    tmp_path: Path,
) -> None:
    (tmp_path / "tiny.yaml").write_text(
        TINY.replace("lifetime: 500", "lifetime: 20000")
        + "tracking: {uri: 'sqlite:///runs/mlflow.db', experiment: tiny}\n"
    )
    with started("run", "tiny.yaml", cwd=tmp_path) as process:
        paths = wait_for(tmp_path, "trial_checkpointed", 2, process)
        second = sweeper("resume", "last", cwd=tmp_path)
        stopped = sweeper("stop", "last", cwd=tmp_path)
        process.communicate(timeout=60)
    assert second.returncode == 2
    assert f"process {process.pid} on " in second.stderr
    assert stopped.returncode == 0, stopped.stderr
    assert "interrupted" in stopped.stderr
    assert process.returncode == 130
    assert json.loads(sweeper("status", "--json", cwd=tmp_path).stdout)["state"] == "interrupted"
    before = {row["trial_id"]: row for row in rows(tmp_path)}

    spec = paths.spec.read_text()
    paths.spec.write_text(spec.replace("gamma", "gamma").replace("num_epochs: 1", "num_epochs: 2"))
    changed = sweeper("resume", "last", cwd=tmp_path)
    assert changed.returncode == 2
    assert "+  num_epochs: 2" in changed.stderr
    paths.spec.write_text(spec)

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    paths.root.rename(elsewhere / paths.root.name)
    moved = RunPaths(elsewhere / paths.root.name)
    resumed = sweeper("resume", str(moved.root), cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.strip() == str(moved.root)
    assert "t0001 goes on from its checkpoint at " in resumed.stderr
    events = list(read_journal(moved.journal))
    assert [e.launch for e in events if isinstance(e, LaunchStarted)] == [1, 2]
    assert [e.trial_id for e in events if isinstance(e, TrialAsked)] == ["t0001", "t0002"]
    for trial_id in ("t0001", "t0002"):
        reports = [
            e.metrics for e in events if isinstance(e, TrialReported) and e.trial_id == trial_id
        ]
        # Saved at the stop, so that nothing is done twice.
        assert [row["training_iteration"] for row in reports] == list(range(1, 201))
        clock = [row["time_total_s"] for row in reports]
        assert clock == sorted(clock)
        assert before[trial_id]["num_env_steps_sampled_lifetime"] != 20000
    nodes = {e.node for e in events if isinstance(e, TrialStarted)}
    assert all(nodes)
    database = sqlite3.connect(tmp_path / "runs" / "mlflow.db")
    runs = database.execute("select name, status from runs").fetchall()
    assert sorted(runs) == sorted(
        [(moved.root.name, "FINISHED"), ("t0001", "FINISHED"), ("t0002", "FINISHED")]
    )


def test_a_finished_run_has_nothing_left_until_it_is_given_more(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(FAST + "tracking: null\n")
    (tmp_path / "whole.yaml").write_text(
        FAST.replace("num_samples: 2", "num_samples: 3").replace("lifetime: 500", "lifetime: 800")
        + "tracking: null\nstorage: whole\n"
    )
    assert sweeper("run", "tiny.yaml", cwd=tmp_path).returncode == 0
    journal = next(tmp_path.glob("runs/*/journal.jsonl"))
    written = journal.read_bytes()
    nothing = sweeper("resume", cwd=tmp_path)
    assert nothing.returncode == 0
    assert "nothing left to do" in nothing.stderr
    assert journal.read_bytes() == written

    more = sweeper(
        *("resume", "--num-samples", "3", "--stop", "num_env_steps_sampled_lifetime=800"),
        cwd=tmp_path,
    )
    assert more.returncode == 0, more.stderr
    assert json.loads(sweeper("status", "--json", cwd=tmp_path).stdout)["trials"] == 3
    extended = rows(tmp_path)
    assert [row["num_env_steps_sampled_lifetime"] for row in extended] == [800, 800, 800]
    assert sweeper("run", "whole.yaml", cwd=tmp_path).returncode == 0
    whole = json.loads(sweeper("results", "--storage", "whole", "--json", cwd=tmp_path).stdout)
    assert [row["configuration"] for row in extended] == [row["configuration"] for row in whole]
    assert "nothing left to do" in sweeper("resume", cwd=tmp_path).stderr


def test_a_trial_for_which_no_time_is_left_can_still_go_on_when_there_is(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(
        "{name: spent, environment: CartPole-v1, algorithm: PPO, param_space: {lr: 0.001}, "
        f"storage: {tmp_path}, stop: {{num_env_steps_sampled_lifetime: 200}}, "
        "budget: {time_s: 10}, tracking: null}"
    )
    spec = load_spec(tmp_path / "spec.yaml")
    paths = create_run_folder(tmp_path, "spent", datetime.now())
    checkpoint = paths.trial("t0001") / "checkpoint_000000"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer.json").write_text("{}")
    rows = [{"training_iteration": n, "num_env_steps_sampled_lifetime": 100 * n} for n in (1, 2)]
    with closing(Journal(paths.journal)) as journal:
        journal.append(LaunchStarted(1.0, 1, 1, ("sweeper",), spec=dump_spec(spec)))
        journal.append(TrialAsked(1.0, "t0001", {"lr": 0.001}, {}, spec.seeds))
        journal.append(TrialStarted(1.0, "t0001", ""))
        journal.append(TrialReported(2.0, "t0001", rows[0]))
        relative = checkpoint.relative_to(paths.root).as_posix()
        journal.append(TrialCheckpointed(2.0, "t0001", relative, rows[0]))
        # Killed between this report and its checkpoint, when the budget was spent.
        journal.append(TrialReported(99.0, "t0001", rows[1], "steps >= 200"))
    assert resume(paths.root).results.ended_by is not None
    assert (checkpoint / "trainer.json").is_file()


def test_a_second_signal_ends_at_once_and_loses_nothing_of_the_journal(tmp_path: Path) -> None:
    (tmp_path / "envs.py").write_text(
        "import time, gymnasium\n"
        "class Slow(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(-1, 1, (2,))\n"
        "    action_space = gymnasium.spaces.Discrete(2)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        self.count = 0\n"
        "        return self.observation_space.low, {}\n"
        "    def step(self, action):\n"
        "        time.sleep(0.1)\n"
        "        self.count += 1\n"
        "        return self.observation_space.low, 1.0, self.count >= 5, False, {}\n"
        "gymnasium.register('Slow-v0', entry_point=Slow)\n"
    )
    (tmp_path / "tiny.yaml").write_text(
        ENDLESS_FAST.replace("CartPole-v1", "{id: Slow-v0, module: envs}") + "tracking: null\n"
    )
    with started("run", "tiny.yaml", cwd=tmp_path) as process:
        paths = wait_for(tmp_path, "trial_reported", 1, process)
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(1.0)  # well within an iteration, which takes ten seconds
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "again to end at once" in said
    assert any(isinstance(event, TrialReported) for event in read_journal(paths.journal))
    assert json.loads(sweeper("status", "--json", cwd=tmp_path).stdout)["state"] == "interrupted"


def test_rays_own_errors_are_known_by_their_words() -> None:
    from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError

    for error, reason in (
        (ActorDiedError(), "the worker died"),
        (ActorUnavailableError("connection reset", b"0" * 16), "the worker died"),
        (OutOfMemoryError("Task was killed due to the node running low on memory."), OUT_OF_MEMORY),
    ):
        assert describe_failure(f"Failure # 1 (occurred at x)\n{error}\n").reason == reason


def test_a_failure_that_repeats_itself_is_not_tried_a_third_time(tmp_path: Path) -> None:
    (tmp_path / "envs.py").write_text(
        "import gymnasium\n"
        "class Trap(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(-1, 1, (2,))\n"
        "    action_space = gymnasium.spaces.Discrete(2)\n"
        "    steps = 0\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        self.count = 0\n"
        "        return self.observation_space.low, {}\n"
        "    def step(self, action):\n"
        "        self.count += 1\n"
        "        Trap.steps += 1\n"
        "        if Trap.steps > 250:\n"
        "            raise RuntimeError('fell into the trap')\n"
        "        return self.observation_space.low, 1.0, self.count >= 5, False, {}\n"
        "gymnasium.register('Trap-v0', entry_point=Trap)\n"
    )
    # In the first life after 250 steps; in the second, from the checkpoint at 200, after 450;
    # in the third, from 400, after 600: the trial gets on each time and is tried again.
    (tmp_path / "tiny.yaml").write_text(
        FAST.replace("CartPole-v1", "{id: Trap-v0, module: envs}").replace(
            "num_samples: 2", "num_samples: 1"
        )
        + "tracking: null\nresources: {retries: 9}\n"
    )
    done = sweeper("run", "tiny.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    events = list(read_journal(next(tmp_path.glob("runs/*/journal.jsonl"))))
    assert sum(isinstance(event, TrialRetried) for event in events) >= 1
    assert [e.state for e in events if isinstance(e, TrialEnded)] == ["TERMINATED"]

    (tmp_path / "envs.py").write_text(
        (tmp_path / "envs.py").read_text().replace("Trap.steps > 250", "Trap.steps > 50")
    )
    done = sweeper("run", "tiny.yaml", cwd=tmp_path)
    assert done.returncode == 1
    journal = max(tmp_path.glob("runs/*/journal.jsonl"), key=lambda path: path.stat().st_mtime)
    events = list(read_journal(journal))
    assert sum(isinstance(event, TrialRetried) for event in events) == 1
    (end,) = [event for event in events if isinstance(event, TrialEnded)]
    assert (end.state, end.reason) == ("ERROR", "crashed")


def test_a_full_disk_is_no_trials_fault(tmp_path: Path) -> None:
    (tmp_path / "envs.py").write_text(
        "import errno, os, pathlib, gymnasium\n"
        "class Writing(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(-1, 1, (2,))\n"
        "    action_space = gymnasium.spaces.Discrete(2)\n"
        "    steps = 0\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        self.count = 0\n"
        "        return self.observation_space.low, {}\n"
        "    def step(self, action):\n"
        "        self.count += 1\n"
        "        Writing.steps += 1\n"
        "        room = pathlib.Path(__file__).with_name('room')\n"
        "        if Writing.steps > 250 and not room.exists():\n"
        "            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "        return self.observation_space.low, 1.0, self.count >= 5, False, {}\n"
        "gymnasium.register('Writing-v0', entry_point=Writing)\n"
    )
    (tmp_path / "tiny.yaml").write_text(
        TINY.replace("CartPole-v1", "{id: Writing-v0, module: envs}").replace(
            "backend: rllib", "backend: torch"
        )
        + "tracking: null\nresources: {retries: 0}\n"
    )
    full = sweeper("run", "tiny.yaml", cwd=tmp_path)
    assert full.returncode == 1, full.stderr
    assert "the disk is nearly full" in full.stderr
    assert "PAUSED" in [row["state"] for row in rows(tmp_path)]
    assert "ERROR" not in [row["state"] for row in rows(tmp_path)]
    (tmp_path / "room").touch()
    again = sweeper("resume", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert [row["state"] for row in rows(tmp_path)] == ["TERMINATED"] * 2


def test_budgets_by_trials_and_env_steps_end_the_search_and_say_so(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(
        FAST.replace("num_samples: 2", "num_samples: 30") + "tracking: null\n"
    )
    few = sweeper("run", "tiny.yaml", "budget.trials=3", "--json", cwd=tmp_path)
    assert few.returncode == 0, few.stderr
    assert json.loads(few.stdout)["state"] == "budget.trials"
    assert [row["state"] for row in rows(tmp_path)] == ["TERMINATED"] * 3
    steps = sweeper("run", "tiny.yaml", "budget.env_steps=700", "name=b", "--json", cwd=tmp_path)
    assert json.loads(steps.stdout)["state"] == "budget.env_steps"
    states = [row["state"] for row in rows(tmp_path)]
    assert "PAUSED" in states
    assert len(states) < 30


def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(FAST + "tracking: null\nray: {address: '127.0.0.1:1'}\n")
    began = time.monotonic()
    done = sweeper("run", "tiny.yaml", "-q", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: no Ray cluster answers at ray.address 127.0.0.1:1 (Connection refused); start one "
        "with `ray start --head`, or leave ray.address out to run on this machine alone\n"
    )
    assert not (tmp_path / "runs").exists()
    assert len(done.stderr.strip().splitlines()) == 1
    assert time.monotonic() - began < 60


def test_sigterm_to_the_whole_group_while_ray_starts_ends_the_run_in_order(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(FAST + "tracking: null\n")
    with started("run", "tiny.yaml", cwd=tmp_path) as process:
        paths = wait_for(tmp_path, "launch_started", 1, process)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(timeout=120) == 130
        assert process.stderr is not None
        said = process.stderr.read()
    assert "interrupted: " in said
    assert f"sweeper resume {paths.root.name}" in said
    assert open_run(paths.root).results.state == "interrupted"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(FAST)
    (tmp_path / "runs").mkdir(mode=0o500)
    done = sweeper("run", "tiny.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "can't make the run folder" in done.stderr
