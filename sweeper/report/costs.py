"""What a run cost, by stage."""

from __future__ import annotations

from sweeper.formatting import describe_state, format_duration, format_number
from sweeper.markup import Child, Html, joined
from sweeper.report.elements import pairs, wide_table
from sweeper.report.source import ReportSource
from sweeper.results.cost import count_core_hours, count_steps, find_cost
from sweeper.results.records import TrialRecord, count_states

__all__ = ["show_cost"]

_HEADINGS = ("", "Trials", "Env steps", "Training time", "Core hours")


def show_cost(source: ReportSource) -> Html:
    """Time, env steps and cores of the search and of the confirmation."""
    results = source.results
    cpus = None if source.spec is None else source.spec.resources.cpus
    total = find_cost(results, cpus)
    stages: list[tuple[str, tuple[TrialRecord, ...]]] = [("Search", results.trials)]
    if results.retrained:
        stages.append(("Confirmation", results.retrained))
        stages.append(("Together", (*results.trials, *results.retrained)))
    rows = [_row(name, records, cpus) for name, records in stages]
    wall = None if not results.launches else format_duration(total.time_s)
    retries = sum(one.retries for one in (*results.trials, *results.retrained))
    return joined(
        wide_table(
            ("", "Trials", "Env steps", "Training time", "Core hours"), rows, class_="numbers"
        ),
        pairs(
            ("Wall time of all launches", wall or "not known"),
            ("Cores of a trial", "not known" if cpus is None else format_number(cpus)),
            ("Tries after a failure", str(retries) if retries else None),
        ),
    )


def _row(name: str, records: tuple[TrialRecord, ...], cpus: float | None) -> tuple[Child, ...]:
    states = ", ".join(
        f"{count} {describe_state(state)}" for state, count in count_states(records).items()
    )
    hours = count_core_hours(records, 1.0)
    cores = count_core_hours(records, cpus)
    return (
        name,
        f"{len(records)} ({states})" if states else "0",
        f"{count_steps(records):,}",
        "not known" if hours is None else format_duration(3600 * hours),
        "not known" if cores is None else format_number(cores),
    )
