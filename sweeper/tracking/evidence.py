"""What is known of the champion, as MLflow's metrics and tags of the sweep's run."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sweeper.evidence.record import Selection
from sweeper.evidence.samples import Evidence
from sweeper.metrics import ENV_STEPS
from sweeper.tracking.naming import clip_tag, scalar_metrics

__all__ = ["champion_metrics", "find_changed", "verdict_tags"]

_PARTS = ("champion/", "confirmation/", "baseline/", "agent/")


def champion_metrics(selection: Selection) -> dict[str, float | int | None]:
    """The champion's numbers by name; None where there is none.

    ``champion/`` is the search's, ``confirmation/`` what its configuration came to when it was
    trained again, ``baseline/`` the same of the baseline, ``agent/`` of the one agent.
    """
    row: dict[str, float | int | None] = {
        f"champion/{selection.metric}": selection.score,
        f"champion/{ENV_STEPS}": selection.env_steps,
        "champion/deviation": selection.deviation,
        "champion/replicas": selection.replicas or None,
        "champion/diverged": selection.diverged,
    }
    row |= _evidence_metrics("confirmation", selection.evidence)
    row |= _evidence_metrics("baseline", selection.baseline)
    verdict = selection.verdict
    if verdict is not None:
        row["confirmation/shrinkage"] = verdict.shrinkage
        name, interval = "confirmation/probability_of_improvement", verdict.probability_interval
        row[name] = verdict.probability_of_improvement
        if interval is not None:
            row |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
    if selection.agent is not None:
        row[f"agent/{selection.metric}"] = selection.agent.value
    return row


def find_changed(selection: Selection, present: Mapping[str, float]) -> dict[str, float]:
    """The champion's numbers that MLflow does not show yet.

    NaN in the place of a former champion's that this one lacks: MLflow deletes no metric, and in
    its table that number would pass as this one's. It sorts and filters NaN as no number.

    Args:
        selection: the champion.
        present: the newest value of every metric of the sweep's run.
    """
    row = scalar_metrics(champion_metrics(selection))
    former = [name for name in present if name.startswith(_PARTS) and name not in row]
    row |= dict.fromkeys(former, math.nan)
    return {
        name: value
        for name, value in row.items()
        if name not in present or not _is_same(present[name], value)
    }


def verdict_tags(selection: Selection) -> dict[str, str]:
    """The verdict, and who can't be told from the champion."""
    return {
        "sweeper.verdict": selection.word,
        "sweeper.tied": clip_tag(", ".join(selection.tied)),
    }


def _evidence_metrics(name: str, evidence: Evidence | None) -> dict[str, float | int | None]:
    if evidence is None or evidence.mean is None:
        return {}
    row: dict[str, float | int | None] = {
        f"{name}/mean": evidence.mean,
        f"{name}/iqm": evidence.iqm,
        f"{name}/deviation": evidence.deviation,
        f"{name}/runs": len(evidence.finished),
        f"{name}/diverged": evidence.diverged,
    }
    for key in ("interval", "prediction"):
        interval = getattr(evidence, key)
        if interval is not None:
            row |= {f"{name}/{key}_low": interval.low, f"{name}/{key}_high": interval.high}
    return row


def _is_same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
