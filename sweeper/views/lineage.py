"""The exchanges of a population as a table."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from sweeper.formatting import format_number, format_score, format_value
from sweeper.opened_run import Run
from sweeper.results.lineage import trace_ancestry
from sweeper.views.console import make_console, make_table, print_text

__all__ = ["print_lineage"]

_HEADINGS = ("env steps", "trial", "score", "copied", "its score", "from", "changed")


def print_lineage(opened: Run) -> None:
    """Print who copied whom, in the order of time, and where the best trial's weights are from."""
    console = make_console()
    rows = opened.lineage_rows
    if not rows:
        print_text(console, "no trial has copied another")
        return
    table = make_table("rlrlrrp", _HEADINGS)
    for row in rows:
        cells = (
            format_number(row["env_steps"]),
            row["trial_id"],
            format_score(row["score"]),
            row["donor"],
            format_score(row["donor_score"]),
            format_number(row["donor_env_steps"]),
            "\n".join(_describe_change(name, *values) for name, values in row["changed"].items()),
        )
        table.add_row(*map(Text, cells))
    console.print(table)
    print_text(console, "from: the env steps of the checkpoint; changed: the donor's value → new")
    best = opened.best_trial
    if best is not None:
        path = [
            f"{segment.trial_id} from {format_number(segment.env_steps)}"
            for segment in trace_ancestry(opened.results, best)
        ]
        print_text(console, f"the best trial's weights: {', then '.join(path)} env steps on")


def _describe_change(name: str, old: Any, new: Any) -> str:
    return f"{name} {_value(old)} → {_value(new)}"


def _value(value: Any) -> str:
    return "-" if value is None else format_value(value)
