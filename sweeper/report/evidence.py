"""What a report says of the evidence: finalists and baseline, and the agent apart from them."""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.evidence.failed_runs import describe_reason
from sweeper.evidence.figures import describe_solved, name_measure, percent
from sweeper.evidence.record import ChosenAgent, ConfirmedOn, Selection
from sweeper.evidence.samples import Evidence
from sweeper.evidence.statistics import summarise_sample
from sweeper.evidence.verdict import Verdict
from sweeper.formatting import count_noun, describe_state, format_number
from sweeper.hints import join_words
from sweeper.markup import Child, Html, joined, tag
from sweeper.report.configuration import as_yaml
from sweeper.report.elements import pairs, wide_table
from sweeper.report.numbers import number, spread, to_interval
from sweeper.report.source import ReportSource

__all__ = ["show_evidence"]

_TOP = 5
_BASELINE = "baseline"


def show_evidence(source: ReportSource) -> Html:
    """The numbers behind the verdict."""
    selection = source.selection
    if selection is None:
        return tag("p", source.failure or "No trial has a score.")
    verdict, made = selection.verdict, selection.confirmed_on
    if verdict is None or made is None:
        return joined(_unconfirmed(source, selection), _best_of_search(selection))
    return joined(
        _explain(selection, made),
        _samples(selection, verdict),
        pairs(*_outcome(selection, verdict)),
        _agent(selection),
        _baseline(made),
        _best_of_search(selection),
    )


def _unconfirmed(source: ReportSource, selection: Selection) -> Html:
    score = joined(number(selection.score), spread(selection.deviation, selection.replicas))
    command = tag("code", f"sweeper confirm {source.reference}")
    how: tuple[Child, ...] = (command, " trains the best trials and a baseline on fresh seeds.")
    if source.is_tune:
        how = ("Only a run of sweeper can be confirmed by it.",)
    return joined(
        tag("p", "There is no confirmation: nothing was trained again to see what holds. ", *how),
        pairs((f"Search score of {selection.trial_id}", score), ("Chosen as", selection.rule)),
    )


def _explain(selection: Selection, made: ConfirmedOn) -> Html:
    trained = count_noun(len(made.finalists), "finalist")
    against = "" if made.baseline is None else f" and the baseline ({made.baseline})"
    measure = name_measure(selection.metric)
    at_once = " The finalists' intervals hold all at once." if len(made.finalists) > 1 else ""
    return tag(
        "p",
        f"{trained}{against} were trained again from scratch on up to "
        f"{count_noun(len(made.seeds), 'seed')} that the search never used. Each value is the "
        f"{measure} of one training run over {count_noun(made.episodes, 'episode')}; the unit of "
        f"every interval is the training run.{at_once}",
    )


def _samples(selection: Selection, verdict: Verdict) -> Html:
    others = [name for name in verdict.evidence if name not in (selection.trial_id, _BASELINE)]
    others.sort(key=lambda name: _order(verdict.evidence[name], selection.mode))
    names = [selection.trial_id, *others, _BASELINE]
    shown = [verdict.evidence[name] for name in names if name in verdict.evidence]
    interval = next((one.interval for one in shown if one.interval is not None), None)
    level = "" if interval is None else f"{percent(interval.level)} % "
    has_solved = any(one.solved is not None for one in shown)
    head: tuple[Child, ...] = (
        "", "Mean", f"{level}interval of the mean", "One more run", "IQM", "Deviation", "Runs",
        *(["Solved"] if has_solved else []), "Search score",
    )  # fmt: skip
    rows = [_row(one, selection, has_solved=has_solved) for one in shown]
    runs = [(one.name, _runs(one)) for one in shown]
    return joined(
        wide_table(head, rows, class_="numbers"),
        tag("h3", "Every run"),
        pairs(*runs, is_narrow=True),
        *_reasons(shown),
    )


def _order(evidence: Evidence, mode: str) -> tuple[bool, float]:
    mean = evidence.mean
    return mean is None, 0.0 if mean is None else (-mean if mode == "max" else mean)


def _row(evidence: Evidence, selection: Selection, *, has_solved: bool) -> tuple[Child, ...]:
    name: Child = evidence.name
    if evidence.name == selection.trial_id:
        name = joined(evidence.name, " ", tag("span", "champion", class_="mark"))
    solved = evidence.solved
    share = None if solved is None else f"{solved.number} of {solved.runs}"
    failed = len(evidence.runs) - len(evidence.finished)
    counts = [f"{failed} failed"] * bool(failed)
    counts += [f"{evidence.diverged} diverged"] * bool(evidence.diverged)
    runs = f"{len(evidence.finished)}" + (f" ({', '.join(counts)})" if counts else "")
    return (
        name,
        number(evidence.mean),
        to_interval(evidence.interval),
        to_interval(evidence.prediction),
        number(evidence.iqm),
        number(evidence.deviation),
        runs,
        *([number(None) if share is None else share] if has_solved else []),
        number(evidence.search_score),
    )


def _runs(evidence: Evidence) -> Html:
    """Every run's value, in the order of the seeds."""
    values: list[Child] = []
    for place, value in enumerate(evidence.runs):
        shown: Child = "failed" if value is None else number(value)
        if place in evidence.diverged_runs:
            shown = joined(shown, " (diverged, counts as the worst)")
        values += [shown, ", "]
    solved = None if evidence.solved is None else f"; {describe_solved(evidence.solved)}"
    return joined(*values[:-1], tag("span", solved, class_="quiet") if solved else None)


def _reasons(shown: list[Evidence]) -> Iterator[Html]:
    """Why a number is missing or weaker than the others, each reason once."""
    found: dict[str, list[str]] = {}
    for one in shown:
        for reason in (
            f"no interval: {one.interval_reason}" if one.interval is None else None,
            f"one more run: {one.prediction_reason}" if one.prediction_reason else None,
            f"failed{describe_reason(one)}" if one.failure else None,
        ):
            if reason is not None:
                found.setdefault(reason, []).append(one.name)
    for reason, names in found.items():
        yield tag("p", f"{join_words(names, 'and')}: {reason}.", class_="quiet")


def _outcome(selection: Selection, verdict: Verdict) -> Iterator[tuple[Child, Child]]:
    yield "Chosen as", selection.rule
    if verdict.probability_of_improvement is not None:
        interval = verdict.probability_interval
        level = "" if interval is None else f" ({percent(interval.level)} %)"
        ends = None if interval is None else joined("; ", to_interval(interval), level)
        share = joined(number(verdict.probability_of_improvement), ends)
        yield "Chance that a run of the champion beats one of the baseline", share
    if verdict.shrinkage is not None:
        yield "Shrinkage (search score minus confirmed mean)", number(verdict.shrinkage)
    tied = join_words(list(selection.tied), "and") if selection.tied else "nobody"
    yield "Can't be told from the champion", tied
    if selection.tied:
        yield "Cheapest of these", verdict.cheapest
        yield "Steadiest of these", verdict.steadiest
    if verdict.more_seeds is not None:
        yield "More runs of each that would settle it, about", number(verdict.more_seeds)
    if selection.search_choice not in (None, selection.trial_id):
        yield "The search alone would have chosen", selection.search_choice


def _agent(selection: Selection) -> Html | None:
    agent = selection.agent
    if agent is None:
        return None
    return joined(
        tag("h3", "The saved agent"),
        tag(
            "p",
            f"It is one of {selection.trial_id}'s runs, the best by the episodes above: seed "
            f"{agent.seed} of {agent.trial_id}. Its own number is not the configuration's; a new "
            "training run should be expected to come to less.",
        ),
        pairs(*_agent_rows(agent)),
    )


def _agent_rows(agent: ChosenAgent) -> Iterator[tuple[Child, Child]]:
    yield "Chosen by", joined(number(agent.chosen_by), tag("span", " (flattering)", class_="quiet"))
    if agent.value is None:
        yield "On fresh episodes", "not played"
        return
    episodes = count_noun(len(agent.returns), "episode")
    yield "On fresh episodes", joined(number(agent.value), f" over {episodes}")
    if agent.returns:
        found = summarise_sample(agent.returns)
        ends: Child = found.interval_reason
        if found.interval is not None:
            low, high = found.interval
            ends = joined(number(low), " to ", number(high))
        yield "95 % interval over its episodes", ends
        yield "IQM of its episodes", number(found.iqm)


def _baseline(made: ConfirmedOn) -> Html | None:
    if made.baseline_configuration is None:
        return None
    text = as_yaml(made.baseline_configuration)
    return tag(
        "details",
        tag("summary", f"The baseline's hyperparameters ({made.baseline})"),
        tag("pre", tag("code", text), tabindex="0"),
    )


def _best_of_search(selection: Selection) -> Html | None:
    if len(selection.judged) < 2:
        return None
    rows: list[tuple[Child, ...]] = [
        (
            one.trial_id,
            joined(number(one.score), spread(one.deviation, one.replicas)),
            describe_state(one.state),
            format_number(one.env_steps),
            joined(
                *(
                    tag("span", word, class_="mark")
                    for word, is_so in (
                        ("champion", one.trial_id == selection.trial_id),
                        ("finalist", one.is_finalist),
                        ("tied", one.is_tied),
                    )
                    if is_so
                )
            ),
        )
        for one in selection.judged[:_TOP]
    ]
    head = ("", "Search score", "State", "Env steps", "")
    return joined(tag("h3", "The search's best"), wide_table(head, rows, class_="numbers"))
