"""What the sections of a report are made of: lists of pairs, wide tables, scripts."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from sweeper.markup import Child, Html, table, tag

__all__ = ["pairs", "raw_script", "wide_table"]


def pairs(*rows: tuple[Child, Child], is_narrow: bool = False) -> Html:
    """Names and their values, a row each; those without a value are left out.

    Args:
        rows: in their order.
        is_narrow: below each other even where the page has room for two columns.
    """
    kept = [(name, value) for name, value in rows if value is not None]
    if not kept:
        return Html("")
    return tag(
        "dl",
        *(tag("div", tag("dt", name), tag("dd", value)) for name, value in kept),
        class_="single" if is_narrow else None,
    )


def wide_table(
    head: Sequence[Child], rows: Iterable[Sequence[Child]], **attributes: str | None
) -> Html:
    """A table that scrolls by itself where the page is narrower."""
    return tag("div", table(head, rows, **attributes), class_="wide", tabindex="0")


def raw_script(text: str, **attributes: str) -> Html:
    """A script, or data for one, as it is.

    Raises:
        ValueError: the text would end the element.
    """
    lowered = text.lower()
    if "</script" in lowered or "<!--" in lowered:
        raise ValueError("a script holds the end of its element")
    words = "".join(f' {name}="{html.escape(value)}"' for name, value in attributes.items())
    return Html(f"<script{words}>{text}</script>")
