"""The record of every pair fits its trainer, and nothing else knows an algorithm by its name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import sweeper
from sweeper.errors import ConfigurationRefusedError
from sweeper.search.distributions import parse_space
from sweeper.spec.keys.descriptions import describe_key
from sweeper.spec.keys.names import algorithms, default, defaults, domain
from sweeper.spec.keys.param_space import check_param_space
from sweeper.spec.keys.support import BACKENDS, find_support, supports
from sweeper.trainables.torch_backend.architecture import MODEL_CONFIG_DEFAULTS
from sweeper.trainables.torch_backend.dqn import settings as dqn_settings
from sweeper.trainables.torch_backend.ppo import settings as ppo_settings
from sweeper.trainables.torch_backend.replay.settings import PRIORITISED, REPLAY_DEFAULTS

PACKAGE = Path(sweeper.__file__).parent
# Shipped with a model, without the package.
STANDALONE = {"agents/torch_policy/policy.py"}


def _compared_texts(node: ast.expr | ast.pattern) -> Iterator[str]:
    """Texts that a comparison, a pattern or the keys of a literal mapping decide by."""
    if isinstance(node, ast.Compare):
        parts = [node.left, *node.comparators]
    elif isinstance(node, ast.Dict):
        parts = [key for key in node.keys if isinstance(key, ast.Constant)]
    elif isinstance(node, ast.MatchValue):
        parts = [node.value]
    else:
        return
    for part in parts:
        is_collection = isinstance(part, ast.Tuple | ast.List | ast.Set)
        for inner in part.elts if is_collection else [part]:
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                yield inner.value


def test_no_module_decides_by_an_algorithm_s_name() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).as_posix() not in STANDALONE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.expr | ast.pattern)
        and set(_compared_texts(node)) & set(algorithms())
    ]
    assert found == []


PAIRS = [
    (backend, name) for backend in BACKENDS for name in algorithms() if supports(backend, name)
]


@pytest.mark.parametrize(("backend", "algorithm"), PAIRS)
def test_every_pair_has_a_record_and_a_trainer(backend: str, algorithm: str) -> None:
    support = find_support(backend, algorithm)
    assert (support.backend, support.algorithm) == (backend, algorithm)
    module, _, name = support.trainer.partition(":")
    tree = ast.parse((PACKAGE.parent / f"{module.replace('.', '/')}.py").read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    known = defaults(algorithm, backend)
    assert set(known) == (set(defaults(algorithm)) if support.keys is None else support.keys)
    assert set(known["model_config"]) >= (support.network or set()) | set(support.extensions)
    assert support.fixed | support.scheduled <= set(known)


def test_an_algorithm_without_a_record_has_rllib_s_defaults() -> None:
    support = find_support("rllib", "CQL")
    assert (support.backend, support.algorithm, support.keys) == ("rllib", "CQL", None)


def test_a_pair_that_is_not_supported_has_the_facts_of_its_backend_and_its_algorithm() -> None:
    support = find_support("torch", "SAC")
    assert not supports("torch", "SAC")
    assert support.trains_replicas_together
    assert support.learns_from == "replay"


def test_the_networks_and_the_replay_memory_have_the_recorded_defaults() -> None:
    assert defaults("PPO", "torch")["model_config"] == MODEL_CONFIG_DEFAULTS
    assert defaults("DQN", "torch")["model_config"] == dqn_settings.DQN_DEFAULTS["model_config"]
    assert defaults("DQN", "torch")["replay_buffer_config"] == REPLAY_DEFAULTS[PRIORITISED]


@pytest.mark.parametrize(("algorithm", "settings"), [("PPO", ppo_settings), ("DQN", dqn_settings)])
def test_the_record_and_the_trainer_schedule_the_same_keys(algorithm: str, settings: Any) -> None:
    scheduled = {
        key
        for key in defaults(algorithm, "torch")
        if domain(algorithm, (key,), "torch").has_schedule
    }
    assert scheduled == set(settings.SCHEDULED_KEYS)


def _domain(key: str) -> Any:
    return domain("PPO", (key,), "torch")


@pytest.mark.parametrize("key", list(defaults("PPO", "torch")))
def test_the_trainer_takes_its_defaults(key: str) -> None:
    value = default("PPO", (key,), "torch")
    assert fields(ppo_settings.read_settings({key: value}))


@pytest.mark.parametrize(
    ("raw", "where", "message"),
    [
        ({"log_gradients": True}, "log_gradients",
         "not supported on backend torch; backend: rllib has it"),
        ({"model_config": {"use_lstm": True}}, "model_config.use_lstm",
         "not supported on backend torch; backend: rllib has it"),
        ({"num_env_runners": 2}, "num_env_runners",
         "must be 0 on backend torch; found 2; backend: rllib takes others"),
        ({"use_gae": {"choice": [True, False]}}, "use_gae.choice.1",
         "must be true on backend torch; found false; backend: rllib takes others"),
        ({"model_config": {"fcnet_activation": "GELU"}}, "model_config.fcnet_activation",
         "must be one of relu, tanh, elu, silu, swish, linear; found 'GELU'; backend: rllib "
         "takes it"),
        ({"explore": {"uniform": [0, 1]}}, "explore.uniform",
         "draws numbers, but the value must be true or false; use choice"),
        ({"clip_parm": 0.1}, "clip_parm",
         "unknown hyperparameter of PPO; did you mean clip_param?"),
    ],
)  # fmt: skip
def test_what_torch_does_not_support_is_explained(
    raw: dict[str, Any], where: str, message: str
) -> None:
    space, _ = parse_space(raw)
    found = list(check_param_space("PPO", space, "torch"))
    assert [(".".join(map(str, one.path)), one.message) for one in found] == [(where, message)]


FREE = {"free_log_std": True}
EITHER = {"free_log_std": {"choice": [True, False]}}
NEEDS_FREE = "is where a deviation of its own starts, which needs free_log_std: true"


@pytest.mark.parametrize(
    ("algorithm", "backend", "network", "message"),
    [
        ("PPO", "rllib", {"policy_head_gain": 0.01},
         "not supported on backend rllib: RLlib's PPO has no key for it; backend: torch has it"),
        ("PPO", "rllib", {"log_std_init": {"uniform": [-3.0, 0.0]}},
         "not supported on backend rllib: RLlib's PPO has no key for it; backend: torch has it"),
        ("DQN", "torch", {"value_head_gain": 1.0}, "is not for DQN: only PPO on backend torch has "
         "it"),
        ("SAC", "rllib", {"log_std_init": 0.0}, "is not for SAC: only PPO on backend torch has it"),
        ("APPO", "rllib", {"policy_head_gain": 1.0}, "is not for APPO: only PPO on backend torch "
         "has it"),
        ("PPO", "torch", {"policy_head_gian": 0.01},
         "unknown key of model_config; did you mean policy_head_gain?"),
        ("PPO", "torch", {"policy_head_gain": 0},
         "must be a number above 0 to 1000 or null; found 0"),
        ("PPO", "torch", {"value_head_gain": {"choice": [1.0, float("inf")]}},
         "must be a number above 0 to 1000 or null; found .inf"),
        ("PPO", "torch", {"policy_head_gain": {"uniform": [0.1, 2000.0]}},
         "must be a number above 0 to 1000 or null; found 2000.0"),
        ("PPO", "torch", {"log_std_init": -21.0, **FREE},
         "must be a number from -20 to 20; found -21.0"),
        ("PPO", "torch", {"log_std_init": float("nan"), **FREE},
         "must be a number from -20 to 20; found .nan"),
        ("PPO", "torch", {"log_std_init": -1.0}, NEEDS_FREE),
        ("PPO", "torch", {"log_std_init": {"uniform": [-3.0, 0.0]}}, NEEDS_FREE),
        ("PPO", "torch", {"log_std_init": -1.0, **EITHER},
         f"{NEEDS_FREE}; give it when: {{model_config.free_log_std: true}}"),
        ("PPO", "torch", {"log_std_init": {"choice": [-3.0, 0.0]}, "log_std_clip_param": 2.0,
                          **FREE},
         "must lie within plus or minus log_std_clip_param (2), or it never changes; found 3"),
        ("PPO", "torch", {"ortho_init": True}, "its name here is fcnet_kernel_initializer: "
         "orthogonal_, with policy_head_gain and value_head_gain on backend torch"),
        ("PPO", "torch", {"head_fcnet_kernel_initializer": "orthogonal_"},
         "is not for PPO: the heads keep torch's own initialisation; policy_head_gain and "
         "value_head_gain, on backend torch, draw them orthogonally"),
    ],
)  # fmt: skip
def test_a_wrong_start_of_the_heads_or_the_log_deviation_is_explained(
    algorithm: str, backend: str, network: dict[str, Any], message: str
) -> None:
    space, wrong = parse_space({"model_config": network})
    assert wrong == []
    assert [one.message for one in check_param_space(algorithm, space, backend)] == [message]


@pytest.mark.parametrize(
    "network",
    [
        {"policy_head_gain": 0.01, "value_head_gain": 1, "log_std_init": -3.29, **FREE},
        {"policy_head_gain": {"loguniform": [0.01, 1.0]}, "value_head_gain": None},
        {"policy_head_gain": {"choice": [None, 0.01, 1.0]}},
        {"log_std_init": {"uniform": [-3.0, 0.0]}, **FREE},
        {"log_std_init": 0.0},
        {"log_std_init": {"uniform": [-3.0, 0.0], "when": {"model_config.free_log_std": True}},
         **EITHER},
    ],
)  # fmt: skip
def test_the_start_of_the_heads_and_the_log_deviation_can_be_said_and_searched(
    network: dict[str, Any],
) -> None:
    space, wrong = parse_space({"model_config": network})
    assert wrong == []
    assert list(check_param_space("PPO", space, "torch")) == []


@pytest.mark.parametrize(
    ("algorithm", "key", "message"),
    [
        ("PPO", "log_std_init", "belongs to the network; its name here is "
         "model_config.log_std_init"),
        ("PPO", "policy_head_gain", "belongs to the network; its name here is "
         "model_config.policy_head_gain"),
        ("PPO", "ortho_init", "its name here is model_config.fcnet_kernel_initializer: "
         "orthogonal_, with policy_head_gain and value_head_gain on backend torch"),
        ("PPO", "use_sde", "not a hyperparameter: there is no state-dependent exploration"),
    ],
)  # fmt: skip
def test_stable_baselines_names_of_them_are_answered_with_ours(
    algorithm: str, key: str, message: str
) -> None:
    for backend in BACKENDS:
        found = list(check_param_space(algorithm, {key: True}, backend))
        assert [one.message for one in found] == [message]


@pytest.mark.parametrize(
    ("algorithm", "backend", "key", "value", "message"),
    [
        ("DQN", "torch", "num_epochs", 4, "must be 1 for DQN; found 4"),
        ("DQN", "rllib", "num_epochs", 4, "must be 1 for DQN; found 4"),
        ("DQN", "rllib", "burn_in_len", 4, "must be 0 for DQN; found 4"),
        ("SAC", "rllib", "minibatch_size", 32, "must be null for SAC; found 32"),
        ("SAC", "rllib", "shuffle_batch_per_epoch", True, "must be false for SAC; found true"),
        ("IMPALA", "rllib", "vtrace", False, "must be true for IMPALA; found false"),
        ("APPO", "rllib", "vtrace", False, "must be true for APPO; found false"),
        ("APPO", "rllib", "target_worker_clipping", 1.5,
         "RLlib accepts this key and ignores it: the ratio of behaviour to target policy is cut "
         "at 2"),
        ("APPO", "rllib", "target_network_update_freq", -0.5,
         "must be a number from 0 on; found -0.5"),
        ("SAC", "rllib", "target_network_update_freq", 0.5,
         "must be a whole number from 0 on; found 0.5"),
        ("DQN", "rllib", "target_network_update_freq", 0.5,
         "must be a whole number from 0 on; found 0.5"),
    ],
)  # fmt: skip
def test_what_rllib_ignores_or_refuses_is_an_error(
    algorithm: str, backend: str, key: str, value: object, message: str
) -> None:
    found = list(check_param_space(algorithm, {key: value}, backend))
    assert [one.message for one in found] == [message]
    usual = default(algorithm, (key,), backend)
    if key in defaults(algorithm, backend):
        assert not list(check_param_space(algorithm, {key: usual}, backend))


@pytest.mark.parametrize("raw", [0.125, 4, {"loguniform": [0.125, 4.0]}, {"choice": [0.5, 2]}])
def test_appo_counts_its_target_updates_in_passes_of_its_buffer(raw: object) -> None:
    key = "target_network_update_freq"
    space, _ = parse_space({key: raw})
    assert not list(check_param_space("APPO", space, "rllib"))
    assert "0.125 to 4" in str(describe_key(key, "APPO"))
    assert describe_key(key, "DQN") == describe_key(key, "SAC") == describe_key(key)


def test_torch_takes_schedules_that_rllib_does_not() -> None:
    space = {"clip_param": [[0, 0.3], [1000, 0.1]]}
    assert not list(check_param_space("PPO", space, "torch"))
    assert list(check_param_space("PPO", space, "rllib"))


@pytest.mark.parametrize(("algorithm", "settings"), [("PPO", ppo_settings), ("DQN", dqn_settings)])
def test_every_supported_key_is_read(algorithm: str, settings: Any) -> None:
    for key in set(defaults(algorithm, "torch")) - {"model_config"}:
        with pytest.raises(ConfigurationRefusedError, match=key):
            settings.read_settings({key: object()})
