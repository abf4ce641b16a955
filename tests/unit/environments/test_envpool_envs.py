"""envpool's environments: the tasks of gymnasium, independent replicas, and refusals."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sweeper.environments.building import describe
from sweeper.environments.envpool import (
    EnvpoolReplicaEnvs,
    check_envpool,
    has_envpool,
)
from sweeper.environments.settings import (
    EnvironmentBuildError,
    EnvironmentSettings,
    WrapperSettings,
)
from sweeper.installation import install_extra
from sweeper.trainables.contract import EvaluationSettings, TrialSettings
from sweeper.trainables.torch_backend.dqn.trainer import TorchDQNTrainer
from sweeper.trainables.torch_backend.ppo.trainer import TorchPPOTrainer

needs_envpool = pytest.mark.skipif(not has_envpool(), reason="envpool is an extra")

SMALL = {
    "PPO": {
        "num_epochs": 2,
        "minibatch_size": 64,
        "train_batch_size_per_learner": 256,
        "num_envs_per_env_runner": 8,
        "model_config": {"fcnet_hiddens": [16]},
    },
    "DQN": {
        "num_steps_sampled_before_learning_starts": 100,
        "min_sample_timesteps_per_iteration": 200,
        "num_envs_per_env_runner": 3,
        "model_config": {"fcnet_hiddens": [16]},
    },
}
TRAINERS = {"PPO": TorchPPOTrainer, "DQN": TorchDQNTrainer}


def settings_of(env_id, algorithm, *, seeds):
    return TrialSettings(
        algorithm=algorithm,
        backend="torch",
        environment=EnvironmentSettings(env_id, vectorization="envpool"),
        constants={},
        seeds=seeds,
        evaluation=EvaluationSettings(10, None),
    )


def build_trainer(env_id, *, algorithm="PPO", seeds=(0, 1, 2), **hyperparameters):
    settings = settings_of(env_id, algorithm, seeds=seeds)
    return TRAINERS[algorithm](settings, {**SMALL[algorithm], **hyperparameters})


def build_envs(env_id="CartPole-v1", *, replicas=3, num_envs=2, threads=1, **kwargs):
    settings = EnvironmentSettings(env_id, kwargs=kwargs, vectorization="envpool")
    return EnvpoolReplicaEnvs(settings, replicas=replicas, num_envs=num_envs, threads=threads)


def step(envs, actions, replicas):
    return [tuple(np.array(part) for part in outcome) for outcome in envs.step(actions, replicas)]


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, tuple):
            assert_equal(one, other)
        else:
            np.testing.assert_array_equal(one, other)


@needs_envpool
@pytest.mark.parametrize("threads", [1, 2])
def test_a_replicas_episodes_depend_only_on_its_seed_and_actions(threads):
    rng = np.random.default_rng(0)
    alone = build_envs(replicas=1, threads=threads)
    beside = build_envs(replicas=3, threads=threads)
    np.testing.assert_array_equal(next(alone.reset([5])), list(beside.reset([3, 5, 9]))[1])
    for number in range(300):
        mine = rng.integers(2, size=2)
        others = np.stack([rng.integers(2, size=2), mine, rng.integers(2, size=2)])
        if number % 3 == 0:  # the others step while this one waits
            step(beside, others, [0, 2])
        (expected,) = step(alone, mine[None], [0])
        replicas = [[1], [0, 1], [1, 2], [0, 1, 2]][number % 4]
        assert_equal(step(beside, others, replicas)[replicas.index(1)], expected)


@needs_envpool
def test_equal_seeds_give_equal_episodes_in_any_position():
    envs, actions = build_envs(), np.zeros((3, 2), dtype=int)
    first = [*envs.reset([4, 5, 6])], step(envs, actions, [0, 1, 2])
    again = [*envs.reset([6, 4, 5])], step(envs, actions, [0, 1, 2])
    for found, expected in zip(again, first, strict=True):
        assert_equal([*found[1:], found[0]], expected)
    assert not np.array_equal(first[0][0], first[0][1])
    assert not np.array_equal(first[0][0][0], first[0][0][1])


@needs_envpool
def test_the_step_after_an_episodes_end_is_its_reset_and_ignores_the_action():
    envs, actions = build_envs("Pendulum-v1", max_episode_steps=5), np.zeros((3, 2, 1))
    seen = []
    for first_action in (0.0, 2.0):
        list(envs.reset([1, 2, 3]))
        for _ in range(4):
            assert not any(truncated.any() for *_, truncated in step(envs, actions, [0, 1, 2]))
        for _, _, terminated, truncated in step(envs, actions, [0, 1, 2]):
            assert truncated.all()
            assert not terminated.any()
        after = step(envs, actions + first_action, [0, 1, 2])
        for number, (_, rewards, terminated, truncated) in enumerate(after):
            assert not rewards.any(), number
            assert not (terminated | truncated).any()
        seen.append([observations for observations, *_ in after])
        assert all(rewards.all() for _, rewards, *_ in step(envs, actions + 1, [0, 1, 2]))
    assert_equal(*seen)


@needs_envpool
@pytest.mark.parametrize(
    ("env_id", "algorithm"),
    [
        ("CartPole-v1", "PPO"),
        ("Pendulum-v1", "PPO"),
        ("LunarLander-v3", "PPO"),
        ("FrozenLake-v1", "PPO"),
        ("CartPole-v1", "DQN"),
        ("FrozenLake-v1", "DQN"),
    ],
)
def test_agents_trained_in_envpool_play_in_gymnasiums_environment(env_id, algorithm, tmp_path):
    from sweeper.agents.episodes import play_episodes
    from sweeper.environments.spaces import space_to_json
    from sweeper.opened_agent import load_agent

    trainer = build_trainer(env_id, algorithm=algorithm)
    for _ in range(2):
        trainer.train()
    trainer.save(tmp_path)
    trainer.close()
    written = json.loads((tmp_path / "agent.json").read_text())
    described = describe(EnvironmentSettings(env_id))
    assert written["observation_space"] == space_to_json(described.observation_space)
    assert written["action_space"] == space_to_json(described.action_space)
    assert written["environment"]["vectorization"] == "envpool"
    agent = load_agent(tmp_path, replica=1)
    returns, _ = play_episodes(agent, EnvironmentSettings(env_id), episodes=3, seed=0)
    assert np.isfinite(returns).all()


@needs_envpool
def test_training_does_not_depend_on_the_order_or_number_of_seeds():
    def run(*seeds):
        trainer = build_trainer("CartPole-v1", seeds=seeds)
        progress = [trainer.train() for _ in range(3)]
        evaluations = [trainer.evaluate(), trainer.evaluate()]
        assert evaluations[0] == evaluations[1]
        trainer.close()
        return [*zip(*progress, evaluations[0], strict=True)]

    first, turned = run(0, 1, 2), run(2, 0, 1)
    assert run(0, 1, 2) == first
    assert [*turned[1:], turned[0]] == first
    assert run(1)[0][0].episode_returns == first[1][0].episode_returns


@needs_envpool
@pytest.mark.parametrize("envs", [1, 3])
def test_replay_does_not_depend_on_the_order_or_number_of_seeds(envs):
    def episodes(*seeds):
        given = {"epsilon": 1.0, "num_envs_per_env_runner": envs}
        trainer = build_trainer("CartPole-v1", algorithm="DQN", seeds=seeds, **given)
        progress = [trainer.train() for _ in range(2)]
        again = build_trainer("CartPole-v1", algorithm="DQN", seeds=seeds, **given)
        assert [again.train() for _ in range(2)] == progress
        for each in (trainer, again):
            each.close()
        return [[one.episode_returns for one in mine] for mine in zip(*progress, strict=True)]

    first, turned = episodes(0, 1, 2), episodes(2, 0, 1)
    assert [*turned[1:], turned[0]] == first
    assert episodes(1) == [first[1]]


@needs_envpool
@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_a_restored_trainer_seeds_new_episodes_from_its_generators(algorithm, tmp_path):
    trainer = build_trainer("CartPole-v1", algorithm=algorithm)
    trainer.train()
    state = json.loads(json.dumps(trainer.save(tmp_path)))
    continued = []
    for _ in range(2):
        restored = build_trainer("CartPole-v1", algorithm=algorithm)
        restored.restore(tmp_path, state)
        continued.append(restored.train())
        restored.close()
    assert continued[0] == continued[1]
    assert continued[0] != trainer.train()
    trainer.close()


@needs_envpool
def test_fragments_hold_no_reset_steps():
    trainer = build_trainer("CartPole-v1")
    for _ in range(4):
        fragment = trainer._collector.collect(trainer._networks.act, np.zeros(3, dtype=bool))
        before = fragment.observations[:, :-1][fragment.valid]
        after = fragment.observations[:, 1:][fragment.valid]
        assert len(before) == 3 * 256
        # CartPole's own equation of motion, which no reset follows.
        np.testing.assert_allclose(after[:, 0], before[:, 0] + 0.02 * before[:, 1], atol=1e-5)
        assert fragment.ended[fragment.valid].any()
    trainer.close()


@needs_envpool
def test_a_frozen_replica_does_not_change_the_others():
    frozen = np.array([False, True, False])
    fragments = []
    for is_frozen in (np.zeros(3, dtype=bool), frozen):
        trainer = build_trainer("CartPole-v1")
        for _ in range(3):
            fragment = trainer._collector.collect(trainer._networks.act, is_frozen)
        fragments.append([fragment.observations[r][:-1][fragment.valid[r]] for r in (0, 2)])
        trainer.close()
    assert_equal(*fragments)


@needs_envpool
def test_closing_a_trainer_ends_envpools_threads():
    def threads():
        return len(list(Path("/proc/self/task").iterdir()))

    build_trainer("CartPole-v1").close()  # torch's own threads
    before = threads()
    trainer = build_trainer("CartPole-v1")
    trainer.train()
    trainer.evaluate()
    assert threads() > before
    trainer.close()
    assert threads() == before


@needs_envpool
def test_the_time_limit_is_that_of_the_spec():
    for kwargs, limit in (({}, 200), ({"max_episode_steps": 7}, 7)):
        envs, actions = build_envs("Pendulum-v1", **kwargs), np.zeros((3, 2, 1))
        list(envs.reset([1, 2, 3]))
        cut = [step(envs, actions, [0])[0][3].all() for _ in range(limit)]
        assert cut == [False] * (limit - 1) + [True]


def test_a_missing_envpool_is_explained_with_its_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "envpool", None)  # makes the import fail
    with pytest.raises(EnvironmentBuildError, match=re.escape(install_extra("envpool"))):
        build_envs()


@pytest.mark.parametrize(
    "change", [{"wrappers": (WrapperSettings("FlattenObservation"),)}, {"module": "math"}]
)
def test_envpool_refuses_wrappers_and_modules(change):
    settings = EnvironmentSettings("CartPole-v1", vectorization="envpool")
    changed = replace(settings, **change)
    with pytest.raises(EnvironmentBuildError, match=f"environment.{next(iter(change))}") as caught:
        check_envpool(changed, describe(settings))
    assert caught.value.key == ("vectorization",)


@needs_envpool
@pytest.mark.parametrize(
    ("env_id", "kwargs", "key", "message"),
    [
        ("LunarLander-v3", {"gravity": -9.0}, "kwargs", "has no argument 'gravity'.*sync"),
        ("Blackjack-v1", {}, "vectorization", "Blackjack-v1 has observations Box.*Tuple.*sync"),
        ("ppo_tasks/Identity-v0", {}, "vectorization", "has no ppo_tasks/Identity-v0.*sync"),
        ("CartPole-v1", {"max_episode_steps": 2**31}, "kwargs", "can't make CartPole-v1 with.*use"),
    ],
)
def test_what_envpool_does_not_support_is_one_clear_error(env_id, kwargs, key, message):
    import ppo_tasks  # noqa: F401  registers its environments

    settings = EnvironmentSettings(env_id, kwargs=kwargs, vectorization="envpool")
    with pytest.raises(EnvironmentBuildError, match=message) as caught:
        check_envpool(settings, describe(settings))
    assert caught.value.key == (key,)


@needs_envpool
def test_no_warning_mentions_the_precision_of_envpools_bounds(recwarn):
    trainer = build_trainer("CartPole-v1")
    trainer.train()
    trainer.close()
    assert not [str(one.message) for one in recwarn if "precision" in str(one.message)]
    assert torch.isfinite(trainer._networks.parameters).all()
