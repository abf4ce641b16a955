"""Where a run's training began, if not with random weights: at those of another agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Origin"]


@dataclass(frozen=True)
class Origin:
    """The weights that all trials of a run begin with, as the journal has it.

    Attributes:
        agent: whose weights, in words: ``t0003 of cartpole-ppo-20261130-101500``, or a folder.
        checkpoint: the folder that they were read from, as it was called then.
        seeds: of the replica that each of the run's own begins as, in the order of the run's seeds;
            None where that is not known.
        env_steps: for how many env steps they had been trained; None if that is not known.
        weights: the numbers, ``[replicas, ...]`` each, by name; None once they are in the run's
            folder.
    """

    agent: str
    checkpoint: str
    seeds: tuple[int | None, ...] = ()
    env_steps: int | None = None
    weights: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        after = "" if self.env_steps is None else f" after {self.env_steps:,} env steps"
        distinct = set(self.seeds)
        replica = next(iter(distinct)) if len(distinct) == 1 else None
        which = "" if replica is None else f", replica {replica}"
        return f"the weights of {self.agent}{after}{which}"

    def to_json(self) -> dict[str, Any]:
        """The origin without the numbers."""
        return {
            "agent": self.agent,
            "checkpoint": self.checkpoint,
            "seeds": list(self.seeds),
            "env_steps": self.env_steps,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Origin | None:
        """Read what `to_json` returned; None from an empty document.

        Nothing but words depends on the rest, so a part of another type counts as unknown.
        """
        if not document:
            return None
        seeds, steps = document.get("seeds"), document.get("env_steps")
        known = seeds if isinstance(seeds, list | tuple) else ()
        return cls(
            agent=str(document.get("agent", "?")),
            checkpoint=str(document.get("checkpoint", "?")),
            seeds=tuple(one if type(one) is int else None for one in known),
            env_steps=steps if type(steps) is int else None,
        )
