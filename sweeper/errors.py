"""The errors that sweeper raises on purpose.

SweeperError                         base; the number is the command line's ``exit_code`` (1)
├── UserError                        a wrong argument, a run that does not exist (2)
│   ├── SpecError                    a spec with problems, all of them at once (2)
│   └── ConfigurationRefusedError    the algorithm refuses a trial's configuration (2)
└── RunError                         no trial of the run has a value (1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["Location", "Problem", "RunError", "SpecError", "SweeperError", "UserError"]

_MAX_PROBLEMS = 100


@dataclass(frozen=True, order=True)
class Location:
    """A place in a file: ``file`` as the user named it, ``line`` from 1 (0: the whole file)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Problem:
    """One problem of a spec: where it is, its dotted key, and how to fix it."""

    location: Location
    key: str
    message: str

    def __str__(self) -> str:
        key = f" {self.key}:" if self.key else ""
        return f"{self.location}:{key} {self.message}"


class SweeperError(Exception):
    """Base of every error that sweeper raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the constructor: workers send errors with any signature to the driver."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    kind: type[SweeperError], args: tuple[Any, ...], attributes: dict[str, Any]
) -> SweeperError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class UserError(SweeperError):
    """A user's mistake; the message says what was found, what is allowed and what to do."""

    exit_code = 2


class SpecError(UserError):
    """A spec that can't be run.

    Attributes:
        problems: in the order of the file; beyond the first hundred only their number.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        ordered = sorted(problems, key=lambda problem: problem.location)
        rest = len(ordered) - _MAX_PROBLEMS
        if rest > 0:
            file = Location(ordered[-1].location.file)
            ordered[_MAX_PROBLEMS:] = [Problem(file, "", f"and {rest} more problems")]
        self.problems = tuple(ordered)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RunError(SweeperError):
    """A run in which no trial succeeded, or none has a value to be judged by."""


class ConfigurationRefusedError(UserError):
    """The algorithm refuses this configuration; the trial ends, the sweep goes on."""
