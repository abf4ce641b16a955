"""What the confirmation will train, on which seeds, and against which baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.errors import Problem, SpecError
from sweeper.hints import show
from sweeper.json_values import to_json
from sweeper.metrics import ENV_STEPS
from sweeper.planning.presets import load_presets
from sweeper.presets.catalogue import (
    find_preset_file,
    is_preset_name,
    nearest_preset,
    preset_names,
)
from sweeper.search.distributions import constants, distributions
from sweeper.spec import ExperimentSpec, dump_spec, dump_value, read_spec
from sweeper.spec.keys.param_space import check_param_space
from sweeper.spec.sections import SeedGroups
from sweeper.spec.text.yaml import dotted

__all__ = ["Baseline", "PlannedConfirmation", "confirmation_seeds", "plan_confirmation"]

_BASELINE = ("selection", "baseline")
_TASK = ("environment", "algorithm", "backend")  # in the order of `_task`


@dataclass(frozen=True)
class Baseline:
    """What the champion is held against.

    Attributes:
        name: ``defaults``, a preset's, or the file it is from.
        configuration: all of its hyperparameters that differ from the defaults, nested.
        spec: its own, as YAML, for the run to keep; empty for ``defaults``.
    """

    name: str
    configuration: Mapping[str, Any]
    spec: str = ""


@dataclass(frozen=True)
class PlannedConfirmation:
    """The stage after the search.

    Attributes:
        finalists: how many of the search's trials are trained again.
        baseline: trained beside them; None if it is off.
        seeds: for each of them, in the order of use.
        step: how many seeds are added at a time; None: all at once.
        episodes: that judge each training run.
        env_steps: of all training runs, at most; None if only time bounds them.
        concurrent: trials at a time; each has all seeds of one finalist.
    """

    finalists: int
    baseline: Baseline | None
    seeds: tuple[int, ...]
    step: int | None
    episodes: int
    env_steps: int | None
    concurrent: int

    @property
    def samples(self) -> int:
        """Finalists and baseline."""
        return self.finalists + (self.baseline is not None)

    @property
    def runs(self) -> int:
        """Training runs, at most."""
        return self.samples * len(self.seeds)

    def to_json(self) -> dict[str, Any]:
        """The stage as `sweeper plan --json` prints it."""
        return {
            "finalists": self.finalists,
            "baseline": None if self.baseline is None else self.baseline.name,
            "baseline_configuration": None
            if self.baseline is None
            else to_json(self.baseline.configuration),
            "seeds": list(self.seeds),
            "step": self.step,
            "episodes": self.episodes,
            "training_runs": self.runs,
            "env_steps": self.env_steps,
            "concurrent": self.concurrent,
        }


def plan_confirmation(
    spec: ExperimentSpec, *, finalists: int, fits: int, kept_baseline: Path | None = None
) -> PlannedConfirmation | None:
    """Plan the confirmation of some finalists; None for none.

    Args:
        spec: what is run.
        finalists: how many, at most as many as there are trials.
        fits: trials that this machine can train at a time.
        kept_baseline: read in the place of the baseline's file or preset, which may have changed
            since the run began, or be gone.

    Raises:
        SpecError: there is no such preset, or the baseline's file can't be read or is of another
            experiment.
    """
    if finalists <= 0:
        return None
    baseline = _find_baseline(spec, kept_baseline)
    seeds, step = confirmation_seeds(spec.selection.confirm_seeds)
    samples = finalists + (baseline is not None)
    steps = spec.stop.get(ENV_STEPS)
    asked = spec.search.max_concurrent
    is_local = spec.ray.address is None
    room = fits if asked == "auto" else min(asked, fits) if is_local else asked
    return PlannedConfirmation(
        finalists=finalists,
        baseline=baseline,
        seeds=seeds,
        step=step,
        episodes=spec.selection.confirm_episodes,
        env_steps=None if steps is None else math.ceil(steps) * samples * len(seeds),
        concurrent=max(1, min(samples, room)),
    )


def confirmation_seeds(given: int | list[int] | SeedGroups) -> tuple[tuple[int, ...], int | None]:
    """The seeds in the order of use, and how many are added at a time (None: all at once)."""
    if isinstance(given, SeedGroups):
        return tuple(range(given.max)), given.step
    return tuple(range(given)) if isinstance(given, int) else tuple(given), None


def _find_baseline(spec: ExperimentSpec, kept: Path | None) -> Baseline | None:
    name = spec.selection.baseline
    if name == "none":
        return None
    if name != "defaults":
        path = kept or (_find_preset(spec) if is_preset_name(name) else Path(name))
        return _read_baseline(spec, path, is_record=kept is not None)
    if not list(distributions(spec.param_space)):
        return None  # nothing is searched, so the finalist is the baseline
    baseline = Baseline(name, constants(spec.param_space))
    problems = check_param_space(spec.algorithm, baseline.configuration, spec.backend)
    for problem in problems:
        key = dotted(("param_space", *problem.path))
        raise _refuse(
            spec,
            f"with the searched parameters at their defaults, {key}: {problem.message}; use "
            "baseline: none, a preset, or a spec's file",
        )
    return baseline


def _find_preset(spec: ExperimentSpec) -> Path:
    name = spec.selection.baseline
    path = find_preset_file(name)
    if path is not None:
        return path
    near = nearest_preset(name)
    hint = f"; did you mean {near}?" if near else f"; there are {', '.join(preset_names())}"
    raise _refuse(spec, f"there is no preset {show(name)}{hint} (a file: ./{name})")


def _read_baseline(spec: ExperimentSpec, path: Path, *, is_record: bool) -> Baseline:
    name = spec.selection.baseline
    if not path.is_file():
        near = nearest_preset(path.stem)
        hint = f"; did you mean the preset {near}?" if near else ""
        raise _refuse(
            spec,
            "must be defaults, none, a preset, or the file of a spec; there is no file "
            f"{show(str(path))}{hint}",
        )
    reading = read_spec(path, is_training=True, is_record=is_record)
    if reading.spec is None:
        first = reading.problems[0]
        more = len(reading.problems) - 1
        others = f" (and {more} more)" if more else ""
        raise _refuse(spec, f"{path} has a problem of its own: {first}{others}")
    other = reading.spec
    for what, theirs, ours in zip(_TASK, _task(other), _task(spec), strict=True):
        if theirs != ours:
            mend = _explain_preset(spec, other) if is_preset_name(name) else ""
            raise _refuse(
                spec,
                f"{name} is for another {what}: {show(theirs)}, and the sweep is of {show(ours)}; "
                f"the baseline must do the same task in the same way{mend}",
            )
    return Baseline(name, constants(other.param_space), dump_spec(other))


def _explain_preset(spec: ExperimentSpec, preset: ExperimentSpec) -> str:
    """Which preset does a sweep's task, or what the sweep needs for this one's."""
    others = load_presets(spec.algorithm)
    fitting = next((one.name for one in others if _task(one.spec) == _task(spec)), None)
    if fitting is not None:
        return f"; {fitting} does"
    if preset.environment.id != spec.environment.id:
        return ""
    return f"; it needs environment: {dump_value(_environment(preset))}"


def _task(spec: ExperimentSpec) -> tuple[Any, str, str]:
    return _environment(spec), spec.algorithm, spec.backend


def _environment(spec: ExperimentSpec) -> Any:
    """What makes it the same task: id, arguments and wrappers; the id alone if they are default."""
    environment = spec.environment
    plain = environment.model_dump(exclude_defaults=True, exclude={"search_paths", "vectorization"})
    return plain["id"] if set(plain) == {"id"} else plain


def _refuse(spec: ExperimentSpec, message: str) -> SpecError:
    return SpecError([Problem(spec.locate(_BASELINE), dotted(_BASELINE), message)])
