"""Which trials could not win, and why."""

from __future__ import annotations

from collections import defaultdict

from sweeper.formatting import count_noun, last_line
from sweeper.markup import Child, Html, joined, tag
from sweeper.report.elements import wide_table
from sweeper.report.source import ReportSource
from sweeper.results.records import describe_divergence, judge_trial
from sweeper.states import TrialState

__all__ = ["show_exclusions"]

_MAX_NAMED = 12
_MAX_REASONS = 40
_MAX_REASON = 400


def show_exclusions(source: ReportSource) -> Html:
    """Reasons with the trials that they kept from winning."""
    results, selection = source.results, source.selection
    if selection is not None:
        found = [(one.trial_id, one.reason) for one in selection.excluded]
    else:
        verdicts = [(one, judge_trial(one, source.objective)) for one in results.trials]
        found = [
            (one.trial_id, verdict.problem or "no score")
            for one, verdict in verdicts
            if verdict.value is None
        ]
    return joined(_grouped(found), _pruned(source), _frozen(source))


def _grouped(found: list[tuple[str, str]]) -> Html:
    if not found:
        return tag("p", "Every trial has a score; none was excluded.")
    groups: dict[str, list[str]] = defaultdict(list)
    for trial_id, reason in found:
        groups[last_line(reason) or "no reason is recorded"].append(trial_id)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    rows: list[tuple[Child, ...]] = [
        (_cut(reason), str(len(ids)), _name(ids)) for reason, ids in ordered[:_MAX_REASONS]
    ]
    more = len(ordered) - len(rows)
    return joined(
        wide_table(("Reason", "Trials", "Which"), rows, class_="reasons"),
        tag("p", f"… and {count_noun(more, 'other reason')}.", class_="quiet") if more else None,
    )


def _pruned(source: ReportSource) -> Html | None:
    ids = [one.trial_id for one in source.results.trials if one.state is TrialState.PRUNED]
    if not ids:
        return None
    return tag(
        "p",
        f"{count_noun(len(ids), 'trial')} stopped early by the scheduler ({_name(ids)}). Such a "
        "trial has a score, but wins only if every trial was stopped early.",
    )


def _frozen(source: ReportSource) -> Html | None:
    said = [
        (one.trial_id, words)
        for one in source.results.trials
        if one.state is not TrialState.ERROR and (words := describe_divergence(one)) is not None
    ]
    if not said:
        return None
    rows = [tag("li", f"{trial_id}: {_cut(words)}") for trial_id, words in said[:_MAX_NAMED]]
    more = len(said) - len(rows)
    return joined(
        tag("p", "Replicas that diverged are frozen and count as the run's worst:"),
        tag("ul", *rows, tag("li", f"… and {more} more") if more else None),
    )


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_REASON else f"{text[: _MAX_REASON - 1]}…"


def _name(ids: list[str]) -> str:
    more = len(ids) - _MAX_NAMED
    return ", ".join(ids[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
