"""Statistics of training runs: pure functions of numbers, seeded where they draw."""

from __future__ import annotations

from sweeper.evidence.statistics.comparison import (
    Moments,
    more_runs_to_tell,
    probability_interval,
    probability_of_improvement,
    welch_p_value,
    welch_p_values,
)
from sweeper.evidence.statistics.curves import Curve, area_under_curve, steps_to_threshold
from sweeper.evidence.statistics.intervals import (
    Interval,
    clopper_pearson,
    explain_no_interval,
    is_far_from_normal,
    mean_interval,
    order_statistics_interval,
    prediction_interval,
    simultaneous_level,
)
from sweeper.evidence.statistics.limits import Limits, find_limits
from sweeper.evidence.statistics.summary import Summary, interquartile_mean, summarise_sample
from sweeper.evidence.statistics.tasks import (
    bootstrap_interval,
    performance_profile,
    run_means,
)
from sweeper.evidence.statistics.two_groups import (
    TwoGroups,
    find_two_groups,
    two_group_interval,
)

__all__ = [
    "Curve",
    "Interval",
    "Limits",
    "Moments",
    "Summary",
    "TwoGroups",
    "area_under_curve",
    "bootstrap_interval",
    "clopper_pearson",
    "explain_no_interval",
    "find_limits",
    "find_two_groups",
    "interquartile_mean",
    "is_far_from_normal",
    "mean_interval",
    "more_runs_to_tell",
    "order_statistics_interval",
    "performance_profile",
    "prediction_interval",
    "probability_interval",
    "probability_of_improvement",
    "run_means",
    "simultaneous_level",
    "steps_to_threshold",
    "summarise_sample",
    "two_group_interval",
    "welch_p_value",
    "welch_p_values",
]
