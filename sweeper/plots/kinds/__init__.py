"""The kinds of plots: one file each, from a run's data to a `Chart`."""

from sweeper.plots.kinds import (
    aggregate_curves,
    contours,
    finalists,
    importances,
    learning_curves,
    lineage,
    optimisation_history,
    parallel_coordinates,
    performance_profile,
    replica_spread,
    rungs,
    shrinkage,
    slices,
    timeline,
)

__all__ = [
    "aggregate_curves",
    "contours",
    "finalists",
    "importances",
    "learning_curves",
    "lineage",
    "optimisation_history",
    "parallel_coordinates",
    "performance_profile",
    "replica_spread",
    "rungs",
    "shrinkage",
    "slices",
    "timeline",
]
