"""Schedulers on real Ray: who is stopped where, and the same after a kill and a resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import sweeper_here
from decisions import check_decisions
from killed_sweeps import UNHURRIED, kill_when

from sweeper.api import open_run
from sweeper.journal import TrialReported, read_journal
from sweeper.results.records import TrialRecord

# A trial saves only at its end: one that a kill interrupts starts anew, and comes to the same.
SPEC = """
name: {name}
environment: {{id: {name}-v0, module: {name}, kwargs: {{ends: 2}}}}
algorithm: PPO
seeds: 2
param_space:
  lr: {{loguniform: [1.0e-5, 1.0e-1]}}
  train_batch_size_per_learner: 100
  minibatch_size: 50
  num_epochs: 2
  model_config: {{fcnet_hiddens: [8]}}
search:
  num_samples: 6
  max_concurrent: 1
  points_to_evaluate: [{{lr: 0.01}}, {{lr: 0.03}}, {{lr: 0.001}}, {{lr: 1.0e-5}}, {{lr: 1.0e-4}}]
scheduler: {scheduler}
stop: {{num_env_steps_sampled_lifetime: 800}}
checkpoint: {{every_env_steps: 800}}
selection: {{finalists: 0}}
tracking: null
"""


def outcome(record: TrialRecord) -> tuple[Any, ...]:
    last = record.last_report.get("episode_return_mean")
    return record.trial_id, record.state, record.reason, record.rung, record.env_steps, last


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [
        ("asha", "{type: asha, grace_period: 300, reduction_factor: 2}"),
        pytest.param(
            "hyperband",
            "{type: hyperband, grace_period: 200, reduction_factor: 2}",
            marks=pytest.mark.acceptance,
        ),
        pytest.param(
            "median",
            "{type: median, grace_period: 300, min_samples_required: 1}",
            marks=pytest.mark.acceptance,
        ),
    ],
)
def test_a_killed_and_resumed_sweep_stops_the_trials_that_an_undisturbed_one_does(
    tmp_path: Path, ray_cluster: None, name: str, scheduler: str
) -> None:
    name = f"unhurried_{name}"
    (tmp_path / f"{name}.py").write_text(UNHURRIED.format(name=name))
    (tmp_path / "spec.yaml").write_text(SPEC.format(name=name, scheduler=scheduler))
    paths = kill_when(lambda journal: journal.count('"trial_ended"') >= 2, cwd=tmp_path)
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
