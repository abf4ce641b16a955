"""Where a launch's trials run: on which node each one is, and which nodes to avoid."""

from __future__ import annotations

import logging
import re
import socket
from typing import Any

import ray
from ray._private.state import actors

from sweeper.running.failures import Failure
from sweeper.running.tune.head import wait_for_head
from sweeper.running.tune.nodes import Node, NodeHealth
from sweeper.states import FailureReason

__all__ = ["Placement"]

_logger = logging.getLogger(__name__)

_ANSWER_S = 2.0

# How Ray names an actor in its errors (ray/exceptions.py).
_ACTOR = re.compile(r"actor_id[=:]\s*([0-9a-f]{32})")


class Placement:
    """Follows the trials of a launch over the nodes of a Ray session.

    Args:
        address: of the only node there will ever be; None on a cluster.
    """

    def __init__(self, address: str | None) -> None:
        self.is_on_cluster = address is None
        self._address = address
        self._health = NodeHealth()
        self._nodes: dict[str, Node] = {}

    def find_failing(self) -> frozenset[str]:
        """The ids of the nodes that no trial is sent to."""
        return self._health.avoided_by("")

    def find_avoided(self, trial_id: str) -> frozenset[str]:
        """The ids of the nodes that a trial should not run on."""
        return self._health.avoided_by(trial_id)

    def note_start(self, trial: Any) -> str:
        """One of Tune's trials started; returns its node's address, empty if unknown."""
        if self._address is not None:
            return self._address
        actor = trial.temporary_state.ray_actor
        node = None if actor is None else _locate(actor._actor_id.hex())
        if node is None:
            return ""
        self._nodes[trial.trial_id] = node
        return node.address

    def note_report(self, trial_id: str) -> None:
        """A trial reported, so its node works."""
        if trial_id in self._nodes:
            self._health.note_report(self._nodes[trial_id])
            self._name_failing_nodes()

    def explain(self, trial_id: str, failure: Failure) -> Failure:
        """The failure; or the loss of the trial's node, of which a dead worker is the first sign.

        Ray itself takes up to half a minute until it counts a node as dead.
        """
        node = self._nodes.get(trial_id)
        if failure.reason is not FailureReason.WORKER_DIED or node is None or _answers(node):
            return failure
        error = f"the node no longer answers: {failure.error}"
        return Failure(FailureReason.NODE_LOST, error, failure.iteration)

    def note_failure(self, trial_id: str, failure: Failure, text: str) -> str:
        """A trial failed, as in Tune's ``text``; returns where, on a cluster."""
        node = self._nodes.pop(trial_id, None)
        # A trial that fails while its actor is built is never started, as Tune counts.
        if self.is_on_cluster and node is None and (found := _ACTOR.findall(text)):
            node = _locate(found[-1])
        if node is None:
            return ""
        if not failure.reason.is_lasting and failure.reason is not FailureReason.NODE_LOST:
            self._health.note_failure(node, trial_id)
        self._name_failing_nodes()
        return f" (on node {node})"

    def _name_failing_nodes(self) -> None:
        for node in self._health.take_new():
            _logger.warning(
                "everything fails on node %s: this launch sends no more trials there", node
            )


def _answers(node: Node) -> bool:
    """Whether a node's raylet can be connected to."""
    wait_for_head()
    found = next((one for one in ray.nodes() if one["NodeID"] == node.node_id), None)
    if found is None or not found["Alive"]:
        return False
    try:
        place = (node.address, found["NodeManagerPort"])
        socket.create_connection(place, timeout=_ANSWER_S).close()
    except OSError:
        return False
    return True


def _locate(actor_id: str) -> Node | None:
    """The node of an actor, dead or alive, from Ray's own table."""
    wait_for_head()
    address = (actors(actor_id) or {}).get("Address") or {}
    node_id, ip = address.get("NodeID"), address.get("IPAddress")
    return Node(str(node_id), str(ip)) if node_id and ip else None
