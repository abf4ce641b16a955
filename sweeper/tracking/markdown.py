"""Pieces of the Markdown that MLflow shows as descriptions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["as_code", "fenced", "table"]

# MLflow's tables have no space between their columns.
_GAP = "&nbsp;&nbsp;"


def as_code(text: str) -> str:
    """Foreign text in one line, as code, whatever it holds; also for a table."""
    plain = " ".join(str(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`" if plain else ""


def fenced(text: str) -> list[str]:
    """Foreign text as a block of code."""
    return ["```", *text.replace("```", "'''").splitlines(), "```"]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table's lines; the cells are Markdown, such as `as_code` makes."""
    lines = [_row(heads), f"|{':--|' * len(heads)}"]
    return lines + [_row(row) for row in rows]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(f'{one}{_GAP}' if one else '' for one in cells)} |"
