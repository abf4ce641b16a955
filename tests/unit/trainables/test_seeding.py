from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sweeper.trainables.seeding import STAGES, Purpose, derive_seed, seed_sequence, start_anew


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


WORD = 2**32
# Seeds of one word and of several, whose words look like other seeds', stages and purposes.
WORDS = st.lists(st.sampled_from([0, 1, 2, 3, 7, WORD - 1]), min_size=1, max_size=5)
SEEDS = WORDS.map(lambda words: sum(word * WORD**index for index, word in enumerate(words)))
ROOTS = st.tuples(SEEDS, st.sampled_from(list(STAGES)), st.sampled_from(Purpose))


@given(ROOTS, ROOTS)
@example((WORD + 7, "search", Purpose.TRAINING), (7, "confirmation", Purpose.TRAINING))
def test_no_two_seeds_stages_and_purposes_share_a_stream(
    first: tuple[int, str, Purpose], second: tuple[int, str, Purpose]
) -> None:
    def streams(root: tuple[int, str, Purpose]) -> set[tuple[int, ...]]:
        own = seed_sequence(*root)
        spawned = [own, start_anew(own, 1000), start_anew(own, 0, 3)]
        spawned += seed_sequence(*root).spawn(4)
        return {tuple(one.generate_state(4).tolist()) for one in spawned}

    assert len(streams(first)) == 7
    assert first == second or not streams(first) & streams(second)


@pytest.mark.parametrize("seed", [0, 7, WORD - 1])
def test_a_seed_of_one_word_has_the_stream_that_it_always_had(seed: int) -> None:
    expected = np.random.SeedSequence([seed, 1, 2]).generate_state(4)
    found = seed_sequence(seed, "confirmation", Purpose.EVALUATION_ENVIRONMENTS).generate_state(4)
    assert found.tolist() == expected.tolist()
