"""Who is trained again, on which seeds, and what the selection makes of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.evidence.confirmation import (
    BASELINE,
    Retrained,
    choose_finalists,
    collect_retrained,
    find_open_group,
    is_current,
    look_sizes,
)
from sweeper.evidence.selection import Selection, load_selection, select, write_selection
from sweeper.evidence.unconfirmed import explain_unconfirmed
from sweeper.journal import ConfirmationPlanned
from sweeper.metrics import Objective
from sweeper.results.records import SweepResults, TrialCheckpoint, TrialRecord
from sweeper.states import Stage, TrialState

OBJECTIVE = Objective("evaluation/episode_return_mean")
COLUMN = "replica/confirmation/episode_return_mean"
SEEDS = (0, 1, 2, 3)


def searched(trial_id: str, score: float | None, state: str = "TERMINATED") -> TrialRecord:
    row: dict[str, Any] = {"training_iteration": 1, "num_env_steps_sampled_lifetime": 100}
    if score is not None:
        row |= {OBJECTIVE.metric: score, f"replica/{OBJECTIVE.metric}": [score - 1, score + 1]}
    lr = {"lr": float(trial_id[1:])}
    return TrialRecord(
        trial_id, TrialState(state), configuration=lr, parameters=lr, seeds=(0, 1), reports=(row,),
        ended=1.0,
    )  # fmt: skip


def retrained(
    trial_id: str,
    of: str,
    values: Sequence[float | None],
    *,
    seeds: Sequence[int] = SEEDS,
    state: str = "TERMINATED",
    **more: Any,
) -> TrialRecord:
    row: dict[str, Any] = {
        "training_iteration": 5,
        "num_env_steps_sampled_lifetime": 100,
        "replica/num_env_steps_sampled_lifetime": [100] * len(seeds),
    }
    if state == "TERMINATED":
        present = [value for value in values if value is not None]
        best = values.index(max(present)) if present else None
        row |= {COLUMN: list(values), "agent/replica": best, "agent/episode_returns": [7.0, 9.0]}
        if None in values:
            row["replica/diverged"] = [value is None for value in values]
    configuration = {} if of == BASELINE else {"lr": float(of[1:])}
    return TrialRecord(
        trial_id,
        TrialState(state),
        configuration=configuration,
        seeds=tuple(seeds),
        reports=(row,),
        checkpoints=(TrialCheckpoint(f"trials/{trial_id}/checkpoint_000001", row),),
        stage=Stage.CONFIRMATION,
        of=of,
        **more,
    )


def planned(*finalists: str, **more: Any) -> ConfirmationPlanned:
    given: dict[str, Any] = {
        "time": 2.0,
        "finalists": finalists,
        "baseline": {"name": "defaults", "configuration": {}},
        "seeds": SEEDS,
        "step": None,
        "episodes": 20,
        "stop": {"num_env_steps_sampled_lifetime": 100},
        "objective": {"metric": OBJECTIVE.metric, "mode": "max", "score": "last"},
        "search_ended_by": "finished",
        **more,
    }
    return ConfirmationPlanned(**given)


def results(
    *retrained: TrialRecord,
    plan: ConfirmationPlanned | None = None,
    trials: Sequence[TrialRecord] = (),
) -> SweepResults:
    found = trials or (searched("t0001", 10.0), searched("t0002", 20.0), searched("t0003", 30.0))
    plan = plan or planned("t0003", "t0002")
    return SweepResults(Path("/runs/x"), tuple(found), retrained=retrained, confirmation=plan)


def nobody(found: Sequence[Retrained], looks: tuple[int, ...]) -> Collection[str]:
    return ()


def choose(found: SweepResults, **more: Any) -> Selection:
    return select(found, OBJECTIVE, exists=lambda _: True, **more)


GOOD, MEDIUM, BAD = (30.0, 31.0, 29.0, 30.5), (20.0, 21.0, 19.0, 20.5), (5.0, 4.0, 6.0, 5.5)


# --- the finalists ---------------------------------------------------------------------------


def test_finalists_are_the_best_trials_that_ran_to_their_own_end() -> None:
    trials = (
        searched("t0001", 10.0),
        searched("t0002", 99.0, "PRUNED"),
        searched("t0003", 98.0, "PAUSED"),
        searched("t0004", 97.0, "ERROR"),
        searched("t0005", None),
        searched("t0006", 30.0),
        searched("t0007", 20.0),
    )
    for shuffled in itertools.permutations(trials[:4] + trials[5:]):
        found = SweepResults(Path("/x"), shuffled)
        assert choose_finalists(found, OBJECTIVE, 2) == ("t0006", "t0007")
    assert choose_finalists(SweepResults(Path("/x"), trials[1:5]), OBJECTIVE, 3) == ()


# --- what is trained next --------------------------------------------------------------------


def test_the_first_group_has_every_finalist_and_the_baseline() -> None:
    group = find_open_group(results(), nobody)
    assert group is not None
    assert (group.seeds, group.begun) == (SEEDS, ())
    assert [member.of for member in group.members] == ["t0003", "t0002", BASELINE]
    assert group.members[0].configuration == {"lr": 3.0}


def test_what_was_interrupted_goes_on_and_what_is_done_is_not_done_again() -> None:
    group = find_open_group(
        results(
            retrained("c0001", "t0003", GOOD),
            retrained("c0002", "t0002", (), state="PAUSED"),
        ),
        nobody,
    )
    assert group is not None
    assert group.begun == ("c0002",)
    assert [member.of for member in group.members] == [BASELINE]


def test_a_failed_trial_is_tried_again_only_when_asked() -> None:
    found = results(
        retrained("c0001", "t0003", GOOD),
        retrained("c0002", "t0002", (), state="ERROR"),
        retrained("c0003", BASELINE, BAD),
    )
    assert find_open_group(found, nobody) is None
    group = find_open_group(found, nobody, ["c0002"])
    assert group is not None
    assert (group.begun, group.members) == (("c0002",), ())


def test_more_seeds_train_only_what_is_missing() -> None:
    done = (
        retrained("c0001", "t0003", GOOD),
        retrained("c0002", "t0002", MEDIUM),
        retrained("c0003", BASELINE, BAD),
    )
    plan = planned("t0003", "t0002", "t0001", seeds=tuple(range(6)))
    groups = []
    found = results(*done, plan=plan)
    while group := find_open_group(found, nobody):
        groups.append((group.seeds, [member.of for member in group.members]))
        new = [
            retrained(f"c{len(found.retrained) + 1 + n:04d}", member.of, [1.0] * len(group.seeds),
                      seeds=group.seeds)
            for n, member in enumerate(group.members)
        ]  # fmt: skip
        found = replace(found, retrained=(*found.retrained, *new))
    assert groups == [((4, 5), ["t0003", "t0002", BASELINE]), (tuple(range(6)), ["t0001"])]


def test_seeds_come_in_groups_for_whom_the_test_can_not_tell_yet() -> None:
    plan = planned("t0003", "t0002", seeds=tuple(range(6)), step=2)
    assert look_sizes(plan) == (2, 4, 6)
    asked: list[tuple[int, ...]] = []

    def undecided(found: Sequence[Retrained], looks: tuple[int, ...]) -> Collection[str]:
        assert looks == (2, 4, 6)
        asked.append(tuple(len(one.values) for one in found))
        return ["t0002", BASELINE] if len(found[1].values) == 2 else []

    first = [
        retrained("c0001", "t0003", GOOD[:2], seeds=(0, 1)),
        retrained("c0002", "t0002", MEDIUM[:2], seeds=(0, 1)),
    ]
    group = find_open_group(results(*first, plan=plan), undecided)
    assert group is not None
    assert (group.seeds, [one.of for one in group.members]) == ((0, 1), [BASELINE])
    assert asked == []  # nobody is looked at before the group is whole
    first.append(retrained("c0003", BASELINE, BAD[:2], seeds=(0, 1)))
    group = find_open_group(results(*first, plan=plan), undecided)
    assert group is not None
    assert (group.seeds, [one.of for one in group.members]) == ((2, 3), ["t0002", BASELINE])
    second = [
        retrained("c0004", "t0002", MEDIUM[2:], seeds=(2, 3)),
        retrained("c0005", BASELINE, BAD[2:], seeds=(2, 3)),
    ]
    found = results(*first, *second, plan=plan)
    assert find_open_group(found, undecided) is None
    lengths = {one.of: len(one.values) for one in collect_retrained(found, undecided)}
    assert lengths == {"t0003": 2, "t0002": 4, BASELINE: 4}


# --- what it came to -------------------------------------------------------------------------


@pytest.mark.parametrize(("score", "worst"), [(10.0, 4.0), (3.0, 2.0)])
def test_a_diverged_run_counts_as_the_worst_that_any_of_the_run_came_to(
    score: float, worst: float
) -> None:
    found = results(
        retrained("c0001", "t0003", (30.0, None, 29.0, 28.0)),
        retrained("c0002", "t0002", MEDIUM),
        retrained("c0003", BASELINE, BAD),
        trials=(searched("t0001", score), searched("t0002", 20.0), searched("t0003", 30.0)),
    )
    (first, *_) = collect_retrained(found, nobody)
    assert (first.values, first.diverged) == ((30.0, worst, 29.0, 28.0), (1,))


def test_a_diverged_run_is_not_solved_even_where_all_others_are() -> None:
    found = results(
        retrained("c0001", "t0003", (500.0, 500.0, 500.0, None)),
        plan=planned("t0003", baseline={}),
        trials=(searched("t0003", 500.0),),
    )
    selection = choose(found, solved_at=475.0)
    assert selection.evidence is not None
    assert selection.evidence.solved is not None
    assert (selection.evidence.solved.number, selection.evidence.solved.runs) == (3, 4)
    assert "'s runs diverged and counts as the worst" in selection.verdict_text


def with_runs(record: TrialRecord, values: Sequence[float], *diverged: int) -> TrialRecord:
    flags = {"replica/diverged": [place in diverged for place in range(len(values))]}
    row = {**record.last_report, f"replica/{OBJECTIVE.metric}": list(values), **flags}
    return replace(record, reports=(row,), seeds=tuple(range(len(values))))


@pytest.mark.parametrize("which", [(), (0,), (0, 1)])
def test_a_replica_that_diverged_in_the_search_shows_neither_stuck_runs_nor_a_limit(
    which: tuple[int, ...],
) -> None:
    values = [1.0 if place in which else 30.0 + place for place in range(5)]
    one = with_runs(searched("t0003", 30.0), values, *which)
    other = with_runs(searched("t0002", 20.0), [1.0, 20.0, 21.0, 22.0, 23.0], 0)
    done = [
        retrained("c0001", "t0003", (30.0, 31.0, 29.0, 30.5)),
        retrained("c0002", "t0002", (20.0, 21.0, 19.0, 20.5)),
    ]
    plan = planned("t0003", "t0002", baseline={})
    whole = choose(results(*done, plan=plan, trials=(one, other)))
    known = [value for place, value in enumerate(values) if place not in which]
    without = [with_runs(one, known), with_runs(other, [20.0, 21.0, 22.0, 23.0])]
    assert whole.evidence == choose(results(*done, plan=plan, trials=without)).evidence
    assert whole.evidence is not None
    assert whole.evidence.in_lower_group is None
    really_stuck = [with_runs(one, values), with_runs(other, [1.0, 20.0, 21.0, 22.0, 23.0])]
    stuck = choose(results(*done, plan=plan, trials=really_stuck)).evidence
    assert stuck is not None
    assert stuck.in_lower_group is not None


def test_the_confirmation_can_overrule_the_search() -> None:
    found = results(
        retrained("c0001", "t0003", BAD),
        retrained("c0002", "t0002", GOOD),
        retrained("c0003", BASELINE, MEDIUM),
    )
    selection = choose(found)
    assert (selection.trial_id, selection.search_choice) == ("t0002", "t0003")
    assert selection.word == "better"
    assert selection.rule == "the best mean of its confirmation runs"
    assert selection.agent is not None
    agent = selection.agent
    assert (agent.trial_id, agent.seed, agent.chosen_by, agent.value) == ("c0002", 1, 31.0, 8.0)
    assert selection.confirmed == pytest.approx(30.125)


def test_neither_order_nor_a_worse_trial_changes_the_champion() -> None:
    trials = [searched("t0001", 10.0), searched("t0002", 20.0), searched("t0003", 30.0)]
    done = [
        retrained("c0001", "t0003", BAD),
        retrained("c0002", "t0002", GOOD),
        retrained("c0003", BASELINE, MEDIUM),
    ]
    first = choose(results(*done, trials=trials))
    for shuffled in itertools.permutations(done):
        trials.append(trials.pop(0))
        again = choose(results(*shuffled, trials=[*trials, searched("t0004", 1.0)]))
        assert (again.trial_id, again.verdict, again.agent) == (
            first.trial_id,
            first.verdict,
            first.agent,
        )


def test_an_interrupted_confirmation_says_what_is_missing() -> None:
    found = results(
        retrained("c0001", "t0003", BAD),
        retrained("c0002", "t0002", GOOD),
        retrained("c0003", BASELINE, (), state="PAUSED"),
    )
    selection = choose(found)
    assert (selection.trial_id, selection.word, selection.agent) == ("t0003", "unconfirmed", None)
    assert "it lacks 4 training runs of the baseline" in selection.verdict_text


def test_a_finalist_whose_retraining_failed_is_excluded_with_its_reason() -> None:
    failed = replace(
        retrained("c0001", "t0003", (), state="ERROR"), reason="crashed", error="KeyError: 1"
    )
    found = results(failed, retrained("c0002", "t0002", GOOD), retrained("c0003", BASELINE, MEDIUM))
    selection = choose(found)
    assert selection.trial_id == "t0002"
    assert [(one.trial_id, one.reason) for one in selection.excluded] == [
        ("t0003", "its confirmation failed: crashed: KeyError: 1")
    ]


def test_a_finalist_of_which_one_group_of_seeds_failed_can_not_win() -> None:
    plan = planned("t0003", "t0002", seeds=tuple(range(8)), step=4)
    later = {"seeds": (4, 5, 6, 7)}
    failed = replace(
        retrained("c0004", "t0003", (), state="ERROR", **later), reason="diverged", error="3 of 4"
    )
    found = results(
        retrained("c0001", "t0003", GOOD),
        retrained("c0002", "t0002", MEDIUM),
        retrained("c0003", BASELINE, MEDIUM),
        failed,
        retrained("c0005", "t0002", MEDIUM, **later),
        retrained("c0006", BASELINE, MEDIUM, **later),
        plan=plan,
    )
    selection = choose(found)
    assert selection.trial_id == "t0002"
    assert [(one.trial_id, one.reason) for one in selection.excluded] == [
        ("t0003", "its confirmation failed: diverged: 3 of 4")
    ]


def test_a_champion_without_a_rival_is_not_excluded_for_its_failure() -> None:
    failed = replace(retrained("c0001", "t0003", (), state="ERROR"), reason="crashed")
    found = results(failed, retrained("c0002", BASELINE, BAD), plan=planned("t0003"))
    selection = choose(found)
    assert (selection.trial_id, selection.word, selection.excluded) == ("t0003", "unconfirmed", ())
    assert "Unconfirmed: 4 of 4 runs of t0003 failed (crashed)." in selection.verdict_text


def test_until_it_is_complete_the_champion_is_the_searchs_whatever_has_begun() -> None:
    trials = [searched(f"t000{number}", 30.0) for number in (1, 2, 3)]
    for done in ((), ("t0002",), ("t0002", "t0003"), ("t0001", "t0003")):
        begun = [retrained(f"c000{n}", of, GOOD) for n, of in enumerate(done, start=1)]
        plan = planned("t0001", "t0002", "t0003")
        selection = choose(results(*begun, trials=trials, plan=plan))
        assert (selection.word, selection.trial_id) == ("unconfirmed", "t0001")
        assert selection.search_choice == "t0001"


def test_a_named_trial_that_is_being_confirmed_is_not_the_champion_yet() -> None:
    half = [retrained("c0001", "t0001", GOOD[:2], seeds=(0, 1))]
    selection = choose(results(*half, plan=planned("t0001")))
    assert (selection.trial_id, selection.word) == ("t0003", "unconfirmed")
    assert "it lacks 2 training runs of t0001 and 4 training runs of the baseline" in (
        selection.verdict_text
    )
    whole = [retrained("c0001", "t0001", GOOD), retrained("c0002", BASELINE, BAD)]
    selection = choose(results(*whole, plan=planned("t0001")))
    assert (selection.trial_id, selection.word) == ("t0001", "better")


def test_why_the_champion_and_the_baseline_failed_is_recorded(tmp_path: Path) -> None:
    crash = {"state": "ERROR", "reason": "crashed", "error": "KeyError: 1"}
    found = results(
        retrained("c0001", "t0003", (), **crash),
        retrained("c0002", BASELINE, (), **crash),
        plan=planned("t0003"),
    )
    selection = choose(found)
    write_selection(tmp_path / "selection.json", selection)
    assert load_selection(tmp_path / "selection.json") == selection
    document = selection.to_best_json("/runs/x", None)
    for name in ("confirmation", "baseline"):
        assert document[name]["failure"] == "crashed: KeyError: 1"
    assert selection.verdict_text.count("(crashed: KeyError: 1)") == 2


def test_the_record_of_a_version_that_kept_no_reasons_is_read(tmp_path: Path) -> None:
    selection = choose(results(retrained("c0001", "t0003", GOOD), plan=planned("t0003")))
    path = tmp_path / "selection.json"
    write_selection(path, selection)
    document = json.loads(path.read_text())
    for evidence in document["verdict"]["evidence"].values():
        del evidence["failure"], evidence["diverged_runs"]
    path.write_text(json.dumps(document))
    assert load_selection(path) == selection


@pytest.mark.parametrize(
    "done",
    [
        [retrained("c0001", "t0003", GOOD), retrained("c0002", BASELINE, BAD)],
        [retrained("c0001", "t0003", GOOD[:1] * 4), retrained("c0002", BASELINE, BAD)],
        [retrained("c0001", "t0003", GOOD)],
        [],
        [
            replace(retrained("c0001", "t0003", (), state="ERROR"), reason="crashed"),
            retrained("c0002", BASELINE, BAD),
        ],
    ],
    ids=["better", "all equal", "interrupted", "not begun", "failed"],
)
def test_a_verdict_ends_with_the_next_training_run_whatever_happened_in_the_search(
    done: list[TrialRecord],
) -> None:
    trials = [searched("t0003", 30.0)]
    whole = choose(results(*done, plan=planned("t0003"), trials=trials)).verdict_text
    lost = [searched("t0004", 1.0, "ERROR"), searched("t0005", None)]
    selection = choose(results(*done, plan=planned("t0003"), trials=[*trials, *lost]))
    first, said, last = selection.verdict_text.partition("2 trials could not be judged. ")
    assert said
    assert first + last == whole
    assert "raining run" in last.rpartition(". ")[2]


def test_an_area_under_a_curve_is_no_mean_to_shrink_from() -> None:
    objective = replace(OBJECTIVE, score="auc")
    chosen_by = {"metric": objective.metric, "mode": "max", "score": "auc"}
    found = results(
        retrained("c0001", "t0003", GOOD),
        retrained("c0002", BASELINE, BAD),
        plan=planned("t0003", objective=chosen_by),
    )
    selection = select(found, objective, exists=lambda _: True)
    assert selection.verdict is not None
    assert selection.verdict.shrinkage is None
    assert "search's score" not in selection.verdict_text


def test_when_every_finalist_fails_the_searchs_results_stay() -> None:
    found = results(
        retrained("c0001", "t0003", (), state="ERROR"),
        retrained("c0002", "t0002", (), state="ERROR"),
        retrained("c0003", BASELINE, MEDIUM),
    )
    selection = choose(found)
    assert (selection.trial_id, selection.word) == ("t0003", "unconfirmed")
    assert "too many runs of each of the 2 finalists failed" in selection.verdict_text


CRASH = {"state": "ERROR", "reason": "crashed", "error": "KeyError: 1"}
DIVERGED = {"state": "ERROR", "reason": "diverged", "error": "3 of 4 replicas"}


@pytest.mark.parametrize("best_state", ["TERMINATED", "PAUSED", "RUNNING"])
@pytest.mark.parametrize("is_baseline_whole", [True, False])
@pytest.mark.parametrize(
    ("failures", "why"),
    [
        ([CRASH], "4 of 4 runs of t0001 failed (crashed: KeyError: 1)"),
        ([DIVERGED], "4 of 4 runs of t0001 failed (diverged: 3 of 4 replicas)"),
        (
            [CRASH, CRASH],
            "too many runs of each of the 2 finalists failed (crashed: KeyError: 1)",
        ),
        (
            [CRASH, DIVERGED],
            "too many runs of each of the 2 finalists failed (t0001: crashed: KeyError: 1; "
            "t0002: diverged: 3 of 4 replicas)",
        ),
    ],
)
def test_when_finalists_that_the_search_did_not_put_first_all_fail_its_choice_stays(
    failures: list[dict[str, str]], why: str, is_baseline_whole: bool, best_state: str
) -> None:
    trials = (searched("t0001", 10.0), searched("t0002", 20.0), searched("t0003", 30.0, best_state))
    names = [f"t{number:04d}" for number, _ in enumerate(failures, start=1)]
    done = [
        retrained(f"c{name[1:]}", name, (), **failure)
        for name, failure in zip(names, failures, strict=True)
    ]
    done.append(retrained("c0009", BASELINE, MEDIUM, **({} if is_baseline_whole else CRASH)))
    found = results(*done, plan=planned(*names), trials=trials)
    if best_state == "RUNNING":  # then the search goes on, and chooses anew
        assert choose(found).verdict is None
        return
    selection = choose(found)
    assert (selection.trial_id, selection.word, selection.verdict) == ("t0003", "unconfirmed", None)
    assert f"Unconfirmed: {why}; the best of several" in selection.verdict_text
    assert [one.trial_id for one in selection.excluded] == names


def test_a_search_that_went_on_makes_the_confirmation_one_of_the_past() -> None:
    done = [retrained("c0001", "t0003", GOOD), retrained("c0002", BASELINE, BAD)]
    plan = planned("t0003")
    later = replace(searched("t0004", 40.0), ended=3.0)
    found = results(*done, plan=plan, trials=[searched("t0003", 30.0), later])
    assert not is_current(found)
    why = explain_unconfirmed(found, OBJECTIVE, finalists=1)
    selection = choose(found, unconfirmed=why)
    assert (selection.trial_id, selection.word) == ("t0004", "unconfirmed")
    assert "the search has gone on" in selection.verdict_text


def test_another_metric_has_no_confirmation() -> None:
    found = results(retrained("c0001", "t0003", GOOD), plan=planned("t0003"))
    other = Objective("episode_len_mean", "min")
    assert "made for its own metric" in explain_unconfirmed(found, other, finalists=1)


@pytest.mark.parametrize("is_live", [True, False])
def test_why_nothing_is_confirmed(is_live: bool) -> None:
    bare = SweepResults(Path("/x"), (searched("t0001", 1.0, "PAUSED"),), is_live=is_live)
    why = explain_unconfirmed(bare, OBJECTIVE, finalists=3)
    assert ("still to come" if is_live else "no trial ran to its own end") in why
    several = replace(bare, trials=(searched("t0001", 1.0), searched("t0002", 2.0)))
    assert "the best of several noisy scores" in explain_unconfirmed(
        several, OBJECTIVE, finalists=0
    )


def test_a_single_trial_was_not_chosen_among_several() -> None:
    alone = SweepResults(Path("/x"), (searched("t0001", 1.0),))
    assert explain_unconfirmed(alone, OBJECTIVE, finalists=0) == (
        "Unconfirmed: one trial leaves nothing to choose; other seeds may come to something else."
    )


def test_a_confirmed_selection_survives_its_file_and_prints_its_evidence(tmp_path: Path) -> None:
    found = results(
        retrained("c0001", "t0003", GOOD),
        retrained("c0002", "t0002", MEDIUM),
        retrained("c0003", BASELINE, BAD),
    )
    selection = choose(found, solved_at=30.0)
    write_selection(tmp_path / "selection.json", selection)
    assert load_selection(tmp_path / "selection.json") == selection
    document = selection.to_best_json("/runs/x", None)
    for name in ("confirmation", "baseline", "evaluation"):
        assert {"mean", "iqm", "interval", "prediction", "runs", "episodes", "seeds"} <= (
            document[name].keys()
        )
    assert document["confirmation"]["runs"] == list(GOOD)
    assert document["confirmation"]["solved"]["number"] == 3
    assert document["baseline"]["configuration"] == {}
    assert document["evaluation"]["value"] == 8.0
    assert document["shrinkage"] == pytest.approx(30 - 30.125)
    assert document["verdict"] == "better"
    low, high = document["probability_interval"]
    assert low < document["probability_of_improvement"] == high == 1.0
    assert document["probability_interval_level"] == 0.95
