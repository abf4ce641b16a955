"""What is said of the champion's model: a card in Markdown, metadata, and its evidence as tags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sweeper.evidence.record import Selection
from sweeper.formatting import format_value
from sweeper.search.configuration import flatten_parameters
from sweeper.tracking.description import SweepDescription
from sweeper.tracking.markdown import as_code, table
from sweeper.tracking.naming import clip_tag

__all__ = ["EVIDENCE_TAG", "describe_evidence", "describe_model", "model_card"]

EVIDENCE_TAG = "sweeper.evidence"
_ARRAYS = ("Box", "Discrete", "MultiBinary", "MultiDiscrete")


def describe_evidence(selection: Selection, environment: Mapping[str, Any]) -> str:
    """What another champion can be held against, as JSON for a tag.

    The values of the training runs, and all that makes their evaluation the same one.
    """
    evidence, made = selection.evidence, selection.confirmed_on
    is_complete = evidence is not None and made is not None and selection.confirmed is not None
    document = {
        "metric": selection.metric,
        "mode": selection.mode,
        "environment": environment,
        "episodes": made.episodes if made is not None else None,
        "finalists": len(made.finalists) if made is not None else 0,
        "runs": list(evidence.finished) if is_complete and evidence is not None else [],
    }
    return clip_tag(json.dumps(document, sort_keys=True, default=str))


def describe_model(selection: Selection, sweep: Mapping[str, str]) -> dict[str, Any]:
    """Metadata for the model's own file; ``sweep`` has the tags of the sweep."""
    evidence = selection.evidence
    interval = None if evidence is None else evidence.interval
    return {
        "environment": sweep.get("sweeper.environment"),
        "algorithm": sweep.get("sweeper.algorithm"),
        "run": sweep.get("sweeper.run"),
        "trial": selection.trial_id,
        "metric": selection.metric,
        "search_score": selection.score,
        "confirmed": selection.confirmed,
        "interval": None if interval is None else [interval.low, interval.high],
        "verdict": selection.word,
        "verdict_text": selection.verdict_text,
    }


def model_card(
    selection: Selection, sweep: SweepDescription, observations: str, model_id: str
) -> str:
    """A card in Markdown.

    Args:
        selection: of the champion.
        sweep: that it is of.
        observations: the environment's space, in words; empty if it is not known.
        model_id: MLflow's.
    """
    algorithm, environment = sweep.tags["sweeper.algorithm"], sweep.tags["sweeper.environment"]
    module = sweep.environment.get("module")
    is_changed = sweep.environment.get("kwargs") or sweep.environment.get("wrappers")
    changed = "  # with the spec's kwargs and wrappers" if is_changed else ""
    agent = selection.agent
    of_space = f" of {as_code(observations)}" if observations else ""
    takes = (
        f"`model.predict(observation)` takes an observation{of_space} as the environment gives it, "
        "or a batch with one more axis in front, and acts greedily."
    )
    if not observations.startswith(_ARRAYS):
        takes += " A Dict or Tuple may also be flattened by `gymnasium.spaces.flatten`."
    lines = [
        # No markup: MLflow's list of versions shows the beginning as it is.
        f"{algorithm} on {environment}: the champion {selection.trial_id} of the sweep "
        f"{as_code(sweep.run_name)}.",
        "",
        selection.verdict_text,
    ]
    if agent is not None and agent.value is not None:
        lines += [
            "",
            f"This agent is the one trained with seed {agent.seed}. In {len(agent.returns)} "
            f"episodes of its own it came to {agent.value:.6g}; the numbers above are its "
            "configuration's.",
        ]
    rows = flatten_parameters(selection.configuration).items()
    lines += [
        "",
        takes,
        "",
        "```python",
        "import gymnasium, mlflow",
        *([f"import {module}  # registers the environment"] if module else []),
        f"mlflow.set_tracking_uri({sweep.shown_uri!r})",
        f"model = mlflow.pyfunc.load_model('models:/{model_id}')",
        f"env = gymnasium.make({environment!r}){changed}",
        "observation, _ = env.reset()",
        "action = model.predict(observation)",
        "```",
        "",
        *table(
            ["hyperparameter", "value"],
            [(as_code(name), as_code(format_value(value))) for name, value in rows],
        ),
    ]
    return "\n".join(lines)
