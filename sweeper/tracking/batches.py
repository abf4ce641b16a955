"""Send MLflow what a run of the record lacks."""

from __future__ import annotations

from typing import Any

from sweeper.tracking.curves import is_decisive
from sweeper.tracking.mirror import RunMirror

__all__ = ["write_missing"]

_AT_ONCE = 800  # MLflow splits what has more than a thousand parts


def write_missing(client: Any, mirror: RunMirror) -> None:
    """Write a run's metrics, parameters and tags, and its status last.

    Args:
        client: MLflow's.
        mirror: of a run that is there.
    """
    from mlflow.entities import Metric, Param, RunTag

    # MLflow's pages list what was logged first.
    missing = sorted(mirror.missing_metrics(), key=lambda metric: not is_decisive(metric[0]))
    metrics = [Metric(*metric) for metric in missing]
    tags = mirror.changed_tags()
    if tags or mirror.new_params or metrics:
        if len(metrics) + len(tags) + len(mirror.new_params) > _AT_ONCE:
            # The first of several requests would have the tags, with the count of written events.
            # So write the metrics before.
            client.log_batch(mirror.run_id, metrics)
            metrics = []
        client.log_batch(
            mirror.run_id,
            metrics=metrics,
            params=[Param(name, value) for name, value in mirror.new_params.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        mirror.tags.update(tags)
    mirror.note_written()
    if mirror.wanted and mirror.wanted != mirror.status:
        if mirror.wanted == "RUNNING":
            client.update_run(mirror.run_id, status="RUNNING")
        else:
            client.set_terminated(mirror.run_id, status=mirror.wanted, end_time=mirror.end_ms)
        mirror.status = mirror.wanted
