"""Made-up results of a sweep, as a journal would give them: any number of trials, any state."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeper.evidence.selection import NothingToSelect, select
from sweeper.journal import ConfirmationPlanned
from sweeper.metrics import ENV_STEPS, Objective
from sweeper.plots.source import PlotSource
from sweeper.results.exchanges import Exchange
from sweeper.results.records import Launch, SweepResults, TrialRecord
from sweeper.search.distributions import parse_space
from sweeper.states import Stage, TrialState

RETURN = "episode_return_mean"
EVALUATION = f"evaluation/{RETURN}"
BEGIN = 1_750_000_000.0
SPACE: Mapping[str, Any] = {
    "lr": {"loguniform": [1e-5, 1e-1]},
    "gamma": {"uniform": [0.9, 0.999]},
    "num_epochs": {"randint": [1, 31]},
    "minibatch_size": {"choice": [64, 128, 256]},
    "model_config": {"fcnet_hiddens": {"choice": [[64, 64], [256, 256]]}},
    "use_kl_loss": {"choice": [True, False]},
    "kl_coeff": {"uniform": [0.1, 1.0], "when": {"use_kl_loss": True}},
}


def report(
    iteration: int,
    values: Sequence[float | None],
    *,
    steps: int | None = None,
    metric: str = RETURN,
    **more: Any,
) -> dict[str, Any]:
    """A row: a value of each replica, at 1000 env steps an iteration."""
    steps = 1000 * iteration if steps is None else steps
    known = [one for one in values if one is not None]
    return {
        "training_iteration": iteration,
        ENV_STEPS: steps,
        f"replica/{ENV_STEPS}": [steps] * len(values),
        metric: sum(known) / len(known) if len(known) == len(values) else None,
        f"replica/{metric}": list(values),
        "time_total_s": 2.0 * iteration,
        **more,
    }


def trial(
    number: int,
    reports: Sequence[Mapping[str, Any]] = (),
    state: str = "TERMINATED",
    *,
    replicas: int = 2,
    **fields: Any,
) -> TrialRecord:
    """A trial of the search that ran after those before it."""
    parameters = fields.pop("parameters", {"lr": number / 10})
    begun = BEGIN + 100 * number
    record = TrialRecord(
        f"t{number:04d}",
        TrialState(state),
        reason="crashed" if state == "ERROR" else None,
        error="ValueError: no such luck" if state == "ERROR" else None,
        configuration=parameters,
        parameters=parameters,
        seeds=tuple(range(replicas)),
        reports=tuple(reports),
        started=begun,
        ended=begun + 90 if TrialState(state).is_over else None,
        node="127.0.0.1",
    )
    return replace(record, **fields)


def source_of(
    trials: Sequence[TrialRecord],
    *,
    space: Mapping[str, Any] | None = None,
    metric: str = RETURN,
    mode: str = "max",
    score: str = "last",
    results: Mapping[str, Any] | None = None,
    **fields: Any,
) -> PlotSource:
    """The source of plots of a run with these trials."""
    made = SweepResults(
        Path("/nowhere/made"),
        tuple(trials),
        started=BEGIN,
        updated=BEGIN + 10_000,
        ended_by="finished",
        launches=(Launch(BEGIN, BEGIN + 10_000),),
    )
    made = replace(made, **(results or {}))
    objective = Objective(metric, mode, score)
    try:
        selection = select(made, objective, exists=lambda _: False)
    except NothingToSelect:
        selection = None
    parsed = None if space is None else parse_space(space)[0]
    return PlotSource(
        name="made",
        results=made,
        objective=objective,
        param_space=parsed,
        selection=selection,
        **fields,
    )


def draw_sweep(
    number: int, *, replicas: int = 5, reports: int = 20, seed: int = 0, mode: str = "max"
) -> PlotSource:
    """A sweep as ASHA would leave it, on a task that ``lr`` decides; some trials failed."""
    generator = random.Random(seed)  # noqa: S311
    free = [BEGIN] * 4  # when each worker is
    trials = []
    for count in range(1, number + 1):
        point = _draw_point(generator)
        level = 500 * math.exp(-((math.log10(point["lr"]) + 3) ** 2) / 1.5)
        luck, state, length = generator.random(), TrialState.TERMINATED, reports
        if luck < 0.4 and level < 350:
            state, length = TrialState.PRUNED, max(1, reports * generator.choice([3, 6]) // 10)
        elif luck > 0.95:
            state, length = TrialState.ERROR, generator.randint(0, reports)
        rows = _draw_reports(generator, level, length, reports, replicas)
        worker = free.index(min(free))
        rung = None if length < 0.3 * reports else 1 if length < 0.6 * reports else 2
        begun, free[worker] = free[worker], free[worker] + 1.5 * length + 3
        trials.append(
            trial(
                count, rows, state, replicas=replicas, parameters=point,
                started=begun, ended=free[worker], node=f"10.0.0.{worker}", rung=rung,
            )
        )  # fmt: skip
    return source_of(
        trials, space=SPACE, metric=EVALUATION, mode=mode, scheduler="asha",
        scheduler_options={"max_t": 2000 * reports, "grace_period": 600 * reports,
                           "reduction_factor": 2},
        results={"updated": max(free), "launches": (Launch(BEGIN, max(free)),)},
        solved_at=475.0,
    )  # fmt: skip


def _draw_point(generator: random.Random) -> dict[str, Any]:
    point: dict[str, Any] = {
        "lr": 10 ** generator.uniform(-5, -1),
        "gamma": generator.uniform(0.9, 0.999),
        "num_epochs": generator.randint(1, 30),
        "minibatch_size": generator.choice([64, 128, 256]),
        "model_config": {"fcnet_hiddens": generator.choice([[64, 64], [256, 256]])},
        "use_kl_loss": generator.random() < 0.5,
    }
    if point["use_kl_loss"]:
        point["kl_coeff"] = generator.uniform(0.1, 1.0)
    return point


def _draw_reports(
    generator: random.Random, level: float, length: int, whole: int, replicas: int
) -> list[dict[str, Any]]:
    offsets = [generator.gauss(0, 30) for _ in range(replicas)]
    rows, evaluated = [], None
    for iteration in range(1, length + 1):
        values = [
            min(500.0, max(9.0, level * (1 - math.exp(-4 * iteration / whole))
                           + offset * iteration / whole + generator.gauss(0, 12)))
            for offset in offsets
        ]  # fmt: skip
        row = report(iteration, values, steps=2000 * iteration)
        if iteration % 2 == 0 or iteration == length:
            evaluated = values
        if evaluated is not None:
            row |= {
                EVALUATION: sum(evaluated) / replicas,
                f"replica/{EVALUATION}": list(evaluated),
                "evaluation/is_new": evaluated is values,
            }
        rows.append(row)
    return rows


def confirmed(*, mode: str = "max") -> PlotSource:
    """A sweep of three trials of which two were trained again, with a baseline (`RUNS`)."""
    trials = [
        trial(n, [report(i, [v * i / 2, v * i / 2 + 2]) for i in (1, 2)], parameters={"lr": n / 10})
        for n, v in ((1, 20.0), (2, 22.0), (3, 5.0))
    ]
    finalists = ("t0002", "t0001") if mode == "max" else ("t0003", "t0001")
    points = {one.trial_id: one.parameters for one in trials} | {"baseline": {"lr": 0.5}}
    retrained = [
        replace(
            trial(
                10 + number,
                [report(9, runs, metric=f"confirmation/{RETURN}")],
                replicas=len(runs),
                parameters=points[of],
            ),
            trial_id=f"c{number:04d}",
            stage=Stage.CONFIRMATION,
            of=of,
        )
        for number, (of, runs) in enumerate(zip((*finalists, "baseline"), RUNS, strict=True), 1)
    ]
    planned = ConfirmationPlanned(
        BEGIN + 900, finalists, {"name": "defaults", "configuration": points["baseline"]},
        tuple(range(5)), None, 20, {ENV_STEPS: 9000},
        {"metric": RETURN, "mode": mode, "score": "last"}, "finished",
    )  # fmt: skip
    return source_of(
        trials, space={"lr": {"uniform": [0.0, 1.0]}}, mode=mode, solved_at=15.0,
        results={"retrained": tuple(retrained), "confirmation": planned},
    )  # fmt: skip


RUNS = (
    (18.0, 19.0, 20.0, 17.5, 21.0),
    (12.0, 15.0, 18.0, 13.0, 16.0),
    (9.0, 11.0, 10.0, 10.5, 9.5),
)


def population() -> PlotSource:
    """Two trials, of which the second copied the first at 2000 env steps."""
    old, new = {"lr": 0.5, "gamma": 0.9}, {"lr": 0.12, "gamma": 0.9}
    donor = trial(
        1, [report(i, [i, i + 1]) for i in range(1, 5)], parameters={"lr": 0.1, "gamma": 0.9}
    )
    exchange = Exchange(
        "t0002", BEGIN + 150, 2000, "t0001", 2000, score=0.5, donor_score=2.5, replaced=old,
        copied=donor.parameters, parameters=new, first_report=2, reason="ranks 2 of 2",
    )  # fmt: skip
    copier = trial(2, [report(i, [i + 5, i + 6]) for i in range(1, 5)], parameters=new)
    return source_of(
        [donor, replace(copier, exchanges=(exchange,))],
        space={"lr": {"loguniform": [0.01, 1.0]}, "gamma": {"uniform": [0.8, 1.0]}},
        scheduler="pbt",
    )
