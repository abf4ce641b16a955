"""What an MLflow run has already, where its count of the journal's events can't be relied on.

After a power loss, or when an older copy of the journal or of the database was put back, MLflow
may have more than the journal says, or other things.
"""

from __future__ import annotations

from typing import Any

from sweeper.tracking.mirror import RunMirror

__all__ = ["look_up", "set_aside_foreign"]


def look_up(client: Any, mirror: RunMirror) -> None:
    """Find out which steps the pending metrics have in MLflow; each metric is asked for once."""
    if mirror.run_id is None:
        return
    present = {} if mirror.present is None else mirror.present
    for name in mirror.pending_names - present.keys():
        history = client.get_metric_history(mirror.run_id, name)
        history = sorted(history, key=lambda metric: metric.timestamp)
        present[name] = {one.step: (one.value, one.timestamp) for one in history}
    mirror.present = present


def set_aside_foreign(client: Any, mirror: RunMirror, run_name: str) -> None:
    """Let a run make way whose params are not those of the trial, as params can't be changed.

    It is of a trial that the journal has lost, and whose id was given again.
    """
    if not mirror.new_params:
        return
    params = client.get_run(mirror.run_id).data.params
    if all(params.get(name, text) == text for name, text in mirror.new_params.items()):
        return
    client.set_tag(mirror.run_id, "sweeper.run", f"{run_name} (not in the journal)")
    if mirror.status == "RUNNING":
        client.set_terminated(mirror.run_id, status="KILLED")
    mirror.run_id, mirror.status, mirror.tags, mirror.present = None, None, {}, None
