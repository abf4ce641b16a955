"""Mutated run folders are read or refused with a message, by every verb.

``tests/acceptance`` has the long campaign.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from damaged_runs import run_campaign

NUMBER, SEED = 50, 20261201


def test_no_damage_is_answered_with_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = run_campaign(tmp_path, NUMBER, SEED, monkeypatch, verbs_each=4)
    assert findings.wrong == []
    assert {0, 1, 2, 130} <= findings.codes.keys()  # else the mutations test little
