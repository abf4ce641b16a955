from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweeper.errors import UserError
from sweeper.evidence.selection import select
from sweeper.metrics import Objective
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.results.tune_import.experiments import find_objective, is_tune_experiment, open_tune

METRIC = "env_runners/episode_return_mean"
NOW = 1_700_000_000


def result(iteration: int, value: float, **more: Any) -> dict[str, Any]:
    """A row as Tune writes it for an RLlib Algorithm, one every ten seconds."""
    return {
        "env_runners": {"episode_return_mean": value, "num_env_steps_sampled_lifetime": -1},
        "learners": {"default_policy": {"vf_loss": 0.5}},
        "num_env_steps_sampled_lifetime": 100 * iteration,
        "done": False,
        "training_iteration": iteration,
        "trial_id": "a_00000",
        "timestamp": NOW + 10 * iteration,
        "node_ip": "10.0.0.1",
        "config": {"lr": 0.1},
        **more,
    }


def write_trial(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    *,
    params: dict[str, Any] | None = None,
    checkpoints: dict[int, float] | None = None,
    error: str | None = None,
) -> Path:
    """A trial's folder; ``checkpoints``: index to modification time."""
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "params.json").write_text(json.dumps(params or {"lr": 0.1}))
    for index, made in (checkpoints or {}).items():
        checkpoint = folder / f"checkpoint_{index:06d}"
        checkpoint.mkdir()
        os.utime(checkpoint, (made, made))
    if error is not None:
        (folder / "error.txt").write_text(error)
    return folder


def write_state(root: Path, *trials: tuple[dict[str, Any], dict[str, Any]]) -> None:
    document = {
        "trial_data": [[json.dumps(trial), json.dumps(runtime)] for trial, runtime in trials],
        "runner_data": {"_metric": METRIC},
    }
    (root / "experiment_state-2026-01-01_00-00-00.json").write_text(json.dumps(document))


def only(results: SweepResults) -> TrialRecord:
    (record,) = results.trials
    return record


def iterations(record: TrialRecord) -> list[Any]:
    return [item.metrics.get("training_iteration") for item in record.checkpoints]


def test_nested_results_become_our_flat_metrics(tmp_path: Path) -> None:
    write_trial(tmp_path / "a", [result(1, 5.0), result(2, 7.0, done=True)])
    record = only(open_tune(tmp_path))
    assert record.trial_id == "a_00000"
    assert record.state == "TERMINATED"
    assert record.node == "10.0.0.1"
    assert record.configuration == {"lr": 0.1}
    assert record.reports[-1] == {
        "episode_return_mean": 7.0,
        "learner/vf_loss": 0.5,
        "num_env_steps_sampled_lifetime": 200,
        "training_iteration": 2,
    }


def test_the_metric_is_known_by_tunes_name_and_by_ours(tmp_path: Path) -> None:
    write_trial(tmp_path / "a", [result(1, 5.0)])
    results = open_tune(tmp_path)
    assert (
        select(results, Objective(METRIC)).score
        == select(results, Objective("episode_return_mean")).score
        == 5.0
    )


def test_a_trials_own_folder_is_accepted(tmp_path: Path) -> None:
    folder = write_trial(tmp_path / "a", [result(1, 5.0)])
    assert only(open_tune(str(folder))).last_report["episode_return_mean"] == 5.0


def test_a_folder_without_an_experiment_is_the_users_mistake(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="no Ray Tune experiment in"):
            open_tune(folder)


def test_a_run_of_ours_is_not_a_tune_experiment(tmp_path: Path) -> None:
    write_trial(tmp_path / "a", [result(1, 5.0)])
    assert is_tune_experiment(tmp_path)
    (tmp_path / "journal.jsonl").touch()
    assert not is_tune_experiment(tmp_path)


def test_the_last_line_of_a_killed_writer_is_dropped(tmp_path: Path) -> None:
    folder = write_trial(tmp_path / "a", [result(1, 5.0), result(2, 7.0)])
    text = (folder / "result.json").read_text()
    (folder / "result.json").write_text(text[:-30])
    assert len(only(open_tune(tmp_path)).reports) == 1


def test_nan_is_read_as_nan(tmp_path: Path) -> None:
    write_trial(tmp_path / "a", [result(1, math.nan)])
    assert math.isnan(only(open_tune(tmp_path)).last_report["episode_return_mean"])


def test_iterations_repeated_after_a_failure_count_once(tmp_path: Path) -> None:
    rows = [result(1, 1.0), result(2, 2.0), result(3, 3.0), result(2, 20.0)]
    write_trial(tmp_path / "a", rows)
    record = only(open_tune(tmp_path))
    assert [row["episode_return_mean"] for row in record.reports] == [1.0, 20.0]


def test_csv_is_read_if_there_is_no_json(tmp_path: Path) -> None:
    folder = write_trial(tmp_path / "a", [])
    (folder / "result.json").unlink()
    (folder / "progress.csv").write_text(
        "env_runners/episode_return_mean,training_iteration,done,config/lr\n"
        ",1,False,0.1\n"
        "7.5,2,True,0.1\n"
    )
    record = only(open_tune(tmp_path))
    assert record.reports == (
        {"training_iteration": 1},
        {"episode_return_mean": 7.5, "training_iteration": 2},
    )
    assert record.state == "TERMINATED"


# --- how a trial ended -----------------------------------------------------------------------


def test_tunes_state_says_how_trials_ended_and_what_was_searched(tmp_path: Path) -> None:
    write_trial(tmp_path / "one", [result(1, 5.0)])
    write_trial(tmp_path / "two", [result(1, 5.0)])
    shared = {"config": {"lr": 0.1, "m": {"h": 8}}}
    write_state(
        tmp_path,
        (
            {
                **shared,
                "trial_id": "x_1",
                "relative_logdir": "one",
                "status": "TERMINATED",
                "evaluated_params": {"m/h": 8},
            },
            {"start_time": 11.0, "last_result_time": 12.0, "num_failures": 2},
        ),
        ({**shared, "trial_id": "x_2", "relative_logdir": "two", "status": "RUNNING"}, {}),
        ({**shared, "trial_id": "x_3", "relative_logdir": None, "status": "PENDING"}, {}),
    )
    results = open_tune(tmp_path)
    states = {record.trial_id: (record.state, record.reason) for record in results.trials}
    assert states == {
        "x_1": ("TERMINATED", None),
        "x_2": ("PAUSED", "not finished when Tune last wrote its state"),
        "x_3": ("PAUSED", "not finished when Tune last wrote its state"),
    }
    first = results.trials[0]
    assert first.parameters == {"m": {"h": 8}}
    assert (first.started, first.ended, first.retries) == (11.0, 12.0, 2)
    assert results.trials[2].configuration == {"lr": 0.1, "m": {"h": 8}}
    assert results.state == "interrupted"
    assert find_objective(tmp_path) == Objective("episode_return_mean", "max", "last")


def test_the_newest_state_of_several_launches_counts(tmp_path: Path) -> None:
    write_trial(tmp_path / "one", [result(1, 5.0)])
    entry = {"trial_id": "x_1", "relative_logdir": "one"}
    for status, stamp in (
        ("RUNNING", "2026-01-01_00-00-00"),
        ("TERMINATED", "2026-01-02_00-00-00"),
    ):
        write_state(tmp_path, ({**entry, "status": status}, {}))
        written = tmp_path / "experiment_state-2026-01-01_00-00-00.json"
        written.rename(tmp_path / f"experiment_state-{stamp}.json")
    assert only(open_tune(tmp_path)).state == "TERMINATED"


def test_an_error_is_its_last_line_without_colours(tmp_path: Path) -> None:
    text = "Failure # 1\nTraceback\n\x1b[36mValueError: boom\x1b[39m\n"
    folder = write_trial(tmp_path / "a", [result(1, 5.0)], error=text)
    record = only(open_tune(tmp_path))
    assert (record.state, record.error) == ("ERROR", "ValueError: boom")
    assert record.log == folder / "error.txt"


def test_a_trial_that_failed_once_and_then_finished_is_no_error(tmp_path: Path) -> None:
    write_trial(tmp_path / "one", [result(1, 5.0)], error="ValueError: boom")
    trial = {"trial_id": "x_1", "relative_logdir": "one", "status": "TERMINATED"}
    write_state(tmp_path, (trial, {"num_failures": 1}))
    record = only(open_tune(tmp_path))
    assert (record.state, record.error, record.retries) == ("TERMINATED", None, 1)


def test_without_any_record_of_its_end_a_trial_is_not_called_finished(tmp_path: Path) -> None:
    write_trial(tmp_path / "a", [result(1, 5.0)])
    record = only(open_tune(tmp_path))
    assert (record.state, record.reason) == ("PAUSED", "no record of its end")


def test_without_a_state_the_searched_parameters_are_those_that_differ(tmp_path: Path) -> None:
    for name, lr in (("a", 0.1), ("b", 0.2)):
        rows = [result(1, 5.0, trial_id=name)]
        write_trial(tmp_path / name, rows, params={"lr": lr, "gamma": 0.9, "m": {"h": [8]}})
    assert [record.parameters for record in open_tune(tmp_path).trials] == [
        {"lr": 0.1},
        {"lr": 0.2},
    ]


def test_without_a_logger_the_last_result_of_the_state_is_kept(tmp_path: Path) -> None:
    trial = {
        "trial_id": "x_1",
        "relative_logdir": "one",
        "status": "TERMINATED",
        "config": {"lr": 0.1, "fn": {"_type": "CLOUDPICKLE_FALLBACK", "value": "80"}},
    }
    write_state(tmp_path, (trial, {"last_result": result(4, 9.0)}))
    record = only(open_tune(tmp_path))
    assert record.last_report["episode_return_mean"] == 9.0
    assert record.configuration == {"lr": 0.1, "fn": "<cloudpickle_fallback>"}


# --- which report a checkpoint belongs to ----------------------------------------------------


def test_a_checkpoint_that_a_row_names_is_that_rows(tmp_path: Path) -> None:
    rows = [
        result(1, 1.0, checkpoint_dir_name=None),
        result(2, 2.0, checkpoint_dir_name="checkpoint_000000"),
        result(3, 3.0, checkpoint_dir_name="checkpoint_000001"),
    ]
    write_trial(tmp_path / "a", rows, checkpoints={0: NOW, 1: NOW})
    assert iterations(only(open_tune(tmp_path))) == [2, 3]


def test_a_checkpoint_is_dated_between_its_report_and_the_next(tmp_path: Path) -> None:
    rows = [result(n, float(n)) for n in range(1, 7)]
    write_trial(tmp_path / "a", rows, checkpoints={0: NOW + 21.5, 1: NOW + 49.9, 2: NOW + 61})
    assert iterations(only(open_tune(tmp_path))) == [2, 4, 6]


def test_checkpoints_after_every_report_are_matched_by_count(tmp_path: Path) -> None:
    copied = NOW + 1e6  # the times of a copy mean nothing
    rows = [result(n, float(n)) for n in range(1, 4)]
    write_trial(tmp_path / "a", rows, checkpoints=dict.fromkeys(range(3), copied))
    assert iterations(only(open_tune(tmp_path))) == [1, 2, 3]


def test_a_checkpoints_number_tells_how_many_came_before_it(tmp_path: Path) -> None:
    rows = [result(n, float(n)) for n in range(1, 4)]
    write_trial(tmp_path / "a", rows, checkpoints={2: NOW + 1e6})
    assert iterations(only(open_tune(tmp_path))) == [3]


def test_an_ambiguous_checkpoint_stays_unmatched_and_is_noted(tmp_path: Path) -> None:
    rows = [result(n, float(n)) for n in range(1, 7)]
    write_trial(tmp_path / "a", rows, checkpoints={0: NOW + 1e6, 1: NOW + 1e6})
    results = open_tune(tmp_path)
    assert iterations(only(results)) == [None, None]
    selection = select(results, Objective(METRIC))
    assert str(selection.checkpoint).endswith("checkpoint_000001")
    assert "not known which report" in str(selection.checkpoint_note)


def test_reports_of_the_same_second_are_not_told_apart_by_time(tmp_path: Path) -> None:
    rows = [result(n, float(n), timestamp=NOW) for n in range(1, 4)]
    write_trial(tmp_path / "a", rows, checkpoints={0: NOW + 0.5})
    assert iterations(only(open_tune(tmp_path))) == [None]


def test_times_that_contradict_the_order_are_ignored(tmp_path: Path) -> None:
    rows = [result(n, float(n)) for n in range(1, 7)]
    write_trial(tmp_path / "a", rows, checkpoints={0: NOW + 51, 1: NOW + 21})
    assert iterations(only(open_tune(tmp_path))) == [None, None]


# --- safety ----------------------------------------------------------------------------------


class _Bomb:
    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (self.target,)


def test_opening_a_folder_runs_no_code_from_it_and_imports_no_ray(tmp_path: Path) -> None:
    root, crater = tmp_path / "experiment", tmp_path / "crater"
    folder = write_trial(root / "a", [result(1, 5.0)], error="ValueError: x")
    bomb = pickle.dumps(_Bomb(str(crater)))
    for path in (root / "tuner.pkl", folder / "params.pkl", folder / "error.pkl"):
        path.write_bytes(bomb)
    trial = {
        "trial_id": "x_1",
        "relative_logdir": "a",
        "status": "ERROR",
        "config": {"_type": "CLOUDPICKLE_FALLBACK", "value": bomb.hex()},
    }
    write_state(root, (trial, {}))
    code = (
        "import sys\n"
        "from sweeper.results.tune_import.experiments import open_tune\n"
        f"assert open_tune({str(root)!r}).trials[0].state == 'ERROR'\n"
        "assert not {'ray', 'torch', 'pandas', 'mlflow'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not crater.exists()


# --- what fit() returned ---------------------------------------------------------------------


def grid(*results: Any, path: str = "") -> Any:
    return SimpleNamespace(_results=list(results), experiment_path=path)


def outcome(metrics: dict[str, Any], **more: Any) -> Any:
    values = {
        "metrics": metrics,
        "config": metrics.get("config"),
        "checkpoint": None,
        "best_checkpoints": [],
        "error": None,
        "path": "/nowhere/trial",
        "metrics_dataframe": None,
    }
    return SimpleNamespace(**{**values, **more})


def test_a_grid_without_a_history_has_the_last_metrics() -> None:
    record = only(open_tune(grid(outcome(result(3, 8.0)))))
    assert record.last_report["episode_return_mean"] == 8.0
    assert (record.trial_id, record.state) == ("a_00000", "TERMINATED")
    assert record.configuration == {"lr": 0.1}


def test_a_grids_table_gives_the_history_without_missing_values() -> None:
    import pandas as pd

    frame = pd.DataFrame(
        [
            {"env_runners/episode_return_mean": math.nan, "training_iteration": 1},
            {"env_runners/episode_return_mean": 7.0, "training_iteration": 2},
        ]
    )
    record = only(open_tune(grid(outcome(result(2, 7.0), metrics_dataframe=frame))))
    assert [row.get("episode_return_mean") for row in record.reports] == [None, 7.0]


def test_a_grids_checkpoints_carry_their_own_metrics() -> None:
    made = [
        (SimpleNamespace(path="/nowhere/trial/checkpoint_000001"), result(2, 7.0)),
        (SimpleNamespace(path="/nowhere/trial/checkpoint_000000"), result(1, 9.0)),
    ]
    results = open_tune(grid(outcome(result(2, 7.0), best_checkpoints=made)))
    assert iterations(only(results)) == [1, 2]


def test_a_grids_error_is_an_error() -> None:
    failed = outcome(result(1, 1e9), error=ValueError("boom\nlast line"))
    record = only(open_tune(grid(failed)))
    assert (record.state, record.error) == ("ERROR", "last line")


def test_a_grid_is_read_with_its_folder_if_that_exists(tmp_path: Path) -> None:
    write_trial(tmp_path / "a", [result(1, 5.0), result(2, 7.0)], checkpoints={0: NOW + 1e6})
    state = {"trial_id": "a_00000", "relative_logdir": "a", "status": "RUNNING"}
    write_state(tmp_path, (state, {}))
    folder = str(tmp_path / "a")
    made = [(SimpleNamespace(path=f"{folder}/checkpoint_000000"), result(1, 5.0))]
    outcomes = outcome(result(2, 7.0), path=folder, best_checkpoints=made)
    record = only(open_tune(grid(outcomes, path=str(tmp_path))))
    assert len(record.reports) == 2
    assert iterations(record) == [1]
    assert record.state == "PAUSED"  # after Ctrl-C the grid itself reports it as finished


def test_a_metric_whose_mode_tune_did_not_record_needs_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is more loss better, or less"):
        find_objective(tmp_path, metric="loss")
    assert find_objective(tmp_path, metric="loss", mode="min") == Objective("loss", "min", "last")


def test_the_object_that_fit_returned_has_metric_and_mode() -> None:
    analysis = SimpleNamespace(default_metric="loss", default_mode="min")
    grid = SimpleNamespace(_experiment_analysis=analysis)
    assert find_objective(grid) == Objective("loss", "min", "last")
    assert find_objective(grid, score="best").score == "best"
    assert find_objective(grid, metric="env_runners/episode_return_mean").mode == "max"
