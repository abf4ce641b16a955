"""Whether the budget of a trial cut learning off while its curves still rose.

The trials with the best last values would seem to rise even if nothing did: they are the ones whose
last value was lucky. So the best are chosen by where they stood at three quarters of the env
steps, and what they gained afterwards is looked at, run by run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from sweeper.episode_metrics import find_mode
from sweeper.evidence.advice.finding import LEVEL, Finding
from sweeper.evidence.statistics import mean_interval
from sweeper.formatting import count_noun, format_number
from sweeper.metrics import BOUNDS, Objective
from sweeper.results.records import TrialRecord
from sweeper.results.scoring import LARGEST_COMPARED, env_steps_of, is_point

__all__ = ["advise_on_length"]

_BEST_SHARE, _MAX_BEST = 0.25, 8
_MIN_RUNS = 4
# Where the env steps are compared: around three quarters, and at the end.
_BEFORE, _END = (0.65, 0.8), (0.9, 1.0)
_NOTABLE = 0.05  # of what was learned in all
_TRAINING = "episode_return_mean"


def advise_on_length(trials: Sequence[TrialRecord], objective: Objective) -> Finding:
    """Whether the best trials still improved when their env steps, or time, ran out.

    Args:
        trials: of the search.
        objective: by which they are judged.
    """
    about = "length"
    cut = [one for one in trials if (one.reason or "").split(" ")[0] in BOUNDS]
    if not cut:
        return Finding(about, False, "No trial was ended by its env steps or its time.")
    for metric in dict.fromkeys((objective.metric, _TRAINING)):
        mode = find_mode(metric, objective)
        sign = 1.0 if mode == "max" else -1.0
        curves = [curve for one in cut if (curve := _read(one, metric, sign)) is not None]
        if curves:
            break
    else:
        return Finding(about, False, "No trial has a curve of each of its runs, long enough.")
    curves.sort(key=lambda curve: -float(curve[1].mean()))
    best = curves[: min(_MAX_BEST, max(1, math.ceil(_BEST_SHARE * len(curves))))]
    gains = np.concatenate([end - before for _, before, end in best])
    if len(gains) < _MIN_RUNS:
        return Finding(
            about, False, f"{count_noun(len(gains), 'run')} can't say whether they still rose."
        )
    learned = float(np.mean([end.mean() - first.mean() for first, _, end in best]))
    interval = mean_interval(list(gains), 1 - 2 * LEVEL)
    gain = float(gains.mean())
    low, high = (-math.inf, math.inf) if interval is None else (interval.low, interval.high)
    many = f"the {len(best)} best trials" if len(best) > 1 else "the best trial"
    if learned > 0 and low > 0 and gain >= _NOTABLE * learned:
        is_rising = True
        verb = "rose" if mode == "max" else "fell"
        text = (
            f"Learning was cut off: in the last quarter of its env steps {metric} of {many} still "
            f"{verb} by {format_number(gain)} a run ({format_number(low)} to {format_number(high)} "
            f"over {len(gains)} runs), {100 * gain / learned:.0f} % of all it learned. Give trials "
            f"a longer stop than {cut[0].reason}."
        )
    else:
        is_rising = False
        rate = f"in each of {len(gains)} runs"
        if interval is not None:
            ends = f"{format_number(low)} to {format_number(high)}"
            rate = f"a run ({ends} over {len(gains)} runs)"
        text = (
            f"In the last quarter of its env steps {metric} of {many} did not improve notably: by "
            f"{format_number(gain)} {rate}."
        )
    numbers = {
        "metric": metric,
        "trials": len(best),
        "runs": len(gains),
        "gain": sign * gain,
        "interval": None if interval is None else sorted((sign * low, sign * high)),
        "level": 1 - 2 * LEVEL,
        "learned": sign * learned,
    }
    return Finding(about, is_rising, text, numbers)


Curve = tuple[np.ndarray, np.ndarray, np.ndarray]


def _read(record: TrialRecord, metric: str, sign: float) -> Curve | None:
    """Of every run its first value, the one at three quarters and the last, float64[runs] each.

    More is better. None if the trial has no values there, or one of them can't be compared.
    """
    rows = [(steps, row) for row in record.reports if (steps := env_steps_of(row))]
    name = f"replica/{metric}"
    points: list[tuple[float, Mapping[str, float]]] = [
        (steps / rows[-1][0], row[name])
        for steps, row in rows
        if isinstance(row.get(name), list) and is_point(row, metric)
    ]
    if any(row.get("replica/diverged") and any(row["replica/diverged"]) for _, row in rows[-1:]):
        return None
    before = [values for share, values in points if _BEFORE[0] <= share <= _BEFORE[1]]
    end = [values for share, values in points if _END[0] < share <= _END[1]]
    if not before or not end or len({len(values) for _, values in points}) != 1:
        return None
    table = [np.array(part, dtype=np.float64) for part in ([points[0][1]], before, end)]
    if not all((np.abs(part) <= LARGEST_COMPARED).all() for part in table):  # NaN is not
        return None
    first, middle, last = (sign * part.mean(axis=0) for part in table)
    return first, middle, last
