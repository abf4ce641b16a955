"""The table of keys that the torch backend carries out is that of the trainer that reads them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from sweeper.errors import ConfigurationRefusedError
from sweeper.search.expansion import parse_space
from sweeper.spec.keys.checks import check_param_space
from sweeper.spec.keys.names import default, defaults, domain
from sweeper.spec.keys.support import key_table
from sweeper.trainables.torch_backend.architecture import MODEL_CONFIG_DEFAULTS
from sweeper.trainables.torch_backend.dqn import settings as dqn_settings
from sweeper.trainables.torch_backend.ppo import settings as ppo_settings

# A spec decides these elsewhere.
ELSEWHERE = {"metrics_num_episodes_for_smoothing"}


def test_ppo_s_keys_and_defaults_are_the_trainer_s() -> None:
    theirs = {
        key: value for key, value in ppo_settings.PPO_DEFAULTS.items() if key not in ELSEWHERE
    }
    ours = defaults("PPO", "torch")
    assert set(ours) == set(theirs)
    for key, value in theirs.items():
        assert ours[key] == value, key
    assert set(ours["model_config"]) == set(MODEL_CONFIG_DEFAULTS)


def test_dqn_s_keys_and_defaults_are_the_trainer_s() -> None:
    theirs = {
        key: value for key, value in dqn_settings.DQN_DEFAULTS.items() if key not in ELSEWHERE
    }
    ours = defaults("DQN", "torch")
    assert set(ours) == set(theirs)
    for key, value in theirs.items():
        # YAML has no tuples for the points of a schedule.
        points = [list(point) for point in value] if key == "epsilon" else value
        assert ours[key] == points, key


@pytest.mark.parametrize(
    ("algorithm", "settings", "defaults_of"),
    [
        ("PPO", ppo_settings, ppo_settings.PPO_DEFAULTS),
        ("DQN", dqn_settings, dqn_settings.DQN_DEFAULTS),
    ],
)
def test_schedules_and_fixed_keys_are_the_trainer_s(
    algorithm: str, settings: Any, defaults_of: Any
) -> None:
    table = key_table("torch", algorithm)
    scheduled = {
        key
        for key in defaults(algorithm, "torch")
        if domain(algorithm, (key,), "torch").has_schedule
    }
    assert scheduled == set(settings.SCHEDULED_KEYS)
    assert table.fixed == {key: defaults_of[key] for key in table.fixed}


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
         "not carried out on backend torch; backend: rllib has it"),
        ({"model_config": {"use_lstm": True}}, "model_config.use_lstm",
         "not carried out on backend torch; backend: rllib has it"),
        ({"num_env_runners": 2}, "num_env_runners",
         "must be 0 on backend torch; found 2; backend: rllib takes others"),
        ({"use_gae": {"choice": [True, False]}}, "use_gae.choice.1",
         "must be true on backend torch; found false; backend: rllib takes others"),
        ({"model_config": {"fcnet_activation": "GELU"}}, "model_config.fcnet_activation",
         "must be one of relu, tanh, elu, silu, swish, linear; found 'GELU'; backend: rllib "
         "takes it"),
        ({"clip_parm": 0.1}, "clip_parm",
         "unknown hyperparameter of PPO; did you mean clip_param?"),
    ],
)  # fmt: skip
def test_what_torch_does_not_carry_out_is_said(
    raw: dict[str, Any], where: str, message: str
) -> None:
    space, _ = parse_space(raw)
    found = list(check_param_space("PPO", space, "torch"))
    assert [(".".join(map(str, one.path)), one.message) for one in found] == [(where, message)]


def test_torch_takes_schedules_that_rllib_does_not() -> None:
    space = {"clip_param": [[0, 0.3], [1000, 0.1]]}
    assert not list(check_param_space("PPO", space, "torch"))
    assert list(check_param_space("PPO", space, "rllib"))


@pytest.mark.parametrize(("algorithm", "settings"), [("PPO", ppo_settings), ("DQN", dqn_settings)])
def test_every_key_that_is_taken_is_read(algorithm: str, settings: Any) -> None:
    for key in set(defaults(algorithm, "torch")) - {"model_config"}:
        with pytest.raises(ConfigurationRefusedError, match=key):
            settings.read_settings({key: object()})
