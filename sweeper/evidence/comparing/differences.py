"""In which hyperparameters the champions of several runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.evidence.comparing.entry import Entry, are_same
from sweeper.json_values import to_json
from sweeper.search.distributions import flatten
from sweeper.spec.keys.names import defaults

__all__ = ["Difference", "Setting", "find_differences"]


@dataclass(frozen=True)
class Setting:
    """What a hyperparameter is in one run.

    Attributes:
        value: as the run has it; None too where its algorithm has no such key.
        is_default: whether the run leaves it at the algorithm's default.
        is_known: whether its algorithm has the key.
    """

    value: Any
    is_default: bool = False
    is_known: bool = True


@dataclass(frozen=True)
class Difference:
    """A hyperparameter in which champions differ.

    Attributes:
        name: dotted.
        settings: one per run, in their order.
    """

    name: str
    settings: tuple[Setting, ...]

    def to_json(self) -> dict[str, Any]:
        """As ``compare --json`` prints it; null where an algorithm has no such key."""
        return {
            "parameter": self.name,
            "values": [to_json(one.value) for one in self.settings],
            "is_default": [one.is_default for one in self.settings],
        }


def find_differences(entries: Sequence[Entry]) -> Iterator[Difference]:
    """The hyperparameters in which the champions differ, in the order of the first run's.

    A key that one run sets and another leaves out counts there with the default of its algorithm.
    """
    flat = [dict(flatten(entry.selection.configuration)) for entry in entries]
    for path in dict.fromkeys(path for one in flat for path in one):
        settings = [
            Setting(given[path]) if path in given else _default(entry, path)
            for entry, given in zip(entries, flat, strict=True)
        ]
        first = settings[0]
        if not all(
            one.is_known == first.is_known and are_same(one.value, first.value) for one in settings
        ):
            yield Difference(".".join(map(str, path)), tuple(settings))


def _default(entry: Entry, path: tuple[Any, ...]) -> Setting:
    if ".".join(map(str, path)) in entry.spec.support.fixed:  # the algorithm makes no use of it
        return Setting(None, is_known=False)
    value: Any = defaults(entry.spec.algorithm, entry.spec.backend)
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return Setting(None, is_known=False)
        value = value[key]
    return Setting(value, is_default=True)
