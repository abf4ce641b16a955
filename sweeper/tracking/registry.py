"""Register the champion's model, and decide whether it takes the alias ``champion``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sweeper.evidence.comparing.improvement import share_interval
from sweeper.evidence.statistics import probability_of_improvement
from sweeper.tracking.model_card import EVIDENCE_TAG

__all__ = ["MODEL_TAG", "RUN_TAG", "is_better", "register"]

MODEL_TAG = "sweeper.model"
RUN_TAG = "sweeper.run"
_CHAMPION, _CHALLENGER = "champion", "challenger"


def register(
    client: Any, name: str, model: Any, run_id: str, *, tags: Mapping[str, str], card: str
) -> None:
    """Register a version of a model, once, and give it an alias.

    The first version becomes the champion. A later one does if it is better on the same
    evaluation, or is a newer choice of the sweep that the champion is of; else it is the
    challenger.

    Args:
        client: MLflow's.
        name: in the registry; created if it does not exist.
        model: the logged model.
        run_id: of the sweep's run.
        tags: for the version; `EVIDENCE_TAG` and `RUN_TAG` among them.
        card: for the version, in Markdown.

    Raises:
        MlflowException: the registry refuses.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    found = client.search_model_versions(f"name = '{name}'")
    version = next((one for one in found if _is_of(client, one, model, run_id)), None)
    if version is None:
        version = client.create_model_version(
            name,
            # Not models:/…, which MLflow resolves with the process-wide URI.
            source=model.artifact_location,
            run_id=run_id,
            model_id=model.model_id,
            tags={MODEL_TAG: model.model_id, **tags},
            description=card,
            await_creation_for=0,
        )
    elif all(dict(version.tags).get(key) == text for key, text in tags.items()):
        return  # as it was: an alias may have been moved since, by its user
    else:
        for key, text in {MODEL_TAG: model.model_id, **tags}.items():
            client.set_model_version_tag(name, version.version, key, text)
        client.update_model_version(name, version.version, card)
    _link(client, name, version, model)
    aliases = client.get_registered_model(name).aliases
    holder = aliases.get(_CHAMPION)
    if holder is not None and str(holder) != str(version.version):
        before = dict(client.get_model_version(name, holder).tags)
        if not _succeeds(tags, before):
            client.set_registered_model_alias(name, _CHALLENGER, version.version)
            return
    client.set_registered_model_alias(name, _CHAMPION, version.version)
    if str(aliases.get(_CHALLENGER)) == str(version.version):
        client.delete_registered_model_alias(name, _CHALLENGER)


def _link(client: Any, name: str, version: Any, model: Any) -> None:
    """Have the model's page show the version, as MLflow's own ``register_model`` does."""
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    text = client.get_logged_model(model.model_id).tags.get(MLFLOW_MODEL_VERSIONS)
    known = json.loads(text) if text else []
    this = {"name": name, "version": str(version.version)}
    if this not in known:
        shown = {MLFLOW_MODEL_VERSIONS: json.dumps([*known, this])}
        client.set_logged_model_tags(model.model_id, shown)


def _is_of(client: Any, version: Any, model: Any, run_id: str) -> bool:
    if version.run_id != run_id:
        return False
    tagged = dict(version.tags).get(MODEL_TAG)
    if tagged is None:  # of an earlier version; a search does not tell the model's id
        tagged = client.get_model_version(version.name, version.version).model_id
    return bool(tagged == model.model_id)


def _succeeds(new: Mapping[str, str], old: Mapping[str, str]) -> bool:
    if new.get(RUN_TAG) == old.get(RUN_TAG):
        return True
    return is_better(new.get(EVIDENCE_TAG, ""), old.get(EVIDENCE_TAG, ""))


def is_better(new: str, old: str) -> bool:
    """Whether one champion is better than another by their training runs.

    By the rule of `sweeper compare`: the interval of how often a run of one beats one of the other,
    widened over the finalists that each was chosen from, lies above a half. False where the two
    were not evaluated alike, or one was not confirmed.

    Args:
        new: a version's evidence, as `describe_evidence` wrote it.
        old: the same of the version that holds the alias.
    """
    try:
        mine, theirs = json.loads(new), json.loads(old)
        for key in ("metric", "mode", "environment", "episodes"):
            if mine[key] != theirs[key]:
                return False
        runs, others = list(map(float, mine["runs"])), list(map(float, theirs["runs"]))
        family = max(1, int(mine["finalists"]), int(theirs["finalists"]))
    except (ValueError, TypeError, KeyError):  # another version wrote it, or its user
        return False
    if not runs or not others:
        return False
    probability = probability_of_improvement(runs, others, mode=mine["mode"])
    sizes = len(runs), len(others)
    interval = share_interval(probability, sizes, family=family, looks=[(one,) for one in sizes])
    return interval.low > 0.5
