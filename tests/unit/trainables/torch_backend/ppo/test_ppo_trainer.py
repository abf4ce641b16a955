"""PPO's trainer: exact counts of env steps, checkpoints, divergence, refused keys.

The contract of all trainers is tested in `tests/integration/trainables/test_conformance.py`.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from ppo_tasks import build_trainer, settings_of, train
from safetensors.torch import load_file

from sweeper.environments.settings import NormalizeSettings
from sweeper.errors import ConfigurationRefusedError, UserError
from sweeper.trainables.contract import (
    NON_FINITE_POLICY,
    EnvironmentFailedError,
    EvaluationSettings,
)
from sweeper.trainables.torch_backend.ppo.trainer import TorchPPOTrainer

CARTPOLE = {
    "lr": 1e-3,
    "gamma": 0.98,
    "lambda_": 0.8,
    "num_epochs": 4,
    "minibatch_size": 48,
    "train_batch_size_per_learner": 128,
    "num_envs_per_env_runner": 8,
    "use_kl_loss": True,
    "grad_clip": 0.5,
}
NORMALIZE = NormalizeSettings(observations=True, rewards=True)


def cartpole(seeds=(0, 1, 2), *, normalize=NORMALIZE, evaluation=None, **hyperparameters):
    settings = settings_of("CartPole-v1", seeds=seeds, normalize=normalize, evaluation=evaluation)
    return build_trainer(settings, **{**CARTPOLE, **hyperparameters})


def parameters_of(trainer):
    return trainer._networks.parameters.detach().clone()


def run(trainer, iterations=3):
    progress = [trainer.train() for _ in range(iterations)]
    return progress, parameters_of(trainer)


@pytest.mark.parametrize("normalize", [None, NORMALIZE])
def test_env_steps_are_counted_exactly(normalize):
    trainer = cartpole(normalize=normalize)
    for iteration in range(1, 5):
        assert {replica.env_steps for replica in trainer.train()} == {128 * iteration}


@pytest.mark.parametrize("points", [[[0, np.inf], [256, 10.0]], [[0, 10.0], [256, np.inf]]])
def test_training_stays_finite_with_an_infinite_end_of_a_schedule(points):
    trainer = cartpole(seeds=(0,), vf_clip_param=points)
    progress, parameters = run(trainer, 4)
    assert torch.isfinite(parameters).all()
    assert not any(replica.diverged for row in progress for replica in row)


@pytest.mark.parametrize("by", ["global_norm", "norm", "value"])
def test_an_infinite_limit_of_gradients_is_none(by):
    trained = [
        run(cartpole(grad_clip=limit, grad_clip_by=by), 2)[1] for limit in (float("inf"), None)
    ]
    assert torch.isfinite(trained[0]).all()
    assert torch.equal(*trained)


def test_a_restored_trainer_learns_bit_for_bit_the_same_from_the_same_batch(tmp_path):
    trainer = cartpole()
    run(trainer)
    state = json.loads(json.dumps(trainer.save(tmp_path)))
    restored = cartpole()
    restored.restore(tmp_path, state)
    assert torch.equal(parameters_of(trainer), parameters_of(restored))
    saved_again = restored.save(tmp_path / ".")
    # The new episodes drew new seeds.
    for ours, theirs in zip(state["generators"], saved_again["generators"], strict=True):
        assert {k: v for k, v in ours.items() if k != "environments"} == {
            k: v for k, v in theirs.items() if k != "environments"
        }
        assert ours["environments"] != theirs["environments"]
    for key in ("env_steps", "learner"):
        assert state[key] == saved_again[key]

    policy = trainer._networks.act
    frozen = trainer._learner.is_frozen
    batch = trainer._to_batch([trainer._to_fields(trainer._collector.collect(policy, frozen))])
    ours, theirs = (each._learner.update(batch, 384) for each in (trainer, restored))
    assert torch.equal(parameters_of(trainer), parameters_of(restored))
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)
    moments = [each._learner.state()[0] for each in (trainer, restored)]
    assert all(torch.equal(moments[0][name], moments[1][name]) for name in moments[0])
    assert (trainer._learner.kl_coeffs == restored._learner.kl_coeffs).all()


def test_the_moments_of_normalisation_are_restored(tmp_path):
    trainer = cartpole()
    run(trainer)
    state = trainer.save(tmp_path)
    restored = cartpole()
    restored.restore(tmp_path, state)
    observations = np.random.default_rng(0).normal(size=(3, 8, 4)).astype(np.float32)
    fresh = cartpole()._normalise(observations)
    np.testing.assert_array_equal(trainer._normalise(observations)[:, :, 0].shape, (3, 8))
    assert not np.allclose(trainer._normalise(observations), fresh)
    saved = load_file(tmp_path / "weights.safetensors")
    assert saved["normalisation.observations.mean"].shape == (3, 4)
    assert saved["normalisation.rewards.count"].min() > 300


def test_a_checkpoint_is_json_and_tensors_that_start_with_the_replica(tmp_path):
    model_config = {"fcnet_hiddens": [8], "log_std_clip_param": float("inf")}
    trainer = cartpole((7, 9), model_config=model_config)
    run(trainer, 1)
    json.dumps(trainer.save(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {
        "agent.json",
        "weights.safetensors",
        "trainer.safetensors",
    }
    for name in ("weights", "trainer"):
        assert all(
            len(tensor) == 2 for tensor in load_file(tmp_path / f"{name}.safetensors").values()
        )
    agent = json.loads((tmp_path / "agent.json").read_text())
    assert agent["model_config"]["log_std_clip_param"] == "inf"
    assert agent["model_config"]["fcnet_activation"] == "tanh"
    assert agent["seeds"] == [7, 9]
    assert agent["environment"]["id"] == "CartPole-v1"
    assert agent["action_space"] == {"type": "Discrete", "n": 2, "start": 0}


def test_an_evaluation_that_explores_does_not_disturb_training():
    evaluation = EvaluationSettings(episodes=4, every_env_steps=None, explore=True)
    undisturbed, evaluated = cartpole(), cartpole(evaluation=evaluation)
    for _ in range(2):
        first, second = undisturbed.train(), evaluated.train()
        assert first == second
        evaluated.evaluate()
    assert torch.equal(parameters_of(undisturbed), parameters_of(evaluated))


class ExplodingRewards:
    """A vector environment whose rewards become infinite."""

    def __init__(self, envs, after):
        self._envs, self._left = envs, after

    def __getattr__(self, name):
        return getattr(self._envs, name)

    def step(self, actions):
        observations, rewards, *rest = self._envs.step(actions)
        self._left -= 1
        return observations, rewards if self._left > 0 else rewards + np.inf, *rest


def test_a_diverged_replica_keeps_its_last_finite_weights():
    trainer = cartpole(normalize=None)
    _, before = run(trainer, 1)
    envs = trainer._envs.vector_envs
    envs[1] = ExplodingRewards(envs[1], after=0)
    _, after = run(trainer, 3)
    assert torch.equal(before[1], after[1])
    assert not torch.equal(before[0], after[0])


def test_a_non_finite_policy_never_reaches_the_environment():
    settings = settings_of("ppo_tasks/Identity-v0", seeds=(0, 1), kind="continuous")
    trainer = build_trainer(settings)
    trainer.train()
    with torch.no_grad():
        trainer._networks.parameters[1] = 1e38
    assert [replica.diverged for replica in trainer.train()] == [False, True]
    assert [replica.diverged for replica in trainer.train()] == [False, True]


def test_a_policy_that_is_not_finite_in_an_evaluation_is_frozen():
    settings = settings_of("ppo_tasks/Identity-v0", seeds=(0, 1), kind="continuous")
    trainer = build_trainer(settings)
    with torch.no_grad():
        trainer._networks.parameters[1] = 1e38
    first, second = trainer.evaluate()
    assert len(first.episode_returns) == 20
    assert (second.diverged, second.cause) == (True, NON_FINITE_POLICY)
    assert [replica.diverged for replica in trainer.train()] == [False, True]
    assert trainer.evaluate()[1] is None


def test_non_finite_gradients_are_made_finite_without_changing_other_replicas():
    from sweeper.trainables.torch_backend.optimiser import clip_gradients

    networks = cartpole()._networks
    networks.gradients.fill_(0.01)
    networks.gradients[1, 3] = float("nan")
    clip_gradients(networks, 0.5, "global_norm")
    assert torch.isfinite(networks.gradients).all()
    norms = networks.gradients.norm(dim=1)
    assert norms[0] == norms[2]


def test_the_kl_coefficient_adapts_for_each_replica():
    learner = cartpole(kl_coeff=0.2, kl_target=0.01)._learner
    learner._adapt_kl(np.array([0.03, 0.001, np.nan]))
    np.testing.assert_allclose(learner.kl_coeffs, [0.3, 0.1, 0.2], rtol=1e-6)


def test_schedules_use_the_env_steps_before_the_iteration():
    trainer = cartpole(lr=[[0, 1e-3], [256, 0.0]], entropy_coeff=[[0, 0.1], [128, 0.0]])
    metrics = [trainer.train()[0].learner for _ in range(3)]
    rates = [row["default_optimizer_learning_rate"] for row in metrics]
    assert rates == pytest.approx([5e-4, 0.0, 0.0])
    assert [row["curr_entropy_coeff"] for row in metrics] == [0.0, 0.0, 0.0]
    _, before = run(trainer, 1)
    _, after = run(trainer, 1)
    assert torch.equal(before, after)  # a learning rate of 0


def test_learner_metrics_have_rllibs_names():
    metrics = cartpole().train()[0].learner
    assert set(metrics) == {
        "policy_loss",
        "vf_loss",
        "vf_loss_unclipped",
        "vf_explained_var",
        "entropy",
        "mean_kl_loss",
        "total_loss",
        "curr_kl_coeff",
        "curr_entropy_coeff",
        "default_optimizer_learning_rate",
        "gradients_default_optimizer_global_norm",
    }


def test_several_fragments_make_one_iteration():
    trainer = cartpole(rollout_fragment_length=8)  # 2 x 8 steps x 8 environments
    assert trainer._ppo.fragments == 2
    assert trainer.train()[0].env_steps == 128


@pytest.mark.parametrize("vectorization", ["sync", "vector_entry_point"])
def test_the_native_vector_environment_is_used_only_where_asked(vectorization):
    settings = settings_of("CartPole-v1")
    object.__setattr__(settings.environment, "vectorization", vectorization)
    trainer = build_trainer(settings)
    name = type(trainer._envs.vector_envs[0].unwrapped).__name__
    assert (
        name
        == {"sync": "SerialVectorEnv", "vector_entry_point": "CartPoleVectorEnv"}[vectorization]
    )
    assert trainer.train()[0].env_steps == 64


@pytest.mark.parametrize(
    ("hyperparameters", "named"),
    [
        ({"num_env_runners": 2}, "num_env_runners.*backend: rllib"),
        ({"batch_mode": "complete_episodes"}, "batch_mode.*backend: rllib"),
        ({"target_network_update_freq": 3}, "target_network_update_freq.*backend: rllib"),
        ({"minibatch_size": 4096}, "minibatch_size 4096"),
        ({"rollout_fragment_length": 10}, "rollout_fragment_length"),
        ({"gamma": 1.5}, "gamma"),
        ({"lambda": 0.9}, "lambda_"),
        (
            {"model_config": {"head_fcnet_kernel_initializer": "zeros_"}},
            "model_config.head_fcnet_kernel_initializer is not for PPO: the heads keep",
        ),
        ({"grad_clip_by": "sum"}, "grad_clip_by"),
        ({"num_epochs": 0}, "num_epochs"),
        ({"lr": -1.0}, "lr"),
        ({"use_kl_loss": "no"}, "use_kl_loss"),
    ],
)
def test_unsupported_keys_and_values_are_refused_by_name(hyperparameters, named):
    with pytest.raises(ConfigurationRefusedError, match=named):
        cartpole(**hyperparameters)


def test_rllibs_alternative_names_are_accepted():
    settings = settings_of("CartPole-v1")
    spelled = {"lambda": 0.9, "train_batch_size": 512, "num_env_runners": 0, "minibatch_size": None}
    trainer = TorchPPOTrainer(settings, spelled)
    assert trainer._ppo.lambda_ == 0.9
    assert trainer._ppo.minibatch_size == 512


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_refused():
    settings = settings_of("CartPole-v1")
    object.__setattr__(settings, "gpus", 1)
    with pytest.raises(UserError, match="CUDA"):
        build_trainer(settings)


def test_the_process_gets_its_blas_threads_back():
    import threadpoolctl

    def threads():
        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]

    before = threads()
    trainer = build_trainer(settings_of("CartPole-v1"))
    trainer.close()
    assert threads() == before


def test_training_returns_episodes_as_the_environment_gave_them():
    settings = settings_of("ppo_tasks/Scaled-v0", normalize=NORMALIZE)
    returns = train(build_trainer(settings), 2)[0]
    assert set(np.abs(returns)) <= {0.0, 10_000.0, 20_000.0, 30_000.0, 40_000.0}


def evaluate(env_id, vectorization="auto", **evaluation):
    settings = settings_of(env_id, evaluation=EvaluationSettings(**evaluation))
    environment = replace(settings.environment, vectorization=vectorization)
    trainer = build_trainer(replace(settings, environment=environment))
    try:
        return trainer.evaluate()
    finally:
        trainer.close()


def test_evaluation_episodes_without_an_end_are_cut_and_count_as_they_are():
    # 24 episodes: four sub-environments have to begin a second one after the cut.
    for result in evaluate("CliffWalking-v1", episodes=24, max_episode_steps=30):
        assert result.episode_lengths == (30,) * 24
        assert result.num_capped == 24
        assert all(-3000 <= value <= -30 for value in result.episode_returns)


def test_a_vector_version_that_ignores_its_time_limit_ends_the_evaluation(monkeypatch):
    monkeypatch.setattr("sweeper.trainables.contract.MAX_EPISODE_STEPS", 100)
    asked = {"episodes": 3, "time_limit": 9}
    words = "though the time limit is 9: its vector version .*; use vectorization: sync"
    with pytest.raises(EnvironmentFailedError, match=words):
        evaluate("ppo_tasks/Endless-v0", "vector_entry_point", **asked)
    for result in evaluate("ppo_tasks/Endless-v0", "sync", **asked):
        assert result.episode_lengths == (1, 1, 1)


@pytest.mark.parametrize("vectorization", ["auto", "async", "vector_entry_point"])
def test_a_cap_leaves_shorter_episodes_as_they_were(vectorization):
    asked = {"episodes": 23, "explore": True}
    whole = evaluate("CartPole-v1", "sync", **asked)
    capped = evaluate("CartPole-v1", vectorization, max_episode_steps=400, **asked)
    assert [one.episode_returns for one in capped] == [one.episode_returns for one in whole]
    assert [one.num_capped for one in capped] == [0] * len(capped)
    assert [one.num_capped for one in whole] == [None] * len(whole)
    cap = max(whole[0].episode_lengths) - 1
    cut = evaluate("CartPole-v1", vectorization, max_episode_steps=cap, **asked)[0]
    assert max(cut.episode_lengths) == cap
    assert cut.num_capped >= 1


def test_a_copy_learns_at_its_own_rate_from_the_first_update_on(tmp_path):
    trainer = cartpole(lr=1e-3)
    run(trainer)
    state = json.loads(json.dumps(trainer.save(tmp_path)))
    copied = cartpole(lr=1e-30)
    copied.restore(tmp_path, state, branch=2)
    before = parameters_of(copied)
    _, after = run(copied, 1)
    torch.testing.assert_close(before, after, rtol=0, atol=1e-12)


def test_copies_with_the_same_values_train_differently(tmp_path):
    trainer = cartpole()
    run(trainer)
    state = json.loads(json.dumps(trainer.save(tmp_path)))
    trained = []
    for branch in (None, 2, 2, 3):
        copied = cartpole()
        copied.restore(tmp_path, state, branch=branch)
        trained.append(run(copied, 1)[1])
    assert torch.equal(trained[1], trained[2])
    assert not torch.equal(trained[0], trained[1])
    assert not torch.equal(trained[1], trained[3])
