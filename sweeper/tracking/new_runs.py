"""The tags with which a sweep's run, a trial's, and the confirmation's begin."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sweeper.tracking.description import SweepDescription
from sweeper.tracking.existing import GROUP, GROUP_TAG, PARENT
from sweeper.tracking.mirror import EVENTS_TAG, LAST_TAG, NOTE_TAG, RunMirror

__all__ = ["first_tags"]


def first_tags(
    key: str, mirror: RunMirror, sweep: SweepDescription, find_id: Callable[[str], str]
) -> Mapping[str, str]:
    """The tags that a run gets when it is created.

    Args:
        key: of the run: a trial's id, `PARENT` or `GROUP`.
        mirror: the run's.
        sweep: that it is of.
        find_id: MLflow's id of another run by its key; makes it if there is none.
    """
    tags = {**sweep.tags, **sweep.creator}
    if key == PARENT:
        tags |= {"sweeper.kind": "sweep", **sweep.parent_tags, NOTE_TAG: sweep.headline}
    elif key == GROUP:
        tags |= {"sweeper.kind": "confirmation", GROUP_TAG: GROUP}
        tags["mlflow.parentRunId"] = find_id(PARENT)
        tags[NOTE_TAG] = "Finalists and baseline, trained again on seeds of their own."
    else:
        tags |= {"sweeper.kind": "trial", "sweeper.trial": key}
        tags["mlflow.parentRunId"] = find_id(GROUP if mirror.is_confirmation else PARENT)
    # Not the count of written events: that comes with the events.
    counts = (EVENTS_TAG, LAST_TAG)
    return tags | {name: text for name, text in mirror.new_tags.items() if name not in counts}
