"""A configuration on the torch backend: RLlib's keys, completed, and read value by value.

What is said here is the same for every algorithm; what its keys mean together is said in its
own settings (`ppo_settings`, `dqn_settings`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.errors import ConfigurationRefusedError
from sweeper.spec.keys.foreign import SECOND_NAMES, dead_network_reason, explain_foreign_name
from sweeper.spec.keys.support import REFERENCE_BACKEND, find_support
from sweeper.trainables.torch_backend.schedules import Schedule, parse_schedule

__all__ = ["Configuration", "complete", "is_number", "is_whole"]

_GRAD_CLIPS = ("global_norm", "norm", "value")


@dataclass(frozen=True)
class Configuration:
    """Values by key, each checked when it is read.

    Attributes:
        values: every key's.
        prefix: of the keys in messages, where they lie in a mapping of their own.

    Every method raises `ConfigurationRefusedError` for a value of another kind.
    """

    values: Mapping[str, Any]
    prefix: str = ""

    def __getitem__(self, key: str) -> Any:
        """The value as it was given."""
        return self.values[key]

    def whole(self, key: str, *, least: int = 1) -> int:
        """A whole number."""
        value = self.values[key]
        if not is_whole(value, least):
            raise self._refusal(key, f"a whole number from {least} on")
        return int(value)

    def whole_or_auto(self, key: str) -> int | None:
        """A whole number, or None for ``auto``."""
        value = self.values[key]
        if value == "auto":
            return None
        if not is_whole(value):
            raise self._refusal(key, "a whole number or auto")
        return int(value)

    def number(self, key: str, *, least: float = 0) -> float:
        """A number, not NaN."""
        value = self.values[key]
        if not is_number(value) or value < least:
            from_on = f" from {least} on" if least > -math.inf else ""
            raise self._refusal(key, f"a number{from_on}")
        return float(value)

    def share(self, key: str) -> float:
        """A number from 0 to 1."""
        value = self.number(key)
        if value > 1:
            raise self._refusal(key, "a number from 0 to 1")
        return value

    def switch(self, key: str) -> bool:
        """True or false."""
        value = self.values[key]
        if not isinstance(value, bool):
            raise self._refusal(key, "true or false")
        return value

    def choice(self, key: str, allowed: Collection[str]) -> str:
        """One of some words."""
        value = self.values[key]
        if value not in allowed:
            raise self._refusal(key, f"one of {', '.join(allowed)}")
        return str(value)

    def schedule(self, key: str, *, most: float = math.inf) -> Schedule:
        """A number from 0 on, or a schedule of such."""
        schedule = parse_schedule(key, self.values[key])
        for value in schedule.values:
            if not 0 <= value <= most:
                allowed = "is never negative" if most == math.inf else f"lies from 0 to {most:g}"
                raise ConfigurationRefusedError(f"{self.prefix}{key} {allowed}; found {value}")
        return schedule

    def grad_clip(self) -> tuple[float | None, str]:
        """How far gradients are clipped, and by what; None where RLlib does not: nothing, or 0."""
        by = self.choice("grad_clip_by", _GRAD_CLIPS)
        return (self.number("grad_clip") if self.values["grad_clip"] else None), by

    def _refusal(self, key: str, allowed: str) -> ConfigurationRefusedError:
        return ConfigurationRefusedError(
            f"{self.prefix}{key} is {allowed}, not {self.values[key]!r}"
        )


def complete(
    algorithm: str, configuration: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Configuration:
    """Every key of the algorithm's with its value; ``model_config`` only as far as it is given.

    Args:
        algorithm: RLlib's name of it.
        configuration: keys under RLlib's names, its second ones included.
        defaults: of every key that is carried out.

    Raises:
        ConfigurationRefusedError: a key, or a fixed key's value, that is not carried out.
    """
    given: dict[str, Any] = {**defaults, "model_config": {}}
    for name, value in configuration.items():
        key = SECOND_NAMES.get(name, name)
        if key not in defaults:
            explained = explain_foreign_name(algorithm, key)
            raise ConfigurationRefusedError(
                f"{name}: {explained}"
                if explained
                else f"{name} is not carried out by {algorithm} on backend torch; "
                f"backend: {REFERENCE_BACKEND} has it"
            )
        if key != name and key in configuration:
            raise ConfigurationRefusedError(f"{name} and {key} are the same; give one of them")
        given[key] = value
    fixed = find_support("torch", algorithm).fixed
    for key, value in given.items():
        if key in fixed and value != defaults[key]:
            raise ConfigurationRefusedError(
                f"{key}: {value!r} is not carried out on backend torch; "
                f"backend: {REFERENCE_BACKEND} has it"
            )
    given["model_config"] = given["model_config"] or {}
    for key in given["model_config"]:
        dead = dead_network_reason(algorithm, key)
        if dead is not None:
            raise ConfigurationRefusedError(f"model_config.{key} is not for {algorithm}: {dead}")
    return Configuration(given)


def is_whole(value: Any, least: int = 1) -> bool:
    """Whether a value is a whole number, truth values aside."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: Any) -> bool:
    """Whether a value is a number, truth values and NaN aside."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
