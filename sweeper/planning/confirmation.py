"""What the confirmation will train, on which seeds, and against which baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.errors import Problem, SpecError
from sweeper.hints import show
from sweeper.json_values import to_json
from sweeper.metrics import ENV_STEPS
from sweeper.search.distributions import constants, distributions
from sweeper.spec import ExperimentSpec, dump_spec, read_spec
from sweeper.spec.keys.param_space import check_param_space
from sweeper.spec.sections import SeedGroups
from sweeper.spec.text.yaml import dotted

__all__ = ["Baseline", "PlannedConfirmation", "confirmation_seeds", "plan_confirmation"]

_BASELINE = ("selection", "baseline")


@dataclass(frozen=True)
class Baseline:
    """What the champion is held against.

    Attributes:
        name: ``defaults``, or the file it is from.
        configuration: all of its hyperparameters that differ from the defaults, nested.
        spec: the file's, as YAML, for the run to keep; empty for ``defaults``.
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
        kept_baseline: read in the place of the baseline's file, which may have changed since the
            run began, or be gone.

    Raises:
        SpecError: the baseline's file can't be read, or is of another experiment.
    """
    if finalists <= 0:
        return None
    baseline = _find_baseline(spec, kept_baseline)
    seeds, step = confirmation_seeds(spec.selection.confirm_seeds)
    samples = finalists + (baseline is not None)
    steps = spec.stop.get(ENV_STEPS)
    asked = spec.search.max_concurrent
    return PlannedConfirmation(
        finalists=finalists,
        baseline=baseline,
        seeds=seeds,
        step=step,
        episodes=spec.selection.confirm_episodes,
        env_steps=None if steps is None else math.ceil(steps) * samples * len(seeds),
        concurrent=max(1, min(samples, fits if asked == "auto" else min(asked, fits))),
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
        found = _read_baseline(spec, kept or Path(name), is_record=kept is not None)
        return replace(found, name=name)
    if not list(distributions(spec.param_space)):
        return None  # nothing is searched, so the finalist is the baseline
    baseline = Baseline(name, constants(spec.param_space))
    problems = check_param_space(spec.algorithm, baseline.configuration, spec.backend)
    for problem in problems:
        key = dotted(("param_space", *problem.path))
        raise _refuse(
            spec,
            f"with the searched parameters at their defaults, {key}: {problem.message}; use "
            "baseline: none, or a spec's file",
        )
    return baseline


def _read_baseline(spec: ExperimentSpec, path: Path, *, is_record: bool) -> Baseline:
    if not path.is_file():
        raise _refuse(
            spec,
            f"must be defaults, none, or the file of a spec; there is no file {show(str(path))}",
        )
    reading = read_spec(path, is_training=True, is_record=is_record)
    if reading.spec is None:
        first = reading.problems[0]
        more = len(reading.problems) - 1
        others = f" (and {more} more)" if more else ""
        raise _refuse(spec, f"{path} has a problem of its own: {first}{others}")
    other = reading.spec
    for what, theirs, ours in (
        ("environment", _environment(other), _environment(spec)),
        ("algorithm", other.algorithm, spec.algorithm),
        ("backend", other.backend, spec.backend),
    ):
        if theirs != ours:
            raise _refuse(
                spec,
                f"{path} is for another {what}: {show(theirs)}, and the sweep is of {show(ours)}; "
                "the baseline must do the same task in the same way",
            )
    return Baseline(str(path), constants(other.param_space), dump_spec(other))


def _environment(spec: ExperimentSpec) -> Any:
    """What makes it the same task: id, arguments and wrappers; the id alone if they are default."""
    environment = spec.environment
    plain = environment.model_dump(exclude_defaults=True, exclude={"search_paths", "vectorization"})
    return plain["id"] if set(plain) == {"id"} else plain


def _refuse(spec: ExperimentSpec, message: str) -> SpecError:
    return SpecError([Problem(spec.locate(_BASELINE), dotted(_BASELINE), message)])
