"""Runs that are interrupted, killed, refused, extended: real Ray, by the command line."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from command_line import started, sweeper, sweeper_here
from tiers import leave_after

from sweeper.api import open_run, resume
from sweeper.journal import (
    Journal,
    JournalError,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
    parse_event,
    read_journal,
)
from sweeper.journal_events import encode_event
from sweeper.paths import RunPaths, create_run_folder
from sweeper.running.failures import describe_failure
from sweeper.search.expansion import expand
from sweeper.spec import dump_spec, load_spec
from sweeper.states import FailureReason

CAMPAIGN = Path(__file__).parents[2] / "chaos" / "kill_campaign.py"
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
selection: {finalists: 0}
checkpoint: {every_env_steps: 200}
"""
ENDLESS = TINY.replace("lifetime: 500", "lifetime: 10000000")
# What does not depend on the backend is tried on the one that starts faster.
FAST = TINY.replace("backend: rllib", "backend: torch").replace("200}", "200, trainer: true}")
ENDLESS_FAST = FAST.replace("lifetime: 500", "lifetime: 10000000")


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
    said = sweeper_here("results", "--json", cwd=folder).stdout
    found: list[dict[str, object]] = json.loads(said)
    return found


def status(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sweeper_here("status", "--json", cwd=folder).stdout)
    return found


@pytest.mark.parametrize(
    "where", leave_after(1, [((),), (("--bucket",),)]), ids=["a folder", "a bucket"]
)
def test_a_run_that_is_killed_again_and_again_comes_to_the_same_as_an_undisturbed_one(
    where: tuple[str, ...],
) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(CAMPAIGN),
            *("--driver-kills", "2", "--worker-kills", "1", "--trials", "3", "--no-tracking"),
            *("--steps", "1000", "--step-s", "0.004", "--backend", "torch", "--seed", "1"),
            *where,
        ],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_is_stopped_from_another_shell_guarded_meanwhile_moved_and_resumed(
    tmp_path: Path,
) -> None:
    (tmp_path / "unhurried.py").write_text(
        "import pathlib, time, gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "class Unhurried(CartPoleEnv):\n"
        "    def step(self, action):\n"
        "        if not pathlib.Path(__file__).with_name('hurry').exists():\n"
        "            time.sleep(0.01)\n"
        "        return super().step(action)\n"
        "gymnasium.register('Unhurried-v0', entry_point=Unhurried, max_episode_steps=500)\n"
    )
    (tmp_path / "tiny.yaml").write_text(
        FAST.replace("CartPole-v1", "{id: Unhurried-v0, module: unhurried}").replace(
            "lifetime: 500", "lifetime: 6000"
        )
        + "tracking: {uri: 'sqlite:///tracked/mlflow.db', experiment: tiny}\n"
    )
    with started("run", "tiny.yaml", cwd=tmp_path) as process:
        paths = wait_for(tmp_path, "trial_checkpointed", 2, process)
        second = sweeper("resume", "last", cwd=tmp_path)
        stopped = sweeper("stop", "last", cwd=tmp_path)
        process.communicate(timeout=60)
    (tmp_path / "hurry").touch()
    assert second.returncode == 2
    assert f"process {process.pid} on " in second.stderr
    assert stopped.returncode == 0, stopped.stderr
    assert "interrupted" in stopped.stderr
    assert process.returncode == 130
    assert status(tmp_path)["state"] == "interrupted"
    before = {row["trial_id"]: row for row in rows(tmp_path)}

    spec = paths.spec.read_text()
    paths.spec.write_text(spec.replace("gamma", "gamma").replace("num_epochs: 1", "num_epochs: 2"))
    changed = sweeper_here("resume", "last", cwd=tmp_path)
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
        assert [row["training_iteration"] for row in reports] == list(range(1, 61))
        clock = [row["time_total_s"] for row in reports]
        assert clock == sorted(clock)
        assert before[trial_id]["num_env_steps_sampled_lifetime"] != 6000
    nodes = {e.node for e in events if isinstance(e, TrialStarted)}
    assert all(nodes)
    database = sqlite3.connect(tmp_path / "tracked" / "mlflow.db")  # the spec's own, which stays
    runs = database.execute("select name, status from runs").fetchall()
    assert sorted((name.split()[0], status) for name, status in runs) == sorted(
        [(moved.root.name, "FINISHED"), ("t0001", "FINISHED"), ("t0002", "FINISHED")]
    )


def test_a_finished_run_has_nothing_left_until_it_is_given_more(
    ray_cluster: None, tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(FAST + "tracking: null\n")
    assert sweeper_here("run", "tiny.yaml", cwd=tmp_path).returncode == 0
    journal = next(tmp_path.glob("runs/*/journal.jsonl"))
    written = journal.read_bytes()
    nothing = sweeper_here("resume", cwd=tmp_path)
    assert nothing.returncode == 0
    assert "nothing left to do" in nothing.stderr
    assert journal.read_bytes() == written
    # Ctrl-C came when the last trial had ended, and its agent was not written any more.
    *earlier, last = written.splitlines(keepends=True)
    end = parse_event(last.rstrip())
    assert isinstance(end, LaunchEnded)
    journal.write_bytes(b"".join(earlier) + encode_event(replace(end, reason="interrupted")))
    selection = RunPaths(journal.parent).selection
    selection.write_text(selection.read_text().replace('"t000', '"t999'))
    done = sweeper_here("resume", cwd=tmp_path)
    assert done.returncode == 0
    assert "finished: 2 of 2 done" in done.stderr
    assert "t999" not in selection.read_text()
    agent = RunPaths(journal.parent).champion / "agent.json"
    whole = agent.read_text()
    agent.write_text(whole.replace('"env_steps": ', '"env_steps": 1'))
    written = journal.read_bytes()
    assert sweeper_here("resume", cwd=tmp_path).returncode == 0
    assert (agent.read_text(), journal.read_bytes()) == (whole, written)

    planted = RunPaths(journal.parent).trial("t0003") / "checkpoint_000000" / "agent.json"
    planted.parent.mkdir(parents=True)
    planted.write_text("of a trial that the journal does not know")
    more = sweeper_here(
        *("resume", "--num-samples", "3", "--stop", "num_env_steps_sampled_lifetime=800"),
        cwd=tmp_path,
    )
    assert more.returncode == 0, more.stderr
    assert status(tmp_path)["trials"] == 3
    (kept,) = (journal.parent / "trials").glob("damaged_t0003/*/agent.json")
    assert "journal does not know" in kept.read_text()
    extended = rows(tmp_path)
    assert [row["num_env_steps_sampled_lifetime"] for row in extended] == [800, 800, 800]
    # What a run of three would have been from the start.
    space = load_spec(tmp_path / "tiny.yaml").param_space
    drawn = [sample.configuration for sample in expand(space, 3, seed=3)]
    assert [row["configuration"] for row in extended] == drawn
    assert "nothing left to do" in sweeper_here("resume", cwd=tmp_path).stderr


def test_a_trial_for_which_no_time_is_left_can_still_go_on_when_there_is(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(
        "{name: spent, environment: CartPole-v1, algorithm: PPO, param_space: {lr: 0.001}, "
        f"storage: {tmp_path}, stop: {{num_env_steps_sampled_lifetime: 200}}, "
        "budget: {time_s: 10}, selection: {finalists: 0}, tracking: null}"
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
    assert resume(paths.root).results.ended_by == "budget.time_s"
    assert (checkpoint / "trainer.json").is_file()
    ends = [event for event in read_journal(paths.journal) if isinstance(event, TrialEnded)]
    assert ends == []


def test_a_finished_trial_keeps_its_trainer_until_its_end_is_on_file(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(
        "{name: unsaid, environment: CartPole-v1, algorithm: PPO, param_space: {lr: 0.001}, "
        f"storage: {tmp_path}, stop: {{num_env_steps_sampled_lifetime: 200}}, "
        "selection: {finalists: 0}, tracking: null}"
    )
    spec = load_spec(tmp_path / "spec.yaml")
    paths = create_run_folder(tmp_path, "unsaid", datetime.now())
    checkpoint = paths.trial("t0001") / "checkpoint_000000"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer.json").write_text("{}")
    row = {"training_iteration": 2, "num_env_steps_sampled_lifetime": 200}
    with closing(Journal(paths.journal)) as journal:
        journal.append(LaunchStarted(1.0, 1, 1, ("sweeper",), spec=dump_spec(spec)))
        journal.append(TrialAsked(1.0, "t0001", {"lr": 0.001}, {}, spec.seeds))
        journal.append(TrialStarted(1.0, "t0001", ""))
        journal.append(TrialReported(2.0, "t0001", row, "num_env_steps_sampled_lifetime >= 200"))
        relative = checkpoint.relative_to(paths.root).as_posix()
        journal.append(TrialCheckpointed(2.0, "t0001", relative, row))
        # Killed here. The next launch's disk is full before it can write the end.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # An end is shorter than a beginning, and would find room.
    resource.setrlimit(resource.RLIMIT_FSIZE, (paths.journal.stat().st_size + 150, before[1]))
    try:
        with pytest.raises(JournalError, match="can't write the journal"):
            resume(paths.root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (checkpoint / "trainer.json").is_file()
    assert isinstance(list(read_journal(paths.journal))[-1], TrialCheckpointed)
    assert resume(paths.root).results.ended_by == "finished"
    events = list(read_journal(paths.journal))
    assert [event.state for event in events if isinstance(event, TrialEnded)] == ["TERMINATED"]
    assert not (checkpoint / "trainer.json").exists()


def test_a_second_signal_ends_at_once_and_what_is_left_is_read_as_after_any_kill(
    tmp_path: Path,
) -> None:
    (tmp_path / "slow.py").write_text(
        "import time, gymnasium\n"
        "class Slow(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(-1, 1, (2,))\n"
        "    action_space = gymnasium.spaces.Discrete(2)\n"
        "    steps = 0\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        self.count = 0\n"
        "        return self.observation_space.low, {}\n"
        "    def step(self, action):\n"
        "        Slow.steps += 1\n"
        "        if Slow.steps > 220:\n"
        "            time.sleep(0.2)\n"
        "        self.count += 1\n"
        "        return self.observation_space.low, 1.0, self.count >= 5, False, {}\n"
        "gymnasium.register('Slow-v0', entry_point=Slow)\n"
    )
    (tmp_path / "tiny.yaml").write_text(
        ENDLESS_FAST.replace("CartPole-v1", "{id: Slow-v0, module: slow}") + "tracking: null\n"
    )
    with started("run", "tiny.yaml", cwd=tmp_path) as process:
        paths = wait_for(tmp_path, "trial_checkpointed", 2, process)
        live = status(tmp_path)
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(1.0)  # well within an iteration, which takes twenty seconds
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "again to end at once" in said
    assert any(isinstance(event, TrialReported) for event in read_journal(paths.journal))
    assert live["state"] == "running"
    left = status(tmp_path)
    assert left["state"] == "interrupted"
    assert left["run"] == str(paths.root)
    assert set(left["states"]) == {"PAUSED"}
    assert json.loads(sweeper_here("best", "--json", cwd=tmp_path).stdout)["checkpoint"]


def test_rays_own_errors_are_known_by_their_words() -> None:
    from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError

    for error, reason in (
        (ActorDiedError(), "the worker died"),
        (ActorUnavailableError("connection reset", b"0" * 16), "the worker died"),
        (
            OutOfMemoryError("Task was killed due to the node running low on memory."),
            FailureReason.OUT_OF_MEMORY,
        ),
    ):
        assert describe_failure(f"Failure # 1 (occurred at x)\n{error}\n").reason == reason


def test_a_trial_that_gets_on_is_tried_again_and_a_failure_that_repeats_itself_only_once(
    ray_cluster: None, tmp_path: Path
) -> None:
    (tmp_path / "traps.py").write_text(
        "import pathlib, gymnasium\n"
        "class Trap(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(-1, 1, (2,))\n"
        "    action_space = gymnasium.spaces.Discrete(2)\n"
        "    def __init__(self):\n"
        "        journals = pathlib.Path(__file__).parent.glob('runs/*/journal.jsonl')\n"
        "        falls = sum(file.read_text().count('trial_retried') for file in journals)\n"
        "        self.left = 250 if falls < 2 else 50\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        self.count = 0\n"
        "        return self.observation_space.low, {}\n"
        "    def step(self, action):\n"
        "        self.count += 1\n"
        "        self.left -= 1\n"
        "        if self.left < 0:\n"
        "            raise RuntimeError('fell into the trap')\n"
        "        return self.observation_space.low, 1.0, self.count >= 5, False, {}\n"
        "gymnasium.register('Trap-v0', entry_point=Trap)\n"
    )
    # In the first life after 250 steps; in the second, from the checkpoint at 200, after 450: the
    # trial gets on and is tried again. In the third, from 400, after 450 once more.
    (tmp_path / "tiny.yaml").write_text(
        FAST.replace("CartPole-v1", "{id: Trap-v0, module: traps}").replace(
            "num_samples: 2", "num_samples: 1"
        )
        + "tracking: null\nresources: {retries: 9}\n"
    )
    assert sweeper_here("run", "tiny.yaml", cwd=tmp_path).returncode == 1
    events = list(read_journal(next(tmp_path.glob("runs/*/journal.jsonl"))))
    steps = [
        e.metrics["num_env_steps_sampled_lifetime"] for e in events if isinstance(e, TrialReported)
    ]
    assert steps == [100, 200, 300, 400]
    assert sum(isinstance(event, TrialRetried) for event in events) == 2
    (end,) = [event for event in events if isinstance(event, TrialEnded)]
    assert (end.state, end.reason) == ("ERROR", "crashed")


def test_a_full_disk_is_no_trials_fault(ray_cluster: None, tmp_path: Path) -> None:
    (tmp_path / "writing.py").write_text(
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
        FAST.replace("CartPole-v1", "{id: Writing-v0, module: writing}")
        + "tracking: null\nresources: {retries: 0}\n"
    )
    full = sweeper_here("run", "tiny.yaml", cwd=tmp_path)
    assert full.returncode == 1, full.stderr
    assert "the disk is nearly full" in full.stderr
    assert "PAUSED" in [row["state"] for row in rows(tmp_path)]
    assert "ERROR" not in [row["state"] for row in rows(tmp_path)]
    (tmp_path / "room").touch()
    again = sweeper_here("resume", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert [row["state"] for row in rows(tmp_path)] == ["TERMINATED"] * 2


@pytest.mark.acceptance
def test_budgets_by_trials_and_env_steps_end_the_search_and_say_so(
    ray_cluster: None, tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(
        FAST.replace("num_samples: 2", "num_samples: 30") + "tracking: null\n"
    )
    few = sweeper_here("run", "tiny.yaml", "budget.trials=3", "--json", cwd=tmp_path)
    assert few.returncode == 0, few.stderr
    assert json.loads(few.stdout)["state"] == "budget.trials"
    assert [row["state"] for row in rows(tmp_path)] == ["TERMINATED"] * 3
    (tmp_path / "endless.yaml").write_text(
        ENDLESS_FAST.replace("num_samples: 2", "num_samples: 30")
        + "tracking: null\nbudget: {env_steps: 700}\n"
        + "evaluation: {episodes: 3, every_env_steps: 10000000}\n"
    )
    steps = json.loads(sweeper_here("run", "endless.yaml", "--json", cwd=tmp_path).stdout)
    assert steps["state"] == "budget.env_steps"
    trials = open_run(tmp_path / steps["run"]).results.trials
    assert {record.state for record in trials} == {"PAUSED"}
    # Judged by what they had become: evaluated once, at the end, and saved after that.
    for record in trials:
        metric = "evaluation/episode_return_mean"
        is_evaluated = [metric in report for report in record.reports]
        assert is_evaluated == [False] * (len(is_evaluated) - 1) + [True]
        assert record.checkpoints[-1].metrics[metric] == record.last_report[metric]
        iterations = [report["training_iteration"] for report in record.reports]
        assert iterations == list(range(1, len(iterations) + 1))

    journal = RunPaths(tmp_path / steps["run"]).journal
    written = journal.read_bytes()
    nothing = sweeper_here("resume", cwd=tmp_path)
    assert nothing.returncode == 0
    assert "env steps of budget.env_steps are spent" in nothing.stderr
    assert "--stop budget.env_steps=N gives it more" in nothing.stderr
    assert journal.read_bytes() == written


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


def test_a_stop_that_is_asked_for_while_a_run_starts_is_heeded(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(FAST + "tracking: null\n")
    with started("run", "tiny.yaml", cwd=tmp_path) as process:
        deadline = time.monotonic() + 60
        while not (locks := list(tmp_path.glob("runs/*/.lock"))):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        RunPaths(locks[0].parent).stop_request.touch()
        assert process.wait(timeout=120) == 130
    found = open_run(locks[0].parent).results
    assert (found.state, found.trials) == ("interrupted", ())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(FAST)
    (tmp_path / "runs").mkdir(mode=0o500)
    done = sweeper("run", "tiny.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "can't make the run folder" in done.stderr


def test_a_run_knows_the_code_of_its_environment(ray_cluster: None, tmp_path: Path) -> None:
    module = tmp_path / "scaled.py"
    module.write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "SCALE = 1.0\n"
        "class Scaled(CartPoleEnv):\n"
        "    def step(self, action):\n"
        "        seen, reward, *rest = super().step(action)\n"
        "        return seen, SCALE * reward, *rest\n"
        "gymnasium.register('Scaled-v0', Scaled, max_episode_steps=50)\n"
    )
    (tmp_path / "tiny.yaml").write_text(
        FAST.replace("CartPole-v1", "{id: Scaled-v0, module: scaled}").replace(
            "num_samples: 2", "num_samples: 1"
        )
        + "tracking: null\n"
    )
    assert sweeper_here("run", "tiny.yaml", cwd=tmp_path).returncode == 0
    module.write_text(module.read_text().replace("SCALE = 1.0", "SCALE = 10.0"))
    changed = "the environment is not the one that the run was trained in: scaled.py was changed"
    for verb in (("resume", "last", "--num-samples", "2"), ("evaluate", "last")):
        refused = sweeper_here(*verb, cwd=tmp_path)
        assert refused.returncode == 2
        assert changed in refused.stderr
    assert sweeper_here("resume", cwd=tmp_path).returncode == 0  # nothing is left to do
    assert len(rows(tmp_path)) == 1

    allowed = "--allow-changed-environment"
    played = sweeper_here("evaluate", "last", "--episodes", "2", "--json", allowed, cwd=tmp_path)
    assert json.loads(played.stdout)["environment_changes"] == ["scaled.py was changed"]
    more = sweeper_here("resume", "last", "--num-samples", "2", allowed, cwd=tmp_path)
    assert more.returncode == 0
    assert "the environment has changed (scaled.py was changed), as allowed" in more.stderr
    (journal,) = tmp_path.glob("runs/*/journal.jsonl")
    launches = [event for event in read_journal(journal) if isinstance(event, LaunchStarted)]
    assert [event.environment_changes for event in launches] == [(), ("scaled.py was changed",)]
    # What was accepted is what the next launch is held against.
    again = sweeper_here("resume", "last", "--num-samples", "3", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
