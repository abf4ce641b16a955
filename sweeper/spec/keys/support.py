"""What each backend supports of each algorithm: one record for every pair.

Other modules ask the record instead of comparing names. A new algorithm takes a record here and a
trainer, and `agents.torch_policy` has to know how it acts. Hyperparameters have RLlib's names and
defaults on every backend (``rllib.json``); a record says which of them a backend leaves out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

__all__ = [
    "BACKENDS",
    "DEFAULT_ALGORITHM",
    "REFERENCE_BACKEND",
    "Support",
    "default_backend",
    "find_support",
    "suggested_algorithms",
    "supports",
]

REFERENCE_BACKEND = "rllib"  # has every algorithm, key and value that a spec can name
DEFAULT_ALGORITHM = "PPO"  # acts in every action space

# Keys of model_config that torch has beyond RLlib, and their defaults.
_PPO_EXTENSIONS: Mapping[str, Any] = {
    "policy_head_gain": None, "value_head_gain": None, "log_std_init": 0.0,
}  # fmt: skip

# Keys of model_config by fnmatch patterns, and why RLlib's networks ignore them
# (rllib/algorithms/*/*_catalog.py).
_FUSION = {"fusionnet_*": "only SAC has a fusion network"}
_HEADS = "the heads keep torch's own initialisation"
_NOT_EXTENDED = dict.fromkeys(_PPO_EXTENSIONS, "only PPO on backend torch has it")
_DEAD_NETWORK = {**_FUSION, **_NOT_EXTENDED, "head_fcnet*_initializer*": _HEADS}


# Keys by fnmatch patterns of their dotted names, and why a trial that goes on from another's
# checkpoint takes them over as they are.
_HELD: Mapping[str, str] = {
    "model_config.*": "the weights belong to their network",
    **dict.fromkeys(
        ("normalize_actions", "clip_actions", "explore"), "it says what the network's outputs mean"
    ),
    **dict.fromkeys(
        ("num_env_runners", "num_learners", "num_cpus_*", "num_gpus_*"),
        "it says what a trial needs of the machine",
    ),
    **dict.fromkeys(
        ("num_envs_per_env_runner", "rollout_fragment_length", "batch_mode"),
        "running statistics and windows belong to the layout of a batch",
    ),
    "replay_buffer_config.type": "it is the layout of the replay memory",
    "replay_buffer_config.capacity": "it is the layout of the replay memory",
    "replay_buffer_config.alpha": "priorities are stored raised to it",
    "metrics_num_episodes_for_smoothing": "it says what trials are compared by",
}


@dataclass(frozen=True)
class Support:
    """One algorithm on one backend.

    Attributes:
        algorithm: RLlib's name.
        backend: which trains it.
        trainer: the `ReplicaTrainer`, as ``module:class``; only workers import it.
        learns_from: ``batch``: the env steps that each iteration collects; ``queue``: batches
            that arrive asynchronously; ``replay``: a replay memory.
        keys: supported hyperparameters; None: all of RLlib's.
        network: supported keys of RLlib's below ``model_config``; None: all.
        extensions: keys below ``model_config`` that RLlib lacks, and their defaults.
        fixed: keys that take no value but their default, since the algorithm ignores or refuses
            all others here.
        fractions: keys that take fractions for this algorithm, and whole numbers elsewhere.
        meanings: what a key is, where it differs from what it is for other algorithms.
        scheduled: keys that take a schedule here and not on RLlib.
        held: keys that a restored checkpoint does not let change, by fnmatch patterns of their
            dotted names, and why: population-based training copies them with the weights.
        words: allowed texts of a key, by its dotted name, where they differ from RLlib's.
        renamed: names from other libraries, and the keys they mean for this algorithm.
        dead: keys that RLlib accepts and ignores for this algorithm, and why.
        dead_network: the same below ``model_config``, by fnmatch patterns.
        actions: spaces of `gymnasium.spaces` that it acts in.
        observations: spaces that the leaves of an observation may have.
        takes_scalar_actions: whether a Box of actions may have the shape (), a number each.
        learner_metrics: names below ``learner/`` that it reports; None: not recorded.
        trains_replicas_together: whether all replicas are one batch, so one more costs little.
        builds_vector_envs: whether this package steps the environments; RLlib steps its own.
        min_native_envs: with fewer environments, gymnasium's vectorised ones are slower than a
            loop over single ones.
        normalises: whether it keeps running statistics of observations and rewards.
        scales_images: whether its networks can divide bytes by 255.
        has_own_replay: whether the replay memory is this package's: its size is known before the
            run, a checkpoint can hold it, and it drops single steps instead of whole episodes.
        drops_trainer: whether a finished trial's checkpoint can be cut down to the agent.
    """

    algorithm: str
    backend: str = REFERENCE_BACKEND
    trainer: str = "sweeper.trainables.rllib_backend.trainer:RLlibTrainer"
    learns_from: Literal["batch", "queue", "replay"] = "batch"
    keys: frozenset[str] | None = None
    network: frozenset[str] | None = None
    extensions: Mapping[str, Any] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()
    fractions: frozenset[str] = frozenset()
    meanings: Mapping[str, str] = field(default_factory=dict)
    scheduled: frozenset[str] = frozenset()
    held: Mapping[str, str] = field(default_factory=lambda: _HELD)
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    dead: Mapping[str, str] = field(default_factory=dict)
    dead_network: Mapping[str, str] = field(default_factory=lambda: _DEAD_NETWORK)
    # rllib/core/models/catalog.py
    actions: tuple[str, ...] = ("Box", "Discrete", "MultiDiscrete")
    observations: tuple[str, ...] = ("Box", "Discrete", "MultiDiscrete", "MultiBinary")
    takes_scalar_actions: bool = True
    learner_metrics: tuple[str, ...] | None = None
    trains_replicas_together: bool = False
    builds_vector_envs: bool = False
    min_native_envs: int = 1
    normalises: bool = False
    scales_images: bool = False
    has_own_replay: bool = False
    drops_trainer: bool = False

    def why_held(self, path: tuple[str, ...]) -> str | None:
        """Why a restored checkpoint does not let a hyperparameter change; None if it does."""
        name = ".".join(path)
        return next((why for one, why in self.held.items() if fnmatchcase(name, one)), None)

    @property
    def default_seeds(self) -> int:
        """Replicas of a trial where the spec does not say."""
        return 5 if self.trains_replicas_together else 1

    @property
    def default_finalists(self) -> int:
        """Trials that are confirmed; none where each seed costs a training run of its own."""
        return 3 if self.trains_replicas_together else 0

    @property
    def default_confirm_seeds(self) -> int | Mapping[str, int]:
        """Fresh seeds for each of them: groups where a group is one batch, see docs/evidence.md."""
        return {"step": 5, "max": 30} if self.trains_replicas_together else 10


# What holds for every algorithm of a backend. The first backend that has an algorithm is its
# default one.
_OF_BACKEND: Mapping[str, Mapping[str, Any]] = {
    "torch": {
        "backend": "torch",
        "observations": ("Box", "Discrete", "MultiDiscrete"),
        "trains_replicas_together": True,
        "builds_vector_envs": True,
        "scales_images": True,
        "drops_trainer": True,
    },
    REFERENCE_BACKEND: {},
}
BACKENDS: tuple[str, ...] = tuple(_OF_BACKEND)

# --- PPO -------------------------------------------------------------------------------------

_RLLIB_PPO = Support(
    "PPO",
    renamed={
        "batch_size": "minibatch_size",
        "ortho_init": "model_config.fcnet_kernel_initializer: orthogonal_, with policy_head_gain "
        "and value_head_gain on backend torch",
    },
    dead_network={
        **_FUSION,
        "head_fcnet*_initializer*": f"{_HEADS}; policy_head_gain and value_head_gain, on backend "
        "torch, draw them orthogonally",
    },
    learner_metrics=(
        "policy_loss", "vf_loss", "vf_loss_unclipped", "vf_explained_var", "entropy",
        "mean_kl_loss", "curr_kl_coeff", "curr_entropy_coeff",
    ),
)  # fmt: skip

_TORCH_NETWORK = frozenset(
    {
        "fcnet_hiddens", "fcnet_activation", "fcnet_kernel_initializer",
        "fcnet_kernel_initializer_kwargs", "fcnet_bias_initializer",
        "fcnet_bias_initializer_kwargs", "fcnet_use_layernorm", "conv_filters",
        "conv_activation", "conv_kernel_initializer", "conv_kernel_initializer_kwargs",
        "conv_bias_initializer", "conv_bias_initializer_kwargs", "head_fcnet_hiddens",
        "head_fcnet_activation", "head_fcnet_use_layernorm", "free_log_std",
        "log_std_clip_param", "vf_share_layers",
    }
)  # fmt: skip
_TORCH_WORDS = dict.fromkeys(
    (f"model_config.{part}_activation" for part in ("fcnet", "conv", "head_fcnet")),
    ("relu", "tanh", "elu", "silu", "swish", "linear"),
)
_PPO_FIXED = frozenset(
    {
        "use_gae", "batch_mode", "num_env_runners", "num_learners", "explore",
        "torch_skip_nan_gradients",
    }
)  # fmt: skip
_TORCH_PPO = replace(
    _RLLIB_PPO,
    **_OF_BACKEND["torch"],
    trainer="sweeper.trainables.torch_backend.ppo.trainer:TorchPPOTrainer",
    keys=_PPO_FIXED
    | {
        "lr", "gamma", "lambda_", "clip_param", "vf_clip_param", "use_critic", "use_kl_loss",
        "kl_coeff", "kl_target", "vf_loss_coeff", "entropy_coeff", "grad_clip", "grad_clip_by",
        "num_epochs", "minibatch_size", "shuffle_batch_per_epoch",
        "train_batch_size_per_learner", "num_envs_per_env_runner", "rollout_fragment_length",
        "normalize_actions", "clip_actions", "model_config",
    },
    network=_TORCH_NETWORK,
    extensions=_PPO_EXTENSIONS,
    fixed=_PPO_FIXED,
    scheduled=frozenset({"clip_param", "vf_clip_param", "vf_loss_coeff"}),
    held={**_HELD, "kl_coeff": "it adapts while a trial trains, and goes on from the checkpoint"},
    words=_TORCH_WORDS,
    normalises=True,
)  # fmt: skip

# --- SAC -------------------------------------------------------------------------------------


def _dead_network_of_replay(algorithm: str) -> dict[str, str]:
    lstm = f"RLlib's {algorithm} can't train an LSTM"  # it fails in the first update
    return {
        "head_fcnet_use_layernorm": f"RLlib's {algorithm} builds its heads without it",
        "vf_share_layers": f"{algorithm} has no value network",
        "free_log_std": "it belongs to PPO's Gaussian policies",
        **_NOT_EXTENDED,
        **dict.fromkeys(("use_lstm", "max_seq_len", "lstm_*"), lstm),
    }


# A replayed batch is learned from once, as a whole (rllib/algorithms/dqn/dqn.py, training_step).
_LEARNED_ONCE = frozenset({"num_epochs", "minibatch_size", "shuffle_batch_per_epoch"})
_RLLIB_SAC = Support(
    "SAC",
    learns_from="replay",
    fixed=_LEARNED_ONCE,
    held={
        **_HELD,
        "twin_q": _HELD["model_config.*"],
        "initial_alpha": "it is learned, and goes on from the checkpoint",
    },
    renamed={
        "ent_coef": "initial_alpha and target_entropy",
        "learning_rate": "actor_lr, critic_lr and alpha_lr",
        "lr": "actor_lr, critic_lr and alpha_lr",
    },
    dead_network={
        "head_fcnet*_initializer*": _HEADS,
        **_dead_network_of_replay("SAC"),
    },
    actions=("Box", "Discrete"),  # sac_catalog.py
    takes_scalar_actions=False,
)

# --- DQN -------------------------------------------------------------------------------------

_HELD_BY_DQN: Mapping[str, str] = {
    **_HELD,
    **dict.fromkeys(
        ("dueling", "num_atoms", "v_min", "v_max"), "it is the form of the network's head"
    ),
}
_RLLIB_DQN = Support(
    "DQN",
    learns_from="replay",
    fixed=_LEARNED_ONCE | {"burn_in_len"},  # there is no LSTM to warm up
    held=_HELD_BY_DQN,
    dead_network={
        **_FUSION,
        "log_std_clip_param": "DQN has no Gaussian policy",
        **_dead_network_of_replay("DQN"),
    },
    actions=("Discrete",),  # dqn_catalog.py
    learner_metrics=(
        "qf_loss", "qf_mean", "qf_max", "qf_min", "td_error_mean", "num_target_updates",
        "last_target_update_ts",
    ),
)  # fmt: skip
_DQN_FIXED = _RLLIB_DQN.fixed | {
    "batch_mode", "clip_actions", "explore", "normalize_actions", "num_env_runners",
    "num_learners", "torch_skip_nan_gradients",
}  # fmt: skip
_TORCH_DQN = replace(
    _RLLIB_DQN,
    **_OF_BACKEND["torch"],
    trainer="sweeper.trainables.torch_backend.dqn.trainer:TorchDQNTrainer",
    keys=_DQN_FIXED
    | {
        "lr", "gamma", "epsilon", "grad_clip", "grad_clip_by", "train_batch_size_per_learner",
        "num_envs_per_env_runner", "rollout_fragment_length", "training_intensity",
        "num_steps_sampled_before_learning_starts", "target_network_update_freq", "tau",
        "double_q", "dueling", "n_step", "num_atoms", "v_min", "v_max", "td_error_loss_fn",
        "replay_buffer_config", "min_sample_timesteps_per_iteration", "model_config",
    },
    network=_TORCH_NETWORK
    - {"free_log_std", "log_std_clip_param", "vf_share_layers", "head_fcnet_use_layernorm"},
    fixed=_DQN_FIXED,
    held={
        **{key: why for key, why in _HELD_BY_DQN.items() if key != "replay_buffer_config.capacity"},
        "n_step": "the replay memory is cut into windows of it",
    },
    words=_TORCH_WORDS,
    min_native_envs=4,
    has_own_replay=True,
)  # fmt: skip

# --- APPO and IMPALA -------------------------------------------------------------------------

_RLLIB_IMPALA = Support(
    "IMPALA",
    learns_from="queue",
    fixed=frozenset({"vtrace"}),  # rllib/algorithms/impala/impala.py, validate
    dead={
        **dict.fromkeys(("decay", "momentum", "epsilon", "opt_type"), "the optimiser is Adam"),
        **dict.fromkeys(
            (
                "learner_queue_timeout", "minibatch_buffer_size", "num_multi_gpu_tower_stacks",
                "timeout_s_aggregator_manager", "timeout_s_sampler_manager",
            ),
            "only the old stack reads it",
        ),
        **dict.fromkeys(
            ("replay_buffer_num_slots", "replay_proportion"), "only the old stack replays"
        ),
        **dict.fromkeys(("use_gae", "lambda_"), "returns come from V-trace"),
    },
)  # fmt: skip
_RLLIB_APPO = replace(
    _RLLIB_IMPALA,
    algorithm="APPO",
    renamed={"batch_size": "minibatch_size"},
    dead={
        **_RLLIB_IMPALA.dead,
        "learner_queue_size": "use circular_buffer_num_batches",
        # rllib/algorithms/appo/torch/appo_torch_learner.py
        "target_worker_clipping": "the ratio of behaviour to target policy is cut at 2",
    },
    # rllib/algorithms/appo/appo_learner.py, after_gradient_based_update
    fractions=frozenset({"target_network_update_freq"}),
    meanings={
        "target_network_update_freq": "How often the circular buffer is learned through from one "
        "update of the target network to the next: once is circular_buffer_num_batches * "
        "circular_buffer_iterations_per_batch * train_batch_size_per_learner steps. RLlib "
        "recommends 0.125 to 4."
    },
)

_RECORDS: Mapping[tuple[str, str], Support] = {
    (record.backend, record.algorithm): record
    for record in (
        _RLLIB_PPO, _RLLIB_SAC, _RLLIB_DQN, _RLLIB_APPO, _RLLIB_IMPALA, _TORCH_PPO, _TORCH_DQN,
    )
}  # fmt: skip


def supports(backend: str, algorithm: str) -> bool:
    """Whether a backend has an algorithm; RLlib has all that a spec can name."""
    return backend == REFERENCE_BACKEND or (backend, algorithm) in _RECORDS


@functools.cache
def find_support(backend: str, algorithm: str) -> Support:
    """The record of a pair.

    An algorithm without a record gets the defaults of `Support`. An unsupported pair gets the
    facts of its backend and of RLlib's algorithm, so a spec that names it can still be checked.
    """
    found = _RECORDS.get((backend, algorithm))
    if found is None:
        known = _RECORDS.get((REFERENCE_BACKEND, algorithm), Support(algorithm))
        found = replace(known, **_OF_BACKEND[backend])
    return found


def default_backend(algorithm: str | None) -> str:
    """The backend of a spec that names none."""
    return next(name for name in BACKENDS if algorithm is None or supports(name, algorithm))


def suggested_algorithms() -> list[Support]:
    """RLlib's records of the algorithms to suggest; asynchronous ones only pay on clusters."""
    return [
        record
        for (backend, _), record in _RECORDS.items()
        if backend == REFERENCE_BACKEND and record.learns_from != "queue"
    ]
