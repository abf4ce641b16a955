"""The environment that a spec asks for, as plain data from which any process can build it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sweeper.errors import UserError
from sweeper.references import UnsetError, find_names, look_up, resolve
from sweeper.veil import remember

__all__ = [
    "EnvironmentBuildError",
    "EnvironmentSettings",
    "NormalizeSettings",
    "WrapperSettings",
    "module_folders",
]


@dataclass(frozen=True)
class WrapperSettings:
    """One wrapper: a name in ``gymnasium.wrappers`` or a dotted path, with its arguments."""

    name: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments for the constructor: gymnasium's own takes tuples, and YAML has lists.

        Raises:
            EnvironmentBuildError: a variable that they refer to is not set.
        """
        kwargs = _resolve(self.kwargs, "wrappers")
        if "." in self.name:
            return kwargs
        given = kwargs.items()
        return {key: tuple(one) if isinstance(one, list) else one for key, one in given}


@dataclass(frozen=True)
class NormalizeSettings:
    """What is normalised.

    Attributes:
        observations: by running statistics, which every replica has of its own.
        rewards: the same.
        images: of bytes, by 255.
    """

    observations: bool = False
    rewards: bool = False
    images: bool = False

    @property
    def image_scale(self) -> float:
        """What the networks multiply images by."""
        return 1 / 255 if self.images else 1.0


@dataclass(frozen=True)
class EnvironmentSettings:
    """Everything a worker needs to build the environment; plain data that survives JSON.

    Attributes:
        id: the gymnasium id.
        kwargs: for the environment's constructor, with references to variables (see
            `sweeper.references`).
        wrappers: applied in order, the last outermost.
        module: imported first, to register the id.
        search_paths: absolute folders in which modules are searched before Python's own path.
        vectorization: ``auto``, ``sync``, ``async``, ``vector_entry_point`` or ``envpool``.
        normalize: running normalisation; its statistics are saved with the agent.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    wrappers: tuple[WrapperSettings, ...] = ()
    module: str | None = None
    search_paths: tuple[str, ...] = ()
    vectorization: str = "auto"
    normalize: NormalizeSettings = NormalizeSettings()

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments for the environment's constructor, with variables in their places.

        Raises:
            EnvironmentBuildError: a variable that they refer to is not set.
        """
        return _resolve(self.kwargs, "kwargs")

    def drawn_as(self, render_mode: str | None) -> EnvironmentSettings:
        """The same with gymnasium's ``render_mode``; None leaves it as it is."""
        if render_mode is None:
            return self
        return replace(self, kwargs={**self.kwargs, "render_mode": render_mode})

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the variables that arguments refer to."""
        given = (self.kwargs, *(wrapper.kwargs for wrapper in self.wrappers))
        return tuple(dict.fromkeys(find_names(given)))

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of the modules that are imported to build the environment."""
        prefix = self.id.partition(":")[0] if ":" in self.id else None
        wrappers = (wrapper.name.rpartition(".")[0] for wrapper in self.wrappers)
        return tuple(dict.fromkeys(name for name in (self.module, prefix, *wrappers) if name))

    def learn_secrets(self) -> None:
        """Hide from now on what this process writes of the variables that arguments refer to."""
        for name in self.variables:
            with contextlib.suppress(UnsetError):
                remember(look_up(name))

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON types."""
        plain = asdict(self)
        return {key: list(one) if isinstance(one, tuple) else one for key, one in plain.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> EnvironmentSettings:
        """Read what `to_json` returned.

        Raises:
            ValueError: it is something else.
        """
        if not _is_settings(document):
            raise ValueError("environment does not describe one")
        parts = {
            "wrappers": tuple(WrapperSettings(**wrapper) for wrapper in document["wrappers"]),
            "search_paths": tuple(document["search_paths"]),
            "normalize": NormalizeSettings(**document["normalize"]),
        }
        return cls(**{**document, **parts})


def module_folders(source: Path | None) -> tuple[str, ...]:
    """Where a spec's modules are looked for: beside its file, then in the working directory.

    The recorded working directory lets a run's spec find its modules from anywhere.
    """
    folders = [str(source.absolute().parent)] if source is not None else []
    folders.append(str(Path.cwd()))
    return tuple(dict.fromkeys(os.path.normpath(folder) for folder in folders))


def _is_settings(document: Any) -> bool:
    """Whether a document has the parts of `EnvironmentSettings.to_json`, each of its type."""
    if not isinstance(document, Mapping):
        return False
    texts = ("id", "vectorization")
    lists = ("wrappers", "search_paths")
    given, needed = set(document), {"id", *lists, "normalize"}
    if not needed <= given <= {*needed, "vectorization", "kwargs", "module"}:
        return False
    normalize = document["normalize"]
    return (
        all(isinstance(document.get(name, ""), str) for name in texts)
        and all(isinstance(document[name], list) for name in lists)
        and all(isinstance(path, str) for path in document["search_paths"])
        and isinstance(document.get("module"), str | None)
        and isinstance(document.get("kwargs", {}), Mapping)
        and isinstance(normalize, Mapping)
        and set(normalize) <= set(NormalizeSettings.__dataclass_fields__)
        and all(isinstance(value, bool) for value in normalize.values())
        and all(map(_is_wrapper, document["wrappers"]))
    )


def _is_wrapper(document: Any) -> bool:
    return (
        isinstance(document, Mapping)
        and set(document) in ({"name"}, {"name", "kwargs"})
        and isinstance(document["name"], str)
        and isinstance(document.get("kwargs", {}), Mapping)
    )


class EnvironmentBuildError(UserError):
    """The environment can't be built.

    Attributes:
        key: the faulty key in the spec's ``environment``, e.g. ``("wrappers", 0)``.
    """

    def __init__(self, key: tuple[str | int, ...], message: str) -> None:
        self.key = key
        super().__init__(message)


def _resolve(kwargs: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Arguments with variables in their places, which are hidden from then on.

    Raises:
        EnvironmentBuildError: one is not set.
    """
    try:
        return dict(resolve(kwargs, remember))
    except UnsetError as unset:
        message = f"the environment variable {unset} is not set"
        raise EnvironmentBuildError((key,), message) from None
