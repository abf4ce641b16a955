"""The parts of a spec that feasibility looks at, from a whole spec or from one with problems."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.environments.settings import EnvironmentSettings, module_folders
from sweeper.errors import Location
from sweeper.spec import ExperimentSpec
from sweeper.spec.draft import Draft
from sweeper.spec.keys.support import Support, find_support
from sweeper.spec.sections import Environment, Ray, Resources
from sweeper.spec.text.yaml import KeyPath

__all__ = ["Proposal"]


@dataclass(frozen=True)
class Proposal:
    """What a spec asks of its environment and of this machine; None for what could not be read.

    Attributes:
        folders: where a module that the spec does not name may lie.
    """

    algorithm: str | None
    backend: str
    environment: EnvironmentSettings | None
    param_space: Mapping[str, Any]
    replicas: int
    resources: Resources | None
    is_local: bool
    storage: str
    stop: Mapping[str, float]
    locate: Callable[[KeyPath], Location]
    folders: tuple[str, ...] = ()

    @property
    def support(self) -> Support:
        """What the backend supports of the algorithm."""
        return find_support(self.backend, self.algorithm or "")

    @classmethod
    def of_spec(cls, spec: ExperimentSpec) -> Proposal:
        """Everything, from a spec without problems."""
        return cls(
            algorithm=spec.algorithm,
            backend=spec.backend,
            environment=spec.environment.settings(),
            param_space=spec.param_space,
            replicas=len(spec.seeds),
            resources=spec.resources,
            is_local=spec.ray.address is None,
            storage=spec.storage,
            stop=spec.stop,
            locate=spec.locate,
            folders=module_folders(spec.source),
        )

    @classmethod
    def of_draft(cls, draft: Draft) -> Proposal:
        """The readable parts of a spec with problems."""
        environment, ray = draft.get(Environment), draft.get(Ray)
        unread = (problem.key.partition(".")[0] for problem in draft.document.problems)
        is_whole = "environment" not in draft.broken and "environment" not in unread
        return cls(
            algorithm=draft.algorithm,
            backend=draft.backend,
            environment=environment.settings() if environment and is_whole else None,
            param_space=draft.space,
            replicas=len(draft.seeds),
            resources=draft.get(Resources),
            is_local=ray is not None and ray.address is None,
            storage=draft.storage,
            stop=draft.stop,
            locate=draft.document.locate,
            folders=module_folders(draft.document.source),
        )
