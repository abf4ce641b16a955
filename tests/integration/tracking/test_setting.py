"""What MLflow keeps beside a sweep's runs is written in spite of an outage: a real database."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from run_folders import make_run

from sweeper.journal import read_journal
from sweeper.planning.plan import load_plan
from sweeper.tracking.description import describe_sweep
from sweeper.tracking.destination import Destination, UnreachableError, import_mlflow
from sweeper.tracking.record import Record

NAME = "made-20260101-000000"


def test_a_view_that_the_database_did_not_take_is_written_when_it_does(tmp_path: Path) -> None:
    paths, database = make_run(tmp_path / "runs", NAME), tmp_path / "mlflow.db"
    destination = Destination(f"sqlite:///{database}", "e")
    record = Record(destination, describe_sweep(load_plan(paths.spec), paths), "try again")
    for event in read_journal(paths.journal):
        record.apply(event)

    # Runs can be written, an experiment's tags can't.
    trigger = "BEFORE INSERT ON experiment_tags BEGIN INSERT INTO nowhere VALUES (1); END"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"CREATE TRIGGER outage {trigger}")
        with pytest.raises(UnreachableError, match=r"no such table: main\.nowhere"):
            record.flush()
        connection.execute("DROP TRIGGER outage")
    client = import_mlflow().MlflowClient(tracking_uri=destination.uri)
    experiment = client.get_experiment_by_name("e")
    key = f"mlflow.sharedViewState.{NAME}"
    assert key not in experiment.tags
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 3, "the runs were written before"

    record.flush()  # with no news
    view = client.get_experiment_by_name("e").tags[key]
    assert json.loads(view)["name"] == NAME
    (parent,) = (run for run in runs if run.data.tags["sweeper.kind"] == "sweep")
    assert len(client.get_run(parent.info.run_id).inputs.dataset_inputs) == 1
