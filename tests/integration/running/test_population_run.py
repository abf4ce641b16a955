"""A population, killed as soon as a trial copies another, and resumed: real Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import ray
from command_line import sweeper_here
from decisions import check_decisions
from killed_sweeps import kill_when

from sweeper.api import open_run
from sweeper.journal import TrialEnded, TrialReported, read_journal
from sweeper.opened_run import Run
from sweeper.planning.plan import training_plan
from sweeper.results.lineage import trace_ancestry
from sweeper.spec import load_spec
from sweeper.states import TrialState

SPEC = """
name: population
environment: CartPole-v1
algorithm: PPO
seeds: 2
param_space:
  lr: {loguniform: [1.0e-5, 1.0e-2]}
  num_epochs: {randint: [1, 4]}
  train_batch_size_per_learner: 200
  minibatch_size: 100
  model_config: {fcnet_hiddens: [8]}
search: {num_samples: 4, seed: 1, max_concurrent: 1}
scheduler: {type: pbt, perturbation_interval: 400}
stop: {num_env_steps_sampled_lifetime: 1200}
selection: {finalists: 0}
tracking: null
"""
STEPS = "num_env_steps_sampled_lifetime"


@pytest.mark.usefixtures("ray_cluster")
def test_a_population_that_is_killed_at_an_exchange_comes_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    paths = kill_when(lambda journal: '"action": "copy"' in journal, cwd=tmp_path)
    resumed = sweeper_here("resume", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    run = open_run(paths.root)
    check_decisions(run.paths)
    done = sweeper_here("run", "spec.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    undisturbed = open_run(done.stdout.strip())
    assert {record.state for record in run.results.trials} == {TrialState.TERMINATED}
    assert all(record.env_steps == 1200 for record in run.results.trials)

    # With one trial at a time each part of it begins from a checkpoint, killed or not, so even the
    # random numbers are the same.
    assert decisions(run) == decisions(undisturbed)
    assert {record.trial_id: record.parameters for record in run.results.trials} == {
        record.trial_id: record.parameters for record in undisturbed.results.trials
    }
    first = run.lineage_rows[0]
    assert [{**row, "time": 0} for row in run.lineage_rows] == [
        {**row, "time": 0} for row in undisturbed.lineage_rows
    ]
    events = list(read_journal(run.paths.journal))
    ours = [
        event
        for event in events
        if isinstance(event, TrialReported) and event.trial_id == first["trial_id"]
    ]
    decided = [(event.decision or {}).get("action") for event in ours].index("copy")
    went_on_at = ours[decided + 1].metrics[STEPS]
    assert went_on_at == first["donor_env_steps"] + 200

    ancestry = trace_ancestry(run.results, run.selection.trial_id)
    best = json.loads(sweeper_here("best", paths.root.name, "--json", cwd=tmp_path).stdout)
    assert (best["schedule"] is not None) == (len(ancestry) > 1)
    if best["schedule"] is not None:
        plan = training_plan(load_spec(best["schedule"]))
        assert (plan.trials, plan.spec.scheduler.type) == (1, "fifo")
    exported = sweeper_here("export", paths.root.name, "--spec", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    spec = load_spec(exported.stdout.strip())
    if best["schedule"] is not None:
        assert spec.param_space == load_spec(best["schedule"]).param_space
    assert training_plan(spec).spec.param_space["train_batch_size_per_learner"] == 200
    asked = ("results", paths.root.name, "--lineage")
    assert first["trial_id"] in sweeper_here(*asked, cwd=tmp_path).stdout
    assert json.loads(sweeper_here(*asked, "--json", cwd=tmp_path).stdout) == run.lineage_rows


def decisions(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """What was decided on which trial, each thing once: a rollback repeats it."""
    found: list[tuple[str, dict[str, Any]]] = []
    for event in read_journal(run.paths.journal):
        if isinstance(event, TrialReported) and event.decision is not None:
            one = (event.trial_id, dict(event.decision))
            if one not in found:
                found.append(one)
    return found


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.acceptance
def test_a_population_that_is_larger_than_the_cluster_advances_together(tmp_path: Path) -> None:
    """Six trials at a time are planned, and Ray has two cores."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    address = ray.get_runtime_context().gcs_address
    larger = ("search={num_samples: 6, max_concurrent: 6, seed: 1}", f"ray.address={address}")
    done = sweeper_here("run", "spec.yaml", *larger, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = open_run(done.stdout.strip())
    assert {record.state for record in run.results.trials} == {TrialState.TERMINATED}
    compared = set[str]()
    for event in read_journal(run.paths.journal):
        if isinstance(event, TrialEnded):
            break
        if isinstance(event, TrialReported) and event.metrics[STEPS] >= 400:
            compared.add(event.trial_id)
    assert len(compared) == 6, "before the first trial ends all have come to the first exchange"
    assert run.lineage_rows
    check_decisions(run.paths)
