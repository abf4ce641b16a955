"""Every environment of the table, with both algorithms on both backends.

A case is planned as a spec, and trained as its trials would be: in this process, without Tune, for
an iteration. ``AnySpaces-v0`` raises an error for an action outside of its space.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from environment_table import SEEN_BY_TORCH, TABLE, Case
from gymnasium.vector.utils import concatenate, create_empty_array
from space_envs import OBSERVATIONS

from sweeper.agents.reading import read_agent
from sweeper.environments.building import build_env
from sweeper.environments.spaces import build_observation_encoder
from sweeper.errors import ConfigurationRefusedError, SpecError
from sweeper.planning.plan import SweepPlan, build_plan
from sweeper.planning.settings import trial_settings
from sweeper.search.configuration import merge_configuration
from sweeper.spec import ExperimentSpec, load_spec
from sweeper.trainables.contract import (
    MAX_EPISODE_STEPS,
    EvaluationResult,
    ReplicaProgress,
    TrialSettings,
)
from sweeper.trainables.seeding import Purpose, derive_seed
from sweeper.trainables.trainers import trainer_class

pytestmark = pytest.mark.usefixtures("ray_cluster", "_forgotten_games")

SEEDS = {"torch": [3, 8], "rllib": [3]}  # replicas of RLlib are trained one after the other
EPISODES = 3
TRAINING = {
    "PPO": {"train_batch_size_per_learner": 32, "minibatch_size": 32, "num_epochs": 1},
    "DQN": {
        "min_sample_timesteps_per_iteration": 32,
        "num_steps_sampled_before_learning_starts": 16,
        "train_batch_size_per_learner": 8,
        "rollout_fragment_length": 4,
        "training_intensity": 2,
        "replay_buffer_config": {"capacity": 2000},
    },
}
PAIRS = [(algorithm, backend) for backend in ("torch", "rllib") for algorithm in ("PPO", "DQN")]


@dataclass(frozen=True)
class Task:
    """A case, with an algorithm on a backend."""

    case: Case
    algorithm: str
    backend: str

    def __str__(self) -> str:
        return f"{self.algorithm}-{self.backend}-{self.case}"

    @property
    def refusal(self) -> str | None:
        return self.case.refusal(self.algorithm, self.backend)

    def write_spec(self, folder: Path) -> ExperimentSpec:
        evaluation: dict[str, Any] = {"episodes": EPISODES}
        if self.case.max_episode_steps is not None:
            evaluation["max_episode_steps"] = self.case.max_episode_steps
        spec = {
            "environment": dict(self.case.environment),
            "algorithm": self.algorithm,
            "backend": self.backend,
            "seeds": SEEDS[self.backend],
            "param_space": {
                **TRAINING[self.algorithm],
                "num_envs_per_env_runner": 2,
                "model_config": {"fcnet_hiddens": [4], **self.case.model_config},
            },
            "stop": {"num_env_steps_sampled_lifetime": 64},
            "evaluation": evaluation,
        }
        path = folder / "spec.yaml"
        path.write_text(json.dumps(spec), encoding="utf-8")
        return load_spec(path)


# A task takes RLlib a second, and these need more than its own connectors.
FAST_ON_RLLIB = {
    "sees bytes", "sees byte image, channels first", "sees MultiDiscrete from 1", "sees Dict",
    "sees a number", "sees Text", "acts in Discrete from -2, int32", "acts in rank 0",
    "acts in half bounded", "acts in integers", "episodes of endless", "Blackjack",
}  # fmt: skip


# RLlib's connectors are the same for both of its algorithms, so one is enough for most cases.
FAST_WITH_DQN_ON_RLLIB = {"sees Dict", "acts in Discrete from -2, int32"}


def is_fast(case: Case, algorithm: str, backend: str) -> bool:
    if case.name == "CarRacing" or backend == "torch":
        return case.name != "CarRacing"
    is_alike = algorithm == "DQN" and case.refusal(algorithm, backend) is None
    return case.name in (FAST_WITH_DQN_ON_RLLIB if is_alike else FAST_ON_RLLIB)


def tasks(*, refused: bool | None = None) -> list[Any]:
    """The tasks of the table; the slow ones are left to the acceptance tier."""
    return [
        pytest.param(
            Task(case, algorithm, backend),
            id=str(Task(case, algorithm, backend)),
            marks=[] if is_fast(case, algorithm, backend) else [pytest.mark.acceptance],
        )
        for algorithm, backend in PAIRS
        for case in TABLE
        if refused in (None, case.refusal(algorithm, backend) is not None)
    ]


@pytest.fixture(scope="module")
def _forgotten_games() -> Iterator[None]:
    """Other tests expect messages that name no Atari game."""
    yield
    for name in [one for one, spec in gymnasium.registry.items() if "ale_py" in str(spec)]:
        del gymnasium.registry[name]


def import_needs(case: Case) -> None:
    for name in case.needs:
        module = pytest.importorskip(name)
        if name == "ale_py" and "ALE/Pong-v5" not in gymnasium.registry:
            importlib.reload(module)


def unplanned_settings(spec: ExperimentSpec) -> TrialSettings:
    """What the trials of a spec would get if no plan refused it."""
    plan = SweepPlan(spec=spec, trials=1, replicas=len(spec.seeds), env_steps=None, concurrent=1)
    return trial_settings(plan)


def make_trainer(settings: TrialSettings) -> Any:
    return trainer_class(settings)(settings, merge_configuration(settings.constants, {}))


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("task", tasks(refused=True))
def test_what_the_plan_refuses_the_trainer_refuses_too(task: Task, tmp_path: Path) -> None:
    import_needs(task.case)
    spec = task.write_spec(tmp_path)
    with pytest.raises(SpecError) as refused:
        build_plan(spec)
    (problem,) = refused.value.problems
    assert re.search(task.refusal, str(problem)), problem
    with pytest.raises(ConfigurationRefusedError):
        make_trainer(unplanned_settings(spec)).train()


# --- what is accepted --------------------------------------------------------------------------


@dataclass(frozen=True)
class Journey:
    """What became of an accepted task."""

    plan: SweepPlan
    settings: TrialSettings
    progress: list[ReplicaProgress]
    evaluated: list[EvaluationResult]
    again: list[EvaluationResult]
    checkpoint: Path


@pytest.fixture(scope="module")
def journey(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """A task is planned, trained, evaluated, saved, loaded and evaluated again."""
    task: Task = request.param
    import_needs(task.case)
    folder = tmp_path_factory.mktemp("journey")
    plan = build_plan(task.write_spec(folder))
    settings = trial_settings(plan)
    trainer = make_trainer(settings)
    try:
        progress = trainer.train()
        evaluated = trainer.evaluate()
        state = json.loads(json.dumps(trainer.save(folder)))
    finally:
        trainer.close()
    restored = make_trainer(settings)
    try:
        restored.restore(folder, state)
        again = restored.evaluate()
    finally:
        restored.close()
    return Journey(plan, settings, progress, evaluated, again, folder)


accepted = pytest.mark.parametrize("journey", tasks(refused=False), indirect=True)


@accepted
def test_it_is_planned_trained_saved_loaded_and_played(journey: Journey) -> None:
    check_plan(journey)
    for progress in journey.progress:
        assert progress.env_steps >= 32
        assert progress.learner
        assert not progress.diverged
    for result in journey.evaluated:
        assert len(result.episode_returns) == EPISODES
        assert min(result.episode_lengths) > 0
    assert journey.again == journey.evaluated
    for replica, result in enumerate(journey.evaluated):
        played = play(journey, replica)
        assert [length for _, length in played] == list(result.episode_lengths)
        returns = [total for total, _ in played]
        assert returns == pytest.approx(result.episode_returns, rel=1e-3, abs=1e-3)


def check_plan(journey: Journey) -> None:
    plan, env = journey.plan, build_env(journey.settings.environment)
    assert (plan.trials, plan.replicas) == (1, len(journey.settings.seeds))
    assert plan.time_limit == (env.spec and env.spec.max_episode_steps)
    cap = journey.settings.evaluation.max_episode_steps
    if plan.time_limit is None:
        assert 0 < cap <= MAX_EPISODE_STEPS
    assert (plan.replay is not None) == plan.spec.support.has_own_replay
    env.close()


def play(journey: Journey, replica: int) -> list[tuple[float, int]]:
    """What the saved agent earns in an evaluation's episodes, and how long they are."""
    settings = journey.settings
    seed, folder = settings.seeds[replica], journey.checkpoint
    is_torch = settings.backend == "torch"
    place = (folder, replica) if is_torch else (folder / f"replica_{seed}",)
    agent = read_agent(*place, trust=True)
    environment = settings.evaluation.fix_episodes(settings.environment)
    first, played = derive_seed(seed, settings.stage, Purpose.EVALUATION_ENVIRONMENTS), []
    for episode in range(EPISODES):
        # A new one each time: in a used BipedalWalker the same seed begins another episode.
        env = build_env(environment)
        observation, _ = env.reset(seed=first + episode)
        total, steps, has_ended = 0.0, 0, False
        while not has_ended:
            observation, reward, terminated, truncated, _ = env.step(agent.act(observation))
            total, steps, has_ended = total + float(reward), steps + 1, terminated or truncated
        env.close()
        played.append((total, steps))
    return played


# --- what the networks see ---------------------------------------------------------------------


@pytest.mark.parametrize("name", SEEN_BY_TORCH)
def test_an_observation_is_encoded_as_gymnasium_flattens_it(name: str) -> None:
    space = OBSERVATIONS[name]
    space.seed(7)
    samples = [space.sample() for _ in range(20)]
    batch = concatenate(space, samples, create_empty_array(space, len(samples)))
    encoded = build_observation_encoder(space).encode(batch)
    if "channels first" in name:
        encoded = encoded.transpose(0, 3, 1, 2)
    flat = np.stack([gymnasium.spaces.flatten(space, sample) for sample in samples])
    np.testing.assert_array_equal(encoded.reshape(len(samples), -1), flat.astype(np.float32))
