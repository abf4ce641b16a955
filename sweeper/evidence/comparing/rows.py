"""The table of a comparison: a row for each thing that is compared, a column for each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sweeper.evidence.comparing.described import ComparedRun
from sweeper.evidence.comparing.differences import Difference
from sweeper.evidence.comparing.words import (
    describe_interval,
    describe_prediction,
    describe_score,
    describe_setting,
)
from sweeper.evidence.samples import Evidence
from sweeper.formatting import describe_state, format_duration, format_number
from sweeper.results.cost import Cost
from sweeper.states import TrialState

__all__ = ["Row", "parameter_rows", "result_rows"]

_NETWORK = "model_config."  # no other key has the name of one below it


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        heading: what it shows.
        cells: one per run; ``-`` where a run has nothing of it.
    """

    heading: str
    cells: tuple[str, ...]


def result_rows(runs: Sequence[ComparedRun]) -> tuple[Row, ...]:
    """What runs came to and what they cost, without what none of them has anything of."""
    costs = [one.cost for one in runs]
    rows = (
        ("algorithm", [f"{one.algorithm} ({one.backend})" for one in runs]),
        ("champion", [one.champion for one in runs]),
        *_evidence_rows([one.confirmation for one in runs]),
        ("search's score", [describe_score(one.search) for one in runs]),
        ("trials, search", [_describe_states(one) for one in costs]),
        ("trials, again", [_none_if_0(one.retrained) for one in costs]),
        ("env steps, search", [format_number(one.env_steps) for one in costs]),
        ("env steps, again", [_none_if_0(one.confirmation_env_steps) for one in costs]),
        ("time", [format_duration(one.time_s) for one in costs]),
        ("core hours", [format_number(one.core_hours) for one in costs]),
    )
    return tuple(
        Row(heading, tuple(cells)) for heading, cells in rows if any(cell != "-" for cell in cells)
    )


def parameter_rows(differences: Sequence[Difference]) -> tuple[Row, ...]:
    """The hyperparameters in which champions differ, without the network's prefix."""
    return tuple(
        Row(one.name.removeprefix(_NETWORK), tuple(map(describe_setting, one.settings)))
        for one in differences
    )


def _evidence_rows(found: Sequence[Evidence | None]) -> Iterator[tuple[str, list[str]]]:
    """What runs on fresh seeds came to."""
    yield "mean of new runs", ["-" if one is None else format_number(one.mean) for one in found]
    yield "its 95 % interval", ["-" if one is None else _describe_mean(one) for one in found]
    yield "IQM", ["-" if one is None else format_number(one.iqm) for one in found]
    yield (
        "one more run, 95 %",
        ["-" if one is None else describe_prediction(one.prediction) for one in found],
    )
    yield "new runs", ["-" if one is None else _describe_runs(one) for one in found]
    yield (
        "solved",
        [
            "-"
            if one is None or one.solved is None
            else f"{one.solved.number} of {one.solved.runs} at {format_number(one.solved.at)}"
            for one in found
        ],
    )


def _describe_mean(evidence: Evidence) -> str:
    if evidence.interval is None:
        return evidence.interval_reason or "-"
    return describe_interval(evidence.interval)


def _describe_runs(evidence: Evidence) -> str:
    failed = sum(value is None for value in evidence.runs)
    counts = {"diverged": evidence.diverged, "more failed": failed}
    words = [f"{number} {word}" for word, number in counts.items() if number]
    return f"{len(evidence.finished)}" + (f" ({', '.join(words)})" if words else "")


def _describe_states(cost: Cost) -> str:
    """``32 (20 pruned)``: how many trials, and of those that are not done, what they are."""
    others = [
        f"{number} {describe_state(state)}"
        for state, number in cost.states.items()
        if state is not TrialState.TERMINATED
    ]
    return f"{cost.trials}" + (f" ({', '.join(others)})" if others else "")


def _none_if_0(number: int) -> str:
    return format_number(number) if number else "-"
