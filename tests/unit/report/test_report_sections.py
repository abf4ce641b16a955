"""What a report says, against the same run's records."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from comparable_runs import make_confirmed
from report_pages import Element, read_page, section
from run_folders import SPEC, make_run

from sweeper.errors import UserError
from sweeper.opened_run import Run, open_run
from sweeper.paths import RunPaths
from sweeper.spec import load_spec

VALUES = (28.25, 31.5, 29.125, 30.5, 30.0)


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    storage = tmp_path_factory.mktemp("runs")
    return open_run(make_confirmed(storage, "confirmed-20260101-000000", VALUES).root)


@pytest.fixture(scope="module")
def page(confirmed: Run) -> Element:
    return read_page(confirmed.report().read_text())


def _report(run: Run) -> Element:
    return read_page(run.report().read_text())


def _open(storage: Path, *ends: str, **options: Any) -> Run:
    paths = make_run(storage, "run-20260101-000000", ends, **options)
    paths.environment.write_text('{"versions": {"python": "3.11.9"}}')
    return open_run(paths.root)


def test_the_head_has_the_verdict_word_for_word(confirmed: Run, page: Element) -> None:
    (head,) = page.find("header")
    for sentence in confirmed.selection.verdict_text.split(". "):
        assert sentence in head.text
    (badge,) = head.find("span", class_=f"badge {confirmed.selection.word}")
    assert badge.text == confirmed.best["verdict"]


def test_the_numbers_of_the_evidence_are_those_of_best(confirmed: Run, page: Element) -> None:
    best = confirmed.best
    rows = {
        row.find("th")[0].text.split()[0]: row
        for row in section(page, "evidence").find("table")[0].find("tr")[1:]
    }
    assert rows.keys() == {"t0002", "baseline"}
    for name, recorded in (("t0002", best["confirmation"]), ("baseline", best["baseline"])):
        expected = [recorded["mean"], *recorded["interval"], *recorded["prediction"]]
        expected += [recorded["iqm"], recorded["deviation"]]
        if recorded["search_score"] is not None:
            expected.append(recorded["search_score"])
        assert rows[name].numbers == expected
    runs = dict(_pairs(section(page, "evidence")))
    assert runs["t0002"].numbers == best["confirmation"]["runs"] == list(VALUES)
    assert runs["baseline"].numbers == best["baseline"]["runs"]
    chance = runs["Chance that a run of the champion beats one of the baseline"].numbers
    assert chance == [best["probability_of_improvement"], *best["probability_interval"]]
    (shrinkage,) = runs["Shrinkage (search score minus confirmed mean)"].numbers
    assert shrinkage == best["shrinkage"]


def test_the_agents_number_is_told_apart_from_the_configurations(
    confirmed: Run, page: Element
) -> None:
    shown, evaluation = section(page, "evidence"), confirmed.best["evaluation"]
    rows = dict(_pairs(shown))
    assert rows["On fresh episodes"].numbers == [evaluation["value"]]
    assert rows["Chosen by"].numbers == [evaluation["chosen_by"]]
    assert "Its own number is not the configuration's" in shown.text
    assert evaluation["value"] not in rows["t0002"].numbers


def test_without_a_confirmation_it_says_how_to_make_one(tmp_path: Path) -> None:
    run = _open(tmp_path, "TERMINATED", "TERMINATED")
    shown = section(_report(run), "evidence")
    assert "There is no confirmation" in shown.text
    assert "sweeper confirm" in shown.text
    assert run.best["score"] in shown.numbers


def test_the_configuration_is_a_spec_that_can_be_trained(confirmed: Run, page: Element) -> None:
    block = section(page, "configuration").find("pre")[0]
    spec = load_spec(Path("copied.yaml"), text=block.text)
    assert spec.param_space["lr"] == confirmed.best["configuration"]["lr"] == 0.2
    (marked,) = block.find("mark")
    assert marked.text == "0.2"


def test_nested_and_listed_values_are_marked_whole(tmp_path: Path) -> None:
    spec = SPEC.replace(
        "{lr: {grid_search: [0.1, 0.2, 0.3, 0.4]}}",
        "{lr: {grid_search: [0.1]}, model_config: {fcnet_hiddens: {grid_search: [[8, 8], [16]]}}}",
    )
    run = _open(tmp_path, "TERMINATED", spec=spec)
    results = run.results
    searched = {"lr": 0.1, "model_config": {"fcnet_hiddens": [8, 8]}}
    (trial,) = results.trials
    trial = replace(trial, configuration=searched, parameters=searched)
    run = replace(run, results=replace(results, trials=(trial,)))
    block = section(_report(run), "configuration").find("pre")[0]
    assert [yaml.safe_load(one.text) for one in block.find("mark")] == [0.1, [8, 8]]


def test_a_value_of_several_lines_is_marked_line_by_line() -> None:
    from sweeper.report.configuration import _marked

    text = "param_space:\n  lr:\n  - [0, 0.1]\n  - [5, 0.2]\n  gamma: 0.9\n"
    shown = read_page(_marked(text, ["lr"], ("param_space",)).text)
    assert shown.text == text
    assert [one.text for one in shown.find("mark")] == ["- [0, 0.1]", "- [5, 0.2]"]


def test_the_table_has_every_trial_with_its_score_and_state(tmp_path: Path) -> None:
    run = _open(tmp_path, "TERMINATED", "ERROR", "PRUNED", "TERMINATED")
    (table,) = section(_report(run), "trials").find("table")
    rows = table.find("tbody")[0].find("tr")
    shown = {row.find("th")[0].text.split()[0]: row for row in rows}
    recorded = {row["trial_id"]: row for row in run.rows}
    assert shown.keys() == recorded.keys()
    words = {"TERMINATED": "done", "ERROR": "failed", "PRUNED": "pruned"}
    for trial_id, row in shown.items():
        expected = recorded[trial_id]["score"]
        assert row.numbers == ([] if expected is None else [expected])
        assert row.attributes["data-state"] == words[recorded[trial_id]["state"]]
    assert [row.attributes.get("class") for row in rows].count("champion") == 1
    assert "champion" in shown[run.best["trial_id"]].find("th")[0].text


def test_excluded_trials_are_grouped_by_their_reason(tmp_path: Path) -> None:
    run = _open(tmp_path, "TERMINATED", "ERROR", "ERROR", "PRUNED")
    shown = section(_report(run), "excluded")
    (row,) = shown.find("tbody")[0].find("tr")
    cells = [one.text for one in row.children if isinstance(one, Element)]
    assert cells[1:] == ["2", "t0002, t0003"]
    assert "no such luck" in cells[0]
    assert "1 trial stopped early by the scheduler (t0004)" in shown.text


def test_cost_has_each_stage_and_their_sum(confirmed: Run, page: Element) -> None:
    rows = [
        [cell.text for cell in row.children if isinstance(cell, Element)]
        for row in section(page, "cost").find("tbody")[0].find("tr")
    ]
    assert [row[0] for row in rows] == ["Search", "Confirmation", "Together"]
    # Two trials of one replica with 500 steps each; two of five with 1000.
    assert [row[2] for row in rows] == ["1,000", "10,000", "11,000"]
    assert rows[0][3:] == ["40s", "0.01111"]


def test_reproduction_has_the_spec_the_commit_and_the_machine(tmp_path: Path) -> None:
    run = _open(tmp_path, "TERMINATED")
    document = {
        "command": ["/home/someone/secret/bin/sweeper", "run", "a spec.yaml"],
        "working_directory": "/home/someone/secret",
        "seeds": [3, 4],
        "versions": {"python": "3.11.9", "ray": "2.60.0"},
        "platform": "Linux-6.1",
        "cpus": 8,
        "git": {"commit": "abc123", "dirty": True},
    }
    run.paths.environment.write_text(json.dumps(document))
    page = _report(run)
    shown = section(page, "reproduce")
    rows = {name: value.text for name, value in _pairs(shown)}
    assert rows["Command"] == "sweeper run 'a spec.yaml'"
    assert rows["Git commit"] == "abc123 with changes that are not committed"
    assert rows["Versions"] == "python 3.11.9, ray 2.60.0"
    assert rows["Machine"] == "Linux-6.1, 8 cores"
    assert rows["Training seeds of each trial"] == "3, 4"
    assert "/home/someone/secret" not in page.text
    assert run.paths.spec.read_text().strip() in shown.find("pre")[-1].text


def test_a_run_that_goes_on_says_so(tmp_path: Path) -> None:
    run = _open(tmp_path, "TERMINATED", "RUNNING", reason=None)
    live = replace(run, results=replace(run.results, is_live=True))
    (head,) = _report(live).find("header")
    assert "The run is still going on" in head.text
    assert "sweeper report" in head.text


@pytest.mark.parametrize("ends", [(), ("RUNNING",), ("ERROR",), ("ERROR", "ERROR")])
def test_a_run_without_a_champion_says_why(tmp_path: Path, ends: tuple[str, ...]) -> None:
    run = _open(tmp_path, *ends)
    if "RUNNING" in ends:
        (trial,) = run.results.trials
        trials = (replace(trial, reports=()),)
        run = replace(run, results=replace(run.results, trials=trials))
    page = _report(run)
    (head,) = page.find("header")
    assert "no champion" in head.text
    assert run.failure is None or run.failure.split(". ")[0] in head.text
    assert "can't be shown" not in page.text


@pytest.mark.parametrize("damage", ["", "{]", "[1]", '{"versions": 3, "git": [], "seeds": "x"}'])
def test_damaged_provenance_is_said_in_its_place(tmp_path: Path, damage: str) -> None:
    run = _open(tmp_path, "TERMINATED")
    run.paths.environment.write_text(damage)
    shown = section(_report(run), "reproduce").text
    assert "sweeper report" in shown
    assert ("can't be shown" in shown) == (not damage.startswith("{") or damage == "{]")


def test_a_section_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _open(tmp_path, "TERMINATED")
    run.paths.spec.unlink()
    page = _report(run)
    assert "can't be shown" in section(page, "configuration").text
    assert "can't be shown: spec.yaml" in section(page, "reproduce").text
    assert section(page, "trials").find("table")


def test_files_of_a_run_that_are_links_are_not_read(tmp_path: Path) -> None:
    run = _open(tmp_path, "TERMINATED")
    secret = tmp_path / "secret.json"
    secret.write_text('{"platform": "precious"}')
    for path in (run.paths.environment, run.paths.spec):
        path.unlink(missing_ok=True)
        path.symlink_to(secret)
    assert "precious" not in _report(run).text


def test_a_link_in_the_reports_place_is_replaced(tmp_path: Path) -> None:
    run = _open(tmp_path, "TERMINATED")
    victim = tmp_path / "victim.html"
    victim.write_text("precious")
    run.paths.report.symlink_to(victim)
    assert run.report() == run.paths.report
    assert not run.paths.report.is_symlink()
    assert victim.read_text() == "precious"


def test_an_output_that_can_t_be_written_is_an_error(tmp_path: Path) -> None:
    run = _open(tmp_path, "TERMINATED")
    with pytest.raises(UserError, match=r"must end in \.html"):
        run.report(tmp_path / "page.pdf")
    with pytest.raises(UserError, match="there is no folder"):
        run.report(tmp_path / "missing" / "page.html")
    run.paths.report.mkdir()
    with pytest.raises(UserError, match="is a folder"):
        run.report()


def test_all_values_nan_are_no_scores(tmp_path: Path) -> None:
    run = _open(tmp_path, "TERMINATED", "TERMINATED")
    nan = {"training_iteration": 1, "episode_return_mean": float("nan")}
    trials = tuple(replace(one, reports=(nan,)) for one in run.results.trials)
    page = _report(replace(run, results=replace(run.results, trials=trials)))
    assert "can't be shown" not in page.text
    assert section(page, "trials").numbers == []


def test_every_chart_is_there_or_says_why_it_is_not(page: Element) -> None:
    shown = section(page, "charts")
    figures = shown.find("figure")
    assert len(figures) >= 9
    for figure in figures:
        assert figure.find("div", class_="chart") or "Can't be shown: " in figure.text
    (finalists,) = shown.find("figure", id="chart-finalists")
    data = json.loads(finalists.find("script")[0].text)
    drawn = {value for trace in data["data"] for value in trace["x"] if value is not None}
    assert drawn >= set(VALUES)
    assert "drag along" not in shown.text  # which plain lines can't


def test_the_policy_names_every_script_and_nothing_from_outside(page: Element) -> None:
    (policy,) = page.find("meta", http_equiv="Content-Security-Policy")
    rules = policy.attributes["content"] or ""
    assert rules.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in rules
    assert "http" not in rules
    scripts = [one.text.encode() for one in page.find("script") if "type" not in one.attributes]
    (packed,) = page.find("script", id="plotly")
    scripts.append(gzip.decompress(base64.b64decode(packed.text)))
    hashes = [base64.b64encode(hashlib.sha256(one).digest()).decode() for one in scripts]
    assert re.findall("'sha256-([^']+)'", rules) == hashes
    for element in page.walk():
        assert not {"src", "srcset", "style", "action"} & element.attributes.keys()
        assert (element.attributes.get("href") or "#").startswith("#")


def _pairs(element: Element) -> list[tuple[str, Element]]:
    return [
        (name.text, value)
        for row in element.find("dl")
        for name, value in zip(row.find("dt"), row.find("dd"), strict=True)
    ]


def test_the_report_of_a_run_whose_spec_is_lost_has_the_rest(tmp_path: Path) -> None:
    from sweeper.report.writing import write_damaged

    paths = make_run(tmp_path, "run-20260101-000000", ["TERMINATED", "ERROR"])
    paths.spec.write_text("name: [")
    file = write_damaged(RunPaths(paths.root), "the run's spec can't be read: line 1")
    page = read_page(file.read_text())
    assert "the run's spec can't be read: line 1" in page.find("header")[0].text
    assert "can't be shown: the run's spec can't be read" in section(page, "trials").text
    assert section(page, "cost").find("table")
    assert "name: [" in section(page, "reproduce").text
