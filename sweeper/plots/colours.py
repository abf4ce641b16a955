"""Colours and symbols that colour-blind readers can tell apart, on light and dark pages.

The palette is Okabe and Ito's (2008) without its yellow and its black, which vanish on a white or
a dark page. Where it has run out, lines are dashed. Scales are cividis (Nuñez et al. 2018), the
same for all kinds of colour vision and in grey, without its darkest and its brightest part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.states import TrialState

__all__ = [
    "BEST",
    "CIVIDIS",
    "MUTED",
    "PALETTE",
    "STATE_LOOKS",
    "Look",
    "colour_on_scale",
    "series_style",
]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MUTED = "#8a8a8a"  # what stands behind, and what is neither good nor bad
BEST = "#009E73"
_DASHES = ("solid", "dash", "dot")

CIVIDIS = (
    *("#123570", "#3b496c", "#575d6d", "#707173"),
    *("#8a8678", "#a59c74", "#c3b369", "#e1cc55"),
)


@dataclass(frozen=True)
class Look:
    """How a state of a trial is drawn.

    Attributes:
        word: for the legend.
        colour: as ``#rrggbb``.
        symbol: as in `Points`.
        is_open: whether only the outline is drawn.
        pattern: as in `Spans`.
    """

    word: str
    colour: str
    symbol: str
    is_open: bool = False
    pattern: str = ""


STATE_LOOKS: Mapping[TrialState, Look] = {
    TrialState.TERMINATED: Look("finished", "#0072B2", "circle"),
    TrialState.PRUNED: Look("pruned", "#E69F00", "triangle", True, "/"),
    TrialState.ERROR: Look("failed", "#D55E00", "cross", False, "x"),
    TrialState.RUNNING: Look("running", "#009E73", "diamond", True),
    TrialState.PAUSED: Look("paused", "#CC79A7", "square", True, "/"),
    TrialState.PENDING: Look("waiting", "#8a8a8a", "bar"),
}


def series_style(number: int) -> tuple[str, str]:
    """Colour and dash of a series, by its number from 0; 18 differ."""
    return PALETTE[number % len(PALETTE)], _DASHES[number // len(PALETTE) % len(_DASHES)]


def colour_on_scale(share: float) -> str:
    """The colour of cividis at a place from 0 to 1."""
    place = min(max(share, 0.0), 1.0) * (len(CIVIDIS) - 1)
    low = min(int(place), len(CIVIDIS) - 2)
    ends = [
        [int(CIVIDIS[index][start : start + 2], 16) for start in (1, 3, 5)]
        for index in (low, low + 1)
    ]
    mixed = [round(a + (b - a) * (place - low)) for a, b in zip(*ends, strict=True)]
    return "#" + "".join(f"{one:02x}" for one in mixed)
