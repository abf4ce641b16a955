"""The runs of a storage as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.paths import DEFAULT_STORAGE
from sweeper.upkeep.overview import RunOverview, describe_runs

if TYPE_CHECKING:
    import pandas

__all__ = ["list_runs"]

_COLUMNS = [
    *("run", "state", "trials", "done", "failed", "best", "metric", "score", "deviation"),
    *("confirmed", "verdict", "started", "updated", "problem"),
]


def list_runs(storage: str | Path = DEFAULT_STORAGE) -> pandas.DataFrame:
    """One row per run, oldest first, as ``sweeper list`` shows them.

    - ``run`` (text): the folder's name, which `open_run` takes; ``state`` (text), ``damaged`` for
      one that can't be read, with ``problem`` (text) saying why;
    - ``trials``, ``done``, ``failed`` (int64): planned, ended well, and in error;
    - ``best`` (text), ``metric`` (text), ``score`` and ``deviation`` (float64): of the search;
    - ``confirmed`` (float64): the mean of its new runs; ``verdict`` (text);
    - ``started``, ``updated`` (datetime64, UTC): of the first and the last event.
    """
    import pandas as pd

    frame = pd.DataFrame([_row(one) for one in describe_runs(Path(storage))], columns=_COLUMNS)
    for name in ("score", "deviation", "confirmed"):
        frame[name] = frame[name].astype("float64")
    for name in ("started", "updated"):
        frame[name] = pd.to_datetime(frame[name].astype("float64"), unit="s", utc=True)
    return frame


def _row(one: RunOverview) -> dict[str, object]:
    states = {str(state): number for state, number in one.states.items()}
    return {
        "run": one.run.name,
        "state": one.state,
        "trials": one.trials,
        "done": states.get("TERMINATED", 0),
        "failed": states.get("ERROR", 0),
        "best": one.best,
        "metric": one.metric,
        "score": one.score,
        "deviation": one.deviation,
        "confirmed": one.confirmed,
        "verdict": one.verdict,
        "started": one.started,
        "updated": one.updated,
        "problem": one.problem,
    }
