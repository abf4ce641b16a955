"""The champion of an opened run, for notebooks: its configuration, its evidence, its agent."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.errors import UserError
from sweeper.evidence.learning import Learning
from sweeper.evidence.record import Selection
from sweeper.evidence.samples import Evidence
from sweeper.printable import printable
from sweeper.trust import TrustLike

if TYPE_CHECKING:
    from sweeper.agents.agent import Agent

__all__ = ["OpenedChampion"]


@dataclass(frozen=True)
class OpenedChampion:
    """The champion; shown, it says its verdict and the numbers behind it.

    Attributes:
        selection: how it was chosen, and all that is known of it.
        folder: of its agent; None if that was not written.
        learning: how fast its runs learned; None without a return that counts as solved.
    """

    selection: Selection
    folder: Path | None = None
    learning: Learning | None = None

    @property
    def trial_id(self) -> str:
        """Of the search's trial."""
        return self.selection.trial_id

    @property
    def configuration(self) -> Mapping[str, Any]:
        """Its whole point of the param space, nested; a spec takes it as ``param_space``."""
        return self.selection.configuration

    @property
    def verdict(self) -> str:
        """``better``, ``undecided`` or ``worse`` than the baseline, or ``unconfirmed``."""
        return self.selection.word

    @property
    def verdict_text(self) -> str:
        """The same in sentences, with their numbers."""
        return self.selection.verdict_text

    @property
    def evidence(self) -> Evidence | None:
        """What its runs of the confirmation say; None without a confirmation."""
        return self.selection.evidence

    @property
    def baseline(self) -> Evidence | None:
        """The same of the baseline."""
        return self.selection.baseline

    @property
    def tied(self) -> tuple[str, ...]:
        """Trials that can't be told from it."""
        return self.selection.tied

    def agent(self, *, trust: TrustLike = False) -> Agent:
        """Its agent, loaded for acting.

        Args:
            trust: unpickle RLlib's checkpoint although this user did not make it here.

        Raises:
            UserError: it was not written, can't be loaded, or is not trusted.
        """
        from sweeper.opened_agent import load_agent

        if self.folder is None:
            raise UserError(
                f"the agent of {self.trial_id} was not written; `sweeper resume RUN` writes it, if "
                "a checkpoint is left"
            )
        return load_agent(self.folder, trust=trust)

    def __repr__(self) -> str:
        """Its verdict, and a table of who came to what."""
        rows = self._rows()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        table = "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )
        return f"{printable(self.verdict_text)}\n\n{printable(table)}"

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        head, *rows = self._rows()
        cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
        )
        words = html.escape(self.verdict_text)
        return f"<p>{words}</p><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"

    def _rows(self) -> list[tuple[str, ...]]:
        head = ("", "search's score", "mean of new runs", "95 % of means", "one more run", "runs")
        verdict = self.selection.verdict
        if verdict is None:
            score = _with_deviation(self.selection.score, self.selection.deviation)
            return [head, (self.trial_id, score, "-", "-", "-", "0")]
        first = [self.trial_id, *(name for name in verdict.evidence if name != self.trial_id)]
        spread = {one.trial_id: one.deviation for one in self.selection.judged}
        return [head, *(_describe(verdict.evidence[name], spread.get(name)) for name in first)]


def _with_deviation(score: float | None, deviation: float | None) -> str:
    if score is None:
        return "-"
    return f"{score:.4g}" + ("" if deviation is None else f" ±{deviation:.4g}")


def _describe(evidence: Evidence, deviation: float | None) -> tuple[str, ...]:
    def ends(interval: Any) -> str:
        return "-" if interval is None else f"{interval.low:.4g} to {interval.high:.4g}"

    mean = evidence.mean
    return (
        evidence.name,
        _with_deviation(evidence.search_score, deviation),
        "-" if mean is None else f"{mean:.4g}",
        ends(evidence.interval),
        ends(evidence.prediction)
        + (
            f" ({evidence.prediction.level:.0%})".replace("%", " %")
            if evidence.prediction is not None
            else ""
        ),
        str(len(evidence.finished))
        + (f" ({evidence.diverged} diverged)" if evidence.diverged else ""),
    )
