"""The command line."""

from __future__ import annotations

from sweeper.cli import advice, launches, runs, specs, upkeep
from sweeper.cli.app import cli, main

__all__ = ["advice", "cli", "launches", "main", "runs", "specs", "upkeep"]
