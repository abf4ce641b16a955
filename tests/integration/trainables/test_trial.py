"""The Tune Trainable: stop, evaluation, checkpoints, errors, logs, resources.

Trials with real trainers are tested in `test_conformance.py`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import ConfigurationRefusedError
from sweeper.metrics import Objective
from sweeper.trainables.contract import (
    EvaluationResult,
    EvaluationSettings,
    ReplicaProgress,
    TrialDivergedError,
    TrialSettings,
)
from sweeper.trainables.plateau import Plateau

pytestmark = pytest.mark.usefixtures("ray_cluster")

Factory = Callable[..., Any]

CONSTANTS = {
    "train_batch_size_per_learner": 64,
    "minibatch_size": 32,
    "num_epochs": 1,
    "model_config": {"fcnet_hiddens": [8], "vf_share_layers": True},
}


def make_settings(**given: Any) -> TrialSettings:
    defaults = {
        "algorithm": "PPO",
        "backend": "rllib",
        "environment": EnvironmentSettings("CartPole-v1"),
        "constants": CONSTANTS,
        "seeds": (0,),
        "stop": {"num_env_steps_sampled_lifetime": 150},
    }
    return TrialSettings(**(defaults | given))


class ScriptedTrainer:
    """A trainer without RLlib whose class attributes say what it reports."""

    steps_per_iteration = 100
    returns: Callable[[int], tuple[float, ...]] = staticmethod(lambda iteration: (1.0,))
    error: BaseException | None = None

    def __init__(self, settings: TrialSettings, configuration: dict[str, Any]) -> None:
        self.configuration = configuration
        self.replicas = len(settings.seeds)
        self.iteration = self.evaluations = 0
        self.closed = False

    def train(self) -> list[ReplicaProgress]:
        if self.error is not None:
            raise self.error
        self.iteration += 1
        returns = self.returns(self.iteration)
        steps = self.iteration * self.steps_per_iteration
        lengths = (1,) * len(returns)
        return [ReplicaProgress(steps, returns, lengths, {})] * self.replicas

    def evaluate(self) -> list[EvaluationResult]:
        self.evaluations += 1
        return [EvaluationResult((float(self.evaluations),), (1,))] * self.replicas

    def save(self, folder: Path) -> dict[str, Any]:
        return {"iteration": self.iteration, "evaluations": self.evaluations}

    def restore(self, folder: Path, state: dict[str, Any], *, branch: int | None = None) -> None:
        self.iteration, self.evaluations = state["iteration"], state["evaluations"]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def make_trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Factory]:
    """A factory of trials in this process; ``scripted`` ones without RLlib."""
    from sweeper.trainables.trial import trial_class

    made = []

    def make(scripted: type[ScriptedTrainer] | None = None, config: Any = None, **given: Any):
        if scripted is not None:
            monkeypatch.setattr("sweeper.trainables.rllib_backend.trainer.RLlibTrainer", scripted)
        trial = trial_class(make_settings(**given), tmp_path)(config=config or {})
        made.append(trial)
        return trial

    yield make
    for trial in made:
        trial.stop()
        shutil.rmtree(trial.logdir, ignore_errors=True)


def rows_until_done(trial: Any, limit: int = 50) -> list[dict[str, Any]]:
    rows = []
    while not rows or not rows[-1]["done"]:
        assert len(rows) < limit
        rows.append(trial.train())
    return rows


def test_it_evaluates_and_checkpoints_when_multiples_are_crossed_and_at_the_end(
    make_trial: Factory,
) -> None:
    trial = make_trial(
        ScriptedTrainer,
        stop={"num_env_steps_sampled_lifetime": 1000},
        evaluation=EvaluationSettings(episodes=1, every_env_steps=250),
        checkpoint_every_env_steps=400,
    )
    rows = rows_until_done(trial)
    assert [row.get("evaluation/episode_return_mean") for row in rows] == [
        *(None, None, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 4.0)
    ]
    due = [index for index, row in enumerate(rows, start=1) if row.get("should_checkpoint")]
    assert due == [4, 8, 10]
    assert rows[-1]["stopped_by"] == "num_env_steps_sampled_lifetime >= 1000"
    assert [row["stopped_by"] for row in rows[:-1]] == [None] * 9


def test_a_stop_by_return_ends_with_an_evaluation_and_a_checkpoint(make_trial: Factory) -> None:
    class Improving(ScriptedTrainer):
        returns = staticmethod(lambda iteration: (10.0 * iteration,))

    trial = make_trial(
        Improving,
        stop={"num_env_steps_sampled_lifetime": 10_000, "episode_return_mean": 15},
        evaluation=EvaluationSettings(episodes=1, every_env_steps=None),
    )
    last = rows_until_done(trial)[-1]
    assert last["training_iteration"] == 2
    assert last["stopped_by"] == "episode_return_mean >= 15"
    assert last["should_checkpoint"] is True
    assert last["evaluation/episode_return_mean"] == 1.0


@pytest.mark.parametrize(
    ("stop", "stopped_by"),
    [
        ({"training_iteration": 3}, "training_iteration >= 3"),
        ({"time_total_s": 0.0}, "time_total_s >= 0"),
        ({"evaluation/episode_return_mean": 2}, "evaluation/episode_return_mean >= 2"),
    ],
)
def test_iterations_time_and_the_evaluation_stop_a_trial_too(
    make_trial: Factory, stop: dict[str, float], stopped_by: str
) -> None:
    evaluation = EvaluationSettings(episodes=1, every_env_steps=100)
    rows = rows_until_done(make_trial(ScriptedTrainer, stop=stop, evaluation=evaluation))
    assert rows[-1]["stopped_by"] == stopped_by


def test_the_configuration_is_tunes_parameters_over_the_constants(make_trial: Factory) -> None:
    trial = make_trial(ScriptedTrainer, {"lr": 0.5, "model_config": {"fcnet_hiddens": [4]}})
    trial.train()
    assert trial._trainer.configuration == {
        **CONSTANTS,
        "lr": 0.5,
        "model_config": {"fcnet_hiddens": [4], "vf_share_layers": True},
    }


def test_a_reused_process_starts_afresh(make_trial: Factory) -> None:
    trial = make_trial(ScriptedTrainer, {"lr": 0.5}, stop={"training_iteration": 2})
    first = rows_until_done(trial)
    old = trial._trainer
    assert trial.reset({"lr": 0.25})
    assert old.closed
    again = rows_until_done(trial)
    assert trial._trainer.configuration["lr"] == 0.25
    assert [row["num_env_steps_sampled_lifetime"] for row in again] == [100, 200]
    assert len(again) == len(first)


def test_a_restored_trial_continues_where_its_rows_ended(
    make_trial: Factory, tmp_path: Path
) -> None:
    stop = {"num_env_steps_sampled_lifetime": 500}
    evaluation = EvaluationSettings(episodes=1, every_env_steps=200)
    whole = rows_until_done(make_trial(ScriptedTrainer, stop=stop, evaluation=evaluation))
    trial = make_trial(ScriptedTrainer, stop=stop, evaluation=evaluation)
    trial.train(), trial.train(), trial.train()
    saved = trial.save(str(tmp_path / "checkpoint"))
    other = make_trial(ScriptedTrainer, stop=stop, evaluation=evaluation)
    other.restore(saved)
    rest = rows_until_done(other)
    timing = ("time", "date", "pid", "per_s", "iterations_since", "config", "trial_id")
    for row, expected in zip(rest, whole[3:], strict=True):
        assert {k: v for k, v in row.items() if not any(t in k for t in timing)} == {
            k: v for k, v in expected.items() if not any(t in k for t in timing)
        }
    assert rest[0]["training_iteration"] == 4
    assert rest[0]["time_total_s"] > saved.metrics["time_total_s"]


def test_a_plateau_ends_a_trial_at_the_same_step_whether_or_not_it_was_interrupted(
    make_trial: Factory, tmp_path: Path
) -> None:
    given = {
        "stop": {"num_env_steps_sampled_lifetime": 10_000},
        "plateau": Plateau("episode_return_mean", num_results=3, grace_period=5),
        "evaluation": EvaluationSettings(episodes=1, every_env_steps=1000),
    }
    whole = rows_until_done(make_trial(ScriptedTrainer, **given))
    assert len(whole) == 5
    assert whole[-1]["stopped_by"] == "plateau of episode_return_mean (std < 0.01 over 3 values)"
    assert whole[-1]["should_checkpoint"] is True
    assert whole[-1]["evaluation/episode_return_mean"] == 1.0
    trial = make_trial(ScriptedTrainer, **given)
    trial.train(), trial.train(), trial.train()
    other = make_trial(ScriptedTrainer, **given)
    other.restore(trial.save(str(tmp_path / "checkpoint")))
    assert len(rows_until_done(other)) == 2


def test_a_checkpoint_without_a_plateaus_state_can_be_restored(
    make_trial: Factory, tmp_path: Path
) -> None:
    trial = make_trial(ScriptedTrainer)
    trial.train()
    saved = trial.save(str(tmp_path / "checkpoint"))
    file = Path(saved.checkpoint.path, "trainer.json")
    state = json.loads(file.read_text())
    del state["plateau"]
    file.write_text(json.dumps(state))
    other = make_trial(ScriptedTrainer)
    other.restore(saved)
    assert [row["num_env_steps_sampled_lifetime"] for row in rows_until_done(other)] == [200]


def test_a_plateau_of_evaluations_counts_evaluations_only(make_trial: Factory) -> None:
    class Steady(ScriptedTrainer):
        def evaluate(self) -> list[EvaluationResult]:
            self.evaluations += 1
            return [EvaluationResult((7.0,), (1,))] * self.replicas

    metric = "evaluation/episode_return_mean"
    rows = rows_until_done(
        make_trial(
            Steady,
            stop={"num_env_steps_sampled_lifetime": 10_000},
            plateau=Plateau(metric, num_results=3, grace_period=0),
            evaluation=EvaluationSettings(episodes=1, every_env_steps=400),
        )
    )
    assert len(rows) == 12


def test_winding_up_evaluates_without_training(make_trial: Factory, tmp_path: Path) -> None:
    given = {
        "stop": {"num_env_steps_sampled_lifetime": 10_000},
        "evaluation": EvaluationSettings(episodes=1, every_env_steps=200),
        "plateau": Plateau("evaluation/episode_return_mean", std=99.0, num_results=2),
    }
    trial = make_trial(ScriptedTrainer, **given)
    *_, before = (trial.train() for _ in range(3))
    trial.wind_up()
    row = trial.train()
    assert row["replaces"] is True
    assert row["done"] is False
    same = ("training_iteration", "num_env_steps_sampled_lifetime", "episode_return_mean")
    assert [row[key] for key in same] == [before[key] for key in same]
    assert before["evaluation/episode_return_mean"] == 1.0
    assert row["evaluation/episode_return_mean"] == 2.0
    assert row["time_total_s"] > before["time_total_s"]
    again = trial.train()
    assert again["evaluation/episode_return_mean"] == 2.0, "it was evaluated at these steps"
    saved = trial.save(str(tmp_path / "checkpoint"))
    other = make_trial(ScriptedTrainer, **given)
    other.restore(saved)
    assert other.train()["training_iteration"] == 4
    reused = make_trial(ScriptedTrainer, **given)
    reused.wind_up()
    assert reused.reset({})
    assert "replaces" not in reused.train()


def test_a_last_evaluation_may_meet_a_criterion(make_trial: Factory) -> None:
    trial = make_trial(
        ScriptedTrainer,
        stop={"evaluation/episode_return_mean": 1},
        evaluation=EvaluationSettings(episodes=1, every_env_steps=1000),
    )
    trial.train()
    trial.wind_up()
    row = trial.train()
    assert row["stopped_by"] == "evaluation/episode_return_mean >= 1"
    assert row["should_checkpoint"] is True


def test_a_checkpoint_of_other_seeds_is_refused(make_trial: Factory, tmp_path: Path) -> None:
    trial = make_trial(ScriptedTrainer)
    trial.train()
    saved = trial.save(str(tmp_path / "checkpoint"))
    with pytest.raises(Exception, match="no checkpoint of these replicas"):
        make_trial(ScriptedTrainer, seeds=(1,)).restore(saved)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (SystemExit(3), "TrialFailedError", "SystemExit: the environment called sys.exit(3)"),
        (OSError("the simulator\nwent away"), "TrialFailedError", "OSError: the simulator went"),
        (MemoryError(), "TrialFailedError", "MemoryError"),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate"
                " memory: you tried to allocate 8 bytes."
            ),
            "TrialFailedError",
            "MemoryError: ",
        ),
        (TrialDivergedError("2 of 2 replicas diverged"), "TrialDivergedError", "2 of 2"),
        (ConfigurationRefusedError("PPO: unknown key x"), "ConfigurationRefusedError", "PPO: "),
    ],
)
def test_an_error_has_a_message_of_one_line(
    make_trial: Factory,
    capfd: pytest.CaptureFixture[str],
    error: BaseException,
    kind: str,
    message: str,
) -> None:
    class Failing(ScriptedTrainer):
        pass

    Failing.error = error
    with pytest.raises(Exception) as raised:  # noqa: PT011 - its type is tested below
        make_trial(Failing).train()
    assert type(raised.value).__name__ == kind
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
    assert "Traceback" in capfd.readouterr().err


def test_the_trials_of_one_actor_under_tune(tmp_path: Path) -> None:
    from ray import tune

    from sweeper.trainables.trial import trial_class

    settings = make_settings(evaluation=EvaluationSettings(episodes=2, every_env_steps=None))
    run_root = tmp_path / "run"
    run_root.mkdir()
    grid = tune.Tuner(
        trial_class(settings, run_root),
        param_space={"minibatch_size": tune.grid_search([32, 4096, 64])},
        tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=1),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(run_root),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()
    results = {result.config["minibatch_size"]: result for result in grid}
    assert sorted(results) == [32, 64, 4096]
    for size in (32, 64):
        metrics = results[size].metrics
        assert results[size].error is None
        assert metrics["stopped_by"] == "num_env_steps_sampled_lifetime >= 150"
        assert metrics["evaluation/episode_return_mean"] > 0
        assert (Path(results[size].checkpoint.path) / "replica_0").is_dir()
    last = str(results[4096].error).strip().splitlines()[-1]
    assert "ConfigurationRefusedError: PPO refuses this configuration" in last
    assert "minibatch_size" in last
    logs = {path.parent.name: path.read_text() for path in run_root.glob("trials/*/log.txt")}
    assert len(logs) == 3
    assert sum("Traceback" in text for text in logs.values()) == 1
    assert all(f"trial {trial_id}" in text for trial_id, text in logs.items())


def test_replicas_with_their_own_env_runners_share_the_trials_resources(
    tmp_path: Path, envs_folder: Path
) -> None:
    from ray import tune

    from sweeper.trainables.trial import trial_class

    settings = make_settings(
        seeds=(0, 1),
        constants={**CONSTANTS, "num_env_runners": 1, "num_cpus_per_env_runner": 0.5},
        environment=EnvironmentSettings(
            "Corridor-v0",
            kwargs={"length": 2},
            module="corridor_envs",
            search_paths=(str(envs_folder),),
        ),
        evaluation=EvaluationSettings(episodes=2, every_env_steps=None),
    )
    no_folder = tmp_path / "file"
    no_folder.touch()  # the trial tolerates a run folder that it can't write to
    trainable = trial_class(settings, no_folder)
    assert trainable.default_resource_request({}).bundles == [{"CPU": 1}, {"CPU": 1.0}]
    result = tune.Tuner(
        trainable, run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0)
    ).fit()[0]
    assert result.error is None
    assert result.metrics["replica/episode_return_mean"][0] < 1
    assert result.metrics["evaluation/episode_return_mean"] < 1


def test_a_trial_requests_only_its_own_process_by_default(tmp_path: Path) -> None:
    from sweeper.trainables.trial import trial_class

    trainable = trial_class(make_settings(cpus=2, gpus=0.5), tmp_path)
    request = trainable.default_resource_request({"lr": 0.1})
    assert request.bundles == [{"CPU": 2, "GPU": 0.5}]
    invalid = trainable.default_resource_request({"minibatch_size": 10**9})  # refused later
    assert invalid.bundles == request.bundles


@pytest.mark.parametrize(("mode", "due"), [("max", [1, 3, 6]), ("min", [1, 2, 6])])
def test_with_the_best_score_every_new_best_gets_a_checkpoint(
    make_trial: Factory, mode: str, due: list[int]
) -> None:
    class Wavering(ScriptedTrainer):
        # One episode per iteration; the mean is over the last one only.
        returns = staticmethod(lambda iteration: ([5.0, 1.0, 9.0, 9.0, 7.0, 8.0][iteration - 1],))

    trial = make_trial(
        Wavering,
        constants={**CONSTANTS, "metrics_num_episodes_for_smoothing": 1},
        stop={"num_env_steps_sampled_lifetime": 600},
        checkpoint_every_env_steps=10_000,
        objective=Objective("episode_return_mean", mode, "best"),
    )
    rows = rows_until_done(trial)
    assert [n for n, row in enumerate(rows, start=1) if row.get("should_checkpoint")] == due


def test_without_a_bound_on_env_steps_a_trial_evaluates_at_the_tenths_of_its_iterations(
    make_trial: Factory,
) -> None:
    trial = make_trial(
        ScriptedTrainer,
        stop={"training_iteration": 20},
        evaluation=EvaluationSettings(episodes=1, every_env_steps=None),
    )
    rows = rows_until_done(trial)
    assert [n for n, row in enumerate(rows, start=1) if row.get("should_checkpoint")] == [
        *range(2, 21, 2)
    ]
    assert rows[-1]["evaluation/episode_return_mean"] == 10.0
