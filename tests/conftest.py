"""What every test leaves behind as it found it, and what keeps thousands of them short."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# `make acceptance` draws with the long one. A machine may be busy, so no clock decides.
_NO_CLOCK = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("short", max_examples=25, **_NO_CLOCK)
settings.register_profile("long", max_examples=400, **_NO_CLOCK)
settings.load_profile("short")


# A shell without job control has what it starts in the background ignore Ctrl-C, and so would all
# that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Keep the collector of garbage from going through all that the imports have made."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def own_state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the key that runs are sealed with out of the user's own state folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def disk_not_awaited() -> Iterator[None]:
    """Leave it to the system when it writes files: only a loss of power shows the difference."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, lambda _: None)
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
