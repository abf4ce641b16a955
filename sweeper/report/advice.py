"""What a report suggests for the next sweep."""

from __future__ import annotations

from sweeper.evidence.advice.report import advise
from sweeper.markup import Html, joined, tag
from sweeper.report.source import ReportSource

__all__ = ["show_advice"]


def show_advice(source: ReportSource) -> Html:
    """The findings in sentences, and why there is nothing to say of the rest."""
    found = advise(source.results, source.objective, source.param_space)
    given = [
        tag("li", tag("strong", f"{one.about.capitalize()}. "), one.text) for one in found.given
    ]
    silent = [tag("li", tag("strong", f"{one.about}: "), one.text) for one in found.silent]
    return joined(
        tag("ul", *given) if given else tag("p", "The data bear no advice."),
        tag(
            "details",
            tag("summary", "Of what nothing can be said, and why"),
            tag("ul", *silent),
        )
        if silent
        else None,
    )
