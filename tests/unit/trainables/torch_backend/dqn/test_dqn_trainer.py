"""DQN's trainer: replay, the rhythm of updates, refusals.

`tests/integration/trainables/test_conformance.py` tests what all trainers have in common.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tracemalloc

import numpy as np
import pytest
import torch
from dqn_tasks import build_trainer, settings_of
from safetensors.torch import load_file

from sweeper.errors import ConfigurationRefusedError, UserError
from sweeper.trainables.contract import EvaluationSettings
from sweeper.trainables.torch_backend.checkpoints import read_tensors, write_arrays
from sweeper.trainables.torch_backend.dqn.actions import choose_actions
from sweeper.trainables.torch_backend.dqn.settings import read_settings
from sweeper.trainables.torch_backend.dqn.trainer import TorchDQNTrainer
from sweeper.trainables.torch_backend.replay.memory import describe_memory

CARTPOLE = {
    "lr": 1e-3,
    "rollout_fragment_length": "auto",
    "train_batch_size_per_learner": 32,
    "gamma": 0.99,
    "epsilon": [[0, 1.0], [600, 0.1]],
    "num_steps_sampled_before_learning_starts": 100,
    "target_network_update_freq": 50,
    "min_sample_timesteps_per_iteration": 200,
    "n_step": [1, 3],
}


def cartpole(seeds=(0, 1, 2), *, evaluation=None, checkpoint_replay=False, **hyperparameters):
    settings = settings_of(
        "CartPole-v1", seeds=seeds, evaluation=evaluation, checkpoint_replay=checkpoint_replay
    )
    return build_trainer(settings, **{**CARTPOLE, **hyperparameters})


def parameters_of(trainer):
    return trainer._networks.online.parameters.detach().clone()


def run(trainer, iterations=2):
    progress = [trainer.train() for _ in range(iterations)]
    return progress, parameters_of(trainer)


def assert_cartpole_moves(sample):
    """CartPole's own equation of motion, which no reset follows."""
    starts, ends = np.split(sample.observations, 2, axis=1)
    np.testing.assert_allclose(
        ends[..., 0], starts[..., 0] + 0.02 * starts[..., 1], atol=1e-5, rtol=0
    )


def test_uniform_replay_is_determined_by_the_seed():
    replay = {"type": "EpisodeReplayBuffer", "capacity": 300}
    _, first = run(cartpole(replay_buffer_config=replay))
    _, second = run(cartpole(replay_buffer_config=replay))
    _, other = run(cartpole((0, 1, 3), replay_buffer_config=replay))
    assert torch.equal(first, second)
    assert torch.equal(first[:2], other[:2])
    assert not torch.equal(first[2], other[2])


def test_replay_bounded_by_the_trials_env_steps_changes_nothing():
    replay = {"type": "EpisodeReplayBuffer", "capacity": 100_000}
    whole, bounded = (
        build_trainer(
            dataclasses.replace(settings_of("CartPole-v1", seeds=(0, 1, 2)), stop=stop),
            **{**CARTPOLE, "replay_buffer_config": replay},
        )
        for stop in (None, {"num_env_steps_sampled_lifetime": 590})
    )
    assert bounded._buffer._kinds.size < 0.03 * whole._buffer._kinds.size
    progress, parameters = run(bounded, 3)
    assert progress[-1][0].env_steps >= 590
    assert torch.equal(parameters, run(whole, 3)[1])
    # Nothing was overwritten.
    np.testing.assert_array_equal(bounded._buffer._filled, whole._buffer._filled)


@pytest.mark.parametrize("envs", [1, 3, 8])
def test_env_steps_are_counted_exactly_without_resets(envs):
    trainer = cartpole(num_envs_per_env_runner=envs, n_step=1)
    per_round = trainer._dqn.round_steps
    assert per_round == envs
    lengths = np.zeros(3)
    for iteration in range(1, 5):
        progress = trainer.train()
        rounds = -(-200 // per_round)
        assert {replica.env_steps for replica in progress} == {iteration * rounds * per_round}
        lengths += [sum(replica.episode_lengths) for replica in progress]
    running = trainer._collector._episodes.lengths.sum(axis=1)
    taken = trainer._collector._taken
    np.testing.assert_array_equal(lengths + running, taken)
    assert (taken - progress[0].env_steps < envs).all()
    np.testing.assert_array_equal((trainer._buffer._kinds.reshape(3, -1) & 1).sum(axis=1), taken)


@pytest.mark.parametrize("vectorization", ["sync", "vector_entry_point"])
@pytest.mark.parametrize("envs", [1, 5])
def test_no_transition_crosses_a_reset(vectorization, envs):
    settings = settings_of("CartPole-v1", seeds=(0, 1))
    object.__setattr__(settings.environment, "vectorization", vectorization)
    trainer = build_trainer(settings, epsilon=1.0, num_envs_per_env_runner=envs)
    for _ in range(3):
        trainer.train()
    sample = trainer._buffer.sample(2000)
    assert_cartpole_moves(sample)
    ends = sample.observations[:, 2000:]
    is_over = (np.abs(ends[..., 0]) > 2.4) | (np.abs(ends[..., 2]) > 0.20944)
    np.testing.assert_array_equal(sample.discounts == 0, is_over)
    assert is_over.any()


def test_a_restored_trainer_learns_bit_for_bit_from_the_same_batch(tmp_path):
    trainer = cartpole()
    run(trainer)
    state = json.loads(json.dumps(trainer.save(tmp_path)))
    restored = cartpole()
    restored.restore(tmp_path, state)
    assert torch.equal(parameters_of(trainer), parameters_of(restored))
    targets = [each._networks.target.parameters for each in (trainer, restored)]
    assert torch.equal(*targets)
    saved_again = restored.save(tmp_path)
    # The environments drew seeds for new episodes.
    for ours, theirs in zip(state["generators"], saved_again["generators"], strict=True):
        assert {k: v for k, v in ours.items() if k != "environments"} == {
            k: v for k, v in theirs.items() if k != "environments"
        }
        assert ours["environments"] != theirs["environments"]
    for key in ("env_steps", "learner", "collected_steps"):
        assert state[key] == saved_again[key]

    sample = trainer._buffer.sample(32)
    errors = []
    for each in (trainer, restored):
        each._learner.begin_iteration()
        errors.append([each._learner.update(sample, 620 + i) for i in range(3)])
    np.testing.assert_array_equal(*errors)
    assert torch.equal(parameters_of(trainer), parameters_of(restored))
    assert torch.equal(*targets)


def test_without_its_replay_a_restored_trainer_collects_before_it_learns(tmp_path):
    trainer = cartpole(num_steps_sampled_before_learning_starts=300)
    run(trainer, 2)
    assert not torch.equal(parameters_of(trainer), run(trainer, 1)[1])
    state = trainer.save(tmp_path)
    restored = cartpole(num_steps_sampled_before_learning_starts=300)
    restored.restore(tmp_path, state)
    before = parameters_of(restored)
    progress, after = run(restored, 1)  # 200 steps
    assert torch.equal(before, after)
    assert progress[0][0].env_steps == 4 * 201  # fragments of three steps
    assert progress[0][0].learner == {}
    _, later = run(restored, 1)
    assert not torch.equal(before, later)


def test_with_its_replay_a_restored_trainer_learns_at_once_from_the_same_steps(tmp_path):
    # With more steps restored memories also hold the ends of the episodes that were cut off.
    trainer = cartpole(checkpoint_replay=True, n_step=1)
    run(trainer)
    state = trainer.save(tmp_path)
    assert (tmp_path / "replay.safetensors").exists()
    restored = cartpole(n_step=1)
    restored.restore(tmp_path, state)
    ours, theirs = trainer._buffer.sample(64), restored._buffer.sample(64)
    for name in vars(ours):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    _, before = run(restored, 0)
    restored._run_round()
    assert not torch.equal(before, parameters_of(restored))


@pytest.mark.parametrize("kind", ["PrioritizedEpisodeReplayBuffer", "EpisodeReplayBuffer"])
@pytest.mark.parametrize("capacity", [100, 400])
def test_a_replay_memory_of_another_capacity_is_restored(tmp_path, kind, capacity):
    """As in population-based training that varies the capacity."""
    trainer = cartpole(
        checkpoint_replay=True, replay_buffer_config={"type": kind, "capacity": 150}, n_step=1
    )
    run(trainer)
    state = trainer.save(tmp_path)
    restored = cartpole(replay_buffer_config={"type": kind, "capacity": capacity}, n_step=1)
    restored.restore(tmp_path, state)
    assert_cartpole_moves(restored._buffer.sample(2000))
    run(restored, 1)
    assert_cartpole_moves(restored._buffer.sample(2000))


@pytest.mark.parametrize("kind", ["PrioritizedEpisodeReplayBuffer", "EpisodeReplayBuffer"])
def test_saving_a_replay_memory_takes_the_planned_disk_and_no_copy(tmp_path, kind):
    replay = {"type": kind, "capacity": 150_000}
    trainer = cartpole((0, 1, 2, 3), checkpoint_replay=True, replay_buffer_config=replay)
    memory = describe_memory(
        read_settings({**CARTPOLE, "replay_buffer_config": replay}).replay,
        observation_space=trainer._envs.single_observation_space,
        action_space=trainer._envs.single_action_space,
        envs=1,
        replicas=4,
    )
    trainer._buffer._filled[:] = 140_000  # as if collected
    peaks = []
    for number in range(3):  # threads that an earlier test left behind allocate, too
        tracemalloc.start()
        (tmp_path / str(number)).mkdir()
        trainer.save(tmp_path / str(number))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    size = (tmp_path / "0" / "replay.safetensors").stat().st_size
    assert size == pytest.approx(memory.saved_bytes * 140 / 150, rel=1e-3)
    assert min(peaks) < 0.3 * size  # the observations of one of four replicas, and a little


def test_arrays_of_every_dtype_are_read_as_they_were_written(tmp_path):
    kinds = "?", "u1", "i1", "u2", "i2", "f2", "u4", "i4", "f4", "u8", "i8", "f8"
    generator = np.random.default_rng(0)
    arrays = {kind: generator.integers(0, 2, (3, 5, 4)).astype(kind) for kind in kinds}
    views = {kind: array[:, 1:4, ::2] for kind, array in arrays.items()}
    write_arrays(tmp_path / "file", views | {"one": np.arange(3), "none": np.zeros((2, 0, 3))})
    read = read_tensors(tmp_path / "file")
    for kind, view in views.items():
        np.testing.assert_array_equal(read[kind].numpy(), view)
        assert read[kind].numpy().dtype == view.dtype
    assert read["one"].tolist() == [0, 1, 2]
    assert read["none"].shape == (2, 0, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_checkpoint_is_json_and_tensors_with_replicas_first(tmp_path):
    trainer = cartpole((7, 9), checkpoint_replay=True)
    run(trainer, 1)
    json.dumps(trainer.save(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {
        "agent.json",
        "weights.safetensors",
        "trainer.safetensors",
        "replay.safetensors",
    }
    for name in ("weights", "trainer", "replay"):
        assert all(
            len(tensor) == 2 for tensor in load_file(tmp_path / f"{name}.safetensors").values()
        )
    agent = json.loads((tmp_path / "agent.json").read_text())
    assert agent["algorithm"] == "DQN"
    assert agent["seeds"] == [7, 9]
    assert agent["dueling"] is True
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
    """A vector environment whose rewards become infinite, or very large."""

    def __init__(self, envs, after, value=np.inf):
        self._envs, self._left, self._value = envs, after, value

    def __getattr__(self, name):
        return getattr(self._envs, name)

    def step(self, actions):
        observations, rewards, *rest = self._envs.step(actions)
        self._left -= 1
        return observations, rewards if self._left > 0 else rewards + self._value, *rest


@pytest.mark.parametrize("kind", ["PrioritizedEpisodeReplayBuffer", "EpisodeReplayBuffer"])
def test_a_diverged_replica_is_frozen_and_the_others_train_as_before(kind):
    replay = {"type": kind, "capacity": 1000}
    healthy, sick = cartpole(replay_buffer_config=replay), cartpole(replay_buffer_config=replay)
    envs = sick._envs.vector_envs
    envs[1] = ExplodingRewards(envs[1], after=300)
    expected, parameters = run(healthy, 3)
    progress, sick_parameters = run(sick, 3)
    assert [p[1].diverged for p in progress] == [False, True, True]
    assert torch.isfinite(sick_parameters).all()
    assert torch.equal(parameters[[0, 2]], sick_parameters[[0, 2]])
    for ours, theirs in zip(expected, progress, strict=True):
        assert ours[0] == theirs[0]
        assert ours[2] == theirs[2]
    assert progress[-1][1].env_steps == progress[1][1].env_steps
    assert progress[-1][1].episode_returns == ()
    assert sick.evaluate()[1] is None
    assert sick.evaluate()[0] is not None


def test_a_diverged_replica_keeps_its_last_finite_weights():
    trainer = cartpole(td_error_loss_fn="mse")
    envs = trainer._envs.vector_envs
    envs[1] = ExplodingRewards(envs[1], after=250, value=1e30)  # its square is infinite
    _, before = run(trainer, 1)
    progress, after = run(trainer, 2)
    assert progress[-1][1].diverged
    assert progress[-1][1].cause is None
    assert torch.equal(before[1], after[1])
    assert not torch.equal(before[0], after[0])


def test_an_infinite_reward_freezes_its_replica_at_once_and_is_named():
    trainer = cartpole()
    envs = trainer._envs.vector_envs
    envs[1] = ExplodingRewards(envs[1], after=250)
    progress, at_fault = run(trainer, 2)
    _, after = run(trainer, 1)
    assert re.fullmatch(
        r"CartPole-v1 returned a reward of inf in step \d+ of an episode "
        r"\(seed 1, in the iteration after [\d,]+ env steps\)",
        progress[-1][1].cause,
    )
    assert progress[-1][0].cause is None
    assert torch.equal(at_fault[1], after[1])
    assert not torch.equal(at_fault[0], after[0])


def test_epsilon_is_the_probability_of_a_uniformly_random_action():
    points = np.random.default_rng(0).random(60_000)
    values = np.tile([0.0, 2.0, 1.0], (60_000, 1))
    counts = np.bincount(choose_actions(values, points, 0.3), minlength=3) / 60_000
    np.testing.assert_allclose(counts, [0.1, 0.8, 0.1], atol=0.01)
    assert (choose_actions(values, points, 0.0) == 1).all()
    # Rows with an epsilon of their own, one of them 0.
    both = choose_actions(np.stack([values] * 2), np.stack([points] * 2), np.array([[0.0], [0.3]]))
    assert (both[0] == 1).all()
    np.testing.assert_array_equal(both[1], choose_actions(values, points, 0.3))
    assert set(choose_actions(values, np.array(60_000 * [1 - 2**-53]), 1.0)) == {2}


def test_epsilon_follows_env_steps_within_an_iteration(monkeypatch):
    seen = []

    def record(values, points, epsilon):
        seen.append(epsilon)
        return choose_actions(values, points, epsilon)

    monkeypatch.setattr("sweeper.trainables.torch_backend.dqn.rollout.choose_actions", record)
    trainer = cartpole(epsilon=[[0, 1.0], [200, 0.0]], n_step=1)
    trainer.train()
    expected = np.tile(1 - np.arange(200) / 200, (3, 1)).T  # of each replica
    np.testing.assert_allclose(np.squeeze(seen), expected, atol=1e-9)


def test_the_learning_rate_follows_env_steps_of_the_previous_update():
    trainer = cartpole(lr=[[0, 1e-3], [400, 0.0]], n_step=1)
    rates = [trainer.train()[0].learner["default_optimizer_learning_rate"] for _ in range(3)]
    assert rates == pytest.approx([5e-4, 0.0, 0.0])
    _, before = run(trainer, 1)
    _, after = run(trainer, 1)
    assert torch.equal(before, after)


def test_updates_and_target_updates_follow_rllibs_rhythm(monkeypatch):
    trainer = cartpole(
        n_step=1,
        train_batch_size_per_learner=64,
        rollout_fragment_length=50,
        training_intensity=6.4,  # 5 updates every 50 steps
        target_network_update_freq=100,
    )
    updates = []
    update = trainer._learner.update

    def record(sample, env_steps):
        updates.append(env_steps)
        return update(sample, env_steps)

    monkeypatch.setattr(trainer._learner, "update", record)
    metrics = trainer.train()[0].learner
    assert updates == [100] * 5 + [150] * 5 + [200] * 5
    assert metrics["num_target_updates"] == 2
    assert metrics["last_target_update_ts"] == 200


def test_learner_metrics_have_rllibs_names():
    metrics = cartpole().train()[0].learner
    assert set(metrics) == {
        "total_loss",
        "qf_loss",
        "qf_mean",
        "qf_max",
        "qf_min",
        "td_error_mean",
        "num_target_updates",
        "last_target_update_ts",
        "default_optimizer_learning_rate",
        "gradients_default_optimizer_global_norm",
    }


@pytest.mark.parametrize(
    ("hyperparameters", "named"),
    [
        ({"noisy": True}, "noisy: RLlib accepts this key and ignores it"),
        ({"adam_epsilon": 1e-8}, "adam_epsilon.*ignores it"),
        ({"hiddens": [256]}, "hiddens.*head_fcnet_hiddens"),
        ({"sigma0": 0.1}, "sigma0.*ignores it"),
        ({"store_buffer_in_checkpoints": True}, "store_buffer_in_checkpoints.*ignores it"),
        ({"model_config": {"vf_share_layers": True}}, "vf_share_layers.*no value network"),
        ({"model_config": {"use_lstm": True}}, "use_lstm.*can't train an LSTM"),
        ({"model_config": {"head_fcnet_use_layernorm": True}}, "builds its heads without it"),
        ({"model": {"fcnet_hiddens": [8]}}, "model: its name here is model_config"),
        ({"model_config": {"head_fcnet_kernel_initializer": "zeros_"}}, "backend: rllib"),
        ({"model_config": {"policy_head_gain": 0.01}}, "policy_head_gain is not for DQN: only PPO"),
        ({"num_env_runners": 2}, "num_env_runners.*backend: rllib"),
        ({"burn_in_len": 2}, "burn_in_len: must be 0 for DQN"),
        ({"clip_param": 0.2}, "clip_param.*backend: rllib"),
        ({"replay_buffer_config": {"type": "MultiAgentReplayBuffer"}}, "type.*backend: rllib"),
        ({"replay_buffer_config": {"gamma": 1}}, "replay_buffer_config.gamma"),
        ({"replay_buffer_config": {"type": "EpisodeReplayBuffer", "alpha": 1}}, "alpha"),
        ({"replay_buffer_config": {"capacity": 0}}, "replay_buffer_config.capacity"),
        ({"n_step": 0}, "n_step"),
        ({"n_step": [3, 2]}, "n_step"),
        ({"n_step": 5, "rollout_fragment_length": 4}, "rollout_fragment_length 4"),
        ({"training_intensity": 0}, "training_intensity"),
        ({"epsilon": 1.5}, "epsilon"),
        ({"epsilon": [[0, 1.0], [100, -0.1]]}, "epsilon"),
        ({"tau": 2}, "tau"),
        ({"num_atoms": 2, "v_min": 1.0, "v_max": 1.0}, "v_min"),
        ({"td_error_loss_fn": "l1"}, "td_error_loss_fn"),
        ({"grad_clip_by": "sum"}, "grad_clip_by"),
        ({"double_q": 1}, "double_q"),
        ({"train_batch_size": 1, "train_batch_size_per_learner": 1}, "train_batch_size"),
    ],
    ids=lambda given: ",".join(given) if isinstance(given, dict) else "",
)
def test_unsupported_keys_are_refused_by_name(hyperparameters, named):
    with pytest.raises(ConfigurationRefusedError, match=named):
        cartpole(**hyperparameters)


def test_continuous_actions_are_refused():
    with pytest.raises(ConfigurationRefusedError, match="Discrete"):
        build_trainer(settings_of("Pendulum-v1"))


def test_rllibs_spelling_is_accepted():
    trainer = TorchDQNTrainer(
        settings_of("CartPole-v1"),
        {"train_batch_size": 16, "epsilon": [(0, 1.0), (10, 0.1)], "num_env_runners": 0},
    )
    assert trainer._dqn.batch == 16
    assert trainer._dqn.replay.capacity == 50_000


def test_memory_that_is_not_free_is_refused(monkeypatch):
    monkeypatch.setattr(
        "sweeper.trainables.torch_backend.replay.memory.free_bytes", lambda: 10_000_000
    )
    with pytest.raises(UserError, match=r"replay.*capacity"):
        cartpole(replay_buffer_config={"capacity": 1_000_000})
    cartpole(replay_buffer_config={"capacity": 1000})


def test_the_memory_of_a_configuration_is_known_in_advance():
    replay = {"replay_buffer_config": {"capacity": 10_000}}
    trainer = cartpole(**replay)
    memory = describe_memory(
        read_settings({**CARTPOLE, **replay}).replay,
        observation_space=trainer._envs.single_observation_space,
        action_space=trainer._envs.single_action_space,
        envs=1,
        replicas=3,
    )
    assert memory.observation_dtype == "float32"
    assert trainer._buffer._kinds.size == 3 * memory.slots
    assert memory.slots == 10_000
    assert list(memory.to_json()) == [
        "replay_bytes",
        "needed_bytes",
        "saved_bytes",
        "places",
        "most_steps",
        "cause",
        "observation_shape",
        "observation_dtype",
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_refused():
    settings = settings_of("CartPole-v1")
    object.__setattr__(settings, "gpus", 1)
    with pytest.raises(UserError, match="CUDA"):
        build_trainer(settings)


def test_a_copy_learns_at_its_own_rate_from_the_first_update_on(tmp_path):
    trainer = cartpole(checkpoint_replay=True, n_step=1, lr=1e-3)
    run(trainer)
    state = json.loads(json.dumps(trainer.save(tmp_path)))
    copied = cartpole(n_step=1, lr=1e-30)
    copied.restore(tmp_path, state, branch=2)
    _, before = run(copied, 0)
    progress, after = run(copied, 1)
    torch.testing.assert_close(before, after, rtol=0, atol=1e-12)
    assert progress[0][0].learner["default_optimizer_learning_rate"] == 1e-30
    assert state["generators"] != copied.save(tmp_path)["generators"]


def test_a_checkpoint_without_the_steps_of_its_rate_is_restored(tmp_path):
    trainer = cartpole()
    run(trainer)
    state = json.loads(json.dumps(trainer.save(tmp_path)))
    del state["learner"]["lr_at"]
    restored = cartpole()
    restored.restore(tmp_path, state)
    run(restored, 1)
