from __future__ import annotations

import itertools

from sweeper.trainables.seeding import STAGES, Purpose, derive_seed


def test_derived_seeds_of_all_stages_and_purposes_lie_far_apart() -> None:
    seeds = sorted(
        derive_seed(seed, stage, purpose)
        for seed in range(40)
        for stage in STAGES
        for purpose in Purpose
    )
    assert all(0 <= seed < 2**31 for seed in seeds)
    # RLlib adds the worker's and the sub-environment's index to the seed it is given.
    assert min(b - a for a, b in itertools.pairwise(seeds)) > 64


def test_a_seed_is_the_same_in_every_version() -> None:
    assert derive_seed(0, "search", Purpose.TRAINING) == 1484405855
    assert derive_seed(5, "confirmation", Purpose.REPLAY) == 1634594561
