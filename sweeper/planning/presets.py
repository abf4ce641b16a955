"""Presets as specs: whose hyperparameters they are, and for which environment and algorithm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import UserError
from sweeper.hints import did_you_mean, join_words, nearest
from sweeper.presets.catalogue import find_preset_file, preset_names
from sweeper.spec import ExperimentSpec, load_spec

__all__ = ["Preset", "choose_preset", "load_presets"]


@dataclass(frozen=True)
class Preset:
    """A spec that comes with the package.

    Attributes:
        name: as ``selection.baseline`` takes it.
        about: what its file says at the top, a line each: what is published.
    """

    name: str
    about: tuple[str, ...]
    spec: ExperimentSpec

    @property
    def env_id(self) -> str:
        """The environment's id."""
        return self.spec.environment.id


def load_presets(algorithm: str | None = None) -> list[Preset]:
    """All presets, or those of an algorithm, by name."""
    presets = []
    for name in preset_names():
        file = find_preset_file(name)
        if file is not None:
            presets.append(Preset(name, tuple(_first_comment(file)), load_spec(file)))
    return [one for one in presets if algorithm in (None, one.spec.algorithm)]


def _first_comment(file: Path) -> Iterator[str]:
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            return
        yield line.lstrip("# ")


def choose_preset(env_id: str, algorithm: str, backend: str | None = None) -> Preset:
    """The preset of an algorithm for an environment.

    Args:
        env_id: gymnasium's id.
        algorithm: RLlib's name.
        backend: None: whichever the preset is for.

    Raises:
        UserError: there is none; with those that there are, and the nearest.
    """
    everything = load_presets()
    of_algorithm = [one for one in everything if one.spec.algorithm == algorithm]
    found = next((one for one in of_algorithm if one.env_id == env_id), None)
    if found is None:
        raise UserError(_explain_missing(env_id, algorithm, everything))
    if backend not in (None, found.spec.backend):
        raise UserError(
            f"{found.name} is for backend {found.spec.backend}, not {backend}; leave --backend "
            "out, or --preset"
        )
    return found


def _explain_missing(env_id: str, algorithm: str, presets: list[Preset]) -> str:
    """Which presets there are for the algorithm, what is nearest, and who else has one."""
    ids = sorted({one.env_id for one in presets if one.spec.algorithm == algorithm})
    others = sorted({one.spec.algorithm for one in presets if one.env_id == env_id})
    if not ids:
        have = join_words(sorted({one.spec.algorithm for one in presets}))
        message = f"there is no preset of {algorithm}; {have} have some"
    else:
        message = f"there is no preset of {algorithm} for {env_id}; there are {', '.join(ids)}"
    message += "; without --preset, init writes a space of its own"
    near = nearest(env_id, ids)
    if others:
        return f"{message}; {join_words(others)} has one for {env_id}: --algorithm {others[0]}"
    if near is not None and _without_version(near) == _without_version(env_id):
        return f"{message}; {near} is the version that gymnasium has now, write that"
    return f"{message}{did_you_mean(env_id, ids)}"


def _without_version(env_id: str) -> str:
    return env_id.rpartition("-v")[0] or env_id
