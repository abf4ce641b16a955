"""The one Tune Trainable: a configuration with all its replicas, one flat row a report."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import math
import sys
import time
import traceback
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ray import tune

from sweeper.checkpoint_marker import mark_complete
from sweeper.environments.containment import USER_ERRORS
from sweeper.errors import SweeperError
from sweeper.paths import CheckpointPaths, RunPaths
from sweeper.run_files import read_json
from sweeper.search.configuration import merge_configuration
from sweeper.stack_files import StackFile
from sweeper.storage.address import address_of, storage_folder
from sweeper.storage.checkpoints import bring_folder, patiently
from sweeper.trainables.contract import ReplicaTrainer, TrialSettings
from sweeper.trainables.examination import examine
from sweeper.trainables.metrics import TrialMetrics
from sweeper.trainables.milestones import find_met_criterion, steps_crossed, tenths_done
from sweeper.trainables.plateau import PlateauWatch
from sweeper.trainables.trainers import trainer_class
from sweeper.trainables.trial_log import TrialLog
from sweeper.veil import veil, veil_output

__all__ = ["SETTINGS", "SweepTrial", "TrialFailedError", "trial_class"]

_logger = logging.getLogger(__name__)

# In Tune's config: the settings of a trial that has others than its class.
SETTINGS = "sweeper_settings"

_STATE_VERSION = 1
_CLOSE_S = 60.0


class TrialFailedError(SweeperError):
    """Another library's exception ended the trial; the message is one line, its class first."""


class SweepTrial(tune.Trainable):  # type: ignore[misc]
    """Trains one configuration: the constants of `settings`, and Tune's ``config`` over them.

    Use a subclass made by `trial_class`; settings in ``config[SETTINGS]`` take the place of the
    subclass's: the trials of the next stage use the same process. Tune calls `setup` or
    `reset_config`, then `step` until a result is ``done``, and `save_checkpoint` after a result
    with ``should_checkpoint``.

    The trainer is built in the first step or restore. An invalid configuration is then an error
    of a step: Tune treats errors in a constructor or a reset differently.

    A step's result is the row of `TrialMetrics` with ``done``, ``stopped_by`` (the criterion that
    was met, or None) and, if one is due, ``should_checkpoint``. The criteria are checked here,
    not by Tune: the step that meets one also makes the last evaluation and the last checkpoint.
    After `wind_up` a step repeats the last row with an evaluation, and ``replaces`` is true.
    """

    settings: TrialSettings
    log_root: ClassVar[str | None] = None

    @classmethod
    def default_resource_request(cls, config: Mapping[str, Any]) -> Any:
        """The resources of the trial's process and of its own env runners and learners."""
        settings = config.get(SETTINGS, cls.settings)
        configuration = merge_configuration(settings.constants, config)
        main = {"CPU": settings.cpus, "GPU": settings.gpus}
        # RLlib places env runner k of every Algorithm in bundle k, so replicas share a bundle.
        replicas = len(settings.seeds)
        runner = {
            "CPU": replicas * configuration.get("num_cpus_per_env_runner", 1),
            "GPU": replicas * configuration.get("num_gpus_per_env_runner", 0),
        }
        bundles = [main, *[runner] * int(configuration.get("num_env_runners", 0))]
        gpus = configuration.get("num_gpus_per_learner", 1 if settings.gpus else 0)
        cpus = configuration.get("num_cpus_per_learner", "auto")
        learner = {"CPU": (0 if gpus else 1) if cpus == "auto" else cpus, "GPU": gpus}
        bundles += [learner] * (replicas * int(configuration.get("num_learners", 0)))
        return tune.PlacementGroupFactory(
            [{key: amount for key, amount in bundle.items() if amount} for bundle in bundles]
        )

    def setup(self, config: dict[str, Any]) -> None:
        """Start with a configuration; Tune calls it once per actor."""
        self._trainer: ReplicaTrainer | None = None
        self._best: float | None = None
        self._log = TrialLog()
        self._stack = None
        if self.log_root is not None and self.is_actor():
            self._stack = StackFile(RunPaths(storage_folder(self.log_root)).stacks)
        self.config.pop(SETTINGS, None)  # or every report has them
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same process."""
        self.rest()
        self._start(new_config)
        return True

    def rest(self) -> None:
        """Give back what the trial holds, since the process may wait for the next one for hours.

        What its environments' `close` raises is only logged. One that never returns would keep
        the next trial waiting: the process ends instead, and that trial begins in another.
        """
        faulthandler.dump_traceback_later(_CLOSE_S, exit=True, file=2)
        try:
            self.cleanup()
        except USER_ERRORS:
            print(veil(traceback.format_exc()), end="", file=sys.stderr)  # noqa: T201
        finally:
            faulthandler.cancel_dump_traceback_later()
        if self._stack is not None:
            self._stack.note(None)  # between two trials

    def step(self) -> dict[str, Any]:
        """Train one iteration, evaluate if due, and decide whether the trial is over."""
        with self._explaining_errors():
            row = self._repeat_row() if self._is_winding_up else self._step()
            self._log.report(row)
            return row

    def wind_up(self) -> None:
        """Let the next step evaluate without training, because the search's budget is used up.

        Called between two steps before the trial is paused: it is then judged by an evaluation
        of its current weights.
        """
        self._is_winding_up = True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the trainer's files, and the state that the next rows depend on."""
        with self._explaining_errors():
            state = {
                "version": _STATE_VERSION,
                "trial_id": self.trial_id,
                "seeds": list(self.settings.seeds),
                "trainer": self._built().save(Path(checkpoint_dir)),
                "metrics": self._metrics.state(),
                "best": self._best,
                "tenths": self._tenths,
                "plateau": self._plateau.state(),
            }
            CheckpointPaths(Path(checkpoint_dir)).state.write_text(
                json.dumps(state), encoding="utf-8"
            )
            mark_complete(Path(checkpoint_dir))

    def load_checkpoint(self, checkpoint: str) -> None:
        """Continue from a checkpoint; Tune restores iteration and time from its metrics.

        That of another trial makes this one a copy, with random numbers of its own.
        """
        with self._explaining_errors():
            state = read_json(CheckpointPaths(Path(checkpoint)).state)
            if state["version"] != _STATE_VERSION or state["seeds"] != list(self.settings.seeds):
                raise SweeperError(f"{checkpoint} is no checkpoint of these replicas")
            self._metrics.restore(state["metrics"])
            self._best, self._tenths = state["best"], state["tenths"]
            if "plateau" in state:  # checkpoints of older versions have none
                self._plateau.restore(state["plateau"])
            is_copy = state.get("trial_id", self.trial_id) != self.trial_id
            branch = zlib.crc32(self.trial_id.encode()) if is_copy else None
            self._built().restore(Path(checkpoint), state["trainer"], branch=branch)

    def cleanup(self) -> None:
        """Close the trainer."""
        if self._trainer is not None:
            trainer, self._trainer = self._trainer, None
            trainer.close()

    def _start(self, config: dict[str, Any]) -> None:
        if self._stack is not None:
            self._stack.note(self.trial_id)
        self.settings = config.pop(SETTINGS, type(self).settings)
        self._redirect_output()
        self.settings.environment.learn_secrets()
        self._configuration = merge_configuration(self.settings.constants, config)
        self._metrics = TrialMetrics(
            len(self.settings.seeds),
            int(self._configuration.get("metrics_num_episodes_for_smoothing", 100)),
            self.settings.objective,
        )
        self._plateau = PlateauWatch(self.settings.plateau)
        self._best = None
        self._tenths = 0
        self._train_time_s = 0.0
        self._evaluated_at: int | None = None
        self._is_winding_up = False

    def _step(self) -> dict[str, Any]:
        settings, metrics = self.settings, self._metrics
        is_new = self._trainer is None
        trainer = self._built()
        if is_new and settings.start is not None:
            trainer.begin(_bring_start(settings.start))
        started = time.monotonic()
        before = metrics.env_steps
        metrics.record_training(trainer.train())
        self._train_time_s = time.monotonic() - started
        row = self._make_row()
        clocked = {**row, **self._clock(started)}
        stopped_by = self._find_end(clocked, is_evaluation=False)
        tenths = tenths_done(settings, clocked)
        is_tenth, self._tenths = tenths > self._tenths, tenths

        def is_due(every_env_steps: int | None) -> bool:
            if stopped_by or every_env_steps is None:
                return bool(stopped_by) or is_tenth
            return steps_crossed(before, metrics.env_steps, every_env_steps)

        if settings.evaluation is not None and is_due(settings.evaluation.every_env_steps):
            row = self._evaluate()
            clocked = {**row, **self._clock(started)}
            stopped_by = stopped_by or self._find_end(clocked, is_evaluation=True)
        if stopped_by and settings.confirmation is not None:
            examined = examine(trainer, settings.confirmation, settings.objective)
            metrics.record_divergence(examined.results)
            row = {**self._make_row(), **examined.row}
        if is_due(settings.checkpoint_every_env_steps) or self._record_best(row):
            row["should_checkpoint"] = True
        return {**row, "done": stopped_by is not None, "stopped_by": stopped_by}

    def _repeat_row(self) -> dict[str, Any]:
        """Repeat the last row with an evaluation; does not count as an iteration."""
        started = time.monotonic()
        is_evaluated = self._evaluated_at == self._metrics.env_steps
        row = self._make_row() if is_evaluated else self._evaluate()
        self._iteration -= 1
        self._record_best(row)  # only to record it: a paused trial is saved anyway
        # The plateau does not see this row: if the trial is resumed, it must end where an
        # uninterrupted one would.
        stopped_by = find_met_criterion(self.settings.stop, {**row, **self._clock(started)})
        if stopped_by is not None:
            row["should_checkpoint"] = True
        ends = {"done": stopped_by is not None, "stopped_by": stopped_by}
        return {**row, **ends, "replaces": True}

    def _evaluate(self) -> dict[str, Any]:
        self._metrics.record_evaluation(self._built().evaluate())
        self._evaluated_at = self._metrics.env_steps
        return self._make_row()

    def _make_row(self) -> dict[str, Any]:
        return self._metrics.row(train_time_s=self._train_time_s)

    def _find_end(self, row: Mapping[str, Any], *, is_evaluation: bool) -> str | None:
        flat = self._plateau.take(row, is_evaluation=is_evaluation)
        return find_met_criterion(self.settings.stop, row) or flat

    def _record_best(self, row: Mapping[str, Any]) -> bool:
        """Whether the row needs a checkpoint: with ``score: best`` each new best value does."""
        objective = self.settings.objective
        value = row.get(objective.metric)
        if objective.score != "best" or value is None or not math.isfinite(value):
            return False
        if self._best is not None and (
            value <= self._best if objective.mode == "max" else value >= self._best
        ):
            return False
        self._best = value
        return True

    def _clock(self, started: float) -> dict[str, float]:
        return {
            "training_iteration": self._iteration + 1,
            "time_total_s": self._time_total + time.monotonic() - started,
        }

    def _built(self) -> ReplicaTrainer:
        if self._trainer is None:
            self._trainer = trainer_class(self.settings)(self.settings, self._configuration)
        return self._trainer

    @contextlib.contextmanager
    def _explaining_errors(self) -> Iterator[None]:
        """Print the traceback to the trial's log, and raise an error of one line.

        Ray and Tune log and write down what is raised: of what other code said only that line.
        """
        try:
            yield
        except USER_ERRORS as error:
            with contextlib.suppress(OSError):  # the disk may be full
                print(veil(traceback.format_exc()), end="", file=sys.stderr)  # noqa: T201
                sys.stderr.flush()
            if _is_from_ray(error):
                raise
            if isinstance(error, SweeperError):
                raise error from None
            if isinstance(error, SystemExit):
                code = veil(repr(error.code))
                why = f"SystemExit: the environment called sys.exit({code})"
                raise TrialFailedError(why) from None
            root = _find_root(error)
            name = "MemoryError" if _is_out_of_memory(root) else type(root).__name__
            text = " ".join(veil(str(root)).split())
            raise TrialFailedError(f"{name}: {text[:400]}" if text else name) from None

    def _redirect_output(self) -> None:
        """Append the process's stdout and stderr, even of C libraries, to the trial's log."""
        if self.log_root is not None and self.is_actor():
            paths = RunPaths(storage_folder(self.log_root))
            self._log.begin(paths.trial_log(self.trial_id), self.trial_id)
            if self.settings.environment.variables:
                veil_output()


def trial_class(settings: TrialSettings, run_root: Path) -> type[SweepTrial]:
    """The Trainable of one sweep, which Tune sends to its workers; logs are below ``run_root``."""

    class ConfiguredTrial(SweepTrial):
        pass

    ConfiguredTrial.settings = settings
    ConfiguredTrial.log_root = str(address_of(run_root) or run_root.absolute())
    ConfiguredTrial.__name__ = ConfiguredTrial.__qualname__ = "SweepTrial"
    return ConfiguredTrial


def _bring_start(start: str) -> Path:
    """The folder with the weights that trials begin with, on this node."""
    folder = storage_folder(start)
    patiently(lambda: bring_folder(folder))
    return folder


def _find_root(error: BaseException) -> BaseException:
    """The exception with the actual message.

    RLlib wraps errors of an environment's step in a RuntimeError without a text, Ray wraps errors
    of another process in a RayTaskError whose text is a traceback.
    """
    remote = getattr(error, "cause", None)
    if isinstance(remote, BaseException):
        return _find_root(remote)
    return _find_root(error.__cause__) if error.__cause__ and not str(error) else error


def _is_from_ray(error: BaseException) -> bool:
    """Whether Ray ends the process, e.g. after a SIGTERM."""
    if not isinstance(error, SystemExit):
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and str(frames[-1].f_globals.get("__name__")).startswith("ray.")


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, numpy or torch ran out of memory."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )
