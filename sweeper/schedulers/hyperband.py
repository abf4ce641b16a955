"""HyperBand with asynchronous brackets.

Li et al., "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization", JMLR 2018:
several successive halvings, from one that stops many trials early to one that stops none, because
nobody knows beforehand how early a trial can be judged. The brackets have the paper's rungs and
sizes; trials fill them in turn, the most eager one first.

Within a bracket a trial is compared with those that came to the rung before it, as by ASHA. The
paper's rule waits at each rung for the whole bracket. That takes pausing trials and resuming them
from checkpoints: a single worker would wait for trials that it has to train itself, episodes would
start anew at each rung, and the first result would come late.
"""

from __future__ import annotations

import math

from sweeper.metrics import Objective
from sweeper.schedulers.asha import HalvingScheduler
from sweeper.schedulers.rungs import first_rung
from sweeper.schedulers.words import join_steps

__all__ = ["HyperBandScheduler"]


class HyperBandScheduler(HalvingScheduler):
    """Brackets s = S, …, 1, 0; bracket s has its rungs at ``max_t / reduction_factor**k``, k ≤ s.

    A round over the brackets takes ``ceil((S + 1) / (s + 1) * reduction_factor**s)`` trials of
    bracket s, as in the paper; then the next round begins.

    Args:
        objective: whose values are compared.
        max_t: env steps of a whole trial.
        reduction_factor: one in so many trials passes a rung; the next is so many times further.
        grace_period: no rung lies below it, so it sets S; by default 30 % of ``max_t``, but low
            enough for a rung at ``max_t / reduction_factor``.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        max_t: int,
        reduction_factor: float = 3,
        grace_period: int | None = None,
    ) -> None:
        first = grace_period or first_rung(max_t, at_most=max_t / reduction_factor)
        most = max(0, math.floor(math.log(max_t / first) / math.log(reduction_factor) + 1e-9))
        ladders = [
            tuple(
                math.ceil(max_t / reduction_factor**rung - 1e-6) for rung in range(eagerness, 0, -1)
            )
            for eagerness in range(most, -1, -1)
        ]
        super().__init__(objective, max_t=max_t, reduction_factor=reduction_factor, ladders=ladders)
        self.sizes = tuple(
            math.ceil((most + 1) / (eagerness + 1) * reduction_factor**eagerness - 1e-9)
            for eagerness in range(most, -1, -1)
        )
        self._seen = 0

    def choose_ladder(self, trial_id: str) -> int:  # noqa: ARG002
        """The one whose turn it is."""
        place = self._seen % sum(self.sizes)
        self._seen += 1
        for ladder, size in enumerate(self.sizes):
            if place < size:
                return ladder
            place -= size
        raise AssertionError("the sizes add up")

    def ladder_shares(self) -> tuple[float, ...]:
        """In proportion to the sizes."""
        return tuple(size / sum(self.sizes) for size in self.sizes)

    def describe(self) -> str:
        """Where the rungs are, who goes on, how large the brackets are."""
        if not self.rung_env_steps:
            return "hyperband stops no trial: its first rung would lie at a trial's end"
        of_whole = f"{self.sizes[-1]} of {sum(self.sizes)} trials have no rung"
        return (
            f"hyperband stops trials at {join_steps(self.rung_env_steps)} env steps a replica, in "
            f"{len(self.sizes)} brackets, each with its first rung later: the best 1 in "
            f"{self.reduction_factor:g} of a bracket's trials go on; {of_whole}"
        )
