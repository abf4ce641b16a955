"""Simulated sweeps over small tables whose right answers are known, and the tables' files."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeper.metrics import ENV_STEPS, Objective
from sweeper.opened_run import Run
from sweeper.planning.starter import make_starter
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.schedulers.base import CONTINUE, Action, Decision, Report, Scheduler
from sweeper.schedulers.fifo import FIFOScheduler
from sweeper.schedulers.registry import build_scheduler
from sweeper.search.base import Observation, SearchAlgorithm
from sweeper.search.distributions import Distribution
from sweeper.search.expansion import Sample
from sweeper.search.registry import build_search
from sweeper.spec import load_spec, parse
from sweeper.spec.schedulers import resolve_options
from sweeper.spec.text.yaml import parse_yaml
from sweeper.states import TrialState

BENCHMARKS = str(Path(__file__).parents[3] / "benchmarks")
METRIC = "evaluation/episode_return_mean"
SPACE = {"x": Distribution("uniform", (0.0, 1.0))}


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


def load(name: str) -> Any:
    return importlib.import_module(name)


def make_curve(x: float, *returns: Sequence[float], **changes: Any) -> Any:
    """A configuration that evaluates every 10 env steps, and reports every 5."""
    steps = 10 * np.arange(1, len(returns) + 1)
    fields = {"length": 10 * len(returns), "report_env_steps": 5, **changes}
    return load("result_table").Curve({"x": x}, steps, np.array(returns, dtype=float), **fields)


def make_table(*curves: Any, space: Mapping[str, Any] = SPACE) -> Any:
    return load("result_table").ResultTable("small", space, Objective(METRIC), 20, curves)


def rising(x: float, final: float, **changes: Any) -> Any:
    """Two replicas, two evaluations: half the final return, then the final one."""
    return make_curve(x, [final / 2, final / 2], [final - 1, final + 1], **changes)


class Scripted(SearchAlgorithm):
    """Proposes what it was given, and keeps what it is told."""

    def __init__(self, *proposals: float) -> None:
        self.proposals = proposals
        self.told: list[Observation] = []

    def ask(self, number: int) -> Sample | None:
        if number > len(self.proposals):
            return None
        point = {"x": self.proposals[number - 1]}
        return Sample(dict(point), dict(point))

    def tell(self, observation: Observation) -> None:
        self.told.append(observation)


class Threshold(Scheduler):
    """Stops whoever has less than 5, and keeps the reports."""

    def __init__(self, objective: Objective) -> None:
        super().__init__(objective)
        self.reports: list[Any] = []
        self.final: list[Report] = []

    def on_report(self, report: Report) -> Decision:
        self.reports.append(report)
        stops = report.value is not None and report.value < 5
        return Decision(Action.STOP, "below 5") if stops else CONTINUE

    def on_final_report(self, report: Report) -> None:
        self.final.append(report)


def simulate(table: Any, search: SearchAlgorithm, scheduler: Any = None, **changes: Any) -> Any:
    scheduler = scheduler or FIFOScheduler(table.objective)
    budgets = changes.pop("budgets", [10_000])
    return load("simulation").simulate(
        table, lambda _: search, lambda _: scheduler, budgets=budgets, **changes
    )


def test_a_proposal_becomes_the_nearest_configuration_that_is_left() -> None:
    table = make_table(rising(0.1, 10), rising(0.3, 10), rising(0.9, 10))
    search = Scripted(0.25, 0.25, 0.0, 0.0)
    sweep = simulate(table, search)
    assert sweep.trials == (1, 0, 2)  # then the table is used up
    ended = [one for one in search.told if one.state is TrialState.TERMINATED]
    assert [one.parameters for one in ended] == [{"x": 0.3}, {"x": 0.1}, {"x": 0.9}]
    assert ended[0].score == 10
    assert ended[0].values == ((10, 5.0), (15, 5.0), (20, 10.0))


def test_the_incumbent_after_each_budget_is_the_best_trial_so_far() -> None:
    table = make_table(rising(0.0, 10), rising(0.5, 30), rising(1.0, 20))
    sweep = simulate(table, Scripted(0.0, 0.5, 1.0), budgets=[5, 20, 40, 60, 1000])
    # At 5 env steps nothing is known.
    assert sweep.incumbents == ((), (0,), (1,), (1,), (1,))
    assert sweep.env_steps == (20, 20, 20)


def test_trials_of_equal_score_win_together() -> None:
    table = make_table(rising(0.0, 30), rising(0.4, 10), rising(0.8, 30))
    assert simulate(table, Scripted(0.0, 0.4, 0.8)).incumbents == ((0, 2),)


def test_a_stopped_trial_costs_what_it_has_run_and_makes_room_for_the_next() -> None:
    table = make_table(rising(0.0, 8), rising(0.5, 30), rising(1.0, 20))
    scheduler, search = Threshold(table.objective), Scripted(0.0, 0.5, 1.0)
    sweep = simulate(table, search, scheduler, budgets=[10, 30, 50])
    assert sweep.env_steps == (10, 20, 20)
    assert sweep.incumbents == ((0,), (1,), (1,))
    assert [one.state for one in search.told if one.number == 1][-1] is TrialState.PRUNED
    assert [report.trial_id for report in scheduler.final] == ["t0002", "t0003"]


def test_the_scheduler_gets_every_report_with_the_replicas_that_the_sweep_sees() -> None:
    table = make_table(make_curve(0.0, [6, 8, 0], [10, 12, 0]))
    scheduler = Threshold(table.objective)
    simulate(table, Scripted(0.0), scheduler, replicas=[0, 1])
    seen = [(report.env_steps, report.value, report.replicas) for report in scheduler.reports]
    assert seen == [(5, None, ()), (10, 7.0, (6.0, 8.0)), (15, 7.0, (6.0, 8.0))]
    final: Any = scheduler.final[0]
    assert (final.trial_id, final.env_steps, final.value) == ("t0001", 20, 11.0)
    assert (final.parameters, final.replicas) == ({"x": 0.0}, (10.0, 12.0))


def test_trials_run_side_by_side_in_the_time_of_their_env_steps() -> None:
    short = make_curve(0.0, [10, 10], length=10)
    table = make_table(short, rising(0.5, 30), rising(1.0, 20))
    scheduler = Threshold(table.objective)
    sweep = simulate(table, Scripted(0.0, 0.5, 1.0), scheduler, workers=2, budgets=[20, 40, 50])
    order = [(report.trial_id, report.env_steps) for report in scheduler.reports]
    # The third trial begins when the first one ends, at 10, beside the second one.
    assert order == [
        ("t0001", 5),
        ("t0002", 5),
        ("t0002", 10),
        ("t0003", 5),
        ("t0002", 15),
        ("t0003", 10),
        ("t0003", 15),
    ]
    assert sweep.incumbents == ((0,), (1,), (1,))  # the second has not ended at first


def test_a_failed_trial_never_wins_and_is_told_as_failed() -> None:
    table = make_table(rising(0.0, 90, has_failed=True), rising(0.5, 30))
    search = Scripted(0.0, 0.5)
    sweep = simulate(table, search, budgets=[20, 40])
    assert sweep.incumbents == ((), (1,))
    failed = next(one for one in search.told if one.state is TrialState.ERROR)
    assert failed.score is None
    assert table.scores()[0].tolist() == [15.0, 15.0]  # the worst of the table


def test_distances_are_on_each_distributions_own_scale() -> None:
    space = {
        "lr": Distribution("loguniform", (1e-5, 1e-1)),
        "size": Distribution("randint", (0, 11)),
        "net": Distribution("choice", ([8], [8, 8], None)),
    }
    table = make_table(rising(0.0, 1), space=space)

    def distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
        return float(((table.locate(one) - table.locate(other)) ** 2).sum())

    here = {"lr": 1e-5, "size": 0, "net": [8]}
    assert distance(here, {**here, "lr": 1e-3}) == pytest.approx(0.25)
    assert distance(here, {**here, "size": 10}) == pytest.approx(1)
    assert distance(here, {**here, "net": None}) == pytest.approx(1)
    assert distance(here, here) == 0


def test_a_run_becomes_a_table_and_comes_back(tmp_path: Path) -> None:
    text = """
name: small
environment: CartPole-v1
algorithm: PPO
seeds: 2
param_space:
  lr: {loguniform: [1.0e-5, 1.0e-2]}
  num_epochs: {randint: [1, 16]}
  model_config: {fcnet_hiddens: {choice: [[8], [16, 16]]}}
search: {num_samples: 3}
stop: {num_env_steps_sampled_lifetime: 20}
evaluation: {episodes: 1, every_env_steps: 10}
selection: {metric: evaluation/episode_return_mean}
"""
    (tmp_path / "small.yaml").write_text(text, encoding="utf-8")

    def report(steps: int, *returns: float) -> dict[str, Any]:
        row: dict[str, Any] = {ENV_STEPS: steps, "replica/episode_return_mean": [1.0, 2.0]}
        return {**row, METRIC: sum(returns), f"replica/{METRIC}": list(returns)} if returns else row

    parameters = {"lr": 1e-4 / 3, "num_epochs": 7, "model_config": {"fcnet_hiddens": [16, 16]}}
    reports = (report(8), report(16, 3.0, 4.0), report(24, 5.0, 6.0))
    trials = (
        TrialRecord("t0001", TrialState.TERMINATED, parameters=parameters, reports=reports),
        TrialRecord("t0002", TrialState.ERROR, parameters=parameters, reports=reports[:1]),
        TrialRecord("t0003", TrialState.PAUSED, parameters=parameters, reports=reports[:2]),
    )
    run = Run(SweepResults(tmp_path, trials), Objective(METRIC), load_spec(tmp_path / "small.yaml"))
    tables = load("result_table")
    tables.write_table(run, "small", tmp_path)
    table = tables.load_table("small", tmp_path)
    assert len(table.curves) == 2  # the third trial is not over
    first, failed = table.curves
    assert first.parameters == failed.parameters == parameters
    assert first.env_steps.tolist() == [16, 24]
    assert first.returns.tolist() == [[3, 4], [5, 6]]
    assert (first.length, first.report_env_steps, first.has_failed) == (24, 8, False)
    assert (failed.returns.shape, failed.length, failed.has_failed) == ((0, 2), 8, True)
    assert table.scores().tolist() == [[5, 6], [3, 3]]


def test_every_seed_judges_equally_often_and_never_what_it_has_chosen() -> None:
    regret = load("regret")
    splits = [regret.split_seeds(5, 2, repeat) for repeat in range(10)]
    for seen, judges in splits:
        assert sorted(seen + judges) == [0, 1, 2, 3, 4]
    judging = [one for _, judges in splits for one in judges]
    assert [judging.count(one) for one in range(5)] == [4] * 5


def test_regret_is_judged_by_the_seeds_that_were_held_out() -> None:
    # The first configuration looks best on the first two seeds, and is the worst on the third.
    returns = ([9, 9, 0], [8, 8, 8], [1, 1, 1], [2, 2, 2])
    table = make_table(*(make_curve(x / 3, values) for x, values in enumerate(returns)))
    regret = load("regret")
    assert regret.split_seeds(3, 1, 2) == ([0, 1], [2])
    judge = regret.make_judge(table, 1, 2)
    assert judge.values.tolist() == [0, 8, 1, 2]
    # By all seeds the best is worth 8, the median configuration 4, between 6 and 2.
    assert (judge.best, judge.span) == (8, 4)
    assert judge.regret([1]) == 0
    assert judge.regret([2]) == pytest.approx(7 / 4)
    assert judge.regret([]) == judge.regret([0]) == 2  # without a choice yet, as the worst
    assert judge.regret([0, 1]) == 1


def test_what_a_method_is_worth_is_read_off_the_mean_curve() -> None:
    regret = load("regret")
    budgets = list(range(1, 33))
    control = np.tile(np.linspace(1.0, 0.1, 32), (4, 1))
    faster = np.tile(np.where(np.arange(1, 33) >= 8, 0.1, 1.0), (4, 1))
    read = {"budgets": budgets, "reference": 32}
    assert regret.worth(faster, control, **read) == (4.0, 4.0, 4.0)
    assert regret.worth(control, control, **read) == (1.0, 1.0, 1.0)
    assert regret.worth(faster + 1, control, **read) == (0.0, 0.0, 0.0)


def test_a_table_tells_what_a_rung_can_know() -> None:
    # At the first evaluation the order is the reverse of the last one's.
    regret = load("regret")
    curves = [make_curve(x / 8, [x, x], [8 - x, 8 - x]) for x in range(8)]
    assert regret.foresee(make_table(*curves), 0.5) == (-1.0, 1.0)
    same = [make_curve(x / 8, [x, x], [x, x]) for x in range(8)]
    assert regret.foresee(make_table(*same), 0.5) == (1.0, 0.0)


def test_differences_are_paired_by_repeat() -> None:
    regret = load("regret")
    control = np.array([0.0, 1.0, 2.0, 3.0, 9.0])
    assert regret.difference(control - 0.5 - control) == pytest.approx((-0.5, -0.5, -0.5))
    # Tables count alike, however many repeats they have.
    two = regret.difference(np.full(30, 1.0), np.full(10, 0.0))
    assert two == pytest.approx((0.5, 0.5, 0.5))


def test_the_same_repeat_gives_the_same_numbers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    quality = load("search_quality")
    generator = np.random.default_rng(0)
    curves = [rising(float(x), float(10 * x)) for x in generator.uniform(size=12)]
    table = make_table(*curves)
    monkeypatch.setattr(quality, "_load", lambda name, score: table)
    task = quality.Task("small", "random", 3, (1, 2, 4, 12), 2, held_out=1, score="last")
    first = quality.run_task(task)
    assert first == quality.run_task(task)
    judge = load("regret").make_judge(table, 1, 3)
    best = max(range(12), key=lambda index: table.scores()[index].mean())
    assert first[-1] == pytest.approx(judge.regret([best]))  # the whole table has been tried
    assert quality.run_task(replace(task, repeat=5)) != first


@pytest.mark.parametrize("in_full", [False, True])
def test_a_slow_method_is_cut_short_unless_it_is_asked_for_in_full(in_full: bool) -> None:
    quality = load("search_quality")
    methods = ("random", "gp")
    plan = quality.Plan(["small"], methods, 30, [4], (2, 32), 2, "last", in_full=in_full)
    tasks = plan.tasks("small", 4)
    counts = {name: sum(task.method == name for task in tasks) for name in methods}
    assert counts == {"random": 30, "gp": 30 if in_full else 10}
    last = {name: plan.measured(name)[-1] for name in methods}
    assert last == {"random": 32, "gp": 32 if in_full else 16}
    # The same repeat has the same seeds for both, so that differences are paired.
    repeats = {name: [task.repeat for task in tasks if task.method == name] for name in methods}
    assert repeats["gp"] == repeats["random"][: counts["gp"]]


def test_what_init_offers_takes_as_many_env_steps_as_sixteen_whole_trials() -> None:
    spec = parse(parse_yaml(make_starter("CartPole-v1").text, "starter").value)
    table = load("result_table").load_table("ppo_cartpole")
    options = resolve_options(spec.scheduler, {ENV_STEPS: table.budget})
    spent = []
    for seed in range(5):
        search = build_search(
            spec.search.algorithm,
            table.param_space,
            num_samples=spec.search.num_samples,
            seed=seed,
            objective=table.objective,
        )
        scheduler = build_scheduler(spec.scheduler.type, table.objective, options)
        sweep = simulate(table, search, scheduler, budgets=[10**9], workers=4)
        assert len(sweep.trials) == spec.search.num_samples
        spent.append(sum(sweep.env_steps) / table.budget)
    assert np.mean(spent) == pytest.approx(16, abs=2)
