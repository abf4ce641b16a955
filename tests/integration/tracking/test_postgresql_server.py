"""A sweep into a real MLflow server on PostgreSQL and a bucket, through two kills."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import started, sweeper_here
from databases import opened_bucket, opened_cluster
from run_folders import make_run
from tracking_servers import MlflowServer, free_port, read_record

from sweeper.opened_run import open_run
from sweeper.tracking.destination import import_mlflow

QUICKSTART = Path(__file__).parents[3] / "configs" / "quickstart.yaml"


@pytest.mark.acceptance
@pytest.mark.timeout(600)
def test_a_sweep_survives_the_kill_of_its_driver_and_of_its_server(
    tmp_path: Path, ray_cluster: None
) -> None:
    import ray

    address = f"ray.address={ray.get_runtime_context().gcs_address}"
    shutil.copy(QUICKSTART, tmp_path / "spec.yaml")
    with opened_cluster() as cluster, opened_bucket() as bucket:
        server = MlflowServer(cluster.uri, bucket.uri, environment=bucket.variables)
        try:
            server.start()
            tracking = f"tracking={{uri: '{server.url}', experiment: quickstart}}"
            with started("run", "spec.yaml", address, tracking, cwd=tmp_path) as driver:
                deadline = time.monotonic() + 120
                while _ended_trials(tmp_path) < 2:
                    assert driver.poll() is None, driver.communicate()
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
                server.kill()
                os.kill(driver.pid, signal.SIGKILL)
            server.start()
            done = sweeper_here("resume", "last", cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert "Traceback" not in done.stderr
            run = open_run(tmp_path / done.stdout.strip())
            assert run.results.counts() == {"TERMINATED": 6}

            logged = sweeper_here("log", "last", cwd=tmp_path)
            assert logged.returncode == 0, logged.stderr
            undisturbed = f"sqlite:///{tmp_path}/undisturbed.db"
            sweeper_here("log", "last", "--uri", undisturbed, "--experiment", "e", cwd=tmp_path)
            found = read_record(server.url, "quickstart")
            assert {f"t000{number}" for number in range(1, 7)} < set(found)
            assert found == read_record(undisturbed, "e")
            assert found["models"] == ["READY"]

            keys = bucket.list_keys()
            for name in ("spec.yaml", "report.html", "MLmodel"):
                assert [key for key in keys if key.endswith(f"/{name}")], name
            assert _act(server.url, "quickstart") == [2]
            files = [path for path in run.paths.root.rglob("*") if path.is_file()]
            secrets = (cluster.password, bucket.variables["AWS_SECRET_ACCESS_KEY"])
            for secret in secrets:
                assert [path for path in files if secret.encode() in path.read_bytes()] == []
        finally:
            server.kill()


def test_a_run_is_logged_to_postgresql_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "runs", "made-20260101-000000")
    with opened_cluster() as cluster:
        uri = cluster.uri.replace(cluster.password, "${env:DATABASE_SECRET}")
        words = ("log", run.root.name, "--experiment", "e", "--uri")
        monkeypatch.setenv("DATABASE_SECRET", cluster.password)
        for _ in range(2):
            done = sweeper_here(*words, uri, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert cluster.password not in done.stderr
        assert {"sweep", "t0001", "t0002"} < set(read_record(cluster.uri, "e"))
        driverless = uri.replace("+psycopg2", "+pg8000")
        away = re.sub(r":\d+/", f":{free_port()}/", uri)
        for wrong, why in (
            (driverless, "needs a package that is not installed: No module named 'pg8000'"),
            (away, "no server answers at postgresql+psycopg2://sweeper:***@127.0.0.1:"),
        ):
            done = sweeper_here(*words, wrong, cwd=tmp_path)
            assert (done.returncode, done.stderr.count("\n")) == (1, 1)
            assert why in done.stderr
            assert cluster.password not in done.stderr
        monkeypatch.setenv("DATABASE_SECRET", "sentinel-wrong")
        done = sweeper_here(*words, uri, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "password authentication failed" in done.stderr
        assert "sentinel" not in done.stderr


def _ended_trials(folder: Path) -> int:
    found = [path.read_text() for path in folder.glob("runs/*/journal.jsonl")]
    return sum(text.count('"trial_ended"') for text in found)


def _act(url: str, experiment: str) -> list[int]:
    """The shape of the actions of the model in an experiment, in a process that only knows it."""
    client = import_mlflow().MlflowClient(tracking_uri=url)
    (model,) = client.search_logged_models(
        [client.get_experiment_by_name(experiment).experiment_id]
    )
    code = f"""
import json, mlflow, numpy
mlflow.set_tracking_uri({url!r})
model = mlflow.pyfunc.load_model("models:/{model.model_id}")
print(json.dumps(model.predict(numpy.zeros((2, 4), numpy.float32)).shape))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shape: list[int] = json.loads(done.stdout.splitlines()[-1])
    return shape
