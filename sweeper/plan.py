"""The plan: what running a spec will do, checked against its environment, without starting it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium import spaces

from sweeper.environments import EnvironmentBuildError, EnvironmentDescription, describe
from sweeper.errors import Problem, SpecError
from sweeper.metrics import ENV_STEPS
from sweeper.space import Distribution, constants, count, distributions
from sweeper.spec import ExperimentSpec
from sweeper.spec.hyperparameters import check_param_space, default
from sweeper.spec.yaml_text import dotted
from sweeper.trainables.replicas import EvaluationSettings, TrialSettings

__all__ = ["SweepPlan", "build_plan", "training_plan", "trial_settings"]


@dataclass(frozen=True)
class SweepPlan:
    """What a launch will do.

    Attributes:
        spec: what is run.
        source: the spec's file, if it came from one.
        trials: how many configurations are tried.
        replicas: training runs a trial.
        env_steps: of all trials and replicas together; None where only time bounds them.
        concurrent: trials at a time.
        warnings: what the user may not have meant.
        notes: what was decided for the user.
        estimate: seconds and bytes; None where nothing was measured.
    """

    spec: ExperimentSpec
    source: Path | None
    trials: int
    replicas: int
    env_steps: int | None
    concurrent: int
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    estimate: Mapping[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """The plan as `sweeper plan --json` prints it."""
        return {
            "name": self.spec.name,
            "trials": self.trials,
            "replicas": self.replicas,
            "env_steps": self.env_steps,
            "concurrent": self.concurrent,
            "param_space": _plain(self.spec.param_space),
            "search": _plain(self.spec.search.model_dump()),
            "scheduler": self.spec.scheduler.model_dump(mode="json"),
            "estimate": dict(self.estimate) if self.estimate is not None else None,
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def build_plan(spec: ExperimentSpec) -> SweepPlan:
    """Plan the sweep; builds the environment once, and nothing else.

    Raises:
        SpecError: the environment can't be built, its spaces don't fit the algorithm, or a
            trial asks for more than this machine has.
    """
    problems = [*_check_environment(spec), *_check_resources(spec)]
    if problems:
        raise SpecError(problems)
    trials = count(spec.param_space, spec.search.num_samples, spec.search.points_to_evaluate)
    replicas = len(spec.seeds)
    steps = spec.stop.get(ENV_STEPS)
    return SweepPlan(
        spec=spec,
        source=spec.source,
        trials=trials,
        replicas=replicas,
        env_steps=None if steps is None else int(steps) * replicas * trials,
        concurrent=_concurrent(spec, trials),
        warnings=tuple(_warnings(spec, trials)),
    )


def training_plan(spec: ExperimentSpec) -> SweepPlan:
    """Plan the training of one configuration, without a search.

    Constants stay; searched parameters are left out, so that the algorithm's defaults hold,
    which the plan's notes say.

    Raises:
        SpecError: as `build_plan`, or the constants don't go with the defaults.
    """
    space = constants(spec.param_space)
    problems = [
        Problem(
            spec.locate(("param_space", *problem.path)),
            dotted(("param_space", *problem.path)),
            f"{problem.message} (with searched parameters at their defaults)",
        )
        for problem in check_param_space(spec.algorithm, space)
    ]
    if problems:
        raise SpecError(problems)
    search = spec.search.model_copy(
        update={"algorithm": "grid", "num_samples": 1, "points_to_evaluate": []}
    )
    plan = build_plan(spec.model_copy(update={"param_space": space, "search": search}))
    notes = tuple(
        f"{dotted(path)} is searched; training takes {spec.algorithm}'s default, "
        f"{default(spec.algorithm, path)!r}"
        for path, _ in distributions(spec.param_space)
    )
    return SweepPlan(**{**vars(plan), "notes": notes})


def trial_settings(plan: SweepPlan, stage: str = "search") -> TrialSettings:
    """What is the same for every trial of the plan."""
    spec = plan.spec
    evaluation = spec.evaluation
    return TrialSettings(
        algorithm=spec.algorithm,
        backend=spec.backend,
        environment=spec.environment.settings(),
        constants=constants(spec.param_space),
        seeds=spec.seeds,
        stage=stage,
        stop=dict(spec.stop),
        evaluation=None
        if evaluation is None
        else EvaluationSettings(
            episodes=evaluation.episodes,
            every_env_steps=evaluation.every_env_steps,
            explore=evaluation.explore,
        ),
        checkpoint_every_env_steps=spec.checkpoint.every_env_steps,
        cpus=spec.resources.cpus,
        gpus=spec.resources.gpus,
    )


def _check_environment(spec: ExperimentSpec) -> Iterator[Problem]:
    try:
        described = describe(spec.environment.settings())
    except EnvironmentBuildError as error:
        path = ("environment", *error.key)
        yield Problem(spec.locate(path), dotted(path), str(error))
        return
    refusal = _refuse_spaces(spec.algorithm, described)
    if refusal is not None:
        path = ("environment", "id")
        yield Problem(spec.locate(path), dotted(path), f"{spec.environment.id}: {refusal}")


_CONTINUOUS_OR_DISCRETE = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete)
# What each algorithm acts in: rllib/core/models/catalog.py, dqn_catalog.py, sac_catalog.py.
_ACTIONS: Mapping[str, tuple[type[gymnasium.Space[Any]], ...]] = {
    "DQN": (spaces.Discrete,),
    "SAC": (spaces.Box, spaces.Discrete),
}
_OBSERVATIONS = (*_CONTINUOUS_OR_DISCRETE, spaces.MultiBinary)


def _refuse_spaces(algorithm: str, described: EnvironmentDescription) -> str | None:
    taken = _ACTIONS.get(algorithm, _CONTINUOUS_OR_DISCRETE)
    action = described.action_space
    if not isinstance(action, taken):
        names = " or ".join(kind.__name__ for kind in taken)
        able = [name for name in ("PPO", "SAC", "DQN") if _takes(name, action)]
        hint = f"; {' and '.join(able)} can" if able else ""
        return f"{algorithm} can't act in {action}, only in {names}{hint}"
    if isinstance(action, spaces.Box) and action.dtype.kind != "f":
        return f"actions are a Box of {action.dtype}; float actions or a MultiDiscrete are taken"
    for leaf in _leaves(described.observation_space):
        if not isinstance(leaf, _OBSERVATIONS):
            return f"observations of {leaf} are not taken"
    return None


def _takes(algorithm: str, action: gymnasium.Space[Any]) -> bool:
    return isinstance(action, _ACTIONS.get(algorithm, _CONTINUOUS_OR_DISCRETE))


def _leaves(space: gymnasium.Space[Any]) -> Iterator[gymnasium.Space[Any]]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        inner = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        for one in inner:
            yield from _leaves(one)
    else:
        yield space


def _check_resources(spec: ExperimentSpec) -> Iterator[Problem]:
    if spec.ray.address is not None:
        return  # the cluster decides
    cores, runners = _cores(), _env_runners(spec)
    asked = _cpus_per_trial(spec)
    if asked > cores:
        path = ("param_space", "num_env_runners") if runners else ("resources", "cpus")
        beside = " with its env runners" if runners else ""
        message = f"a trial asks for {asked:g} cores{beside}; this machine has {cores}"
        yield Problem(spec.locate(path), dotted(path), message)


def _env_runners(spec: ExperimentSpec) -> int:
    """The most env runners that a configuration can have beside a trial's own process."""
    value = spec.param_space.get("num_env_runners", 0)
    if isinstance(value, Distribution):
        return int(max(value.values or value.bounds or (0,)))
    return int(value)


def _cpus_per_trial(spec: ExperimentSpec) -> float:
    """A core for each env runner of each replica, beside what the trial's process takes."""
    return spec.resources.cpus + len(spec.seeds) * _env_runners(spec)


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _concurrent(spec: ExperimentSpec, trials: int) -> int:
    asked = spec.search.max_concurrent
    fits = max(1, int(_cores() // _cpus_per_trial(spec)))
    return max(1, min(trials, fits if asked == "auto" else asked))


def _warnings(spec: ExperimentSpec, trials: int) -> Iterator[str]:
    steps = spec.stop.get(ENV_STEPS)
    if steps is None:
        yield f"no bound on env steps: trials are not held to equal budgets (stop.{ENV_STEPS})"
    else:
        batch = _batch(spec)
        if batch is not None and steps < batch:
            yield (
                f"an iteration takes {batch} env steps, more than stop's {steps:g}: "
                "each trial trains once"
            )
    leaves = [leaf for _, leaf in distributions(spec.param_space)]
    if spec.search.num_samples > 1 and all(leaf.is_grid for leaf in leaves):
        yield (
            f"num_samples {spec.search.num_samples} repeats every configuration with the same "
            "seeds; for more evidence give more seeds"
        )
    if spec.backend == "rllib" and len(spec.seeds) > 1:
        yield (
            f"{len(spec.seeds)} replicas on rllib are {len(spec.seeds)} training runs a trial, "
            f"one after the other: {len(spec.seeds) * trials} in all"
        )
    fits = int(_cores() // _cpus_per_trial(spec))
    asked = spec.search.max_concurrent
    if spec.ray.address is None and asked != "auto" and min(asked, trials) > fits:
        yield f"max_concurrent {asked} is more than this machine has cores for: {fits} will run"
    if trials == 1 and leaves:
        yield "only one configuration will be tried"


def _batch(spec: ExperimentSpec) -> int | None:
    """The env steps of one iteration of an on-policy algorithm, if they are a constant."""
    key = "train_batch_size_per_learner"
    value = spec.param_space.get(key, default(spec.algorithm, (key,)))
    return value if spec.algorithm == "PPO" and isinstance(value, int) else None


def _plain(value: Any) -> Any:
    """A param space as JSON's types; JSON has no infinity, so that is the text ``inf``."""
    if isinstance(value, Distribution):
        return _plain(value.to_plain())
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
