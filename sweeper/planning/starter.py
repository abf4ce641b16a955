"""Writes a first spec for an environment: commented, with a search space that suits it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sweeper.environments.building import describe
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings
from sweeper.errors import UserError
from sweeper.hints import join_words
from sweeper.planning.feasibility import check_feasibility
from sweeper.planning.presets import choose_preset
from sweeper.planning.proposal import Proposal
from sweeper.planning.starter_space import Task
from sweeper.planning.starter_text import quoted, write_around, write_starter
from sweeper.spec import parse
from sweeper.spec.keys.names import check_algorithm
from sweeper.spec.keys.support import (
    BACKENDS,
    DEFAULT_ALGORITHM,
    REFERENCE_BACKEND,
    default_backend,
    find_support,
    supports,
)
from sweeper.spec.text.yaml import parse_yaml

__all__ = ["Starter", "make_starter", "starting_spec", "write_new"]


@dataclass(frozen=True)
class Starter:
    """A first spec: the name of its sweep, and its text."""

    name: str
    text: str


def starting_spec(
    env_id: str,
    algorithm: str | None = None,
    backend: str | None = None,
    *,
    preset: bool = False,
) -> str:
    """A first spec for an environment, as ``sweeper init`` writes it: YAML with comments.

    Args:
        env_id: as in `make_starter`.
        algorithm: the same.
        backend: the same.
        preset: search around RL Baselines3 Zoo's hyperparameters for it.

    Raises:
        UserError: as for `make_starter`.
    """
    return make_starter(env_id, algorithm, backend, from_preset=preset).text


def make_starter(
    env_id: str,
    algorithm: str | None = None,
    backend: str | None = None,
    *,
    file: str | None = None,
    from_preset: bool = False,
) -> Starter:
    """Write a spec for an environment; builds the environment once.

    Args:
        env_id: a gymnasium id, or ``module:id`` with a module in the working directory.
        algorithm: by default PPO, which can act in every action space.
        backend: by default the spec's default.
        file: where the text will be; its comments say how to run it. By default ``NAME.yaml``.
        from_preset: search around the preset for the environment and the algorithm.

    Raises:
        UserError: the environment can't be built, or the algorithm can't be trained on it, or
            there is no preset.
    """
    chosen = algorithm or DEFAULT_ALGORITHM
    problem = check_algorithm(chosen)
    if problem is not None:
        raise UserError(problem)
    support = find_support(_check_backend(chosen, backend), chosen)
    settings = EnvironmentSettings(env_id, search_paths=(str(Path.cwd()),))
    preset = choose_preset(env_id, chosen, backend) if from_preset else None
    if preset is not None:
        settings = preset.spec.environment.settings()
    try:
        described = describe(settings)
    except EnvironmentBuildError as error:
        raise UserError(f"{error}{_by_hand(str(error), env_id)}") from error
    if described.probe.fault is not None:
        raise UserError(f"{env_id}: {described.probe.fault}")
    task = Task(env_id, support, described)
    text = write_starter(task, file) if preset is None else write_around(task, preset, file)
    spec = parse(parse_yaml(text, "starter").value)
    refusals = [
        problem.message
        for problem in check_feasibility(Proposal.of_spec(spec)).problems
        if problem.key != "storage"  # the spec may be moved before it runs
    ]
    if refusals:
        text = "; ".join(refusals)
        raise UserError(f"{text}{_by_hand(text, env_id)}")
    return Starter(spec.name, text)


# Words of a refusal, and the keys of a spec that mend it, of which a starter has none.
_KEYS_BY_HAND = {
    "required": "environment.kwargs",
    "wrapper": "environment.wrappers",
    "conv_filters": "param_space.model_config",
}


def _by_hand(refusal: str, env_id: str) -> str:
    """What to write by hand where the environment can be trained in, but not as it is."""
    keys = [key for words, key in _KEYS_BY_HAND.items() if words in refusal]
    if not keys:
        return ""
    return (
        f"; init can't write that: put {join_words(keys, 'or')} into a spec by hand, beside "
        f"environment.id: {quoted(env_id)} (docs/environments.md has examples)"
    )


def write_new(
    path: Path, text: str, *, remedy: str = "give another --output, or delete it"
) -> None:
    """Write a new file.

    Args:
        path: the file.
        text: its contents.
        remedy: what to do if it is there already.

    Raises:
        UserError: the file exists, or can't be written.
    """
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise UserError(f"{path} is there already; {remedy}") from error
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}") from error


def _check_backend(algorithm: str, backend: str | None) -> str:
    if backend is None:
        return default_backend(algorithm)
    if backend not in BACKENDS:
        raise UserError(f"unknown backend {backend!r}; must be one of {', '.join(BACKENDS)}")
    if not supports(backend, algorithm):
        raise UserError(f"{backend} has no {algorithm}; --backend {REFERENCE_BACKEND} has it")
    return backend
