"""The confirmation, as a run's results tell of it: who is trained again, and what came of it.

Finalists and baseline are trained from scratch on seeds of their own stage. A trial of the
confirmation trains one of them on a group of seeds; its last row has what each replica came to in
episodes that nothing else has seen (`trainables.examination`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.formatting import count_noun
from sweeper.journal import ConfirmationPlanned
from sweeper.metrics import Objective, examined_metric
from sweeper.results.ranking import rank_trial
from sweeper.results.records import SweepResults, TrialRecord, describe_error, judge_trial
from sweeper.results.scoring import is_comparable
from sweeper.states import TrialState

__all__ = [
    "BASELINE",
    "Group",
    "Member",
    "Retrained",
    "choose_finalists",
    "collect_retrained",
    "count_seeds",
    "describe_missing",
    "find_open_group",
    "holds_for",
    "is_current",
    "list_members",
    "look_sizes",
    "ran_to_its_end",
]

BASELINE = "baseline"  # in the place of a trial's id

Undecided = Callable[[Sequence["Retrained"], tuple[int, ...]], Collection[str]]
"""Who needs more seeds: given what each member came to, and how many seeds each look has."""


@dataclass(frozen=True)
class Member:
    """Somebody who is trained again.

    Attributes:
        of: the trial's id, or `BASELINE`.
        configuration: whole, nested.
        parameters: what the search varied, nested; empty for the baseline.
    """

    of: str
    configuration: Mapping[str, Any]
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Trials of the same seeds, which are trained together.

    Attributes:
        seeds: one per replica.
        begun: ids of trials that go on.
        members: of whom a trial is to begin.
    """

    seeds: tuple[int, ...]
    begun: tuple[str, ...]
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Retrained:
    """What a finalist or the baseline came to, over all its trials in the confirmation.

    Attributes:
        of: the trial's id, or `BASELINE`.
        seeds: of the training runs that are over, in the order of use.
        values: one per seed, each the mean of its episodes; a diverged one counts as the worst.
            None for a run that failed.
        diverged: which of them diverged, by their place.
        env_steps: of one training run, on average.
        lacks: seeds that are still to be trained, or whose training was interrupted.
        failure: why its training failed; None if it did not.
    """

    of: str
    seeds: tuple[int, ...] = ()
    values: tuple[float | None, ...] = ()
    diverged: tuple[int, ...] = ()
    env_steps: float = 0.0
    lacks: tuple[int, ...] = ()
    failure: str | None = None

    @property
    def name(self) -> str:
        """As words name it."""
        return "the baseline" if self.of == BASELINE else self.of


def ran_to_its_end(record: TrialRecord) -> bool:
    """Whether a trial was trained as long as it was to be: not pruned, interrupted or failed."""
    return record.state is TrialState.TERMINATED


def choose_finalists(results: SweepResults, objective: Objective, number: int) -> tuple[str, ...]:
    """The best trials by the search's score, of those that ran to their own end.

    Raises nothing: there may be fewer than ``number``, or none.
    """
    able = [
        record
        for record in results.trials
        if ran_to_its_end(record) and judge_trial(record, objective).value is not None
    ]
    able.sort(key=lambda record: rank_trial(record, objective))
    return tuple(record.trial_id for record in able[:number])


def holds_for(planned: ConfirmationPlanned | None, objective: Objective) -> bool:
    """Whether a confirmation was made for an objective; another one would need its own."""
    return planned is not None and dict(planned.objective) == {
        "metric": objective.metric,
        "mode": objective.mode,
        "score": objective.score,
    }


def is_current(results: SweepResults) -> bool:
    """Whether the search has not gone on since the confirmation was planned."""
    planned = results.confirmation
    if planned is None:
        return False
    going_on = (TrialState.RUNNING, TrialState.PENDING)
    return not any(
        record.state in going_on or (record.ended or 0.0) > planned.time
        for record in results.trials
    )


def count_seeds(results: SweepResults) -> int:
    """On how many seeds at most a member of the confirmation has been trained, or is."""
    counts = Counter[str]()
    for record in results.retrained:
        if not record.is_outdated:
            counts[record.of] += len(record.seeds)
    return max(counts.values(), default=0)


def list_members(results: SweepResults) -> list[Member]:
    """The finalists in their order, and the baseline last."""
    planned = results.confirmation
    if planned is None:
        return []
    known = {record.trial_id: record for record in results.trials}
    members = [
        Member(
            name,
            planned.schedules.get(name, known[name].configuration),
            known[name].parameters,
        )
        for name in planned.finalists
        if name in known
    ]
    if planned.baseline:
        members.append(Member(BASELINE, planned.baseline["configuration"], {}))
    return members


def find_open_group(
    results: SweepResults, undecided: Undecided, again: Collection[str] = ()
) -> Group | None:
    """The trials that are next; None if the confirmation has all that it needs.

    Args:
        results: of the run so far.
        undecided: who needs more seeds, where they are added in steps.
        again: trials that are over and go on all the same.
    """
    planned = results.confirmation
    members = list_members(results)
    if planned is None or not members:
        return None
    open_trials, missing = [], {}
    targets = _find_targets(results, members, undecided)
    for member in members:
        records = _trials_of(results, member)
        open_trials += [one for one in records if not one.state.is_over or one.trial_id in again]
        asked = {seed for record in records for seed in record.seeds}
        wanted = planned.seeds[: targets[member.of]]
        missing[member.of] = tuple(seed for seed in wanted if seed not in asked)
    candidates = [record.seeds for record in open_trials]
    candidates += [seeds for seeds in missing.values() if seeds]
    if not candidates:
        return None
    seeds = candidates[0]
    return Group(
        seeds,
        tuple(one.trial_id for one in open_trials if one.seeds == seeds),
        tuple(member for member in members if missing[member.of] == seeds),
    )


def collect_retrained(results: SweepResults, undecided: Undecided) -> list[Retrained]:
    """What the members came to so far, in their order, and what they lack."""
    members = list_members(results)
    return _collect(results, members, _find_targets(results, members, undecided))


def look_sizes(planned: ConfirmationPlanned) -> tuple[int, ...]:
    """How many seeds a member has at each planned look at the evidence."""
    number = len(planned.seeds)
    step = planned.step or number
    return (*range(step, number, step), number)


def describe_missing(retrained: Sequence[Retrained]) -> tuple[str, ...]:
    """Who lacks how many training runs, in words."""
    return tuple(
        f"{count_noun(len(one.lacks), 'training run')} of {one.name}"
        for one in retrained
        if one.lacks
    )


def _find_targets(
    results: SweepResults, members: Sequence[Member], undecided: Undecided
) -> dict[str, int]:
    """How many seeds each member is to have by now, by what the earlier ones showed."""
    planned = results.confirmation
    if planned is None or not members:
        return {}
    sizes = look_sizes(planned)
    targets = {member.of: sizes[0] for member in members}
    while True:
        so_far = _collect(results, members, targets)
        if len(sizes) == 1 or any(one.lacks for one in so_far):
            return targets
        failed = {one.of for one in so_far if one.failure is not None}
        names = [
            name
            for name in undecided(so_far, sizes)
            if targets[name] < sizes[-1] and name not in failed
        ]
        if not names:
            return targets
        for name in names:
            targets[name] = sizes[sizes.index(targets[name]) + 1]


def _trials_of(results: SweepResults, member: Member) -> list[TrialRecord]:
    return [
        record
        for record in results.retrained
        if record.of == member.of
        and record.configuration == member.configuration
        and not record.is_outdated
    ]


def _collect(
    results: SweepResults, members: Sequence[Member], targets: Mapping[str, int]
) -> list[Retrained]:
    """What each member came to with its first seeds, as many as its target."""
    planned = results.confirmation
    if planned is None:
        return []
    objective = Objective(**planned.objective)
    metric = f"replica/{examined_metric(objective.metric)}"
    records = {member.of: _trials_of(results, member) for member in members}
    found = {name: _values_by_seed(trials, metric) for name, trials in records.items()}
    worst = _find_worst(results, objective, found.values())
    retrained = []
    for name, values in found.items():
        wanted = planned.seeds[: targets[name]]
        failures = [one for one in records[name] if one.state is TrialState.ERROR]
        failed = {seed for one in failures for seed in one.seeds} - set(values)
        over = tuple(seed for seed in wanted if seed in values or seed in failed)
        retrained.append(
            Retrained(
                of=name,
                seeds=over,
                values=tuple(
                    worst if seed in values and values[seed] is None else values.get(seed)
                    for seed in over
                ),
                diverged=tuple(
                    place
                    for place, seed in enumerate(over)
                    if seed in values and values[seed] is None
                ),
                env_steps=_mean_steps(records[name]),
                lacks=tuple(seed for seed in wanted if seed not in over),
                failure=describe_error(failures[0]) if failures else None,
            )
        )
    return retrained


def _find_worst(
    results: SweepResults, objective: Objective, found: Iterable[Mapping[int, float | None]]
) -> float | None:
    """What a diverged run counts as: the worst that any replica of the run has reported."""
    metric = f"replica/{objective.metric}"
    reported = (
        value
        for record in (*results.trials, *results.retrained)
        for row in record.reports
        if isinstance(values := row.get(metric), list)
        for value in values
    )
    judged = (value for values in found for value in values.values())
    known = [float(value) for value in (*reported, *judged) if is_comparable(value)]
    return min(known, key=objective.merit, default=None)


def _values_by_seed(records: Sequence[TrialRecord], metric: str) -> dict[int, float | None]:
    """The value of each training run that came to its end; None for a diverged one.

    One that nothing can be compared with has diverged, too.
    """
    values: dict[int, float | None] = {}
    for record in records:
        row = record.last_report
        if not ran_to_its_end(record) or metric not in row:
            continue
        flags = row.get("replica/diverged") or [False] * len(record.seeds)
        if not len(record.seeds) == len(row[metric]) == len(flags):
            continue  # damaged
        for seed, value, is_diverged in zip(record.seeds, row[metric], flags, strict=True):
            values[seed] = value if is_comparable(value) and not is_diverged else None
    return values


def _mean_steps(records: Sequence[TrialRecord]) -> float:
    """Env steps of one training run, on average."""
    steps = [
        value
        for record in records
        for value in record.last_report.get("replica/num_env_steps_sampled_lifetime") or ()
        if is_comparable(value)
    ]
    return math.fsum(steps) / len(steps) if steps else 0.0
