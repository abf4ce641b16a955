"""A record that is lost or damaged costs a sentence, not the run."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from run_folders import make_run
from run_mutations import extract_run

from sweeper.api import resume
from sweeper.errors import UserError
from sweeper.evidence.confirmation import choose_finalists
from sweeper.evidence.evaluation import evaluate
from sweeper.journal import JournalError
from sweeper.journal_lines import encode_line
from sweeper.opened_run import open_run
from sweeper.paths import RunPaths, run_reference
from sweeper.planning.plan import SweepPlan, load_plan
from sweeper.running.failures import explain_tune_failure
from sweeper.running.launch import restore_plan, write_provenance
from sweeper.upkeep.overview import describe_run

CONFIG = Path(__file__).parents[3] / "configs" / "quickstart.yaml"


@pytest.fixture(scope="module")
def plan() -> SweepPlan:
    return load_plan(CONFIG)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00" * 100, '{"resumed": 3}', "[" * 100_000])
def test_a_damaged_environment_file_is_kept_aside_and_written_anew(
    tmp_path: Path, plan: SweepPlan, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    paths = RunPaths(tmp_path)
    paths.environment.write_text(text)
    write_provenance(plan, paths)
    assert "versions" in json.loads(paths.environment.read_text())
    assert (tmp_path / "damaged_environment.json").read_text() == text
    (message,) = caplog.messages
    assert "environment.json is damaged (" in message
    assert "it is now damaged_environment.json" in message


def test_later_launches_are_added_to_the_first(tmp_path: Path, plan: SweepPlan) -> None:
    for _ in range(3):
        write_provenance(plan, RunPaths(tmp_path))
    document = json.loads(RunPaths(tmp_path).environment.read_text())
    assert len(document["resumed"]) == 2


def test_a_lost_plan_is_written_again(tmp_path: Path, plan: SweepPlan) -> None:
    paths = RunPaths(tmp_path)
    assert restore_plan(plan, paths) == "plan.json was missing; it is written again"
    assert restore_plan(plan, paths) is None
    paths.plan.write_text("{")
    assert restore_plan(plan, paths) == "plan.json was damaged; it is written again"
    assert json.loads(paths.plan.read_text())["trials"] == plan.trials


def test_a_run_without_its_plan_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = make_run(tmp_path, "a-20260101-000000")
    paths.plan.unlink()
    with caplog.at_level(logging.WARNING):
        assert describe_run(open_run(paths.root)).trials == 2
    (message,) = caplog.messages
    assert message.endswith(
        "plan.json is missing or damaged, so only trials that were begun are counted; `sweeper "
        f"resume {run_reference(paths.root)}` writes it again"
    )


def test_a_finished_run_without_agents_says_what_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = extract_run(tmp_path)
    for folder in [run / "champion", *run.glob("trials/*/checkpoint_*")]:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    (run / "plan.json").unlink()
    said: list[str] = []
    resume(run, say=said.append)
    assert "plan.json was missing; it is written again" in said
    assert caplog.messages == [
        "the champion has no agent: no checkpoint of t0002 is left that is whole; `sweeper best "
        f"{run_reference(run)}` has its configuration, to be trained again"
    ]
    with pytest.raises(UserError, match="has no champion, and no checkpoint is left to make one"):
        evaluate(str(run), str(tmp_path))


def test_a_dead_gcs_is_named_in_our_words() -> None:
    text = "x\nFailed to connect to GCS within 60 seconds. GCS may have been killed."
    assert explain_tune_failure(RuntimeError(text)).startswith("Ray's process for the cluster's")
    assert explain_tune_failure(ValueError("a\nb")) == "Ray Tune failed: b"
    assert explain_tune_failure(ValueError()) == "Ray Tune failed: ValueError"


# -- lines of the journal ----------------------------------------------------------------------


def change_lines(paths: RunPaths, what: str, trial_id: str, *, is_numbered: bool) -> None:
    """Lose or damage the line that asked for a trial."""
    lines = paths.journal.read_bytes().splitlines(keepends=True)
    if not is_numbered:
        documents = [json.loads(line) for line in lines]
        lines = [
            encode_line({key: value for key, value in one.items() if key not in ("line", "crc")})
            for one in documents
        ]
    (at,) = (
        number
        for number, line in enumerate(lines)
        if b'"trial_asked"' in line and trial_id.encode() in line
    )
    lines[at] = b"" if what == "lost" else lines[at].replace(b"lr", b"lx")
    paths.journal.write_bytes(b"".join(lines))


@pytest.mark.parametrize("is_numbered", [True, False])
@pytest.mark.parametrize("what", ["lost", "damaged"])
def test_a_trial_that_nobody_can_train_again_does_not_win(
    what: str, is_numbered: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = make_run(tmp_path, "a-20260101-000000", ["TERMINATED"] * 3)  # t0003 is the best
    change_lines(paths, what, "t0003", is_numbered=is_numbered)
    with caplog.at_level(logging.WARNING):
        opened = open_run(paths.root)
    assert len(caplog.messages) == (what == "damaged" or is_numbered)
    assert opened.selection.trial_id == "t0002"
    assert opened.selection.configuration == {"lr": 0.2}
    assert [(one.trial_id, one.reason) for one in opened.selection.excluded] == [
        ("t0003", "its configuration is lost: that line of the journal is missing")
    ]
    assert choose_finalists(opened.results, opened.objective, 3) == ("t0002", "t0001")
    assert opened.best["configuration"] == {"lr": 0.2}
    with pytest.raises(JournalError, match="resuming could lose trials or run them twice"):
        resume(paths.root)


def test_a_trial_that_left_no_line_behind_is_noticed(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "a-20260101-000000", ["TERMINATED"] * 3)
    lines = paths.journal.read_bytes().splitlines(keepends=True)
    paths.journal.write_bytes(b"".join(line for line in lines if b"t0002" not in line))
    with pytest.raises(JournalError, match=r"lines are missing .*\(4 before this one\): resuming"):
        resume(paths.root)
