"""Where a launch's trials run: on which node each one is, and which nodes to avoid."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

from ray._private.state import actors

from sweeper.running.failures import Failure
from sweeper.running.tune.nodes import Node, NodeHealth

__all__ = ["Placement"]

_logger = logging.getLogger(__name__)

# How Ray names an actor in its errors (ray/exceptions.py).
_ACTOR = re.compile(r"actor_id[=:]\s*([0-9a-f]{32})")


class Placement:
    """Follows the trials of a launch over the live nodes of a Ray session."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.has_several_nodes = len(addresses) != 1
        self._addresses = addresses
        self._health = NodeHealth()
        self._nodes: dict[str, Node] = {}

    def find_avoided(self, trial_id: str) -> frozenset[str]:
        """The ids of the nodes that a trial should not run on."""
        return self._health.avoided_by(trial_id)

    def note_start(self, trial: Any) -> str:
        """One of Tune's trials started; returns its node's address, empty if unknown."""
        if not self.has_several_nodes:
            return self._addresses[0]
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

    def note_failure(self, trial_id: str, failure: Failure, text: str) -> str:
        """A trial failed, as in Tune's ``text``; returns where, if there are several nodes."""
        node = self._nodes.pop(trial_id, None)
        # A trial that fails while its actor is built is never started, as Tune counts.
        if self.has_several_nodes and node is None and (found := _ACTOR.findall(text)):
            node = _locate(found[-1])
        if node is None:
            return ""
        if not failure.reason.is_lasting:
            self._health.note_failure(node, trial_id)
        self._name_failing_nodes()
        return f" (on node {node})"

    def _name_failing_nodes(self) -> None:
        for node in self._health.take_new():
            _logger.warning(
                "everything fails on node %s: this launch sends no more trials there", node
            )


def _locate(actor_id: str) -> Node | None:
    """The node of an actor, dead or alive, from Ray's own table."""
    address = (actors(actor_id) or {}).get("Address") or {}
    node_id, ip = address.get("NodeID"), address.get("IPAddress")
    return Node(str(node_id), str(ip)) if node_id and ip else None
