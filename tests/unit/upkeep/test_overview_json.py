"""The overview as programs read it: plain keys and values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import sweeper_here
from run_folders import add_confirmation, make_run


@pytest.mark.parametrize("verb", [("status", "last"), ("list",)])
def test_counts_are_by_state(tmp_path: Path, verb: tuple[str, ...]) -> None:
    paths = make_run(tmp_path / "runs", "a-20260101-000000", ["TERMINATED", "TERMINATED", "ERROR"])
    add_confirmation(paths)
    found = json.loads(sweeper_here(*verb, "--json", cwd=tmp_path).stdout)
    overview = found[0] if isinstance(found, list) else found
    assert overview["states"] == {"TERMINATED": 2, "ERROR": 1}
    assert overview["retrained"] == {"TERMINATED": 2}
