"""What is said of the champion's model: a card in Markdown, metadata, and its evidence as tags."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sweeper.evidence.record import Selection
from sweeper.formatting import format_value
from sweeper.search.configuration import flatten_parameters
from sweeper.tracking.naming import clip_tag
from sweeper.tracking.trial_page import cell

__all__ = ["EVIDENCE_TAG", "describe_evidence", "describe_model", "model_card"]

EVIDENCE_TAG = "sweeper.evidence"


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


def model_card(selection: Selection, sweep: Mapping[str, str], observations: str) -> str:
    """A card in Markdown; ``observations`` is the environment's space, in words."""
    algorithm, environment = sweep.get("sweeper.algorithm"), sweep.get("sweeper.environment")
    flat = flatten_parameters(selection.configuration)
    agent = selection.agent
    lines = [
        f"**{algorithm} on {environment}**: the champion {selection.trial_id} of the sweep "
        f"{cell(sweep.get('sweeper.run', ''))}.",
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
    lines += [
        "",
        f"`model.predict(observation)` takes an observation of {cell(observations)} as the "
        "environment gives it, or a batch with one more axis in front, and acts greedily. A Dict "
        "or Tuple may also be flattened by `gymnasium.spaces.flatten`.",
        "",
        "```python",
        "import gymnasium, mlflow",
        "model = mlflow.pyfunc.load_model(MODEL_URI)",
        f"env = gymnasium.make({environment!r})",
        "observation, _ = env.reset()",
        "action = model.predict(observation)",
        "```",
        "",
        "| hyperparameter | value |",
        "|---|---|",
        *(f"| {cell(name)} | {cell(format_value(value))} |" for name, value in flat.items()),
    ]
    return "\n".join(lines)
