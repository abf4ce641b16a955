"""The process behind ``sweeper plan --rehearse``: Ray, workers, trials as the sweep's, for seconds.

Started by `sweeper.rehearsal.process`, which reads the JSON lines from a pipe: what goes on, and
at last what was measured. Trials are `SweepTrial`s in workers of the sweep's size, as many side
by side as there will be, so that what they share is shared here too; only Tune is missing.
"""

from __future__ import annotations

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

# Before anything that imports Ray, for it sets Ray's switches.
from sweeper.running.tune.session import ray_session

# isort: split
import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

import sweeper
from sweeper.environments.building import describe
from sweeper.errors import ConfigurationRefusedError, SweeperError
from sweeper.metrics import ENV_STEPS
from sweeper.paths import CheckpointPaths
from sweeper.planning.plan import SweepPlan, trial_settings
from sweeper.rehearsal.cost import read_number, samples_of
from sweeper.rehearsal.processes import processes_below, proportional_bytes
from sweeper.search.expansion import Sample
from sweeper.spec import ExperimentSpec, load_spec
from sweeper.trainables.contract import TrialDivergedError, TrialSettings
from sweeper.trainables.trial import SweepTrial, trial_class

__all__ = ["main"]

_logger = logging.getLogger(__name__)

_LEARNING_STARTS = "num_steps_sampled_before_learning_starts"
# A replay memory is filled no further than this before there are updates, which are what takes
# the time; how long the rest takes follows from the speed until here.
_FILLED_STEPS = 1000
_PLACED_S = 60.0
# What a trial may take beyond its time until it has learned at all, as multiples of that time.
_PATIENCE = 3.0


@dataclass(frozen=True)
class _Step:
    """One iteration: a replica's env steps and the time that it took."""

    env_steps: float
    seconds: float
    is_learning: bool


class _Worker:
    """Rehearses one configuration after the other, in a worker process like the sweep's."""

    def __init__(self, spec: ExperimentSpec, settings: TrialSettings, root: Path) -> None:
        self._settings, self._root = settings, root
        self._metric = spec.selection.metric
        self._keeps_trainer = spec.keeps_trainer
        self._trial: SweepTrial | None = None
        self._built: Mapping[str, Any] | None = None
        self._failure: dict[str, Any] | None = None
        self._doing = ""

    def prepare(self, parameters: Mapping[str, Any]) -> None:
        """Import and build what the first configuration needs; what goes wrong is told later."""
        try:
            self._build(parameters)
        except Exception as error:
            self._failure = self._describe(error)

    def rehearse(self, parameters: Mapping[str, Any], starts: int, seconds: float) -> Any:
        """Train, evaluate, save, and read back; what was measured, or what went wrong.

        Args:
            parameters: what varies.
            starts: env steps after which it learns, if it waits for that.
            seconds: to train for.
        """
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
        """Take up a configuration; saving it is what makes a trial build before its first step."""
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
            "error": " ".join(str(error).split()) or type(error).__name__,
            "place": _place(error),
            "is_its_own": isinstance(error, ConfigurationRefusedError | TrialDivergedError),
        }

    def _rehearse(
        self, trial: SweepTrial, parameters: Mapping[str, Any], starts: int, seconds: float
    ) -> dict[str, Any]:
        self._doing, self._built = "training", None  # it will be no fresh one any more
        first, *rest = steps = list(_train(trial, starts, seconds, row := {}))
        found: dict[str, Any] = {
            "env_steps": sum(step.env_steps for step in steps),
            "iteration_steps": max(1.0, statistics.fmean(step.env_steps for step in steps)),
            **_speeds(first, rest),
            "evaluation_s": 0.0,
            "evaluation_steps": 0.0,
        }
        if self._settings.evaluation is not None:
            self._doing = "evaluating"
            trial.wind_up()
            began = time.perf_counter()
            row.update(trial.step())
            found["evaluation_s"] = time.perf_counter() - began
            found["evaluation_steps"] = row["evaluation/episode_len_mean"]
        self._doing = "saving a checkpoint"
        folder = self._empty_folder()
        began = time.perf_counter()
        trial.save_checkpoint(str(folder))
        found["save_s"] = time.perf_counter() - began
        sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
        found["checkpoint_bytes"] = sum(
            size for path, size in sizes.items() if path.name != CheckpointPaths.TRAINER_FILES[-1]
        )
        left_out = CheckpointPaths.TRAINER_FILES[-1 if self._keeps_trainer else 0 :]
        found["kept_bytes"] = sum(size for path, size in sizes.items() if path.name not in left_out)
        self._doing = "reading a checkpoint back"
        began = time.perf_counter()
        trial.reset_config(dict(parameters))
        trial.load_checkpoint(str(folder))
        found["build_s"] = time.perf_counter() - began
        shutil.rmtree(folder)
        numbers = [one for one in row.values() if isinstance(one, int | float)]
        return {
            **found,
            "episode_limit": describe(self._settings.environment).max_episode_steps,
            "report_bytes": len(json.dumps(row, default=str)),
            "report_values": len(numbers),
            "metrics": sorted(row),
            "value": row.get(self._metric),
            "memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }


def _train(trial: SweepTrial, starts: int, seconds: float, row: dict[str, Any]) -> Iterator[_Step]:
    """Iterations until the time is over and at least one of them learned; ``row`` is the last."""
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


def _speeds(first: _Step, rest: Sequence[_Step]) -> dict[str, Any]:
    """Seconds for an env step; the first iteration warms up."""
    learning = [step for step in rest if step.is_learning]
    collecting = [step for step in rest if not step.is_learning]
    if not first.is_learning and not collecting:
        collecting = [first]
    measured = learning or collecting or [first]
    return {
        "step_s": _step_s(measured),
        "collect_step_s": _step_s(collecting) if collecting else None,
        "has_learned": bool(learning) or first.is_learning,
    }


def _step_s(steps: Sequence[_Step]) -> float:
    return sum(step.seconds for step in steps) / max(1.0, sum(step.env_steps for step in steps))


def _place(error: BaseException) -> str | None:
    """File and line where it went wrong, if that is code of the user's."""
    ours = Path(sweeper.__file__).parent
    chain: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in chain:
        chain.append(found)
        found = found.__cause__ or found.__context__
    for one in reversed(chain):
        for frame in reversed(traceback.extract_tb(one.__traceback__)):
            path = Path(frame.filename)
            is_installed = "site-packages" in path.parts or path.is_relative_to(ours)
            if path.is_file() and not is_installed and "lib" not in path.parts:
                return f"{path}:{frame.lineno}"
    return None


def main() -> None:
    """Rehearse what ``rehearsal.json`` in the folder of the first argument asks for.

    The second one is the pipe's descriptor.
    """
    folder, pipe = Path(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(pipe, False)  # its end is this process's
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
    """Nobody is left to hear the result, or to tidy up; Ray's processes end with this one."""
    # Not by `sys.stdin`, whose lock a thread that waits would hold when Python ends: it aborts.
    while os.read(0, 4096):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _rehearse(folder: Path, request: Mapping[str, Any], say: Callable[..., None]) -> dict[str, Any]:
    spec = load_spec(folder / "spec.yaml")
    samples, rounds = samples_of(spec), request["rounds"]
    settings = _without_end(trial_settings(_plan(spec, len(samples))))
    share_s = request["seconds"] / len(rounds)
    with ray_session(spec.ray.address, lambda: None):
        started = time.time()
        say(doing="starting workers")
        workers = _start_workers(spec, settings, samples, rounds[0], folder)
        workers_s = time.time() - started
        found: list[dict[str, Any]] = []
        for number, chosen in enumerate(rounds, start=1):
            say(doing=f"training, {number} of {len(rounds)}")
            found += _rehearse_round(spec, samples, chosen, workers, share_s)
            # The time is for all rounds, and an iteration can't be cut short.
            if time.time() - started > workers_s + 2 * request["seconds"]:
                break
        memory = proportional_bytes([os.getpid(), *processes_below(os.getpid())])
        ending = time.time()
        say(doing="ending Ray")
    return {
        "probes": found,
        "start_s": started - request["began"],
        "workers_s": workers_s,
        "end_s": time.time() - ending,
        "memory_bytes": memory if spec.ray.address is None else None,
    }


def _plan(spec: ExperimentSpec, trials: int) -> SweepPlan:
    replicas = len(spec.seeds)
    return SweepPlan(spec, None, trials=trials, replicas=replicas, env_steps=None, concurrent=1)


def _without_end(settings: TrialSettings) -> TrialSettings:
    """The same trial, which ends, evaluates and saves when it is told to."""
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


def _start_workers(
    spec: ExperimentSpec,
    settings: TrialSettings,
    samples: Sequence[Sample],
    chosen: Sequence[int],
    root: Path,
) -> list[Any]:
    """One for each trial that runs at a time, in a placement group as Tune would make it."""
    workers = []
    for slot, index in enumerate(chosen):
        trial = trial_class(settings, root)
        group = trial.default_resource_request(samples[index].parameters)()
        if not group.wait(timeout_seconds=_PLACED_S):
            raise SweeperError(
                f"Ray found no room for trial {slot + 1} of {len(chosen)} at a time within "
                f"{_PLACED_S:g} s (it asks for {group.bundle_specs}); lower "
                "search.max_concurrent or resources"
            )
        bundle = group.bundle_specs[0]
        strategy = PlacementGroupSchedulingStrategy(
            group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
        )
        worker = ray.remote(_Worker).options(
            num_cpus=bundle.get("CPU", 0),
            num_gpus=bundle.get("GPU", 0),
            scheduling_strategy=strategy,
        )
        workers.append(worker.remote(spec, settings, root / f"slot_{slot}"))
    ray.get(
        [
            worker.prepare.remote(_shorten(spec, samples[index])[0])
            for index, worker in zip(chosen, workers, strict=True)
        ]
    )
    return workers


def _shorten(spec: ExperimentSpec, sample: Sample) -> tuple[dict[str, Any], int]:
    """The parameters with learning after fewer env steps, if it waits, and after how many."""
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
    """All workers at once, each with a configuration of its own."""
    known, calls = [], []
    for index, worker in zip(chosen, workers, strict=False):
        sample = samples[index]
        calls.append(worker.rehearse.remote(*_shorten(spec, sample), seconds))
        known.append(
            {
                "index": index,
                "parameters": sample.parameters,
                "learning_starts": read_number(spec, sample.configuration, _LEARNING_STARTS),
            }
        )
    found = []
    for about, call in zip(known, calls, strict=True):
        try:
            found.append({**about, **ray.get(call)})
        except ray.exceptions.RayError as error:
            _logger.info("a rehearsed trial's process: %s", error)
            died = "its process ended by itself (killed for its memory, or a crash in C code)"
            found.append(
                {**about, "doing": "training", "error": died, "place": None, "is_its_own": False}
            )
    return found
