"""`sweeper report` on runs of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import sweeper_here
from report_pages import read_page, section
from run_folders import make_run


def test_it_writes_into_the_run_and_prints_where(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "a-20260101-000000", ["TERMINATED"])
    done = sweeper_here("report", "a-20260101-000000", cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, str(run.report))
    assert "a-20260101-000000" in read_page(run.report.read_text()).find("h1")[0].text


def test_a_run_whose_spec_is_damaged_is_reported_as_far_as_it_can_be(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "a-20260101-000000", ["TERMINATED"])
    run.spec.write_text("name: [")
    done = sweeper_here("report", cwd=tmp_path)
    assert done.returncode == 0
    assert "the run's spec can't be read" in done.stderr
    assert section(read_page(run.report.read_text()), "cost").find("table")


def test_there_must_be_such_a_run(tmp_path: Path) -> None:
    done = sweeper_here("report", "missing", cwd=tmp_path)
    assert done.returncode == 2
    assert "no run 'missing'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("output", ["page.txt", "nowhere/page.html", "runs"])
def test_an_output_that_is_no_page_is_refused(output: str, tmp_path: Path) -> None:
    make_run(tmp_path / "runs", "a-20260101-000000", ["TERMINATED"])
    done = sweeper_here("report", "--output", output, cwd=tmp_path)
    assert done.returncode == 2
    assert output in done.stderr
