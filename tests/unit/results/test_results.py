from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from effort import count_calls

from sweeper.journal import (
    Event,
    Journal,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
)
from sweeper.metrics import Objective
from sweeper.paths import RunPaths
from sweeper.results.builder import (
    ResultsBuilder,
    is_process_alive,
    load_results,
    results_from_events,
)
from sweeper.results.frames import history_frame, trials_frame, write_parquet
from sweeper.results.records import SweepResults, describe_pruning
from sweeper.states import Stage

NOBODY = 2**22 + 1  # above Linux's largest process id


def launched(pid: int = NOBODY, launch: int = 1, at: float | None = None) -> LaunchStarted:
    return LaunchStarted(time.time() if at is None else at, launch, pid, ("sweeper",))


def asked(trial_id: str = "t0001", **parameters: Any) -> TrialAsked:
    return TrialAsked(2.0, trial_id, {"gamma": 0.99, **parameters}, parameters, (0, 1))


def started(trial_id: str = "t0001", at: float = 3.0) -> TrialStarted:
    return TrialStarted(at, trial_id, "10.0.0.1")


def reported(
    iteration: int, value: float = 0.0, *, trial_id: str = "t0001", stopped_by: str | None = None
) -> TrialReported:
    row = {
        "training_iteration": iteration,
        "episode_return_mean": value,
        "num_env_steps_sampled_lifetime": 100 * iteration,
        "time_total_s": 1.5 * iteration,
    }
    return TrialReported(4.0, trial_id, row, stopped_by)


def checkpointed(iteration: int, index: int, trial_id: str = "t0001") -> TrialCheckpointed:
    path = f"trials/{trial_id}/checkpoint_{index:06d}"
    return TrialCheckpointed(5.0, trial_id, path, {"training_iteration": iteration})


def ended(state: str = "TERMINATED", reason: str = "done", error: str | None = None) -> TrialEnded:
    return TrialEnded(6.0, "t0001", state, reason, error)


def fold(*events: Event) -> SweepResults:
    return results_from_events(events, Path("/runs/x"))


def test_a_trial_that_ended_has_its_state_reason_and_reports() -> None:
    results = fold(
        launched(),
        asked(lr=0.1),
        started(),
        reported(1, 5.0),
        reported(2, 7.0, stopped_by="x >= 2"),
        checkpointed(2, 0),
        ended("TERMINATED", "x >= 2"),
        LaunchEnded(7.0, "finished"),
    )
    (trial,) = results.trials
    assert (trial.state, trial.reason, trial.error) == ("TERMINATED", "x >= 2", None)
    assert [row["episode_return_mean"] for row in trial.reports] == [5.0, 7.0]
    assert trial.configuration == {"gamma": 0.99, "lr": 0.1}
    assert trial.parameters == {"lr": 0.1}
    assert trial.seeds == (0, 1)
    assert (trial.env_steps, trial.time_total_s, trial.node) == (200, 3.0, "10.0.0.1")
    assert (trial.started, trial.ended) == (3.0, 6.0)
    assert trial.log == Path("/runs/x/trials/t0001/log.txt")
    assert results.resolve(trial.checkpoints[0]) == Path("/runs/x/trials/t0001/checkpoint_000000")
    assert results.state == "finished"
    assert not results.is_live


def test_after_a_rollback_the_newer_report_of_an_iteration_counts() -> None:
    (trial,) = fold(
        asked(), started(), reported(1, 1.0), reported(2, 2.0), reported(3, 3.0),
        TrialRetried(5.0, "t0001", "boom"), started(), reported(2, 20.0),
    ).trials  # fmt: skip
    assert [row["episode_return_mean"] for row in trial.reports] == [1.0, 20.0]
    assert trial.retries == 1


def test_a_restart_from_scratch_drops_all_earlier_checkpoints() -> None:
    (trial,) = fold(
        asked(), started(), reported(1), reported(2), checkpointed(2, 0),
        TrialRetried(5.0, "t0001", "boom"), started(), reported(1), checkpointed(1, 1),
    ).trials  # fmt: skip
    assert [item.path[-6:] for item in trial.checkpoints] == ["000001"]


def test_replacing_a_report_keeps_its_checkpoint() -> None:
    again = replace(reported(2, 20.0), replaces=True)
    (trial,) = fold(
        asked(), started(), reported(1, 1.0), reported(2, 2.0), checkpointed(2, 0), again
    ).trials
    assert [row["episode_return_mean"] for row in trial.reports] == [1.0, 20.0]
    assert [item.path[-6:] for item in trial.checkpoints] == ["000000"]


def test_the_checkpoint_that_a_retry_resumes_from_stays() -> None:
    (trial,) = fold(
        asked(), started(), reported(1), checkpointed(1, 0), reported(2),
        TrialRetried(5.0, "t0001", "boom"), started(), reported(2), checkpointed(2, 1),
    ).trials  # fmt: skip
    assert [item.metrics["training_iteration"] for item in trial.checkpoints] == [1, 2]


def test_a_retried_trial_is_pending_until_it_is_started() -> None:
    failed = asked(), started(), reported(1), TrialRetried(5.0, "t0001", "boom")
    builder = ResultsBuilder(Path("run"))
    states = []
    for event in (*failed, started()):
        builder.apply(event)
        states.append(builder.trial("t0001").state)
    assert states == ["PENDING", "RUNNING", "RUNNING", "PENDING", "RUNNING"]


def test_a_checkpoint_written_twice_is_one() -> None:
    (trial,) = fold(asked(), started(), reported(1), checkpointed(1, 0), checkpointed(1, 0)).trials
    assert len(trial.checkpoints) == 1


def test_a_trial_whose_last_report_met_a_criterion_is_finished_without_its_end() -> None:
    (trial,) = fold(launched(), asked(), started(), reported(1, stopped_by="x >= 1")).trials
    assert (trial.state, trial.reason) == ("TERMINATED", "x >= 1")


def test_a_trial_whose_last_report_the_scheduler_stopped_is_pruned_without_its_end() -> None:
    stop = {"action": "stop", "reason": "1 < 2", "rung": 1}
    events = [launched(), asked(), started(), replace(reported(1), decision=stop)]
    builder = ResultsBuilder(Path("run"))
    for event in events:
        builder.apply(event)
    assert (builder.trial("t0001").state, builder.trial("t0001").reason) == ("PRUNED", "1 < 2")
    (trial,) = fold(*events).trials
    assert (trial.state, trial.reason, trial.rung) == ("PRUNED", "1 < 2", 1)
    assert describe_pruning(trial) == "pruned at 100 env steps: 1 < 2"


def test_a_trial_that_failed_after_meeting_a_criterion_is_not_finished() -> None:
    (trial,) = fold(
        launched(), asked(), started(), reported(1, stopped_by="x >= 1"),
        TrialRetried(5.0, "t0001", "disk full"),
    ).trials  # fmt: skip
    assert (trial.state, trial.reason) == ("PAUSED", "interrupted")


def test_a_killed_drivers_trials_are_interrupted() -> None:
    results = fold(launched(), asked("t0001"), started("t0001"), reported(1), asked("t0002"))
    assert [(trial.state, trial.reason) for trial in results.trials] == [
        ("PAUSED", "interrupted"),
        ("PAUSED", "interrupted"),
    ]
    assert results.state == "interrupted"


def test_a_live_runs_trials_are_running_or_pending() -> None:
    results = fold(
        launched(os.getpid()), asked("t0001"), started("t0001"), reported(1), asked("t0002")
    )
    assert [trial.state for trial in results.trials] == ["RUNNING", "PENDING"]
    assert (results.is_live, results.state) == (True, "running")
    assert results.trials[0].ended is None


def test_a_launch_that_ended_is_not_live_though_its_process_is() -> None:
    results = fold(launched(os.getpid()), asked(), started(), LaunchEnded(9.0, "interrupted"))
    assert not results.is_live
    assert results.trials[0].state == "PAUSED"


def test_a_second_launch_leaves_a_trial_paused_until_it_starts_it() -> None:
    before = [launched(), asked("t0001"), started("t0001"), launched(os.getpid(), 2)]
    assert fold(*before).trials[0].state == "PAUSED"
    assert fold(*before, started("t0001")).trials[0].state == "RUNNING"


def test_a_resumed_trial_forgets_how_it_was_interrupted() -> None:
    (trial,) = fold(
        launched(), asked(), started(), ended("PAUSED", "interrupted"),
        launched(os.getpid(), 2), started(at=8.0),
    ).trials  # fmt: skip
    assert (trial.state, trial.reason, trial.started) == ("RUNNING", None, 3.0)


def test_a_process_id_reused_by_a_newer_process_is_not_alive() -> None:
    assert is_process_alive(os.getpid(), started_before=time.time())
    assert not is_process_alive(os.getpid(), started_before=1000.0)
    assert not is_process_alive(NOBODY, started_before=time.time())


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    try:
        deadline = time.monotonic() + 10
        while is_process_alive(child.pid, started_before=time.time()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        child.wait()


def test_building_event_by_event_gives_the_same_as_all_at_once() -> None:
    events: list[Event] = [
        launched(os.getpid()), asked("t0001"), started("t0001"), asked("t0002"),
        reported(1), reported(2), checkpointed(2, 0), TrialRetried(5.0, "t0001", "x"),
        reported(2, 9.0), ended("ERROR", "crashed", "ValueError: x"),
    ]  # fmt: skip
    builder = ResultsBuilder(Path("/runs/x"))
    for number, event in enumerate(events, start=1):
        builder.apply(event)
        assert builder.snapshot() == fold(*events[:number])


def test_an_unchanged_record_is_not_rebuilt() -> None:
    builder = ResultsBuilder(Path("/runs/x"))
    for event in (launched(), asked("t0001"), asked("t0002")):
        builder.apply(event)
    first = builder.snapshot()
    builder.apply(started("t0002"))
    second = builder.snapshot()
    assert second.trials[0] is first.trials[0]
    assert second.trials[1] is not first.trials[1]


def test_rows_have_the_promised_keys_and_are_strict_json() -> None:
    results = fold(
        asked("t0001", lr=math.inf), started("t0001"), reported(1, 3.0), reported(2, 1000.0),
        TrialEnded(6.0, "t0001", "ERROR", "crashed", "ValueError: x"), asked("t0002", lr=0.5),
        started("t0002"), reported(1, 4.0, trial_id="t0002"),
    )  # fmt: skip
    rows = results.to_rows(Objective("episode_return_mean"))
    assert json.loads(json.dumps(rows, allow_nan=False)) == [
        {
            "trial_id": "t0001",
            "state": "ERROR",
            "reason": "crashed",
            "rung": None,
            "configuration": {"gamma": 0.99, "lr": "inf"},
            "score": None,
            "diverged": 0,
            "num_env_steps_sampled_lifetime": 200,
            "time_total_s": 3.0,
            "error": "crashed: ValueError: x",
            "log": "/runs/x/trials/t0001/log.txt",
        },
        {
            "trial_id": "t0002",
            "state": "PAUSED",
            "reason": "interrupted",
            "rung": None,
            "configuration": {"gamma": 0.99, "lr": 0.5},
            "score": 4.0,
            "diverged": 0,
            "num_env_steps_sampled_lifetime": 100,
            "time_total_s": 1.5,
            "error": None,
            "log": "/runs/x/trials/t0002/log.txt",
        },
    ]


def test_the_trials_frame_has_dotted_parameters_and_the_last_metrics() -> None:
    results = fold(
        asked("t0001", lr=0.1, model_config={"fcnet_hiddens": [64]}), started("t0001"),
        reported(1, 3.0), reported(2, 4.0), asked("t0002", lr=0.2),
    )  # fmt: skip
    frame = trials_frame(results, Objective())
    assert list(frame["lr"]) == [0.1, 0.2]
    # As the notebook that goes through a run's results finds them.
    columns = list(frame.columns)
    between = slice(columns.index("error") + 1, columns.index("training_iteration"))
    assert columns[between] == ["lr", "model_config.fcnet_hiddens"]
    assert frame["model_config.fcnet_hiddens"][0] == "[64]"
    assert frame["episode_return_mean"][0] == 4.0
    assert math.isnan(frame["episode_return_mean"][1])


def test_the_trials_frame_has_the_score_by_the_objective_and_its_spread(tmp_path: Path) -> None:
    rows = [
        {"training_iteration": n, "loss": loss, "replica/loss": [loss - 1, loss + 1], **more}
        for n, loss, more in ((1, 3.0, {}), (2, 5.0, {"score": "foreign", "seeds": 7}))
    ]
    results = fold(
        asked("t0001", state=0.1), started("t0001"), asked("t0002", state=0.2),
        *(TrialReported(3.0, "t0001", row) for row in rows),
    )  # fmt: skip
    frame = trials_frame(results, Objective("loss", "min", "best"))
    assert frame["score"].tolist()[0] == 3.0
    assert frame["deviation"].tolist()[0] == pytest.approx(math.sqrt(2))
    assert frame["replicas"].tolist() == [2, 0]
    assert frame[["score", "deviation"]].iloc[1].isna().all()
    columns = ["score", "deviation", "replicas"]
    assert [str(frame[name].dtype) for name in columns] == ["float64", "float64", "int64"]
    assert trials_frame(results, Objective("loss", "max", "best"))["score"][0] == 5.0
    # What others call the same stays beside it.
    assert frame["metric.score"][0] == "foreign"
    assert frame["metric.seeds"][0] == 7
    assert frame["config.state"].tolist() == [0.1, 0.2]
    assert frame["state"].tolist() == ["PAUSED", "PAUSED"]
    none = trials_frame(results, Objective("nothing"))
    assert [str(none[name].dtype) for name in columns] == ["float64", "float64", "int64"]


def test_the_frame_of_a_confirmation_says_whom_it_trains_again_and_on_which_seeds(
    tmp_path: Path,
) -> None:
    import pandas as pd

    search = fold(asked("t0001"), started("t0001"), reported(1, 3.0))
    assert not {"of", "seeds"} & set(trials_frame(search, Objective()))
    again = [
        TrialAsked(1.0, trial_id, {}, {}, (0, 7), stage=Stage.CONFIRMATION, of=of)
        for trial_id, of in (("c0001", "t0001"), ("c0002", "baseline"))
    ]
    results = fold(*again)
    frame = trials_frame(replace(results, trials=results.retrained), Objective())
    write_parquet(frame, tmp_path / "trials.parquet")
    for table in (frame, pd.read_parquet(tmp_path / "trials.parquet")):
        assert table["of"].tolist() == ["t0001", "baseline"]
        assert table["seeds"].tolist() == ["[0, 7]", "[0, 7]"]
    assert 'c0002,baseline,"[0, 7]"' in frame.to_csv(index=False)


def test_the_history_frame_has_a_row_per_report() -> None:
    results = fold(asked("t0001", lr=0.1), started("t0001"), reported(1, 3.0), reported(2, 4.0))
    frame = history_frame(results)
    assert list(frame["trial_id"]) == ["t0001", "t0001"]
    assert list(frame["episode_return_mean"]) == [3.0, 4.0]
    assert list(frame["lr"]) == [0.1, 0.1]


def test_a_run_without_trials_has_empty_frames() -> None:
    assert list(trials_frame(fold(), Objective()).columns)[:2] == ["trial_id", "state"]
    assert len(history_frame(fold())) == 0


def test_parquet_takes_choices_of_mixed_types(tmp_path: Path) -> None:
    import pandas as pd

    results = fold(
        asked("t0001", minibatch_size=64), asked("t0002", minibatch_size="auto"),
        asked("t0003", minibatch_size=[1, 2]), started("t0001"), reported(1, 3.0),
    )  # fmt: skip
    frame = trials_frame(results, Objective())
    write_parquet(frame, tmp_path / "trials.parquet")
    written = pd.read_parquet(tmp_path / "trials.parquet")
    assert list(written["minibatch_size"]) == ["64", '"auto"', '"[1, 2]"']
    assert list(frame["minibatch_size"]) == [64, "auto", "[1, 2]"]
    assert [path.name for path in tmp_path.iterdir()] == ["trials.parquet"]


def test_parquet_keeps_lists_that_not_every_row_has(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"x": [None, [1.0, None]]})
    write_parquet(frame, tmp_path / "lists.parquet")
    column = pd.read_parquet(tmp_path / "lists.parquet")["x"]
    assert column[0] is None
    assert next(iter(column[1])) == 1.0


def test_results_come_from_the_journal_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    for event in (launched(), asked(), started(), reported(1, 3.0), ended()):
        journal.append(event)
    journal.close()
    results = load_results(RunPaths(tmp_path))
    assert results.root == tmp_path
    assert results.counts() == {"TERMINATED": 1}
    assert results.trial("t0001").last_report["episode_return_mean"] == 3.0
    with pytest.raises(KeyError):
        results.trial("t0002")


def test_the_work_of_reading_trials_grows_with_their_number(tmp_path: Path) -> None:
    def calls(trials: int) -> int:
        folder = tmp_path / str(trials)
        folder.mkdir()
        journal = Journal(folder / "journal.jsonl")
        journal.append(launched())
        for number in range(trials):
            trial_id = f"t{number:04d}"
            journal.append(asked(trial_id, lr=0.1))
            journal.append(started(trial_id))
            for iteration in (1, 2):
                journal.append(reported(iteration, float(number), trial_id=trial_id))
        journal.close()
        rows: list[object] = []

        def read() -> None:
            rows.extend(load_results(RunPaths(folder)).to_rows(Objective("episode_return_mean")))

        found = count_calls(read)
        assert len(rows) == trials
        return found

    assert calls(1000) < 6 * calls(250)  # were it quadratic, sixteen times as many
