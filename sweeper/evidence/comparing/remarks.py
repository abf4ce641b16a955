"""What a reader of a comparison has to know beside its numbers, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sweeper.evidence.comparing.entry import (
    Entry,
    count_confirmed,
    count_evaluated,
    split,
    tell_apart,
)
from sweeper.evidence.comparing.tasks import (
    has_other_sight,
    seen_wrappers,
    show_wrappers,
    simulator,
)
from sweeper.formatting import format_number
from sweeper.hints import join_words, show
from sweeper.metrics import examined_metric, is_of_evaluation
from sweeper.paths import run_reference

__all__ = ["list_remarks"]


def list_remarks(entries: Sequence[Entry]) -> Iterator[str]:
    """The remarks on a comparison of these runs."""
    for words in (*_describe_limits(entries), *_describe_setup(entries)):
        yield f"{words}."
    yield from _describe_unconfirmed(entries)
    yield from _describe_seeds(entries)
    yield from _describe_runs(entries)


def _describe_limits(entries: Sequence[Entry]) -> Iterator[str]:
    """What ended trials, and what bounded the search, where that differs."""
    specs, found = [one.spec for one in entries], list[str]()
    for name in dict.fromkeys(name for one in specs for name in one.stop):
        limits = [one.stop.get(name) for one in specs]
        found += tell_apart(f"stop.{name}", entries, limits, _show_limit)
    found += tell_apart("stop.plateau", entries, [_model(one.plateau) for one in specs], show)
    for name in type(specs[0].budget).model_fields:
        limits = [getattr(one.budget, name) for one in specs]
        found += tell_apart(f"budget.{name}", entries, limits, _show_limit)
    if found:
        yield f"They were given different amounts of training: {'; '.join(found)}"


def _describe_setup(entries: Sequence[Entry]) -> Iterator[str]:
    """What else of the setup differs and leaves the numbers comparable."""
    if has_other_sight(entries):
        wrappers = [seen_wrappers(one) for one in entries]
        yield from tell_apart("What wraps the same environment", entries, wrappers, show_wrappers)
    normalized = [_model(one.spec.environment.normalize) for one in entries]
    yield from tell_apart("environment.normalize", entries, normalized, show)
    if all(one.is_evaluated for one in entries):
        simulators = [simulator(one) for one in entries]
        yield from tell_apart("The simulator of the training", entries, simulators)
    yield from tell_apart(
        "The number of seeds in the search", entries, [len(one.spec.seeds) for one in entries]
    )
    yield from tell_apart("selection.score", entries, [one.objective.score for one in entries])
    if is_of_evaluation(entries[0].objective.metric):
        counts = [count_evaluated(one) for one in entries]
        yield from tell_apart("evaluation.episodes", entries, counts)
    confirmed = [one for one in entries if one.evidence is not None]
    counts = [count_confirmed(one) for one in confirmed]
    yield from tell_apart("selection.confirm_episodes", confirmed, counts)


def _describe_seeds(entries: Sequence[Entry]) -> Iterator[str]:
    """That runs on the same seeds are not paired."""
    confirmed = [one for one in entries if one.evidence is not None]
    shared = [
        names
        for _, names in split(confirmed, [_confirmed_seeds(one) for one in confirmed])
        if len(names) > 1
    ]
    for names in shared:
        yield (
            f"{join_words(names)} were confirmed on the same seeds. Their runs count as "
            "independent all the same, for seeds don't carry over between configurations."
        )


def _describe_unconfirmed(entries: Sequence[Entry]) -> Iterator[str]:
    """Why the scores of a search are not held against each other, and what to do."""
    lacking = [one for one in entries if one.evidence is None]
    if not lacking:
        return
    commands = [
        f"`sweeper confirm {run_reference(one.results.root)}`"
        for one in lacking
        if not one.results.is_live and examined_metric(one.objective.metric) is not None
    ]
    remedy = f"; {join_words(commands)} would train them" if commands else ""
    yield (
        "Only training runs of complete confirmations are held against each other, for a search's "
        f"scores flatter the trial that they chose{remedy}."
    )


def _describe_runs(entries: Sequence[Entry]) -> Iterator[str]:
    """What is unusual about some of the runs."""
    if live := _named(entries, [one.results.is_live for one in entries]):
        yield f"Still running: {live}; the numbers are those of now."
    mixed = [any(launch.environment_changes for launch in one.results.launches) for one in entries]
    if changed := _named(entries, mixed):
        yield (
            f"The environment was changed on the way, as was allowed, in {changed}; trials of "
            "before and after count alike."
        )
    if unknown := _named(entries, [one.identity is None for one in entries]):
        yield (
            f"Without a record of the environment's code and spaces: {unknown}; only settings were "
            "compared there."
        )
    searched = [one.evidence is None and one.selection.partial for one in entries]
    if partial := _named(entries, searched):
        yield f"The champion did not run to its own end in {partial}."
    champions = [one.results.trial(one.selection.trial_id) for one in entries]
    if moving := _named(entries, [bool(one.trained_exchanges) for one in champions]):
        yield (
            f"The champion's values changed while it trained in {moving}; those shown are the last."
        )
    diverged = [
        one.selection.diverged if one.evidence is None else one.evidence.diverged for one in entries
    ]
    if frozen := _named(entries, list(map(bool, diverged))):
        yield (
            f"Runs of the champion diverged in {frozen}. In means and scores each counts as the "
            "worst value of its own sweep, in shares of pairs as the worst of both sides."
        )


def _named(entries: Sequence[Entry], flags: Sequence[bool]) -> str:
    """The names of those runs whose flag is set; empty without any."""
    names = [one.name for one, flag in zip(entries, flags, strict=True) if flag]
    return join_words(names) if names else ""


def _confirmed_seeds(entry: Entry) -> tuple[int, ...]:
    evidence, made = entry.evidence, entry.selection.confirmed_on
    return () if evidence is None or made is None else made.seeds[: len(evidence.runs)]


def _show_limit(limit: float | None) -> str:
    return "none" if limit is None else format_number(limit)


def _model(section: Any) -> Any:
    return None if section is None else section.model_dump(exclude_none=True)
