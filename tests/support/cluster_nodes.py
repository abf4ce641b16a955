"""Nodes of a Ray cluster on one machine, some of which don't see a folder that the others see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ray._raylet import GcsClient

__all__ = ["IsolatedNode", "can_hide_folders", "find_nodes"]

_MEMORY = 80 * 2**20
_START_S = 120.0
_RAY = "from ray.scripts.scripts import main; main()"
# Of a user and a mount namespace of its own, in which an empty folder lies over a given one.
_UNSHARE = ("unshare", "--map-root-user", "--mount", "sh", "-c")
_HIDE = 'mount -t tmpfs none "$0" && exec "$@"'


def can_hide_folders() -> bool:
    """Whether this system lets its users hide folders from processes."""
    try:
        done = subprocess.run([*_UNSHARE, "mount -t tmpfs none /mnt"], check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def find_nodes(address: str) -> dict[str, bool]:
    """The ids of a cluster's nodes, and whether each is alive."""
    found = GcsClient(address=address).get_all_node_info()
    return {node_id.hex(): info.state == 0 for node_id, info in found.items()}


class IsolatedNode:
    """A node that joins a cluster as by ``ray start``, with a raylet of its own.

    Args:
        address: the cluster's.
        cpus: how many it has.
        hidden: a folder that is empty for all of its processes.
    """

    def __init__(self, address: str, cpus: int, hidden: Path | None = None) -> None:
        before = find_nodes(address)
        command = [sys.executable, "-c", _RAY, "start", "--block", f"--address={address}"]
        command += [f"--num-cpus={cpus}", f"--object-store-memory={_MEMORY}"]
        if hidden is not None:
            command = [*_UNSHARE, _HIDE, str(hidden), *command]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        deadline = time.monotonic() + _START_S
        while not (new := find_nodes(address).keys() - before.keys()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the node did not start")
            time.sleep(0.2)
        (self.node_id,) = new

    def kill(self) -> None:
        """End all of its processes at once, as by a power cut."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
