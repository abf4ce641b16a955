"""The nodes of a cluster: what is found on each, and which to avoid as everything fails there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Node", "NodeHealth", "NodeSurvey", "count_room"]

# Failures since the last report from a node, and of how many trials, until it is avoided.
_MANY_FAILURES = 3
_MANY_TRIALS = 2


@dataclass(frozen=True)
class Node:
    """A node of the cluster."""

    node_id: str  # Ray's; unique even where several nodes share a machine
    address: str

    def __str__(self) -> str:
        """For people."""
        return f"{self.address} ({self.node_id[:8]})"


@dataclass(frozen=True)
class NodeSurvey:
    """What was found on one node. The fields are the keys of `sweeper doctor --json`.

    Attributes:
        node: its address and the beginning of Ray's id of it.
        cpus: as Ray counts them there.
        gpus: the same.
        versions: by name; None for what is not installed. Empty if the node did not answer.
        failures: why trials fail there for certain, each with what to do.
        warnings: what may go wrong there, the same.
    """

    node: str
    cpus: float = 0.0
    gpus: float = 0.0
    versions: Mapping[str, str | None] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def runs_trials(self) -> bool:
        """Whether trials can be placed there: each takes a part of a core, at least."""
        return self.cpus > 0

    @property
    def status(self) -> str:
        """``ok``, ``warning``, ``failed``, or ``unused`` where no trial can be placed."""
        if not self.runs_trials:
            return "unused"
        return "failed" if self.failures else "warning" if self.warnings else "ok"


@dataclass
class NodeHealth:
    """Remembers, for a launch, where trials got on and where they failed."""

    _failures: dict[str, list[str]] = field(default_factory=dict)
    _working: set[str] = field(default_factory=set)
    _named: set[str] = field(default_factory=set)
    _nodes: dict[str, Node] = field(default_factory=dict)

    def note_report(self, node: Node) -> None:
        """A trial reported from the node, so earlier failures there no longer count."""
        self._working.add(node.node_id)
        self._failures.pop(node.node_id, None)

    def note_failure(self, node: Node, trial_id: str) -> None:
        """A trial failed on the node, and its configuration is not to blame."""
        self._nodes[node.node_id] = node
        self._failures.setdefault(node.node_id, []).append(trial_id)

    def avoided_by(self, trial_id: str) -> frozenset[str]:
        """The ids of the nodes that a trial should not run on.

        These are nodes where several trials failed and none reported, if trials report elsewhere,
        and those where this trial has failed before.
        """
        own = {node for node, trials in self._failures.items() if trial_id in trials}
        return frozenset(own | self._failing())

    def take_new(self) -> list[Node]:
        """The nodes that all trials avoid since the last call, for a warning."""
        new = sorted(self._failing() - self._named)
        self._named.update(new)
        return [self._nodes[node_id] for node_id in new]

    def _failing(self) -> set[str]:
        failing = {
            node
            for node, trials in self._failures.items()
            if len(trials) >= _MANY_FAILURES and len(set(trials)) >= _MANY_TRIALS
        }
        # If no trial reports anywhere, the node is not the cause.
        return failing if self._working - failing else set()


def count_room(
    bundles: Sequence[Mapping[str, float]], nodes: Sequence[Mapping[str, float]], *, most: int
) -> int:
    """How many trials fit into what nodes have free, each bundle whole on one; at most ``most``."""
    rest = [dict(node) for node in nodes]
    ordered = sorted(bundles, key=lambda bundle: sorted(bundle.values()), reverse=True)
    for count in range(most):
        for bundle in ordered:
            node = next(
                (one for one in rest if all(one.get(n, 0.0) >= due for n, due in bundle.items())),
                None,
            )
            if node is None:
                return count
            for name, due in bundle.items():
                node[name] -= due
    return most
