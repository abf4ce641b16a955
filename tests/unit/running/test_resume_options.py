"""Every option of resume, and every two of them, at every way in which a run can have ended.

The acceptance tier has every two of them at every end; here each end has a quarter of them.

An option starts a launch, which records it, or is refused: it is never dropped.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from run_folders import make_run

from sweeper.api import Extension, resume
from sweeper.errors import UserError
from sweeper.paths import RunPaths
from sweeper.spec import dump_spec, load_spec

STEPS = "num_env_steps_sampled_lifetime"
DONE, PAUSED, FAILED = "TERMINATED", "PAUSED", "ERROR"

# Of four configurations: how those that were begun have ended, by what the launch, and the budget.
# The trials took 500 env steps each; the second return is higher than the first.
_ENDS: Mapping[str, tuple[Sequence[str], str | None, Sequence[str]]] = {
    "finished": ([DONE] * 4, "finished", []),
    "finished, one failed": ([DONE] * 3 + [FAILED], "finished", []),
    "interrupted": ([DONE, PAUSED], "interrupted", []),
    "interrupted, none goes on": ([DONE] * 2, "interrupted", []),
    "killed": ([DONE, "RUNNING"], None, []),
    "killed at its end": ([DONE] * 4, None, []),
    "failed": ([DONE, FAILED], "failed", []),
    "disk full": ([DONE, PAUSED], "disk_full", []),
    "budget.trials": ([DONE] * 2, "budget.trials", ["budget.trials=2"]),
    "budget.trials, one failed": ([DONE, FAILED], "budget.trials", ["budget.trials=2"]),
    "budget.trials of all": ([DONE] * 4, "finished", ["budget.trials=4"]),
    "budget.env_steps": ([DONE, PAUSED], "budget.env_steps", ["budget.env_steps=800"]),
    "budget.env_steps, one failed": (
        [FAILED, PAUSED], "budget.env_steps", ["budget.env_steps=800"],
    ),
    "budget.time_s": ([DONE, PAUSED], "budget.time_s", ["budget.time_s=1"]),
    "budget.time_s, one failed": ([DONE, FAILED], "budget.time_s", ["budget.time_s=1"]),
    "budget.no_improvement_trials": (
        [DONE] * 2,
        "budget.no_improvement_trials",
        ["budget.no_improvement_trials=1", "selection.mode=min"],
    ),
    "two budgets": (
        [DONE] * 2, "budget.env_steps", ["budget.env_steps=800", "budget.trials=2"],
    ),
}  # fmt: skip
_SPACE = (
    "param_space.lr={uniform: [0.1, 0.9]}",
    "search.num_samples=4",
    "search.algorithm=random",
)
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "--num-samples": {"num_samples": 8},
    "--time": {"time_s": 600.0},
    "--stop steps": {"stop": {STEPS: 2000}},
    "--stop budget.env_steps": {"stop": {"budget.env_steps": 100_000}},
    "--stop budget.env_steps, too few": {"stop": {"budget.env_steps": 850}},
    "--stop budget.trials": {"stop": {"budget.trials": 8}},
    "--stop budget.no_improvement_trials": {"stop": {"budget.no_improvement_trials": 5}},
    "--retry-errored": {"retry_errored": True},
}
_ALONE = [(), *itertools.combinations(_OPTIONS, 1)]
_PAIRS = [*itertools.combinations(_OPTIONS, 2)]


class Begun(Exception):  # noqa: N818
    """A launch would begin now."""


def begin(*_: object) -> NoReturn:
    raise Begun


def make_ended(storage: Path, end: str) -> RunPaths:
    trials, reason, overrides = _ENDS[end]
    return make_interrupted(storage, trials, reason, overrides)


def make_interrupted(
    storage: Path, trials: Sequence[str], reason: str | None, overrides: Sequence[str]
) -> RunPaths:
    paths = make_run(storage, "made-20260101-000000", trials, reason=reason)
    spec = load_spec(paths.spec, [*_SPACE, *overrides])
    paths.spec.write_text(dump_spec(spec))
    return paths


def extend(options: Sequence[str]) -> Extension:
    given: dict[str, Any] = {"stop": {}}
    for option in options:
        for name, value in _OPTIONS[option].items():
            given[name] = given["stop"] | value if name == "stop" else value
    return Extension(**given)


def try_resume(paths: RunPaths, extension: Extension) -> tuple[str, str]:
    """What comes of it: begun, refused or nothing; and what was said."""
    said: list[str] = []
    try:
        resume(paths.root, extension=extension, progress=begin, say=said.append)
    except Begun:
        return "begun", "\n".join(said)
    except UserError as error:
        return "refused", str(error)
    return "nothing", "\n".join(said)


@pytest.mark.parametrize(("index", "end"), [*enumerate(_ENDS)], ids=list(_ENDS))
def test_no_option_is_dropped(tmp_path: Path, index: int, end: str) -> None:
    check_options(tmp_path, end, [*_ALONE, *_PAIRS[index % 4 :: 4]])


@pytest.mark.acceptance
@pytest.mark.parametrize("end", _ENDS)
def test_no_two_options_are_dropped(tmp_path: Path, end: str) -> None:
    check_options(tmp_path, end, _PAIRS)


def check_options(storage: Path, end: str, choices: Sequence[tuple[str, ...]]) -> None:
    paths = make_ended(storage, end)
    has_failed = FAILED in _ENDS[end][0]
    before = paths.journal.read_bytes(), paths.spec.read_bytes()
    found = {options: try_resume(paths, extend(options)) for options in choices}
    assert (paths.journal.read_bytes(), paths.spec.read_bytes()) == before
    for options, (outcome, said) in found.items():
        # Where no trial failed, there is nothing to try again, and that is no mistake.
        asks_nothing = not options or (options == ("--retry-errored",) and not has_failed)
        assert (outcome != "nothing") or asks_nothing, (options, said)
        if outcome == "refused":
            assert not asks_nothing, said
            assert "\nso " in said or said.startswith("--stop "), said


@pytest.mark.parametrize(
    ("end", "options", "outcome", "words"),
    [
        ("finished", ("--num-samples",), "begun", "4 trials still to begin"),
        ("finished", ("--time",), "refused", "so a new budget.time_s has no effect"),
        ("finished", ("--retry-errored",), "nothing", "nothing left to do"),
        ("killed at its end", (), "begun", "this is recorded now"),
        ("killed at its end", ("--time",), "refused", "4 of 4 trials finished\nso a new"),
        ("finished, one failed", ("--retry-errored",), "begun", "t0004 goes on"),
        ("budget.trials", ("--num-samples",), "refused", "gives it more, N in all\nso a new"),
        ("budget.trials", ("--stop budget.trials",), "begun", "2 trials still to begin"),
        ("budget.trials", ("--num-samples", "--stop budget.trials"), "begun", "6 trials still"),
        ("budget.trials", ("--num-samples", "--time"), "refused",
         "so a new search.num_samples and budget.time_s have no effect"),
        ("budget.trials", ("--retry-errored",), "nothing", "nothing left to do"),
        ("budget.trials, one failed", ("--retry-errored",), "begun", "t0002 goes on"),
        ("budget.trials of all", ("--num-samples",), "refused", "give both at once"),
        ("budget.env_steps", ("--num-samples",), "refused", "give both at once"),
        ("budget.env_steps", ("--stop budget.env_steps, too few",), "refused", "no effect"),
        ("budget.env_steps", ("--stop budget.env_steps",), "begun", "t0002 goes on"),
        ("budget.env_steps, one failed", ("--retry-errored",), "refused",
         "so --retry-errored has no effect"),
        ("budget.time_s", ("--time",), "begun", "left"),
        ("budget.time_s", ("--num-samples",), "refused", "--time SECONDS gives it more"),
        ("budget.time_s, one failed", ("--num-samples", "--retry-errored"), "refused",
         "so a new search.num_samples and --retry-errored have no effect"),
        ("budget.no_improvement_trials", ("--num-samples",), "refused", "give both at once"),
        ("budget.no_improvement_trials", ("--stop budget.no_improvement_trials",), "begun", "2"),
        ("two budgets", ("--stop budget.trials",), "refused", "give both at once"),
        ("two budgets", ("--stop budget.trials", "--stop budget.env_steps"), "begun", "2 trials"),
    ],
)  # fmt: skip
def test_what_comes_of_an_option(
    tmp_path: Path, end: str, options: tuple[str, ...], outcome: str, words: str
) -> None:
    found, said = try_resume(make_ended(tmp_path, end), extend(options))
    assert (found, words in said) == (outcome, True), said


def test_more_samples_are_kept_where_a_trial_goes_on_under_a_budget(tmp_path: Path) -> None:
    paths = make_interrupted(tmp_path, [DONE, PAUSED], "interrupted", ["budget.trials=2"])
    outcome, said = try_resume(paths, Extension(num_samples=8))
    assert outcome == "begun"
    assert "t0002 goes on" in said
    assert "no further trial starts" in said


def test_more_samples_than_there_are_configurations_are_refused(tmp_path: Path) -> None:
    grid = "param_space.lr={grid_search: [0.1, 0.2, 0.3, 0.4]}"
    overrides = [grid, "search.num_samples=1", "search.algorithm=grid"]
    paths = make_interrupted(tmp_path, [DONE] * 4, "finished", overrides)
    outcome, said = try_resume(paths, Extension(num_samples=2))
    assert (outcome, said.splitlines()[-1]) == (
        "refused",
        "so a new search.num_samples has no effect, and nothing was changed",
    )
