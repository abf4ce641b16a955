"""Notice that a cluster's head is lost, before Ray ends this process over it.

A call to the head that has no answer for a minute exits the process (`rpc_client.h` in Ray's
source), or raises. So nothing is asked unless the head takes a connection.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

# Sets Ray's environment variables, so it comes before anything that imports Ray.
from sweeper.running.tune.session import is_head_there, replaced

# isort: split
import ray.util
from ray.air.execution.resources import placement_group

from sweeper.errors import RunError

__all__ = ["loss_survived", "wait_for_head"]

_PATIENCE_S = 30.0
# How long Ray's own clients wait for a lost head, in which time the launch is concluded.
_LIMIT = "RAY_gcs_rpc_server_reconnect_timeout_s"
_LIMIT_S = "600"


def wait_for_head() -> None:
    """Return once the head answers: at once, or when it was started again.

    Raises:
        RunError: it does not for half a minute.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while not is_head_there():
        if time.monotonic() > deadline:
            raise RunError("the head of the Ray cluster (its GCS) is lost: it takes no connections")
        time.sleep(0.5)


@contextmanager
def loss_survived() -> Iterator[None]:
    """Within the block a session that is begun outlives its head, to end in order."""
    remove = placement_group.remove_placement_group

    def remove_if_there(group: Any) -> None:
        if is_head_there():
            remove(group)

    before = os.environ.get(_LIMIT)
    os.environ.setdefault(_LIMIT, _LIMIT_S)
    with ExitStack() as stack:
        for place in (placement_group, ray.util):
            stack.enter_context(replaced(place, "remove_placement_group", remove_if_there))
        try:
            yield
        finally:
            if before is None:
                del os.environ[_LIMIT]
