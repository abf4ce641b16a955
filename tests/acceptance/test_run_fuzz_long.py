"""Ten thousand mutations over all files of a run folder: no traceback, no hang, in every verb."""

from __future__ import annotations

from pathlib import Path

import pytest
from damaged_runs import run_campaign

pytestmark = pytest.mark.acceptance

NUMBER, SEED = 10_000, 7


def test_no_damage_is_answered_with_a_traceback_or_touches_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = run_campaign(tmp_path, NUMBER, SEED, monkeypatch, log_every=20)
    assert findings.wrong == []
