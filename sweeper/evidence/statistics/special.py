"""scipy.special, imported when it is first needed.

That takes a quarter of a second, and most runs are opened and listed without a statistic of theirs.
"""

from __future__ import annotations

from typing import Any

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    from scipy import special

    return getattr(special, name)
