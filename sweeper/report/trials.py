"""The table of trials in a report: all of them, to be sorted and filtered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweeper.formatting import (
    count_noun,
    describe_state,
    format_duration,
    format_number,
    format_value,
    last_line,
    short_names,
)
from sweeper.markup import Child, Html, joined, tag
from sweeper.report.numbers import MISSING, number, spread
from sweeper.report.source import ReportSource
from sweeper.results.ranking import rank_trial
from sweeper.results.records import TrialRecord, describe_error, describe_pruning, judge_trial
from sweeper.results.spread import spread_of
from sweeper.search.configuration import flatten_parameters
from sweeper.states import TrialState

__all__ = ["show_trials"]

_MAX_COLUMNS = 24
_MAX_TEXT = 60
_MAX_REASON = 200
_MAX_ROWS = 5000
_PRINTED = 100  # rows on paper; the style sheet hides the rest
_PRINTED_COLUMNS = 6  # of parameters; the same


def show_trials(source: ReportSource) -> Html:
    """A row per trial, the best first."""
    objective = source.objective
    records = sorted(source.results.trials, key=lambda one: rank_trial(one, objective))
    if not records:
        return tag("p", "The run has no trials yet.")
    left_out = records[_MAX_ROWS:]
    tied = frozenset(() if source.selection is None else source.selection.tied)
    flat = [flatten_parameters(one.parameters) for one in records]
    names = list(dict.fromkeys(name for parameters in flat for name in parameters))
    shown = names[:_MAX_COLUMNS]
    rows = [
        _row(place, record, parameters, shown, source, is_tied=record.trial_id in tied)
        for place, (record, parameters) in enumerate(
            zip(records[:_MAX_ROWS], flat, strict=False), start=1
        )
    ]
    heads = ["Trial", "State", "Score", *short_names(shown), "Env steps", "Time", "Reason"]
    full = ["", "", objective.metric, *shown, "per replica", "of training", ""]
    beyond = range(3 + _PRINTED_COLUMNS, 3 + len(shown))
    columns = enumerate(zip(heads, full, strict=True))
    head = tag("tr", *(_head(word, title, is_beyond=at in beyond) for at, (word, title) in columns))
    more = len(names) - len(shown)
    hidden = f" {count_noun(more, 'parameter')} more are in `sweeper results`." if more > 0 else ""
    if left_out:
        hidden += (
            f" The best {_MAX_ROWS:,} of {len(records):,} trials are shown; `sweeper results` has "
            "all."
        )
    return joined(
        _controls(records[:_MAX_ROWS]),
        tag(
            "div",
            tag(
                "table", tag("thead", head), tag("tbody", *rows), id="trials-table", class_="trials"
            ),
            class_="wide tall",
            tabindex="0",
        ),
        tag(
            "p",
            f"Score: {objective.score} {objective.metric} ({objective.mode}), ± the standard "
            f"deviation of the trial's replicas.{hidden}",
            class_="quiet",
        ),
        tag(
            "p",
            f"On paper: at most {_PRINTED} of {count_noun(len(rows), 'row')} and "
            f"{_PRINTED_COLUMNS} of {count_noun(len(names), 'parameter')}.",
            class_="quiet printed",
        )
        if len(records) > _PRINTED or len(names) > _PRINTED_COLUMNS
        else None,
    )


def _head(word: str, title: str, *, is_beyond: bool) -> Html:
    button = tag("button", word, type="button", title=title or None)
    return tag("th", button, scope="col", aria_sort="none", class_="beyond" if is_beyond else None)


def _controls(records: Sequence[TrialRecord]) -> Html:
    states = [state for state in TrialState if any(one.state is state for one in records)]
    options = [tag("option", f"{describe_state(one)}", value=describe_state(one)) for one in states]
    return tag(
        "div",
        tag(
            "label",
            "Filter ",
            tag(
                "input", type="search", id="filter", placeholder="lr>0.001 pruned …",
                autocomplete="off", spellcheck="false", aria_describedby="filter-help",
            ),
        ),
        tag("label", "State ", tag("select", tag("option", "all", value=""), *options, id="state")),
        tag("output", count_noun(len(records), "trial"), id="shown", aria_live="polite"),
        tag(
            "span",
            "Words that a row must have; a column with <, > or = and a number, as in score>100.",
            id="filter-help",
            class_="quiet",
        ),
        class_="controls",
        hidden=True,
    )  # fmt: skip


def _row(
    place: int,
    record: TrialRecord,
    parameters: Mapping[str, Any],
    names: Sequence[str],
    source: ReportSource,
    *,
    is_tied: bool,
) -> Html:
    selection = source.selection
    is_champion = selection is not None and record.trial_id == selection.trial_id
    state = describe_state(record.state)
    spent = record.time_total_s
    cells = [
        tag(
            "th",
            record.trial_id,
            *_marks(record, source, is_tied=is_tied),
            scope="row",
            data_value=place,
        ),
        tag("td", tag("span", state, class_=f"state {state}")),
        _score(record, source),
        *(
            _parameter(parameters, name, is_beyond=number >= _PRINTED_COLUMNS)
            for number, name in enumerate(names)
        ),
        _number(record.env_steps),
        tag(
            "td", MISSING if spent is None else format_duration(spent), data_value=_sortable(spent)
        ),
        _reason(record),
    ]
    return tag("tr", *cells, class_="champion" if is_champion else None, data_state=state)


def _marks(record: TrialRecord, source: ReportSource, *, is_tied: bool) -> Iterator[Child]:
    selection = source.selection
    if selection is None:
        return
    if record.trial_id == selection.trial_id:
        yield tag("span", " champion", class_="mark")
    finalists = () if selection.confirmed_on is None else selection.confirmed_on.finalists
    if record.trial_id in finalists and record.trial_id != selection.trial_id:
        yield tag("span", " finalist", class_="mark")
    if is_tied:
        yield tag("span", " tied", class_="mark")


def _score(record: TrialRecord, source: ReportSource) -> Html:
    value = judge_trial(record, source.objective).value
    found = spread_of(record, source.objective)
    beside = Html("") if found is None else spread(found.deviation, len(found.values))
    frozen = f" ({record.diverged} frozen)" if record.diverged else None
    return tag("td", number(value), beside, frozen, data_value=_sortable(value))


def _number(value: float | None) -> Html:
    words = MISSING if value is None else format_number(value)
    return tag("td", words, data_value=_sortable(value))


def _parameter(parameters: Mapping[str, Any], name: str, *, is_beyond: bool) -> Html:
    beyond = "beyond" if is_beyond else None
    if name not in parameters:
        return tag("td", MISSING, class_=beyond or "quiet", title="does not apply")
    value = parameters[name]
    text = format_value(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    short = text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"
    return tag(
        "td",
        short,
        class_=beyond,
        data_value=_sortable(value) if is_number else None,
        title=None if short == text and not is_number else str(value)[:_MAX_REASON],
    )


def _sortable(value: float | None) -> str | None:
    """A number as the script reads it; None where it can't be ordered among others."""
    if value is None or math.isnan(value):
        return None
    return repr(float(value)).replace("inf", "Infinity")


def _reason(record: TrialRecord) -> Html:
    text = describe_error(record) or describe_pruning(record) or record.reason or ""
    line = last_line(text)
    short = line if len(line) <= _MAX_TEXT else f"{line[: _MAX_TEXT - 1]}…"
    return tag("td", short, class_="reason", title=None if short == line else line[:_MAX_REASON])
