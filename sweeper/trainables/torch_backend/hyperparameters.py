"""Completes a configuration with defaults, and reads it value by value, for every algorithm.

Rules between keys are in the algorithm's own settings (`ppo.settings`, `dqn.settings`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.errors import ConfigurationRefusedError
from sweeper.spec.keys.foreign import SECOND_NAMES, dead_network_reason, explain_foreign_name
from sweeper.spec.keys.support import REFERENCE_BACKEND, find_support
from sweeper.trainables.torch_backend.schedules import Schedule, is_number, parse_schedule

__all__ = ["Configuration", "complete", "is_number", "is_whole"]

_GRAD_CLIPS = ("global_norm", "norm", "value")


@dataclass(frozen=True)
class Configuration:
    """Values by key, each checked when it is read.

    Every method raises `ConfigurationRefusedError` for an invalid value.

    Attributes:
        prefix: put before the keys in messages, for keys of a nested mapping.
    """

    values: Mapping[str, Any]
    prefix: str = ""

    def __getitem__(self, key: str) -> Any:
        """The unchecked value."""
        return self.values[key]

    def whole(self, key: str, *, minimum: int = 1) -> int:
        """A whole number."""
        value = self.values[key]
        if not is_whole(value, minimum):
            raise self._refusal(key, f"a whole number from {minimum} on")
        return int(value)

    def whole_or_auto(self, key: str) -> int | None:
        """A whole number, or None for ``auto``."""
        value = self.values[key]
        if value == "auto":
            return None
        if not is_whole(value):
            raise self._refusal(key, "a whole number or auto")
        return int(value)

    def number(self, key: str, *, minimum: float = 0) -> float:
        """A number, not NaN."""
        value = self.values[key]
        if not is_number(value) or value < minimum:
            from_on = f" from {minimum} on" if minimum > -math.inf else ""
            raise self._refusal(key, f"a number{from_on}")
        return float(value)

    def share(self, key: str) -> float:
        """A number from 0 to 1."""
        value = self.number(key)
        if value > 1:
            raise self._refusal(key, "a number from 0 to 1")
        return value

    def choice(self, key: str, allowed: Collection[str]) -> str:
        """One of the allowed words."""
        value = self.values[key]
        if value not in allowed:
            raise self._refusal(key, f"one of {', '.join(allowed)}")
        return str(value)

    def schedule(self, key: str, *, maximum: float = math.inf) -> Schedule:
        """A number from 0 on, or a schedule of such numbers."""
        schedule = parse_schedule(key, self.values[key])
        for value in schedule.values:
            if not 0 <= value <= maximum:
                allowed = (
                    "is never negative" if maximum == math.inf else f"lies from 0 to {maximum:g}"
                )
                raise ConfigurationRefusedError(f"{self.prefix}{key} {allowed}; found {value}")
        return schedule

    def switches(self, *keys: str) -> dict[str, Any]:
        """True or false, by key."""
        for key in keys:
            if not isinstance(self.values[key], bool):
                raise self._refusal(key, "true or false")
        return {key: self.values[key] for key in keys}

    def grad_clip(self) -> dict[str, Any]:
        """The limit of gradients and its kind.

        There is none for null and 0, as in RLlib, nor for an infinity, of which RLlib's arithmetic
        makes NaN.
        """
        by = self.choice("grad_clip_by", _GRAD_CLIPS)
        limit = self.number("grad_clip") if self.values["grad_clip"] else None
        if limit is not None and math.isinf(limit):
            limit = None
        return {"grad_clip": limit, "grad_clip_by": by}

    def _refusal(self, key: str, allowed: str) -> ConfigurationRefusedError:
        return ConfigurationRefusedError(
            f"{self.prefix}{key} is {allowed}, not {self.values[key]!r}"
        )


def complete(
    algorithm: str, configuration: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Configuration:
    """Complete a configuration with the algorithm's defaults, except in ``model_config``.

    Keys have RLlib's names, or its alternative names; only those with a default are supported.

    Raises:
        ConfigurationRefusedError: a key, or the value of a fixed key, is not supported.
    """
    given: dict[str, Any] = {**defaults, "model_config": {}}
    for name, value in configuration.items():
        key = SECOND_NAMES.get(name, name)
        if key not in defaults:
            explained = explain_foreign_name(algorithm, key)
            raise ConfigurationRefusedError(
                f"{name}: {explained}"
                if explained
                else f"{name} is not supported by {algorithm} on backend torch; "
                f"backend: {REFERENCE_BACKEND} has it"
            )
        if key != name and key in configuration:
            raise ConfigurationRefusedError(f"{name} and {key} are the same; give one of them")
        given[key] = value
    fixed = find_support("torch", algorithm).fixed
    for key, value in given.items():
        if key in fixed and value != defaults[key]:
            rllib_takes_it = key not in find_support(REFERENCE_BACKEND, algorithm).fixed
            raise ConfigurationRefusedError(
                f"{key}: {value!r} is not supported on backend torch; "
                f"backend: {REFERENCE_BACKEND} has it"
                if rllib_takes_it
                else f"{key}: must be {defaults[key]!r} for {algorithm}; found {value!r}"
            )
    given["model_config"] = given["model_config"] or {}
    for key in given["model_config"]:
        dead = dead_network_reason(algorithm, key)
        if dead is not None:
            raise ConfigurationRefusedError(f"model_config.{key} is not for {algorithm}: {dead}")
    return Configuration(given)


def is_whole(value: Any, minimum: int = 1) -> bool:
    """Whether a value is a whole number, not a bool."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum
