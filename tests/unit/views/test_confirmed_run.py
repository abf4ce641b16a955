"""A confirmed run in every view: the same verdict, the mean and the agent's value told apart."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from run_folders import add_confirmation, make_run

from sweeper.errors import UserError
from sweeper.opened_run import Run, open_run
from sweeper.results.records import TrialRecord
from sweeper.states import TrialState
from sweeper.tracking.evidence import champion_metrics
from sweeper.upkeep.overview import describe_run, describe_runs
from sweeper.views.runs import print_best, print_runs, summarise
from sweeper.views.status import describe_best, print_status
from sweeper.views.trials import print_trials


@pytest.fixture
def run(tmp_path: Path) -> Run:
    paths = make_run(tmp_path, "a-20260101-000000", ["TERMINATED", "TERMINATED"])
    add_confirmation(paths)
    return open_run(paths.root)


def test_every_view_shows_the_same_verdict(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = run.selection.verdict_text
    assert verdict.startswith("t0002 is better than the baseline: mean return 29.7")
    print_best(run)
    overview = describe_run(run)
    print_status(overview)
    shown = " ".join((capsys.readouterr().out + summarise(run)).split())
    assert shown.count(verdict) == 3
    assert (overview.verdict, overview.verdict_text) == ("better", verdict)
    assert run.best["verdict_text"] == verdict


def test_the_mean_of_all_runs_and_the_agents_value_are_told_apart(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    print_best(run)
    rows = dict(
        line.split("  ", 1) for line in capsys.readouterr().out.splitlines() if "  " in line
    )
    assert "29.7 (" in rows["on fresh seeds"]
    assert "10 (" in rows["baseline"]
    value = rows["saved agent"].strip()
    assert value.startswith("26 over 2 fresh episodes: the best of t0002's runs (seed 1 of ")


def diverged(record: TrialRecord, *places: int) -> TrialRecord:
    """The trial as if some of its replicas had diverged."""
    flags = [place in places for place in range(len(record.seeds))]
    row = {**record.last_report, "replica/diverged": flags}
    return replace(record, reports=(*record.reports[:-1], row))


def test_diverged_runs_are_said_wherever_a_confirmed_mean_is(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    champion, baseline = run.results.retrained
    retrained = (diverged(champion, 3), diverged(baseline, 0, 1))
    run = replace(run, results=replace(run.results, retrained=retrained))
    said = "1 of t0002's runs and 2 of the baseline's diverged and count as the worst."
    assert said in run.selection.verdict_text
    print_best(run)
    rows = dict(
        line.split("  ", 1) for line in capsys.readouterr().out.splitlines() if "  " in line
    )
    assert rows["on fresh seeds"].endswith("over 5 runs (1 diverged)")
    assert "over 5 runs (2 diverged), defaults" in rows["baseline"]
    assert rows["t0002's runs"].strip() == "28, 31, 29, 9.5 (diverged), 30"
    assert rows["baseline's runs"].strip().startswith("9.5 (diverged), 9.5 (diverged), 10, ")
    assert describe_best(describe_run(run)).endswith("over 5 fresh runs (1 diverged)")
    assert [line.split("  ")[-1] for line in repr(run.champion).splitlines()[-2:]] == [
        "5 (1 diverged)",
        "5 (2 diverged)",
    ]
    metrics = champion_metrics(run.selection)
    assert [metrics[f"{name}/diverged"] for name in ("champion", "confirmation", "baseline")] == [
        0, 1, 2,
    ]  # fmt: skip
    assert run.best["confirmation"]["diverged_runs"] == [3]


def test_the_list_shows_the_verdict(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    print_runs(describe_runs(run.results.root.parent), "runs")
    shown = capsys.readouterr().out
    assert "29.7 (28.2 to 31.2) over 5 fresh runs" in " ".join(shown.split())
    assert "better" in shown


def test_the_confirmations_trials_are_shown_apart(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    print_trials(run)
    assert "c0001" not in capsys.readouterr().out
    print_trials(run.retrained)
    shown = capsys.readouterr().out
    assert "c0001 of t0002" in shown
    assert "c0002 of baseline" in shown
    assert "29.7 ±1.204" in shown
    rows = run.retrained.rows
    assert [(row["of"], row["replicas"]) for row in rows] == [("t0002", 5), ("baseline", 5)]


def test_a_narrow_terminal_shows_no_configuration_of_the_confirmation(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for columns, is_shown in ((200, True), (55, False)):
        monkeypatch.setenv("COLUMNS", str(columns))
        print_trials(run.retrained)
        shown = click.unstyle(capsys.readouterr().out)
        assert ("lr" in shown.splitlines()[0]) == is_shown
        assert ("their configurations: sweeper results" in " ".join(shown.split())) != is_shown
        assert "c0001 of t0002" in shown


def test_the_champion_of_a_notebook_shows_verdict_and_evidence(run: Run) -> None:
    champion = run.champion
    assert champion.trial_id == "t0002"
    assert champion.verdict == "better"
    assert champion.configuration == run.best["configuration"]
    shown = repr(champion)
    assert shown.startswith(champion.verdict_text)
    rows = [line.split("  ") for line in shown.splitlines()[2:]]
    assert [row[0].strip() for row in rows] == ["", "t0002", "baseline"]
    assert "29.7" in shown
    html = champion._repr_html_()
    assert html.count("<tr>") == 3
    assert "29.7" in html


def test_every_view_says_why_a_trial_that_was_not_the_best_could_not_be_confirmed(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = replace(run.results.confirmation, finalists=("t0001",))
    failed, baseline = run.results.retrained
    failed = replace(
        failed,
        of="t0001",
        configuration=run.results.trial("t0001").configuration,
        state=TrialState.ERROR,
        reason="crashed",
        error="KeyError: 1",
    )
    retrained = (failed, baseline)
    changed = replace(run, results=replace(run.results, confirmation=planned, retrained=retrained))
    why = "Unconfirmed: 5 of 5 runs of t0001 failed (crashed: KeyError: 1)"
    print_best(changed)
    print_status(describe_run(changed))
    shown = " ".join((capsys.readouterr().out + summarise(changed)).split())
    assert shown.count(why) == 3
    assert repr(changed.champion).count(why) == 1
    assert changed.best_trial == "t0002"


def test_an_agent_that_was_not_written_is_said_to_be_missing(run: Run) -> None:
    with pytest.raises(UserError, match="the agent of t0002 was not written"):
        run.champion.agent()


def test_a_threshold_shows_how_soon_the_runs_got_there(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    print_best(run)
    assert "area" not in capsys.readouterr().out  # nothing counts as solved
    assert run.learning() is None
    assert "learning" not in run.best
    trials = tuple(
        replace(
            one,
            reports=(
                {
                    "num_env_steps_sampled_lifetime": 500,
                    "replica/episode_return_mean": [10.0] * 5,
                },
                {**one.last_report, "replica/episode_return_mean": [30.0] * 4 + [20.0]},
            ),
        )
        for one in run.results.retrained
    )
    learned = replace(run, results=replace(run.results, retrained=trials))
    print_best(learned, 25.0)
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        "reached 25 at least once in training, 4 of 5 runs, after 1000 env steps, half of all 5 by "
        "1000" in shown
    )
    assert (
        "mean in training 19 ±2.236 over 5 runs: the mean of episode_return_mean over env steps"
        in shown
    )
