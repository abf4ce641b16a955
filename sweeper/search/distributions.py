"""The distributions of a param space: reading them from a spec and checking their conditions."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sweeper.hints import nearest, show
from sweeper.search.kinds import (
    INTEGER,
    KINDS,
    LOG,
    NORMAL,
    check_arguments,
    is_finite,
    names_code,
)
from sweeper.search.quanta import first_index, is_between, is_close, last_index, multiple

__all__ = [
    "KINDS",
    "Distribution",
    "Path",
    "SpaceProblem",
    "assign",
    "constants",
    "distributions",
    "flatten",
    "is_distribution",
    "is_same",
    "parse_space",
]

Path = tuple[str, ...]


@dataclass(frozen=True)
class Distribution:
    """One searched parameter.

    Attributes:
        kind: Tune's name.
        args: arguments of the kind; for ``choice`` and ``grid_search`` the values.
        when: dotted names of other parameters and the value (or list of values) that each must
            have for this one to be active; None: always active.
    """

    kind: str
    args: tuple[Any, ...]
    when: Mapping[str, Any] | None = None

    @property
    def is_grid(self) -> bool:
        """Whether every value is tried."""
        return self.kind == "grid_search"

    @property
    def values(self) -> tuple[Any, ...] | None:
        """All values; None for a range."""
        return self.args if KINDS[self.kind] is None else None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The smallest and largest value of a range; None for values and normal distributions."""
        if self.values is not None or self.kind in NORMAL:
            return None
        lower, upper = self.args[0], self.args[1]
        exclusive = self.kind in INTEGER and (len(self.args) == 2 or self.args[2] == 1)
        return lower, upper - 1 if exclusive else upper

    @property
    def middle(self) -> Any:
        """A value in the middle: of a list, of a range on its scale, or of a normal's values."""
        if self.values is not None:
            return copy.deepcopy(self.values[(len(self.values) - 1) // 2])
        if self.bounds is None:
            return self.args[0]
        lower, upper = self.bounds
        middle = math.sqrt(lower * upper) if self.is_log else (lower + upper) / 2
        if self.quantum is None:
            return min(max(float(f"{middle:.3g}"), lower), upper)
        first, last = self.indices
        return self.multiple(min(max(round(middle / self.quantum), first), last))

    @property
    def is_log(self) -> bool:
        """Whether draws are uniform on a log scale."""
        return self.kind in LOG

    @property
    def is_integer(self) -> bool:
        """Whether draws are integers."""
        return self.kind in INTEGER

    @property
    def quantum(self) -> float | None:
        """What every value is a multiple of; None where values are not quantised."""
        return self.args[2] if len(self.args) > 2 else 1 if self.is_integer else None

    @property
    def indices(self) -> tuple[int, int]:
        """How many quanta the first and the last value of a quantised range have.

        Raises:
            ValueError: it has no bounds, or no quantum.
        """
        if self.bounds is None or self.quantum is None:
            raise ValueError(f"{self.kind} {self.args} has no first and last multiple")
        return first_index(self.bounds[0], self.quantum), last_index(self.bounds[1], self.quantum)

    def multiple(self, index: float) -> float | int:
        """The value of a quantised distribution that is so many quanta."""
        quantum = self.quantum or 1
        return int(index * quantum) if self.is_integer else multiple(index, quantum, self.bounds)

    def contains(self, value: Any) -> bool:
        """Whether a value can be drawn; for a quantised range, whether it lies in the bounds."""
        if not self.suits(value) or (self.is_integer and value != int(value)):
            return False
        if self.bounds is None:
            return True
        if self.quantum is None or self.is_integer:
            return bool(self.bounds[0] <= value <= self.bounds[1])
        return is_between(value, self.bounds)

    def suits(self, value: Any) -> bool:
        """Whether a value is one of those to choose from; of a range, any finite number."""
        if self.values is not None:
            return any(is_same(value, one) for one in self.values)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and is_finite(value)

    def matches(self, value: Any, wanted: Any) -> bool:
        """Whether a drawn value is the wanted one, or one of a list of them."""
        listed = [wanted, *(wanted if isinstance(wanted, list) else [])]
        return any(is_same(self.own_value(value), self.own_value(one)) for one in listed)

    def own_value(self, value: Any) -> Any:
        """A value as it would be drawn: ``64`` for ``64.0`` where 64 can be chosen."""
        if not self.contains(value):
            return value
        if self.values is not None:
            equal = (one for one in self.values if is_same(one, value))
            return copy.deepcopy(min(equal, key=lambda one: repr(one) != repr(value)))
        if self.is_integer:
            return int(value)
        quantum = self.quantum
        if quantum is None:
            return float(value)
        near = self.multiple(round(value / quantum))
        return near if is_close(near, value) else float(value)

    def to_plain(self) -> dict[str, Any]:
        """The distribution as the spec writes it."""
        plain: dict[str, Any] = {self.kind: copy.deepcopy(list(self.args))}
        if self.when is not None:
            plain["when"] = dict(self.when)
        return plain


@dataclass(frozen=True)
class SpaceProblem:
    """One problem of a param space, with its key path below ``param_space``."""

    path: tuple[str | int, ...]
    message: str


def is_distribution(value: object) -> bool:
    """Whether a value of a spec is a distribution."""
    return (
        isinstance(value, Mapping)
        and len(value.keys() - {"when"}) == 1
        and bool(value.keys() & KINDS.keys())
    )


def parse_space(
    raw: Mapping[str, Any], hyperparameters: Collection[str] = ()
) -> tuple[dict[str, Any], list[SpaceProblem]]:
    """Turn a spec's ``param_space`` into constants and `Distribution` leaves.

    Args:
        raw: the ``param_space`` as written.
        hyperparameters: dotted names of all the algorithm's keys, for hints.

    Returns:
        The space without its wrong leaves and conditions, and the problems.
    """
    problems: list[SpaceProblem] = []
    space = _parse_mapping(raw, (), problems)
    broken: list[tuple[Path, Distribution]] = []
    known = {".".join(path) for path, _ in flatten(space)}
    for path, leaf in distributions(space):
        found = list(_check_condition(path, leaf, space, raw, hyperparameters))
        if found or not known.issuperset(leaf.when or {}):
            broken.append((path, leaf))
        problems.extend(found)
    for path, leaf in broken:
        assign(space, path, replace(leaf, when=None))
    return space, problems


def distributions(space: Mapping[str, Any]) -> Iterator[tuple[Path, Distribution]]:
    """The searched parameters with their key paths, in the space's order."""
    for path, value in flatten(space):
        if isinstance(value, Distribution):
            yield path, value


def constants(space: Mapping[str, Any]) -> dict[str, Any]:
    """The space without its searched parameters, nested."""
    found: dict[str, Any] = {}
    for path, value in flatten(space):
        if not isinstance(value, Distribution):
            assign(found, path, copy.deepcopy(value))
    return found


def flatten(nested: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """The leaves of a nested mapping with their key paths; an empty mapping is a leaf."""
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            for below, leaf in flatten(value):
                yield (key, *below), leaf
        else:
            yield (key,), value


def is_same(left: Any, right: Any) -> bool:
    """Whether values are equal in a spec, where 1 is not true."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def assign(nested: dict[str, Any], path: Path, value: Any) -> None:
    """Set a leaf of a nested mapping in place; missing mappings are created."""
    for key in path[:-1]:
        nested = nested.setdefault(key, {})
    nested[path[-1]] = value


def _parse_mapping(
    raw: Mapping[str, Any], path: tuple[str | int, ...], problems: list[SpaceProblem]
) -> dict[str, Any]:
    space: dict[str, Any] = {}
    for key, value in raw.items():
        here, message = (*path, key), None
        if isinstance(value, list) and _holds_distribution(value):
            message = "a distribution can't stand in a list; list whole values under choice"
        elif not isinstance(value, Mapping):
            space[key] = copy.deepcopy(value)
        elif not (kinds := value.keys() & KINDS.keys()):
            message = names_code(value) or _misspelt(value) or _other_notation(value)
            if message is None:
                space[key] = _parse_mapping(value, here, problems)
        elif not is_distribution(value):
            others = ", ".join(sorted(value.keys() - {min(kinds)}))
            message = f"a distribution stands alone, beside `when` at most; found also {others}"
        else:
            parsed = _parse_distribution(value, min(kinds))
            if isinstance(parsed, str):
                here, message = (*here, min(kinds)), parsed
            else:
                space[key] = parsed
        if message is not None:
            problems.append(SpaceProblem(here, message))
    return space


def _misspelt(value: Mapping[str, Any]) -> str | None:
    names = [name for name in value if name != "when"]
    if len(names) != 1 or not isinstance(value[names[0]], list):
        return None
    near = nearest(names[0], KINDS, cutoff=0.75)
    return f"unknown distribution {names[0]}; did you mean {near}?" if near else None


def _other_notation(value: Mapping[str, Any]) -> str | None:
    """What to write instead of a distribution as W&B's or Optuna's files have it."""
    names = value.keys() - {"distribution", "type", "log", "step", "q", "name"}
    if names == {"value"}:
        return f"a constant stands alone; write {show(value['value'])}"
    if names == {"values"} and isinstance(value["values"], list):
        return f"a list to choose from is a choice; write {show({'choice': value['values']})}"
    ends = ("low", "high") if "low" in names else ("min", "max")
    if names != set(ends):
        return None
    words = f"{value.get('distribution', '')} {value.get('type', '')}"
    is_log = "log" in words or value.get("log") is True
    if all(isinstance(value[end], int) for end in ends):
        kind, upper = "lograndint" if is_log else "randint", value[ends[1]] + 1
    else:
        kind, upper = "loguniform" if is_log else "uniform", value[ends[1]]
    return f"a range is a distribution; write {show({kind: [value[ends[0]], upper]})}"


def _holds_distribution(value: Any) -> bool:
    if isinstance(value, list):
        return any(_holds_distribution(item) for item in value)
    return is_distribution(value)


def _parse_distribution(raw: Mapping[str, Any], kind: str) -> Distribution | str:
    when = raw.get("when")
    if when is not None and (not isinstance(when, Mapping) or not when):
        return "when is a mapping of other parameters to the values they must have"
    condition = dict(when) if when is not None else None
    problem = check_arguments(kind, raw[kind])
    return problem or Distribution(kind, tuple(copy.deepcopy(raw[kind])), condition)


def _check_condition(
    path: Path,
    leaf: Distribution,
    space: Mapping[str, Any],
    raw: Mapping[str, Any],
    hyperparameters: Collection[str],
) -> Iterator[SpaceProblem]:
    known = {".".join(where): value for where, value in flatten(space)}
    for name, wanted in (leaf.when or {}).items():
        here = (*path, "when", name)
        if name not in known:
            if _written(space, name):
                what = f"{name} is a mapping; a condition names one of its keys"
                yield SpaceProblem(here, what)
            elif not _written(raw, name):  # else it is reported already
                hint = _hint_at_key(name, known, hyperparameters)
                yield SpaceProblem(here, f"{name} is not in param_space; {hint}")
            continue
        if _depends_on(name, ".".join(path), known, frozenset()):
            yield SpaceProblem(here, f"the condition goes in a circle over {name}")
            continue
        other = known[name]
        values = [wanted, *(wanted if isinstance(wanted, list) else [])]
        takes = other.contains if isinstance(other, Distribution) else partial(is_same, other)
        if not any(map(takes, values)):
            yield SpaceProblem(here, f"{name} is never {show(wanted)}, so this never applies")


def _hint_at_key(name: str, known: Collection[str], hyperparameters: Collection[str]) -> str:
    near = nearest(name, [*known, *hyperparameters])
    if near is None or near == name:
        return "a condition names another key of param_space"
    return f"did you mean {near}?{'' if near in known else ' set it there too'}"


def _written(raw: Mapping[str, Any], name: str) -> bool:
    value: Any = raw
    for key in name.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return True


def _depends_on(name: str, target: str, known: Mapping[str, Any], seen: frozenset[str]) -> bool:
    if name == target:
        return True
    value = known.get(name)
    if name in seen or not isinstance(value, Distribution):
        return False
    return any(_depends_on(other, target, known, seen | {name}) for other in value.when or {})
