"""The random numbers of a replica, also after a restore."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from sweeper.environments.settings import EnvironmentSettings
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.torch_backend.streams import ReplicaStreams

NAMES = ("initialisation", "actions", "environments")


def streams(*names, seeds=(0, 7), stage="search", with_replay=False):
    settings = TrialSettings(
        algorithm="PPO",
        backend="torch",
        environment=EnvironmentSettings("CartPole-v1"),
        constants={},
        seeds=seeds,
        stage=stage,
    )
    return ReplicaStreams(settings, names or NAMES, with_replay=with_replay)


def draw(generators):
    """The next 16 bytes of each."""
    return [generator.bytes(16) for generator in generators]


def test_streams_are_the_ones_of_recorded_results():
    drawn = streams(with_replay=True)
    for place, name in enumerate(NAMES):
        expected = [np.random.SeedSequence([seed, 0, 0], spawn_key=(place,)) for seed in (0, 7)]
        assert draw(drawn[name]) == draw(map(np.random.default_rng, expected))
    replay = [np.random.SeedSequence([seed, 0, 1]) for seed in (0, 7)]
    assert draw(drawn["replay"]) == draw(map(np.random.default_rng, replay))


def test_no_two_streams_are_the_same():
    drawn = [
        number
        for stage in ("search", "confirmation")
        for name in (*NAMES, "replay")
        for number in draw(streams(stage=stage, with_replay=True)[name])
    ]
    assert len(set(drawn)) == len(drawn) == 16


def test_a_replicas_streams_do_not_depend_on_the_replicas_beside_it():
    alone, beside = streams(seeds=(7,)), streams(seeds=(3, 7, 5))
    for name in NAMES:
        assert draw(alone[name]) == draw(beside[name])[1:2]


def test_an_appended_name_changes_no_earlier_stream():
    fewer, more = streams(with_replay=True), streams(*NAMES, "more", with_replay=True)
    for name in (*NAMES, "replay"):
        assert draw(fewer[name]) == draw(more[name])


def test_a_name_always_gives_the_same_generators():
    drawn = streams()
    assert draw(drawn["actions"]) != draw(drawn["actions"])


def test_a_restored_stream_continues_where_it_was_saved():
    drawn, restored = streams(with_replay=True), streams(seeds=(1, 2), with_replay=True)
    draw(drawn["replay"])
    draw(drawn["actions"])
    held = restored["actions"]  # as a collector holds them
    restored.restore(json.loads(json.dumps(drawn.state())))
    assert draw(drawn["actions"]) == draw(held)
    assert draw(drawn["replay"]) == draw(restored["replay"])


def test_a_state_of_other_replicas_is_refused():
    with pytest.raises(ValueError, match="shorter"):
        streams(seeds=(0, 1, 2)).restore(streams().state())


def test_torch_generators_are_seeded_by_the_stream():
    first, again = streams(), streams()
    ours = [torch.rand(3, generator=each) for each in first.torch_generators("initialisation")]
    theirs = [torch.rand(3, generator=each) for each in again.torch_generators("initialisation")]
    assert torch.equal(ours[0], theirs[0])
    assert not torch.equal(ours[0], ours[1])
    later = [torch.rand(3, generator=each) for each in first.torch_generators("initialisation")]
    assert not torch.equal(ours[0], later[0])


def test_a_copy_draws_other_numbers_than_its_donor_and_every_other_copy():
    drawn = []
    for env_steps, branch in ((100, None), (100, 2), (100, 3), (200, 2)):
        copied = streams(with_replay=True)
        if branch is not None:
            copied.start_anew(env_steps, branch)
        drawn += [number for name in (*NAMES, "replay") for number in draw(copied[name])]
    assert len(set(drawn)) == len(drawn)
    again = streams(with_replay=True)
    again.start_anew(200, 2)
    assert draw(again["replay"]) == drawn[-2:]
