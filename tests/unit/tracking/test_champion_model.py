"""The champion's model in MLflow: saved in our steps, loaded in MLflow's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from space_envs import OBSERVATIONS

from sweeper.agents.reading import read_agent
from sweeper.environments.settings import EnvironmentSettings
from sweeper.tracking.champion import _save
from sweeper.tracking.destination import import_mlflow
from sweeper.tracking.model_signature import example_of
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.torch_backend.ppo.trainer import TorchPPOTrainer

OBSERVATIONS["plain"] = spaces.Dict(
    {"position": spaces.Box(-1, 1, (2,), np.float64), "goal": spaces.Discrete(3)}
)
FORMS = (
    *("float64", "bytes", "integers", "byte image", "float image, channels first"),
    *("Discrete from 3", "MultiDiscrete from 1", "Tuple", "Tuple of a Dict"),
    *("Dict in an order of its own", "plain"),
)


def _agent(folder: Path, form: str) -> Path:
    """An untrained agent that sees observations of a kind."""
    environment = EnvironmentSettings(
        "AnySpaces-v0", kwargs={"observations": form}, module="space_envs"
    )
    small = {"model_config": {"fcnet_hiddens": [4]}, "train_batch_size_per_learner": 16}
    if "image" in form:
        small["model_config"]["conv_filters"] = [[4, 4, 2]]  # type: ignore[index]
    settings = TrialSettings("PPO", "torch", environment, {}, seeds=(0,))
    trainer = TorchPPOTrainer(settings, {**small, "minibatch_size": 16})
    (folder / "agent").mkdir()
    trainer.save(folder / "agent")
    trainer.close()
    return folder / "agent"


def _saved(folder: Path, form: str) -> tuple[Path, Path]:
    """The agent, and its model."""
    agent = _agent(folder, form)
    logged = SimpleNamespace(artifact_location=folder.as_uri(), model_id=f"m-{'0' * 32}")
    _save(folder / "model", agent, logged, "0" * 32, {"environment": "AnySpaces-v0"})
    return agent, folder / "model"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("form", FORMS)
def test_it_takes_what_the_environment_gives(tmp_path: Path, form: str) -> None:
    space: spaces.Space[Any] = OBSERVATIONS[form]
    space.seed(1)
    folder, saved = _saved(tmp_path, form)
    agent = read_agent(folder)
    model = import_mlflow().pyfunc.load_model(str(saved))
    one = space.sample()
    action = model.predict(one)
    assert action == agent.act(one)
    assert np.shape(action) == ()
    batched = batch_space(space, 3)
    batched.seed(2)
    batch = batched.sample()
    assert model.predict(batch).tolist() == agent.act(batch).tolist()
    if isinstance(space, spaces.Dict | spaces.Tuple):
        flat = spaces.flatten(space, one)
        assert model.predict(flat) == action
        assert model.predict([one, one]).tolist() == [action, action]
    else:
        as_list = np.asarray(one).tolist()
        assert model.predict(as_list) == action
    assert len(model.predict(example_of(space))) == 1
    assert model.metadata.signature is not None
    assert model.metadata.metadata == {"environment": "AnySpaces-v0"}


def test_what_it_can_t_take_is_refused_in_a_sentence_with_the_recipe(tmp_path: Path) -> None:
    mlflow = import_mlflow()
    _, saved = _saved(tmp_path, "Tuple")
    model = mlflow.pyfunc.load_model(str(saved))
    for wrong in (np.zeros(7), (1, [0.5], 2), (1, [np.nan, 0.0]), ("a", [0.0, 0.0]), [[1], [1, 2]]):
        with pytest.raises(mlflow.MlflowException, match=r"can't take this observation: ") as info:
            model.predict(wrong)
        assert "gymnasium.spaces.flatten" in str(info.value)
        assert "Tuple(Discrete, int32[2])" in str(info.value)


def test_its_file_says_what_it_takes_and_needs_neither_sweeper_nor_ray(tmp_path: Path) -> None:
    _, saved = _saved(tmp_path, "plain")
    document = yaml.safe_load((saved / "MLmodel").read_text())
    names = [spec["name"] for spec in json.loads(document["signature"]["inputs"])]
    assert names == ["goal", "position"]
    requirements = (saved / "requirements.txt").read_text()
    assert "ray" not in requirements
    assert all("==" in line for line in requirements.splitlines())
    code = (
        "import sys\n"
        "for name in ('sweeper', 'ray', 'torch'): sys.modules[name] = None\n"
        "import mlflow, numpy\n"
        f"model = mlflow.pyfunc.load_model({str(saved)!r})\n"
        "print(model.predict({'position': numpy.zeros(2), 'goal': 2}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in {"0", "1", "2", "3"}


@pytest.mark.parametrize(
    "form", ["Dict", "Dict in an order of its own", "Tuple", "Tuple of a Dict"]
)
def test_the_example_of_a_structure_is_an_observation_of_it(form: str) -> None:
    """All zeros are not: they choose nothing of a Discrete, and RLlib's agents refuse them."""
    space = OBSERVATIONS[form]
    (row,) = example_of(space)
    assert space.contains(spaces.unflatten(space, row))
