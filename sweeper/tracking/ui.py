"""Run the MLflow UI on a run's tracking database, as a child process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from typing import IO, Any, NamedTuple
from urllib.parse import quote

from sweeper.errors import SweeperError, UserError
from sweeper.sqlite_address import sqlite_path
from sweeper.stored_files import FILES
from sweeper.tracking.credentials import find_address
from sweeper.tracking.destination import mlflow_uri, resolve_uri
from sweeper.veil import hide_references

__all__ = ["UiServer", "open_ui"]

_START_S = 90.0
_STOP_S = 10.0


class UiServer(NamedTuple):
    """A running UI: the server's process, and the URL of the page to open."""

    process: subprocess.Popen[bytes]
    url: str

    def stop(self) -> None:
        """Stop the server and wait for its end."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def open_ui(
    uri: str, host: str = "127.0.0.1", port: int = 5000, *, experiment: str | None = None
) -> UiServer:
    """Start the MLflow UI on a tracking database and wait until it answers.

    Args:
        uri: the database, ``sqlite:///…``, as a spec has it.
        host: the address to listen on. Anyone who can reach it can read and change the record.
        port: 0 for any free port.
        experiment: the experiment that ``url`` shows; by default the list of all.

    Raises:
        UserError: there is no such database, the URI is a server's, or the port is taken.
        SweeperError: the server ended or did not answer.
    """
    address = find_address(uri).uri
    database = sqlite_path(address)
    if address.startswith(("http://", "https://")):
        raise UserError(f"{hide_references(uri)} is a server already: open it in a browser")
    if database is not None and not database.is_file():
        raise UserError(
            f"no MLflow database {database}: a run makes it, unless its spec has `tracking: null`, "
            "and `sweeper log RUN` writes a run to it that came from elsewhere"
        )
    port = _free_port(host, port)
    command = [
        *(sys.executable, "-P", "-m", "mlflow", "server"),
        *("--host", host, "--port", str(port), "--workers", "1"),
    ]
    if database is not None:
        # By default the server creates a folder in the working directory.
        artifacts = database.absolute().parent / FILES
        command += ["--artifacts-destination", artifacts.as_uri()]
    environment = {
        **os.environ,
        # Not among the arguments, which everyone on the machine can list.
        "MLFLOW_BACKEND_STORE_URI": mlflow_uri(resolve_uri(address)),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # Jobs are for features that sweeps don't use; this saves a process.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        server = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        try:
            _await_answer(server, process, output)
        except BaseException:
            UiServer(process, server).stop()
            raise
    return UiServer(process=process, url=server + _page(server, experiment))


def _page(server: str, experiment: str | None) -> str:
    # Without the workflow type the UI shows its pages for language models.
    workflow = "?workflowType=machine_learning"
    if experiment is not None:
        query = f"{server}/api/2.0/mlflow/experiments/get-by-name?experiment_name="
        with (
            suppress(OSError, ValueError, KeyError),
            _get(query + quote(experiment, safe="")) as it,
        ):
            number = json.load(it)["experiment"]["experiment_id"]
            return f"/#/experiments/{number}/runs{workflow}"
    return f"/#/experiments{workflow}"


def _get(url: str) -> Any:
    # Bypass any proxy that the environment sets: the server is local.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(url, timeout=5)


def _free_port(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OverflowError as error:
            raise UserError(f"there is no port {port}; choose one up to 65535 by --port") from error
        except OSError as error:
            raise UserError(
                f"can't listen on {host}:{port}: {error.strerror}; choose another port by --port"
            ) from error
        return int(probe.getsockname()[1])


def _await_answer(url: str, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SweeperError(
                f"the MLflow server ended with exit code {process.returncode}:\n{_tail(output)}"
            )
        try:
            with _get(f"{url}/health"):
                return
        except OSError:  # URLError is one
            time.sleep(0.1)
    raise SweeperError(f"the MLflow server does not answer at {url}:\n{_tail(output)}")


def _tail(output: IO[bytes]) -> str:
    output.seek(0)
    return "\n".join(output.read().decode(errors="replace").splitlines()[-10:])
