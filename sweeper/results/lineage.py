"""Who took over whose weights in a population, and what a trial's values were on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.json_values import to_json
from sweeper.results.exchanges import Exchange
from sweeper.results.records import SweepResults
from sweeper.search.configuration import find_changes, flatten_parameters
from sweeper.search.distributions import is_same

__all__ = ["Segment", "lineage_rows", "list_exchanges", "trace_ancestry", "values_over_time"]


@dataclass(frozen=True)
class Segment:
    """A part of what a trial's weights went through, under one set of values.

    Attributes:
        env_steps: where it begins.
        trial_id: the trial that trained it.
        parameters: nested.
    """

    env_steps: int
    trial_id: str
    parameters: Mapping[str, Any]


def list_exchanges(results: SweepResults) -> list[Exchange]:
    """All exchanges of a run, in the order in which they happened."""
    found = [exchange for record in results.trials for exchange in record.exchanges]
    return sorted(found, key=lambda exchange: exchange.time)


def lineage_rows(results: SweepResults) -> list[dict[str, Any]]:
    """One JSON-ready object per exchange: who copied whom, when, and which values changed.

    ``changed`` has ``[donor's, copy's]`` by parameter, with null for a parameter that does not
    apply.
    """
    return [
        {
            "env_steps": exchange.env_steps,
            "trial_id": exchange.trial_id,
            "score": to_json(exchange.score),
            "donor": exchange.donor,
            "donor_env_steps": exchange.donor_env_steps,
            "donor_score": to_json(exchange.donor_score),
            "changed": to_json(find_changes(exchange.copied, exchange.parameters)),
            "parameters": to_json(exchange.parameters),
            "time": exchange.time,
        }
        for exchange in list_exchanges(results)
    ]


def trace_ancestry(results: SweepResults, trial_id: str) -> tuple[Segment, ...]:
    """What the weights of a trial went through, from their first ancestor on.

    Raises:
        KeyError: there is no such trial.
    """
    record = results.trial(trial_id)
    number = len(record.trained_exchanges)
    segments: list[Segment] = []
    while number:
        exchange = record.exchanges[number - 1]
        segments.append(Segment(exchange.donor_env_steps, record.trial_id, exchange.parameters))
        record, number = results.trial(exchange.donor), exchange.donor_exchanges
    segments.append(Segment(0, record.trial_id, record.parameters_at(-1)))
    return tuple(reversed(segments))


def values_over_time(segments: tuple[Segment, ...]) -> dict[str, list[tuple[int, Any]]]:
    """Each parameter's values with the env steps from which they held, by dotted name.

    Only those that changed; None where a parameter did not apply.
    """
    flat = [(segment.env_steps, flatten_parameters(segment.parameters)) for segment in segments]
    found: dict[str, list[tuple[int, Any]]] = {}
    for name in dict.fromkeys(name for _, parameters in flat for name in parameters):
        values: list[tuple[int, Any]] = []
        for env_steps, parameters in flat:
            value = parameters.get(name)
            if not values or not is_same(values[-1][1], value):
                values.append((env_steps, value))
        if len(values) > 1:
            found[name] = values
    return found
