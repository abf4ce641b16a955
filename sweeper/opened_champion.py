"""The champion of an opened run, for notebooks: its configuration, its evidence, its agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.errors import UserError
from sweeper.evidence.learning import Learning
from sweeper.evidence.record import Selection
from sweeper.evidence.samples import Evidence
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
        return repr(self.selection)

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        return self.selection._repr_html_()
