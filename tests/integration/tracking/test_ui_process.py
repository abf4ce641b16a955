"""`sweeper ui` as a process: its port, its browser, its end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from command_line import started, sweeper, sweeper_here
from run_folders import SPEC, make_run

from sweeper.tracking.destination import import_mlflow

NAME = "made-20260101-000000"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of a run with a record."""
    place = tmp_path_factory.mktemp("ui")
    make_run(place / "runs", NAME, spec=SPEC.replace("tracking: null", "tracking: {}"))
    done = sweeper_here("log", NAME, cwd=place)
    assert done.returncode == 0, done.stderr
    return place


def _address(process: subprocess.Popen[str]) -> str:
    """The address of the trials, once it is printed."""
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"http://\S+", line)
    assert found, line
    return found[0]


def _names(address: str) -> list[str]:
    """The experiments that the server at an address has."""
    client = import_mlflow().MlflowClient(tracking_uri=address.partition("/#")[0])
    return [one.name for one in client.search_experiments()]


def _port(address: str) -> int:
    return urlsplit(address).port or 0


def test_two_at_once_have_a_port_each(folder: Path) -> None:
    with started("ui", cwd=folder) as first, started("ui", cwd=folder) as second:
        addresses = [_address(first), _address(second)]
        assert _port(addresses[0]) != _port(addresses[1])
        for address in addresses:
            assert "made" in _names(address)


def test_a_port_that_is_taken_is_the_user_s_mistake(folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = sweeper("ui", "--port", str(port), cwd=folder)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: can't listen on 127.0.0.1:{port}: Address already in use; choose another port by "
        "--port\n"
    )


@pytest.mark.parametrize("whom", ["all of the terminal", "the command alone"])
def test_ctrl_c_ends_the_server_too(whom: str, folder: Path) -> None:
    with started("ui", "--port", "0", cwd=folder) as process:
        port = _port(_address(process))
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        if whom == "the command alone":
            process.send_signal(signal.SIGINT)
        else:
            os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in said
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_command_that_is_ended_leaves_no_server(folder: Path) -> None:
    with started("ui", "--port", "0", cwd=folder) as process:
        _address(process)
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(60)
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []


def test_a_browser_is_opened_on_the_trials_on_request(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, opened = tmp_path / "browser", tmp_path / "opened"
    script.write_text(f'#!/bin/sh\necho "$1" > {opened}.new\nmv {opened}.new {opened}\n')
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{script} %s")
    with started("ui", "--port", "0", "--open", cwd=folder) as process:
        address = _address(process)
        deadline = time.monotonic() + 60
        while not opened.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert opened.read_text().strip() == address
