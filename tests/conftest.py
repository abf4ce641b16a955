"""What every test leaves behind as it found it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the key that runs are sealed with out of the user's own state folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def log_levels_restored() -> Iterator[None]:
    """Give the loggers their levels back, which the command line sets for its whole process."""
    levels = {name: logging.getLogger(name).level for name in ("", "sweeper", "ray")}
    disabled = logging.root.manager.disable
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.disable(disabled)
