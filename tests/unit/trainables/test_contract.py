from __future__ import annotations

import pytest

from sweeper.environments.settings import EnvironmentSettings, WrapperSettings
from sweeper.trainables.contract import EvaluationResult, EvaluationSettings


@pytest.mark.parametrize("episodes", [1, 20, 47])
def test_the_episodes_of_an_evaluation_are_divided_evenly(episodes: int) -> None:
    quotas = EvaluationSettings(episodes).quotas
    assert sum(quotas) == episodes
    assert len(quotas) == min(episodes, 20)
    assert max(quotas) - min(quotas) <= 1


def test_an_evaluation_counts_the_first_episodes_of_each_sub_environment() -> None:
    finished = [[(1.0, 10), (2.0, 20)], [(3.0, 30), (4.0, 40), (5.0, 50)]]
    assert EvaluationResult.count(finished, [2, 1]) == EvaluationResult((1, 2, 3), (10, 20, 30))
    assert EvaluationResult.count(finished, [2, 1], 20).num_capped == 2


def test_a_cap_is_the_outermost_wrapper_and_needs_single_environments() -> None:
    wrapped = EnvironmentSettings("CartPole-v1", wrappers=(WrapperSettings("ClipReward"),))
    cut = EvaluationSettings(max_episode_steps=7).fix_episodes(wrapped)
    assert [wrapper.name for wrapper in cut.wrappers] == ["ClipReward", "TimeLimit"]
    assert EvaluationSettings().fix_episodes(wrapped) is wrapped
    for asked, made in (("envpool", "sync"), ("vector_entry_point", "sync"), ("async", "async")):
        settings = EnvironmentSettings("CartPole-v1", vectorization=asked)
        assert EvaluationSettings(max_episode_steps=7).fix_episodes(settings).vectorization == made
