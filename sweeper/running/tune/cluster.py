"""Join the cluster that a spec names, once its nodes are known to have what trials need."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sweeper.environments.packing import LeftOut, pack_modules
from sweeper.formatting import format_bytes
from sweeper.running.tune.head import loss_survived
from sweeper.running.tune.nodes import NodeSurvey
from sweeper.running.tune.session import ray_session
from sweeper.running.tune.survey import check_nodes, survey_nodes
from sweeper.spec import ExperimentSpec
from sweeper.storage.address import parse_address
from sweeper.storage.objects import check_bucket

__all__ = ["cluster_joined", "spec_session", "survey_cluster"]

_logger = logging.getLogger(__name__)

_MAX_NAMED = 5


@contextmanager
def spec_session(spec: ExperimentSpec, variables: Sequence[str] = ()) -> Iterator[None]:
    """The Ray session that a spec asks for; a cluster's nodes are sent the environment's modules.

    Args:
        spec: names the cluster, if any, and the environment.
        variables: as for `ray_session`.

    Raises:
        UserError: Ray can't be started or reached.
    """
    address = spec.ray.address
    with ExitStack() as stack:
        modules = None
        if address is not None:
            stack.enter_context(loss_survived())
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="sweeper-")))
            environment, storage = spec.environment.settings(), Path(spec.storage)
            modules, left_out = pack_modules(environment, folder, storage=storage)
            if left_out:
                _logger.warning("%s", _describe_left_out(left_out))
        stack.enter_context(ray_session(address, lambda: None, variables, modules=modules))
        yield


@contextmanager
def cluster_joined(spec: ExperimentSpec, storage: Path) -> Iterator[None]:
    """A session on the cluster of a spec, for a launch and all that it does.

    Args:
        spec: names the cluster and the environment.
        storage: the folder that has the run.

    Raises:
        UserError: the cluster can't be reached, or trials would fail on it.
    """
    environment = spec.environment.settings()
    environment.learn_secrets()  # which modules may say when they are imported
    with spec_session(spec):
        check_nodes(environment, storage)
        yield


def survey_cluster(address: str, storage: Path) -> list[NodeSurvey]:
    """What each node of a cluster has; nothing is left behind.

    Args:
        address: auto or host:port.
        storage: the folder for runs, also in a bucket; it need not exist.

    Raises:
        UserError: the cluster can't be reached, or the storage not be written.
    """
    check_bucket(str(storage))
    is_here = parse_address(storage) is None
    made = []
    try:
        for folder in reversed([storage, *storage.absolute().parents] if is_here else []):
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        with ray_session(address, lambda: None):
            return survey_nodes(storage)
    finally:
        for folder in reversed(made):
            folder.rmdir()


def _describe_left_out(left_out: Sequence[LeftOut]) -> str:
    sized = [one for one in left_out if one.size_bytes is not None]
    names = [f"{one.path} ({format_bytes(one.size_bytes or 0)})" for one in sized[:_MAX_NAMED]]
    if len(sized) > _MAX_NAMED:
        names.append(f"{len(sized) - _MAX_NAMED} more")
    names += [f"all from {one.path} on" for one in left_out if one.size_bytes is None]
    return (
        "nodes without a copy of the environment's folder get one that lacks what is large in it: "
        f"{', '.join(names)}; what trials read of that must lie where all nodes find it"
    )
