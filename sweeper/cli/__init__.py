"""The command line."""

from __future__ import annotations

from sweeper.cli import (
    advice,
    agents,
    comparing,
    exporting,
    launches,
    plotting,
    reporting,
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
    "reporting",
    "runs",
    "specs",
    "stack",
    "upkeep",
]
