"""An agent acts on every form of an observation that training takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from sweeper.environments.settings import EnvironmentSettings
from sweeper.evidence.evaluation import evaluate
from sweeper.opened_agent import load_agent
from sweeper.tracking.champion import describe_torch_agent
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.torch_backend.ppo.trainer import TorchPPOTrainer

PAIR = spaces.Tuple([spaces.Discrete(3), spaces.Box(0, 1, (2,), np.float32)])
SPACES: dict[str, spaces.Space[Any]] = {
    "pair": PAIR,
    "pair in a dict": spaces.Dict({"a": PAIR, "b": spaces.Discrete(2)}),
    "pair in a pair": spaces.Tuple([PAIR, spaces.Discrete(2)]),
    "numbers": spaces.Box(0, 1, (2,), np.float32),
}
# As lists, which gymnasium's spaces do not contain.
OBSERVATIONS: dict[str, Any] = {
    "pair": [1, [0.5, 0.25]],
    "pair in a dict": {"a": [1, [0.5, 0.25]], "b": 1},
    "pair in a pair": [[1, [0.5, 0.25]], 1],
    "numbers": [0.5, 0.25],
}


class Listing(gymnasium.Env[Any, Any]):
    """Shows lists."""

    action_space = spaces.Discrete(2)

    def __init__(self, form: str) -> None:
        self.observation_space, self._shown = SPACES[form], OBSERVATIONS[form]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.left = 5
        return self._shown, {}

    def step(self, action: Any) -> Any:
        self.left -= 1
        return self._shown, 1.0, self.left == 0, False, {}


@pytest.fixture
def listing() -> Iterator[None]:
    gymnasium.register("Listing-v0", Listing)
    yield
    del gymnasium.registry["Listing-v0"]


@pytest.mark.usefixtures("listing")
@pytest.mark.parametrize("form", list(SPACES))
def test_lists_in_the_place_of_tuples_and_arrays_can_be_played(tmp_path: Path, form: str) -> None:
    settings = TrialSettings(
        "PPO", "torch", EnvironmentSettings("Listing-v0", kwargs={"form": form}), {}, seeds=(0,)
    )
    configuration = {
        "train_batch_size_per_learner": 16,
        "minibatch_size": 16,
        "num_epochs": 1,
        "model_config": {"fcnet_hiddens": [4]},
    }
    trainer = TorchPPOTrainer(settings, configuration)
    trainer.train()
    trainer.save(tmp_path)
    trainer.close()
    assert evaluate(str(tmp_path), "runs", episodes=3, trust=True).agents[0].returns == (5.0,) * 3
    agent = load_agent(tmp_path)
    described, actions = describe_torch_agent(tmp_path)
    acted = agent.policy.act(described)
    assert (acted.shape, acted.dtype) == (actions.shape, actions.dtype)
    flat = spaces.flatten(SPACES["pair"], (1, np.array([0.5, 0.25], np.float32)))
    if form == "pair":
        assert agent.act(list(flat)) == agent.act(flat) == agent.act(OBSERVATIONS[form])
