"""Text for figures: one line, nothing that acts, no longer than fits."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.formatting import format_value, short_names
from sweeper.hints import show
from sweeper.metrics import ENV_STEPS, ITERATION, Objective, canonical_metric
from sweeper.printable import printable
from sweeper.results.records import TrialRecord, describe_error, describe_pruning
from sweeper.search.configuration import flatten_parameters

__all__ = [
    "describe_trial",
    "label_parameters",
    "metric_title",
    "plain",
    "shorten",
    "show_value",
    "steps_title",
    "wrap",
]

_WORDS: Mapping[str, str] = {
    "episode_return_mean": "episode return",
    "episode_return_min": "smallest episode return",
    "episode_return_max": "largest episode return",
    "episode_len_mean": "episode length (env steps)",
    "num_episodes": "episodes",
    "env_steps_per_s": "env steps per second",
    "time_total_s": "training time (s)",
    "evaluation/episode_return_mean": "episode return in evaluation",
    "evaluation/episode_return_min": "smallest episode return in evaluation",
    "evaluation/episode_return_max": "largest episode return in evaluation",
    "evaluation/episode_len_mean": "episode length in evaluation (env steps)",
    "confirmation/episode_return_mean": "episode return in confirmation",
    ENV_STEPS: "env steps per replica",
    ITERATION: "training iteration",
}
_MAX_NAME, _MAX_VALUE, _MAX_LINE = 32, 22, 200


def plain(text: object) -> str:
    """A text in one line, without anything that a terminal or a page would act on."""
    return " ".join(printable(str(text)[:2000]).split())


def shorten(text: object, most: int = _MAX_NAME) -> str:
    """A text of at most so many characters; of a dotted name the end is kept."""
    line = plain(text)
    if len(line) <= most:
        return line
    if "." in line and " " not in line:
        return f"…{line[-most + 1 :]}"
    return f"{line[: most - 1]}…"


def show_value(value: Any) -> str:
    """A hyperparameter's value, as a spec writes it, short."""
    if isinstance(value, list | tuple | Mapping):
        return shorten(show(value), _MAX_VALUE)
    return shorten(format_value(value), _MAX_VALUE)


def label_parameters(names: Sequence[str]) -> dict[str, str]:
    """Short labels of dotted names, all different."""
    labels: dict[str, str] = {}
    for name, short in zip(names, short_names(names), strict=True):
        label = shorten(short)
        labels[name] = label if label not in labels.values() else f"{label} ({len(labels) + 1})"
    return labels


def metric_title(metric: str) -> str:
    """A metric in words, with its unit; foreign ones by their name."""
    return _WORDS.get(canonical_metric(metric)) or shorten(metric, 48)


def score_title(objective: Objective) -> str:
    """The score in words."""
    kind = {"last": "last", "best": "best", "auc": "mean over training of"}[objective.score]
    direction = "" if objective.mode == "max" else ", less is better"
    return f"score: {kind} {metric_title(objective.metric)}{direction}"


def steps_title(name: str) -> str:
    """The horizontal axis of a learning curve."""
    return _WORDS.get(name) or "report"


def describe_trial(record: TrialRecord, score: str = "") -> str:
    """What a reader who points at a trial is told, in one line."""
    parameters = " ".join(
        f"{shorten(name.rpartition('.')[2], 24)}={show_value(value)}"
        for name, value in flatten_parameters(record.parameters).items()
    )
    parts = [record.trial_id, score, describe_pruning(record) or describe_error(record) or ""]
    return shorten("; ".join(part for part in (*parts, parameters) if part), _MAX_LINE)


def wrap(text: str, width: int) -> list[str]:
    """The lines of a sentence."""
    return textwrap.wrap(plain(text), width, break_long_words=True) or [""]
