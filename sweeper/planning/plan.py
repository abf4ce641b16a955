"""The plan: what running a spec will do, checked against its environment before anything runs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.environments.identity import EnvironmentIdentity, identify
from sweeper.environments.vector import choose_vectorization
from sweeper.errors import Problem, SpecError
from sweeper.formatting import count_noun
from sweeper.hints import show
from sweeper.json_values import to_json
from sweeper.markup import tag
from sweeper.metrics import BOUNDS, ENV_STEPS
from sweeper.origin import Origin
from sweeper.planning.confirmation import PlannedConfirmation, plan_confirmation
from sweeper.planning.early_ends import note_early_ends
from sweeper.planning.episode_cap import cap_evaluation
from sweeper.planning.feasibility import check_feasibility, count_fitting
from sweeper.planning.proposal import Proposal
from sweeper.planning.schedulers import make_scheduler
from sweeper.planning.search_notes import note_random_draws, resolve_points
from sweeper.planning.values import possible_values
from sweeper.planning.warnings import find_warnings
from sweeper.printable import printable
from sweeper.references import find_names
from sweeper.search.distinct import count_distinct
from sweeper.search.distributions import Distribution, constants, distributions
from sweeper.search.expansion import count
from sweeper.spec import ExperimentSpec, dump_value, read_spec
from sweeper.spec.keys.names import default
from sweeper.spec.keys.param_space import check_param_space
from sweeper.spec.schedulers import Scheduler as SchedulerSection
from sweeper.spec.search import Search
from sweeper.spec.text.yaml import dotted
from sweeper.spec.uris import find_password
from sweeper.trainables.torch_backend.replay.memory import ReplayMemory

__all__ = [
    "CLOCKS",
    "Estimate",
    "SweepPlan",
    "build_plan",
    "load_plan",
    "may_end_early",
    "training_plan",
]

CLOCKS = ("budget.time_s", "stop.time_total_s")  # the spec's limits in seconds


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """How long a sweep will take and how much disk it will fill.

    Attributes:
        time_s: of the whole sweep; None if unknown.
        disk_bytes: of the run's folder; None if unknown.
        based_on: the name of the measured run, or ``rehearsal``; None if nothing was measured.
        limit: the spec's key that ends the search; None if its trials end by themselves.
        is_upper_bound: whether the search may end earlier.
        confirmation_s: of the confirmation's training, beside the search's; None if unknown.
        trial_share: which part of a trial the measured run's trials took on average, where trials
            end early nobody knows when; None where it was not needed or not measured.
    """

    time_s: float | None
    disk_bytes: float | None
    based_on: str | None
    limit: str | None
    is_upper_bound: bool
    confirmation_s: float | None = None
    trial_share: float | None = None

    @property
    def is_clock(self) -> bool:
        """Whether a time limit ends the search, whatever was measured."""
        return self.limit in CLOCKS

    def to_json(self) -> dict[str, Any]:
        """The estimate as `sweeper plan --json` prints it."""
        return {
            "time_s": self.time_s,
            "disk_bytes": self.disk_bytes,
            "based_on": self.based_on,
            "limit": self.limit,
            "is_limit": self.is_clock,
            "is_upper_bound": self.is_upper_bound,
            "confirmation_s": self.confirmation_s,
            "trial_share": self.trial_share,
        }


@dataclass(frozen=True)
class SweepPlan:
    """What a launch will do.

    Attributes:
        spec: what is run.
        trials: number of configurations.
        replicas: training runs per trial.
        env_steps: of all trials and replicas together; None if only time bounds them.
        concurrent: trials at a time. On a Ray cluster, whose size is unknown, an upper bound; or a
            guess, if their number follows the cluster (`ExperimentSpec.follows_cluster`).
        warnings: what the user may not have meant.
        notes: what was decided for the user.
        replay: the largest replay memories of a trial; None if sweeper allocates none.
        vectorization: how the torch backend steps a trial's environments, one entry for each
            number of environments; empty on RLlib.
        estimate: time and disk; None if unknown.
        time_limit: steps after which the environment itself ends an episode; None: never.
        environment: what the environment was when it was planned.
        confirmation: the stage after the search; None if there is none.
        rungs: env steps of a replica at which trials are compared; empty if none is stopped early.
        stopping: which trials are stopped early, and when, in words; empty if none is.
        origin: the weights that training begins with; None: random ones.
        expected_share: the share of all trials' env steps that will be taken if the values of
            trials come in random order; None: how many are stopped can't be foreseen.
    """

    spec: ExperimentSpec
    trials: int
    replicas: int
    env_steps: int | None
    concurrent: int
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    replay: ReplayMemory | None = None
    vectorization: tuple[str, ...] = ()
    estimate: Estimate | None = None
    time_limit: int | None = None
    environment: EnvironmentIdentity | None = None
    confirmation: PlannedConfirmation | None = None
    rungs: tuple[int, ...] = ()
    stopping: str = ""
    expected_share: float | None = 1.0
    origin: Origin | None = None

    @property
    def max_trials(self) -> int:
        """How many trials will start within the budget."""
        return _max_trials(self.spec, self.trials)

    @property
    def kept_trials(self) -> int:
        """How many trials keep their checkpoints."""
        return min(self.max_trials, self.spec.checkpoint.keep_trials)

    def __repr__(self) -> str:
        """A line; `sweeper plan` and a notebook show it whole."""
        size = f"{self.trials:,} x {count_noun(self.replicas, 'replica')}"
        steps = "" if self.env_steps is None else f", {self.env_steps:,} env steps"
        return f"<SweepPlan {printable(self.spec.name)}: {size}{steps}>"

    def _repr_html_(self) -> str:
        """What `sweeper plan` prints, for a notebook."""
        from sweeper.views.plan import describe_plan  # which imports this module

        return tag("pre", "\n".join(describe_plan(self)), style="font-family: monospace").text

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
            "confirmation": None if self.confirmation is None else self.confirmation.to_json(),
            "rungs": list(self.rungs),
            "expected_share": self.expected_share,
            "origin": None if self.origin is None else self.origin.to_json(),
            "estimate": None if self.estimate is None else self.estimate.to_json(),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "replay_memory": None if self.replay is None else self.replay.to_json(),
            "vectorization": list(self.vectorization),
        }


def load_plan(
    path: str | Path, overrides: Sequence[str] = (), *, is_training: bool = False
) -> SweepPlan:
    """Read a spec and plan it; reports the problems of both steps together.

    Args:
        path: the YAML file.
        overrides: as ``key.path=value``.
        is_training: plan one configuration instead of the sweep, as `training_plan` does.

    Raises:
        SpecError: the spec has problems, or doesn't fit its environment or this machine.
    """
    reading = read_spec(path, overrides, is_training=is_training)
    if reading.spec is None:
        draft = reading.draft
        found = () if draft is None else check_feasibility(Proposal.of_draft(draft)).problems
        raise SpecError([*reading.problems, *found])
    return training_plan(reading.spec) if is_training else build_plan(reading.spec)


def build_plan(
    spec: ExperimentSpec,
    asked: Sequence[Mapping[str, Any]] = (),
    *,
    kept_baseline: Path | None = None,
) -> SweepPlan:
    """Plan the sweep; builds the environment once and starts nothing.

    Args:
        spec: what to run.
        asked: parameters of the trials that earlier launches of the run asked for, in order.
        kept_baseline: the run's own copy of its baseline's file, where it has one.

    Raises:
        SpecError: the environment can't be built, its spaces don't fit the algorithm, a trial
            needs more than this machine has, or the run that points come from has none.
    """
    spec, point_notes = resolve_points(spec)
    proposal = Proposal.of_spec(spec)
    search = spec.search
    points = search.points
    trials = count_distinct(spec.param_space, search.num_samples, search.seed, points, asked)
    fits = max(1, count_fitting(proposal))
    concurrent = _concurrent(spec, trials, fits)
    feasibility = check_feasibility(proposal, concurrent)
    problems = [*feasibility.problems, *_find_unset(spec)]
    if problems:
        raise SpecError(problems)
    replicas, described = len(spec.seeds), feasibility.environment
    finalists = min(spec.selection.finalists, _max_trials(spec, trials))
    confirmation = plan_confirmation(
        spec, finalists=finalists, fits=fits, kept_baseline=kept_baseline
    )
    if finalists != spec.selection.finalists:
        selection = spec.selection.model_copy(update={"finalists": finalists})
        spec = spec.model_copy(update={"selection": selection})
    time_limit = None if described is None else described.max_episode_steps
    scheduler = make_scheduler(spec, population=_max_trials(spec, trials))
    return SweepPlan(
        spec=spec if time_limit is not None else cap_evaluation(spec),
        trials=trials,
        replicas=replicas,
        env_steps=_env_steps(spec, replicas * _max_trials(spec, trials)),
        concurrent=concurrent,
        warnings=tuple(find_warnings(spec, trials, described)),
        notes=(
            *point_notes,
            *note_random_draws(spec),
            *note_early_ends(spec, _max_trials(spec, trials)),
            *_note_password(spec),
            *_repeats(trials, count(spec.param_space, search.num_samples, points)),
        ),
        replay=feasibility.replay,
        vectorization=_vectorization(spec),
        time_limit=time_limit,
        environment=None if described is None else identify(spec.environment.settings(), described),
        confirmation=confirmation,
        rungs=scheduler.rung_env_steps,
        stopping=scheduler.describe(),
        expected_share=scheduler.expected_share(_max_trials(spec, trials)),
    )


def training_plan(spec: ExperimentSpec) -> SweepPlan:
    """Plan the training of one configuration, without a search.

    Constants stay. Searched parameters get the algorithm's defaults; the plan's notes list them.

    Raises:
        SpecError: as for `build_plan`, or the constants and the defaults don't go together.
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
    given = spec.search
    search = Search(
        algorithm="grid", num_samples=1, seed=given.seed, max_concurrent=given.max_concurrent
    )
    # A lone trial has no other to be compared with.
    selection = spec.selection.model_copy(update={"finalists": 0})
    changes = {
        "param_space": space,
        "search": search,
        "scheduler": SchedulerSection(),
        "selection": selection,
    }
    plan = build_plan(spec.model_copy(update=changes))
    notes = tuple(
        _training_note(path, leaf, default(spec.algorithm, path, spec.backend), spec.algorithm)
        for path, leaf in distributions(spec.param_space)
    )
    return replace(plan, notes=notes)


def _training_note(path: tuple[str, ...], leaf: Distribution, value: Any, algorithm: str) -> str:
    usual = f"{algorithm}'s default, {show(value)}"
    if leaf.contains(value):
        return f"{dotted(path)} is searched; training takes {usual}"
    inside = shlex.quote(f"param_space.{dotted(path)}={dump_value(leaf.middle)}")
    return (
        f"{dotted(path)} is searched in {show(leaf.to_plain())}, so {usual}, which training takes, "
        f"lies outside; for a value of the search's give one, as in {inside}"
    )


def may_end_early(plan: SweepPlan) -> bool:
    """Whether a trial, or the search, can end before it reaches its limits, nobody knows when."""
    spec = plan.spec
    return (
        any(name not in BOUNDS for name in spec.stop)
        or spec.plateau is not None
        or plan.expected_share is None
        or spec.budget.no_improvement_trials is not None
    )


def _repeats(trials: int, asked: int) -> Iterator[str]:
    if trials < asked:
        yield (
            f"{asked:,} configurations are asked for, and the space has only {trials:,} to give: "
            "each is trained once, since a repeat with the same seeds comes to the same numbers; "
            "for more evidence give more seeds"
        )


def _find_unset(spec: ExperimentSpec) -> Iterator[Problem]:
    """Variables that are needed to connect to the tracking server, but are not set."""
    for name in find_names(None if spec.tracking is None else spec.tracking.uri):
        if name not in os.environ:
            message = f"the environment variable {name} is not set"
            yield Problem(spec.locate(("tracking", "uri")), "tracking.uri", message)


def _note_password(spec: ExperimentSpec) -> Iterator[str]:
    if spec.tracking is not None and find_password(spec.tracking.uri) is not None:
        yield (
            "the password in tracking.uri is not recorded: a later launch and `sweeper log` take "
            "it from MLFLOW_TRACKING_PASSWORD; or write ${env:NAME} in its place"
        )


def _max_trials(spec: ExperimentSpec, trials: int) -> int:
    return min(trials, spec.budget.trials or trials)


def _env_steps(spec: ExperimentSpec, runs: int) -> int | None:
    """An upper bound on the env steps of all training runs; None if nothing bounds them."""
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
    asked, limit = spec.search.max_concurrent, _max_trials(spec, trials)
    if asked == "auto":
        return min(limit, fits)
    return min(limit, asked) if spec.ray.address is not None else min(limit, asked, fits)


def _plain_space(space: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in space.items():
        if isinstance(value, Distribution):
            plain[key] = to_json(value.to_plain())
        else:
            plain[key] = _plain_space(value) if isinstance(value, Mapping) else to_json(value)
    return plain
