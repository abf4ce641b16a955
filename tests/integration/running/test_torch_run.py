"""A sweep on the torch backend by the command line, to its champion and its MLflow model."""

from __future__ import annotations

import html
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas
import pytest
from command_line import sweeper, sweeper_here
from tiers import leave_after

from sweeper.api import open_run, resume
from sweeper.opened_agent import load_agent
from sweeper.results.frames import write_parquet
from sweeper.upkeep.overview import describe_run
from sweeper.upkeep.relog import log_run
from sweeper.views.runs import summarise

SPEC = """
name: tiny
environment: CartPole-v1
algorithm: {algorithm}
seeds: 3
param_space:
  lr: {{grid_search: [1.0e-3, 1.0e-4]}}
  model_config: {{fcnet_hiddens: [16]}}
{more}
stop: {{num_env_steps_sampled_lifetime: 1200}}
selection: {{finalists: 0}}
evaluation: {{episodes: 3, every_env_steps: 600}}
"""
PPO = """  train_batch_size_per_learner: 200
  minibatch_size: 100
  num_epochs: 2
"""
DQN = """  num_steps_sampled_before_learning_starts: 200
  replay_buffer_config: {type: PrioritizedEpisodeReplayBuffer, capacity: 1000}
"""


@pytest.fixture(scope="module", params=leave_after(1, ["PPO", "DQN"]))
def finished(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A finished run of two trials: its working directory and its folder."""
    folder = tmp_path_factory.mktemp(f"torch-{request.param}")
    more = PPO if request.param == "PPO" else DQN
    text = SPEC.format(algorithm=request.param, more=more.rstrip("\n"))
    text += "checkpoint: {trainer: true}\n" if request.param == "DQN" else ""
    (folder / "tiny.yaml").write_text(text)
    done = sweeper("run", "tiny.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, Path(done.stdout.strip())


def test_torch_is_the_default_and_every_replica_reports(finished: tuple[Path, Path]) -> None:
    folder, run = finished
    assert "backend: torch" in (run / "spec.yaml").read_text()
    rows = json.loads(sweeper_here("results", "--json", cwd=folder).stdout)
    assert [row["state"] for row in rows] == ["TERMINATED"] * 2
    history = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    reports = [event["metrics"] for event in history if event["event"] == "trial_reported"]
    assert len(reports[-1]["replica/evaluation/episode_return_mean"]) == 3
    assert reports[-1]["num_env_steps_sampled_lifetime"] >= 1200


def test_the_champion_is_one_replica_without_pickles(finished: tuple[Path, Path]) -> None:
    folder, run = finished
    best = json.loads(sweeper_here("best", "--json", cwd=folder).stdout)
    assert Path(best["agent"]) == run / "champion"
    names = {path.name for path in (run / "champion").iterdir()}
    assert names == {"agent.json", "seal.json", "weights.safetensors"}
    agent = load_agent(best["agent"])
    assert agent.description["trial_id"] == best["trial_id"]
    assert len(agent.description["seeds"]) == 1
    assert agent.act(np.zeros(4, np.float32)) in (0, 1)
    checkpoint = {path.name for path in Path(best["checkpoint"]).iterdir()}
    assert not any(name.endswith((".pkl", ".pt")) for name in checkpoint)


def test_the_mlflow_model_needs_neither_sweeper_nor_ray(finished: tuple[Path, Path]) -> None:
    folder, run = finished
    database = folder / "runs" / "mlflow.db"
    (model,) = [
        row[0] for row in sqlite3.connect(database).execute("select model_id from logged_models")
    ]
    code = (
        "import sys\n"
        "for name in ('sweeper', 'ray'): sys.modules[name] = None\n"
        "import mlflow, numpy\n"
        f"mlflow.set_tracking_uri('sqlite:///{database}')\n"
        f"model = mlflow.pyfunc.load_model('models:/{model}')\n"
        "print(model.predict(numpy.zeros((5, 4), numpy.float32)).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    actions = json.loads(done.stdout.splitlines()[-1])
    agent = load_agent(run / "champion")
    assert actions == [agent.act(np.zeros(4, np.float32))] * 5


def test_what_is_derived_from_the_journal_is_the_same_when_it_is_made_again(
    finished: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it is thrown away: the selection, the champion, the tables, MLflow's record."""
    folder, run = finished
    monkeypatch.chdir(folder)  # which the storage is relative to
    caches = [run / "selection.json", run / "champion", folder / "runs" / "mlflow.db"]
    made = _tables(run), _files(run / "champion"), (run / "selection.json").read_text()
    record = _record(folder / "runs" / "mlflow.db")
    assert {len(table) > 0 for table in record.values()} == {True}
    for cache in caches:
        shutil.rmtree(cache) if cache.is_dir() else cache.unlink()
    shutil.rmtree(folder / "runs" / "mlartifacts")

    opened = resume(run)
    log_run(opened)
    assert all(cache.exists() for cache in caches)
    assert _tables(run) == made[0]
    assert _files(run / "champion") == made[1]
    assert (run / "selection.json").read_text() == made[2]
    assert _record(folder / "runs" / "mlflow.db") == record


def _tables(run: Path) -> list[str]:
    """Results as every format and table has them, and who won."""
    opened = open_run(run)
    tables = [opened.trials, opened.history]
    for table in tuple(tables):
        file = run.parent / "table.parquet"
        write_parquet(table, file)
        tables.append(pandas.read_parquet(file))
        file.unlink()
    rows, best = json.dumps(opened.rows), json.dumps(opened.best)
    words = json.dumps(asdict(describe_run(opened)), default=str), summarise(opened, 80)
    return [*(table.to_csv() for table in tables), rows, best, *words]


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _record(database: Path) -> dict[str, list[tuple[str, ...]]]:
    """What MLflow has of each run, whatever ids it has given."""
    queries = {
        "runs": "select name, status, start_time, end_time from runs",
        "tags": "select r.name, key, value from tags join runs r using (run_uuid)",
        **{
            table: f"select r.name, {table}.* from {table} join runs r using (run_uuid)"  # noqa: S608
            for table in ("params", "metrics", "latest_metrics")
        },
    }
    with closing(sqlite3.connect(database)) as connection:
        ids = [row[0] for row in connection.execute("select run_uuid from runs")]
        ids += [row[0] for row in connection.execute("select model_id from logged_models")]
        any_id = re.compile("|".join(ids))
        return {
            name: sorted(
                tuple(any_id.sub("", str(value)) for value in row)
                for row in connection.execute(query)
            )
            for name, query in queries.items()
        }


def test_the_launch_leaves_a_report_which_mlflow_has_too(finished: tuple[Path, Path]) -> None:
    folder, run = finished
    report = run / "report.html"
    page = report.read_text()
    best = json.loads(sweeper_here("best", "--json", cwd=folder).stdout)
    assert best["verdict_text"].split(". ")[0] in html.unescape(page)
    assert f'value="{best["score"]!r}"' in page
    (stored,) = (folder / "runs" / "mlartifacts").glob("*/artifacts/report.html")
    assert stored.read_bytes() == report.read_bytes()
    with closing(sqlite3.connect(folder / "runs" / "mlflow.db")) as connection:
        notes = connection.execute("select value from tags where key = 'mlflow.note.content'")
        assert any("The report is the artifact `report.html`." in row[0] for row in notes)
    done = sweeper_here("report", "last", "--output", "copy.html", cwd=folder)
    assert done.stdout.strip() == str(folder / "copy.html")
    assert (folder / "copy.html").stat().st_size == pytest.approx(report.stat().st_size, abs=500)


# Last, for it changes the run.
def test_a_longer_stop_goes_on_with_finished_trials_whose_trainer_was_kept(
    ray_cluster: None, finished: tuple[Path, Path]
) -> None:
    folder, run = finished
    checkpoints = sorted(run.glob("trials/*/checkpoint_*"))
    names = {path.name for checkpoint in checkpoints for path in checkpoint.iterdir()}
    is_kept = "trainer: true" in (run / "spec.yaml").read_text()
    trainer = {"trainer.json", "trainer.safetensors"} if is_kept else set()
    agent = {"agent.json", "weights.safetensors", "complete.json", "seal.json"}
    assert names == agent | trainer
    more = ("resume", "--stop", "num_env_steps_sampled_lifetime=2400")
    spec, journal = (run / name for name in ("spec.yaml", "journal.jsonl"))
    before = spec.read_text(), journal.read_bytes()
    done = sweeper_here(*more, cwd=folder)
    assert done.returncode == (0 if is_kept else 2), done.stderr
    rows = json.loads(sweeper_here("results", "--json", cwd=folder).stdout)
    steps = [row["num_env_steps_sampled_lifetime"] for row in rows]
    if is_kept:
        assert "t0001 goes on from its checkpoint at 2,000 env steps" in done.stderr
        assert min(steps) >= 2400
    else:
        assert "nothing left to do" in done.stderr
        assert "t0001, t0002 can't go on: the optimiser's state of finished trials was not " in (
            done.stderr
        )
        assert "checkpoint.trainer: true" in done.stderr
        assert "so a new stop.num_env_steps_sampled_lifetime has no effect" in done.stderr
        assert max(steps) < 2400
        assert (spec.read_text(), journal.read_bytes()) == before
