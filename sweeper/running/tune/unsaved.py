"""Keeps our parts of Tune out of the snapshots that Tune writes for its own restore."""

from __future__ import annotations

from typing import Any

__all__ = ["Unsaved"]


class Unsaved:
    """A part of Tune, which Tune pickles into a file that nothing of ours reads."""

    def __getstate__(self) -> dict[str, Any]:
        return {}
