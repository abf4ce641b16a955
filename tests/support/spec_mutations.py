"""Seeded mutations of valid specs: of bytes, lines, keys and values."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from spec_cases import read_cases

from sweeper.spec.keys.names import algorithms, defaults
from sweeper.spec.text.yaml import parse_yaml

CONFIGS = Path(__file__).parents[2] / "configs"

# Values that people and generators write by mistake.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 64, 1000, 0.0, 0.5, 1.0, -0.0, 1.5, 1e-5, 1e5, 1e300,
    1e-300, 1e9, 10**12, 2**63, 10**40, float("inf"), float("-inf"), float("nan"), "", " ", "x",
    "auto", "null", "no", "1e-3", "1_000", "~", "${algorithm}", "${nowhere}", "${env:HOME}", "$${",
    "PPO", "DQN", "SAC", "IMPALA", "APPO", "torch", "rllib", "relu", "tanh", "ReLU", "max", "min",
    "CartPole-v1", "Pendulum-v1", "Acrobot-v1", "FrozenLake-v1", "Taxi-v3", "../up", "a/b", "é",
    "\u0085", "\u2028", "\ud83d\ude00", [], [[]], {}, [1], [64, 64], [0], [0, 1], [1, 0], [2, 5],
    [[0, 1]], [[0, 1.0], [10, 0.1]], [[0, 1e-3], [1000, 0]], [[16, 4, 2]], [None], ["a"], {"a": 1},
    {"choice": []}, {"choice": [1]}, {"choice": [64, 128]}, {"choice": [[64], [32, 32]]},
    {"choice": [True, False]}, {"choice": ["relu", "tanh"]}, {"choice": [None, 1.0]},
    {"grid_search": [0.1, 0.2]}, {"grid_search": [1, 2]}, {"uniform": [0, 1]},
    {"uniform": [0.1, 0.2]}, {"uniform": [1, 0]}, {"loguniform": [1e-4, 1e-2]},
    {"loguniform": [0, 1]}, {"quniform": [0, 1, 0.1]}, {"randint": [1, 5]}, {"randint": [0, 2]},
    {"qrandint": [2, 10, 2]}, {"lograndint": [1, 100]}, {"qlograndint": [1, 100, 3]},
    {"randn": [0, 1]}, {"qrandn": [0, 1, 0.1]}, {"eval": "1/0"}, {"sample_from": "x"},
    {"uniform": [0.1, 1], "when": {"use_kl_loss": True}}, {"when": {"lr": 1}},
    {"TimeLimit": {"max_episode_steps": 9}}, ["FlattenObservation"],
)  # fmt: skip
KEYS: tuple[str, ...] = (
    "lr", "gamma", "lambda_", "clip_param", "vf_clip_param", "use_kl_loss", "kl_coeff", "kl_target",
    "vf_loss_coeff", "entropy_coeff", "grad_clip", "grad_clip_by", "num_epochs", "minibatch_size",
    "train_batch_size_per_learner", "num_envs_per_env_runner", "rollout_fragment_length",
    "batch_mode", "use_gae", "use_critic", "explore", "normalize_actions", "clip_actions", "n_step",
    "double_q", "dueling", "num_atoms", "v_min", "v_max", "epsilon", "tau", "burn_in_len",
    "target_network_update_freq", "num_steps_sampled_before_learning_starts", "actor_lr",
    "critic_lr", "alpha_lr", "initial_alpha", "target_entropy", "twin_q", "training_intensity",
    "td_error_loss_fn", "min_time_s_per_iteration", "min_sample_timesteps_per_iteration",
    "min_train_timesteps_per_iteration", "shuffle_batch_per_epoch", "log_gradients", "num_learners",
    "num_env_runners", "torch_skip_nan_gradients", "vtrace", "broadcast_interval",
    "circular_buffer_num_batches", "use_circular_buffer", "learner_queue_size", "model_config",
    "replay_buffer_config", "fcnet_hiddens", "fcnet_activation", "fcnet_use_layernorm",
    "head_fcnet_hiddens", "head_fcnet_activation", "vf_share_layers", "free_log_std",
    "log_std_clip_param", "log_std_init", "policy_head_gain", "value_head_gain", "use_lstm",
    "lstm_cell_size", "max_seq_len", "conv_filters",
    "fcnet_kernel_initializer", "fcnet_kernel_initializer_kwargs", "fcnet_bias_initializer",
    "capacity", "alpha", "beta", "type", "name", "environment", "algorithm", "backend", "seeds",
    "param_space", "search", "scheduler", "stop", "budget", "evaluation", "selection", "checkpoint",
    "resources", "storage", "ray", "tracking", "num_samples", "seed", "points_to_evaluate",
    "max_concurrent", "time_s", "episodes", "every_env_steps", "metric", "mode", "score", "keep",
    "cpus", "gpus", "retries", "kwargs", "wrappers", "vectorization", "id", "uri", "experiment",
    "num_env_steps_sampled_lifetime", "time_total_s", "training_iteration", "episode_return_mean",
    "learning_rate", "<<", "", "a.b", "when", "choice", "uniform",
)  # fmt: skip
FRAGMENTS = (
    "\t", "\n", "\r", "  ", ":", ": ", "- ", "[", "]", "{", "}", ",", "#", "'", '"', "&a ", "*a",
    "!!str ", "!x ", "|", ">", "%", "@", "`", "?", "---\n", "...\n", "<<: ", "\0", "\x07", "\x85",
    "\ufeff", "é", "0", "-", "e9", ".inf", "null", "${", "}",
)  # fmt: skip


def valid_specs() -> dict[str, str]:
    """Self-contained texts that `load_plan` accepts, by name."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(CONFIGS.glob("*.yaml"))}
    found = {name: text for name, text in texts.items() if "extends:" not in text}
    for case in read_cases("right"):
        if list(case.files) == ["spec.yaml"] and not case.overrides:
            found[case.title] = case.files["spec.yaml"]
    return found


def mutations(number: int, seed: int) -> Iterator[bytes]:
    """Mutated specs, the same ones for the same seed."""
    random = Random(seed)  # noqa: S311 - mutations, not secrets
    texts = list(valid_specs().values())
    trees = [parse_yaml(text, "spec").value for text in texts]
    for _ in range(number):
        index = random.randrange(len(texts))
        kind = random.random()
        if kind < 0.2:
            yield _mutate_bytes(texts[index].encode(), random)
        elif kind < 0.4:
            yield _mutate_lines(texts[index], random).encode("utf-8", "surrogatepass")
        else:
            tree = copy.deepcopy(trees[index])
            for _ in range(random.choice((1, 1, 1, 2, 3))):
                if random.random() < 0.5:
                    _set_hyperparameter(tree, random)
                else:
                    _mutate_tree(tree, random)
            yield write(tree).encode("utf-8", "surrogatepass")


def write(tree: Any) -> str:
    """A tree as flow YAML, one top-level key a line."""
    return "".join(f"{json.dumps(key)}: {_flow(value)}\n" for key, value in tree.items())


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return (
            f"{{{', '.join(f'{json.dumps(key)}: {_flow(item)}' for key, item in value.items())}}}"
        )
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, float) and value != value:
        return ".nan"
    if value in (float("inf"), float("-inf")):
        return ".inf" if value > 0 else "-.inf"
    return json.dumps(value)


def _mutate_bytes(data: bytes, random: Random) -> bytes:
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(data) + 1)
        kind = random.randrange(4)
        if kind == 0:
            data = data[:at] + data[at + random.randint(1, 12) :]
        elif kind == 1:
            data = data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
        elif kind == 2:
            data = data[:at] + random.choice(FRAGMENTS).encode("utf-8") + data[at:]
        else:
            data = data[:at]
        data = data or b"\n"
    return data


def _mutate_lines(text: str, random: Random) -> str:
    lines = text.splitlines()
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(lines))
        kind = random.randrange(6)
        if kind == 0:
            lines.insert(at, random.choice(lines))
        elif kind == 1 and len(lines) > 1:
            del lines[at]
        elif kind == 2:
            lines[at] = random.choice(("  ", "\t", " ")) + lines[at]
        elif kind == 3:
            lines[at] = lines[at].lstrip()
        elif kind == 4:
            words = lines[at].split(" ")
            words[random.randrange(len(words))] = random.choice(
                (*FRAGMENTS, *map(str, VALUES), *KEYS)
            )
            lines[at] = " ".join(words)
        else:
            other = random.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
    return "\n".join(lines) + "\n"


def _mutate_tree(tree: Any, random: Random) -> None:
    holders = list(_holders(tree))
    holder = random.choice(holders)
    if isinstance(holder, list):
        if holder and random.random() < 0.7:
            holder[random.randrange(len(holder))] = copy.deepcopy(random.choice(VALUES))
        else:
            holder.insert(random.randrange(len(holder) + 1), copy.deepcopy(random.choice(VALUES)))
        return
    kind = random.random()
    if kind < 0.45 and holder:
        holder[random.choice(list(holder))] = copy.deepcopy(random.choice(VALUES))
    elif kind < 0.55 and holder:
        del holder[random.choice(list(holder))]
    elif kind < 0.65 and holder:
        old = random.choice(list(holder))
        holder[random.choice(KEYS)] = holder.pop(old)
    elif kind < 0.7 and holder:
        other = random.choice(holders)
        holder[random.choice(list(holder))] = copy.deepcopy(other)
    else:
        # Most keys are hyperparameters, so they go where these belong.
        space = tree.get("param_space")
        target = space if isinstance(space, dict) and random.random() < 0.7 else holder
        target[random.choice(KEYS)] = copy.deepcopy(random.choice(VALUES))


def _set_hyperparameter(tree: Any, random: Random) -> None:
    """Give a key of the algorithm a value of about the right kind, so that many are accepted."""
    algorithm, space = tree.get("algorithm"), tree.setdefault("param_space", {})
    if not isinstance(algorithm, str) or algorithm not in algorithms():
        return
    if not isinstance(space, dict):
        return
    known = defaults(algorithm)
    key = random.choice(list(known))
    if isinstance(known[key], dict):
        inner = random.choice(list(known[key]))
        below = space.setdefault(key, {})
        if isinstance(below, dict) and "choice" not in below:
            below[inner] = _near(known[key][inner], random)
    else:
        space[key] = _near(known[key], random)


def _near(usual: Any, random: Random) -> Any:
    if isinstance(usual, bool):
        return random.choice((True, False, {"grid_search": [True, False]}))
    if isinstance(usual, int):
        whole = max(0, usual + random.choice((-1, 1, 7, 100)))
        return random.choice((whole, usual * 2, {"grid_search": [usual, whole]}))
    if isinstance(usual, float):
        return random.choice((usual / 3, usual * 3, {"grid_search": [usual, usual / 2]}, 0, 1))
    return copy.deepcopy(random.choice((usual, *VALUES)))


def _holders(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _holders(value)
    elif isinstance(tree, list):
        yield tree
        for value in tree:
            yield from _holders(value)
