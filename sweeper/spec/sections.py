"""Models of a spec's sections, with the defaults that do not depend on other keys.

The text under each key is what an editor shows (``sweeper schema``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sweeper.environments.settings import EnvironmentSettings
from sweeper.hints import show
from sweeper.presets.catalogue import is_preset_name
from sweeper.spec.uris import absolute_path, check_tracking_uri

__all__ = [
    "MAX_NUMBER",
    "AtLeast0",
    "AtLeast1",
    "Budget",
    "Checkpoint",
    "Environment",
    "Evaluation",
    "Normalize",
    "Plateau",
    "Positive",
    "Ray",
    "Resources",
    "Section",
    "SeedGroups",
    "Selection",
    "Text",
    "Tracking",
    "Whole",
    "Wrapper",
]

MAX_NUMBER = 2**53  # the largest integer that floats and JSON hold exactly


def _whole(value: Any) -> Any:
    """Accept whole floats: ``1e5`` is a float in YAML."""
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    return value


Whole = Annotated[int, BeforeValidator(_whole), Field(le=MAX_NUMBER)]
AtLeast0 = Annotated[Whole, Field(ge=0)]
AtLeast1 = Annotated[Whole, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z")


def _dotted(value: Any) -> Any:
    if isinstance(value, str) and not _DOTTED.match(value):
        dotted = value.replace(":", ".")
        meant = dotted if _DOTTED.match(dotted) else "a dotted name, like my_package.envs"
        raise ValueError(f"must be {meant}; found {show(value)}")
    return value


def _path(value: Any) -> Any:
    """A file or folder by its absolute path: a run can be resumed from another directory."""
    return str(absolute_path(value)) if isinstance(value, str) and value else value


class Section(BaseModel):
    """Base of all sections: immutable, strict about types, closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class Wrapper(Section):
    """A wrapper and its arguments."""

    name: Annotated[Text, BeforeValidator(_dotted)]
    kwargs: dict[str, Any] = {}


def _wrapper(value: Any) -> Any:
    """Accept a name, or a mapping of one name to its arguments."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Wrapper):
        return value
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, kwargs),) = value.items()
        return {"name": name, "kwargs": {} if kwargs is None else kwargs}
    raise ValueError(
        f"must be a wrapper's name, or a mapping of one name to its arguments; found {show(value)}"
    )


class Normalize(Section):
    """What observations and rewards are divided by."""

    observations: bool = False
    """Shift and scale observations by their running mean and deviation."""
    rewards: bool = False
    """Scale rewards by the running deviation of the return."""
    images: bool = False
    """Divide images of bytes by 255, in the network; they are kept as bytes."""


class Environment(Section):
    """What the agent acts in."""

    id: Text
    """The gymnasium id, e.g. CartPole-v1."""
    kwargs: dict[str, Any] = {}
    """Arguments of the environment's constructor."""
    wrappers: Annotated[
        list[Annotated[Wrapper, BeforeValidator(_wrapper)]], Field(default_factory=list)
    ]
    """Names in gymnasium.wrappers or dotted paths, each alone or as {Name: {argument: value}};
    the last is outermost."""
    module: Annotated[str, BeforeValidator(_dotted)] | None = None
    """A Python module that registers the id; looked up beside the spec, then in the working
    directory, then on Python's path."""
    search_paths: list[Annotated[Text, BeforeValidator(_path)]] = []
    """Folders to look for modules in, relative to the working directory; usually recorded by a
    run."""
    vectorization: Literal["auto", "sync", "async", "vector_entry_point", "envpool"] = "auto"
    """How the environments of a replica are stepped; auto never changes the simulator."""
    normalize: Normalize = Normalize()
    """Running statistics that observations and rewards are divided by."""

    def settings(self) -> EnvironmentSettings:
        """The settings that a worker builds it from."""
        return EnvironmentSettings.from_json(self.model_dump())


class Plateau(Section):
    """Ends a trial whose metric no longer moves, as Tune's TrialPlateauStopper does."""

    metric: Text
    """What is watched; by default selection's metric. An evaluation counts when it is made."""
    std: Positive = 0.01
    """The newest values count as flat if their standard deviation is below this."""
    num_results: Annotated[Whole, Field(ge=2)] = 4
    """How many of the newest values are looked at."""
    grace_period: AtLeast0 = 4
    """How many values a trial reports before it can end."""
    metric_threshold: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """A value that the newest one must reach for the plateau to count."""
    mode: Literal["max", "min"] | None = None
    """Whether metric_threshold is reached from below (max) or from above (min)."""


class Budget(Section):
    """What the whole search may take."""

    time_s: Positive | None = None
    """Seconds, of all launches together; then the running trials are saved and the search ends."""
    env_steps: AtLeast1 | None = None
    """Env steps of all trials and replicas together; then the same happens."""
    trials: AtLeast1 | None = None
    """Trials to start; those that run go on to their own end."""
    no_improvement_trials: AtLeast1 | None = None
    """No trial starts after so many in a row without a new best score; a pruned trial sets none."""


class Evaluation(Section):
    """Episodes on environment seeds that training never used."""

    episodes: AtLeast1 = 20
    """How many each time, always on the same seeds."""
    every_env_steps: AtLeast1 | None = None
    """Env steps of a replica from one evaluation to the next; by default a tenth of the budget.
    The last one is at the end."""
    explore: bool = False
    """Sample actions instead of taking the best one."""
    max_episode_steps: AtLeast1 | None = None
    """An episode is cut after so many steps and counts with what it has earned; by default only
    where the environment has no time limit of its own."""


class SeedGroups(Section):
    """Seeds that are added in groups, as long as the comparison is undecided."""

    step: Annotated[Whole, Field(ge=2, le=1000)]
    """How many seeds are added at a time."""
    max: Annotated[Whole, Field(ge=2, le=1000)]
    """How many there are at most; a multiple of step."""


_CONFIRM_SEEDS = "must be a number of seeds from 2 to 1,000, a list of them, or {step: N, max: N}"


def _confirm_seeds(value: Any) -> Any:
    """Check everything here: an error of each alternative would be three errors."""
    value = _whole(value)
    if isinstance(value, Mapping) and set(value) == {"step", "max"}:
        step, most = _whole(value["step"]), _whole(value["max"])
        if all(_is_whole_number(one) and 2 <= one <= 1000 for one in (step, most)):
            if most % step:
                raise ValueError(f"max must be a multiple of step; found {show(value)}")
            return SeedGroups(step=step, max=most)
    elif isinstance(value, list | tuple):
        seeds = [_whole(seed) for seed in value]
        if 2 <= len(seeds) <= 1000 and all(
            _is_whole_number(seed) and 0 <= seed <= MAX_NUMBER for seed in seeds
        ):
            if len(set(seeds)) < len(seeds):
                raise ValueError(f"the same seed twice gives the same run; found {show(value)}")
            return seeds
    elif isinstance(value, SeedGroups) or (_is_whole_number(value) and 2 <= value <= 1000):
        return value
    hint = "; one run has no spread" if value == 1 else ""
    raise ValueError(f"{_CONFIRM_SEEDS}; found {show(value)}{hint}")


def _is_whole_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_BASELINES = ("defaults", "none")


def _baseline(value: Any) -> Any:
    is_name = value in _BASELINES or (isinstance(value, str) and is_preset_name(value))
    return value if is_name else _path(value)


class Selection(Section):
    """How the champion is found."""

    metric: Text
    """By default evaluation/episode_return_mean where the spec evaluates, else
    episode_return_mean."""
    mode: Literal["max", "min"] = "max"
    """Whether more is better."""
    score: Literal["last", "best", "auc"] = "last"
    """Of a trial's values of the metric: its last, its best (optimistic), or the area under its
    curve."""
    finalists: AtLeast0 = 0
    """Trials that are trained again on fresh seeds; 0: none. By default 3 on torch, 0 on rllib."""
    confirm_seeds: Annotated[int | list[int] | SeedGroups, BeforeValidator(_confirm_seeds)] = 10
    """Fresh seeds for each finalist and the baseline: how many, a list, or {step: 5, max: 30} for
    as many as it takes, which is the default on torch; on rllib it is 10. They never meet the
    search's, whatever their numbers."""
    confirm_episodes: AtLeast1 = 100
    """Episodes that judge each confirmation run."""
    baseline: Annotated[Text, BeforeValidator(_baseline)] = "defaults"
    """What the champion is compared with: defaults, none, a preset such as zoo:cartpole_ppo, or a
    spec's file."""
    solved_at: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """The return from which a run counts as solved."""


class Checkpoint(Section):
    """What is kept of a trial."""

    keep: AtLeast1 = 1
    """Checkpoints of each trial."""
    keep_trials: AtLeast1 = 20
    """Trials that keep their checkpoints: the best ones."""
    every_env_steps: AtLeast1 | None = None
    """Env steps of a replica from one checkpoint to the next; by default a tenth of the budget.
    The last one is at the end."""
    trainer: bool = False
    """Keep the optimiser's state of finished trials too, so that resume --stop can go on with them;
    RLlib's checkpoints always have it."""
    replay: bool = False
    """Put DQN's replay memories into the checkpoints (torch only); without them a trial that goes
    on collects num_steps_sampled_before_learning_starts env steps before it learns."""


def _quantity(value: Any) -> Any:
    """Ray divides one core or GPU into ten-thousandths; more than one must be whole."""
    if isinstance(value, float) and math.isfinite(value) and value > 0:
        if value > 1 and value != int(value):
            raise ValueError(f"must be a whole number where it is above 1; found {show(value)}")
        if value < 0.0001:
            raise ValueError(f"must be at least 0.0001; found {show(value)}")
    return value


class Resources(Section):
    """What one trial takes, and how often a failed one is tried again."""

    cpus: Annotated[Positive, BeforeValidator(_quantity)] = 1.0
    """Cores of a trial's process, for all its replicas: a share of one, or a whole number."""
    gpus: Annotated[NotNegative, BeforeValidator(_quantity)] = 0.0
    """GPUs of a trial's process: none, a share of one, or a whole number."""
    retries: AtLeast0 = 1
    """How often a trial that failed is tried again from its last checkpoint."""
    timeout_s: Positive | None = None
    """Seconds without a report after which a trial is ended and tried again."""


_ADDRESS = re.compile(r"(ray://)?[\w.\-\[\]:]+:(\d{1,5})")


def _address(value: Any) -> Any:
    if isinstance(value, str) and value != "auto":
        found = _ADDRESS.fullmatch(value)
        if found is None or not 0 < int(found[2]) < 65536:
            raise ValueError(f"must be null (local), auto or host:port; found {show(value)}")
    return value


class Ray(Section):
    """Where the trials run; None: on this machine."""

    address: Annotated[str, BeforeValidator(_address)] | None = None
    """An existing Ray cluster, auto or host:port; null: this machine."""


class Tracking(Section):
    """The MLflow server or database that the run is written to."""

    uri: Annotated[Text, BeforeValidator(check_tracking_uri)]
    """By default sqlite:///<storage>/mlflow.db. A password in it is not recorded: later launches
    take it from MLFLOW_TRACKING_PASSWORD, or write ${env:NAME} in its place."""
    experiment: Text
    """The MLflow experiment; by default the spec's name."""
    register_as: Text | None = None
    """Register the champion's model under this name."""
    system_metrics: bool = False
    """Record the load of the driver's machine, about every ten seconds."""
