"""The random numbers that the replicas of a torch trainer draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.seeding import Purpose, seed_sequence

__all__ = ["ReplicaStreams"]


class ReplicaStreams:
    """For each name one generator a replica; no two of them share a stream.

    A replica's streams depend on its seed, not on the replicas beside it.

    Args:
        settings: whose seeds and stage the generators derive from.
        names: what the generators are for. A name's place says which stream it is, and every
            recorded result depends on that: append, never reorder.
        with_replay: one more, ``replay``, from a root of its own.
    """

    def __init__(
        self, settings: TrialSettings, names: Sequence[str], *, with_replay: bool = False
    ) -> None:
        self._replicas: list[dict[str, np.random.Generator]] = []
        for seed in settings.seeds:
            spawned = seed_sequence(seed, settings.stage, Purpose.TRAINING).spawn(len(names))
            sequences = dict(zip(names, spawned, strict=True))
            if with_replay:
                sequences["replay"] = seed_sequence(seed, settings.stage, Purpose.REPLAY)
            self._replicas.append(
                {name: np.random.default_rng(sequence) for name, sequence in sequences.items()}
            )

    def __getitem__(self, name: str) -> list[np.random.Generator]:
        """The generators of one name, one a replica."""
        return [generators[name] for generators in self._replicas]

    def torch_generators(self, name: str) -> list[torch.Generator]:
        """New generators of torch's, one a replica, each seeded with the next number of a name."""
        return [
            torch.Generator().manual_seed(int(generator.integers(2**63)))
            for generator in self[name]
        ]

    def state(self) -> list[dict[str, Any]]:
        """The states by name, one mapping a replica; JSON with integers beyond 64 bits."""
        return [
            {name: generator.bit_generator.state for name, generator in generators.items()}
            for generators in self._replicas
        ]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """The inverse of `state`, into an object made with the same arguments."""
        for generators, saved in zip(self._replicas, state, strict=True):
            for name, generator in generators.items():
                generator.bit_generator.state = saved[name]
