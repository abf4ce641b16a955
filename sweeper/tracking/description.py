"""Describe a sweep for MLflow's parent run: params, tags, a summary."""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.evidence.selection import Selection
from sweeper.paths import CheckpointPaths, RunPaths
from sweeper.planning.plan import SweepPlan
from sweeper.run_files import read_json
from sweeper.tracking.naming import clip_tag, describe_parameters, describe_value

__all__ = ["SweepDescription", "describe_sweep", "summarise"]


@dataclass(frozen=True)
class SweepDescription:
    """The sweep in MLflow's terms.

    Attributes:
        folder: the run folder.
        headline: one line of Markdown.
        parameters: the param space and other settings of the sweep, flat, as text.
        tags: for the parent run and every trial.
        parent_tags: for the parent run only; made anew by `sweeper log`, wherever that runs.
        files: logged as artifacts once they exist.
    """

    folder: Path
    headline: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    parent_tags: Mapping[str, str]
    files: tuple[Path, ...]

    @property
    def run_name(self) -> str:
        """Names the parent run; as the tag ``sweeper.run`` it marks all runs of the sweep."""
        return self.folder.name


def describe_sweep(plan: SweepPlan, paths: RunPaths) -> SweepDescription:
    """Describe a plan in MLflow's terms."""
    spec = plan.spec
    environment = spec.environment.id
    shared = {
        "sweeper.run": paths.root.name,
        "sweeper.algorithm": spec.algorithm,
        "sweeper.environment": environment,
        "sweeper.backend": spec.backend,
        "mlflow.source.name": "sweeper",
        "mlflow.source.type": "LOCAL",
    }
    if plan.vectorization:
        shared["sweeper.vectorization"] = " or ".join(plan.vectorization)
    if plan.origin is not None:
        shared["sweeper.origin"] = clip_tag(str(plan.origin))
    stop: dict[str, Any] = {**spec.stop}
    if spec.plateau is not None:
        stop["plateau"] = spec.plateau.model_dump(exclude_none=True)
    agent = CheckpointPaths(paths.champion).agent
    return SweepDescription(
        folder=paths.root,
        headline=(
            f"{spec.algorithm} on {environment} ({spec.backend}), {_count(plan.trials, 'trial')}"
            f" of {_count(len(spec.seeds), 'replica')}, judged by `{spec.selection.metric}`"
            f" ({spec.selection.mode})"
        ),
        parameters={
            **describe_parameters(spec.param_space),
            "sweep.seeds": describe_value(list(spec.seeds)),
            "sweep.stop": describe_value(stop),
            "sweep.search": spec.search.algorithm,  # a resumed run may have more trials
            "sweep.scheduler": spec.scheduler.type,
            "sweep.metric": f"{spec.selection.metric}, {spec.selection.mode}",
        },
        tags=shared,
        parent_tags={
            "sweeper.folder": str(paths.root),
            "mlflow.user": _user(),
            **_provenance(paths.environment),
        },
        files=(paths.spec, paths.plan, paths.environment, paths.selection, agent),
    )


def _provenance(path: Path) -> dict[str, str]:
    """Version and commit from the run's ``environment.json``, where it has them."""
    try:
        document = read_json(path)
    except (OSError, ValueError):
        return {}
    tags = {}
    versions, git = (
        part if isinstance(document, dict) and isinstance(part := document.get(name), dict) else {}
        for name in ("versions", "git")
    )
    if version := versions.get("sweeper"):
        tags["sweeper.version"] = clip_tag(str(version))
    if git:
        tags["mlflow.source.git.commit"] = clip_tag(str(git.get("commit", "")))
        tags["sweeper.git.dirty"] = describe_value(bool(git.get("dirty")))
    return tags


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # e.g. a container's user without a name
        return ""


def summarise(
    sweep: SweepDescription, states: Mapping[str, str], selection: Selection | None
) -> str:
    """The parent run's description, in Markdown; ``states`` has the state of every trial."""
    counts = sorted(Counter(states.values()).items())
    parts = ", ".join(f"{number} {state}" for state, number in counts)
    champion = ["**No champion.**", ""] if selection is None else _champion_lines(selection)
    trials = f"{_count(len(states), 'trial')}: {parts or 'none'}"
    lines = [sweep.headline, "", *champion, trials, "", f"Run folder: `{sweep.folder}`"]
    return "\n".join(lines)


def _champion_lines(selection: Selection) -> list[str]:
    steps, excluded = selection.env_steps, selection.excluded
    after = "" if steps is None else f" after {steps:,} env steps"
    if selection.deviation is not None:
        replicas = _count(selection.replicas, "replica")
        after = f" ±{selection.deviation:.4g} over {replicas}{after}"
    lines = [
        f"**Champion: {selection.trial_id}**, `{selection.metric}` {selection.score:.6g}{after}",
        "",
        "| parameter | value |",
        "|---|---|",
    ]
    for name, value in describe_parameters(selection.configuration).items():
        lines.append(f"| {name} | {value} |".replace("\n", " "))
    lines += ["", selection.verdict_text, ""]
    if excluded:
        named = ", ".join(f"{item.trial_id} ({item.reason})" for item in excluded[:10])
        more = f", and {len(excluded) - 10} more" if len(excluded) > 10 else ""
        lines += [f"Excluded from the selection: {named}{more}", ""]
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
