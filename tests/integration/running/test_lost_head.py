"""A sweep whose cluster loses its head, and that goes on without one: real Ray, on one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from sweeper.journal import LaunchEnded, TrialAsked, TrialCheckpointed, TrialEnded, read_journal
from sweeper.states import TrialState

SPEC = """
name: tiny
environment: CartPole-v1
algorithm: PPO
backend: torch
seeds: 1
param_space:
  lr: {{loguniform: [1.0e-4, 1.0e-2]}}
  train_batch_size_per_learner: 100
  minibatch_size: 50
  num_epochs: 1
  model_config: {{fcnet_hiddens: [8]}}
search: {{num_samples: 2, seed: 3}}
stop: {{training_iteration: 400}}
checkpoint: {{every_env_steps: 1000, keep: 1}}
selection: {{finalists: 0}}
ray: {{address: "{address}"}}
tracking: null
"""


@pytest.mark.acceptance
def test_a_sweep_whose_cluster_loses_its_head_ends_in_order_and_goes_on_here(
    tmp_path: Path,
) -> None:
    made = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 2,
            "include_dashboard": False,
            "object_store_memory": 80 * 2**20,
        },
    )
    (tmp_path / "tiny.yaml").write_text(SPEC.format(address=made.address))
    log = tmp_path / "log"
    command = [sys.executable, "-m", "sweeper"]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "run", "tiny.yaml", "-q"], cwd=tmp_path, stderr=stream
        )
    deadline = time.monotonic() + 120.0
    while "trial_checkpointed" not in "".join(p.read_text() for p in tmp_path.glob("runs/*/j*")):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    for one in [one for found in made.head_node.all_processes.values() for one in found]:
        if one.process.poll() is None:
            os.kill(one.process.pid, signal.SIGKILL)
    assert process.wait(120) == 1, log.read_text()
    (line,) = log.read_text().splitlines()
    assert line.startswith("error: the head of the Ray cluster (its GCS) is lost")
    assert "nothing that was reported is lost: `sweeper resume " in line
    (journal,) = tmp_path.glob("runs/*/journal.jsonl")
    before = list(read_journal(journal))
    assert isinstance(before[-1], LaunchEnded)
    assert before[-1].reason == "failed"
    done = subprocess.run(
        [*command, "resume", "--address", "local", "-q"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    events = list(read_journal(journal))
    asked = [event.trial_id for event in events if isinstance(event, TrialAsked)]
    ended = [event for event in events[len(before) :] if isinstance(event, TrialEnded)]
    assert asked == sorted(event.trial_id for event in ended) == ["t0001", "t0002"]
    assert {event.state for event in ended} == {TrialState.TERMINATED}
    saved = [event for event in before if isinstance(event, TrialCheckpointed)]
    assert saved
    made.shutdown()
