"""Find a sweep's experiment and runs in MLflow, whoever wrote them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sweeper.errors import UserError
from sweeper.tracking.mirror import EVENTS_TAG, LAST_TAG, RunMirror
from sweeper.tracking.naming import quote

__all__ = ["GROUP", "GROUP_TAG", "PARENT", "check_active", "find_experiment", "find_runs"]

PARENT = ""
GROUP = "confirmation"  # its trials' own parent; no trial has such an id
GROUP_TAG = "sweeper.group"


def find_experiment(client: Any, name: str, artifact_location: str | None) -> str:
    """The id of an experiment, which is made if it does not exist.

    Raises:
        UserError: it was deleted.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(
                client.create_experiment(
                    name,
                    artifact_location=artifact_location,
                    # By default the UI treats it as an experiment with language models.
                    tags={"mlflow.experimentKind": "custom_model_development"},
                )
            )
        except Exception as error:  # another process may have created it
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise error
    check_active(experiment)
    return str(experiment.experiment_id)


def check_active(experiment: Any) -> None:
    """Refuse an experiment that nothing can be written to.

    Raises:
        UserError: it was deleted.
    """
    if experiment.lifecycle_stage != "active":
        raise UserError(
            f"the experiment {experiment.name!r} was deleted: restore it with `mlflow experiments "
            f"restore --experiment-id {experiment.experiment_id}`, or name another in "
            "tracking.experiment"
        )


def find_runs(
    client: Any,
    experiment_id: str,
    run_name: str,
    make: Callable[[str], RunMirror],
    key: str | None = None,
) -> dict[str, RunMirror]:
    """The runs of a sweep by trial id; `PARENT` is its own run's, `GROUP` the confirmation's.

    Args:
        client: MLflow's.
        experiment_id: where to look.
        run_name: the sweep's.
        make: makes the mirror of a key.
        key: of a trial, to look for that one alone.
    """
    filters = [f"tags.`sweeper.run` = {quote(run_name)}"]
    if key:
        tag = GROUP_TAG if key == GROUP else "sweeper.trial"
        filters.append(f"tags.`{tag}` = {quote(key)}")
    found: dict[str, RunMirror] = {}
    token = None
    while True:
        page = client.search_runs(
            [experiment_id],
            filter_string=" and ".join(filters),
            max_results=1000,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        for run in page:
            tags = dict(run.data.tags)
            name = str(tags.get("sweeper.trial") or tags.get(GROUP_TAG) or PARENT)
            mirror = found[name] = make(name)
            mirror.run_id, mirror.status, mirror.tags = run.info.run_id, run.info.status, tags
            mirror.written, mirror.last = int(tags.get(EVENTS_TAG, "0")), tags.get(LAST_TAG, "")
            mirror.present, mirror.start_ms = {}, run.info.start_time
        token = page.token
        if not token:
            return found
