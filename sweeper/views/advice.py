"""Advice on a sweep, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from sweeper.evidence.advice.finding import Advice
from sweeper.opened_run import Run
from sweeper.views.console import make_console, print_text

__all__ = ["advice_rows", "print_advice"]

_MAX_WIDTH = 100  # longer lines of words are hard to read


def print_advice(advice: Advice) -> None:
    """Print every piece of advice, then why there is none on the other questions."""
    console = make_console()
    width = min(console.width, _MAX_WIDTH)
    if not advice.given:
        print_text(console, "The data bear no advice.")
    for finding in advice.given:
        print_text(console, textwrap.fill(finding.text, width, subsequent_indent="  "))
    if advice.silent:
        console.print()
    for finding in advice.silent:
        text = f"no advice on {finding.about}: {finding.text}"
        print_text(console, textwrap.fill(text, width, subsequent_indent="  "), style="dim")


def advice_rows(opened: Run, width: int) -> Iterator[tuple[str, str]]:
    """The two most useful sentences as rows of a table, folded; none while the run goes on."""
    if opened.results.is_live:
        return
    heading = "advice"
    for text in opened.advise(is_brief=True).most_useful():
        for line in textwrap.wrap(text, max(20, width)):
            yield heading, line
            heading = ""
