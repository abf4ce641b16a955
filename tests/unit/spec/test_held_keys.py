"""Which hyperparameters a restored checkpoint does not let change."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from sweeper.search.distributions import flatten
from sweeper.spec.keys.names import algorithms, defaults
from sweeper.spec.keys.support import BACKENDS, find_support, supports

PAIRS = [
    (backend, algorithm)
    for backend in BACKENDS
    for algorithm in algorithms()
    if supports(backend, algorithm)
]


@pytest.mark.parametrize(("backend", "algorithm"), PAIRS)
def test_every_algorithm_has_learning_rates_that_may_change_and_a_network_that_may_not(
    backend: str, algorithm: str
) -> None:
    support = find_support(backend, algorithm)
    rates = [key for key in defaults(algorithm, backend) if key.endswith("lr")]
    assert rates
    assert all(support.why_held((key,)) is None for key in [*rates, "gamma"])
    assert support.why_held(("model_config", "fcnet_activation"))


def test_every_held_key_is_one_of_some_algorithm() -> None:
    known = {
        ".".join(path)
        for backend, algorithm in PAIRS
        for path, _ in flatten(defaults(algorithm, backend))
    }
    held = {name for pair in PAIRS for name in find_support(*pair).held}
    unknown = {one for one in held if not any(fnmatchcase(name, one) for name in known)}
    assert unknown <= {"num_cpus_*", "num_gpus_*", "metrics_num_episodes_for_smoothing"}


def test_backends_differ_in_what_their_checkpoints_fix() -> None:
    torch, rllib = find_support("torch", "PPO"), find_support("rllib", "PPO")
    assert torch.why_held(("kl_coeff",))
    assert rllib.why_held(("kl_coeff",)) is None
    capacity = ("replay_buffer_config", "capacity")
    assert find_support("torch", "DQN").why_held(capacity) is None
    assert find_support("rllib", "DQN").why_held(capacity)
