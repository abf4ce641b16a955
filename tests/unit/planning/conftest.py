"""The same machine for every plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.planning import feasibility


@pytest.fixture(autouse=True)
def _a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cores and an empty working directory."""
    monkeypatch.setattr(feasibility, "usable_cores", lambda: 4)
    monkeypatch.chdir(tmp_path)
