"""One line about each key and metric, with its unit, for editors."""

from __future__ import annotations

from collections.abc import Mapping

from sweeper.spec.keys.support import REFERENCE_BACKEND, find_support

__all__ = ["METRICS", "TOP_LEVEL_KEYS", "describe_key"]

TOP_LEVEL_KEYS: Mapping[str, str] = {
    "name": "Becomes the run folder's and the MLflow experiment's name; by default the file's.",
    "extends": "Another spec to start from, relative to this one; mappings are merged, everything "
    "else replaces what was there, null takes a key away.",
    "environment": "A gymnasium id, or a mapping with it.",
    "algorithm": "RLlib's name of the algorithm.",
    "backend": "What trains a trial.",
    "seeds": "Replicas of each configuration: a number (3 means seeds 0, 1, 2) or the seeds.",
    "param_space": "Hyperparameters by RLlib's names: constants and distributions, side by side.",
    "search": "Which configurations are tried.",
    "scheduler": "Which trials are stopped early; a name, or a mapping with options.",
    "stop": "Metrics and the values at which a trial ends, whichever comes first, and plateau; one "
    "must bound its env steps or its time, or budget must.",
    "budget": "What the whole search may take.",
    "evaluation": "Episodes on environment seeds that training never used; left out: none, {}: "
    "the defaults.",
    "selection": "How the champion is found.",
    "checkpoint": "What is kept of a trial.",
    "resources": "What one trial takes.",
    "storage": "The folder for runs, or an address in a bucket: s3://, gs://, az://.",
    "ray": "Where the trials run.",
    "tracking": "The MLflow record; null: off.",
}

METRICS: Mapping[str, str] = {
    "num_env_steps_sampled_lifetime": "Env steps of each replica: the budget that rivals share.",
    "time_total_s": "Seconds of training.",
    "training_iteration": "Iterations of the algorithm.",
    "episode_return_mean": "Mean return of the last 100 training episodes, over replicas.",
    "evaluation/episode_return_mean": "Mean return of the last evaluation, over replicas.",
}

_KEYS: Mapping[str, str] = {
    "actor_lr": "Learning rate of the policy.",
    "alpha_lr": "Learning rate of the entropy temperature.",
    "critic_lr": "Learning rate of the Q-functions.",
    "lr": "Adam's learning rate.",
    "batch_mode": "Whether batches may cut episodes.",
    "broadcast_interval": "Rounds of collecting and learning from one broadcast of the weights to "
    "the next.",
    "burn_in_len": "Steps that warm an LSTM's state up before those that are learned from.",
    "circular_buffer_iterations_per_batch": "How often each batch is learned from.",
    "circular_buffer_num_batches": "Batches in the learner's circular buffer.",
    "clip_actions": "Clip actions to the space's bounds.",
    "clip_param": "How far the policy's ratio may move in an update before its gain is cut.",
    "double_q": "Choose the target's action by the online network.",
    "dueling": "Estimate values and advantages apart.",
    "entropy_coeff": "Weight of the entropy bonus; more keeps the policy random for longer.",
    "epsilon": "Share of random actions; a schedule over env steps.",
    "explore": "Sample actions while training.",
    "gamma": "Discount of a reward for each step that it lies ahead.",
    "grad_clip": "Bound of the gradient; null: none.",
    "grad_clip_by": "What grad_clip bounds: the norm of all gradients, of each, or each value.",
    "initial_alpha": "Entropy temperature to begin with.",
    "kl_coeff": "Weight of the KL penalty to begin with; it adapts.",
    "kl_target": "KL divergence of an update that the penalty steers towards.",
    "lambda_": "Of generalised advantage estimation: 1 trusts returns, 0 the value network.",
    "learner_queue_size": "Batches that may wait for the learner.",
    "log_gradients": "Report the gradients' norms.",
    "min_sample_timesteps_per_iteration": "Env steps that an iteration has at least.",
    "min_time_s_per_iteration": "Seconds that an iteration has at least.",
    "min_train_timesteps_per_iteration": "Steps learned from that an iteration has at least.",
    "minibatch_size": "Steps of one gradient step; null: the whole batch.",
    "n_step": "Steps whose rewards are summed before the value is asked; [low, high]: drawn.",
    "normalize_actions": "Have the policy act between -1 and 1, and scale to the space's bounds.",
    "num_atoms": "Atoms of the return's distribution; 1: its mean only.",
    "num_env_runners": "Processes that collect steps beside the trial's own, for each replica.",
    "num_envs_per_env_runner": "Environments of each replica, stepped together.",
    "num_epochs": "Passes over each batch.",
    "num_gpu_loader_threads": "Threads that load batches onto the GPU.",
    "num_learners": "Learner processes beside the trial's own.",
    "num_steps_sampled_before_learning_starts": "Env steps before the first gradient step.",
    "replay_buffer_config": "The replay buffer.",
    "replay_buffer_config.alpha": "How strongly large TD errors are replayed more often; 0: not.",
    "replay_buffer_config.beta": "How far that is corrected for; 1: wholly.",
    "replay_buffer_config.capacity": "Env steps that it holds.",
    "replay_buffer_config.type": "Prioritised, or uniform (EpisodeReplayBuffer).",
    "rollout_fragment_length": "Env steps of each environment in a row; auto: what the batch "
    "needs, or n_step where there is one.",
    "shuffle_batch_per_epoch": "Shuffle the batch before each pass.",
    "simple_queue_size": "Batches that may wait where no circular buffer is used.",
    "target_entropy": "Entropy that the temperature steers towards; auto: minus the dimensions of "
    "an action.",
    "target_network_update_freq": "Env steps from one update of the target network to the next.",
    "tau": "Share of the online network in each update of the target network; 1: a copy.",
    "td_error_loss_fn": "Loss of the TD error.",
    "torch_skip_nan_gradients": "Skip a gradient step that is not finite.",
    "train_batch_size_per_learner": "Env steps of a batch: collected (on-policy) or replayed.",
    "training_intensity": "Steps learned from for each env step; null: as it comes.",
    "twin_q": "Take the smaller of two Q-functions.",
    "use_circular_buffer": "Learn from each batch several times.",
    "use_critic": "Subtract a value network's estimate from the return.",
    "use_gae": "Generalised advantage estimation.",
    "use_kl_loss": "Penalise the KL divergence of an update.",
    "v_max": "Greatest return that the atoms span.",
    "v_min": "Least return that the atoms span.",
    "vf_clip_param": "Bound of the value's squared error; scale it with the returns, .inf: off.",
    "vf_loss_coeff": "Weight of the value's loss.",
    "vtrace": "Correct off-policy batches by V-trace.",
    "vtrace_clip_pg_rho_threshold": "V-trace's bound of the policy gradient's weights.",
    "vtrace_clip_rho_threshold": "V-trace's bound of the value targets' weights.",
    "model_config": "The network.",
    "model_config.conv_filters": "Layers for images: [channels, kernel, stride] each; null: by "
    "the image's size.",
    "model_config.free_log_std": "Deviation of continuous actions as a parameter of its own, "
    "instead of by the observation.",
    "model_config.log_std_clip_param": "Bound of the log of that deviation.",
    "model_config.log_std_init": "Where the log of that deviation starts, with free_log_std: true.",
    "model_config.lstm_cell_size": "Units of the LSTM.",
    "model_config.lstm_use_prev_action": "Feed the last action to the LSTM.",
    "model_config.lstm_use_prev_reward": "Feed the last reward to the LSTM.",
    "model_config.max_seq_len": "Steps in a row that the LSTM is trained on.",
    "model_config.policy_head_gain": "Start the policy head's last layer orthogonal, scaled by "
    "this, with biases of 0; null: torch's own. 0.01 lets the first policy be nearly the same "
    "everywhere.",
    "model_config.value_head_gain": "The same of the value head's last layer.",
    "model_config.use_lstm": "Put an LSTM behind the encoder.",
    "model_config.vf_share_layers": "Let policy and value share the encoder.",
}

_PARTS: Mapping[str, str] = {
    "fcnet": "the encoder",
    "head_fcnet": "the heads",
    "fusionnet": "the network that joins observation and action",
    "conv": "the layers for images",
    "lstm": "the LSTM",
}
_ENDINGS: Mapping[str, str] = {
    "_hiddens": "Units of each hidden layer of {}.",
    "_activation": "Activation of {}.",
    "_use_layernorm": "Normalise the layers of {}.",
    "_kernel_initializer": "torch.nn.init's function for the weights of {}; null: torch's own.",
    "_kernel_initializer_kwargs": "Arguments of the weights' initialiser of {}.",
    "_bias_initializer": "torch.nn.init's function for the biases of {}; null: torch's own.",
    "_bias_initializer_kwargs": "Arguments of the biases' initialiser of {}.",
}


def describe_key(name: str, algorithm: str | None = None) -> str | None:
    """What a hyperparameter is, by its dotted name; None for an unknown one.

    Args:
        name: of the key.
        algorithm: whose it is, if not any's.
    """
    own = {} if algorithm is None else find_support(REFERENCE_BACKEND, algorithm).meanings
    if name in own:
        return own[name]
    if name in _KEYS:
        return _KEYS[name]
    key = name.removeprefix("model_config.")
    for part, words in _PARTS.items():
        ending = key.removeprefix(part)
        if ending != key and ending in _ENDINGS:
            return _ENDINGS[ending].format(words)
    return None
