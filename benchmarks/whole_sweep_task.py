"""The work of `whole_sweep.py`: one sweep with a confirmation, the same for every contestant.

PPO on CartPole-v1. Four hyperparameters are searched that do not change how much there is to
compute, so a part of the configurations costs a part of the time, whatever was drawn.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ENVIRONMENT = "CartPole-v1"
ENVS, STEPS, MINIBATCH, EPOCHS, HIDDENS = 8, 128, 128, 8, [64, 64]
# Searched: the range, and whether it is logarithmic. `DEFAULTS` are RLlib's, for everyone.
SPACE: Mapping[str, tuple[float, float, bool]] = {
    "lr": (1e-5, 1e-2, True),
    "gamma": (0.9, 0.999, False),
    "lambda_": (0.8, 1.0, False),
    "clip_param": (0.1, 0.4, False),
}
DEFAULTS = {"lr": 5e-5, "gamma": 0.99, "lambda_": 1.0, "clip_param": 0.3}
FIRST_FRESH_SEED, FIRST_FURTHER_SEED = 1_000, 100_000


@dataclass(frozen=True)
class Work:
    """How much there is to do.

    Attributes:
        configurations: that are searched.
        seeds: each of them is trained with.
        env_steps: of each training.
        finalists: that are trained again; the defaults are too.
        confirm_seeds: each of them is trained again with.
        cores: on which all of it happens.
        search_episodes: by which a training of the search is judged, at its end.
        confirm_episodes: by which a training of the confirmation is judged.
    """

    configurations: int
    seeds: int
    env_steps: int
    finalists: int
    confirm_seeds: int
    cores: int
    search_episodes: int = 20
    confirm_episodes: int = 100

    @property
    def searched(self) -> int:
        """Trainings of the search."""
        return self.configurations * self.seeds

    @property
    def confirmed(self) -> int:
        """Trainings of the confirmation."""
        return (self.finalists + 1) * self.confirm_seeds

    def to_json(self) -> str:
        """For a contestant's command line."""
        return json.dumps(dataclasses.asdict(self))


def read_work(text: str) -> Work:
    """Read what `Work.to_json` wrote."""
    return Work(**json.loads(text))


def mark(moment: str) -> None:
    """Tell whoever measures that a part of the work begins or is over."""
    print(f"mark {moment}", flush=True)


def answer(**found: Any) -> None:
    """Tell whoever measures what came of it."""
    json.dump(found, sys.stdout)
    print(flush=True)
