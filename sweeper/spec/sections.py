"""The sections of a spec as models: what each key is, with the defaults that stand alone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sweeper.environments import EnvironmentSettings, WrapperSettings

__all__ = [
    "Budget",
    "Checkpoint",
    "Environment",
    "Evaluation",
    "Normalize",
    "Ray",
    "Resources",
    "Scheduler",
    "Search",
    "Section",
    "Selection",
    "Tracking",
    "Wrapper",
]


def _whole(value: Any) -> Any:
    """``1e5`` is a float in YAML, and a fine number of steps."""
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
AtLeast0 = Annotated[Whole, Field(ge=0)]
AtLeast1 = Annotated[Whole, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z")


def _dotted(value: Any) -> Any:
    if isinstance(value, str) and not _DOTTED.match(value):
        raise ValueError(f"{value!r} is no dotted name of a module, like my_package.envs")
    return value


class Section(BaseModel):
    """Base of all sections: immutable, strict about types, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Wrapper(Section):
    """A wrapper and its arguments."""

    name: Annotated[Text, BeforeValidator(_dotted)]
    kwargs: dict[str, Any] = {}


def _wrapper(value: Any) -> Any:
    """A name, or a mapping of one name to arguments, as a spec has it."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Wrapper):
        return value
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, kwargs),) = value.items()
        return {"name": name, "kwargs": {} if kwargs is None else kwargs}
    raise ValueError(
        f"a wrapper's name, or a mapping of one name to its arguments, is due; found {value!r}"
    )


class Normalize(Section):
    """Running statistics that observations and rewards are divided by."""

    observations: bool = False
    rewards: bool = False


class Environment(Section):
    """What the agent acts in."""

    id: Text
    kwargs: dict[str, Any] = {}
    wrappers: Annotated[
        list[Annotated[Wrapper, BeforeValidator(_wrapper)]], Field(default_factory=list)
    ]
    module: Annotated[str, BeforeValidator(_dotted)] | None = None
    search_paths: list[Text] = []
    vectorization: Literal["auto", "sync", "async", "vector_entry_point", "envpool"] = "auto"
    normalize: Normalize = Normalize()

    def settings(self) -> EnvironmentSettings:
        """What a worker builds it from."""
        return EnvironmentSettings(
            id=self.id,
            kwargs=self.kwargs,
            wrappers=tuple(WrapperSettings(w.name, w.kwargs) for w in self.wrappers),
            module=self.module,
            search_paths=tuple(self.search_paths),
            vectorization=self.vectorization,
        )


def _auto_or_whole(value: Any) -> Any:
    value = _whole(value)
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"auto or a whole number from 1 on is due; found {value!r}")


class Search(Section):
    """Which configurations are tried."""

    algorithm: Literal["grid", "random", "tpe", "cmaes", "gp", "qmc"]
    num_samples: AtLeast1
    seed: AtLeast0 = 0
    max_concurrent: Annotated[int | Literal["auto"], BeforeValidator(_auto_or_whole)] = "auto"
    points_to_evaluate: list[dict[str, Any]] = []


class Scheduler(Section):
    """Which trials are stopped early; all but ``fifo`` have options of their own."""

    model_config = ConfigDict(extra="allow")

    type: Literal["fifo", "asha", "hyperband", "median", "pbt", "pb2"] = "fifo"


class Budget(Section):
    """What the whole search may take."""

    time_s: Positive | None = None


class Evaluation(Section):
    """Episodes on environment seeds that training never used."""

    episodes: AtLeast1 = 20
    every_env_steps: AtLeast1 | None = None
    explore: bool = False


class Selection(Section):
    """How the champion is found."""

    metric: Text
    mode: Literal["max", "min"] = "max"
    score: Literal["last", "best", "auc"] = "last"
    finalists: AtLeast0 = 0
    confirm_seeds: AtLeast1 = 10
    confirm_episodes: AtLeast1 = 100
    baseline: Text = "defaults"
    solved_at: Annotated[float, Field(allow_inf_nan=False)] | None = None


class Checkpoint(Section):
    """What is kept of a trial."""

    keep: AtLeast1 = 1
    keep_trials: AtLeast1 = 20
    every_env_steps: AtLeast1 | None = None
    trainer: bool = False
    replay: bool = False


class Resources(Section):
    """What one trial takes, and how often a failed one is tried again."""

    cpus: Positive = 1.0
    gpus: NotNegative = 0.0
    retries: AtLeast0 = 1


def _address(value: Any) -> Any:
    if (
        isinstance(value, str)
        and value != "auto"
        and not re.fullmatch(r"(ray://)?[\w.\-\[\]:]+:\d{1,5}", value)
    ):
        raise ValueError(f"null (local), auto or host:port is due; found {value!r}")
    return value


class Ray(Section):
    """Where the trials run; None: on this machine."""

    address: Annotated[str, BeforeValidator(_address)] | None = None


class Tracking(Section):
    """The MLflow server or database that the run is written to."""

    uri: Text
    experiment: Text
    register_as: Text | None = None
