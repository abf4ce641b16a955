"""Runs of an earlier version are opened, judged and resumed as that version did it.

``tests/data/old_runs`` has one for each backend and algorithm: a search whose budget was used up,
with one finished and one paused trial, and beside it what the version that made it printed. The
values are those; words and tables are as they are now.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from command_line import sweeper_here
from tiers import leave_after

from sweeper.evidence.selection import load_selection
from sweeper.journal import TrialReported, read_journal
from sweeper.opened_run import open_run

DATA = Path(__file__).parents[2] / "data" / "old_runs"
RUNS = ("torch-ppo", "torch-dqn", "rllib-ppo", "rllib-dqn")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all the runs in it, to be read and not to be changed."""
    place = tmp_path_factory.mktemp("old")
    for name in RUNS:
        with tarfile.open(DATA / f"{name}.tar.xz") as archive:
            archive.extractall(place / "runs", filter="data")
    return place


def printed(verb: str, name: str, place: Path) -> str:
    words, *options = verb.split()
    done = sweeper_here(words, name, *options, cwd=place)
    assert done.returncode == 0, done.stderr
    return done.stdout.replace(f"{place}/", "<HERE>/")


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("verb", ["results --json", "results", "best --json", "best"])
def test_a_verb_prints_what_it_printed(verb: str, name: str, place: Path) -> None:
    expected = json.loads((DATA / f"{name}.json").read_text())[verb]
    text = printed(verb, name, place)
    if verb.endswith("--json"):
        assert _without_new_keys(json.loads(text), json.loads(expected)) == json.loads(expected)
    else:
        lines = iter(text.splitlines())
        assert all(line in lines for line in expected.splitlines()), "later versions only add lines"


def _without_new_keys(now: Any, before: Any) -> Any:
    """Later versions add keys; every older one stays, with its value."""
    if isinstance(before, list):
        return [_without_new_keys(*pair) for pair in zip(now, before, strict=True)]
    return {name: value for name, value in now.items() if name in before}


@pytest.mark.parametrize("name", RUNS)
def test_the_winner_is_still_the_recorded_one(name: str, place: Path) -> None:
    run = open_run(place / "runs" / name)
    written = load_selection(run.paths.selection)
    for field in ("trial_id", "score", "env_steps", "seed", "configuration", "excluded"):
        assert getattr(run.selection, field) == getattr(written, field)
    assert run.is_champion_written


@pytest.mark.parametrize("name", RUNS)
def test_the_champion_plays_as_it_did(name: str, place: Path) -> None:
    expected = json.loads(json.loads((DATA / f"{name}.json").read_text())["evaluate --json"])
    # Another user made it, and RLlib's agents are pickles.
    trust = " --trust" if name.startswith("rllib") else ""
    now = json.loads(printed(f"evaluate --json{trust}", name, place))
    # Another processor's arithmetic may flip an action where two are about equally good.
    assert now["mean"] == pytest.approx(expected["mean"], rel=0.05)
    assert now["episodes"] == expected["episodes"]


@pytest.mark.parametrize("name", leave_after(1, RUNS))
def test_the_paused_trial_goes_on_from_its_checkpoint(
    name: str, place: Path, tmp_path: Path, ray_cluster: None
) -> None:
    root = tmp_path / "runs" / name
    shutil.copytree(place / "runs" / name, root)
    before = list(read_journal(root / "journal.jsonl"))
    more = ("--stop", "budget.env_steps=1000000", "--trust")
    done = sweeper_here("resume", name, *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "t0002 goes on from its checkpoint" in done.stderr
    after = list(read_journal(root / "journal.jsonl"))
    assert after[: len(before)] == before, "what was recorded stays"
    rows = [event for event in after[len(before) :] if isinstance(event, TrialReported)]
    assert {row.trial_id for row in rows} == {"t0002"}
    run = open_run(root)
    assert {record.state for record in run.results.trials} == {"TERMINATED"}
    iterations = [row["training_iteration"] for row in run.results.trial("t0002").reports]
    assert iterations == list(range(1, len(iterations) + 1))
    assert run.is_champion_written
