"""Hyperparameters are RLlib's, their values are in their domains, unknown keys are explained."""

from __future__ import annotations

from typing import Any

import pytest

from sweeper.search.distributions import parse_space
from sweeper.spec.keys.names import (
    algorithms,
    check_algorithm,
    default,
    defaults,
)
from sweeper.spec.keys.param_space import check_param_space


def problems(algorithm: str, raw: dict[str, Any]) -> list[tuple[str, str]]:
    space, wrong = parse_space(raw)
    assert wrong == []
    found = check_param_space(algorithm, space)
    return [(".".join(map(str, problem.path)), problem.message) for problem in found]


@pytest.mark.parametrize("algorithm", algorithms())
def test_an_algorithm_s_own_defaults_are_right(algorithm: str) -> None:
    assert problems(algorithm, dict(defaults(algorithm))) == []


@pytest.mark.parametrize("algorithm", algorithms())
def test_a_trial_is_one_process_unless_the_spec_says_otherwise(algorithm: str) -> None:
    assert default(algorithm, ("num_env_runners",)) == 0
    assert default(algorithm, ("num_learners",)) == 0


def test_the_usual_algorithms_are_there() -> None:
    assert set(algorithms()) >= {"PPO", "DQN", "SAC", "IMPALA", "APPO"}
    assert all(check_algorithm(name) is None for name in algorithms())


def test_defaults_are_those_of_rllib() -> None:
    assert default("PPO", ("lr",)) == 5e-5
    assert default("PPO", ("lambda_",)) == 1.0
    assert default("DQN", ("replay_buffer_config", "capacity")) == 50000
    assert default("PPO", ("model_config", "vf_share_layers")) is False
    assert default("PPO", ("nowhere", "at", "all")) is None


NUMBER_OR_SCHEDULE = "must be a number above 0 or a schedule [[0, value], [step, value], …]"
COUNT = "must be a whole number from 1 on"


@pytest.mark.parametrize(
    ("algorithm", "raw", "where", "message"),
    [
        # unknown keys
        ("PPO", {"clip_parm": 0.3}, "clip_parm",
         "unknown hyperparameter of PPO; did you mean clip_param?"),
        ("PPO", {"double_q": True}, "double_q", "PPO has no such hyperparameter; DQN has it"),
        ("DQN", {"clip_param": 0.3}, "clip_param",
         "DQN has no such hyperparameter; APPO and PPO have it"),
        ("PPO", {"fcnet_hiddens": [64]}, "fcnet_hiddens",
         "belongs to the network; its name here is model_config.fcnet_hiddens"),
        ("PPO", {"compress_observations": True}, "compress_observations",
         "RLlib knows this key, but a spec can't set it"),
        ("PPO", {"model_config": {"fcnet_hidens": [64]}}, "model_config.fcnet_hidens",
         "unknown key of model_config; did you mean fcnet_hiddens?"),
        ("PPO", {"model_config": {"choice": [{"x_y_z": 1}]}}, "model_config.choice.0",
         "x_y_z: unknown key of model_config; it has " + ", ".join(
             key for key in defaults("PPO")["model_config"] if "initializer" not in key)),
        ("PPO", {"model_config": 3}, "model_config",
         "must be a mapping of the network's keys; found 3"),
        ("PPO", {"model_config": {"uniform": [0, 1]}}, "model_config",
         "model_config is a mapping, not a number"),
        # other names
        ("PPO", {"learning_rate": 1}, "learning_rate", "its name here is lr"),
        ("PPO", {"n_epochs": 1}, "n_epochs", "its name here is num_epochs"),
        ("PPO", {"num_sgd_iter": 1}, "num_sgd_iter", "its name here is num_epochs"),
        ("PPO", {"sgd_minibatch_size": 1}, "sgd_minibatch_size", "its name here is minibatch_size"),
        ("PPO", {"gae_lambda": 1}, "gae_lambda", "its name here is lambda_"),
        ("PPO", {"lambda": 1}, "lambda", "its name here is lambda_"),
        ("PPO", {"clip_range": 1}, "clip_range", "its name here is clip_param"),
        ("PPO", {"ent_coef": 1}, "ent_coef", "its name here is entropy_coeff"),
        ("PPO", {"vf_coef": 1}, "vf_coef", "its name here is vf_loss_coeff"),
        ("PPO", {"max_grad_norm": 1}, "max_grad_norm", "its name here is grad_clip"),
        ("PPO", {"batch_size": 1}, "batch_size", "its name here is minibatch_size"),
        ("DQN", {"batch_size": 1}, "batch_size",
         "its name here is train_batch_size_per_learner"),
        ("PPO", {"train_batch_size": 1}, "train_batch_size",
         "its name here is train_batch_size_per_learner"),
        ("DQN", {"buffer_size": 1}, "buffer_size",
         "its name here is replay_buffer_config.capacity"),
        ("DQN", {"learning_starts": 1}, "learning_starts",
         "its name here is num_steps_sampled_before_learning_starts"),
        ("DQN", {"exploration_fraction": 1}, "exploration_fraction",
         "its name here is epsilon: [[0, first], [steps, last]]"),
        ("PPO", {"model": {"fcnet_hiddens": [64]}}, "model", "its name here is model_config"),
        ("PPO", {"lr_schedule": [[0, 1]]}, "lr_schedule",
         "its name here is lr: [[0, first], [steps, last]]"),
        ("SAC", {"lr": 1e-3}, "lr", "its name here is actor_lr, critic_lr and alpha_lr"),
        # decided elsewhere
        ("PPO", {"env": "x"}, "env", "not a hyperparameter; use environment.id"),
        ("PPO", {"seed": 1}, "seed", "not a hyperparameter; use seeds"),
        ("PPO", {"evaluation_interval": 1}, "evaluation_interval",
         "not a hyperparameter; use evaluation.every_env_steps"),
        ("PPO", {"num_gpus": 1}, "num_gpus", "not a hyperparameter; use resources.gpus"),
        # accepted by RLlib and ignored
        ("DQN", {"noisy": True}, "noisy",
         "RLlib accepts this key and ignores it: there are no noisy networks"),
        ("DQN", {"adam_epsilon": 1e-5}, "adam_epsilon",
         "RLlib accepts this key and ignores it: Adam's epsilon is fixed at 1e-8"),
        ("DQN", {"sample_collector": 1}, "sample_collector",
         "RLlib accepts this key and ignores it: only the old stack has one"),
        ("DQN", {"target_update_frequency": 1}, "target_update_frequency",
         "its name here is target_network_update_freq"),
        ("SAC", {"model_config": {"head_fcnet_use_layernorm": True}},
         "model_config.head_fcnet_use_layernorm",
         "is not for SAC: RLlib's SAC builds its heads without it"),
        ("DQN", {"hiddens": [64]}, "hiddens",
         "RLlib accepts this key and ignores it: use model_config.head_fcnet_hiddens"),
        ("PPO", {"observation_filter": "MeanStdFilter"}, "observation_filter",
         "RLlib accepts this key and ignores it: use environment.normalize: {observations: true}"),
        ("IMPALA", {"epsilon": 0.1}, "epsilon",
         "RLlib accepts this key and ignores it: the optimiser is Adam"),
        # domains: constants, choices, bounds
        ("PPO", {"lr": -1}, "lr", f"{NUMBER_OR_SCHEDULE}; found -1"),
        ("PPO", {"lr": 0}, "lr", f"{NUMBER_OR_SCHEDULE}; found 0"),
        ("PPO", {"lr": True}, "lr", f"{NUMBER_OR_SCHEDULE}; found true"),
        ("PPO", {"lr": float("nan")}, "lr", f"{NUMBER_OR_SCHEDULE}; found .nan"),
        ("PPO", {"lr": float("inf")}, "lr", f"{NUMBER_OR_SCHEDULE}; found .inf"),
        ("PPO", {"lr": "1e-3"}, "lr",
         f"{NUMBER_OR_SCHEDULE}; found '1e-3'; that is text, write 1e-3"),
        ("PPO", {"gamma": {"choice": [0.9, 1.5]}}, "gamma.choice.1",
         "must be a number from 0 to 1; found 1.5"),
        ("PPO", {"gamma": {"uniform": [0.9, 1.1]}}, "gamma.uniform.1",
         "must be a number from 0 to 1; found 1.1"),
        ("PPO", {"num_epochs": {"randint": [0, 5]}}, "num_epochs.randint.0", f"{COUNT}; found 0"),
        ("PPO", {"num_epochs": {"uniform": [1, 5]}}, "num_epochs.uniform",
         "draws fractions, but must draw whole numbers; use randint, lograndint or choice"),
        ("PPO", {"num_epochs": 1.5}, "num_epochs", f"{COUNT}; found 1.5"),
        ("PPO", {"kl_coeff": {"randn": [0, 1]}}, "kl_coeff.randn",
         "draws values without bounds, but each must be a number from 0 on; use uniform or "
         "loguniform"),
        ("PPO", {"use_gae": {"uniform": [0, 1]}}, "use_gae.uniform",
         "draws numbers, but the value must be true or false; use choice"),
        ("PPO", {"use_kl_loss": "off"}, "use_kl_loss",
         "must be true or false; found 'off'; off is text in YAML 1.2, write false"),
        ("PPO", {"grad_clip_by": "globalnorm"}, "grad_clip_by",
         "must be one of global_norm, norm, value; found 'globalnorm'; did you mean global_norm?"),
        ("PPO", {"rollout_fragment_length": "atuo"}, "rollout_fragment_length",
         "must be a whole number from 1 on or auto; found 'atuo'; did you mean auto?"),
        ("PPO", {"model_config": {"fcnet_hiddens": {"choice": [[64], [64, 0]]}}},
         "model_config.fcnet_hiddens.choice.1",
         "must be a list of at least one layer size, whole numbers from 1 on; found [64, 0]"),
        ("PPO", {"model_config": {"fcnet_activation": "rellu"}}, "model_config.fcnet_activation",
         "must be one of relu, tanh, elu, silu, swish, linear, ReLU, Tanh, ELU, SiLU, GELU, "
         "LeakyReLU, Mish; found 'rellu'; did you mean relu?"),
        ("DQN", {"replay_buffer_config": {"capacity": 0}}, "replay_buffer_config.capacity",
         f"{COUNT}; found 0"),
        ("DQN", {"n_step": [5, 2]}, "n_step",
         "a range is [low, high] of whole numbers from 1 on; found [5, 2]"),
        # schedules
        ("PPO", {"lr": [[0, 1e-3]]}, "lr", "a schedule is [[0, value], [step, value], …] with at "
         "least two points; found [[0, 0.001]]"),
        ("PPO", {"lr": [[5, 1e-3], [10, 1e-4]]}, "lr",
         "a schedule is [[0, value], [step, value], …]: the first step is 0; found 5"),
        ("PPO", {"lr": [[0, 1e-3], [10, 1e-4], [10, 1e-5]]}, "lr",
         "a schedule is [[0, value], [step, value], …], its steps ascending; found [0, 10, 10]"),
        ("PPO", {"lr": [[0, 1e-3], [10, -1]]}, "lr",
         "must be a number from 0 on; found -1 in the schedule"),
        ("DQN", {"epsilon": [[0, 1], [10, 2]]}, "epsilon",
         "must be a number from 0 to 1; found 2 in the schedule"),
        ("PPO", {"clip_param": [[0, 0.3], [10, 0.1]]}, "clip_param",
         "must be a number above 0; found [[0, 0.3], [10, 0.1]]"),
        # combinations
        ("PPO", {"minibatch_size": {"choice": [64, 8000]}}, "minibatch_size",
         "a minibatch can be larger than its train batch: minibatch_size up to 8000, "
         "train_batch_size_per_learner down to 4000"),
        ("PPO", {"train_batch_size_per_learner": {"randint": [100, 5000]}},
         "train_batch_size_per_learner",
         "a minibatch can be larger than its train batch: minibatch_size up to 128, "
         "train_batch_size_per_learner down to 100"),
        ("PPO", {"rollout_fragment_length": 300, "num_envs_per_env_runner": 4},
         "rollout_fragment_length",
         "300 steps of 4 environments make batches of 4800, more than a tenth off "
         "train_batch_size_per_learner 4000; use auto"),
        ("PPO", {"use_gae": False}, "use_gae",
         "without GAE whole episodes are needed: batch_mode: complete_episodes"),
        ("DQN", {"n_step": [2, 5], "rollout_fragment_length": 8}, "n_step",
         "an n_step range needs rollout_fragment_length: auto"),
        ("DQN", {"n_step": {"randint": [1, 5]}, "rollout_fragment_length": 3}, "n_step",
         "n_step can be larger than rollout_fragment_length (3)"),
        ("IMPALA", {"minibatch_size": {"choice": [50, 120]}}, "minibatch_size",
         "must be a multiple of rollout_fragment_length (50); found 120"),
        ("DQN", {"v_min": 20.0}, "v_min", "v_min (up to 20.0) must lie below v_max (10.0)"),
    ],
)  # fmt: skip
def test_a_wrong_hyperparameter_is_explained(
    algorithm: str, raw: dict[str, Any], where: str, message: str
) -> None:
    assert problems(algorithm, raw) == [(where, message)]


@pytest.mark.parametrize(
    ("algorithm", "raw"),
    [
        ("PPO", {"vf_clip_param": float("inf"), "grad_clip": None}),
        ("PPO", {"lr": [[0, 1e-3], [1e5, 0.0]]}),
        ("PPO", {"lr": {"choice": [1e-3, [[0, 1e-3], [10, 1e-4]]]}}),
        ("PPO", {"gamma": 1, "lambda_": 0}),
        ("PPO", {"minibatch_size": 4000}),
        ("PPO", {"rollout_fragment_length": 500, "num_envs_per_env_runner": 8}),
        ("PPO", {"use_gae": False, "batch_mode": "complete_episodes"}),
        ("PPO", {"model_config": {"choice": [{"fcnet_hiddens": [8]}, {"use_lstm": True}]}}),
        ("PPO", {"model_config": {"head_fcnet_hiddens": []}}),
        ("PPO", {"model_config": {"conv_filters": [[16, 4, 2], [32, [4, 4], 2]]}}),
        ("PPO", {"model_config": {"conv_filters": [[16, 4, 2, "same"], [32, 4, 2, "valid"]]}}),
        ("DQN", {"n_step": [2, 5], "training_intensity": None}),
        ("DQN", {"epsilon": 0.1, "v_min": -5, "v_max": 5}),
        ("SAC", {"target_entropy": -2.0}),
    ],
)
def test_right_values_pass(algorithm: str, raw: dict[str, Any]) -> None:
    assert problems(algorithm, raw) == []
