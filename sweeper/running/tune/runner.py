"""A launch: a plan, or what is left of it, carried out on Ray Tune.

The driver's events are on file in the journal before anyone else hears of them.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

# Before anything that imports Ray, for it sets Ray's switches.
from sweeper.running.tune.session import only_node, ray_session

# isort: split
from ray.train._internal.storage import StorageContext

from sweeper.errors import RunError
from sweeper.journal import Journal, LaunchEnded, LaunchStarted, TrialAsked
from sweeper.paths import RunPaths
from sweeper.planning.plan import SweepPlan, trial_settings
from sweeper.results.builder import ResultsBuilder
from sweeper.running.failures import Retries
from sweeper.running.limits import Budgets, Drain, Limits
from sweeper.running.resume.state import LaunchState
from sweeper.running.tune.callbacks import JournalCallback, LimitsCallback
from sweeper.running.tune.nodes import NodeHealth
from sweeper.running.tune.tuner import TrialQueue, build_tuner
from sweeper.search.expansion import Sample, expand
from sweeper.spec import dump_spec
from sweeper.states import LaunchEnd
from sweeper.trainables.trial import trial_class

__all__ = ["launch"]

_logger = logging.getLogger(__name__)

# How long Ray may take to end once no trial runs; it has been seen to hang when its own
# processes were killed with the driver's.
_END_S = 60.0


def launch(
    plan: SweepPlan,
    paths: RunPaths,
    journal: Journal,
    *,
    results: ResultsBuilder,
    state: LaunchState | None = None,
    changes: Mapping[str, Any] | None = None,
) -> str:
    """Carry out a plan, to its last trial or to the end that was asked for.

    SIGINT and SIGTERM pause and save the running trials and end the launch in order; a second
    one ends the process at once, and the journal has all that was reported.

    Args:
        plan: what to run.
        paths: the run's folder, whose lock the caller holds.
        journal: takes every event; its listeners hear of each.
        results: one of the listeners.
        state: where the launch begins; by default with nothing done.
        changes: what of the plan's spec an extension has set.

    Returns:
        How it ended: ``finished``, ``interrupted``, ``disk nearly full`` or the budget that
        was reached.

    Raises:
        UserError: the cluster named by the spec can't be reached.
        RunError: Ray or the journal's disk failed; the run can be resumed.
    """
    state = state or LaunchState()
    drain = Drain(evaluates=plan.spec.evaluation is not None)
    with _signals_end(drain) as install_signals:
        journal.append(
            LaunchStarted(
                time=time.time(),
                launch=state.launch,
                pid=os.getpid(),
                command=tuple(sys.argv),
                host=socket.gethostname(),
                spec=dump_spec(plan.spec),
                changes=changes or {},
            )
        )
        for end in state.ends:
            journal.append(end)
        reason = state.over or LaunchEnd.FINISHED
        if state.over is None and (state.continuations or state.asked < plan.trials):
            if paths.stop_request.exists():  # while this process was starting
                drain.request(LaunchEnd.INTERRUPTED)
            if drain.reason is not None:
                reason = drain.reason
            else:
                with ray_session(plan.spec.ray.address, install_signals):
                    reason = drain.reason or _search(plan, paths, journal, results, state, drain)
        journal.append(LaunchEnded(time=time.time(), reason=reason))
    return reason


def _search(
    plan: SweepPlan,
    paths: RunPaths,
    journal: Journal,
    results: ResultsBuilder,
    state: LaunchState,
    drain: Drain,
) -> str:
    spec = plan.spec
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(plan.concurrent)
    health = NodeHealth()
    queue = TrialQueue(
        # A pure function of space and seed: what was asked for before comes out again.
        itertools.islice(
            expand(
                spec.param_space,
                spec.search.num_samples,
                spec.search.seed,
                spec.search.points_to_evaluate,
            ),
            state.asked,
            None,
        ),
        on_ask=lambda trial_id, sample: journal.append(_asked(trial_id, sample, plan)),
        max_concurrent=plan.concurrent,
        checkpoints=StorageContext(
            storage_path=str(paths.root), experiment_dir_name=paths.trials.name
        ),
        drain=drain,
        asked=state.asked,
        max_trials=spec.budget.trials,
        continuations=state.continuations,
        avoided=health.avoided_by,
    )
    limits = _limits(plan, paths, results, drain)
    limits.catch_up(results.snapshot())
    # What holds already does so before the first trial begins.
    limits.tick(close_queue=queue.close, end_trial=lambda _: None)
    if drain.reason is not None:
        return drain.reason
    journal.listeners.append(limits)
    recorder = JournalCallback(
        journal,
        paths,
        results=results,
        queue=queue,
        retries=Retries(spec.resources.retries),
        drain=drain,
        objective=spec.objective,
        node=only_node(),
        health=health,
    )
    if spec.budget.time_s is not None:
        drain.deadline = time.monotonic() + spec.budget.time_s - state.spent_s
    tuner = build_tuner(
        trial_class(trial_settings(plan), paths.root),
        queue=queue,
        drain=drain,
        callbacks=[recorder, LimitsCallback(limits, queue, recorder, drain)],
        folder=paths.tune / f"launch_{state.launch}",
    )
    try:
        with _watchdog(drain):
            tuner.fit()
    except Exception as error:
        why = journal.failure or _last_line(error)
        raise RunError(
            f"{why}; nothing that was reported is lost: `sweeper resume {paths.root.name}` goes on"
        ) from error
    # Tune's own snapshot, larger than all the rest of the record and read by nobody.
    shutil.rmtree(paths.tune, ignore_errors=True)
    if queue.is_used_up and all(trial.state.is_over for trial in results.snapshot().trials):
        return LaunchEnd.FINISHED  # whatever was asked for meanwhile
    return drain.reason or queue.closed or LaunchEnd.FINISHED


def _limits(plan: SweepPlan, paths: RunPaths, results: ResultsBuilder, drain: Drain) -> Limits:
    spec = plan.spec
    objective = spec.objective
    budgets = Budgets(
        env_steps=spec.budget.env_steps,
        trials=spec.budget.trials,
        no_improvement_trials=spec.budget.no_improvement_trials,
        timeout_s=spec.resources.timeout_s,
    )
    return Limits(paths, results, objective, budgets, drain)


def _asked(trial_id: str, sample: Sample, plan: SweepPlan) -> TrialAsked:
    return TrialAsked(
        time=time.time(),
        trial_id=trial_id,
        configuration=sample.configuration,
        parameters=sample.parameters,
        seeds=plan.spec.seeds,
    )


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"Ray Tune failed: {lines[-1] if lines else type(error).__name__}"


def _end_line() -> None:
    """Leave the terminal's line, where ^C was echoed behind a table, to the shell's prompt.

    Standard error may be a pipe of the live view's, which nobody empties any more.
    """
    with suppress(OSError):
        terminal = os.open("/dev/tty", os.O_WRONLY | os.O_NOCTTY)
        os.write(terminal, b"\r\n")
        os.close(terminal)


@contextmanager
def _signals_end(drain: Drain) -> Iterator[Callable[[], None]]:
    """While in the block, SIGINT and SIGTERM ask for the end; the second one exits at once.

    Yields:
        Sets the handlers again, after someone else has set theirs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if drain.reason is LaunchEnd.INTERRUPTED:
            _end_line()
            os._exit(130)
        drain.reason = LaunchEnd.INTERRUPTED
        count = len(drain.running)
        # A signal handler can't log: the lock may be held.
        trials = f"saving {count} running trial{'s' if count != 1 else ''}" if count else "ending"
        text = f"\ninterrupted: {trials}; again to end at once\n"
        os.write(sys.stderr.fileno(), text.encode())

    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, handle) for number in numbers}

    def install() -> None:
        for number in numbers:
            signal.signal(number, handle)

    try:
        yield install
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _watchdog(drain: Drain) -> Iterator[None]:
    """End the process if Ray does not end although no trial is left to wait for."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(1.0):
            since = drain.over_since
            if since is not None and time.monotonic() - since > _END_S:
                _logger.error("Ray does not end; leaving it behind, what was reported is on file")
                os._exit(130)

    threading.Thread(target=watch, name="sweeper-watchdog", daemon=True).start()
    try:
        yield
    finally:
        done.set()
