"""The recorded table of RLlib's keys is that of the installed version."""

from __future__ import annotations

import importlib.util
import inspect
import json
from pathlib import Path
from types import ModuleType

import pytest

from sweeper.environments.settings import EnvironmentSettings
from sweeper.spec.keys.names import algorithms, defaults, recorded_version
from sweeper.trainables.contract import TrialSettings

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def recorder() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "record_rllib_table", ROOT / "tools" / "record_rllib_table.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_that_of_the_installed_version(recorder: ModuleType) -> None:
    recorded = json.loads(recorder.TABLE.read_text(encoding="utf-8"))
    installed = json.loads(json.dumps(recorder.record()))
    minor = recorded_version().rpartition(".")[0]
    assert installed["ray"].rpartition(".")[0] == minor, "run tools/record_rllib_table.py"
    assert {**recorded, "ray": None} == {**installed, "ray": None}


@pytest.mark.parametrize("algorithm", algorithms())
def test_every_key_that_a_spec_may_set_reaches_rllib(algorithm: str) -> None:
    from sweeper.trainables.rllib_backend.trainer import build_algorithm_config

    settings = TrialSettings(
        algorithm=algorithm,
        backend="rllib",
        environment=EnvironmentSettings("CartPole-v1"),
        constants={},
        seeds=(0,),
    )
    wanted = dict(defaults(algorithm))
    config = build_algorithm_config(settings, wanted, seed=0)
    for key, value in wanted.items():
        if key == "model_config":
            continue
        reached = getattr(config, key)
        plain = json.loads(json.dumps(reached))
        assert plain == value, key


def test_rllib_ignores_and_refuses_what_the_records_say() -> None:
    """By its source, for it says so nowhere else; the records of `keys.support` cite the places."""
    from ray.rllib.algorithms.appo import APPOConfig, appo_learner
    from ray.rllib.algorithms.appo.torch import appo_torch_learner
    from ray.rllib.algorithms.dqn import DQN
    from ray.rllib.algorithms.impala import IMPALAConfig
    from ray.rllib.algorithms.sac import SAC

    for algorithm in (DQN, SAC):
        source = inspect.getsource(algorithm._training_step_new_api_stack)
        assert "learner_group.update(" in source
        for key in ("num_epochs", "minibatch_size", "shuffle_batch_per_epoch"):
            assert key not in source
    for config in (APPOConfig(), IMPALAConfig()):
        with pytest.raises(ValueError, match="vtrace=False"):
            config.environment("CartPole-v1").training(vtrace=False).validate()
    for module in (appo_learner, appo_torch_learner):
        assert "target_worker_clipping" not in inspect.getsource(module)
    unit = (
        "config.target_network_update_freq * config.circular_buffer_num_batches * "
        "config.circular_buffer_iterations_per_batch * config.train_batch_size_per_learner"
    )
    assert unit in " ".join(inspect.getsource(appo_learner).split())


def test_an_lstm_has_rllib_s_default_sequence_length() -> None:
    from sweeper.trainables.rllib_backend.trainer import build_algorithm_config

    settings = TrialSettings(
        algorithm="PPO",
        backend="rllib",
        environment=EnvironmentSettings("CartPole-v1"),
        constants={},
        seeds=(0,),
    )
    config = build_algorithm_config(settings, {"model_config": {"use_lstm": True}}, seed=0)
    assert config.model_config["max_seq_len"] == defaults("PPO")["model_config"]["max_seq_len"]
