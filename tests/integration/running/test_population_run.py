"""A population, killed as soon as a trial copies another, and resumed: real Ray."""

from __future__ import annotations

import json
import time
from pathlib import Path

from command_line import started, sweeper, sweeper_here

from sweeper.api import open_run
from sweeper.journal import TrialReported, read_journal
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
search: {num_samples: 4, seed: 1, max_concurrent: 2}
scheduler: {type: pbt, perturbation_interval: 400}
stop: {num_env_steps_sampled_lifetime: 2000}
tracking: null
"""


def test_a_population_is_killed_at_an_exchange_and_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "population.yaml").write_text(SPEC)
    with started("run", "population.yaml", cwd=tmp_path) as process:
        deadline = time.monotonic() + 120
        while not any(
            '"action": "copy"' in journal.read_text()
            for journal in tmp_path.glob("runs/*/journal.jsonl")
        ):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    resumed = sweeper("resume", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    run = open_run("last", tmp_path / "runs")
    assert {record.state for record in run.results.trials} == {TrialState.TERMINATED}
    assert all(record.env_steps == 2000 for record in run.results.trials)

    first, *others = run.lineage_rows
    events = list(read_journal(run.paths.journal))
    reports = [event for event in events if isinstance(event, TrialReported)]
    ours = [event for event in reports if event.trial_id == first["trial_id"]]
    decided = [(event.decision or {}).get("action") for event in ours].index("copy")
    went_on_at = ours[decided + 1].metrics["num_env_steps_sampled_lifetime"]
    assert went_on_at == first["donor_env_steps"] + 200
    lr = first["parameters"]["lr"]
    assert 1e-5 <= lr <= 1e-2
    assert all(1 <= row["parameters"]["num_epochs"] <= 3 for row in [first, *others])

    ancestry = trace_ancestry(run.results, run.selection.trial_id)
    best = json.loads(sweeper_here("best", "--json", cwd=tmp_path).stdout)
    assert (best["schedule"] is not None) == (len(ancestry) > 1)
    if best["schedule"] is not None:
        plan = training_plan(load_spec(best["schedule"]))
        assert (plan.trials, plan.spec.scheduler.type) == (1, "fifo")
    table = sweeper_here("results", "--lineage", cwd=tmp_path).stdout
    assert f"{first['trial_id']}" in table
    rows = json.loads(sweeper_here("results", "--lineage", "--json", cwd=tmp_path).stdout)
    assert rows == run.lineage_rows
