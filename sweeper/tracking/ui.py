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
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote

from sweeper.errors import SweeperError, UserError
from sweeper.sqlite_address import sqlite_path
from sweeper.stored_files import FILES
from sweeper.tracking.credentials import find_address
from sweeper.tracking.curves import SCORE
from sweeper.tracking.destination import mlflow_uri, resolve_uri
from sweeper.tracking.naming import quote as in_quotes
from sweeper.tracking.setting import VIEW_TAG, view_filter, view_tag
from sweeper.veil import hide_references

__all__ = ["UiServer", "open_ui"]

_PORT = 5000
_SAYS_IT_RUNS = "running on"  # uvicorn, once it listens
_START_S = 90.0
_PATIENCE_S = 60.0
_STOP_S = 10.0


class _PortTakenError(Exception):
    """Somebody else has begun to listen on the port."""


class UiServer(NamedTuple):
    """A running UI.

    Attributes:
        process: the server's.
        url: of the page to open: a sweep's trials, the best first, or else the experiments.
        run_url: of the sweep's own run, with its description; None if there is none.
    """

    process: subprocess.Popen[bytes]
    url: str
    run_url: str | None = None

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
    uri: str,
    host: str = "127.0.0.1",
    port: int | None = None,
    *,
    experiment: str | None = None,
    run_name: str | None = None,
    mode: str = "max",
) -> UiServer:
    """Start the MLflow UI on a tracking database and wait until it answers.

    Args:
        uri: the database, ``sqlite:///…``, as a spec has it.
        host: the address to listen on. Anyone who can reach it can read and change the record.
        port: 0 for any free port; None for 5000, or any free one if that is taken.
        experiment: the experiment that ``url`` shows; by default the list of all.
        run_name: the sweep whose trials it shows.
        mode: ``max`` or ``min``: which of its trials come first.

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
    server = _start(address, database, host, port)
    try:
        return _find_pages(server, experiment, run_name, mode)
    except BaseException:
        server.stop()
        raise


def _start(address: str, database: Path | None, host: str, wanted: int | None) -> UiServer:
    """Start the server on a port of its own, and wait until it answers."""
    try:
        port = _free_port(host, _PORT if wanted is None else wanted)
    except UserError:
        if wanted is not None:
            raise
        port = _free_port(host, 0)
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
        server = UiServer(process, f"http://{f'[{host}]' if ':' in host else host}:{port}")
        try:
            _await_answer(server.url, process, output)
        except _PortTakenError as error:
            server.stop()
            if wanted is None:  # another UI that was started at the same time
                return _start(address, database, host, 0)
            raise UserError(_explain_port(host, port, "Address already in use")) from error
        except BaseException:
            server.stop()
            raise
    return server


def _find_pages(
    server: UiServer, experiment: str | None, run_name: str | None, mode: str
) -> UiServer:
    """The same server with the addresses of a sweep's pages, as far as the record has them."""
    # Without the workflow type the UI shows its pages for language models.
    workflow, base = "?workflowType=machine_learning", server.url
    server = server._replace(url=f"{base}/#/experiments{workflow}")
    if experiment is None:
        return server
    with suppress(OSError, ValueError, KeyError):
        query = f"{base}/api/2.0/mlflow/experiments/get-by-name?experiment_name="
        with _get(query + quote(experiment, safe="")) as answer:
            found = json.load(answer)["experiment"]
        runs = f"{base}/#/experiments/{found['experiment_id']}/runs"
        server = server._replace(url=runs + workflow)
        if run_name is None:
            return server
        tags = {tag["key"] for tag in found.get("tags", [])}
        key = view_tag(run_name)
        if key in tags:
            # Alone: MLflow ignores a view if an order or a filter stands beside it.
            view = f"&viewStateShareKey={quote(key.removeprefix(VIEW_TAG), safe='')}"
        else:  # a record of an earlier version
            view = f"&searchFilter={quote(view_filter(run_name), safe='')}"
            view += f"&orderByKey={quote(f'metrics.`{SCORE}`', safe='')}"
            view += f"&orderByAsc={'true' if mode == 'min' else 'false'}"
        server = server._replace(url=runs + workflow + view)
        wanted = f"tags.`sweeper.run` = {in_quotes(run_name)} AND tags.`sweeper.kind` = 'sweep'"
        body = {"experiment_ids": [found["experiment_id"]], "filter": wanted, "max_results": 1}
        with _get(f"{base}/api/2.0/mlflow/runs/search", json.dumps(body).encode()) as answer:
            run = json.load(answer)["runs"][0]["info"]["run_id"]
        server = server._replace(run_url=f"{runs}/{run}{workflow}")
    return server


def _get(url: str, body: bytes | None = None) -> Any:
    # Bypass any proxy that the environment sets: the server is local.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(  # noqa: S310 - of our own server
        url, data=body, headers={"Content-Type": "application/json"}
    )
    return opener.open(request, timeout=5)


def _free_port(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OverflowError as error:
            raise UserError(f"there is no port {port}; choose one up to 65535 by --port") from error
        except OSError as error:
            raise UserError(_explain_port(host, port, error.strerror)) from error
        return int(probe.getsockname()[1])


def _explain_port(host: str, port: int, why: str | None) -> str:
    return f"can't listen on {host}:{port}: {why}; choose another port by --port"


def _await_answer(url: str, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    patience = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            if "address already in use" in _tail(output):
                raise _PortTakenError
            raise SweeperError(
                f"the MLflow server ended with exit code {process.returncode}:\n{_tail(output)}"
            )
        try:
            with _get(f"{url}/health"):
                # Until it says so itself, another server may be the one that answers.
                if _SAYS_IT_RUNS in _tail(output) or time.monotonic() > patience:
                    return
                time.sleep(0.1)
        except OSError:  # URLError is one
            time.sleep(0.1)
    raise SweeperError(f"the MLflow server does not answer at {url}:\n{_tail(output)}")


def _tail(output: IO[bytes]) -> str:
    output.seek(0)
    return "\n".join(output.read().decode(errors="replace").splitlines()[-10:])
