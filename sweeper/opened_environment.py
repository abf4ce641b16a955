"""The environment of an opened run, for notebooks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sweeper.errors import UserError
from sweeper.paths import RunPaths
from sweeper.spec import ExperimentSpec, load_record
from sweeper.trust import TrustLike, find_foreign_environment, refuse_foreign

if TYPE_CHECKING:
    import gymnasium

__all__ = ["open_environment"]

_logger = logging.getLogger(__name__)


def open_environment(
    paths: RunPaths,
    spec: ExperimentSpec | None,
    *,
    render_mode: str | None = None,
    trust: TrustLike = False,
) -> gymnasium.Env[Any, Any]:
    """Build the environment that a run trains in, with its module and wrappers.

    Args:
        paths: of the run.
        spec: of the run; None for a Tune experiment, which has none.
        render_mode: gymnasium's, such as ``rgb_array``.
        trust: run its code although this user did not make the run on this machine.

    Raises:
        UserError: it can't be built, its code is not trusted, or a Tune experiment has none.
    """
    from sweeper.environments.building import build_env

    if spec is None:
        raise UserError("a Tune experiment has no spec, so its environment is unknown")
    settings = spec.environment.settings()
    recorded = load_record(paths.spec).environment.settings()
    foreign = find_foreign_environment(settings, paths, recorded=recorded, trust=trust)
    refuse_foreign(foreign, name=paths.root.name, trust=trust, say=_logger.info)
    return build_env(settings.drawn_as(render_mode))
