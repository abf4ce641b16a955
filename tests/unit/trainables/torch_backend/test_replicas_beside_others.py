"""A replica trains beside others as it does alone, also when they get out of step.

`tests/integration/trainables/test_conformance.py` checks the same with one sub-environment, on
every backend. With several, a replica's count of env steps depends on how many of its own
sub-environments are resetting.
"""

from __future__ import annotations

from dataclasses import replace

import dqn_tasks
import numpy as np
import ppo_tasks
import pytest

SEEDS = (3, 4, 5)
ITERATIONS = 3
MODEL = {"fcnet_hiddens": [8]}


def build(algorithm, seeds, envs, model=MODEL):
    if algorithm == "PPO":
        return ppo_tasks.build_trainer(
            ppo_tasks.settings_of("CartPole-v1", seeds=seeds),
            num_envs_per_env_runner=envs,
            train_batch_size_per_learner=120,
            minibatch_size=40,
            lr=[[0, 1e-2], [400, 1e-3]],
            clip_param=[[0, 0.3], [400, 0.1]],
            entropy_coeff=[[0, 0.1], [400, 0.0]],
            model_config=model,
        )
    return dqn_tasks.build_trainer(
        dqn_tasks.settings_of("CartPole-v1", seeds=seeds),
        num_envs_per_env_runner=envs,
        n_step=[1, 3],
        lr=[[0, 3e-4], [400, 1e-4]],
        epsilon=[[0, 1.0], [300, 0.0]],  # steep, and then 0
        num_steps_sampled_before_learning_starts=0,
        train_batch_size_per_learner=16,
        # Priorities would carry the rounding of TD errors into the draws.
        replay_buffer_config={"type": "EpisodeReplayBuffer", "capacity": 300},
        min_sample_timesteps_per_iteration=120,
        model_config=model,
    )


def train(trainer):
    """Progress by iteration and replica, and whether the replicas' counts ever differed."""
    progress, is_out_of_step = [], False
    try:
        for _ in range(ITERATIONS):
            progress.append(trainer.train())
            collector = trainer._collector
            counts = getattr(collector, "_taken", collector._resetting.sum(axis=1))
            is_out_of_step |= len(set(counts.tolist())) > 1
    finally:
        trainer.close()
    return progress, is_out_of_step


@pytest.mark.parametrize("with_frozen", [False, True], ids=["", "frozen"])
@pytest.mark.parametrize("envs", [1, 3, 8])
@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_a_replica_trains_beside_others_as_alone(algorithm, envs, with_frozen):
    together = build(algorithm, SEEDS, envs)
    if with_frozen:
        together._learner.freeze(np.arange(3) == 0)
    beside, is_out_of_step = train(together)
    assert is_out_of_step or envs == 1
    for replica in (2,) if with_frozen else (1, 2):
        alone, _ = train(build(algorithm, SEEDS[replica : replica + 1], envs))
        assert any(one.episode_returns for (one,) in alone)
        for (one,), many in zip(alone, beside, strict=True):
            assert replace(one, learner=None) == replace(many[replica], learner=None)
            # With another number of replicas sums may be rounded in another order.
            assert one.learner == pytest.approx(many[replica].learner, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("units", [51, 64])
def test_how_many_are_beside_it_decides_on_no_replica_s_arithmetic(units):
    """Of 40 rows, 51 units are too few for the faster tanh, but not those of three replicas."""
    model = {"fcnet_hiddens": [units]}
    beside, _ = train(build("PPO", SEEDS, 4, model))
    for replica in (1, 2):
        alone, _ = train(build("PPO", SEEDS[replica : replica + 1], 4, model))
        for (one,), many in zip(alone, beside, strict=True):
            assert replace(one, learner=None) == replace(many[replica], learner=None)
