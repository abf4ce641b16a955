"""The nodes of a cluster as a table; what `sweeper doctor --address` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from sweeper.running.tune.nodes import NodeSurvey
from sweeper.views.console import make_console, make_table, print_text

__all__ = ["print_nodes"]

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "bold red"}
_VERSIONS = ("sweeper", "python", "ray", "torch", "gymnasium")


def print_nodes(surveys: Sequence[NodeSurvey]) -> None:
    """Print a row for each node, then a line for each where something is to be said."""
    table = make_table("llrrlllll", ["", "node", "CPUs", "GPUs", *_VERSIONS])
    for one in surveys:
        status = Text(one.status, style=_COLOURS.get(one.status, "dim"))
        versions = [one.versions.get(name) or "-" for name in _VERSIONS]
        table.add_row(status, one.node, f"{one.cpus:g}", f"{one.gpus:g}", *versions)
    console = make_console()
    console.print(table)
    for one in surveys:
        found = [*one.failures, *one.warnings]
        if not one.runs_trials:
            found.append("no trial runs there, since it has no CPUs")
        if found:
            print_text(console, f"node {one.node}: {'; '.join(found)}")
