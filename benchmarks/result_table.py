"""A table of real results: configurations with the learning curves of several seeds each.

A table is three files of one name in ``benchmarks/recorded/``: the spec of the sweep that made it,
its configurations, and their curves. `record_tables.py` makes the two Parquet files from a run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sweeper.metrics import ENV_STEPS, Objective
from sweeper.opened_run import Run
from sweeper.results.records import TrialRecord
from sweeper.results.scoring import score_reports
from sweeper.search.configuration import flatten_parameters
from sweeper.search.distributions import Distribution, assign, distributions, is_same
from sweeper.spec import load_spec
from sweeper.states import TrialState
from sweeper.trainables.milestones import steps_crossed

__all__ = ["RECORDED", "Curve", "ResultTable", "load_table", "write_table"]

RECORDED = Path(__file__).parent / "recorded"

_TRAINING = "replica/episode_return_mean"
_EVALUATION = "replica/evaluation/episode_return_mean"
_META = ("configuration", "state", "env_steps", "report_env_steps")  # columns beside the parameters


@dataclass(frozen=True)
class Curve:
    """The evaluations of one configuration.

    Attributes:
        parameters: what the search varies, nested.
        env_steps: ``int64[evaluations]``, of each replica, increasing.
        returns: ``float64[evaluations, replicas]``, mean episode returns.
        length: env steps at the trial's end.
        report_env_steps: env steps from one report to the next.
        has_failed: whether the trial ended in error, so that it has no score.
    """

    parameters: Mapping[str, Any]
    env_steps: NDArray[np.int64]
    returns: NDArray[np.float64]
    length: int
    report_env_steps: int
    has_failed: bool = False

    def reports(self, replicas: Sequence[int], metric: str) -> list[dict[str, Any]]:
        """The rows that a trial with these replicas reports, as far as search and scheduler look.

        Between two evaluations the last one is repeated, as a trial does.
        """
        grid = np.arange(self.report_env_steps, self.length, self.report_env_steps)
        steps = np.unique(np.concatenate([grid, self.env_steps, [self.length]]))
        rows = []
        for now, done in zip(steps, np.searchsorted(self.env_steps, steps, "right"), strict=True):
            row: dict[str, Any] = {ENV_STEPS: int(now)}
            if done:
                values = [float(self.returns[done - 1, one]) for one in replicas]
                row |= {metric: sum(values) / len(values), f"replica/{metric}": values}
            rows.append(row)
        return rows


@dataclass(frozen=True, eq=False)
class ResultTable:
    """Configurations of one param space, each trained to its end once.

    Attributes:
        param_space: nested; leaves are constants or distributions.
        budget: env steps at which a trial ends, as the spec says.
        curves: one per configuration.
    """

    name: str
    param_space: Mapping[str, Any]
    objective: Objective
    budget: int
    curves: tuple[Curve, ...]

    @property
    def replicas(self) -> int:
        """Seeds of each configuration."""
        return self.curves[0].returns.shape[1]

    def positions(self) -> NDArray[np.float64]:
        """``float64[configurations, axes]``: every configuration in the unit cube.

        The squared distance of two is the sum over the parameters: of the squared difference on
        the distribution's own scale, or 1 where a choice is another.
        """
        return np.array([self.locate(curve.parameters) for curve in self.curves])

    def locate(self, parameters: Mapping[str, Any]) -> NDArray[np.float64]:
        """``float64[axes]``: a point of the param space in the unit cube of `positions`."""
        axes: list[float] = []
        for path, leaf in distributions(self.param_space):
            value: Any = parameters
            for key in path:
                value = value[key]
            axes.extend(_coordinates(leaf, value))
        return np.array(axes)

    def scores(self) -> NDArray[np.float64]:
        """``float64[configurations, replicas]``: what a trial of one seed is worth at its end.

        A configuration that failed has the worst value of the table.
        """
        objective = self.objective
        worst = min if objective.mode == "max" else max
        bad = worst(worst(curve.returns.ravel()) for curve in self.curves if curve.returns.size)
        found = np.full((len(self.curves), self.replicas), bad)
        for curve, row in zip(self.curves, found, strict=True):
            for one in range(0 if curve.has_failed else self.replicas):
                reports = curve.reports([one], objective.metric)
                row[one] = score_reports(reports, objective).value
        return found


def _coordinates(leaf: Distribution, value: Any) -> list[float]:
    if leaf.values is not None:
        # Two one-hot vectors differ in two places: the squared distance of different choices is 1.
        return [math.sqrt(0.5) if is_same(value, one) else 0.0 for one in leaf.values]
    if leaf.bounds is None:
        raise ValueError(f"{leaf.kind} has no bounds, so no place in the unit cube")
    low, high, place = *map(float, leaf.bounds), float(value)
    if leaf.is_log:
        low, high, place = math.log(low), math.log(high), math.log(place)
    return [(place - low) / (high - low)]


# --- the files -------------------------------------------------------------------------------


def load_table(name: str, folder: Path = RECORDED) -> ResultTable:
    """Read a recorded table.

    Raises:
        FileNotFoundError: it has not been recorded.
    """
    spec = load_spec(folder / f"{name}.yaml")
    leaves = dict(distributions(spec.param_space))
    rows, replicas, curves = _read(folder, name, "curves"), len(spec.seeds), []
    for row in _read(folder, name, "configurations").to_dict("records"):
        parameters: dict[str, Any] = {}
        for path, leaf in leaves.items():
            cell = row[".".join(path)]
            value = json.loads(cell) if leaf.values is not None else cell
            assign(parameters, path, int(value) if leaf.is_integer else value)
        found = rows[rows["configuration"] == row["configuration"]]
        wide = found.pivot(index="env_steps", columns="replica", values="evaluation_return")
        curves.append(
            Curve(
                parameters,
                env_steps=wide.index.to_numpy(np.int64),
                returns=wide.to_numpy(np.float64).reshape(len(wide), replicas),
                length=int(row["env_steps"]),
                report_env_steps=int(row["report_env_steps"]),
                has_failed=row["state"] == TrialState.ERROR,
            )
        )
    return ResultTable(
        name, spec.param_space, spec.objective, int(spec.stop[ENV_STEPS]), tuple(curves)
    )


def write_table(run: Run, name: str, folder: Path = RECORDED) -> tuple[Path, Path]:
    """Write what a run recorded as a table; trials that are not over are left out.

    Returns:
        The file of the configurations, one row each, and that of the curves: one row per
        configuration, replica and report with an evaluation.

    Raises:
        ValueError: no trial is over, or the run's spec does not evaluate.
    """
    if run.spec is None or run.spec.evaluation is None:
        raise ValueError("a table is made from a run that evaluates")
    every = run.spec.evaluation.every_env_steps
    over = [record for record in run.results.trials if record.state.is_over and record.reports]
    if not over:
        raise ValueError("no trial of the run is over")
    configurations, curves = [], []
    for number, record in enumerate(over):
        configurations.append(_describe(number, record, dict(distributions(run.spec.param_space))))
        curves += _list_evaluations(number, record, every)
    first = pd.DataFrame(configurations)
    second = pd.DataFrame(curves).astype(
        {
            "configuration": "int16",
            "replica": "int8",
            "env_steps": "int32",
            "evaluation_return": "float32",
            "training_return": "float32",
        }
    )
    paths = _path(folder, name, "configurations"), _path(folder, name, "curves")
    for frame, path in zip((first, second), paths, strict=True):
        frame.to_parquet(path, index=False, compression="zstd")
    return paths


def _describe(
    number: int, record: TrialRecord, leaves: Mapping[tuple[str, ...], Distribution]
) -> dict[str, Any]:
    steps = [int(report[ENV_STEPS]) for report in record.reports]
    flat = {
        ".".join(path): _cell(leaf, flatten_parameters(record.parameters)[".".join(path)])
        for path, leaf in leaves.items()
    }
    spacing = int(np.median(np.diff([0, *steps])))
    return {
        **dict(zip(_META, (number, str(record.state), steps[-1], spacing), strict=True)),
        **flat,
    }


def _cell(leaf: Distribution, value: Any) -> Any:
    """A column has one type, and choices may have several: they are written as JSON."""
    return json.dumps(value) if leaf.values is not None else value


def _list_evaluations(
    number: int, record: TrialRecord, every: int | None
) -> Sequence[Mapping[str, Any]]:
    rows, before = [], 0
    for report in record.reports:
        steps, is_last = int(report[ENV_STEPS]), report is record.reports[-1]
        is_evaluated = steps_crossed(before, steps, every) or is_last
        before = steps
        if not is_evaluated or _EVALUATION not in report:
            continue
        nothing = [math.nan] * len(report[_EVALUATION])  # before the first episode has ended
        returns = zip(report[_EVALUATION], report.get(_TRAINING, nothing), strict=True)
        for replica, (evaluation, training) in enumerate(returns):
            rows.append(
                {
                    "configuration": number,
                    "replica": replica,
                    "env_steps": steps,
                    "evaluation_return": evaluation,
                    "training_return": training,
                }
            )
    return rows


def _path(folder: Path, name: str, what: str) -> Path:
    return folder / f"{name}.{what}.parquet"


def _read(folder: Path, name: str, what: str) -> pd.DataFrame:
    return pd.read_parquet(_path(folder, name, what))
