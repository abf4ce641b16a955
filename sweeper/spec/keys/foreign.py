"""Keys that are no hyperparameters here, and what to write instead.

Names from Stable-Baselines3 and RLlib's old API stack, RLlib's keys that other parts of the spec
decide, and keys that RLlib's new API stack accepts and ignores.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from sweeper.spec.keys.support import REFERENCE_BACKEND, find_support

__all__ = [
    "SECOND_NAMES",
    "dead_network_reason",
    "dead_reason",
    "explain_foreign_name",
    "renamed_to",
]

# RLlib's aliases. A spec takes one name only, or one hyperparameter could be searched twice.
SECOND_NAMES: Mapping[str, str] = {
    "lambda": "lambda_",
    "train_batch_size": "train_batch_size_per_learner",
}
_RENAMED: Mapping[str, str] = {
    **SECOND_NAMES,
    "activation_fn": "model_config.fcnet_activation",
    "batch_size": "train_batch_size_per_learner",
    "clip_range": "clip_param",
    "clip_range_vf": "vf_clip_param",
    "ent_coef": "entropy_coeff",
    "entropy_coef": "entropy_coeff",
    "gae_lambda": "lambda_",
    "lam": "lambda_",
    "learning_rate": "lr",
    "learning_starts": "num_steps_sampled_before_learning_starts",
    "max_grad_norm": "grad_clip",
    "model": "model_config",
    "n_envs": "num_envs_per_env_runner",
    "n_epochs": "num_epochs",
    "n_steps": "train_batch_size_per_learner (n_steps of SB3 times its number of environments)",
    "net_arch": "model_config.fcnet_hiddens",
    "num_envs_per_worker": "num_envs_per_env_runner",
    "num_rollout_workers": "num_env_runners",
    "num_sgd_iter": "num_epochs",
    "num_workers": "num_env_runners",
    "policy_kwargs": "model_config",
    "sgd_minibatch_size": "minibatch_size",
    "target_kl": "kl_target, with use_kl_loss: true",
    "target_update_frequency": "target_network_update_freq",
    "target_update_interval": "target_network_update_freq",
    "vf_coef": "vf_loss_coeff",
    "buffer_size": "replay_buffer_config.capacity",
    "prioritized_replay_alpha": "replay_buffer_config.alpha",
    "prioritized_replay_beta": "replay_buffer_config.beta",
    "gradient_steps": "training_intensity",
    "train_freq": "training_intensity",
    "exploration_fraction": "epsilon: [[0, first], [steps, last]]",
    "exploration_initial_eps": "epsilon: [[0, first], [steps, last]]",
    "exploration_final_eps": "epsilon: [[0, first], [steps, last]]",
    "initial_epsilon": "epsilon: [[0, first], [steps, last]]",
    "final_epsilon": "epsilon: [[0, first], [steps, last]]",
    "epsilon_timesteps": "epsilon: [[0, first], [steps, last]]",
    "lr_schedule": "lr: [[0, first], [steps, last]]",
    "entropy_coeff_schedule": "entropy_coeff: [[0, first], [steps, last]]",
}
_OLD_STACK = "nothing: RLlib's old API stack is not supported; an algorithm is the new one's"
_EAGER = "nothing: eager TensorFlow went with RLlib's old API stack; the framework is torch"
_DECIDED_ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(
        ("api_stack", "enable_rl_module_and_learner", "enable_env_runner_and_connector_v2"),
        _OLD_STACK,
    ),
    **dict.fromkeys(("eager_tracing", "eager_max_retraces", "tf_session_args"), _EAGER),
    **dict.fromkeys(
        ("output", "output_config", "output_max_file_size", "output_write_episodes"),
        "`sweeper trace`, which writes an agent's episodes",
    ),
    "env": "environment.id",
    "env_config": "environment.kwargs",
    "environment": "environment",
    "gym_env_vectorize_mode": "environment.vectorization",
    "seed": "seeds",
    "seeds": "seeds",
    "framework": "nothing: the framework is torch, RLlib's only one",
    "frame_stack": "environment.wrappers",
    "env_wrapper": "environment.wrappers",
    "normalize": "environment.normalize: {observations: true, rewards: true}",
    "normalize_kwargs": "environment.normalize: {observations: true, rewards: true}",
    "policy": "nothing: it follows from the spaces, and model_config is its network",
    "callbacks": "nothing: a spec is data, and names no code but environments",
    "num_gpus": "resources.gpus",
    "num_gpus_per_learner": "resources.gpus",
    "num_gpus_per_env_runner": "resources.gpus",
    "num_cpus_for_main_process": "resources.cpus",
    "num_cpus_per_env_runner": "resources.cpus",
    "num_cpus_per_learner": "resources.cpus",
    "metrics_num_episodes_for_smoothing": "nothing: returns are smoothed over 100 episodes",
    "total_timesteps": "stop.num_env_steps_sampled_lifetime",
    "n_timesteps": "stop.num_env_steps_sampled_lifetime",
    "evaluation_duration": "evaluation.episodes",
    "evaluation_interval": "evaluation.every_env_steps",
    "evaluation_config": "evaluation.explore",
    "use_sde": "nothing: there is no state-dependent exploration",
    "sde_sample_freq": "nothing: there is no state-dependent exploration",
    "restart_failed_env_runners": "resources.retries",
    "ignore_env_runner_failures": "resources.retries",
    "log_level": "the command line's --log-level",
}
_DEAD: Mapping[str, str] = {
    "adam_epsilon": "Adam's epsilon is fixed at 1e-8",
    "before_learn_on_batch": "only the old stack calls it",
    "categorical_distribution_temperature": "actions are sampled at temperature 1",
    "clip_rewards": "only the old stack reads it; use environment.wrappers: "
    "[{ClipReward: {min_reward: -1, max_reward: 1}}]",
    "exploration_config": "use epsilon (DQN) or entropy_coeff",
    "hiddens": "use model_config.head_fcnet_hiddens",
    "noisy": "there are no noisy networks",
    "observation_filter": "use environment.normalize: {observations: true}",
    "optimizer": "the optimiser is Adam",
    "sample_collector": "only the old stack has one",
    "sigma0": "there are no noisy networks",
    "store_buffer_in_checkpoints": "backend torch has checkpoint.replay",
    "optimization": "use actor_lr, critic_lr and alpha_lr",
    "policy_model_config": "use model_config",
    "q_model_config": "use model_config",
}


def dead_reason(algorithm: str, key: str) -> str | None:
    """Why RLlib accepts a key and ignores it; None if it does not."""
    return find_support(REFERENCE_BACKEND, algorithm).dead.get(key) or _DEAD.get(key)


def dead_network_reason(algorithm: str, key: str) -> str | None:
    """Why a key of ``model_config`` is not for an algorithm; None if it is."""
    dead = find_support(REFERENCE_BACKEND, algorithm).dead_network
    return next((why for pattern, why in dead.items() if fnmatchcase(key, pattern)), None)


def explain_foreign_name(algorithm: str, key: str) -> str | None:
    """What to write instead of a key that the algorithm lacks; None for an unknown key."""
    dead = dead_reason(algorithm, key)
    if dead is not None:
        return f"RLlib accepts this key and ignores it: {dead}"
    if key in _DECIDED_ELSEWHERE:
        return _elsewhere(_DECIDED_ELSEWHERE[key])
    if key.startswith(("evaluation_", "offline_evaluation_")):
        return "not a hyperparameter; use the spec's evaluation"
    if key.startswith("callbacks_"):
        return _elsewhere(_DECIDED_ELSEWHERE["callbacks"])
    ours = renamed_to(algorithm, key)
    return f"its name here is {ours}" if ours else None


def renamed_to(algorithm: str, key: str) -> str | None:
    """Our name of a key from Stable-Baselines3 or RLlib's old API stack."""
    renamed = find_support(REFERENCE_BACKEND, algorithm).renamed
    return renamed.get(key) or _RENAMED.get(key)


def _elsewhere(place: str) -> str:
    key, _, reason = place.partition("nothing: ")
    return f"not a hyperparameter; use {key}" if key else f"not a hyperparameter: {reason}"
