"""Mutated specs can be run or are refused with a message.

``tests/acceptance`` has the long campaign, where RLlib builds whatever is accepted and each
answer has a time limit.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import pytest
from spec_mutations import mutations, valid_specs

from sweeper.errors import SpecError
from sweeper.planning import feasibility
from sweeper.planning.plan import SweepPlan, load_plan
from sweeper.search.expansion import expand
from sweeper.spec import dump_spec, load_spec

NUMBER, SEED = 200, 20261124


@pytest.fixture(autouse=True)
def _a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feasibility, "usable_cores", lambda: 4)
    monkeypatch.setattr(feasibility, "gpus", lambda: 0)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)


def check_accepted(plan: SweepPlan, folder: Path) -> None:
    """Do what `run` does with a plan before it starts Ray."""
    copy = folder / "copy.yaml"
    copy.write_text(dump_spec(plan.spec), encoding="utf-8")
    assert repr(load_spec(copy).__dict__) == repr(plan.spec.__dict__)
    json.dumps(plan.to_json(), allow_nan=False)
    search = plan.spec.search
    samples = expand(plan.spec.param_space, search.num_samples, search.seed, search.points)
    assert list(itertools.islice(samples, 3))


@pytest.mark.parametrize("text", valid_specs().values(), ids=list(valid_specs()))
def test_what_is_mutated_is_valid(text: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(text, encoding="utf-8")
    load_plan("spec.yaml")


def test_no_mutation_is_answered_with_a_traceback(tmp_path: Path) -> None:
    path, accepted = tmp_path / "spec.yaml", 0
    answers: list[SpecError] = []
    for data in mutations(NUMBER, SEED):
        path.write_bytes(data)
        try:
            plan = load_plan("spec.yaml")
        except SpecError as error:
            answers.append(error)
        else:
            accepted += 1
            check_accepted(plan, tmp_path)
    assert all(error.problems for error in answers)
    assert max(len(str(problem)) for error in answers for problem in error.problems) < 1000
    assert NUMBER * 0.1 < accepted < NUMBER * 0.5  # else the mutations test little
