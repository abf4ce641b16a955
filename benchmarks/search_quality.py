"""Compare search algorithms and schedulers by what they find for the same env steps.

Sweeps are simulated (`simulation.py`) over tables of real results (`benchmarks/recorded/`, made by
`record_tables.py`), through the project's own search algorithms and schedulers. Each repeat has a
seed of its own, and the same one for every method:

- The seeds of a configuration are split: a sweep sees three of five, and what it chose is judged by
  the last evaluations on the other two. Judged by the seeds that it chose by, a sweep would be
  credited with its luck.
- Regret is what the choice lacks to the best twentieth of the table's configurations: 0 is as good,
  1 is no better than the table's median.
- A budget is counted in trials that ran to their end: 32 is as many env steps as 32 of those.

    python benchmarks/search_quality.py                     # all tables, all methods
    python benchmarks/search_quality.py ppo_cartpole --methods random tpe --repeats 10
    python benchmarks/search_quality.py --short             # a minute: few methods, small budgets
    python benchmarks/search_quality.py --methods gp --in-full   # gp's rows, beside random search
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
from quality_tables import CONTROL, Measured, print_duels, print_regrets, print_summary, print_table
from race import RaceScheduler
from record_tables import NAMES
from regret import make_judge, split_seeds
from result_table import RECORDED, ResultTable, load_table
from simulation import simulate

from sweeper.metrics import SCORES
from sweeper.schedulers.registry import SCHEDULERS as OURS
from sweeper.search.registry import SEARCH_ALGORITHMS, build_search

SCHEDULERS = {**OURS, "race": RaceScheduler}  # with one that was tried and is not sweeper's
BUDGETS = (2, 4, 8, 16, 32)  # in trials that run to their end
_HELD_OUT = 2  # seeds
_MANY = 100_000  # samples that a search may ask for: the budget ends a sweep


@dataclass(frozen=True)
class Method:
    """A search algorithm with a scheduler.

    Attributes:
        grace: the first rung, as a share of a trial's env steps.
        is_slow: whether it gets fewer repeats and small budgets only.
    """

    search: str = "random"
    scheduler: str = "fifo"
    grace: float = 0.0
    is_slow: bool = False

    @property
    def name(self) -> str:
        """As the command line and the tables have it, e.g. ``tpe+asha-30``."""
        if self.scheduler == "fifo":
            return self.search
        start = "" if self.search == "random" else f"{self.search}+"
        return f"{start}{self.scheduler}-{self.grace * 100:.0f}"

    def options(self, budget: int) -> dict[str, Any]:
        """The scheduler's options for trials of so many env steps."""
        if self.scheduler == "fifo":
            return {}
        options = {"grace_period": round(self.grace * budget)}
        return options if self.scheduler == "median" else {**options, "max_t": budget}

    def is_available(self) -> bool:
        """Whether this version has both parts."""
        return self.search in SEARCH_ALGORITHMS and self.scheduler in SCHEDULERS


def _methods() -> Iterable[Method]:
    yield from (Method("random"), Method("qmc"), Method("tpe"), Method("cmaes"))
    yield Method("gp", is_slow=True)
    pairs = [("random", name) for name in ("asha", "hyperband", "median", "race")]
    for search, scheduler in (*pairs, ("tpe", "asha"), ("tpe", "race")):
        yield from (Method(search, scheduler, grace) for grace in (0.1, 0.3))


METHODS: Mapping[str, Method] = {method.name: method for method in _methods()}
# Does a race reach what ASHA does for the same env steps? (the methods' names, in order)
DUELS = tuple(
    (f"{start}race-{grace}", f"{start}asha-{grace}") for start in ("", "tpe+") for grace in (10, 30)
)
_SHORT = ("random", "qmc", "tpe", "asha-10", "asha-30")


@dataclass(frozen=True)
class Task:
    """One simulated sweep: what a worker process is given.

    Attributes:
        budgets: in trials that run to their end.
        workers: trials at a time.
        held_out: seeds that judge.
    """

    table: str
    method: str
    repeat: int
    budgets: tuple[float, ...]
    workers: int
    held_out: int
    score: str


@cache
def _load(name: str, score: str) -> ResultTable:
    table = load_table(name)
    return replace(table, objective=replace(table.objective, score=score))


def run_task(task: Task) -> list[float]:
    """Simulate a sweep.

    Returns:
        Its regret at each of the budgets.
    """
    table, method = _load(task.table, task.score), METHODS[task.method]
    unit = max(curve.length for curve in table.curves)
    seen, _ = split_seeds(table.replicas, task.held_out, task.repeat)
    sweep = simulate(
        table,
        lambda objective: build_search(
            method.search,
            table.param_space,
            num_samples=_MANY,
            seed=task.repeat,
            objective=objective,
        ),
        lambda objective: SCHEDULERS[method.scheduler](objective, **method.options(table.budget)),
        budgets=[round(unit * budget) for budget in task.budgets],
        workers=task.workers,
        replicas=seen,
    )
    judge = make_judge(table, task.held_out, task.repeat)
    return [judge.regret(incumbents) for incumbents in sweep.incumbents]


# --- the command -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        repeats: of each method; slow ones have a third.
        budgets: that the tables show.
        in_full: slow methods have all repeats and budgets, too.
    """

    tables: Sequence[str]
    methods: Sequence[str]
    repeats: int
    workers: Sequence[int]
    budgets: tuple[int, ...]
    held_out: int
    score: str
    in_full: bool = False

    def tasks(self, table: str, workers: int) -> list[Task]:
        """All sweeps of one printed table, those of a method one after the other."""
        return [
            Task(table, name, repeat, self.measured(name), workers, self.held_out, self.score)
            for name in self.methods
            for repeat in range(self.repeats_of(name))
        ]

    def repeats_of(self, method: str) -> int:
        """How many sweeps of a method are simulated."""
        return max(1, self.repeats // 3) if self._is_cut(method) else self.repeats

    def measured(self, method: str) -> tuple[float, ...]:
        """Every budget at which a sweep of the method is read: twice a trial."""
        last = min(self.budgets[-1], 16) if self._is_cut(method) else self.budgets[-1]
        return tuple(half / 2 for half in range(1, 2 * last + 1))

    def _is_cut(self, method: str) -> bool:
        return METHODS[method].is_slow and not self.in_full


def measure(plan: Plan, pool: ProcessPoolExecutor, table: str, workers: int) -> dict[str, Measured]:
    """Simulate all sweeps of one printed table; what they came to, by method."""
    tasks = plan.tasks(table, workers)
    found: dict[str, list[list[float]]] = {}
    for task, regrets in zip(tasks, pool.map(run_task, tasks), strict=True):
        found.setdefault(task.method, []).append(regrets)
        if len(found[task.method]) == plan.repeats_of(task.method):
            print(f"{table}, {workers} at a time: {task.method}", file=sys.stderr, flush=True)
    return {
        name: Measured(plan.measured(name), np.array(regrets)) for name, regrets in found.items()
    }


def main() -> None:
    recorded = [name for name in NAMES if (RECORDED / f"{name}.curves.parquet").exists()]
    available = [name for name, method in METHODS.items() if method.is_available()]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "tables", nargs="*", metavar="TABLE", help=f"of {', '.join(recorded)}; or all"
    )
    parser.add_argument(
        "--methods", nargs="+", metavar="METHOD", help=f"of {', '.join(METHODS)}; or all"
    )
    parser.add_argument("--repeats", type=int, default=30, help="sweeps of each method")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4], help="trials at a time")
    parser.add_argument("--held-out", type=int, default=_HELD_OUT, help="seeds that only judge")
    parser.add_argument("--score", choices=SCORES, default="last", help="what a trial is worth")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="sweeps at a time")
    parser.add_argument("--in-full", action="store_true", help="cut slow methods short in nothing")
    parser.add_argument("--short", action="store_true", help="a minute: say whether it works")
    arguments = parser.parse_args()
    tables = arguments.tables or recorded
    methods = arguments.methods or available
    for asked, known in ((tables, recorded), (methods, available)):
        if unknown := sorted(set(asked) - set(known)):
            parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
    plan = Plan(
        tables,
        [CONTROL, *(name for name in methods if name != CONTROL)],
        arguments.repeats,
        arguments.workers,
        BUDGETS,
        arguments.held_out,
        arguments.score,
        arguments.in_full,
    )
    if arguments.short:
        chosen = [name for name in _SHORT if name in plan.methods]
        plan = Plan(tables[:1], chosen, 10, [2], (2, 8, 16), arguments.held_out, arguments.score)
    print(", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "optuna", "cmaes")))
    print(f"Python {platform.python_version()}; {plan.repeats} repeats a method, ", end="")
    print(f"{plan.held_out} seeds held out. In brackets: the difference to {CONTROL}'s regret.")
    everything: dict[str, list[dict[str, Measured]]] = {}
    with ProcessPoolExecutor(arguments.processes, initializer=_quieten) as pool:
        for name in plan.tables:
            print_table(_load(name, plan.score), plan.held_out)
            for workers in plan.workers:
                print(f"\n{workers} at a time:")
                results = measure(plan, pool, name, workers)
                print_regrets(results, plan.budgets)
                everything.setdefault(name, []).append(results)
    if len(plan.tables) * len(plan.workers) > 1:
        print_summary(everything, plan.budgets)
    print_duels(everything, plan.budgets, DUELS)


def _quieten() -> None:
    """Leave the machine to whoever uses it, and warnings of experimental samplers unsaid."""
    os.nice(5)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
