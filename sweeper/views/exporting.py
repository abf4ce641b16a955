"""An exported agent for people to read."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from sweeper.exporting.export import ExportedAgent
from sweeper.exporting.onnx_model import OnnxModel
from sweeper.formatting import format_number, short_path
from sweeper.views.console import make_console, print_pairs

__all__ = ["print_export"]


def print_export(exported: ExportedAgent) -> None:
    """Print where an agent was written, and what can be done with it."""
    rows = [("agent", short_path(exported.folder))]
    rows += [("ONNX", _describe_model(exported.model))] if exported.model is not None else []
    rows += [("needs", need) for need in exported.needs]
    if exported.evaluation is not None:
        reported = exported.evaluation["reported"]
        rows.append(("reported", "nothing" if reported is None else _describe_report(reported)))
        play = exported.folder / "play.py"
        rows.append(("play it", f"python {shlex.quote(short_path(play))}"))
    print_pairs(make_console(), rows)


def _describe_report(reported: Mapping[str, Any]) -> str:
    interval = reported["interval"]
    ends = "" if interval is None else f" ({' to '.join(map(format_number, interval))})"
    return f"{format_number(reported['mean'])}{ends}: {reported['of']}"


def _describe_model(model: OnnxModel) -> str:
    return f"{model.file}, opset {model.opset}: {', '.join(model.outputs)}"
