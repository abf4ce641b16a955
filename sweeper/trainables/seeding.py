"""Seeds of a replica's random generators: one independent stream per stage and purpose."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

import numpy as np

from sweeper.states import Stage

__all__ = ["STAGES", "Purpose", "derive_seed", "seed_sequence", "start_anew"]

_WORD = 2**32

# The integers are part of every recorded result: append, never renumber.
STAGES: Mapping[str, int] = {
    Stage.SEARCH: 0,
    Stage.CONFIRMATION: 1,
    "evaluation": 2,  # of a confirmed configuration; nothing uses it yet
    "agent evaluation": 3,  # of the champion
}


class Purpose(IntEnum):
    """What a generator of a replica is for. Append, never renumber."""

    TRAINING = 0  # initialisation, action sampling, minibatch order, RLlib's environments
    REPLAY = 1
    EVALUATION_ENVIRONMENTS = 2
    EVALUATION_ACTIONS = 3


def seed_sequence(seed: int, stage: str, purpose: Purpose) -> np.random.SeedSequence:
    """The root of one generator of one replica; distinct arguments never share a stream."""
    words = [seed % _WORD, STAGES[stage], int(purpose)]
    if seed >= _WORD:
        # numpy strings all entries together as words of 32 bits, and fills up to four with zeros:
        # the upper words of such a seed would be another's stage. Behind the fourth word, how many
        # of them there are, which no other sequence has other than 0, they meet nothing.
        upper = _upper_words(seed)
        words += [len(upper), *upper]
    return np.random.SeedSequence(words)


def _upper_words(seed: int) -> list[int]:
    words = []
    while seed := seed // _WORD:
        words.append(seed % _WORD)
    return words


def derive_seed(seed: int, stage: str, purpose: Purpose) -> int:
    """The same root as one integer of 31 bits, for libraries that accept only that.

    RLlib and gymnasium add small numbers (worker and sub-environment indices) to their seed, so
    neighbouring seeds would share environments. Derived seeds are spread over 31 bits.
    """
    return int(seed_sequence(seed, stage, purpose).generate_state(1)[0] >> 1)


def start_anew(
    root: np.random.SeedSequence, env_steps: int, branch: int | None = None
) -> np.random.SeedSequence:
    """The root of a generator that begins anew after so many env steps.

    Args:
        root: of the generator from the replica's start.
        env_steps: where training goes on.
        branch: the number of the copy that goes on there; None: the trial itself.
    """
    key = (env_steps,) if branch is None else (env_steps, branch)
    return np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, *key))
