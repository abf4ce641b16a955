"""Several runs side by side: the result of a comparison, for people, programs and notebooks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sweeper.evidence.comparing.curves import read_curves
from sweeper.evidence.comparing.described import ComparedRun, describe_entry
from sweeper.evidence.comparing.differences import Difference, find_differences
from sweeper.evidence.comparing.entry import Entry
from sweeper.evidence.comparing.improvement import Improvement, compare_with_first
from sweeper.evidence.comparing.remarks import list_remarks
from sweeper.evidence.comparing.rows import Row, parameter_rows, result_rows
from sweeper.evidence.comparing.sparklines import BLOCKS, Sparklines, draw
from sweeper.evidence.comparing.words import describe_improvement, describe_scale, letters
from sweeper.evidence.figures import percent
from sweeper.evidence.statistics import Interval
from sweeper.formatting import align_columns
from sweeper.markup import Child, joined, table, tag
from sweeper.printable import printable

if TYPE_CHECKING:
    import pandas

__all__ = ["RunComparison", "compare_entries"]

_CURVE, _CURVE_WIDTH = "learning curve", 24
_BLANKS = "white-space: pre"


@dataclass(frozen=True)
class RunComparison:
    """Runs held against the first of them; shown, it is one table and what it comes to.

    Attributes:
        metric: by which all of them are compared.
        mode: whether ``max`` or ``min`` of it is better.
        runs: in the order in which they were named; the others are held against the first.
        improvements: one for each later run.
        differences: the hyperparameters in which the champions differ, and no others.
        notes: what has to be known beside the numbers, a sentence each.
    """

    metric: str
    mode: str
    runs: tuple[ComparedRun, ...]
    improvements: tuple[Improvement, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    @property
    def verdict_text(self) -> str:
        """What the comparison comes to, a sentence or two for each later run."""
        return " ".join(map(describe_improvement, self.improvements))

    @property
    def table(self) -> pandas.DataFrame:
        """One row per run.

        - ``label``, ``run``, ``state``, ``backend``, ``algorithm``, ``champion`` (text).
        - ``score``, ``deviation`` (float64), ``replicas`` (int64): of the search.
        - ``mean``, ``interval_low``, ``interval_high``, ``iqm``, ``prediction_low``,
          ``prediction_high`` (float64), ``runs`` (int64): of the confirmation.
        - ``probability``, ``probability_low``, ``probability_high`` (float64): that a training run
          of the row's champion beats one of the first row's; ``verdict`` (text).
        - ``trials``, ``env_steps``, ``confirmation_env_steps`` (int64), ``time_s``,
          ``core_hours`` (float64).
        - ``config.<name>``: the hyperparameters in which the champions differ.

        What there is none of is NaN or None.
        """
        import pandas as pd

        return pd.DataFrame([self._columns(place) for place in range(len(self.runs))])

    def to_json(self) -> dict[str, Any]:
        """As `sweeper compare --json` prints it; docs/comparing.md describes it."""
        return {
            "metric": self.metric,
            "mode": self.mode,
            "reference": self.runs[0].label,
            "runs": [one.to_json() for one in self.runs],
            "improvements": [
                {**one.to_json(), "text": describe_improvement(one)} for one in self.improvements
            ],
            "differences": [one.to_json() for one in self.differences],
            "notes": list(self.notes),
        }

    @property
    def results(self) -> tuple[Row, ...]:
        """What the runs came to and what they cost, with a cell for each run."""
        return result_rows(self.runs)

    @property
    def parameters(self) -> tuple[Row, ...]:
        """The hyperparameters in which the champions differ, with a cell for each run."""
        return parameter_rows(self.differences)

    def draw_curves(self, width: int, blocks: str = BLOCKS) -> Sparklines:
        """The champions' learning curves as lines of letters, on one scale; see `sparklines`."""
        return draw([one.curve for one in self.runs], width, blocks)

    def __repr__(self) -> str:
        """One table, what it comes to, and the notes."""
        lines = align_columns(self._whole_table())
        return printable("\n".join([*lines, "", *self._sentences()]))

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        head, *rows = self._whole_table()
        # Blanks are a part of a curve.
        cells: list[tuple[Child, ...]] = [
            (row[0], *(tag("code", cell, style=_BLANKS) for cell in row[1:]))
            if row[0] == _CURVE
            else row
            for row in rows
        ]
        words = (tag("p", one) for one in self._sentences())
        return joined(table(head, cells), *words).text

    def _whole_table(self) -> list[tuple[str, ...]]:
        curves = self.draw_curves(_CURVE_WIDTH)
        return [
            ("", *(one.label for one in self.runs)),
            ("run", *(one.name for one in self.runs)),
            *((row.heading, *row.cells) for row in self.results),
            (_CURVE, *curves.lines),
            *((row.heading, *row.cells) for row in self.parameters),
        ]

    def _sentences(self) -> Iterator[str]:
        yield from map(describe_improvement, self.improvements)
        curves = describe_scale(self.draw_curves(_CURVE_WIDTH), [one.curve for one in self.runs])
        if curves is not None:
            yield f"{curves}."
        yield from self.notes

    def _columns(self, place: int) -> Mapping[str, Any]:
        run, evidence = self.runs[place], self.runs[place].confirmation
        improvement = self.improvements[place - 1] if place else None
        interval = None if improvement is None else improvement.interval
        return {
            "label": run.label,
            "run": run.name,
            "state": str(run.state),
            "backend": run.backend,
            "algorithm": run.algorithm,
            "champion": run.champion,
            "score": run.search.value,
            "deviation": _or_nan(run.search.deviation),
            "replicas": run.search.replicas,
            "mean": _or_nan(None if evidence is None else evidence.mean),
            **_ends("interval", None if evidence is None else evidence.interval),
            "iqm": _or_nan(None if evidence is None else evidence.iqm),
            **_ends("prediction", None if evidence is None else evidence.prediction),
            "runs": 0 if evidence is None else len(evidence.finished),
            "probability": _or_nan(None if improvement is None else improvement.probability),
            **_ends("probability", interval),
            "verdict": None if improvement is None else improvement.verdict,
            "trials": run.cost.trials,
            "env_steps": run.cost.env_steps,
            "confirmation_env_steps": run.cost.confirmation_env_steps,
            "time_s": run.cost.time_s,
            "core_hours": _or_nan(run.cost.core_hours),
            **{f"config.{one.name}": one.settings[place].value for one in self.differences},
        }


def compare_entries(entries: Sequence[Entry], notes: Sequence[str] = ()) -> RunComparison:
    """Hold runs against the first of them.

    Args:
        entries: at least two that `find_obstacles` finds comparable, or that the user wants
            compared all the same.
        notes: what else has to be known of them.
    """
    labelled = [replace(one, name=letters(place)) for place, one in enumerate(entries)]
    curves = read_curves(labelled)
    runs = [
        replace(describe_entry(lettered, curve), name=entry.name)
        for entry, lettered, curve in zip(entries, labelled, curves, strict=True)
    ]
    improvements = compare_with_first(labelled)
    return RunComparison(
        metric=entries[0].objective.metric,
        mode=entries[0].objective.mode,
        runs=tuple(runs),
        improvements=improvements,
        differences=tuple(find_differences(labelled)),
        notes=(*notes, *_describe_intervals(improvements), *list_remarks(labelled)),
    )


def _describe_intervals(improvements: Sequence[Improvement]) -> Iterator[str]:
    intervals = [one.interval for one in improvements if one.interval is not None]
    if not intervals:
        return
    is_widened = any(", over " in one.method for one in intervals)
    widened = (
        ", widened so that they hold for all comparisons, finalists and looks together"
        if is_widened
        else ""
    )
    yield f"Shares of pairs have {percent(intervals[0].level)} % intervals{widened}."


def _ends(name: str, interval: Interval | None) -> dict[str, float]:
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return {f"{name}_low": _or_nan(low), f"{name}_high": _or_nan(high)}


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
