"""Whether the configurations that a journal records are such as a spec can have.

A spec's own values are checked when it is read. The configurations in a journal are passed on to
the trials as they are, and RLlib imports and calls what some of them name. So a journal that was
changed, or that came with somebody else's run, could have it call anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sweeper.hints import show
from sweeper.journal import JournalError
from sweeper.paths import RunPaths
from sweeper.results.records import SweepResults
from sweeper.spec import ExperimentSpec
from sweeper.spec.keys.param_space import check_values
from sweeper.spec.text.yaml import dotted

__all__ = ["check_configurations"]


def check_configurations(spec: ExperimentSpec, results: SweepResults, paths: RunPaths) -> None:
    """Check all that trials may be given which is more than a number.

    Raises:
        JournalError: a value is none that a spec of this algorithm can have.
    """
    for whose, configuration in _find_all(results):
        if not isinstance(configuration, Mapping):
            what = f"{paths.journal}: {whose}: {show(configuration)} is no configuration"
            raise JournalError.of_damage(paths.journal, what)
        for problem in check_values(spec.algorithm, configuration, spec.backend):
            if not _is_plain(_value_at(configuration, problem.path)):
                what = f"{paths.journal}: {whose}: {dotted(problem.path)}: {problem.message}"
                raise JournalError.of_damage(paths.journal, what)


def _find_all(results: SweepResults) -> Iterator[tuple[str, Any]]:
    for record in (*results.trials, *results.retrained):
        yield record.trial_id, record.configuration
        yield record.trial_id, record.parameters
        for exchange in record.exchanges:
            yield record.trial_id, exchange.parameters
    planned = results.confirmation
    if planned is not None:
        for name, configuration in planned.schedules.items():
            yield f"the schedule of {name}", configuration
        yield "the baseline", planned.baseline.get("configuration") or {}


def _value_at(configuration: Any, path: tuple[str | int, ...]) -> Any:
    """What lies at a path, or above it where nothing does."""
    for key in path:
        try:
            configuration = configuration[key]
        except (KeyError, IndexError, TypeError):
            break
    return configuration


def _is_plain(value: Any) -> bool:
    # What a range drew may lie outside of what the algorithm takes: then its trial fails.
    return value is None or isinstance(value, bool | int | float)
