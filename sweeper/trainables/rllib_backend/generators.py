"""The process-wide random generators, swapped between owners."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

__all__ = ["Generators"]


@dataclass
class Generators:
    """One owner's states of the process-wide generators of random, numpy and torch."""

    seed: int
    _states: tuple[Any, ...] | None = field(default=None, repr=False)

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Use these states in the block; afterwards the process's own are back."""
        outside = _read_generators()
        if self._states is None:
            random.seed(self.seed)
            np.random.seed(self.seed)
            torch.manual_seed(self.seed)
        else:
            _write_generators(self._states)
        try:
            yield
        finally:
            self._states = _read_generators()
            _write_generators(outside)


def _read_generators() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def _write_generators(states: tuple[Any, ...]) -> None:
    python, numpy_state, torch_state, cuda = states
    random.setstate(python)
    np.random.set_state(numpy_state)
    torch.set_rng_state(torch_state)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)
