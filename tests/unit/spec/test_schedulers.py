"""A scheduler carries its options as a model, and is written as a spec has it."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from sweeper.spec import parse, read_spec
from sweeper.spec.schedulers import PBT, SCHEDULER_OPTIONS, Asha, Fifo, Scheduler

LEAST = "environment: CartPole-v1\nalgorithm: PPO\nstop: {num_env_steps_sampled_lifetime: 1e6}\n"


def read(folder: Path, text: str) -> Scheduler:
    path = folder / "spec.yaml"
    path.write_text(f"{LEAST}scheduler: {text}\n", encoding="utf-8")
    draft = read_spec(path).draft
    assert draft is not None
    scheduler = draft.get(Scheduler)
    assert scheduler is not None
    return scheduler


def test_options_become_their_model_with_its_defaults(tmp_path: Path) -> None:
    scheduler = read(tmp_path, "{type: asha, grace_period: 5e3, reduction_factor: 3}")
    assert scheduler.type == "asha"
    assert scheduler.options == Asha(grace_period=5000, reduction_factor=3)
    assert scheduler.options.model_dump() == {
        "grace_period": 5000,
        "max_t": None,
        "reduction_factor": 3,
        "brackets": 1,
    }


def test_a_list_of_factors_is_a_pair(tmp_path: Path) -> None:
    options = read(tmp_path, "{type: pbt, perturbation_factors: [1.5, 0.5]}").options
    assert options == PBT(perturbation_factors=(1.5, 0.5))


def test_a_wrong_option_leaves_the_others(tmp_path: Path) -> None:
    scheduler = read(tmp_path, "{type: asha, grace_period: 0, brackets: 2, max_t: null}")
    assert scheduler.options == Asha(brackets=2)


@pytest.mark.parametrize("name", SCHEDULER_OPTIONS)
def test_a_bare_name_has_the_default_options(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, name).options == SCHEDULER_OPTIONS[name]()
    assert Scheduler(type=name).options == SCHEDULER_OPTIONS[name]()  # type: ignore[arg-type]


def test_the_default_is_fifo() -> None:
    data: dict[str, Any] = {"environment": "x", "algorithm": "PPO", "stop": {"time_total_s": 1}}
    scheduler = parse(data).scheduler
    assert (scheduler.type, scheduler.options) == ("fifo", Fifo())
    assert scheduler.model_dump(mode="json") == {"type": "fifo"}


def test_only_given_options_are_written_beside_the_type(tmp_path: Path) -> None:
    scheduler = read(tmp_path, "{type: pbt, synch: true, perturbation_factors: [2, 0.5]}")
    assert scheduler.model_dump(mode="json") == {
        "type": "pbt",
        "perturbation_factors": [2.0, 0.5],
        "synch": True,
    }


def test_options_count_in_comparisons_and_survive_copies() -> None:
    scheduler = Scheduler(type="asha").with_options(Asha(brackets=2))
    assert scheduler != Scheduler(type="asha")
    assert copy.deepcopy(scheduler) == scheduler
    assert pickle.loads(pickle.dumps(scheduler)) == scheduler  # noqa: S301
