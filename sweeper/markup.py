"""HTML, built so that no text from elsewhere can become part of its structure.

Names, errors and parameters of a run may come from anybody. Here a plain text is always escaped;
only what these functions made themselves is not.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweeper.printable import printable
from sweeper.veil import hide_passwords

__all__ = ["Child", "Html", "joined", "table", "tag"]

_VOID = frozenset({"br", "col", "hr", "input", "meta"})


@dataclass(frozen=True)
class Html:
    """A piece of a page, whole and escaped.

    Attributes:
        text: as it stands in the file.
    """

    text: str

    def __bool__(self) -> bool:
        return bool(self.text)


Child = Html | str | None
"""What a tag may hold: other pieces as they are, a text escaped, None not at all."""


def tag(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Html:
    """An element.

    Args:
        name: of the element.
        children: what it holds.
        attributes: by name, ``class_`` for ``class`` and ``data_value`` for ``data-value``. True
            stands alone, False and None are left out.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        words.append(attribute if value is True else f'{attribute}="{_escape(str(value))}"')
    opening = f"<{' '.join(words)}>"
    if name in _VOID:
        return Html(opening)
    return Html(f"{opening}{joined(*children).text}</{name}>")


def joined(*children: Child) -> Html:
    """Pieces one after the other."""
    return Html("".join(_text_of(child) for child in children if child is not None))


def table(head: Sequence[Child], rows: Iterable[Sequence[Child]], **attributes: str | None) -> Html:
    """A table; the first column names its row.

    Args:
        head: a cell per column.
        rows: of as many cells.
        attributes: of the table, as in `tag`.
    """
    heads = tag("tr", *(tag("th", cell, scope="col") for cell in head))
    body = [
        tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in cells))
        for first, *cells in rows
    ]
    return tag("table", tag("thead", heads), tag("tbody", *body), **attributes)


def _text_of(child: Html | str) -> str:
    return child.text if isinstance(child, Html) else _escape(child)


def _escape(text: str) -> str:
    return html.escape(printable(hide_passwords(text)))
