"""The command line."""

from __future__ import annotations

from sweeper.cli import (
    advice,
    agents,
    comparing,
    exporting,
    launches,
    plotting,
    runs,
    specs,
    stack,
    upkeep,
)
from sweeper.cli.app import cli, main

__all__ = [
    "advice",
    "agents",
    "cli",
    "comparing",
    "exporting",
    "launches",
    "main",
    "plotting",
    "runs",
    "specs",
    "stack",
    "upkeep",
]
