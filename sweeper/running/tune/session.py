"""A Ray session for the length of a launch, or the connection to a cluster."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from sweeper.errors import UserError
from sweeper.running.ray_folder import RAY_FOLDER, choose_ray_folder

# isort: split
import sweeper.running.tune.before_ray  # noqa: F401 - what Ray reads when it is imported

# isort: split
import ray

# isort: split
import psutil  # which comes with Ray, and is found once that is imported
from ray._private import utils as ray_utils
from ray._private.node import Node
from ray._private.ray_constants import PROCESS_TYPE_RAYLET
from ray._private.services import canonicalize_bootstrap_address_or_die
from ray.experimental import internal_kv
from ray.job_config import JobConfig

from sweeper.references import KEY_PREFIX, NAMESPACE

__all__ = ["check_cluster", "is_head_there", "live_nodes", "ray_session", "replaced"]

_UNREACHABLE = (OSError, ValueError, RuntimeError)  # with TimeoutError, an OSError
# Ray's words for a cluster of other versions (`check_version_info` in ray/_private/utils.py), and
# where a port is open but no cluster lets this process in (`Node` in ray/_private/node.py).
_OTHER_VERSION = "Version mismatch: "
_NO_WELCOME = "Failed to connect to Ray cluster at"
_PROBE_S = 5.0
_CONNECT_S = 2.0
_OBJECT_STORE_BYTES = 200 * 2**20


def check_cluster(address: str) -> None:
    """Find out in seconds whether a cluster answers, before a run folder is made.

    Raises:
        UserError: it does not.
    """
    if ray.is_initialized():
        return
    try:
        _probe(canonicalize_bootstrap_address_or_die(address) if address == "auto" else address)
    except _UNREACHABLE as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> UserError:
    if _OTHER_VERSION in str(error):
        versions = " ".join(str(error).partition(_OTHER_VERSION)[2].split())
        return UserError(f"another Ray or Python on the cluster: {versions}; install the same here")
    if _NO_WELCOME in str(error):
        return UserError(
            f"what listens at {address} does not let this process join it as a Ray cluster; one "
            "that was started with RAY_AUTH_MODE=token, or where there was a ~/.ray/auth_token, "
            "wants the same token here, and on every node"
        )
    found = f"no Ray cluster answers at ray.address {address} ({_first_line(error)})"
    if address == "auto":
        found = "ray.address is auto, but no Ray cluster runs on this machine"
    return UserError(
        f"{found}; start one with `ray start --head`, or leave ray.address out to run on this "
        "machine alone"
    )


def _first_line(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def ray_session(
    address: str | None,
    install_signals: Callable[[], None],
    variables: Sequence[str] = (),
    *,
    modules: Path | None = None,
) -> Iterator[None]:
    """A local Ray, or the cluster that the spec names; a session that is running is used.

    Args:
        address: None for a local one.
        install_signals: sets the caller's signal handlers again, since Ray sets its own.
        variables: names of environment variables that the session's workers need.
        modules: a folder that a cluster's nodes are sent; its parent is on their PYTHONPATH.

    Raises:
        UserError: Ray can't be started or reached.
    """
    if ray.is_initialized():
        with _shared(variables):
            yield
        return
    # A SIGTERM to the whole process group must not end Ray before the trials are saved. Child
    # processes inherit the mask.
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        _probe(address)
        if address is None:
            folder, why = choose_ray_folder(os.environ)
            if why:  # Ray's processes read it, too
                os.environ[RAY_FOLDER] = folder
        # Ray replaces the caller's SIGTERM handler by its own, which exits. The mask is not enough:
        # the system delivers the signal to any thread that has not blocked it, numpy's for example,
        # and Python then calls whatever handler is set.
        with (
            replaced(ray_utils, "set_sigterm_handler", lambda _: None),
            _without_servants(address),
        ):
            ray.init(**_arguments(address, modules))
    except Exception as error:  # a start that takes too long raises a bare `Exception`
        if address is None:
            why = f"Ray can't be started on this machine: {_first_line(error)}"
            raise UserError(
                f"{why}; if the machine is busy, try again when it is less so; `sweeper doctor` "
                "looks into it"
            ) from error
        raise _no_cluster(address, error) from error
    finally:
        install_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    # Keep stdout for data: Ray prints there that a worker died, whatever its log level. What that
    # means for the trial is in the journal and in our own messages.
    with replaced(ray._private.worker, "_worker_logs_enabled", _is_verbose()):
        try:
            with _shared(variables, is_own=address is None):
                yield
        finally:
            with _garbage_kept():
                _end_without_waiting()
                ray.shutdown()  # prints the messages it had held back


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Collect garbage once, and not again within the block, in any thread.

    Ray exits the process as soon as one of its references is freed between the end of its core
    worker and the end of `ray.shutdown` (`CoreWorkerProcessImpl::GetCoreWorker` in
    core_worker_process.cc). Tune leaves such references in cycles, and the collector runs in
    whichever thread makes the most objects.
    """
    gc.collect()
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()


@contextmanager
def _shared(variables: Sequence[str], *, is_own: bool = False) -> Iterator[None]:
    """Keep variables of this process where the session's workers find them.

    Only in the memory of Ray's control store: a worker's settings and Ray's logs have no values.
    """
    keys = []
    for name in variables:
        if (text := os.environ.get(name)) is not None:
            keys.append((KEY_PREFIX + name).encode())
            internal_kv._internal_kv_put(keys[-1], text.encode(), namespace=NAMESPACE)
    try:
        yield
    finally:
        # Our own store ends with the session, and a lost one never answers.
        for key in () if is_own or not (keys and is_head_there()) else keys:
            with suppress(Exception):
                internal_kv._internal_kv_del(key, namespace=NAMESPACE)


def _end_without_waiting() -> None:
    """Make `ray.shutdown` kill this machine's processes of Ray at once.

    It waits a second for each of five that have SIGTERM blocked. The raylet's agents end by
    themselves only some time after it, if the control store still answers, so they are killed too.
    """
    node = ray._private.worker._global_node
    if node is None or not node.is_head():
        return
    kill = node.kill_all_processes

    def kill_quickly(**_: Any) -> None:
        raylets = [one.process for one in node.all_processes.get(PROCESS_TYPE_RAYLET, ())]
        below = [child for raylet in raylets for child in _find_descendants(raylet.pid)]
        kill(check_alive=False, allow_graceful=False)
        for child in below:
            with suppress(psutil.Error):
                child.kill()

    node.kill_all_processes = kill_quickly


def _find_descendants(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return list(psutil.Process(pid).children(recursive=True))
    return []


class _OwnPathJobConfig(JobConfig):  # type: ignore[misc]
    """Leaves the workers' Python path as it is.

    Ray would put the working directory at its head, where a script called mlflow.py may lie. A
    worker adds the folders of the user's modules itself (`sweeper.environments.modules`).
    """

    def _serialize(self) -> Any:
        self._py_driver_sys_path: list[str] = []
        return super()._serialize()


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute of Ray's within the block."""
    theirs = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, theirs)


@contextmanager
def _without_servants(address: str | None) -> Iterator[None]:
    """Start a local Ray without the processes that nothing here uses.

    The monitor is the autoscaler's, and the log monitor reads the workers' logs for the driver.
    Ray's API server, which without a dashboard sends usage statistics alone, is waited for: about
    a second of each start. It stays where the dashboard's packages are installed, as by
    ``ray[default]``: the node's agent, else a minimal one, looks for its address there, and logs a
    traceback every second without it (`_get_dashboard_http_address` in event_agent.py).
    """
    unused = []
    if address is None:
        unused.append("start_monitor")
        if ray_utils.get_dashboard_dependency_error() is not None:
            unused.append("start_api_server")
        if not _is_verbose():
            unused.append("start_log_monitor")
    with ExitStack() as stack:
        for name in unused:
            stack.enter_context(replaced(Node, name, lambda _, **__: None))
        yield


def _is_verbose() -> bool:
    return logging.getLogger().getEffectiveLevel() <= logging.INFO


def _probe(address: str | None) -> None:
    """Find out in seconds whether anything answers; Ray itself takes minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_S).close()


def is_head_there() -> bool:
    """Whether the session's head takes a connection."""
    address = getattr(ray.get_runtime_context(), "gcs_address", None)
    if address is None:  # Ray Client's, which says itself that its server is gone
        return True
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError:
        return False
    return True


def live_nodes() -> list[str]:
    """The addresses of the session's nodes."""
    return [str(node["NodeManagerAddress"]) for node in ray.nodes() if node.get("Alive")]


def _arguments(address: str | None, modules: Path | None) -> dict[str, Any]:
    # What Ray logs as errors (a failed trial, metrics it has no file for) is in the journal and in
    # our own messages.
    level = logging.getLogger().getEffectiveLevel() if _is_verbose() else logging.CRITICAL
    logging.getLogger("ray").setLevel(level)
    common = {
        "log_to_driver": _is_verbose(),
        "logging_level": level,
        "job_config": _OwnPathJobConfig(),
    }
    if address is not None:
        sent = {} if modules is None else {"runtime_env": {"py_modules": [str(modules)]}}
        return {**common, **sent, "address": address}
    return {
        **common,
        # Not "auto", which would join a cluster that happens to run on this machine.
        "address": "local",
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
    }
