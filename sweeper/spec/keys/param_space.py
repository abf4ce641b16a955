"""Checking a param space: its keys and every value that could be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.hints import did_you_mean, join_words, show
from sweeper.search.distributions import KINDS, Distribution, SpaceProblem
from sweeper.spec.keys.combinations import check_combinations
from sweeper.spec.keys.domains import Domain, check_value, describe_domain
from sweeper.spec.keys.foreign import dead_network_reason, explain_foreign_name, renamed_to
from sweeper.spec.keys.names import (
    algorithms,
    default,
    defaults,
    domain,
    extending_backend,
    is_network_key,
    is_refused_key,
)
from sweeper.spec.keys.support import REFERENCE_BACKEND, find_support

__all__ = ["check_param_space", "check_values"]

KeyPath = tuple[str | int, ...]
_NESTED = ("model_config", "replay_buffer_config")
_RARE = ("_initializer", "_initializer_kwargs")  # left out of hints


def check_param_space(
    algorithm: str, space: Mapping[str, Any], backend: str = REFERENCE_BACKEND
) -> Iterator[SpaceProblem]:
    """All problems of a param space: constants, choices, bounds of ranges, combinations."""
    yield from check_values(algorithm, space, backend)
    yield from check_combinations(algorithm, space, backend)


def check_values(
    algorithm: str, space: Mapping[str, Any], backend: str = REFERENCE_BACKEND
) -> Iterator[SpaceProblem]:
    """The problems of single keys; what fits no other key is not looked at."""
    subject = _Subject(algorithm, backend)
    for key, value in space.items():
        if key not in subject.defaults:
            yield SpaceProblem((key,), _explain_unknown(subject, key))
        elif key in _NESTED:
            yield from _check_nested(subject, key, value)
        else:
            yield from _check_leaf(subject, (key,), value)


@dataclass(frozen=True)
class _Subject:
    """The algorithm whose keys are checked, on a backend."""

    algorithm: str
    backend: str

    @property
    def defaults(self) -> Mapping[str, Any]:
        return defaults(self.algorithm, self.backend)

    def lacks(self, path: tuple[str, ...]) -> bool:
        """Whether RLlib supports a key and this backend does not."""
        theirs: Any = defaults(self.algorithm)
        for key in path[:-1]:
            theirs = theirs.get(key, {})
        return self.backend != REFERENCE_BACKEND and path[-1] in theirs


def _explain_unknown(subject: _Subject, key: str) -> str:
    algorithm = subject.algorithm
    if subject.lacks((key,)):
        return _explain_lacking(subject)
    foreign = explain_foreign_name(algorithm, key)
    if foreign is not None:
        return foreign
    known = subject.defaults
    if is_network_key(key):
        return f"belongs to the network; its name here is model_config.{key}"
    if is_refused_key(algorithm, key):
        return "RLlib knows this key, but a spec can't set it"
    above, dot, below = key.partition(".")
    if dot and above in _NESTED:
        return f"keys are nested here; write {above}: {{{below}: …}}"
    owners = [other for other in algorithms() if key in defaults(other)]
    if owners:
        verb = "has" if len(owners) == 1 else "have"
        return f"{algorithm} has no such hyperparameter; {join_words(owners)} {verb} it"
    hint = did_you_mean(key, known) or f"; it has {', '.join(known)}"
    return f"unknown hyperparameter of {algorithm}{hint}"


def _explain_lacking(subject: _Subject) -> str:
    return f"not supported on backend {subject.backend}; backend: {REFERENCE_BACKEND} has it"


def _check_nested(subject: _Subject, key: str, value: Any) -> Iterator[SpaceProblem]:
    if isinstance(value, Distribution):
        for number, one in enumerate(value.values or ()):
            for problem in _check_nested(subject, key, one):
                where = (key, value.kind, number)
                inner = ".".join(str(part) for part in problem.path[1:])
                message = f"{inner}: {problem.message}" if inner else problem.message
                yield SpaceProblem(where, message)
        if value.values is None:
            yield SpaceProblem((key,), f"{key} is a mapping, not a number")
        return
    if not isinstance(value, Mapping):
        whose = "the network's" if key == "model_config" else "its own"
        yield SpaceProblem((key,), f"must be a mapping of {whose} keys; found {show(value)}")
        return
    known = subject.defaults[key]
    for inner, leaf in value.items():
        if inner in known:
            yield from _check_leaf(subject, (key, inner), leaf)
        elif key == "model_config" and (dead := dead_network_reason(subject.algorithm, inner)):
            yield SpaceProblem((key, inner), f"is not for {subject.algorithm}: {dead}")
        elif subject.lacks((key, inner)):
            yield SpaceProblem((key, inner), _explain_lacking(subject))
        elif key == "model_config" and (able := extending_backend(subject.algorithm, inner)):
            lacking = f"RLlib's {subject.algorithm} has no key for it; backend: {able} has it"
            message = f"not supported on backend {subject.backend}: {lacking}"
            yield SpaceProblem((key, inner), message)
        else:
            ours = renamed_to(subject.algorithm, inner) or ""
            if ours.startswith(f"{key}."):
                message = f"its name here is {ours.removeprefix(f'{key}.')}"
                yield SpaceProblem((key, inner), message)
                continue
            usual = [name for name in known if not name.endswith(_RARE)]
            hint = did_you_mean(inner, known) or f"; it has {', '.join(usual)}"
            yield SpaceProblem((key, inner), f"unknown key of {key}{hint}")


def _check_leaf(subject: _Subject, path: tuple[str, ...], value: Any) -> Iterator[SpaceProblem]:
    is_fixed = ".".join(path) in find_support(subject.backend, subject.algorithm).fixed
    allowed = default(subject.algorithm, path, subject.backend) if is_fixed else None
    here_domain = domain(subject.algorithm, path, subject.backend)
    if isinstance(value, Mapping) and not (here_domain.is_free or here_domain.is_mapping):
        form = f"{describe_domain(here_domain)}, or a distribution: one of {', '.join(KINDS)}"
        yield SpaceProblem(path, f"must be {form}; found {show(value)}")
        return
    is_range = isinstance(value, Distribution) and value.values is None
    for where, one in [] if is_range else _possible_values(path, value):
        problem = check_value(here_domain, one)
        if problem is not None and check_value(domain(subject.algorithm, path), one) is None:
            found = f"must be {describe_domain(here_domain)}; found {show(one)}"
            problem = f"{found}; backend: {REFERENCE_BACKEND} takes it"
        elif problem is None and is_fixed and one != allowed:
            problem = _explain_fixed(subject, path, allowed, one)
        if problem is not None:
            yield SpaceProblem(where, problem + _choice_hint(here_domain, one))
    if is_range:
        problems = list(_check_range(here_domain, path, value))
        if is_fixed and not problems:
            message = _explain_fixed(subject, path, allowed, value.to_plain())
            problems = [SpaceProblem((*path, value.kind), message)]
        yield from problems


def _choice_hint(wanted: Domain, value: Any) -> str:
    """How to write a list of values to choose from."""
    if not isinstance(value, list) or not value or wanted.has_range:
        return ""
    if any(check_value(wanted, one) is not None for one in value):
        return ""
    return f"; to try each of them write {{choice: {show(value)}}}"


def _explain_fixed(subject: _Subject, path: tuple[str, ...], allowed: Any, found: Any) -> str:
    if ".".join(path) in find_support(REFERENCE_BACKEND, subject.algorithm).fixed:
        return f"must be {show(allowed)} for {subject.algorithm}; found {show(found)}"
    form = f"must be {show(allowed)} on backend {subject.backend}"
    return f"{form}; found {show(found)}; backend: {REFERENCE_BACKEND} takes others"


def _possible_values(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, Distribution):
        for number, one in enumerate(value.values or ()):
            yield (*path, value.kind, number), one
    else:
        yield path, value


def _check_range(wanted: Domain, path: KeyPath, value: Distribution) -> Iterator[SpaceProblem]:
    here, form = (*path, value.kind), describe_domain(wanted)
    if wanted.is_free:
        return
    if not wanted.is_number:
        yield SpaceProblem(here, f"draws numbers, but the value must be {form}; use choice")
    elif wanted.is_integer and not value.is_integer:
        remedy = "use randint, lograndint or choice"
        yield SpaceProblem(here, f"draws fractions, but must draw whole numbers; {remedy}")
    elif value.bounds is None:
        if wanted.is_bounded:
            what = f"draws values without bounds, but each must be {form}"
            yield SpaceProblem(here, f"{what}; use uniform or loguniform")
    else:
        for number, bound in enumerate(value.bounds):
            problem = check_value(wanted, bound)
            if problem is not None:
                yield SpaceProblem((*here, number), problem)
                return
