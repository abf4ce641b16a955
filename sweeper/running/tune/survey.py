"""Ask every node of a cluster, before anything starts, for what trials need there.

The nodes must share the storage, and each needs this package, the environment's module and the
same versions. What is missing is said by node, with what to do.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sweeper.running.tune.before_ray  # noqa: F401 - what Ray reads when it is imported

# isort: split
import ray
from ray import cloudpickle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import UserError
from sweeper.formatting import last_line
from sweeper.running.provenance import package_versions
from sweeper.running.tune import node_probe
from sweeper.running.tune.nodes import Node, NodeSurvey
from sweeper.storage.address import address_of, parse_address
from sweeper.veil import veil

__all__ = ["check_nodes", "survey_nodes"]

_logger = logging.getLogger(__name__)

_ANSWER_S = 60.0
_ASKED = "asked"  # a file's name
# A file that a node has just written may take a moment to be seen here, as on NFS.
_SEEN_S = 5.0
# Without these no trial begins; the rest of what is compared may differ.
_NEEDED = ("ray", "torch", "gymnasium")
_COMPARED = ("sweeper", "python", *_NEEDED)


def check_nodes(environment: EnvironmentSettings, storage: Path) -> None:
    """Find out whether the session's nodes can run trials; what may go wrong is logged.

    Args:
        environment: the trials'.
        storage: the folder that has the run, and exists.

    Raises:
        UserError: trials would fail for certain, with a line for each node where they would.
    """
    surveys = [one for one in survey_nodes(storage, environment) if one.runs_trials]
    for one in surveys:
        if one.warnings:
            _logger.warning("node %s: %s", one.node, "; ".join(one.warnings))
    failed = [f"node {one.node}: {'; '.join(one.failures)}" for one in surveys if one.failures]
    if failed:
        raise UserError("\n".join(["trials would fail on this cluster:", *failed]))
    if surveys and not any(one.versions for one in surveys):
        raise UserError(
            f"no node of the cluster answered within {_ANSWER_S:g} s; `ray status` says whether "
            "it is healthy"
        )


def survey_nodes(storage: Path, environment: EnvironmentSettings | None = None) -> list[NodeSurvey]:
    """Ask all live nodes of the session at once.

    Args:
        storage: a folder that they should share, and exists; or one in a bucket, also as the
            working copy of it.
        environment: whose modules they should be able to import.

    Returns:
        One for each node, in the order of their addresses.

    Raises:
        UserError: nothing can be written into the storage.
    """
    nodes = sorted(
        (node for node in ray.nodes() if node["Alive"]),
        key=lambda node: (node["NodeManagerAddress"], node["NodeID"]),
    )
    wanted = {
        "packages": list(_NEEDED),
        "modules": [] if environment is None else list(environment.modules),
        "search_paths": [] if environment is None else list(environment.search_paths),
    }
    address = address_of(storage) or parse_address(storage)
    if address is not None:
        unshared = {"folder": None, "bucket": str(address)}
        found = _ask([node["NodeID"] for node in nodes], [{**wanted, **unshared} for _ in nodes])
    else:
        found = _ask_sharing(nodes, wanted, storage)
    here = package_versions()
    return [_judge(node, answer, here, storage) for node, answer in zip(nodes, found, strict=True)]


def _ask_sharing(
    nodes: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any], storage: Path
) -> list[Any]:
    """As `_ask`, with a folder that all of them should share."""
    token = secrets.token_hex(8)
    with _folder_shared(storage, token) as folder:
        shared = {"folder": str(folder), "asked": _ASKED, "token": token, "bucket": None}
        given = [{**wanted, **shared, "answer": node["NodeID"]} for node in nodes]
        found = _ask([node["NodeID"] for node in nodes], given)
        for node, answer in zip(nodes, found, strict=True):
            is_told = isinstance(answer, dict) and not answer["storage"]
            if is_told and not _holds(folder / node["NodeID"], token):
                answer["storage"] = "what is written there is not found here"
    return found


@contextmanager
def _folder_shared(storage: Path, token: str) -> Iterator[Path]:
    """A new folder in the storage, for the nodes to find with a file in it."""
    folder = storage.absolute() / f".survey_{token}"
    try:
        folder.mkdir()
        (folder / _ASKED).write_text(token, encoding="utf-8")
    except OSError as error:
        raise UserError(f"the storage {storage} can't be written: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ask(node_ids: Sequence[str], wanted: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Each node's answer, or why it gave none."""
    cloudpickle.register_pickle_by_value(node_probe)
    try:
        remote = ray.remote(num_cpus=0, max_retries=0)(node_probe.probe_node)
        asked = [
            remote.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False)
            ).remote(one)
            for node_id, one in zip(node_ids, wanted, strict=True)
        ]
    finally:
        cloudpickle.unregister_pickle_by_value(node_probe)
    done, _ = ray.wait(asked, num_returns=len(asked), timeout=_ANSWER_S)
    answers: list[Any] = []
    for one in asked:
        if one not in done:
            ray.cancel(one, force=True)
            answers.append(f"no answer within {_ANSWER_S:g} s")
            continue
        try:
            answers.append(ray.get(one))
        except Exception as error:  # whatever a worker may die of
            answers.append(f"no answer: {last_line(veil(str(error)))}")
    return answers


def _holds(path: Path, token: str) -> bool:
    deadline = time.monotonic() + _SEEN_S
    while True:
        with suppress(OSError):
            if path.read_text(encoding="utf-8") == token:
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)


def _judge(
    node: Mapping[str, Any], answer: Any, here: Mapping[str, str], storage: Path
) -> NodeSurvey:
    """What a node's answer means.

    Args:
        node: as `ray.nodes` describes it.
        answer: what `probe_node` returned there, or why nothing came.
        here: the versions of this process.
        storage: which the node should share.
    """
    resources = node["Resources"]
    name = str(Node(node["NodeID"], node["NodeManagerAddress"]))
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    if not isinstance(answer, dict):
        remedy = "trials that start there may hang: look at it with `ray status`"
        return NodeSurvey(name, cpus, gpus, warnings=(f"{answer}; {remedy}",))
    versions = answer["versions"]
    failures, warnings = _compare(versions, here)
    if answer["sweeper"]:
        failures.insert(
            0,
            f"sweeper can't be imported ({veil(answer['sweeper'])}): install "
            f"{here.get('sweeper', '')} there as here".replace("  ", " "),
        )
    if answer["storage"]:
        failures.append(
            f"the storage {storage.absolute()} is not shared: {answer['storage']}; give a folder "
            "that all nodes mount at one path with storage=PATH"
        )
    if answer["bucket"]:
        failures.append(
            f"{veil(answer['bucket'])}; the node needs the variables, or another login, that this "
            "process has for it"
        )
    if answer["module"]:
        failures.append(f"{veil(answer['module'])}; install it there, or lay it beside the spec")
    return NodeSurvey(name, cpus, gpus, versions, tuple(failures), tuple(warnings))


def _compare(
    there: Mapping[str, str | None], here: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Which versions make trials fail, and which only may."""
    failures, warnings = [], []
    for name in _COMPARED:
        ours, theirs = here.get(name), there.get(name)
        if ours is None or (theirs is None and name == "sweeper"):
            continue  # of sweeper it is said why
        if theirs is None:
            failures.append(f"{name} is not installed: install {ours} there")
        elif _is_other(name, theirs, ours):
            failures.append(f"{name} is {theirs} there and {ours} here: install the same")
        elif theirs.partition("+")[0] != ours.partition("+")[0]:
            warnings.append(f"{name} is {theirs} there and {ours} here: trials may differ")
    return failures, warnings


def _is_other(name: str, theirs: str, ours: str) -> bool:
    """Whether what one version sends can't be read by the other."""
    if name == "python":
        return theirs.split(".")[:2] != ours.split(".")[:2]
    return name == "ray" and theirs != ours
