"""The spec of a run that is resumed: as recorded, or extended."""

from __future__ import annotations

import difflib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.environments.registry import complete_id
from sweeper.environments.settings import EnvironmentBuildError
from sweeper.errors import UserError
from sweeper.evidence.confirmation import choose_finalists, count_seeds
from sweeper.hints import show
from sweeper.metrics import ENV_STEPS, canonical_metric
from sweeper.paths import RunPaths, run_reference, write_atomically
from sweeper.results.records import SweepResults
from sweeper.running.resume.state import History
from sweeper.spec import ExperimentSpec, dump_spec, load_record
from sweeper.spec.sections import SeedGroups
from sweeper.trainables.plateau import PLATEAU
from sweeper.trust import (
    TrustLike,
    find_foreign_baseline,
    find_foreign_environment,
    find_foreign_pickles,
    find_foreign_servers,
)

__all__ = [
    "LOCAL",
    "Extension",
    "complete_environment",
    "extend_spec",
    "find_foreign_parts",
    "load_recorded_spec",
]


LOCAL = "local"


@dataclass(frozen=True)
class Extension:
    """What a resumed run is given more of, and where it goes on.

    Attributes:
        num_samples: the new total number of samples.
        time_s: seconds for the search from now on.
        stop: criteria of the spec and numbers of its budget, each with its new, higher value.
        retry_errored: failed trials go on, too.
        is_confirming: only the confirmation goes on, with what follows.
        finalists: how many are trained again.
        confirm_seeds: on how many seeds each.
        trials: that are trained again whatever their score.
        address: the Ray cluster on which it goes on, auto or host:port; `LOCAL`: this machine.

    Raises:
        UserError: a number is infinite or NaN.
    """

    num_samples: int | None = None
    time_s: float | None = None
    stop: Mapping[str, float] = field(default_factory=dict)
    retry_errored: bool = False
    is_confirming: bool = False
    finalists: int | None = None
    confirm_seeds: int | None = None
    trials: tuple[str, ...] = ()
    address: str | None = None

    def __post_init__(self) -> None:
        given = {"--num-samples": self.num_samples, "--time": self.time_s}
        given |= {f"--stop {name}": value for name, value in self.stop.items()}
        for option, value in given.items():
            if value is not None and not _is_finite(value):
                raise UserError(f"{option}: must be a finite number; found {show(value)}")

    @property
    def wants_best(self) -> bool:
        """Whether the search's best are to be confirmed: who names trials alone wants no others."""
        return self.is_confirming and (self.finalists is not None or not self.trials)


def load_recorded_spec(paths: RunPaths, history: History) -> ExperimentSpec:
    """The last launch's spec, as recorded in the journal; a missing ``spec.yaml`` is written again.

    Raises:
        UserError: ``spec.yaml`` differs from every recorded spec; with the difference.
        SpecError: ``spec.yaml`` is broken.
    """
    if not history.specs:  # of a version that did not record it
        return load_record(paths.spec)
    recorded = load_record(paths.spec, text=history.specs[-1])
    if not paths.spec.is_file():
        write_atomically(paths.spec, dump_spec(recorded))
        return recorded
    written = load_record(paths.spec)
    # A kill between an extension's first event and its file leaves the earlier file.
    if written == recorded or any(
        written == load_record(paths.spec, text=text) for text in history.specs[:-1]
    ):
        return recorded
    difference = difflib.unified_diff(
        dump_spec(recorded).splitlines(),
        dump_spec(written).splitlines(),
        "as run",
        "spec.yaml now",
        lineterm="",
        n=1,
    )
    raise UserError(
        f"{paths.spec} was changed since the run was started; a changed spec is another run:\n"
        + "\n".join(f"  {line}" for line in difference)
        + f"\nput it back (delete the file, and `sweeper resume {run_reference(paths.root)}` "
        "writes it as it was), or start a new run with `sweeper run`; more samples, time or steps "
        "are given with --num-samples, --time and --stop, another cluster with --address"
    )


def find_foreign_parts(
    paths: RunPaths,
    recorded: ExperimentSpec,
    spec: ExperimentSpec,
    results: SweepResults,
    trust: TrustLike,
) -> list[str]:
    """What going on with a run uses that this user did not make on this machine, in words.

    Args:
        paths: the run's.
        recorded: as the run recorded it.
        spec: where the run lies now.
        results: with the checkpoints that may be loaded.
        trust: with `Trust.NONE` what this user made counts, too.
    """
    settings, before = spec.environment.settings(), recorded.environment.settings()
    foreign = find_foreign_environment(settings, paths, recorded=before, trust=trust)
    if spec.backend == "rllib":
        records = (*results.trials, *results.retrained)
        foreign += find_foreign_pickles(
            (paths.root / one.path for record in records for one in record.checkpoints), trust
        )
    foreign += find_foreign_baseline(paths, spec.selection.baseline, trust=trust)
    experiment = None if spec.tracking is None else spec.tracking.experiment
    return foreign + find_foreign_servers(paths, spec.servers, experiment, trust=trust)


def complete_environment(spec: ExperimentSpec) -> tuple[ExperimentSpec, str | None]:
    """The spec with a version in its environment's id, and a note for the user if it was added.

    Earlier releases accepted an id without a version; gymnasium takes the newest one installed.
    """
    try:
        full_id = complete_id(spec.environment.settings())
    except EnvironmentBuildError:  # the plan says so, with everything else
        return spec, None
    if full_id == spec.environment.id:
        return spec, None
    environment = spec.environment.model_copy(update={"id": full_id})
    note = (
        f"the run's environment {spec.environment.id} has no version in its name; it goes on with "
        f"{full_id}, the newest that is installed"
    )
    return spec.model_copy(update={"environment": environment}), note


def extend_spec(
    paths: RunPaths,
    spec: ExperimentSpec,
    extension: Extension,
    spent_s: float,
    results: SweepResults | None = None,
) -> tuple[ExperimentSpec, dict[str, Any]]:
    """The extended spec, and the changed values by dotted key.

    ``budget.time_s`` counts all launches, so an extension by time sets it to the time spent plus
    the time given. ``scheduler.max_t`` grows with ``stop``, as if the spec had left it out.

    Args:
        paths: the run's.
        spec: of its last launch.
        extension: what it is given more of.
        spent_s: time of all launches' searches.
        results: so far; needed for more of a confirmation.

    Raises:
        UserError: the extension takes something away, or names a key that the spec does not have.
    """
    changes: dict[str, Any] = {}
    max_t = spec.scheduler.given_options().get("max_t")
    if extension.num_samples is not None:
        _check_more("--num-samples", extension.num_samples, spec.search.num_samples)
        _check_population(spec, "--num-samples", extension.num_samples, spec.search.num_samples)
        changes["search.num_samples"] = extension.num_samples
    if extension.time_s is not None:
        if extension.time_s <= 0:
            raise UserError("--time is in seconds, above 0")
        changes["budget.time_s"] = round(spent_s + extension.time_s, 3)
    for name, value in extension.stop.items():
        if name.partition(".")[0] == "budget":
            changes[name] = _extend_budget(spec, name, value)
            continue
        key = canonical_metric(name)
        if key.partition(".")[0] == PLATEAU and spec.plateau is not None:
            raise UserError(
                f"--stop {name}: a plateau is not extended; trials that ended on it stay as they "
                "are, and another rule is another run"
            )
        if key not in spec.stop:
            known = ", ".join(spec.stop) or "none"
            raise UserError(f"--stop {name}: the run has no such criterion; it has: {known}")
        _check_more(f"--stop {name}", value, spec.stop[key])
        changes[f"stop.{key}"] = value
        if key == ENV_STEPS and max_t is not None:
            # It bounds trials, too; what was decided by the rungs of the shorter ones stays.
            changes["scheduler.max_t"] = int(value)
    if extension.address is not None:
        changes["ray.address"] = None if extension.address == LOCAL else extension.address
    if extension.is_confirming:
        changes |= _extend_confirmation(spec, extension, results)
    chosen = spec.selection
    present = {
        "ray.address": spec.ray.address,
        "search.num_samples": spec.search.num_samples,
        "scheduler.max_t": max_t,
        "selection.finalists": chosen.finalists,
        "selection.confirm_seeds": _plain_seeds(chosen.confirm_seeds),
    } | {
        f"{section}.{key}": value
        for section, values in (("stop", spec.stop), ("budget", spec.budget.model_dump()))
        for key, value in values.items()
    }
    changes = {key: value for key, value in changes.items() if present.get(key) != value}
    if not changes:
        return spec, {}
    overrides = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    return load_record(paths.spec, overrides, text=dump_spec(spec)), changes


def _extend_confirmation(
    spec: ExperimentSpec, extension: Extension, results: SweepResults | None
) -> dict[str, Any]:
    """What `sweeper confirm` changes of the spec.

    Each is trained on as many seeds as the user says, all at once: who wants more does not ask
    whether they are likely to decide.

    Raises:
        UserError: fewer seeds than some have been trained on.
    """
    chosen, fresh = spec.selection, 3 if extension.wants_best else 1
    if results is not None:
        fresh = max(1, min(fresh, len(choose_finalists(results, spec.objective, fresh))))
    planned = None if results is None else results.confirmation
    # Where only named trials are confirmed, 1 is what naming them has made of none.
    is_of_named = planned is not None and planned.number == 0 and chosen.finalists == 1
    finalists = extension.finalists or (0 if is_of_named else chosen.finalists) or fresh
    changes: dict[str, Any] = {"selection.finalists": finalists}
    number, given = extension.confirm_seeds, chosen.confirm_seeds
    if number is None:
        return changes
    trained = 0 if results is None else count_seeds(results)
    if number < trained:
        raise UserError(
            f"--seeds {number}: some were trained on {trained} already, which count; give at "
            f"least {trained}"
        )
    changes["selection.confirm_seeds"] = number
    if isinstance(given, list):
        unused = (seed for seed in itertools.count() if seed not in given)
        more = itertools.islice(unused, max(0, number - len(given)))
        changes["selection.confirm_seeds"] = [*given, *more][:number]
    return changes


def _plain_seeds(given: int | list[int] | SeedGroups) -> Any:
    return given.model_dump() if isinstance(given, SeedGroups) else given


def _extend_budget(spec: ExperimentSpec, name: str, value: float) -> int:
    """The new value of a budget, which counts all launches."""
    key = name.partition(".")[2]
    if key == "time_s":
        raise UserError(f"--stop {name}: the search is given more time with --time SECONDS")
    given = {known: number for known, number in spec.budget.model_dump().items() if number}
    before = given.get(key)
    if before is None:
        known = ", ".join(f"budget.{known}" for known in given) or "none"
        raise UserError(f"--stop {name}: the run has no such budget; it has: {known}")
    if not float(value).is_integer():
        raise UserError(f"--stop {name}: must be a whole number; found {value:g}")
    _check_more(f"--stop {name}", value, before)
    if key == "trials":
        _check_population(spec, f"--stop {name}", int(value), before)
    return int(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def _check_more(option: str, value: float, before: float) -> None:
    if value < before:
        raise UserError(f"{option} {value:g} is less than the run has already: {before:g}")


def _check_population(spec: ExperimentSpec, option: str, value: int, before: int) -> None:
    """Refuse members that would join a population late: those before them have been compared."""
    if spec.perturbation_interval is not None and value != before:
        raise UserError(
            f"{option} {value}: the trials of {spec.scheduler.type} are compared with each other "
            f"while they train, so all of them begin together, and these {before} have begun; "
            "start a new run for a larger population, or train this one longer with --stop"
        )
