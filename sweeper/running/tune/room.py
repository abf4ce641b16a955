"""How much room a cluster has for trials: it grows and shrinks, and others use it, too."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import tune
from ray._private import state

from sweeper.running.drain import Drain
from sweeper.running.tune.head import wait_for_head
from sweeper.running.tune.nodes import count_room
from sweeper.running.tune.unsaved import Unsaved

__all__ = ["ClusterRoom", "WaitingCallback"]

_logger = logging.getLogger(__name__)

_EVERY_S = 3.0
_PATIENCE_S = 15.0
_MANY = 1000  # trials at a time; beyond it nobody counts
Bundles = Sequence[Mapping[str, float]]


@dataclass
class ClusterRoom:
    """How many more trials the session's nodes have room for now; asks every few seconds.

    Args:
        bundles: the resources of a trial.
        find_avoided: the ids of nodes that no trial is sent to.
    """

    bundles: Bundles
    find_avoided: Callable[[], frozenset[str]] = frozenset
    _asked: float = field(default=-_EVERY_S, init=False)
    _count: int = field(default=0, init=False)

    def __call__(self) -> int:
        """The number, at most some seconds old."""
        now = time.monotonic()
        if now - self._asked >= _EVERY_S:
            self._asked = now
            wait_for_head()
            avoided = self.find_avoided()
            free = state.available_resources_per_node()
            nodes = [node for node_id, node in free.items() if node_id not in avoided]
            self._count = count_room(self.bundles, nodes, most=_MANY)
        return self._count


@dataclass(eq=False)
class WaitingCallback(Unsaved, tune.Callback):  # type: ignore[misc]
    """Says so while no trial runs because the cluster has no room for one.

    Nothing else happens then: an autoscaler, or a person, may add nodes, and other jobs end.
    """

    drain: Drain
    _since: float | None = None
    _is_said: bool = False

    def on_step_end(self, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        """Look whether a trial runs."""
        waiting = [one for one in trials if one.status == "PENDING"]
        if self.drain.running or self.drain.reason or not waiting:
            if self._is_said and self.drain.running:
                _logger.warning("the cluster has room again: trials run")
            self._since, self._is_said = None, False
            return
        now = time.monotonic()
        if self._since is None:
            self._since = now
        elif now - self._since >= _PATIENCE_S:
            self._since = now
            wait_for_head()
            if not self._is_said and _has_unplaced():
                self._is_said = True
                bundles = waiting[0].placement_group_factory.bundles
                _logger.warning("%s", _describe_wait(waiting[0].trial_id, bundles))


def _has_unplaced() -> bool:
    """Whether a trial waits for resources, rather than for a worker that is being started."""
    job = ray.get_runtime_context().get_job_id()  # which the ids of its groups end with
    return any(
        group["state"] == "PENDING"
        for group_id, group in ray.util.placement_group_table().items()
        if group_id.endswith(job)
    )


def _describe_wait(trial_id: str, bundles: Bundles) -> str:
    largest = max(bundles, key=lambda bundle: (bundle.get("GPU", 0), bundle.get("CPU", 0)))
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    free = list(state.available_resources_per_node().values())
    found = " and ".join(
        f"at most {_count(_most(nodes, name), name)} ({_most(free, name):g} free)"
        for name in largest
    )
    needed = " and ".join(_count(due, name) for name, due in largest.items())
    parts = "" if len(bundles) == 1 else f" in the largest of its {len(bundles)} parts"
    return (
        f"no trial runs: {trial_id} needs {needed}{parts} on one node, which have {found}; it "
        "waits until there is room: add a node, let the cluster scale up, or Ctrl-C and lower "
        "resources"
    )


def _count(number: float, name: str) -> str:
    """An amount of a resource in words: ``1 CPU``, ``0.5 GPUs``."""
    return f"{number:g} {name}{'' if number == 1 or name not in ('CPU', 'GPU') else 's'}"


def _most(nodes: Sequence[Mapping[str, float]], name: str) -> float:
    return max((node.get(name, 0.0) for node in nodes), default=0.0)
