"""What a node's answer means: which trials would fail there, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeper.running.tune import survey
from sweeper.running.tune.nodes import NodeSurvey

PARTS = ("sweeper", "storage", "bucket", "module")
HERE = {
    "sweeper": "0.4.0",
    "python": "3.11.7",
    "ray": "2.60.0",
    "torch": "2.9.0",
    "gymnasium": "1.2.2",
}


def judge(answer: Any = None, cpus: float = 4.0, **versions: str | None) -> NodeSurvey:
    node = {
        "NodeID": "0123456789abcdef",
        "NodeManagerAddress": "10.0.0.2",
        "Resources": {"CPU": cpus} if cpus else {},
    }
    given = {"versions": {**HERE, **versions}, **dict.fromkeys(PARTS)}
    whole = answer if isinstance(answer, str) else {**given, **(answer or {})}
    return survey._judge(node, whole, HERE, Path("/data/runs"))


def test_a_node_that_is_like_this_one_is_fit() -> None:
    found = judge()
    assert (found.node, found.status) == ("10.0.0.2 (01234567)", "ok")
    assert (found.failures, found.warnings) == ((), ())


@pytest.mark.parametrize(
    ("answer", "versions", "words"),
    [
        ({}, {"python": "3.12.1"}, "python is 3.12.1 there and 3.11.7 here: install the same"),
        ({}, {"ray": "2.59.1"}, "ray is 2.59.1 there and 2.60.0 here: install the same"),
        ({}, {"torch": None}, "torch is not installed: install 2.9.0 there"),
        (
            {"sweeper": "ModuleNotFoundError: No module named 'sweeper'"},
            {"sweeper": None},
            "sweeper can't be imported (ModuleNotFoundError: No module named 'sweeper'): install "
            "0.4.0 there as here",
        ),
        (
            {"storage": "what is written here is not found there"},
            {},
            "the storage /data/runs is not shared: what is written here is not found there; give "
            "a folder that all nodes mount at one path with storage=PATH",
        ),
        (
            {"bucket": "storage s3://runs: can't be read: access denied"},
            {},
            "storage s3://runs: can't be read: access denied; the node needs the variables, or "
            "another login, that this process has for it",
        ),
        (
            {"module": "no module named envs; looked in /home/a, Python's path"},
            {},
            "no module named envs; looked in /home/a, Python's path; install it there, or lay it "
            "beside the spec",
        ),
    ],
)
def test_what_makes_trials_fail_is_a_failure_with_its_remedy(
    answer: dict[str, str], versions: dict[str, str | None], words: str
) -> None:
    found = judge(answer, **versions)
    assert (found.failures, found.warnings) == ((words,), ())
    assert found.status == "failed"


@pytest.mark.parametrize(
    "versions",
    [{"torch": "2.8.0"}, {"python": "3.11.9"}, {"sweeper": "0.3.0"}, {"gymnasium": "1.2.1"}],
    ids=str,
)
def test_other_differences_are_a_warning(versions: dict[str, str]) -> None:
    found = judge(**versions)
    (name,) = versions
    assert found.status == "warning"
    (words,) = found.warnings
    assert words == f"{name} is {versions[name]} there and {HERE[name]} here: trials may differ"


def test_another_build_of_the_same_version_is_none() -> None:
    assert judge(torch="2.9.0+cu128").status == "ok"


def test_a_node_without_an_answer_is_a_warning() -> None:
    found = judge("no answer within 60 s")
    assert found.status == "warning"
    assert found.warnings[0].startswith("no answer within 60 s; ")


def test_a_node_without_cores_gets_no_trial() -> None:
    assert judge({"storage": "it can't be used there"}, cpus=0.0).status == "unused"


def test_nodes_without_cores_are_not_asked_for_what_trials_need(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from sweeper.environments.settings import EnvironmentSettings
    from sweeper.errors import UserError

    head = judge({"storage": "it can't be used there"}, cpus=0.0)
    silent = judge("no answer within 60 s")
    settings = EnvironmentSettings("CartPole-v1")
    monkeypatch.setattr(survey, "survey_nodes", lambda *_: [head, judge(), silent])
    survey.check_nodes(settings, Path("/data/runs"))
    (line,) = caplog.messages
    assert line.startswith("node 10.0.0.2 (01234567): no answer within 60 s; ")
    monkeypatch.setattr(survey, "survey_nodes", lambda *_: [silent])
    with pytest.raises(UserError, match="no node of the cluster answered within 60 s"):
        survey.check_nodes(settings, Path("/data/runs"))
