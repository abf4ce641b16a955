"""The process that `sweeper.rehearsal.process` starts: trains configurations for seconds.

It trains `SweepTrial`s in Ray workers of the sweep's size, as many side by side as in the sweep,
so that they share the machine in the same way; only Tune is missing. It writes JSON lines to a
pipe: what it is doing, and in the end the measurements or an error.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import shutil
import statistics
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# First, because it sets Ray's environment variables.
from sweeper.running.tune.cluster import spec_session

# isort: split
import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

import sweeper
from sweeper.environments.building import describe
from sweeper.errors import ConfigurationRefusedError, SweeperError
from sweeper.metrics import ENV_STEPS
from sweeper.planning.estimates import checkpoint_bytes
from sweeper.planning.plan import SweepPlan
from sweeper.planning.settings import trial_settings
from sweeper.rehearsal.cost import draw_samples, read_number
from sweeper.rehearsal.process import processes_below
from sweeper.search.expansion import Sample
from sweeper.spec import ExperimentSpec, load_spec
from sweeper.trainables.contract import TrialDivergedError, TrialSettings
from sweeper.trainables.trial import SweepTrial, trial_class
from sweeper.veil import veil

__all__ = ["main"]

_logger = logging.getLogger(__name__)

_LEARNING_STARTS = "num_steps_sampled_before_learning_starts"
# Learning starts after at most so many steps: updates take most of the time, and the time to
# collect more steps follows from these.
_FILLED_STEPS = 1000
_PLACED_S = 60.0
_PATIENCE = 3.0  # multiple of its time after which a trial stops even if it hasn't learned yet


@dataclass(frozen=True)
class _Step:
    """One iteration: env steps of a replica and their time."""

    env_steps: float
    seconds: float
    is_learning: bool


class _Worker:
    """A Ray actor that rehearses one configuration after the other."""

    def __init__(self, settings: TrialSettings, root: Path, *, keeps_trainer: bool) -> None:
        self._settings, self._root, self._keeps_trainer = settings, root, keeps_trainer
        self._trial: SweepTrial | None = None
        self._built: Mapping[str, Any] | None = None
        self._failure: dict[str, Any] | None = None
        self._doing = ""

    def prepare(self, parameters: Mapping[str, Any]) -> None:
        """Import and build what the first configuration needs; `rehearse` returns any failure."""
        try:
            self._build(parameters)
        except Exception as error:
            self._failure = self._describe(error)

    def rehearse(self, parameters: Mapping[str, Any], starts: int, seconds: float) -> Any:
        """Train, evaluate, save and load a configuration; returns measurements or a failure."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            return failure
        try:
            trial = self._trial
            if trial is None or self._built != parameters:
                trial = self._build(parameters)
            return self._rehearse(trial, parameters, starts, seconds)
        except Exception as error:
            return self._describe(error)

    def _build(self, parameters: Mapping[str, Any]) -> SweepTrial:
        """Load a configuration; saves it, because trials only build before their first step."""
        self._doing, self._built = "building", None
        if self._trial is None:
            self._trial = trial_class(self._settings, self._root)(config=dict(parameters))
        else:
            self._trial.reset_config(dict(parameters))
        self._trial.save_checkpoint(str(self._empty_folder()))
        self._built = parameters
        return self._trial

    def _empty_folder(self) -> Path:
        folder = self._root / "checkpoint"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _describe(self, error: Exception) -> dict[str, Any]:
        return {
            "doing": self._doing,
            "error": " ".join(veil(str(error)).split()) or type(error).__name__,
            "place": _find_place(error),
            "is_its_own": isinstance(error, ConfigurationRefusedError | TrialDivergedError),
        }

    def _rehearse(
        self, trial: SweepTrial, parameters: Mapping[str, Any], starts: int, seconds: float
    ) -> dict[str, Any]:
        self._doing, self._built = "training", None  # once trained, it must be built anew
        steps = list(_train(trial, starts, seconds, row := {}))
        found: dict[str, Any] = {
            "env_steps": sum(step.env_steps for step in steps),
            "iteration_steps": max(1.0, statistics.fmean(step.env_steps for step in steps)),
            **_measure_speeds(steps),
            "evaluation_s": 0.0,
            "evaluation_steps": 0.0,
        }
        if self._settings.evaluation is not None:
            self._doing = "evaluating"
            trial.wind_up()
            with _timed(found, "evaluation_s"):
                row.update(trial.step())
            found["evaluation_steps"] = row["evaluation/episode_len_mean"]
        self._doing, folder = "saving a checkpoint", self._empty_folder()
        with _timed(found, "save_s"):
            trial.save_checkpoint(str(folder))
        found["checkpoint_bytes"] = checkpoint_bytes(folder, with_trainer=True)
        found["kept_bytes"] = checkpoint_bytes(folder, with_trainer=self._keeps_trainer)
        self._doing = "reading a checkpoint back"
        with _timed(found, "build_s"):
            trial.reset_config(dict(parameters))
            trial.load_checkpoint(str(folder))
        shutil.rmtree(folder)
        return {
            **found,
            "episode_limit": describe(self._settings.environment).max_episode_steps,
            "report_bytes": len(json.dumps(row, default=str)),
            "report_values": sum(isinstance(one, int | float) for one in row.values()),
            "metrics": sorted(row),
            "value": row.get(self._settings.objective.metric),
            "memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }


@contextlib.contextmanager
def _timed(found: dict[str, Any], key: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    found[key] = time.perf_counter() - began


def _train(trial: SweepTrial, starts: int, seconds: float, row: dict[str, Any]) -> Iterator[_Step]:
    """Train until the time is over and an iteration has learned; leaves the last in ``row``."""
    began = time.perf_counter()
    last, before = began, 0
    while True:
        row.update(trial.step())
        now, steps = time.perf_counter(), int(row[ENV_STEPS])
        step = _Step(steps - before, now - last, before >= starts)
        yield step
        last, before = now, steps
        if now - began >= (seconds if step.is_learning else _PATIENCE * seconds):
            return


def _measure_speeds(steps: Sequence[_Step]) -> dict[str, Any]:
    """Seconds per env step; the first iteration, which warms up, counts only if it must."""
    first, *rest = steps
    learning = [step for step in rest if step.is_learning]
    collecting = [step for step in rest if not step.is_learning]
    if not first.is_learning and not collecting:
        collecting = [first]
    return {
        "step_s": _step_s(learning or collecting or [first]),
        "collect_step_s": _step_s(collecting) if collecting else None,
        "has_learned": bool(learning) or first.is_learning,
    }


def _step_s(steps: Sequence[_Step]) -> float:
    return sum(step.seconds for step in steps) / max(1.0, sum(step.env_steps for step in steps))


def _find_place(error: BaseException) -> str | None:
    """File and line of the user's code that failed; None if it was other code."""
    ours, place = Path(sweeper.__file__).parent, None
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:  # the innermost line of the first cause wins
        seen.append(cause)
        for frame in traceback.extract_tb(cause.__traceback__):
            path = Path(frame.filename)
            is_installed = path.is_relative_to(ours) or {"site-packages", "lib"} & {*path.parts}
            if path.is_file() and not is_installed:
                place = f"{path}:{frame.lineno}"
        cause = cause.__cause__ or cause.__context__
    return place


# --- the process -----------------------------------------------------------------------------


def main() -> None:
    """Rehearse; the command line's arguments are the request's folder and the pipe."""
    folder, pipe = Path(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(pipe, False)  # the pipe must end with this process
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    request = json.loads((folder / "rehearsal.json").read_text(encoding="utf-8"))
    logging.basicConfig(level=request["log_level"])
    with os.fdopen(pipe, "w", encoding="utf-8") as messages:

        def say(**message: Any) -> None:
            print(json.dumps(message, default=str), file=messages, flush=True)

        try:
            say(result=_rehearse(folder, request, say))
        except SweeperError as error:
            say(error=str(error), exit_code=error.exit_code)


def _end_with_parent(folder: Path) -> None:
    """Clean up and exit once the parent is gone; Ray's processes end with this one."""
    # Reading `sys.stdin` would hold its lock when Python exits, which then aborts.
    while os.read(0, 4096):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _rehearse(folder: Path, request: Mapping[str, Any], say: Callable[..., None]) -> dict[str, Any]:
    spec = load_spec(folder / "spec.yaml")
    samples, rounds = draw_samples(spec), request["rounds"]
    variables = spec.environment.settings().variables
    with spec_session(spec, variables):
        started = time.time()
        say(doing="starting workers")
        workers = _start_workers(spec, [samples[index] for index in rounds[0]], folder)
        workers_s = time.time() - started
        found: list[dict[str, Any]] = []
        for number, chosen in enumerate(rounds, start=1):
            say(doing=f"training, {number} of {len(rounds)}")
            found += _rehearse_round(
                spec, samples, chosen, workers, request["seconds"] / len(rounds)
            )
            # An iteration can't be cut short, so a round may have taken the others' time.
            if time.time() - started > workers_s + 2 * request["seconds"]:
                break
        memory = _proportional_bytes([os.getpid(), *processes_below(os.getpid())])
        ending = time.time()
        say(doing="ending Ray")
    return {
        "probes": found,
        "start_s": started - request["began"],
        "workers_s": workers_s,
        "end_s": time.time() - ending,
        "memory_bytes": memory if spec.ray.address is None else None,
    }


def _start_workers(spec: ExperimentSpec, samples: Sequence[Sample], root: Path) -> list[Any]:
    """Start a worker for each concurrent trial, in a placement group like Tune's."""
    replicas = len(spec.seeds)
    plan = SweepPlan(spec, trials=1, replicas=replicas, env_steps=None, concurrent=1)
    settings, workers = _without_end(trial_settings(plan)), []
    for slot, sample in enumerate(samples):
        group = trial_class(settings, root).default_resource_request(sample.parameters)()
        if not group.wait(timeout_seconds=_PLACED_S):
            raise SweeperError(
                f"Ray found no room for trial {slot + 1} of {len(samples)} at a time within "
                f"{_PLACED_S:g} s (it asks for {group.bundle_specs}); lower "
                "search.max_concurrent or resources"
            )
        bundle = group.bundle_specs[0]
        worker = ray.remote(_Worker).options(
            num_cpus=bundle.get("CPU", 0),
            num_gpus=bundle.get("GPU", 0),
            scheduling_strategy=PlacementGroupSchedulingStrategy(
                group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
            ),
        )
        folder = root / f"slot_{slot}"
        workers.append(worker.remote(settings, folder, keeps_trainer=plan.spec.keeps_trainer))
    pairs = zip(samples, workers, strict=True)
    ray.get([worker.prepare.remote(_shorten(spec, sample)[0]) for sample, worker in pairs])
    return workers


def _without_end(settings: TrialSettings) -> TrialSettings:
    """The same trial, but it ends, evaluates and saves only on request."""
    evaluation = settings.evaluation
    return replace(
        settings,
        stop=None,
        plateau=None,
        evaluation=None if evaluation is None else replace(evaluation, every_env_steps=None),
        checkpoint_every_env_steps=None,
        time_budget_s=None,
        env_steps_share=None,
    )


def _shorten(spec: ExperimentSpec, sample: Sample) -> tuple[dict[str, Any], int]:
    """The parameters with an earlier start of learning, and that start in env steps."""
    waits = int(read_number(spec, sample.configuration, _LEARNING_STARTS))
    starts = min(waits, _FILLED_STEPS)
    shortened = {_LEARNING_STARTS: starts} if starts < waits else {}
    return {**sample.parameters, **shortened}, starts


def _rehearse_round(
    spec: ExperimentSpec,
    samples: Sequence[Sample],
    chosen: Sequence[int],
    workers: Sequence[Any],
    seconds: float,
) -> list[dict[str, Any]]:
    """Rehearse a configuration on each worker, all at once."""
    calls = [
        worker.rehearse.remote(*_shorten(spec, samples[index]), seconds)
        for index, worker in zip(chosen, workers, strict=False)
    ]
    found = []
    for index, call in zip(chosen, calls, strict=True):
        sample = samples[index]
        try:
            measured = ray.get(call)
        except ray.exceptions.RayError as error:
            _logger.info("a rehearsed trial's process: %s", error)
            died = "its process died (out of memory, or a crash in C code)"
            measured = {"doing": "training", "error": died, "place": None, "is_its_own": False}
        starts = read_number(spec, sample.configuration, _LEARNING_STARTS)
        about = {"index": index, "parameters": sample.parameters, "learning_starts": starts}
        found.append({**about, **measured})
    return found


def _proportional_bytes(processes: Sequence[int]) -> int | None:
    """The memory of processes together, with shared pages counted once; None if unknown."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total or None
