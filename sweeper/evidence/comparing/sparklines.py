"""Learning curves as lines of block letters, all on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.evidence.comparing.curves import MeanCurve

__all__ = ["BLOCKS", "PLAIN_BLOCKS", "Sparklines", "draw"]

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN_BLOCKS = "_.-:=+*#"
"""For a terminal whose encoding lacks the others."""


@dataclass(frozen=True)
class Sparklines:
    """Curves drawn on a common scale.

    Attributes:
        lines: one per curve, as wide as asked for; blank where a curve has no value.
        low: what the lowest letter stands for; None if no curve has a point.
        high: what the highest one stands for.
        env_steps: where the last letter ends; the first begins at 0.
    """

    lines: tuple[str, ...]
    low: float | None
    high: float | None
    env_steps: float


def draw(curves: Sequence[MeanCurve | None], width: int, blocks: str = BLOCKS) -> Sparklines:
    """Draw curves; a letter is the value at the end of its part of the env steps.

    Args:
        curves: None draws an empty line.
        width: letters of a line, at least 1.
        blocks: the letters, the lowest first.
    """
    known = [curve for curve in curves if curve is not None]
    end = max((curve.env_steps[-1] for curve in known), default=0.0)
    cells = [[None] * width if one is None else _sample(one, end, width) for one in curves]
    values = [value for row in cells for value in row if value is not None]
    low, high = min(values, default=None), max(values, default=None)

    def letter(value: float | None) -> str:
        if value is None or low is None or high is None:
            return " "
        if high == low:
            return blocks[len(blocks) // 2]
        share = (value - low) / (high - low)
        return blocks[min(int(share * len(blocks)), len(blocks) - 1)]

    return Sparklines(tuple("".join(map(letter, row)) for row in cells), low, high, end)


def _sample(curve: MeanCurve, end: float, width: int) -> list[float | None]:
    """The value at the end of each of ``width`` equal parts, or at the curve's own end before."""
    last, row = curve.env_steps[-1], []
    for place in range(width):
        left, right = end * place / width, end * (place + 1) / width
        row.append(curve.at(min(right, last)) if last > left else None)
    return row
