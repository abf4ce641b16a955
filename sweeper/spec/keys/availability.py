"""What the design has and this version lacks: the one place to switch a part on.

A spec that asks for one of these gets a line that says so, beside its other problems.
"""

from __future__ import annotations

from sweeper.schedulers import registry as schedulers
from sweeper.search import registry as search

__all__ = ["ALGORITHMS_LATER", "SCHEDULERS", "SEARCH_ALGORITHMS"]

SEARCH_ALGORITHMS = frozenset(search.SEARCH_ALGORITHMS)
SCHEDULERS = frozenset(schedulers.SCHEDULERS)
ALGORITHMS_LATER = frozenset({"DreamerV3", "TQC"})
