"""Write a run to MLflow again from its journal: after an outage, or to another server."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from sweeper.agents.reading import read_agent
from sweeper.errors import SweeperError, UserError
from sweeper.evidence.selection import NothingToSelect
from sweeper.locks import RecordLock, is_locked
from sweeper.opened_run import Run
from sweeper.paths import CheckpointPaths, RunPaths, run_reference
from sweeper.planning.plan import SweepPlan
from sweeper.recorded_plan import planned, planned_names
from sweeper.run_files import is_regular
from sweeper.spec.sections import Tracking
from sweeper.stored_files import FILES
from sweeper.tracking.tracker import MlflowTracker
from sweeper.trust import TrustLike, find_foreign_pickles, find_foreign_servers, refuse_foreign
from sweeper.veil import hide_references, veil

__all__ = ["log_run"]

_logger = logging.getLogger(__name__)

_TIMEOUT_S = 3600.0  # thousands of trials take minutes on a slow server


def log_run(
    opened: Run,
    *,
    uri: str | None = None,
    experiment: str | None = None,
    trust: TrustLike = False,
    say: Callable[[str], None] = _logger.info,
) -> str:
    """Complete MLflow's record of a run; existing parts of it stay as they are.

    Args:
        opened: the run.
        uri: tracking server or database; the spec's by default.
        experiment: the experiment's name; the spec's by default.
        trust: connect to the server that the run names, and unpickle its RLlib agent, although
            this user did not make it on this machine.
        say: receives, in words, what that is, and that the champion's agent is missing.

    Returns:
        The URI and the experiment of the record.

    Raises:
        UserError: the run is live, another process writes its record, there is no tracking URI,
            or whoever made the run is not trusted.
        SweeperError: not everything could be written, or the champion's agent can't act.
    """
    spec, paths = opened.spec, opened.paths
    if spec is None:
        raise UserError(f"{opened.results.root} is not a run of sweeper: it has no journal")
    if opened.results.is_live:
        raise UserError(f"{paths.root.name} is running and writes its record itself")
    if uri is None and spec.tracking is None:
        name = paths.root.name
        raise UserError(f"{name} was run without tracking; give a tracking URI with --uri")
    given = {"uri": uri, "experiment": experiment}
    recorded = {"experiment": spec.name} if spec.tracking is None else vars(spec.tracking)
    try:
        tracking = Tracking(**{**recorded, **{key: value for key, value in given.items() if value}})
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(map(str, problem["loc"]))
        raise UserError(f"--{name}: {problem['msg'].removeprefix('Value error, ')}") from error
    foreign = (
        [] if uri else find_foreign_servers(paths, spec.servers, tracking.experiment, trust=trust)
    )
    if CheckpointPaths(CheckpointPaths(paths.champion).algorithm).is_rllib:
        foreign += find_foreign_pickles([paths.champion], trust)
    refuse_foreign(foreign, name=paths.root.name, trust=trust, say=say)
    spec = spec.model_copy(update={"tracking": tracking})
    plan = SweepPlan(
        spec=spec,
        trials=planned(paths, "trials") or len(opened.results.trials),
        replicas=len(spec.seeds),
        env_steps=None,
        concurrent=1,
        vectorization=planned_names(paths, "vectorization"),
        origin=opened.results.origin,
    )
    artifact_root = paths.root.parent.absolute() / FILES if uri is None else None
    lock = RecordLock(paths.journal)
    asked = {"--uri": uri and tracking.uri, "--experiment": experiment}
    options = "".join(f" {name} {shlex.quote(text)}" for name, text in asked.items() if text)
    command = f"sweeper log {run_reference(paths.root)}{options}"
    tracker = MlflowTracker(
        plan, paths, tracking, artifact_root=artifact_root, lock=lock, command=command
    )
    with _taken(lock, paths, command), _without_warnings():
        problems = _hand_over_champion(opened, tracker, say)
        tracker.start()
        problems += tracker.close(opened.results.state, timeout_s=_TIMEOUT_S)
    if problems:
        raise SweeperError("; ".join(problems))
    return f"{hide_references(tracking.uri)}, experiment {tracking.experiment}"


def _hand_over_champion(
    opened: Run, tracker: MlflowTracker, say: Callable[[str], None]
) -> list[str]:
    """Have the champion logged, if there is one; returns why its agent is not, if it can't act."""
    try:
        selection = opened.selection
    except (NothingToSelect, UserError):
        return []
    problems, agent = [], opened.agent
    if agent is None and opened.paths.champion.is_dir():
        say(_explain_stale(opened.paths, selection.trial_id))
    if agent is not None and _is_torch_agent(agent):
        # The tracker describes it without loading it, and these files may be anybody's.
        try:
            read_agent(agent)
        except UserError as error:
            problems = [f"MLflow: the champion is not logged as a model: {veil(str(error))}"]
            agent = None
    tracker.log_champion(selection, agent)
    return problems


def _is_torch_agent(champion: Path) -> bool:
    paths = CheckpointPaths(champion)
    return is_regular(paths.weights) and not CheckpointPaths(paths.algorithm).is_rllib


def _explain_stale(paths: RunPaths, trial_id: str) -> str:
    return (
        f"champion/ of {paths.root.name} holds the agent of an earlier choice, so it is not "
        f"uploaded; `sweeper resume {run_reference(paths.root)}` writes that of {trial_id}, if a "
        "checkpoint is left"
    )


@contextmanager
def _taken(lock: RecordLock, paths: RunPaths, command: str) -> Iterator[None]:
    name = paths.root.name
    if not lock.take():
        if is_locked(paths.lock):
            raise UserError(f"{name} is running and writes its record itself")
        raise UserError(
            f"another process is writing the record of {name}; once it has ended, `{command}` "
            "adds what is missing"
        )
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence the tracker's warnings, which fit a running sweep; the final error has them all."""
    logger = logging.getLogger("sweeper.tracking")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
