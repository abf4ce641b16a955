"""Real Tune experiments, made without a spec, judged by our rules where Tune's own mislead."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from command_line import sweeper_here
from report_pages import read_page, section

from sweeper.evidence.selection import select
from sweeper.metrics import Objective
from sweeper.results.records import SweepResults
from sweeper.results.tune_import.experiments import open_tune

pytestmark = pytest.mark.usefixtures("ray_cluster")

METRIC = "env_runners/episode_return_mean"
CURVES = {
    "good": [1.0, 2.0, 3.0, 4.0],
    "nan": [100.0, math.nan, math.nan, math.nan],
    "peak": [0.0, 50.0, 7.0, 1.0],
    "error": [1000.0, 1000.0],
}


def fit(folder: Path, trainable: Any, *, logged: bool = True, **options: Any) -> Any:
    from ray import tune
    from ray.tune.logger import JsonLoggerCallback

    tuner = tune.Tuner(
        trainable,
        param_space=options.pop("param_space"),
        tune_config=tune.TuneConfig(metric=options.pop("metric", METRIC), mode="max"),
        run_config=tune.RunConfig(
            name="experiment",
            storage_path=str(folder),
            verbose=0,
            callbacks=[JsonLoggerCallback()] if logged else [],
            **options,
        ),
    )
    return tuner.fit()


def fit_curves(folder: Path, *, logged: bool = True) -> Any:
    from ray import tune

    class Curve(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self._values = CURVES[config["curve"]]

        def step(self) -> dict[str, Any]:
            if self.iteration >= len(self._values):
                raise ValueError("boom")
            return {
                "env_runners": {"episode_return_mean": self._values[self.iteration]},
                "num_env_steps_sampled_lifetime": 100 * (self.iteration + 1),
                "done": self.iteration == 3,
            }

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            (Path(checkpoint_dir) / "iteration").write_text(str(self.iteration))

        def load_checkpoint(self, checkpoint: str) -> None:
            pass

    return fit(
        folder,
        Curve,
        logged=logged,
        param_space={"curve": tune.grid_search(list(CURVES)), "fixed": {"a": 1}},
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
    )


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("curves")
    return fit_curves(folder), folder / "experiment"


def curve_of(results: SweepResults, trial_id: str) -> str:
    return str(results.trial(trial_id).configuration["curve"])


@pytest.mark.parametrize("source", ["grid", "folder"])
def test_an_errored_trial_that_tune_would_choose_is_not_chosen(
    curves: tuple[Any, Path], source: str
) -> None:
    grid, folder = curves
    assert grid.get_best_result().config["curve"] == "error"  # Tune's own choice
    results = open_tune(grid if source == "grid" else folder)
    selection = select(results, Objective(METRIC))
    assert curve_of(results, selection.trial_id) == "good"
    assert selection.score == 4.0
    assert {curve_of(results, item.trial_id): item.reason for item in selection.excluded} == {
        "nan": f"last {METRIC} is NaN",
        "error": "error: crashed: ValueError: boom",
    }
    assert {record.parameters["curve"] for record in results.trials} == set(CURVES)
    assert results.state == "finished"


@pytest.mark.parametrize("source", ["grid", "folder"])
def test_the_checkpoint_is_the_one_that_earned_the_score_not_the_latest(
    curves: tuple[Any, Path], source: str
) -> None:
    grid, folder = curves
    peak = next(result for result in grid if result.config["curve"] == "peak")
    assert (Path(peak.checkpoint.path) / "iteration").read_text() == "4"
    results = open_tune(grid if source == "grid" else folder)
    without_nan = SweepResults(
        results.root,
        tuple(record for record in results.trials if record.configuration["curve"] != "nan"),
    )
    selection = select(without_nan, Objective("episode_return_mean", score="best"))
    assert selection.score == 50.0
    assert (Path(str(selection.checkpoint)) / "iteration").read_text() == "2"


def test_a_grid_and_its_folder_give_the_same_results(curves: tuple[Any, Path]) -> None:
    grid, folder = curves
    from_grid, from_folder = open_tune(grid), open_tune(folder)
    assert from_grid.counts() == from_folder.counts() == {"TERMINATED": 3, "ERROR": 1}
    for one, other in zip(from_grid.trials, from_folder.trials, strict=True):
        assert one.trial_id == other.trial_id
        assert repr(one.reports) == repr(other.reports)  # NaN is not equal to itself
        assert [item.path for item in one.checkpoints] == [i.path for i in other.checkpoints]
        assert [item.metrics["training_iteration"] for item in one.checkpoints] == [
            item.metrics["training_iteration"] for item in other.checkpoints
        ]


@pytest.mark.acceptance
def test_without_a_logger_the_last_results_are_still_judged(tmp_path: Path) -> None:
    grid = fit_curves(tmp_path, logged=False)
    for source in (grid, tmp_path / "experiment"):
        results = open_tune(source)
        assert all(len(record.reports) == 1 for record in results.trials)
        selection = select(results, Objective(METRIC))
        assert curve_of(results, selection.trial_id) == "good"


@pytest.mark.acceptance
def test_a_functions_checkpoints_are_matched_by_name(tmp_path: Path) -> None:
    from ray import tune

    def function(config: dict[str, Any]) -> None:
        import tempfile

        for step in range(5):
            if step % 2 == 0:
                tune.report({"reward": float(-step)})
                continue
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "step").write_text(str(step))
                checkpoint = tune.Checkpoint.from_directory(folder)
                tune.report({"reward": float(step == 1)}, checkpoint=checkpoint)

    fit(tmp_path, function, param_space={"x": 1}, metric="reward")
    results = open_tune(tmp_path / "experiment")
    assert results.trials[0].state == "TERMINATED"
    selection = select(results, Objective("reward", score="best"))
    assert (Path(str(selection.checkpoint)) / "step").read_text() == "1"


def test_an_rllib_sweep_gives_a_checkpoint_that_acts(tmp_path: Path) -> None:
    import numpy as np
    from ray import tune

    from sweeper.opened_agent import load_agent

    fit(
        tmp_path,
        "PPO",
        param_space={
            "env": "CartPole-v1",
            "num_env_runners": 0,
            "train_batch_size_per_learner": 128,
            "minibatch_size": 64,
            "num_epochs": 1,
            "log_level": "ERROR",
            "lr": tune.grid_search([1e-3, 1e-4]),
        },
        stop={"training_iteration": 2},
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
    )
    results = open_tune(tmp_path / "experiment")
    assert sorted(record.parameters["lr"] for record in results.trials) == [1e-4, 1e-3]
    selection = select(results, Objective(METRIC))
    assert selection.score >= 8  # the shortest episode of CartPole
    assert selection.env_steps == 256
    agent = load_agent(str(selection.checkpoint), trust=True)
    assert agent.act(np.zeros(4, np.float32)) in (0, 1)


def test_a_report_of_an_experiment_goes_to_the_working_directory(
    curves: tuple[Any, Path], tmp_path: Path
) -> None:
    done = sweeper_here("report", str(curves[1]), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    file = tmp_path / f"report-{curves[1].name}.html"
    assert done.stdout.strip() == str(file)
    page = read_page(file.read_text())
    assert "made without sweeper" in page.find("header")[0].text
    assert section(page, "trials").find("table")
    assert "can't be shown" not in page.text
    assert list(curves[1].glob("*.html")) == []
