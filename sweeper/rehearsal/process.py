"""``sweeper plan --rehearse``: a few of the sweep's configurations, really trained, for seconds.

The work is done by a process of its own (`sweeper.rehearsal.worker`), so that the plan needs
neither Ray nor torch, and so that whatever happens there ends with it. Nothing is written to the
storage or to MLflow: spec, logs and checkpoints lie in a temporary folder that goes away.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from sweeper.errors import RunError, UserError
from sweeper.formatting import count_noun, format_duration, format_parameters
from sweeper.hints import did_you_mean
from sweeper.metrics import ENV_STEPS
from sweeper.planning.plan import SweepPlan
from sweeper.rehearsal.cost import choose_probes
from sweeper.rehearsal.forecast import Probe, Rehearsal
from sweeper.rehearsal.processes import end_processes, processes_below
from sweeper.spec import dump_spec

__all__ = ["read_result", "rehearse_plan"]

_logger = logging.getLogger(__name__)

# A step that can't be cut short (an iteration, an evaluation, Ray's start) may take so long.
_PATIENCE_S = 120.0
_PATIENCE = 5.0  # or so many times what was asked for
_CHILD = "from sweeper.rehearsal.worker import main; main()"


def rehearse_plan(
    plan: SweepPlan,
    seconds: float,
    *,
    say: Callable[[str], None] = _logger.info,
    patience_s: float = _PATIENCE_S,
) -> Rehearsal:
    """Train some of the plan's configurations, as many side by side as the sweep would.

    Args:
        plan: the sweep.
        seconds: to train for, all rounds together; starting and ending come on top.
        say: told in words what goes on.
        patience_s: how long one step of it may take at least before it is given up.

    Raises:
        RunError: no configuration could be trained, evaluated, saved and read back.
        UserError: Ray can't be started, or there is no such metric.
    """
    rounds = choose_probes(plan)
    number = sum(len(chosen) for chosen in rounds)
    beside = f", {len(rounds[0])} side by side," if len(rounds[0]) > 1 else ""
    say(
        f"rehearsing {count_noun(number, 'configuration')}{beside} for "
        f"{format_duration(seconds)}; Ray's start and end come on top"
    )
    with tempfile.TemporaryDirectory(prefix="sweeper-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "spec.yaml").write_text(dump_spec(plan.spec), encoding="utf-8")
        request = {
            "seconds": seconds,
            "rounds": rounds,
            "began": time.time(),
            "log_level": logging.getLogger().getEffectiveLevel(),
        }
        (folder / "rehearsal.json").write_text(json.dumps(request), encoding="utf-8")
        result = _carry_out(folder, max(patience_s, _PATIENCE * seconds), plan)
        for log in sorted(folder.rglob("log.txt")):
            _logger.debug("%s", log.read_text(encoding="utf-8", errors="replace"))
    return read_result(result, plan, concurrent=len(rounds[0]), seconds=seconds)


def _carry_out(folder: Path, patience_s: float, plan: SweepPlan) -> Mapping[str, Any]:
    """The process's result; whatever happens, the process and what it started are gone then."""
    environment = {
        **os.environ,
        # Tune's trainables make a folder each, wherever else they write.
        "RAY_AIR_LOCAL_CACHE_DIR": str(folder / "ray_results"),
    }
    errors = folder / "errors.txt"
    # A pipe of its own: on stdout anyone may print, and anything.
    reading, writing = os.pipe()
    lines = _lines_of(reading)
    with errors.open("wb") as stream:
        try:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", _CHILD, str(folder), str(writing)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                env=environment,
                pass_fds=[writing],
                start_new_session=True,  # Ctrl-C is for us, and we end it
            )
        finally:
            os.close(writing)  # else there would be no end of it
        with process:
            try:
                return _listen(process, lines, errors, patience_s, plan)
            finally:
                below = processes_below(process.pid)
                process.kill()
                end_processes(below)


def _listen(
    process: subprocess.Popen[bytes],
    lines: queue.SimpleQueue[str | None],
    errors: Path,
    patience_s: float,
    plan: SweepPlan,
) -> Mapping[str, Any]:
    doing = "starting Ray"
    while True:
        try:
            line = lines.get(timeout=patience_s)
        except queue.Empty:
            raise RunError(_describe_silence(doing, patience_s, plan)) from None
        if line is None:
            raise RunError(f"the rehearsal ended while {doing}: {_last_line(errors, process)}")
        message = json.loads(line)
        if "result" in message:
            result: Mapping[str, Any] = message["result"]
            return result
        if "error" in message:
            kind = UserError if message["exit_code"] == UserError.exit_code else RunError
            raise kind(message["error"])
        doing = message["doing"]


def _lines_of(pipe: int) -> queue.SimpleQueue[str | None]:
    """What comes out of it, line by line as it comes, and None at its end."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def pump() -> None:
        with os.fdopen(pipe, encoding="utf-8") as messages:
            for line in messages:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=pump, daemon=True).start()
    return lines


def _describe_silence(doing: str, patience_s: float, plan: SweepPlan) -> str:
    after = f"nothing was heard of the rehearsal for {format_duration(patience_s)} while {doing}"
    if not doing.startswith("training"):
        return after
    evaluation = " or an evaluation" if plan.spec.evaluation is not None else ""
    return (
        f"{after}: an iteration{evaluation} takes longer than that, or "
        f"{plan.spec.environment.id} hangs; allow more with --seconds "
        f"{round(patience_s / _PATIENCE * 4)}, or make iterations shorter"
    )


def _last_line(errors: Path, process: subprocess.Popen[bytes]) -> str:
    text = errors.read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines()]
    said = [line for line in lines if line]
    return said[-1] if said else f"exit code {process.wait()}"


# --- what it came to -------------------------------------------------------------------------


def read_result(
    result: Mapping[str, Any], plan: SweepPlan, *, concurrent: int, seconds: float
) -> Rehearsal:
    """What the process found, as measurements and warnings.

    Raises:
        RunError: something failed that would fail in the sweep as well.
        UserError: nothing reports the metric that trials would be judged by.
    """
    failed = [probe for probe in result["probes"] if "error" in probe]
    passed = [probe for probe in result["probes"] if "error" not in probe]
    # An environment that fails once will fail the sweep; a configuration that the algorithm
    # refuses is one trial's affair, unless all of them are.
    fatal = [probe for probe in failed if not probe["is_its_own"]]
    if fatal or not passed:
        raise RunError(f"the rehearsal failed while {_describe_failure((fatal or failed)[0])}")
    _check_metric(plan, passed)
    names = [field.name for field in fields(Probe)]
    probes = tuple(Probe(**{name: probe[name] for name in names}) for probe in passed)
    return Rehearsal(
        probes=probes,
        concurrent=concurrent,
        seconds=seconds,
        start_s=result["start_s"],
        worker_s=result["workers_s"],
        end_s=result["end_s"],
        memory_bytes=result["memory_bytes"],
        warnings=tuple(_warnings(plan, passed, failed)),
    )


def _describe_failure(probe: Mapping[str, Any]) -> str:
    place = f" ({probe['place']})" if probe["place"] else ""
    parameters = format_parameters(probe["parameters"])
    with_ = f" with {parameters}" if parameters else ""
    return f"{probe['doing']}{with_}: {probe['error']}{place}"


def _check_metric(plan: SweepPlan, passed: list[Mapping[str, Any]]) -> None:
    """A return is there once an episode has ended; whatever else is judged by must be there."""
    metric = plan.spec.selection.metric
    for probe in passed:
        if metric.startswith("learner/") and probe["has_learned"] and probe["value"] is None:
            known = [name for name in probe["metrics"] if name.startswith("learner/")]
            raise UserError(
                f"no trial reports selection.metric {metric}; there are {', '.join(known)}"
                f"{did_you_mean(metric, known)}"
            )


def _warnings(
    plan: SweepPlan, passed: list[Mapping[str, Any]], failed: list[Mapping[str, Any]]
) -> list[str]:
    metric = plan.spec.selection.metric
    found = []
    if failed:
        found.append(
            f"{len(failed)} of {len(failed) + len(passed)} rehearsed configurations failed, as "
            f"some of the sweep's will: while {_describe_failure(failed[0])}"
        )
    without = [probe for probe in passed if probe["value"] is None]
    if without:
        steps = max(probe["env_steps"] for probe in without)
        limit = without[0]["episode_limit"]
        may = f" (one may take {limit:,} steps)" if limit else ""
        stop = plan.spec.stop.get(ENV_STEPS)
        more = "" if stop is None else f"; a trial goes on to {int(stop):,}"
        found.append(
            f"{metric} has no value after the rehearsal's {steps:,} env steps a replica, for it "
            f"needs an episode that has ended{may}{more}"
        )
    if not all(probe["has_learned"] for probe in passed):
        found.append(
            "no update was made in the rehearsal's time, so training will be slower than it "
            "says; rehearse longer with --seconds"
        )
    return found
