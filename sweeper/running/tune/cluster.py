"""Join the cluster that a spec names, once its nodes are known to have what trials need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeper.running.tune.nodes import NodeSurvey
from sweeper.running.tune.session import ray_session
from sweeper.running.tune.survey import check_nodes, survey_nodes
from sweeper.spec import ExperimentSpec

__all__ = ["cluster_joined", "survey_cluster"]


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
    with ray_session(spec.ray.address, lambda: None):
        check_nodes(environment, storage)
        yield


def survey_cluster(address: str, storage: Path) -> list[NodeSurvey]:
    """What each node of a cluster has; nothing is left behind.

    Args:
        address: auto or host:port.
        storage: the folder for runs; it need not exist.

    Raises:
        UserError: the cluster can't be reached, or the storage not be written.
    """
    made = []
    try:
        for folder in reversed([storage, *storage.absolute().parents]):
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        with ray_session(address, lambda: None):
            return survey_nodes(storage)
    finally:
        for folder in reversed(made):
            folder.rmdir()
