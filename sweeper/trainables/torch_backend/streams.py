"""The random generators of a torch trainer's replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.seeding import Purpose, seed_sequence, start_anew

__all__ = ["ReplicaStreams"]


class ReplicaStreams:
    """One generator per name and replica; a replica's streams depend on its seed alone.

    Args:
        names: the generators' uses. A name's position selects its stream, and every recorded
            result depends on that: append, never reorder.
        with_replay: add the name ``replay``, from its own root.
    """

    def __init__(
        self, settings: TrialSettings, names: Sequence[str], *, with_replay: bool = False
    ) -> None:
        self._roots: list[dict[str, np.random.SeedSequence]] = []
        for seed in settings.seeds:
            spawned = seed_sequence(seed, settings.stage, Purpose.TRAINING).spawn(len(names))
            roots = dict(zip(names, spawned, strict=True))
            if with_replay:
                roots["replay"] = seed_sequence(seed, settings.stage, Purpose.REPLAY)
            self._roots.append(roots)
        self._replicas = [
            {name: np.random.default_rng(root) for name, root in roots.items()}
            for roots in self._roots
        ]

    def __getitem__(self, name: str) -> list[np.random.Generator]:
        """The generators of one name, one per replica."""
        return [generators[name] for generators in self._replicas]

    def torch_generators(self, name: str) -> list[torch.Generator]:
        """New torch generators, one per replica, seeded with the next number of a name's stream."""
        return [
            torch.Generator().manual_seed(int(generator.integers(2**63)))
            for generator in self[name]
        ]

    def state(self) -> list[dict[str, Any]]:
        """The states by name, one mapping per replica; JSON with integers beyond 64 bits."""
        return [
            {name: generator.bit_generator.state for name, generator in generators.items()}
            for generators in self._replicas
        ]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """The inverse of `state`, into an object made with the same arguments."""
        for generators, saved in zip(self._replicas, state, strict=True):
            for name, generator in generators.items():
                generator.bit_generator.state = saved[name]

    def start_anew(self, env_steps: int, branch: int) -> None:
        """Begin all streams anew, as those of a copy of another trial after so many env steps."""
        for generators, roots in zip(self._replicas, self._roots, strict=True):
            for name, generator in generators.items():
                fresh = np.random.default_rng(start_anew(roots[name], env_steps, branch))
                generator.bit_generator.state = fresh.bit_generator.state
