"""A launch writes the report at its end, and is none the worse if it can't."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from run_folders import make_run

from sweeper.opened_run import open_run
from sweeper.running.launch import _write_report
from sweeper.views.runs import summarise


def test_the_last_lines_of_a_launch_say_where_the_report_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened = open_run(make_run(Path("runs"), "a-20260101-000000", ["TERMINATED"]).root)
    assert "report.html" not in summarise(opened)
    _write_report(opened)
    assert "  report      runs/a-20260101-000000/report.html" in summarise(opened).splitlines()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyError("a defect")])
def test_a_report_that_can_t_be_written_is_a_warning(
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> str:
        raise error

    monkeypatch.setattr("sweeper.report.writing.build_page", fail)
    opened = open_run(make_run(tmp_path, "a-20260101-000000", ["TERMINATED"]).root)
    with caplog.at_level(logging.WARNING, "sweeper"):
        _write_report(opened)
    (record,) = caplog.records
    assert "the report was not written" in record.getMessage()
    assert "sweeper report" in record.getMessage()
    assert not opened.paths.report.exists()
