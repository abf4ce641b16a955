"""envpool against gymnasium: the same tasks, and whole sweeps from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import sweeper_here

from sweeper.environments.envpool import has_envpool, is_faster_in_envpool
from sweeper.environments.settings import EnvironmentSettings
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.torch_backend.envs import open_replica_envs

pytestmark = pytest.mark.skipif(not has_envpool(), reason="envpool is an extra")

SPEC = """
name: pooled
environment: {{id: {env_id}, vectorization: envpool}}
algorithm: {algorithm}
seeds: 3
param_space:
  lr: {{loguniform: [1.0e-4, 1.0e-3]}}
  model_config: {{fcnet_hiddens: [16]}}
  num_envs_per_env_runner: 4
{more}
search: {{num_samples: 1, seed: 0}}
stop: {{num_env_steps_sampled_lifetime: 1600}}
selection: {{finalists: 0}}
evaluation: {{episodes: 3, every_env_steps: 800}}
"""
MORE = {
    "PPO": "  train_batch_size_per_learner: 400\n  minibatch_size: 100\n  num_epochs: 2",
    "DQN": "  num_steps_sampled_before_learning_starts: 200",
}


def play_at_random(
    env_id: str, vectorization: str, *, envs: int, steps: int, at: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns of the first episodes, and every sub-environment's observation at step ``at``."""
    settings = TrialSettings(
        algorithm="PPO",
        backend="torch",
        environment=EnvironmentSettings(env_id, vectorization=vectorization),
        constants={},
        seeds=(0,),
    )
    rng, returns, running = np.random.default_rng(1), [], np.zeros(envs)
    is_first, seen = np.ones(envs, dtype=bool), None
    with open_replica_envs(settings, envs) as ours:
        space = ours.single_action_space
        list(ours.reset([7]))
        for number in range(1, steps + 1):
            if hasattr(space, "n"):
                actions = rng.integers(space.n, size=(1, envs))
            else:
                actions = rng.uniform(space.low, space.high, size=(1, envs, *space.shape))
                actions = actions.astype(space.dtype)
            ((observations, rewards, terminated, truncated),) = ours.step(actions, [0])
            if number == at:
                seen = np.array(observations)
            running += rewards * is_first
            ended = (terminated | truncated) & is_first
            returns += running[ended].tolist()
            is_first &= ~ended
    return np.array(returns), seen


# CartPole, and every environment for which `plan` recommends envpool.
@pytest.mark.parametrize(
    ("env_id", "envs", "steps", "at"),
    [
        ("CartPole-v1", 200, 120, 8),
        ("Acrobot-v1", 60, 500, 80),
        ("Pendulum-v1", 100, 200, 50),
        ("MountainCar-v0", 100, 200, 60),
        ("MountainCarContinuous-v0", 40, 999, 60),
        ("LunarLander-v3", 60, 160, 30),
        ("LunarLanderContinuous-v3", 60, 160, 30),
        ("BipedalWalker-v3", 40, 100, 30),
        ("BipedalWalkerHardcore-v3", 40, 100, 30),
    ],
)
def test_a_random_policy_earns_the_same_as_in_gymnasium(
    env_id: str, envs: int, steps: int, at: int
) -> None:
    assert is_faster_in_envpool(EnvironmentSettings(env_id)) == (env_id != "CartPole-v1")
    played = [
        play_at_random(env_id, mode, envs=envs, steps=steps, at=at) for mode in ("envpool", "sync")
    ]
    for one, other in zip(*played, strict=True):
        assert len(one) > 0.25 * envs
        spread = np.hypot(one.std(axis=0) / len(one) ** 0.5, other.std(axis=0) / len(other) ** 0.5)
        assert (np.abs(one.mean(axis=0) - other.mean(axis=0)) <= 4 * spread + 1e-6).all()


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    ("env_id", "algorithm"), [("Acrobot-v1", "PPO"), ("Pendulum-v1", "PPO"), ("CartPole-v1", "DQN")]
)
def test_a_sweep_on_envpool_is_recorded_resumed_and_evaluated_in_gymnasium(
    env_id: str, algorithm: str, tmp_path: Path
) -> None:
    text = SPEC.format(env_id=env_id, algorithm=algorithm, more=MORE[algorithm])
    (tmp_path / "pooled.yaml").write_text(text)
    done = sweeper_here("run", "pooled.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = Path(done.stdout.strip())
    assert json.loads((run / "plan.json").read_text())["vectorization"] == ["envpool"]
    assert "envpool" in json.loads((run / "environment.json").read_text())["versions"]
    more = sweeper_here("resume", run.name, "--num-samples", "2", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    trials = json.loads(sweeper_here("results", run.name, "--json", cwd=tmp_path).stdout)
    assert [trial["state"] for trial in trials] == ["TERMINATED"] * 2
    assert all(np.isfinite(trial["score"]) for trial in trials)
    played = sweeper_here("evaluate", run.name, "--episodes", "2", "--json", cwd=tmp_path)
    assert played.returncode == 0, played.stderr
    assert np.isfinite(json.loads(played.stdout)["mean"])


@pytest.mark.parametrize(
    ("environment", "where", "words"),
    [
        ("{id: Blackjack-v1}", "environment.vectorization", "envpool's Blackjack-v1 has observ"),
        (
            "{id: CartPole-v1, kwargs: {sutton_barto_reward: true}}",
            "environment.kwargs",
            "envpool's CartPole-v1 has no argument 'sutton_barto_reward'",
        ),
        (
            "{id: Acrobot-v1, wrappers: [FlattenObservation]}",
            "environment.vectorization",
            "envpool does not go with environment.wrappers; use auto or sync",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "run"])
def test_what_envpool_does_not_support_is_one_line_before_anything_starts(
    verb: str, environment: str, where: str, words: str, tmp_path: Path
) -> None:
    text = SPEC.format(env_id="CartPole-v1", algorithm="PPO", more=MORE["PPO"])
    (tmp_path / "pooled.yaml").write_text(text)
    environment = environment.replace("{id", "{vectorization: envpool, id")
    done = sweeper_here(verb, "pooled.yaml", f"environment={environment}", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    first, last = done.stderr.strip().splitlines()
    assert f"{where}: {words}" in first
    assert last == "1 problem; nothing was started"
    assert not (tmp_path / "runs").exists()
