"""What MLflow shows of the champion, and of a former one's numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from run_folders import add_confirmation, make_run

from sweeper.evidence.selection import Selection
from sweeper.opened_run import open_run
from sweeper.tracking.evidence import champion_metrics, find_changed
from sweeper.tracking.naming import scalar_metrics


@pytest.fixture
def confirmed(tmp_path: Path) -> Selection:
    paths = make_run(tmp_path, "a-20260101-000000", ["TERMINATED", "TERMINATED"])
    add_confirmation(paths)
    return open_run(paths.root).selection


def shown(selection: Selection) -> dict[str, float]:
    return scalar_metrics(champion_metrics(selection))


def test_what_mlflow_shows_already_is_not_written_again(confirmed: Selection) -> None:
    assert find_changed(confirmed, {}) == shown(confirmed)
    assert find_changed(confirmed, {**shown(confirmed), "other": 1.0}) == {}
    changed = replace(confirmed, score=99.0)
    assert find_changed(changed, shown(confirmed)) == {"champion/episode_return_mean": 99.0}


def test_the_probability_of_improvement_has_its_interval(confirmed: Selection) -> None:
    name, found = "confirmation/probability_of_improvement", shown(confirmed)
    assert 0.5 < found[f"{name}_low"] < found[name] == found[f"{name}_high"] == 1.0
    assert confirmed.verdict is not None
    alone = replace(confirmed.verdict, probability_of_improvement=None, probability_interval=None)
    assert not any(one.startswith(name) for one in shown(replace(confirmed, verdict=alone)))


def test_no_number_of_a_former_champion_stays_where_the_new_one_has_none(
    confirmed: Selection,
) -> None:
    before = {**shown(confirmed), "other/mean": 1.0}
    after = replace(confirmed, trial_id="t0001", score=10.0, verdict=None, agent=None)
    written = find_changed(after, before)
    assert written.pop("champion/episode_return_mean") == 10.0
    assert written.keys() == before.keys() - shown(after).keys() - {"other/mean"}
    assert {name.partition("/")[0] for name in written} == {"confirmation", "baseline", "agent"}
    assert all(map(math.isnan, written.values()))
    # Again, nothing is left to write; once the new one is confirmed, its numbers are.
    assert find_changed(after, {**before, **shown(after), **written}) == {}
    assert find_changed(confirmed, {**before, **written}).keys() == written.keys()
