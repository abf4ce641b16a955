"""The RLlib backend: randomness, episodes, checkpoints for plain RLlib, environments.

The contract of all trainers is tested in `test_conformance.py`.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiers import leave_after

from sweeper.environments.settings import EnvironmentSettings, WrapperSettings
from sweeper.errors import ConfigurationRefusedError
from sweeper.opened_agent import load_agent
from sweeper.trainables.contract import EvaluationSettings, ReplicaProgress, TrialSettings
from sweeper.trainables.seeding import Purpose, derive_seed

pytestmark = pytest.mark.usefixtures("ray_cluster")

SUPPORT = Path(__file__).parents[2] / "support"
PPO = {
    "train_batch_size_per_learner": 128,
    "minibatch_size": 64,
    "num_epochs": 1,
    "num_envs_per_env_runner": 2,
    "model_config": {"fcnet_hiddens": [8]},
}
DQN = {
    "min_sample_timesteps_per_iteration": 80,
    "num_steps_sampled_before_learning_starts": 40,
    "train_batch_size": 16,
    "training_intensity": 4,
    "model_config": {"fcnet_hiddens": [8]},
}
CONFIGURATIONS = {"PPO": PPO, "DQN": DQN}


def make_settings(algorithm: str = "PPO", seeds: tuple[int, ...] = (0,), **other: Any):
    defaults = {
        "environment": EnvironmentSettings("CartPole-v1"),
        "evaluation": EvaluationSettings(episodes=3, every_env_steps=None),
    }
    return TrialSettings(
        algorithm=algorithm, backend="rllib", constants={}, seeds=seeds, **(defaults | other)
    )


def make_trainer(settings: TrialSettings, configuration: dict[str, Any] | None = None):
    from sweeper.trainables.rllib_backend.trainer import RLlibTrainer

    if configuration is None:
        configuration = CONFIGURATIONS[settings.algorithm]
    return RLlibTrainer(settings, configuration)


def train(settings: TrialSettings, iterations: int = 3) -> list[list[ReplicaProgress]]:
    trainer = make_trainer(settings)
    try:
        return [trainer.train() for _ in range(iterations)]
    finally:
        trainer.close()


def test_a_replica_equals_plain_rllib_with_its_seed() -> None:
    from ray.rllib.algorithms.ppo import PPOConfig

    config = PPOConfig().environment("CartPole-v1")
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=2)
    config.training(train_batch_size_per_learner=128, minibatch_size=64, num_epochs=1)
    config.rl_module(model_config={"fcnet_hiddens": [8]})
    config.debugging(seed=derive_seed(5, "search", Purpose.TRAINING))
    algorithm = config.build_algo()
    results = [algorithm.train() for _ in range(3)]
    algorithm.stop()
    ours = [progress[0] for progress in train(make_settings(seeds=(5,)))]
    for result, progress in zip(results, ours, strict=True):
        assert progress.env_steps == result["num_env_steps_sampled_lifetime"]
        for key in ("policy_loss", "vf_loss", "entropy"):
            assert progress.learner[key] == result["learners"]["default_policy"][key]


def test_training_leaves_the_process_generators_alone() -> None:
    random.seed(7)
    np.random.seed(7)
    expected = random.getrandbits(32), np.random.random()
    random.seed(7)
    np.random.seed(7)
    train(make_settings(), iterations=1)
    assert (random.getrandbits(32), np.random.random()) == expected


def test_an_evaluation_is_greedy_unless_it_explores() -> None:
    returns = {}
    for explore in (False, True):
        evaluation = EvaluationSettings(episodes=12, every_env_steps=None, explore=explore)
        trainer = make_trainer(make_settings(evaluation=evaluation))
        returns[explore] = trainer.evaluate()[0].episode_returns
        trainer.close()
    # An untrained policy that always takes its greedy action falls over at once.
    assert max(returns[False]) < max(returns[True])


EPSILON = [[0, 1.0], [80, 0.0]]  # greedy after the first iteration


@pytest.mark.acceptance
def test_an_evaluation_that_explores_has_the_epsilon_of_its_env_steps() -> None:
    returns = []
    for explore in (True, False):
        evaluation = EvaluationSettings(episodes=12, every_env_steps=None, explore=explore)
        trainer = make_trainer(
            make_settings("DQN", evaluation=evaluation), DQN | {"epsilon": EPSILON}
        )
        fresh = trainer.evaluate()[0].episode_returns
        trainer.train()
        returns.append((fresh, trainer.evaluate()[0].episode_returns))
        trainer.close()
    (explored, late), (greedy, trained) = returns
    assert explored != greedy
    assert late == trained


@pytest.mark.parametrize(
    ("algorithm", "epsilon", "share"),
    leave_after(1, [("PPO", None, 0.5), ("DQN", 1.0, 0.5), ("DQN", EPSILON, 0.0)]),
    ids=["PPO", "random", "greedy by now"],
)
def test_a_checkpoint_explores_as_the_trainer_would(
    tmp_path: Path, algorithm: str, epsilon: Any, share: float
) -> None:
    more = {} if epsilon is None else {"epsilon": epsilon}
    trainer = make_trainer(make_settings(algorithm), CONFIGURATIONS[algorithm] | more)
    trainer.train()
    trainer.save(tmp_path)
    trainer.close()
    agent = load_agent(tmp_path / "replica_0", trust=True)
    observations = np.random.default_rng(1).uniform(-1, 1, (300, 4)).astype(np.float32)
    random.seed(7)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    explored = agent.act_batch(observations, np.random.default_rng(5))
    assert torch.equal(torch.get_rng_state(), before)
    assert (explored == agent.act_batch(observations, np.random.default_rng(5))).all()
    if share:
        assert (explored != agent.act_batch(observations, np.random.default_rng(6))).any()
    greedy = agent.act_batch(observations)
    assert np.mean(explored != greedy) == pytest.approx(share, abs=0.15)


def evaluate(env_id: str, vectorization: str = "auto", **evaluation: Any):
    settings = make_settings(
        environment=EnvironmentSettings(env_id, vectorization=vectorization),
        evaluation=EvaluationSettings(**evaluation),
        seeds=(0, 1),
    )
    trainer = make_trainer(settings)
    results = trainer.evaluate()
    trainer.close()
    return results


def test_evaluation_episodes_without_an_end_are_cut_and_count_as_they_are() -> None:
    # 22 episodes: two sub-environments have to begin a second one after the cut.
    for result in evaluate("CliffWalking-v1", episodes=22, max_episode_steps=30):
        assert result.episode_lengths == (30,) * 22
        assert result.num_capped == 22
        assert all(-3000 <= value <= -30 for value in result.episode_returns)


@pytest.mark.parametrize("vectorization", ["auto", "vector_entry_point"])
@pytest.mark.acceptance
def test_a_cap_leaves_shorter_episodes_as_they_were(vectorization: str) -> None:
    asked = {"episodes": 22, "explore": True}
    whole = evaluate("CartPole-v1", **asked)
    capped = evaluate("CartPole-v1", vectorization, **asked, max_episode_steps=400)
    assert [one.episode_returns for one in capped] == [one.episode_returns for one in whole]
    cap = max(whole[0].episode_lengths) - 1
    cut = evaluate("CartPole-v1", vectorization, **asked, max_episode_steps=cap)[0]
    assert max(cut.episode_lengths) == cap
    assert cut.num_capped >= 1


def test_episodes_cut_by_an_iteration_are_counted_whole() -> None:
    for progress in train(make_settings(), iterations=4):
        assert progress[0].episode_returns == tuple(map(float, progress[0].episode_lengths))


@pytest.mark.acceptance
def test_zero_one_or_many_episodes_in_an_iteration_are_all_counted() -> None:
    settings = make_settings(environment=EnvironmentSettings("MountainCar-v0"))  # 200 steps each
    for batch, expected in ((100, [0, 1, 0, 1]), (200, [1, 1, 1, 1]), (400, [2, 2, 2, 2])):
        configuration = {**PPO, "train_batch_size_per_learner": batch, "num_envs_per_env_runner": 1}
        trainer = make_trainer(settings, configuration)
        progress = [trainer.train()[0] for _ in range(4)]
        trainer.close()
        assert [len(replica.episode_lengths) for replica in progress] == expected
        assert {length for replica in progress for length in replica.episode_lengths} == {200}


PLAIN_RLLIB = """
import sys
sys.modules["sweeper"] = None  # importing it, or anything in it, raises ImportError
import gymnasium, torch
from pathlib import Path
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core.rl_module.rl_module import RLModule
for folder, env_id, path in {agents!r}:
    folder = Path(folder)
    sys.path.insert(0, path)
    module = RLModule.from_checkpoint(folder / "learner_group/learner/rl_module/default_policy")
    algorithm = Algorithm.from_checkpoint(str(folder))
    env = gymnasium.make(env_id)
    observation, _ = env.reset(seed=0)
    for _ in range(0 if "Any" in env_id else 5):
        batch = {{"obs": torch.from_numpy(observation[None])}}
        logits = module.forward_inference(batch)["action_dist_inputs"]
        observation, *_ = env.step(int(logits.argmax()))
    print("env steps", int(algorithm.train()["num_env_steps_sampled_lifetime"]))
    algorithm.stop()
"""


def test_plain_rllib_loads_a_replica_without_this_package(
    tmp_path: Path, envs_folder: Path
) -> None:
    wrapped = EnvironmentSettings(
        "Corridor-v0",
        kwargs={"length": 4},
        wrappers=(WrapperSettings("corridor_envs.DoubledReward", {"factor": 3.0}),),
        module="corridor_envs",
        search_paths=(str(envs_folder),),
    )
    encoded = EnvironmentSettings(
        "AnySpaces-v0",
        kwargs={"observations": "Dict", "actions": "each bounded otherwise"},
        module="space_envs",
        search_paths=(str(SUPPORT),),
    )
    trained = []
    environments = {"plain": EnvironmentSettings("CartPole-v1"), "own": wrapped, "any": encoded}
    for name, environment in environments.items():
        trainer = make_trainer(make_settings(environment=environment))
        trained.append(trainer.train()[0].env_steps)
        trainer.save(tmp_path / name)
        trainer.close()
    agents = [
        (str(tmp_path / "plain/replica_0"), "CartPole-v1", str(tmp_path)),
        (str(tmp_path / "own/replica_0"), "corridor_envs:Corridor-v0", str(envs_folder)),
        (str(tmp_path / "any/replica_0"), "space_envs:AnySpaces-v0", str(SUPPORT)),
    ]
    ran = subprocess.run(
        [sys.executable, "-c", PLAIN_RLLIB.format(agents=agents)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert len(ran.stdout.split("env steps")) == 4
    steps = [int(line.split()[-1]) for line in ran.stdout.splitlines() if "env steps" in line]
    assert all(now > before for now, before in zip(steps, trained, strict=True))


def test_an_environment_is_built_with_its_module_arguments_and_wrappers(envs_folder: Path) -> None:
    environment = EnvironmentSettings(
        "Corridor-v0",
        kwargs={"length": 2, "goal_reward": 10.0},
        module="corridor_envs",
        search_paths=(str(envs_folder),),
    )
    plain = train(make_settings(environment=environment), iterations=1)[0][0]
    assert max(plain.episode_returns) == 10.0
    wrapped = EnvironmentSettings(
        "Corridor-v0",
        kwargs={"length": 2, "goal_reward": 10.0},
        wrappers=(
            WrapperSettings("corridor_envs.DoubledReward"),
            WrapperSettings("TimeLimit", {"max_episode_steps": 1}),
        ),
        module="corridor_envs",
        search_paths=(str(envs_folder),),
    )
    cut = train(make_settings(environment=wrapped), iterations=1)[0][0]
    assert set(cut.episode_lengths) == {1}
    # Returns are in the rewards below the wrappers.
    assert set(cut.episode_returns) <= set(plain.episode_returns) | {-0.1}


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"num_sgd_iter": 3}, "num_sgd_iter: its name here is num_epochs"),
        ({"lrr": 0.1}, "did you mean lr"),
        ({"observation_filter": "MeanStdFilter"}, "observation_filter.*ignores it"),
        ({**PPO, "minibatch_size": 4096}, "minibatch_size"),
        ({"clip_param": [[0, 0.3], [10, 0.1]], "lr": "fast"}, "PPO refuses"),
    ],
)
def test_a_configuration_that_rllib_would_ignore_or_refuse_is_an_error(
    configuration: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationRefusedError, match=message) as raised:
        make_trainer(make_settings(), configuration)
    assert "\n" not in str(raised.value)


def test_an_unknown_algorithm_is_named() -> None:
    with pytest.raises(ConfigurationRefusedError, match="PPP"):
        make_trainer(make_settings("PPP"), {})


@pytest.mark.parametrize(("algorithm", "hint"), [("PPO", ", or use backend: torch"), ("SAC", "")])
def test_a_module_that_makes_torch_double_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str, hint: str
) -> None:
    name = f"double_env_{algorithm.lower()}"
    text = "import torch\ntorch.set_default_dtype(torch.float64)\n"
    (tmp_path / f"{name}.py").write_text(text, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    environment = EnvironmentSettings("CartPole-v1", module=name)
    try:
        with pytest.raises(ConfigurationRefusedError) as raised:
            make_trainer(make_settings(algorithm, environment=environment), {})
    finally:
        torch.set_default_dtype(torch.float32)
    assert str(raised.value) == (
        "environment.module sets torch's default dtype to torch.float64, but RLlib needs "
        f"torch.float32; give the dtype where the simulator makes its tensors{hint}"
    )


@pytest.mark.acceptance
def test_an_extreme_learning_rate_is_a_divergence_not_a_crash() -> None:
    trainer = make_trainer(make_settings(), {**PPO, "lr": 1e30, "grad_clip": None})
    diverged = [trainer.train()[0].diverged for _ in range(3)]
    trainer.close()
    assert diverged[-1]


OTHERS = [
    ("PPO", "FrozenLake-v1", PPO),  # Discrete observations
    (
        "SAC",
        "Pendulum-v1",
        {
            "min_sample_timesteps_per_iteration": 210,
            "num_steps_sampled_before_learning_starts": 180,
            "train_batch_size_per_learner": 16,
            "training_intensity": 1,
            "n_step": [2, 4],
            "model_config": {"fcnet_hiddens": [8]},
        },
    ),
    (
        "APPO",
        "CartPole-v1",
        {
            "train_batch_size_per_learner": 100,
            "rollout_fragment_length": 25,
            "min_sample_timesteps_per_iteration": 200,
            "model_config": {"fcnet_hiddens": [8]},
        },
    ),
]


@pytest.mark.parametrize(("algorithm", "env_id", "configuration"), leave_after(1, OTHERS))
def test_other_algorithms_and_spaces_run_reproducibly(
    algorithm: str, env_id: str, configuration: dict[str, Any]
) -> None:
    settings = make_settings(algorithm, environment=EnvironmentSettings(env_id))
    runs = []
    for _ in range(2):
        trainer = make_trainer(settings, configuration)
        runs.append([trainer.train()[0] for _ in range(2)])
        evaluated = trainer.evaluate()[0]
        trainer.close()
    assert runs[0] == runs[1]
    first, second = runs[0]
    assert first.env_steps > 100
    assert first.episode_returns or second.episode_returns
    assert second.learner
    assert len(evaluated.episode_returns) == 3


def weights_of(trainer: Any) -> list[torch.Tensor]:
    (replica,) = trainer._replicas
    module = replica.algorithm.get_module()
    return [parameter.detach().clone() for parameter in module.parameters()]


@pytest.mark.parametrize("algorithm", leave_after(1, ["PPO", "DQN"]))
def test_a_copy_learns_at_its_own_rate_from_the_first_update_on(
    algorithm: str, tmp_path: Path
) -> None:
    """RLlib's restored optimiser would learn at the donor's for a whole iteration."""
    settings, given = make_settings(algorithm), CONFIGURATIONS[algorithm]
    trainer = make_trainer(settings, {**given, "lr": 1e-2})
    trainer.train()
    state = trainer.save(tmp_path)
    trained = {}
    for lr in (1e-2, 1e-30):
        copied = make_trainer(settings, {**given, "lr": lr})
        copied.restore(tmp_path, state, branch=2)
        before = weights_of(copied)
        for _ in range(2):  # the first may only fill the replay memory
            copied.train()
        trained[lr] = max(
            float((new - old).abs().max())
            for new, old in zip(weights_of(copied), before, strict=True)
        )
        copied.close()
    trainer.close()
    assert trained[1e-30] == pytest.approx(0, abs=1e-12)
    assert trained[1e-2] > 1e-4


@pytest.mark.acceptance
def test_schedules_go_on_where_they_were(tmp_path: Path) -> None:
    schedule = [[0, 1e-2], [127, 1e-2], [128, 1e-30], [10_000, 1e-30]]
    given = {**PPO, "lr": schedule, "entropy_coeff": [[0, 0.5], [128, 0.1], [10_000, 0.1]]}
    trainer = make_trainer(make_settings(), given)
    trainer.train()
    state = trainer.save(tmp_path)
    restored = make_trainer(make_settings(), given)
    restored.restore(tmp_path, state)
    before = weights_of(restored)
    learner = restored._replicas[0].algorithm.learner_group._learner
    (entropy,) = learner.entropy_coeff_schedulers_per_module.values()
    assert float(entropy.get_current_value()) == pytest.approx(0.1)
    restored.train()
    for new, old in zip(weights_of(restored), before, strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=1e-12)
    for one in (trainer, restored):
        one.close()


def test_two_copies_train_differently(tmp_path: Path) -> None:
    trainer = make_trainer(make_settings())
    trainer.train()
    state = trainer.save(tmp_path)
    trained = []
    for branch in (None, 2, 2, 3):
        copied = make_trainer(make_settings())
        copied.restore(tmp_path, state, branch=branch)
        copied.train()
        trained.append(torch.cat([one.flatten() for one in weights_of(copied)]))
        copied.close()
    trainer.close()
    assert torch.equal(trained[1], trained[2])
    assert not torch.equal(trained[0], trained[1])
    assert not torch.equal(trained[1], trained[3])
