"""Describe a sweep for MLflow's parent run: params, tags, its files."""

from __future__ import annotations

import getpass
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.formatting import count_noun
from sweeper.metrics import Objective
from sweeper.paths import CheckpointPaths, RunPaths
from sweeper.planning.plan import SweepPlan
from sweeper.run_files import read_json
from sweeper.search.configuration import flatten_parameters
from sweeper.search.distributions import Distribution
from sweeper.tracking.naming import clip_tag, describe_parameters, describe_value

__all__ = ["SweepDescription", "describe_sweep"]


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
        creator: a tag that says who writes the record.
        objective: what ranks the trials.
        searched: MLflow's names of the parameters that the search varies.
        environment: its settings, as the spec has them.
        shown_uri: where the record is, without secrets.
    """

    folder: Path
    headline: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    parent_tags: Mapping[str, str]
    files: tuple[Path, ...]
    creator: Mapping[str, str] = field(default_factory=dict)
    objective: Objective = field(default_factory=Objective)
    searched: tuple[str, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    shown_uri: str = ""

    @property
    def run_name(self) -> str:
        """Names the parent run; as the tag ``sweeper.run`` it marks all runs of the sweep."""
        return self.folder.name


def describe_sweep(plan: SweepPlan, paths: RunPaths, shown_uri: str = "") -> SweepDescription:
    """Describe a plan in MLflow's terms; ``shown_uri`` is where the record is, without secrets."""
    spec = plan.spec
    environment = spec.environment.id
    shared = {
        "sweeper.run": paths.root.name,
        "sweeper.algorithm": spec.algorithm,
        "sweeper.environment": environment,
        "sweeper.backend": spec.backend,
        "sweeper.search": spec.search.algorithm,
        "sweeper.scheduler": spec.scheduler.type,
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
            f"{spec.algorithm} on {environment} ({spec.backend}), "
            f"{count_noun(len(spec.seeds), 'replica')} a trial, judged by "
            f"`{spec.selection.metric}` ({spec.selection.mode})"
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
        creator={"mlflow.user": _user()},
        parent_tags={
            "sweeper.folder": str(paths.root),
            **_provenance(paths.environment),
        },
        files=(
            paths.spec,
            paths.written,
            paths.plan,
            paths.environment,
            paths.selection,
            agent,
            paths.report,
        ),
        objective=spec.objective,
        searched=tuple(_searched(spec.param_space)),
        environment=spec.environment.model_dump(mode="json", exclude_none=True),
        shown_uri=shown_uri,
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
    command = document.get("command") if isinstance(document, dict) else None
    if isinstance(command, list):
        tags["sweeper.command"] = clip_tag(shlex.join(map(str, command)))
        machine = [document.get("platform"), f"{document.get('cpus')} cores"]
        tags["sweeper.machine"] = clip_tag(", ".join(str(part) for part in machine if part))
        named = [f"{name} {number}" for name, number in versions.items()]
        tags["sweeper.versions"] = clip_tag(", ".join(named))
    return tags


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # e.g. a container's user without a name
        return ""


def _searched(space: Mapping[str, Any]) -> list[str]:
    varied = {
        name: value
        for name, value in flatten_parameters(space).items()
        if isinstance(value, Distribution)
    }
    return list(describe_parameters(varied))
