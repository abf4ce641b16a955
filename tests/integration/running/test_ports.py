"""Another search algorithm and another scheduler, through the ports, on Ray Tune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import sweeper_here

from sweeper.api import open_run
from sweeper.metrics import Objective
from sweeper.schedulers.base import CONTINUE, Action, Decision, Report, Scheduler
from sweeper.search.base import Observation, SearchAlgorithm
from sweeper.search.expansion import Sample

SPEC = """
name: ports
environment: CartPole-v1
algorithm: PPO
seeds: 2
param_space:
  lr: {choice: [0.001, 0.002, 0.003, 0.004]}
  train_batch_size_per_learner: 64
  minibatch_size: 64
  num_epochs: 1
  model_config: {fcnet_hiddens: [4]}
search: {num_samples: 4, max_concurrent: 1}
stop: {num_env_steps_sampled_lifetime: 256}
selection: {finalists: 0}
tracking: null
"""


class Climbing(SearchAlgorithm):
    """Asks for a learning rate that counts the trials it was told of."""

    def __init__(
        self,
        param_space: Mapping[str, Any],
        *,
        num_samples: int,
        seed: int,
        points: Sequence[Mapping[str, Any]],
        asked: Sequence[Mapping[str, Any]],
        known: Sequence[int | None],
        objective: Objective,
        options: Mapping[str, Any],
    ) -> None:
        self._space, self._samples = dict(param_space), num_samples
        self._known: set[int] = set()

    def ask(self, number: int) -> Sample | None:
        if number > self._samples:
            return None
        parameters = {"lr": 0.001 * (1 + len(self._known))}
        return Sample({**self._space, **parameters}, parameters)

    def tell(self, observation: Observation) -> None:
        if observation.state.is_over:
            self._known.add(observation.number)


class Cutting(Scheduler):
    """Lets the first trial that comes to 128 env steps go on, and no other."""

    def __init__(self, objective: Objective) -> None:
        super().__init__(objective)
        self._first: str | None = None

    def on_report(self, report: Report) -> Decision:
        if report.env_steps < 128:
            return CONTINUE
        self._first = self._first or report.trial_id
        return (
            CONTINUE if report.trial_id == self._first else Decision(Action.STOP, "not the first")
        )


def test_a_search_that_learns_and_a_scheduler_that_stops_work_across_launches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_cluster: None
) -> None:
    monkeypatch.setattr("sweeper.search.registry.SEARCH_ALGORITHMS", {"random": Climbing})
    monkeypatch.setattr("sweeper.schedulers.registry.SCHEDULERS", {"fifo": Cutting})
    (tmp_path / "spec.yaml").write_text(SPEC)
    done = sweeper_here("run", "spec.yaml", "budget={trials: 2}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    root = Path(done.stdout.strip())
    done = sweeper_here("resume", root.name, "--stop", "budget.trials=4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    trials = open_run(root).results.trials
    assert [trial.parameters["lr"] for trial in trials] == [0.001, 0.002, 0.003, 0.004]
    assert [(trial.state, trial.reason) for trial in trials] == [
        ("TERMINATED", "num_env_steps_sampled_lifetime >= 256"),
        *[("PRUNED", "not the first")] * 3,
    ]
    assert [trial.env_steps for trial in trials] == [256, 128, 128, 128]
