"""What a message recommends is accepted: every remedy in the catalogue is carried out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import gymnasium
import pytest
from remedies import Data, find_remedies
from spec_cases import FOLDER, Case, read_cases

from sweeper.errors import Problem, SpecError
from sweeper.planning import feasibility, replay_memory
from sweeper.planning.plan import load_plan
from sweeper.spec.text.yaml import parse_yaml

CASES = [
    pytest.param(case, id=f"{path.stem}: {case.title}")
    for path in sorted(FOLDER.glob("*.cases"))
    if path.stem not in ("right", "composition")
    for case in read_cases(path.stem)
    if not case.overrides
]
tried: list[str] = []


@pytest.fixture(autouse=True)
def _a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_memory, "total_bytes", lambda: 16 * 10**9)
    monkeypatch.setattr(feasibility, "usable_cores", lambda: 4)
    monkeypatch.setattr(feasibility, "gpus", lambda: 0)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)


def problems_of(text: str) -> tuple[Problem, ...]:
    Path("spec.yaml").write_text(text, encoding="utf-8")
    try:
        load_plan("spec.yaml")
    except SpecError as error:
        return error.problems
    return ()


def mend(problem: Problem, data: Data, known: set[tuple[str, str]], done: list[str]) -> None:
    """Carry out every remedy; what is wrong afterwards with the same key has one of its own."""
    for remedy in find_remedies(problem, data):
        words = [*done, f"{problem} -> {remedy.words}"]
        assert len(words) < 4, words
        tried.append(remedy.words)
        for other in problems_of(json.dumps(remedy.data)):
            said = "\n".join([*words, str(other)])
            assert (other.key, other.message) != (problem.key, problem.message), said
            is_near = other.key == remedy.target or other.key.startswith(f"{remedy.target}.")
            if is_near and (other.key, other.message) not in known and not needs_package(other):
                assert list(find_remedies(other, remedy.data)), said
                mend(other, remedy.data, known, words)


def needs_package(problem: Problem) -> bool:
    return "DependencyNotInstalled" in problem.message


@pytest.mark.parametrize("case", CASES)
def test_what_a_message_recommends_is_accepted(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    data = parse_yaml(case.files["spec.yaml"], "spec.yaml").value
    before = problems_of(case.files["spec.yaml"])
    if not isinstance(data, dict):
        return
    known = {(problem.key, problem.message) for problem in before}
    for problem in before:
        mend(problem, data, known, [])
    for name in [one for one in sys.modules if one.startswith("case_")]:
        del sys.modules[name]
    for name in [one for one in gymnasium.registry if one.startswith("Case")]:
        del gymnasium.registry[name]


def test_the_catalogue_has_many_remedies() -> None:
    if len(tried) == 0:
        pytest.skip("run with the cases above")
    assert len(set(tried)) >= 60
