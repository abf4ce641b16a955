"""The plan: what running a spec will do, checked against its environment, without starting it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeper.environments.vector import choose_vectorization
from sweeper.errors import Problem, SpecError
from sweeper.hints import show
from sweeper.json_values import to_json
from sweeper.metrics import BOUNDS, ENV_STEPS
from sweeper.planning.feasibility import Candidate, check_feasibility, count_fitting
from sweeper.planning.values import possible_values
from sweeper.planning.warnings import find_warnings
from sweeper.search.distributions import Distribution, constants, distributions
from sweeper.search.expansion import count
from sweeper.spec import ExperimentSpec, read_spec
from sweeper.spec.keys.names import default
from sweeper.spec.keys.param_space import check_param_space
from sweeper.spec.text.yaml import dotted
from sweeper.trainables.contract import EvaluationSettings, TrialSettings
from sweeper.trainables.plateau import Plateau
from sweeper.trainables.torch_backend.dqn.memory import ReplayMemory

__all__ = [
    "SweepPlan",
    "build_plan",
    "load_plan",
    "may_end_early",
    "training_plan",
    "trial_settings",
]


@dataclass(frozen=True)
class SweepPlan:
    """What a launch will do.

    Attributes:
        spec: what is run.
        source: the spec's file, if it came from one.
        trials: how many configurations there are to try.
        replicas: training runs a trial.
        env_steps: of all trials and replicas together; None where only time bounds them.
        concurrent: trials at a time; with a Ray cluster, whose size is not asked, at most.
        warnings: what the user may not have meant.
        notes: what was decided for the user.
        replay: the most that the replay memories of a trial take; None if it has none of ours.
        vectorization: how the torch backend steps a trial's environments, one way for each
            number of them that is tried; empty on another backend.
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
    replay: ReplayMemory | None = None
    vectorization: tuple[str, ...] = ()
    estimate: Mapping[str, float] | None = None

    @property
    def max_trials(self) -> int:
        """How many trials are begun, as far as a budget allows them."""
        return max_trials(self.spec, self.trials)

    def to_json(self) -> dict[str, Any]:
        """The plan as `sweeper plan --json` prints it."""
        return {
            "name": self.spec.name,
            "trials": self.trials,
            "replicas": self.replicas,
            "env_steps": self.env_steps,
            "concurrent": self.concurrent,
            "param_space": _plain_space(self.spec.param_space),
            "search": to_json(self.spec.search.model_dump()),
            "scheduler": self.spec.scheduler.model_dump(mode="json"),
            "estimate": dict(self.estimate) if self.estimate is not None else None,
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "replay_memory": None if self.replay is None else asdict(self.replay),
            "vectorization": list(self.vectorization),
        }


def load_plan(
    path: str | Path, overrides: Sequence[str] = (), *, is_training: bool = False
) -> SweepPlan:
    """Read a spec and plan it, so that all its problems are found at once.

    Args:
        path: the YAML file.
        overrides: ``key.path=value`` each.
        is_training: plan one configuration instead of the sweep, as `training_plan`.

    Raises:
        SpecError: with the spec's problems and those of the environment and the machine.
    """
    reading = read_spec(path, overrides, is_training=is_training)
    if reading.spec is None:
        draft = reading.draft
        found = () if draft is None else check_feasibility(Candidate.of_draft(draft)).problems
        raise SpecError([*reading.problems, *found])
    return training_plan(reading.spec) if is_training else build_plan(reading.spec)


def build_plan(spec: ExperimentSpec) -> SweepPlan:
    """Plan the sweep; builds the environment once, and nothing else.

    Raises:
        SpecError: the environment can't be built, its spaces don't fit the algorithm, or a
            trial asks for more than this machine has.
    """
    candidate = Candidate.of_spec(spec)
    trials = count(spec.param_space, spec.search.num_samples, spec.search.points_to_evaluate)
    fits = max(1, count_fitting(candidate))
    concurrent = _concurrent(spec, trials, fits)
    feasibility = check_feasibility(candidate, concurrent)
    if feasibility.problems:
        raise SpecError(feasibility.problems)
    replicas = len(spec.seeds)
    return SweepPlan(
        spec=spec,
        source=spec.source,
        trials=trials,
        replicas=replicas,
        env_steps=_env_steps(spec, replicas * max_trials(spec, trials)),
        concurrent=concurrent,
        warnings=tuple(find_warnings(spec, trials, feasibility.environment)),
        replay=feasibility.replay,
        vectorization=_vectorization(spec),
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
        for problem in check_param_space(spec.algorithm, space, spec.backend)
    ]
    if problems:
        raise SpecError(problems)
    search = spec.search.model_copy(
        update={"algorithm": "grid", "num_samples": 1, "points_to_evaluate": []}
    )
    plan = build_plan(spec.model_copy(update={"param_space": space, "search": search}))
    notes = tuple(
        f"{dotted(path)} is searched; training takes {spec.algorithm}'s default, "
        f"{show(default(spec.algorithm, path, spec.backend))}"
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
        plateau=None if spec.plateau is None else Plateau(**spec.plateau.model_dump()),
        evaluation=None
        if evaluation is None
        else EvaluationSettings(
            episodes=evaluation.episodes,
            every_env_steps=evaluation.every_env_steps,
            explore=evaluation.explore,
        ),
        checkpoint_every_env_steps=spec.checkpoint.every_env_steps,
        checkpoint_replay=spec.checkpoint.replay,
        time_budget_s=spec.budget.time_s,
        env_steps_share=None
        if spec.budget.env_steps is None
        else spec.budget.env_steps / (plan.concurrent * plan.replicas),
        objective=spec.objective,
        cpus=spec.resources.cpus,
        gpus=spec.resources.gpus,
    )


def max_trials(spec: ExperimentSpec, trials: int) -> int:
    """Of the trials that a spec has, how many its budget lets begin."""
    allowed = spec.budget.trials
    return trials if allowed is None else min(trials, allowed)


def may_end_early(spec: ExperimentSpec) -> bool:
    """Whether a trial, or the search, can end before what bounds it is used up."""
    return (
        any(name not in BOUNDS for name in spec.stop)
        or spec.plateau is not None
        or spec.scheduler.type != "fifo"
        or spec.budget.no_improvement_trials is not None
    )


def _env_steps(spec: ExperimentSpec, runs: int) -> int | None:
    """The most that all training runs take; None where nothing bounds them."""
    of_run, of_search = spec.stop.get(ENV_STEPS), spec.budget.env_steps
    bounds = [None if of_run is None else int(of_run) * runs, of_search]
    return min((bound for bound in bounds if bound is not None), default=None)


def _vectorization(spec: ExperimentSpec) -> tuple[str, ...]:
    if not spec.support.builds_vector_envs:
        return ()
    key, settings = "num_envs_per_env_runner", spec.environment.settings()
    numbers = possible_values(spec.param_space, (key,), default(spec.algorithm, (key,)))
    least = spec.support.min_native_envs
    modes = (choose_vectorization(settings, number, least) for number in sorted(numbers))
    return tuple(dict.fromkeys(modes))


def _concurrent(spec: ExperimentSpec, trials: int, fits: int) -> int:
    asked, most = spec.search.max_concurrent, max_trials(spec, trials)
    if asked == "auto":
        return min(most, fits)
    return min(most, asked) if spec.ray.address is not None else min(most, asked, fits)


def _plain_space(space: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in space.items():
        if isinstance(value, Distribution):
            plain[key] = to_json(value.to_plain())
        else:
            plain[key] = _plain_space(value) if isinstance(value, Mapping) else to_json(value)
    return plain
