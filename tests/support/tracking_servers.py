"""Real MLflow servers for tests, and the whole of a record that is in one."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any

from sweeper.tracking.destination import import_mlflow

__all__ = ["MlflowServer", "free_port", "opened_server", "read_record"]

_START_S = 120


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class MlflowServer:
    """``mlflow server`` on a port of its own, which can be killed and started again."""

    def __init__(
        self,
        store: str,
        artifacts: str,
        *options: str,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Set up a server.

        Args:
            store: the URI of its database; not among its arguments, which everyone can list.
            artifacts: where it keeps the files of runs.
            options: more words for ``mlflow server``.
            environment: variables of its process.
        """
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._command = [
            *(sys.executable, "-P", "-m", "mlflow", "server", "--workers", "1"),
            *("--host", "127.0.0.1", "--port", str(self._port)),
            *("--artifacts-destination", artifacts, *options),
        ]
        self._environment = {
            **os.environ,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_BACKEND_STORE_URI": store,
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with tempfile.TemporaryFile() as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            deadline = time.monotonic() + _START_S
            while not self.is_up():
                ended, late = self._process.poll() is not None, time.monotonic() > deadline
                if ended or late:
                    output.seek(0)
                    raise AssertionError(f"no server: {output.read().decode()[-4000:]}")
                time.sleep(0.1)

    def is_up(self) -> bool:
        """Whether it answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        return False

    def kill(self) -> None:
        """Kill it with all its processes, as a power loss does."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextmanager
def opened_server(store: str, artifacts: str, *options: str, **more: Any) -> Iterator[MlflowServer]:
    """A server for a block."""
    server = MlflowServer(store, artifacts, *options, **more)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def read_record(uri: str, experiment: str) -> dict[str, Any]:
    """Everything that the record of the only run in an experiment says, by trial.

    Left out is what differs where the same journal is written twice: MLflow's own ids and texts
    that quote them.

    Raises:
        AssertionError: a run is there twice, or a metric has a step twice.
    """
    client = import_mlflow().MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None, f"there is no experiment {experiment}"
    runs = client.search_runs([found.experiment_id], max_results=1000)
    record: dict[str, Any] = {}
    for run in runs:
        tags = dict(run.data.tags)
        key = tags.get("sweeper.trial") or tags.get("sweeper.group") or "sweep"
        assert key not in record, f"{key} is there twice"
        curves = {}
        for name in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, name)
            points = sorted((one.step, one.value) for one in history)
            steps = [step for step, _ in points]
            assert len(steps) == len(set(steps)), f"{key}: {name} has a step twice: {steps}"
            curves[name] = points
        record[key] = {
            "name": run.info.run_name,
            "status": run.info.status,
            "params": dict(run.data.params),
            "metrics": curves,
            "tags": {name: text for name, text in tags.items() if name not in _OF_THE_WRITING},
            "files": sorted(one.path for one in client.list_artifacts(run.info.run_id)),
            "parent": tags.get("mlflow.parentRunId") is not None,
            "inputs": len(run.inputs.dataset_inputs) if run.inputs else 0,
            "outputs": len(run.outputs.model_outputs) if run.outputs else 0,
        }
    models = client.search_logged_models([found.experiment_id])
    record["models"] = sorted(str(model.status) for model in models)
    return record


_OF_THE_WRITING = {
    "mlflow.note.content",  # names runs by their ids
    "mlflow.parentRunId",
    "mlflow.user",
    "sweeper.events",
    "sweeper.last_event",
}
