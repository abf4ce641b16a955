"""What is found to a question about a sweep: advice with its numbers, or why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper.json_values import to_json
from sweeper.markup import tag
from sweeper.printable import printable

__all__ = ["LEVEL", "Advice", "Finding"]

LEVEL = 0.02  # how often each question finds something in a sweep where there is nothing


@dataclass(frozen=True)
class Finding:
    """The answer to a question.

    Attributes:
        about: the question, in a word: ``failures``, ``ranges``, ``length``, ``effort`` or
            ``importance``.
        is_advice: whether the data bear advice; if not, the text says why.
        text: in sentences, with the numbers.
        numbers: what the text says, for programs.
    """

    about: str
    is_advice: bool
    text: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Advice:
    """All findings, the most useful first.

    Attributes:
        findings: one per question.
    """

    findings: tuple[Finding, ...]

    @property
    def given(self) -> tuple[Finding, ...]:
        """Those that are advice."""
        return tuple(one for one in self.findings if one.is_advice)

    @property
    def silent(self) -> tuple[Finding, ...]:
        """Those that say why there is none."""
        return tuple(one for one in self.findings if not one.is_advice)

    def most_useful(self, number: int = 2) -> Sequence[str]:
        """The texts of the most useful advice; there may be less."""
        return [one.text for one in self.given[:number]]

    def __repr__(self) -> str:
        """The advice, then why there is none on the other questions, a line each."""
        return printable("\n".join(self._sentences()))

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        return tag("ul", *(tag("li", one) for one in self._sentences())).text

    def _sentences(self) -> Iterator[str]:
        if not self.given:
            yield "The data bear no advice."
        yield from (one.text for one in self.given)
        yield from (f"no advice on {one.about}: {one.text}" for one in self.silent)

    def to_json(self) -> dict[str, Any]:
        """As ``advise --json`` prints it."""
        return {
            "advice": [_to_json(one) for one in self.given],
            "nothing": [_to_json(one) for one in self.silent],
        }


def _to_json(finding: Finding) -> dict[str, Any]:
    return {
        "about": finding.about,
        "text": finding.text,
        "numbers": to_json(dict(finding.numbers)),
    }
