"""Ten thousand mutated specs: no traceback, and RLlib builds whatever is accepted."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

import gymnasium
import pytest
from spec_mutations import mutations

from sweeper.environments.building import build_env
from sweeper.errors import SpecError
from sweeper.planning import feasibility
from sweeper.planning.plan import SweepPlan, load_plan
from sweeper.planning.settings import trial_settings
from sweeper.search.expansion import expand

pytestmark = pytest.mark.acceptance

NUMBER, SEED = 10_000, 4


def build_as_run_does(plan: SweepPlan) -> None:
    """RLlib's config and network of the plan's first configurations."""
    from sweeper.trainables.rllib_backend.config import build_algorithm_config

    settings, search = trial_settings(plan), plan.spec.search
    env = build_env(settings.environment)
    observations = env.observation_space
    if not isinstance(observations, gymnasium.spaces.Box):
        observations = gymnasium.spaces.utils.flatten_space(observations)
    samples = expand(
        plan.spec.param_space, search.num_samples, search.seed, search.points_to_evaluate
    )
    for sample in itertools.islice(samples, 3):
        config = build_algorithm_config(settings, sample.configuration, seed=0)
        module = config.get_default_rl_module_spec()
        module.observation_space, module.action_space = observations, env.action_space
        module.model_config = config.model_config
        module.build()
    env.close()


def test_no_mutation_is_accepted_that_rllib_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feasibility, "usable_cores", lambda: 4)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    accepted, refused, slowest = 0, [], 0.0
    for number, data in enumerate(mutations(NUMBER, SEED)):
        (tmp_path / "spec.yaml").write_bytes(data)
        started = time.perf_counter()
        try:
            plan = load_plan("spec.yaml")
        except SpecError:
            continue
        finally:
            slowest = max(slowest, time.perf_counter() - started)
        accepted += 1
        try:
            build_as_run_does(plan)
        except Exception as error:  # whatever RLlib raises is the finding
            refused.append((number, data.decode(), repr(error)))
    assert refused == []
    assert accepted > NUMBER * 0.1
    assert slowest < 2
