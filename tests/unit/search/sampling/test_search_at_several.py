"""A search that is asked while other trials run goes on after a resume as if nothing had been."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from sweeper.metrics import Objective
from sweeper.search.base import Observation, SearchAlgorithm
from sweeper.search.distributions import parse_space
from sweeper.search.expansion import Sample
from sweeper.search.registry import build_search
from sweeper.search.sampling.search import SamplerSearch
from sweeper.states import TrialState

RAW = {
    "lr": {"loguniform": [1e-5, 1e-2]},
    "num_epochs": {"randint": [1, 31]},
    "gamma": {"quniform": [0.9, 0.99, 0.01]},
    "net": {"choice": [1, 2]},
}
AT_ONCE = 3
CUTS = (5, 17, 32)


def build(options: Mapping[str, Any], raw: Mapping[str, Any] = RAW, **more: Any) -> SearchAlgorithm:
    space, problems = parse_space(raw)
    assert not problems
    return build_search(
        "cmaes", space, num_samples=100, seed=3, objective=Objective(), options=options, **more
    )


def observe(number: int, sample: Sample, *, reports: int) -> Observation:
    """A trial after some of its reports; trials have one to five, by their numbers."""
    value = sample.parameters["gamma"] - abs(sample.parameters["lr"] - 1e-3)
    values = tuple((10 * (n + 1), value - 1 / (n + 1)) for n in range(reports))
    ends = TrialState.PRUNED if number % 4 == 1 else TrialState.TERMINATED
    state = ends if reports == 1 + number % 5 else TrialState.RUNNING
    return Observation(number, sample.parameters, state, values, values[-1][1])


@dataclass
class Sweep:
    """What a run's journal has of its trials: what was asked, and every report, in their order.

    With ``ahead``, a configuration is chosen when the one before is handed out.
    """

    options: Mapping[str, Any]
    ahead: bool
    asked: list[Sample] = field(default_factory=list)
    told: list[Observation] = field(default_factory=list)
    running: dict[int, int] = field(default_factory=dict)

    def launch(self) -> Iterator[SearchAlgorithm]:
        """Train trials, several at a time, until nobody asks for the next; yields before each."""
        search = self.rebuild()
        ready: Sample | None = None
        while True:
            while len(self.running) < AT_ONCE:
                yield search
                sample = ready or search.ask(len(self.asked) + 1)
                assert sample is not None
                self.asked.append(sample)
                self.running[len(self.asked)] = 0
                ready = search.ask(len(self.asked) + 1) if self.ahead else None
            for number in list(self.running):
                self.running[number] += 1
                told = observe(number, self.asked[number - 1], reports=self.running[number])
                self.told.append(told)
                search.tell(told)
                if told.state.is_over:
                    del self.running[number]

    def rebuild(self) -> SearchAlgorithm:
        search = build(
            self.options,
            asked=[sample.parameters for sample in self.asked],
            known=[sample.known for sample in self.asked],
        )
        for observation in self.told:
            search.tell(observation)
        return search


def generations(search: SearchAlgorithm) -> list[int | None]:
    """The generation of each trial; None where it was drawn at random, or forgotten."""
    assert isinstance(search, SamplerSearch)
    (cell,) = search._cells.values()
    return [
        next((one for key, one in trial.system_attrs.items() if "generation" in key), None)
        for trial in cell.picture.study.get_trials(deepcopy=False)
    ]


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"popsize": 4},
        {"popsize": 5, "consider_pruned_trials": True},
        {"popsize": 4, "with_margin": True},
        {"popsize": 4, "use_separable_cma": True},
    ],
    ids=str,
)
def test_a_generation_goes_on_after_a_resume(options: dict[str, Any], ahead: bool) -> None:
    sweep = Sweep(options, ahead)
    for cut in CUTS:  # each launch ends while trials run, and another one goes on
        *_, search = itertools.islice(sweep.launch(), cut - len(sweep.asked))
        known, count = generations(search), len(sweep.asked)
        resumed = sweep.rebuild()
        sample = resumed.ask(count + 1)
        assert sample is not None
        assert generations(resumed)[:count] == known[:count]
        if not ahead:  # else the one that was chosen last is lost with the launch
            last = search.ask(count + 1)
            assert last is not None
            assert sample.parameters == last.parameters
    newest = max(one for one in known if one is not None)
    assert (generations(resumed)[-1] or 0) >= newest >= 3


def test_a_journal_that_does_not_say_what_was_known_is_gone_on_with() -> None:
    sweep = Sweep({"popsize": 4}, ahead=False)
    for _ in itertools.islice(sweep.launch(), 12):
        pass
    sweep.asked = [Sample(one.configuration, one.parameters) for one in sweep.asked]
    assert sweep.rebuild().ask(len(sweep.asked) + 1) is not None


def test_what_was_known_is_the_number_of_what_was_told() -> None:
    sweep = Sweep({"popsize": 4}, ahead=False)
    for _ in itertools.islice(sweep.launch(), 9):
        pass
    known = [sample.known for sample in sweep.asked]
    assert known[:3] == [0, 0, 0]
    assert known == sorted(known, key=lambda one: one or 0)
    assert (known[-1] or 0) <= len(sweep.told)
