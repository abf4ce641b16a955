"""What agents came to in the episodes that they played."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sweeper.evidence.champions_runs import ChampionsRuns
from sweeper.evidence.samples import Evidence, Sample, weigh_sample
from sweeper.evidence.statistics import (
    Summary,
    explain_no_interval,
    find_limits,
    find_two_groups,
    summarise_sample,
)
from sweeper.results.scoring import is_comparable

__all__ = ["AgentEvaluation", "Evaluation", "Yardstick"]

_LEVEL = 0.95
_ONE_AGENT = "one agent says nothing of another training run"


@dataclass(frozen=True)
class AgentEvaluation:
    """One agent's episodes.

    Attributes:
        name: of its folder, e.g. ``replica_0``.
        returns: one per episode.
        lengths: one per episode, in env steps.
    """

    name: str
    returns: tuple[float, ...]
    lengths: tuple[int, ...]

    @property
    def mean(self) -> float:
        """The mean return."""
        try:
            return math.fsum(self.returns) / len(self.returns)
        except (OverflowError, ValueError):  # beyond the largest float, or both infinities
            return sum(self.returns) / len(self.returns)


@dataclass(frozen=True)
class Yardstick:
    """By what a sample of training runs is weighed, as their run has it.

    Attributes:
        mode: whether ``max`` or ``min`` of the return is better.
        solved_at: the return from which a training run counts as having solved the task.
        others: the returns of other training runs in the environment, by configuration: they show
            whether runs get stuck, and where a return can't go further.
    """

    mode: str = "max"
    solved_at: float | None = None
    others: tuple[Sequence[float], ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one agent, or of all replicas of a checkpoint.

    Attributes:
        episodes: how many each agent played.
        seed: which episodes.
        max_episode_steps: an episode was cut after so many steps; None: by the environment only.
        environment_changes: how the environment differs from the one of the training, where that
            was allowed.
        champion: whose agent played, if that of a run did.
        explore: whether actions were sampled, and not the greedy ones.
        diverged: names of replicas that are frozen since they diverged; they did not play.
        yardstick: of the run.
    """

    folder: Path
    environment: str
    episodes: int
    seed: int
    agents: tuple[AgentEvaluation, ...]
    max_episode_steps: int | None = None
    environment_changes: tuple[str, ...] = ()
    champion: ChampionsRuns | None = None
    explore: bool = False
    diverged: tuple[str, ...] = ()
    yardstick: Yardstick = Yardstick()

    @property
    def num_capped(self) -> int:
        """How many episodes of all agents reached ``max_episode_steps``."""
        cap = self.max_episode_steps
        lengths = [length for agent in self.agents for length in agent.lengths]
        return 0 if cap is None else sum(length >= cap for length in lengths)

    @cached_property
    def evidence(self) -> Evidence | None:
        """What several replicas say of their configuration, as a confirmation would say it.

        None of one agent, which says nothing of it, and of returns that are no numbers to compute
        with, as where an environment's rewards grow without end.
        """
        means = self._means
        if len(means) < 2 or not all(map(is_comparable, means)):
            return None
        samples = [means, *self.yardstick.others]
        return weigh_sample(
            Sample(self.folder.name, means, env_steps=0.0),
            mode=self.yardstick.mode,
            level=_LEVEL,
            look_level=_LEVEL,
            promise="",
            groups=find_two_groups(samples),
            limits=find_limits(samples),
            solved_at=self.yardstick.solved_at,
        )

    @property
    def _means(self) -> tuple[float, ...]:
        return tuple(agent.mean for agent in self.agents)

    @property
    def summary(self) -> Summary:
        """Over the means of several replicas, or over the episodes of one agent.

        The latter says nothing about training again.
        """
        found = self.evidence
        if found is None or found.mean is None or found.iqm is None:
            return summarise_sample(self._means if len(self.agents) > 1 else self.agents[0].returns)
        ends = None if found.interval is None else (found.interval.low, found.interval.high)
        return Summary(found.mean, found.iqm, ends, found.interval_reason)

    @property
    def unit(self) -> str:
        """The unit of the sample that the interval is computed from."""
        return "training runs" if len(self.agents) > 1 else "episodes of one agent"

    def to_json(self) -> dict[str, Any]:
        """The object that `sweeper evaluate --json` prints."""
        return {
            "checkpoint": str(self.folder),
            "environment": self.environment,
            "episodes": self.episodes,
            "seed": self.seed,
            "explore": self.explore,
            "max_episode_steps": self.max_episode_steps,
            "num_capped_episodes": self.num_capped,
            "environment_changes": list(self.environment_changes),
            **self._describe_sample(),
            "interval_over": self.unit,
            "runs": list(self._means),
            "diverged": list(self.diverged),
            "champion": None if self.champion is None else asdict(self.champion),
            "agents": [
                {
                    "agent": agent.name,
                    **summarise_sample(agent.returns).to_json(),
                    "returns": list(agent.returns),
                    "lengths": list(agent.lengths),
                }
                for agent in self.agents
            ],
        }

    def _describe_sample(self) -> dict[str, Any]:
        """Of several replicas what a confirmation's evidence has, under the same names."""
        if self.evidence is None:
            why = _ONE_AGENT if len(self.agents) < 2 else explain_no_interval(self._means)
            known = {"prediction": None, "prediction_reason": why, "solved": None}
            return {**self.summary.to_json(), **known}
        document = self.evidence.to_json()
        elsewhere = ("name", "runs", "env_steps", "search_score", "diverged")
        return {key: value for key, value in document.items() if key not in elsewhere}
