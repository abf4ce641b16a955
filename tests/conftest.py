"""What every test leaves behind as it found it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def log_levels_restored() -> Iterator[None]:
    """Give the loggers their levels back, which the command line sets for its whole process."""
    levels = {name: logging.getLogger(name).level for name in ("", "sweeper", "ray")}
    disabled = logging.root.manager.disable
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.disable(disabled)
