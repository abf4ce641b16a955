"""The verbs that command line and notebook share: run a spec, resume a run, open one."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sweeper.environments.identity import refuse_changes
from sweeper.errors import UserError
from sweeper.evidence.confirmation import is_current
from sweeper.locks import process_namespace, run_lock
from sweeper.opened_run import Run, open_run, open_tune
from sweeper.paths import RunPaths, create_run_folder, find_run, is_run
from sweeper.planning.plan import SweepPlan, build_plan, load_plan, training_plan
from sweeper.relocation import describe_start, relocate
from sweeper.results.builder import ResultsBuilder
from sweeper.results.records import SweepResults
from sweeper.run_files import is_regular, make_empty
from sweeper.running.confirmation import describe_left, refuse_confirmation
from sweeper.running.launch import (
    Progress,
    ProgressFactory,
    restore_champion,
    restore_plan,
    run_launch,
    write_provenance,
)
from sweeper.running.origin.begin import begin_from
from sweeper.running.origin.folder import check_start, find_beginners, write_start
from sweeper.running.ray_folder import check_ray_folder
from sweeper.running.resume.configurations import check_configurations
from sweeper.running.resume.extension import (
    Extension,
    complete_environment,
    extend_spec,
    find_foreign_parts,
    load_recorded_spec,
)
from sweeper.running.resume.remaining import describe_remaining, refuse_without_effect
from sweeper.running.resume.state import LaunchState, find_remaining, read_history
from sweeper.spec import ExperimentSpec, load_spec
from sweeper.states import TrialState
from sweeper.storage.mirror import mirrored, write_now
from sweeper.storage.objects import check_bucket
from sweeper.trust import TrustLike, refuse_foreign

__all__ = [
    "Extension",
    "Progress",
    "Run",
    "confirm",
    "execute",
    "open_run",
    "open_tune",
    "plan_training",
    "resume",
    "run",
    "train",
]


SpecLike = str | Path | Mapping[str, Any] | ExperimentSpec
"""A spec's file, a dictionary with its keys, or what `load_spec` returned."""

_logger = logging.getLogger(__name__)


def run(
    spec: SpecLike, overrides: Sequence[str] = (), *, progress: bool | ProgressFactory | None = None
) -> Run:
    """Run a sweep to its end and open its results.

    An interrupt (Ctrl-C, or that of a notebook's kernel) saves the running trials and ends it in
    order; `resume` goes on. A failed trial is a result; a run in which no trial has a score has no
    champion, and its `failure` says why.

    Args:
        spec: a file, a dictionary with its keys, or what `load_spec` returned.
        overrides: ``key.path=value`` each, as on the command line.
        progress: show how far it is. None: in a notebook only.

    Raises:
        SpecError: with every problem of the spec.
    """
    if isinstance(spec, str | Path):
        plan = load_plan(spec, overrides)
    else:
        plan = build_plan(_as_spec(spec, overrides))
    return execute(plan, progress=progress)


def train(
    spec: SpecLike,
    overrides: Sequence[str] = (),
    *,
    from_checkpoint: str | Path | None = None,
    replica: int | None = None,
    trust: TrustLike = False,
    progress: bool | ProgressFactory | None = None,
) -> Run:
    """Train one configuration: constants as they are, searched parameters at their defaults.

    Args:
        spec: a file, or what `load_spec` returned.
        overrides: ``key.path=value`` each, as on the command line.
        from_checkpoint: begin with the weights of another agent: a checkpoint's folder, a
            champion's, or a run (its champion). Hyperparameters, seeds and the environment's
            arguments may differ; algorithm, spaces and network may not.
        replica: the seed of the one that all begin as. None: each seed as the replica of the same
            seed, where the checkpoint has them all; else as the only one, or the best.
        trust: unpickle a checkpoint of RLlib's that this user did not make on this machine.
        progress: show how far it is. None: in a notebook only.

    Raises:
        SpecError: with every problem of the spec.
        UserError: the weights can't be taken over.
    """
    plan = plan_training(
        spec, overrides, from_checkpoint=from_checkpoint, replica=replica, trust=trust
    )
    return execute(plan, progress=progress)


def plan_training(
    spec: SpecLike,
    overrides: Sequence[str] = (),
    *,
    from_checkpoint: str | Path | None = None,
    replica: int | None = None,
    trust: TrustLike = False,
    say: Callable[[str], None] = _logger.info,
) -> SweepPlan:
    """The plan that `train` executes, with the weights that it begins with.

    Args:
        spec: as for `train`.
        overrides: the same.
        from_checkpoint: the same.
        replica: the same.
        trust: the same.
        say: receives, in words, what is unpickled of a checkpoint that is trusted.

    Raises:
        SpecError: as for `train`.
        UserError: the same.
    """
    if isinstance(spec, str | Path):
        plan = load_plan(spec, overrides, is_training=True)
    else:
        plan = training_plan(_as_spec(spec, overrides))
    if from_checkpoint is not None:
        return begin_from(plan, str(from_checkpoint), replica=replica, trust=trust, say=say)
    if replica is not None:
        raise UserError(
            "--replica names a replica of the checkpoint that is given with --from (in Python: "
            "from_checkpoint); there is none"
        )
    return plan


def _as_spec(spec: ExperimentSpec | Mapping[str, Any], overrides: Sequence[str]) -> ExperimentSpec:
    if overrides:
        raise UserError("overrides go with a spec's file, not with a loaded spec or a dictionary")
    return spec if isinstance(spec, ExperimentSpec) else load_spec(spec)


def _choose(progress: bool | ProgressFactory | None) -> ProgressFactory | None:
    from sweeper.views.progress import choose_progress

    return choose_progress(progress)


def execute(plan: SweepPlan, *, progress: bool | ProgressFactory | None = None) -> Run:
    """Run a plan in a new run folder: sweep, selection, champion, MLflow.

    Args:
        plan: what to run.
        progress: as for `run`, or what makes it.

    A failed trial is a result. A run in which no trial has a score has no champion; its `failure`
    says why.
    """
    spec = plan.spec
    if spec.ray.address is None:
        check_ray_folder()
    else:
        from sweeper.running.tune.session import check_cluster

        check_cluster(spec.ray.address)
    check_bucket(spec.storage)
    paths = create_run_folder(Path(spec.storage), spec.name, datetime.now())
    try:
        with run_lock(paths.lock), _mirrored(paths, _logger.info):
            write_provenance(plan, paths)
            if plan.origin is not None:
                write_start(plan.origin, paths)
                write_now(paths.root)  # other nodes read it there
            builder = ResultsBuilder(paths.root)
            watcher = _choose(progress)
            return run_launch(plan, paths, builder, LaunchState(), {}, watcher)
    except BaseException:
        if not is_run(paths.root):  # it ended before its first event, so no verb would find it
            shutil.rmtree(paths.root, ignore_errors=True)
        raise


def resume(
    reference: str | Path = "last",
    storage: str | Path = "runs",
    *,
    extension: Extension | None = None,
    allow_changed_environment: bool = False,
    trust: TrustLike = False,
    progress: bool | ProgressFactory | None = None,
    say: Callable[[str], None] = _logger.info,
) -> Run:
    """Go on with a run from its journal: after an interruption, a crash, or with more to do.

    Finished trials stay. Interrupted ones go on from their last checkpoint. Configurations that
    were not asked for yet come in the order they would have had. If nothing is left to do, the
    run is only opened.

    Args:
        reference: a path, a folder's name under ``storage``, or ``last``.
        storage: the folder that holds the runs.
        extension: more samples, time or steps, or another try for failed trials.
        allow_changed_environment: go on although the code of the environment has changed.
        trust: import, unpickle and connect to what a run names that this user did not make on
            this machine; ``"none"``: not even what this user made.
        progress: as for `run`, or what makes it.
        say: receives, in words, what is going to happen.

    Raises:
        UserError: there is no such run, another process is running it, whoever made it is not
            trusted, its spec or its environment was changed, or the extension does not fit it, or
            lets nothing go on.
        JournalError: the journal is damaged.
    """
    extension = extension or Extension()
    paths = find_run(str(reference), Path(storage))
    with run_lock(paths.lock), _mirrored(paths, say):
        paths.check()
        paths.stop_request.unlink(missing_ok=True)  # left over from a launch that was killed
        builder = ResultsBuilder(paths.root)
        history = read_history(paths, [builder.apply])
        before = builder.snapshot(is_live=False)
        was = load_recorded_spec(paths, history)
        check_configurations(was, before, paths)
        as_run = relocate(paths, was)
        foreign = find_foreign_parts(paths, was, as_run, before, trust)
        refuse_foreign(foreign, name=paths.root.name, trust=trust, say=say)
        if as_run.environment.search_paths and (start := describe_start(paths)) is not None:
            say(f"{start}; its modules are looked for there and here")
        recorded, note = complete_environment(as_run)
        if note is not None:
            say(note)
        spec, changes = extend_spec(paths, recorded, extension, history.spent_s, before)
        kept_baseline = paths.baseline if is_regular(paths.baseline) else None
        plan = build_plan(spec, before.searched, kept_baseline=kept_baseline)
        plan = replace(plan, origin=before.origin)
        for planned in plan.notes:
            say(planned)
        state = find_remaining(
            history,
            before,
            spec.stop,
            is_stop_extended=any(key.startswith("stop.") for key in changes),
            retry_errored=extension.retry_errored,
        )
        over = _search_end(before, changes, state)
        if over is not None:
            state = replace(state, continuations=(), over=over)
        left = describe_remaining(plan, state, before)
        has_failed = any(
            one.state is TrialState.ERROR for one in (*before.trials, *before.retrained)
        )
        is_retried = extension.retry_errored and has_failed
        refuse_without_effect(changes, left, is_retry_barred=is_retried and not state.reopened)
        if extension.is_confirming:
            refuse_confirmation(plan, before, extension, is_over=over or left.is_nothing)
            state = replace(state, named=extension.trials, wants_best=extension.wants_best)
        search_end = over or (left.reasons[0] if left.is_nothing else None)
        confirming = search_end and describe_left(plan, before, state, search_end)
        has_work = bool(confirming) or not left.is_nothing
        if history.environment and plan.environment and has_work:
            accepted = refuse_changes(
                history.environment, plan.environment, allows_code=allow_changed_environment
            )
            state = replace(state, environment_changes=accepted)
            if accepted:
                say(
                    f"the environment has changed ({'; '.join(accepted)}), as allowed: trials from "
                    "before and after are ranked together"
                )
        for line in confirming or (*left.lines, *left.late):
            say(line)
        if plan.origin is not None and not left.is_nothing:
            check_start(plan.origin, paths, find_beginners(plan, state))
        if (restored := restore_plan(plan, paths)) is not None:
            say(restored)
        ends = (over,) if over is not None else left.reasons
        if not has_work and before.ended_by in ends and not state.ends:
            return restore_champion(Run(before, spec.objective, spec), plan)
        if search_end is not None:  # its end is not recorded, or the confirmation is to come
            state = replace(state, over=search_end)
        return run_launch(plan, paths, builder, state, changes, _choose(progress))


def _mirrored(paths: RunPaths, say: Callable[[str], None]) -> AbstractContextManager[None]:
    """Where the run lies in a bucket: its lease, and what is written there in the meantime."""

    def stop(why: str) -> None:
        if why:
            _logger.warning("%s: nothing more is written there, and this launch ends", why)
        make_empty(paths.stop_request)

    return mirrored(paths.root, namespace=process_namespace(), stop=stop, say=say)


def confirm(
    reference: str | Path = "last",
    storage: str | Path = "runs",
    *,
    finalists: int | None = None,
    seeds: int | None = None,
    trials: Sequence[str] = (),
    allow_changed_environment: bool = False,
    trust: TrustLike = False,
    progress: bool | ProgressFactory | None = None,
    say: Callable[[str], None] = _logger.info,
) -> Run:
    """Train a run's finalists and its baseline again on fresh seeds, or on more of them.

    What was trained already stays and counts. The champion is chosen anew.

    Args:
        reference: a path, a folder's name under ``storage``, or ``last``.
        storage: the folder that holds the runs.
        finalists: how many of the search's best; by default as in the spec, 3 if that has none,
            and none beside named trials.
        seeds: for each of them, earlier ones included; by default as in the spec.
        trials: ids of trials that are trained again whatever their score.
        allow_changed_environment: as in `resume`.
        trust: the same.
        progress: as for `run`, or what makes it.
        say: receives, in words, what is going to happen.

    Raises:
        UserError: there is no such run or trial, the search is not over, or as for `resume`.
    """
    extension = Extension(
        is_confirming=True, finalists=finalists, confirm_seeds=seeds, trials=tuple(trials)
    )
    return resume(
        reference,
        storage,
        extension=extension,
        allow_changed_environment=allow_changed_environment,
        trust=trust,
        progress=progress,
        say=say,
    )


def _search_end(before: SweepResults, changes: Mapping[str, Any], state: LaunchState) -> str | None:
    """How the search ended, if its finalists are chosen and nothing of it goes on; else None."""
    planned = before.confirmation
    if planned is None or not is_current(before):
        return None
    is_extended = any(not key.startswith(("selection.", "ray.")) for key in changes)
    is_retried = any(
        before.trial(one.trial_id).state is TrialState.ERROR for one in state.continuations
    )
    return None if is_extended or is_retried else planned.search_ended_by
