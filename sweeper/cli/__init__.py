"""The command line."""

from __future__ import annotations

from sweeper.cli import advice, agents, launches, runs, specs, upkeep
from sweeper.cli.app import cli, main

__all__ = ["advice", "agents", "cli", "launches", "main", "runs", "specs", "upkeep"]
