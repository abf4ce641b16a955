"""The stages of a launch share their workers, which took seconds to start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from command_line import sweeper_here

from sweeper.journal import TrialAsked, read_journal
from sweeper.opened_run import open_run
from sweeper.running.tune.relay import Workers

ENVIRONMENT = """
import os
import gymnasium
import ray
from gymnasium.envs.classic_control import CartPoleEnv

class Noting(CartPoleEnv):
    def __init__(self, folder):
        super().__init__()
        if ray.is_initialized() and ray.get_runtime_context().get_actor_id():
            open(os.path.join(folder, f"worker_{os.getpid()}"), "a").close()
    def close(self):
        raise RuntimeError("there is no display to close")

gymnasium.register("Noting-v0", entry_point=Noting, max_episode_steps=100)
"""
SPEC = """
name: shared
environment: {{id: Noting-v0, module: noting_envs, kwargs: {{folder: "{folder}"}}}}
algorithm: PPO
backend: torch
seeds: 2
param_space:
  lr: {{grid_search: [1.0e-3, 1.0e-4, 1.0e-5]}}
  train_batch_size_per_learner: 100
  minibatch_size: 50
  num_epochs: 1
  num_envs_per_env_runner: 2
  model_config: {{fcnet_hiddens: [8]}}
search: {{max_concurrent: 2}}
stop: {{num_env_steps_sampled_lifetime: 300}}
selection: {{finalists: 2, confirm_seeds: 2, confirm_episodes: 4}}
tracking: null
"""


def test_the_confirmation_is_trained_by_the_workers_of_the_search_whatever_closing_raises(
    tmp_path: Path, ray_cluster: None
) -> None:
    (tmp_path / "noting_envs.py").write_text(ENVIRONMENT)
    (tmp_path / "shared.yaml").write_text(SPEC.format(folder=tmp_path))
    done = sweeper_here("run", "shared.yaml", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = open_run(tmp_path / "runs" / Path(done.stdout.strip()).name)
    asked = [one.stage for one in read_journal(run.paths.journal) if isinstance(one, TrialAsked)]
    assert asked == ["search"] * 3 + ["confirmation"] * 3
    assert 1 <= len(list(tmp_path.glob("worker_*"))) <= 2


@dataclass
class Queue:
    has_lone_trial: bool = False


def make_workers(queue: Queue) -> Workers:
    relay: Any = SimpleNamespace(stage=SimpleNamespace(queue=queue))
    return Workers(relay, may_keep_one=True)


def test_workers_stay_while_no_trial_waits_for_what_they_hold() -> None:
    workers = make_workers(Queue())
    assert all(workers.cache_object("one core", name) for name in ("a", "b"))
    assert list(workers.flush_cached_objects()) == []
    workers.increase_max("one core")  # a trial waits, and can have one of them
    assert list(workers.flush_cached_objects()) == ["a"]
    assert workers.pop_cached_object("one core") == "b"
    workers.decrease_max("one core")
    assert workers.cache_object("one core", "b")
    workers.increase_max("two cores")  # that it holds may be what this trial waits for
    assert list(workers.flush_cached_objects()) == ["b"]
    assert not workers.cache_object("one core", "c")
    workers.decrease_max("two cores")
    assert workers.cache_object("one core", "d")
    assert list(workers.flush_cached_objects(force_all=True)) == ["d"]


def test_a_trial_that_ran_out_of_memory_shares_it_with_no_resting_worker() -> None:
    queue = Queue()
    workers = make_workers(queue)
    assert all(workers.cache_object("one core", name) for name in ("a", "b", "c"))
    queue.has_lone_trial = True
    assert list(workers.flush_cached_objects()) == ["a", "b", "c"]
    assert workers.cache_object("one core", "d")  # which it takes up
    assert not workers.cache_object("one core", "e")
