"""Runs that a comparison is given: how they are named, which are none, and what is said of each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import sweeper_here
from comparable_runs import HIGH, make_confirmed, open_confirmed, with_curves
from run_folders import make_run
from run_mutations import extract_run

import sweeper
from sweeper.errors import RunError, UserError
from sweeper.locks import run_lock
from sweeper.opened_run import open_run


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A storage with two runs, in the working directory."""
    monkeypatch.chdir(tmp_path)
    make_confirmed(tmp_path / "runs", "a-20260101-000000")
    make_confirmed(tmp_path / "runs", "b-20260102-000000", HIGH)
    return tmp_path / "runs"


def error(*references: str, code: int = 2) -> str:
    done = sweeper_here("compare", *references, cwd=Path.cwd())
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("error: ").rstrip("\n")


# --- which runs are meant ----------------------------------------------------------------------


def test_runs_are_named_as_for_any_verb_and_stay_in_their_order(storage: Path) -> None:
    (storage / "a-20260101-000000" / "champion").mkdir()
    ways = ("a-20260101-000000", "runs/a-20260101-000000", "a-20260101-000000/champion",
            str(storage / "a-20260101-000000" / "champion") + "/")  # fmt: skip
    for way in ways:
        done = sweeper_here("compare", "last", way, "--json", cwd=Path.cwd())
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert [one["name"] for one in found["runs"]] == ["b-20260102-000000", "a-20260101-000000"]
        assert found["reference"] == "A"


def test_less_than_two_runs_are_no_comparison(storage: Path) -> None:
    assert error("last") == "a comparison takes two or more runs; there is one: last"
    done = sweeper_here("compare", cwd=Path.cwd())
    assert done.returncode == 2
    assert done.stderr.startswith("error: missing argument 'RUN RUN...'\nusage: sweeper compare ")
    with pytest.raises(UserError, match="two or more runs; there is none"):
        sweeper.compare_runs()


def test_the_same_run_twice_is_said(storage: Path) -> None:
    root = storage / "b-20260102-000000"
    assert error("last", "a-20260101-000000", "b-20260102-000000") == (
        f"last and b-20260102-000000 are the same run, {root}; give two or more different ones"
    )
    (root / "champion").mkdir()
    assert "are the same run" in error(
        "runs/b-20260102-000000", "last/champion".replace("last", "b-20260102-000000")
    )
    (storage.parent / "link").symlink_to(root)
    assert "are the same run" in error("last", "link")
    run = open_run(root)
    with pytest.raises(UserError, match="b-20260102-000000 and last are the same run"):
        sweeper.compare_runs(run, "last")


def test_runs_of_one_name_are_told_apart_by_their_paths(storage: Path) -> None:
    other = storage.parent / "elsewhere"
    make_confirmed(other, "a-20260101-000000", HIGH)
    compared = sweeper.compare_runs("a-20260101-000000", other / "a-20260101-000000")
    assert [one.name for one in compared.runs] == [
        "runs/a-20260101-000000",
        "elsewhere/a-20260101-000000",
    ]


def test_an_unknown_run_lists_the_last_ones(storage: Path) -> None:
    assert error("last", "nope") == (
        "no run 'nope': give a path, a name in runs, or `last`; the last runs in runs: "
        "a-20260101-000000, b-20260102-000000"
    )


def test_a_part_of_a_run_is_no_run(storage: Path) -> None:
    for part in ("trials", "trials/c0001/checkpoint_000000"):
        assert error("last", f"runs/a-20260101-000000/{part}") == (
            f"runs/a-20260101-000000/{part} is a part of the run a-20260101-000000; give the run "
            "itself: a-20260101-000000"
        )


def test_a_champion_of_an_earlier_choice_is_said_not_to_be_compared(storage: Path) -> None:
    champion = storage / "a-20260101-000000" / "champion"
    champion.mkdir()
    (champion / "agent.json").write_text(json.dumps({"trial_id": "t0001"}))
    notes = sweeper.compare_runs("last", champion).notes
    assert (
        f"{champion} holds the agent of an earlier choice; compared is the champion of now, t0002."
    ) in notes
    assert not any("earlier" in one for one in sweeper.compare_runs("last", champion.parent).notes)


# --- runs that can't be compared ---------------------------------------------------------------


def test_a_run_without_a_score_is_said_with_the_reason(storage: Path) -> None:
    make_run(storage, "failed-20260103-000000", ["ERROR"])
    words = error("a-20260101-000000", "last", code=1)
    assert words.startswith(
        "failed-20260103-000000 can't be compared: every trial failed; the first, t0001: "
    )
    with pytest.raises(RunError, match="failed-20260103-000000 can't be compared"):
        sweeper.compare_runs("a-20260101-000000", "last")


def test_a_live_run_is_compared_and_said_to_be_live(storage: Path) -> None:
    paths = make_run(storage, "live-20260103-000000", ["TERMINATED", "RUNNING"], reason=None)
    with run_lock(paths.lock):
        compared = sweeper.compare_runs("a-20260101-000000", "last")
    assert compared.runs[1].state == "running"
    assert "Still running: B; the numbers are those of now." in compared.notes
    (note,) = (one for one in compared.notes if one.startswith("Only training runs"))
    assert "sweeper confirm" not in note  # its driver has the run


def test_a_damaged_run_is_one_clear_sentence(storage: Path) -> None:
    paths = make_run(storage, "torn-20260103-000000")
    paths.spec.write_text("name: [")
    assert error("a-20260101-000000", "last").startswith(
        f"the spec of torn-20260103-000000 can't be read: {paths.spec}:2: "
    )
    shutil.rmtree(paths.root)
    paths = make_run(storage, "torn-20260103-000000")
    paths.journal.unlink()
    paths.journal.symlink_to(paths.spec)
    words = error("a-20260101-000000", "torn-20260103-000000", code=1)
    assert words.startswith(f"can't read the journal {paths.journal}: it is a link")


def test_a_tune_experiment_has_no_spec_to_compare(storage: Path) -> None:
    folder = storage.parent / "tuned"
    folder.mkdir()
    (folder / "experiment_state-2026-01-01_00-00-00.json").write_text("{}")
    assert error("last", "tuned").startswith("tuned is a Ray Tune experiment without a spec, so ")


# --- what comes of it --------------------------------------------------------------------------


def test_the_json_has_a_fixed_shape(storage: Path) -> None:
    run = make_run(storage, "c-20260103-000000", ["TERMINATED"])
    done = sweeper_here("compare", "a-20260101-000000", "b-20260102-000000", "last", "--json",
                        cwd=Path.cwd())  # fmt: skip
    found = json.loads(done.stdout)
    assert list(found) == [
        "metric", "mode", "reference", "runs", "improvements", "differences", "notes",
    ]  # fmt: skip
    assert (found["metric"], found["mode"]) == ("episode_return_mean", "max")
    first, _, third = found["runs"]
    assert list(first) == list(third) == [
        "label", "name", "run", "state", "backend", "algorithm", "trial_id", "configuration",
        "search", "confirmation", "curve", "cost",
    ]  # fmt: skip
    assert first["search"] == {
        "value": 20.0, "kind": "last", "deviation": None, "replicas": 0, "diverged": 0,
        "candidates": 2, "is_optimistic": True,
    }  # fmt: skip
    assert third["search"]["is_optimistic"] is False  # it is the only trial
    best = json.loads(sweeper_here("best", "a-20260101-000000", "--json", cwd=Path.cwd()).stdout)
    assert first["confirmation"] == best["confirmation"]
    assert first["trial_id"] == best["trial_id"]
    assert (third["run"], third["confirmation"], third["curve"]) == (str(run.root), None, None)
    assert list(first["cost"]) == [
        "trials", "states", "retrained", "env_steps", "confirmation_env_steps", "time_s",
        "core_hours",
    ]  # fmt: skip
    better, unknown = found["improvements"]
    assert list(better) == list(unknown) == [
        "run", "over", "probability_of_improvement", "interval", "interval_level",
        "interval_method", "verdict", "enough_runs", "reason", "text",
    ]  # fmt: skip
    assert (better["verdict"], better["probability_of_improvement"]) == ("better", 1.0)
    assert (unknown["verdict"], unknown["interval"]) == (None, None)
    assert found["differences"] == [
        {"parameter": "lr", "values": [0.2, 0.2, 0.1], "is_default": [False] * 3}
    ]


def test_a_notebook_shows_one_table_and_escapes_what_comes_from_a_run(tmp_path: Path) -> None:
    name = "<script>\x1b[2J"
    a = with_curves(open_confirmed(tmp_path, name), [[0.0, 30.0]] * 5)
    compared = sweeper.compare_runs(a, open_confirmed(tmp_path, "b", HIGH))
    assert isinstance(compared, sweeper.RunComparison)
    text, page = repr(compared), compared._repr_html_()
    assert "\x1b" not in text
    assert "<script>\\x1b[2J" in text
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    lines = text.splitlines()
    assert lines[0].split() == ["A", "B"]
    assert any(line.startswith("learning curve") and "█" in line for line in lines)
    assert page.count("<table>") == 1
    assert page.count("white-space: pre") == 2  # or a browser would cut the blanks of a curve
    assert compared.verdict_text in text.replace("\n", " ")


def test_the_table_is_a_frame_with_a_row_for_each_run(tmp_path: Path) -> None:
    a, b = open_confirmed(tmp_path, "a"), open_confirmed(tmp_path, "b", HIGH)
    c = open_run(make_run(tmp_path, "c", ["TERMINATED"]).root)
    frame = sweeper.compare_runs(a, b, c).table
    assert list(frame["run"]) == ["a", "b", "c"]
    assert list(frame["runs"]) == [5, 5, 0]
    assert frame["mean"].round(1).tolist()[:2] == [29.7, 39.7]
    assert frame["probability"].tolist()[1] == 1.0
    assert frame["probability"].isna().tolist() == [True, False, True]
    assert list(frame["verdict"])[1] == "better"
    assert list(frame["config.lr"]) == [0.2, 0.2, 0.1]
    floats = ("score", "deviation", "mean", "interval_low", "interval_high", "iqm",
              "prediction_low", "prediction_high", "probability", "probability_low",
              "probability_high", "time_s", "core_hours")  # fmt: skip
    assert {str(frame[name].dtype) for name in floats} == {"float64"}
    whole = ("replicas", "runs", "trials", "env_steps", "confirmation_env_steps")
    assert {str(frame[name].dtype) for name in whole} == {"int64"}


def test_a_real_run_of_each_backend_is_compared_without_training(tmp_path: Path) -> None:
    torch, rllib = (extract_run(tmp_path, name) for name in ("torch-ppo", "rllib-ppo"))
    compared = sweeper.compare_runs(torch, rllib)
    assert [(one.backend, one.algorithm) for one in compared.runs] == [
        ("torch", "PPO"),
        ("rllib", "PPO"),
    ]
    first, second = (one.curve for one in compared.runs)
    assert first is not None
    assert second is not None
    assert first.metric == second.metric == "evaluation/episode_return_mean"
    assert (first.stage, first.runs) == ("search", 2)
    assert first.values[-1] == compared.runs[0].search.value
    assert [one.name for one in compared.differences] == ["train_batch_size_per_learner"]
