"""A record stays single where the journal or the database is not what it was: real MLflow.

After a power loss the journal may have lost its last lines, and MLflow is ahead of it; a database
may be put back from a copy, and is behind.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sweeper.journal import (
    Event,
    Journal,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialEnded,
    TrialReported,
    TrialStarted,
)
from sweeper.paths import RunPaths
from sweeper.spec import parse
from sweeper.tracking.destination import import_mlflow
from sweeper.tracking.tracker import MlflowTracker

METRIC = "episode_return_mean"
SPEC = {
    "name": "cut",
    "environment": "CartPole-v1",
    "algorithm": "PPO",
    "param_space": {"lr": {"loguniform": [1e-5, 1e-2]}},
    "search": {"num_samples": 3},
    "stop": {"num_env_steps_sampled_lifetime": 10_000},
}


class Sweep:
    """A run whose journal a test writes, and its record."""

    def __init__(self, storage: Path, database: Path) -> None:
        self.paths, self.database = RunPaths(storage / "cut-20260101-000000"), database
        self.paths.root.mkdir(parents=True)
        self.clock = 1_700_000_000.0

    def write(self, *events: tuple[Any, ...]) -> None:
        """Append events: each a kind with its arguments after the time."""
        with closing(Journal(self.paths.journal)) as journal:
            for kind, *arguments in events:
                self.clock += 1.0
                event: Event = kind(self.clock, *arguments)
                journal.append(event)

    def cut(self, lines: int) -> None:
        """Take the journal's last lines away, as a power loss may."""
        kept = self.paths.journal.read_bytes().splitlines(keepends=True)[:-lines]
        self.paths.journal.write_bytes(b"".join(kept))

    def log(self) -> None:
        spec = parse({**SPEC, "tracking": {"uri": f"sqlite:///{self.database}", "experiment": "e"}})
        tracker = MlflowTracker(spec.plan(), self.paths, spec.tracking, artifact_root=None)
        tracker.start()
        assert tracker.close("interrupted", timeout_s=120) == []

    def steps(self, trial_id: str = "t0001") -> dict[int, list[float]]:
        """The values of each step in MLflow."""
        client = import_mlflow().MlflowClient(tracking_uri=f"sqlite:///{self.database}")
        found = client.search_runs(
            [client.get_experiment_by_name("e").experiment_id],
            filter_string=f"tags.`sweeper.run` = '{self.paths.root.name}' and "
            f"tags.`sweeper.trial` = '{trial_id}'",
        )
        assert len(found) == 1
        steps: dict[int, list[float]] = {}
        for one in client.get_metric_history(found[0].info.run_id, METRIC):
            steps.setdefault(one.step, []).append(one.value)
        return dict(sorted(steps.items()))

    def rows(self) -> Counter[Any]:
        with closing(sqlite3.connect(self.database)) as connection:
            query = "SELECT run_uuid, key, step, value, timestamp FROM metrics"
            return Counter(connection.execute(query))


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    import_mlflow().MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def sweep(tmp_path: Path, empty_database: Path) -> Sweep:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return Sweep(tmp_path / "runs", tmp_path / "mlflow.db")


def asked(trial_id: str = "t0001", lr: float = 0.1) -> list[tuple[Any, ...]]:
    return [
        (TrialAsked, trial_id, {"lr": lr}, {"lr": lr}, (0,)),
        (TrialStarted, trial_id, "node"),
    ]


def reports(first: int, last: int, *, value: float, trial_id: str = "t0001") -> list[Any]:
    return [
        (
            TrialReported,
            trial_id,
            {
                "training_iteration": number,
                "num_env_steps_sampled_lifetime": 100 * number,
                METRIC: value + number,
            },
        )
        for number in range(first, last + 1)
    ]


def launch(number: int = 1) -> tuple[Any, ...]:
    return (LaunchStarted, number, 1, ("sweeper",))


@pytest.mark.parametrize("cut", [1, 3, 5, 7])
def test_a_journal_cut_by_some_lines_doubles_nothing_and_loses_nothing(
    cut: int, sweep: Sweep
) -> None:
    sweep.write(launch(), *asked(), *reports(1, 6, value=1000.0))
    sweep.log()
    assert list(sweep.steps()) == [100, 200, 300, 400, 500, 600]
    sweep.cut(cut)
    sweep.log()  # `log` before the run goes on
    sweep.write(
        launch(2),
        *(asked()[1:] if cut < 7 else asked()),
        *reports(3 if cut < 7 else 1, 9, value=2000.0),
        (TrialEnded, "t0001", "TERMINATED", "done"),
        (LaunchEnded, "finished"),
    )
    sweep.log()
    steps = sweep.steps()
    assert list(steps) == [100 * number for number in range(1, 10)]
    assert {step: len(values) for step, values in steps.items() if len(values) > 1} == {}
    assert steps[600] == [1006.0], "the first value of a step stays"
    assert steps[900] == [2009.0]
    before = sweep.rows()
    sweep.log()
    assert sweep.rows() == before


def test_a_resumed_launch_on_a_cut_journal_has_one_curve(sweep: Sweep) -> None:
    sweep.write(launch(), *asked(), *reports(1, 6, value=1000.0))
    sweep.log()
    sweep.cut(4)
    sweep.write(launch(2), *asked()[1:], *reports(1, 9, value=2000.0))
    sweep.log()  # the new lines come before anybody has looked at the shorter journal
    assert {step: len(values) for step, values in sweep.steps().items()} == {
        100 * number: 1 for number in range(1, 10)
    }


def test_metrics_that_were_written_without_their_count_are_not_written_again(sweep: Sweep) -> None:
    sweep.write(launch(), *asked(), *reports(1, 6, value=1000.0))
    sweep.log()
    before = sweep.rows()
    with closing(sqlite3.connect(sweep.database)) as connection:
        # A kill between the two transactions of one batch.
        sql = "UPDATE tags SET value = '4' WHERE key = 'sweeper.events' AND value = '8'"
        assert connection.execute(sql).rowcount == 1
        sql = "DELETE FROM tags WHERE key = 'sweeper.last_event'"
        assert connection.execute(sql).rowcount == 2
        connection.commit()
    sweep.log()
    assert sweep.rows() == before


def test_a_database_that_was_put_back_is_completed(sweep: Sweep) -> None:
    sweep.write(launch(), *asked(), *reports(1, 3, value=1000.0))
    sweep.log()
    shutil.copy(sweep.database, sweep.database.with_suffix(".copy"))
    sweep.write(*reports(4, 6, value=1000.0), *asked("t0002"))
    sweep.log()
    whole = {key[1:] for key in sweep.rows()}
    shutil.copy(sweep.database.with_suffix(".copy"), sweep.database)
    sweep.log()
    assert {key[1:] for key in sweep.rows()} == whole
    assert set(sweep.rows().values()) == {1}


def test_a_lost_trial_makes_way_for_another_of_its_id(sweep: Sweep) -> None:
    sweep.write(launch(), *asked(lr=0.1), *reports(1, 3, value=1000.0))
    sweep.log()
    sweep.cut(5)
    sweep.write(launch(2), *asked(lr=0.2), *reports(1, 2, value=2000.0))
    sweep.log()
    assert sweep.steps() == {100: [2001.0], 200: [2002.0]}
