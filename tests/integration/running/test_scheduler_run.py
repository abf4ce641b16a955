"""Schedulers on real Ray: who is stopped where, and the same after a kill and a resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import started, sweeper_here

from sweeper.api import open_run
from sweeper.journal import TrialReported, read_journal
from sweeper.paths import RunPaths
from sweeper.results.records import TrialRecord
from sweeper.running.learners import scheduler_report
from sweeper.schedulers.registry import build_scheduler
from sweeper.spec import load_spec
from sweeper.spec.schedulers import resolve_options

# Slow enough to be killed, until a file says otherwise.
UNHURRIED = """
import pathlib, time, gymnasium
from gymnasium.envs.classic_control import CartPoleEnv
class Unhurried(CartPoleEnv):
    def step(self, action):
        if not pathlib.Path(__file__).with_name("hurry").exists():
            time.sleep(0.003)
        return super().step(action)
gymnasium.register("{name}-v0", entry_point=Unhurried, max_episode_steps=500)
"""
# A trial saves only at its end: one that a kill interrupts starts anew, and comes to the same.
SPEC = """
name: {name}
environment: {{id: {name}-v0, module: {name}}}
algorithm: PPO
seeds: 2
param_space:
  lr: {{loguniform: [1.0e-5, 1.0e-1]}}
  train_batch_size_per_learner: 100
  minibatch_size: 50
  num_epochs: 4
  model_config: {{fcnet_hiddens: [8]}}
search: {{num_samples: 6, seed: 3, max_concurrent: 1}}
scheduler: {scheduler}
stop: {{num_env_steps_sampled_lifetime: 1000}}
checkpoint: {{every_env_steps: 1000}}
selection: {{finalists: 0}}
tracking: null
"""


def outcome(record: TrialRecord) -> tuple[Any, ...]:
    last = record.last_report.get("episode_return_mean")
    return record.trial_id, record.state, record.reason, record.rung, record.env_steps, last


def kill_after(folder: Path, ends: int, process: subprocess.Popen[str]) -> RunPaths:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        for journal in folder.glob("runs/*/journal.jsonl"):
            if journal.read_text().count('"trial_ended"') >= ends:
                os.kill(process.pid, signal.SIGKILL)
                return RunPaths(journal.parent)
        time.sleep(0.05)
    raise AssertionError("nothing to kill")


def check_decisions(paths: RunPaths) -> None:
    """A new scheduler that is told what the journal has decides what the journal says."""
    spec = load_spec(paths.spec)
    options = resolve_options(spec.scheduler, spec.stop)
    scheduler = build_scheduler(spec.scheduler.type, spec.objective, options)
    for event in read_journal(paths.journal):
        if isinstance(event, TrialReported):
            report = scheduler_report(event.trial_id, event.metrics, {}, spec.objective)
            if event.stopped_by:
                scheduler.on_final_report(report)
            else:
                assert scheduler.on_report(report).to_json() == event.decision


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [
        ("asha", "{type: asha, grace_period: 300, reduction_factor: 2}"),
    ],
)
def test_a_killed_and_resumed_sweep_stops_the_trials_that_an_undisturbed_one_does(
    tmp_path: Path, ray_cluster: None, name: str, scheduler: str
) -> None:
    name = f"unhurried_{name}"
    (tmp_path / f"{name}.py").write_text(UNHURRIED.format(name=name))
    (tmp_path / "spec.yaml").write_text(SPEC.format(name=name, scheduler=scheduler))
    with started("run", "spec.yaml", cwd=tmp_path) as process:
        paths = kill_after(tmp_path, 2, process)
    (tmp_path / "hurry").touch()
    resumed = sweeper_here("resume", paths.root.name, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    whole = sweeper_here("run", "spec.yaml", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    wanted = [outcome(one) for one in open_run(whole.stdout.strip()).results.trials]
    assert [outcome(one) for one in open_run(paths.root).results.trials] == wanted
    states = [state for _, state, *_ in wanted]
    assert {"PRUNED", "TERMINATED"} == set(states)

    pruned = next(one for one in wanted if one[1] == "PRUNED")
    said = f"{pruned[0]} pruned at {pruned[4]:,} env steps: {pruned[2]}"
    assert said in whole.stderr
    listed = json.loads(sweeper_here("logs", "--json", cwd=tmp_path).stdout)
    assert said.removeprefix(f"{pruned[0]} ") in [one["pruned"] for one in listed]
    best = json.loads(sweeper_here("best", "--json", cwd=tmp_path).stdout)
    assert dict(zip([one[0] for one in wanted], states, strict=True))[best["trial_id"]] == (
        "TERMINATED"
    )
    check_decisions(paths)
    reports = [event for event in read_journal(paths.journal) if isinstance(event, TrialReported)]
    stops = [event for event in reports if event.pruned_because is not None]
    assert {event.trial_id for event in stops} == {one[0] for one in wanted if one[1] == "PRUNED"}
