"""The process-wide random generators, swapped between owners."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from sweeper.environments.containment import seed_process

__all__ = ["Generators"]


@dataclass
class Generators:
    """One owner's states of the process-wide generators of random, numpy and torch.

    Attributes:
        seed: what they start from.
        are_used: whether anything in a block has drawn from them.
    """

    seed: int
    are_used: bool = False
    _states: tuple[Any, ...] | None = field(default=None, repr=False)

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Use these states in the block; afterwards the process's own are back."""
        outside = _read_generators()
        if self._states is None:
            seed_process(self.seed)
            self._states = _read_generators()
        else:
            _write_generators(self._states)
        before = self._states
        try:
            yield
        finally:
            self._states = _read_generators()
            _write_generators(outside)
            self.are_used = self.are_used or not _are_equal(before, self._states)


def _read_generators() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def _are_equal(states: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    (python, (_, *numpy_state), torch_state, _), (python2, (_, *numpy_state2), torch_state2, _) = (
        states,
        others,
    )
    return (
        python == python2
        and numpy_state[1:] == numpy_state2[1:]
        and np.array_equal(numpy_state[0], numpy_state2[0])
        and torch.equal(torch_state, torch_state2)
    )


def _write_generators(states: tuple[Any, ...]) -> None:
    python, numpy_state, torch_state, cuda = states
    random.setstate(python)
    np.random.set_state(numpy_state)
    torch.set_rng_state(torch_state)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)
