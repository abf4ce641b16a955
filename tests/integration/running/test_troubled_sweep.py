"""Two trials at a time under TPE and ASHA, some failing, some diverging, with late metrics: Ray."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import sweeper_here
from decisions import check_decisions

from sweeper.api import open_run
from sweeper.states import TrialState

# Each environment of a trial takes a number; later ones are worth less, every seventh raises an
# error, and every fifth returns NaN. Every second has long episodes, so that values come late.
ENVIRONMENT = """
import itertools, os, pathlib, gymnasium, ray
HERE = pathlib.Path(__file__).parent
class Troubled(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    number = None
    steps = 0
    def take_number(self):
        if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
            return 0  # the plan's
        for number in itertools.count(1):
            try:
                os.close(os.open(HERE / f"number{number}", os.O_CREAT | os.O_EXCL))
                return number
            except FileExistsError:
                continue
    def reset(self, *, seed=None, options=None):
        self.count = 0
        return self.observation_space.high, {}
    def step(self, action):
        if self.number is None:
            self.number = self.take_number()
        self.count += 1
        self.steps += 1
        reward = 1 / (1 + self.number)
        if self.steps > 150 and self.number % 7 == 3:
            raise OSError("the simulator is gone")
        if self.steps > 150 and self.number % 5 == 1:
            reward = float("nan")
        is_over = self.count >= 5 + self.number % 2 * 100
        return self.observation_space.high, reward, is_over, False, {}
gymnasium.register("Troubled-v0", entry_point=Troubled)
"""
SPEC = """
name: troubled
environment: {id: Troubled-v0, module: troubled}
algorithm: PPO
seeds: 3
param_space:
  lr: {loguniform: [1.0e-4, 1.0e-2]}
  train_batch_size_per_learner: 100
  minibatch_size: 100
  num_epochs: 1
  num_envs_per_env_runner: 1
  model_config: {fcnet_hiddens: [4]}
search: {algorithm: tpe, num_samples: 8, n_startup_trials: 2, max_concurrent: 2}
scheduler: {type: asha, grace_period: 200, reduction_factor: 2}
stop: {num_env_steps_sampled_lifetime: 500}
selection: {finalists: 0}
resources: {retries: 0}
tracking: null
"""


def test_a_troubled_sweep_ends_with_every_trial_decided_on_by_what_was_known(
    tmp_path: Path, ray_cluster: None
) -> None:
    (tmp_path / "troubled.py").write_text(ENVIRONMENT)
    (tmp_path / "spec.yaml").write_text(SPEC)
    done = sweeper_here("run", "spec.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = open_run(done.stdout.strip())
    trials = run.results.trials
    assert len({repr(one.parameters) for one in trials}) == 8
    states = [one.state for one in trials]
    assert set(states) == {TrialState.ERROR, TrialState.PRUNED, TrialState.TERMINATED}
    assert any(one.last_report.get("num_diverged_replicas") for one in trials)
    firsts = [one.reports[0].get("episode_return_mean") for one in trials if one.reports]
    assert None in firsts, "the metric comes late"
    check_decisions(run.paths)
    told = {"ERROR": "FAIL", "PRUNED": "PRUNED", "TERMINATED": "COMPLETE"}
    assert [one.state.name for one in run.to_optuna().trials] == [told[one] for one in states]
    best = json.loads(sweeper_here("best", "--json", cwd=tmp_path).stdout)
    assert run.results.trial(best["trial_id"]).state is TrialState.TERMINATED
