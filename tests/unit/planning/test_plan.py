"""The plan counts what will run, checks the environment, and starts nothing heavy."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper import api, machine
from sweeper.errors import SpecError
from sweeper.planning import feasibility
from sweeper.planning.plan import SweepPlan, build_plan, load_plan, training_plan
from sweeper.planning.settings import confirmation_settings, trial_settings
from sweeper.search.distributions import distributions
from sweeper.spec import ExperimentSpec, dump_spec, load_spec

CONFIGS = Path(__file__).parents[3] / "configs"
STEPS = "num_env_steps_sampled_lifetime"
SMALL_BATCH = "{train_batch_size_per_learner: 128}"


def spec_of(folder: Path, **changes: Any) -> ExperimentSpec:
    lines = {
        "environment": "CartPole-v1",
        "algorithm": "PPO",
        "stop": f"{{{STEPS}: 10000}}",
        **changes,
    }
    path = folder / "spec.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()), encoding="utf-8")
    return load_spec(path)


def plan_of(folder: Path, **changes: Any) -> SweepPlan:
    return build_plan(spec_of(folder, **changes))


def problems_of(folder: Path, **changes: Any) -> list[str]:
    with pytest.raises(SpecError) as raised:
        plan_of(folder, **changes)
    path = folder / "spec.yaml"
    return [str(problem).removeprefix(f"{path}:") for problem in raised.value.problems]


# --- counting --------------------------------------------------------------------------------


def test_a_plan_counts_trials_replicas_and_env_steps(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        param_space="{lr: {grid_search: [1e-3, 1e-4]}, gamma: {uniform: [0.9, 0.99]}}",
        search="{num_samples: 3}",
        seeds=2,
    )
    assert (plan.trials, plan.replicas, plan.env_steps) == (6, 2, 120000)
    assert plan.notes == ()


@pytest.mark.parametrize(
    ("space", "asked", "trials"),
    [
        ("{lr: {choice: [1e-3, 1e-4]}}", 3, 2),
        ("{lr: {grid_search: [1e-3, 1e-4]}}", 2, 2),
        ("{lr: {grid_search: [1e-3, 1e-4]}, gamma: {choice: [0.9, 0.99]}}", 3, 4),
        ("{lr: 1e-3}", 2, 1),
    ],
)
def test_a_configuration_is_planned_once_and_the_plan_says_so(
    tmp_path: Path, space: str, asked: int, trials: int
) -> None:
    plan = plan_of(tmp_path, param_space=space, search=f"{{num_samples: {asked}}}")
    assert plan.trials == trials
    (note,) = plan.notes
    assert f"the space has only {trials} to give: each is trained once" in note


def test_without_a_bound_on_env_steps_their_number_is_unknown(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, stop="{time_total_s: 5}")
    assert plan.env_steps is None
    assert not plan.warnings  # one trial competes with no other


@pytest.mark.parametrize(
    ("cpus", "asked", "trials", "concurrent"),
    [
        (1, "auto", 10, 4),
        (2, "auto", 10, 2),
        (3, "auto", 10, 1),
        (0.5, "auto", 10, 8),
        (1, "auto", 2, 2),
        (1, 3, 10, 3),
        (1, 9, 10, 4),
        (0.2, "auto", 99, 20),
        (0.0001, "auto", 99, 99),
    ],
)
def test_concurrent_trials_are_cores_divided_by_cpus_per_trial(
    tmp_path: Path, cpus: float, asked: int | str, trials: int, concurrent: int
) -> None:
    plan = plan_of(
        tmp_path,
        param_space="{lr: {uniform: [0.1, 0.2]}}",
        search=f"{{num_samples: {trials}, max_concurrent: {asked}}}",
        resources=f"{{cpus: {cpus}}}",
    )
    assert plan.concurrent == concurrent


def test_a_budget_of_trials_limits_concurrent_trials(tmp_path: Path) -> None:
    space = {"param_space": "{lr: {uniform: [0.1, 0.2]}}", "search": "{num_samples: 8}"}
    plan = plan_of(tmp_path, **space, budget="{trials: 3}")
    assert (plan.trials, plan.max_trials, plan.concurrent) == (8, 3, 3)
    assert plan.env_steps == 3 * 5 * 10_000


@pytest.mark.parametrize(("asked", "concurrent"), [(9, 9), ("auto", 4)])
def test_a_cluster_runs_as_many_trials_as_requested(
    tmp_path: Path, asked: int | str, concurrent: int
) -> None:
    search = f"{{num_samples: 10, max_concurrent: {asked}}}"
    space = "{lr: {uniform: [1e-5, 1e-4]}}"
    plan = plan_of(tmp_path, param_space=space, search=search, ray='{address: "auto"}')
    assert plan.concurrent == plan.to_json()["concurrent"] == concurrent
    assert list(plan.warnings) == []


def test_shares_of_a_gpu_are_counted_as_ray_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feasibility, "usable_cores", lambda: 99)
    monkeypatch.setattr(feasibility, "gpus", lambda: 2)
    space = {"param_space": "{lr: {uniform: [0.1, 0.2]}}", "search": "{num_samples: 50}"}
    for share, concurrent in ((0.2, 10), (0.3, 6), (1, 2), (2, 1)):
        plan = plan_of(tmp_path, **space, resources=f"{{gpus: {share}}}")
        assert plan.concurrent == concurrent


def test_a_quota_on_processor_time_bounds_the_trials_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feasibility, "usable_cores", machine.usable_cores)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(machine, "_core_quotas", lambda _: [2.5])
    assert load_plan(CONFIGS / "quickstart.yaml").concurrent == 2


def test_env_runners_of_a_trial_take_cores_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feasibility, "usable_cores", lambda: 6)
    space = "{lr: {uniform: [0.1, 0.2]}, num_env_runners: 2}"
    plan = plan_of(tmp_path, param_space=space, search="{num_samples: 8}", backend="rllib")
    assert plan.concurrent == 2


def test_a_trial_that_needs_more_than_the_machine_is_a_problem(tmp_path: Path) -> None:
    assert problems_of(tmp_path, resources="{cpus: 5}") == [
        "4: resources.cpus: a trial asks for 5 cores; this machine has 4"
    ]
    assert problems_of(tmp_path, param_space="{num_env_runners: 4}", backend="rllib") == [
        "4: param_space.num_env_runners: a trial asks for 5 cores with its env runners; this "
        "machine has 4"
    ]
    assert plan_of(tmp_path, resources="{cpus: 5}", ray="{address: auto}").trials == 1


def test_json_has_the_promised_shape(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path, param_space="{lr: {choice: [0.1, 0.2]}}", search="{num_samples: 2, seed: 4}"
    )
    document = json.loads(json.dumps(plan.to_json()))
    assert document["trials"] == 2
    assert document["replicas"] == 5
    assert document["env_steps"] == 100000
    assert document["param_space"] == {"lr": {"choice": [0.1, 0.2]}}
    assert document["search"]["seed"] == 4
    assert document["scheduler"] == {"type": "fifo"}
    assert document["estimate"] is None
    assert document["concurrent"] >= 1


def test_an_infinite_hyperparameter_is_a_string_in_json(tmp_path: Path) -> None:
    document = plan_of(tmp_path, param_space="{vf_clip_param: .inf}").to_json()
    assert json.loads(json.dumps(document, allow_nan=False))["param_space"] == {
        "vf_clip_param": "inf"
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": 3, "backend": "rllib"}, "3 replicas on rllib are 3 training runs a trial"),
        (
            {"search": "{num_samples: 1}", "param_space": "{lr: {loguniform: [1e-5, 1e-4]}}"},
            "only one configuration will be tried",
        ),
    ],
)
def test_probable_mistakes_are_warnings(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    assert [warning for warning in plan_of(tmp_path, **changes).warnings if words in warning]


@pytest.mark.parametrize(
    ("score", "stop", "words"),
    [
        ("auc", "{episode_return_mean: 475}", "stop.episode_return_mean may end trials"),
        ("auc", "{plateau: {metric: episode_return_mean}}", "stop.plateau may end trials"),
        ("auc", "{}", None),
        ("auc", "{training_iteration: 5}", None),
        ("last", "{episode_return_mean: 475}", None),
    ],
)
def test_areas_under_curves_of_different_lengths_are_a_warning(
    tmp_path: Path, score: str, stop: str, words: str | None
) -> None:
    space = {"param_space": "{lr: {uniform: [1e-5, 1e-4]}}", "search": "{num_samples: 4}"}
    bounded = f"{{num_env_steps_sampled_lifetime: 10000, {stop[1:-1]}}}"
    plan = plan_of(tmp_path, **space, selection=f"{{score: {score}}}", stop=bounded)
    found = [one for one in plan.warnings if "selection.score is auc" in one]
    assert len(found) == (words is not None)
    assert all(words in one for one in found)


def test_a_plain_sweep_has_no_warnings() -> None:
    for path in CONFIGS.glob("*.yaml"):
        assert build_plan(load_spec(path)).warnings == ()


# --- the environment -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ("CartPoel-v1", "1: environment.id: unknown environment 'CartPoel-v1'; did you mean "
         "CartPole-v1?"),
        ("CartPole-v7", "1: environment.id: CartPole has no version 7; there are CartPole-v0 and "
         "CartPole-v1; did you mean CartPole-v1?"),
        ("Frobnicate-v0", "1: environment.id: unknown environment 'Frobnicate-v0'; an "
         "environment of your own needs its module, as in my_envs:Frobnicate-v0"),
        ("{id: CartPole-v1, module: sweeper_nowhere}",
         "1: environment.module: no module named sweeper_nowhere; looked in "),
        ("{id: CartPole-v1, wrappers: [TimeLimt]}",
         "1: environment.wrappers.0: no wrapper 'TimeLimt' in gymnasium.wrappers; did you mean "
         "TimeLimit?"),
        ("{id: CartPole-v1, wrappers: [TimeLimit]}",
         "1: environment.wrappers.0: wrapper TimeLimit can't be put around CartPole-v1: "
         "TypeError:"),
        ("{id: CartPole-v1, wrappers: [os.getcwd]}",
         "1: environment.wrappers.0: os.getcwd is not a gymnasium.Wrapper"),
        ("{id: CartPole-v1, kwargs: {gravty: 3}}",
         "1: environment.kwargs: CartPole-v1 has no argument 'gravty'; it takes "
         "sutton_barto_reward"),
    ],
)  # fmt: skip
def test_an_environment_that_can_t_be_built_is_a_problem(
    tmp_path: Path, environment: str, expected: str
) -> None:
    (found,) = problems_of(tmp_path, environment=environment)
    assert found.startswith(expected)


@pytest.mark.parametrize(
    ("algorithm", "environment", "words"),
    [
        ("DQN", "Pendulum-v1", "DQN can't act in Box(-2.0, 2.0, (1,), float32), only in Discrete; "
         "PPO and SAC (backend: rllib) can"),
    ],
)  # fmt: skip
def test_actions_that_the_algorithm_can_t_take_are_a_problem(
    tmp_path: Path, algorithm: str, environment: str, words: str
) -> None:
    assert problems_of(tmp_path, algorithm=algorithm, environment=environment) == [
        f"1: environment.id: {environment}: {words}"
    ]


@pytest.mark.parametrize(
    ("algorithm", "environment"),
    [("SAC", "Pendulum-v1"), ("SAC", "CartPole-v1"), ("PPO", "Pendulum-v1"), ("DQN", "Taxi-v3")],
)
def test_actions_that_the_algorithm_can_take_are_no_problem(
    tmp_path: Path, algorithm: str, environment: str
) -> None:
    assert plan_of(tmp_path, algorithm=algorithm, environment=environment).trials == 1


SPACES = """
import gymnasium
import numpy as np
from gymnasium import spaces

class Shaped(gymnasium.Env):
    def __init__(self, observation="Discrete(3)", action="Discrete(2)", render_mode=None):
        self.observation_space = eval("spaces." + observation)
        self.action_space = eval("spaces." + action)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}

gymnasium.register("Shaped-v0", Shaped, max_episode_steps=9)
gymnasium.register("Endless-v0", Shaped)
"""


@pytest.fixture
def shaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an environment whose spaces are its arguments."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_shaped", raising=False)
    (tmp_path / "own_shaped.py").write_text(SPACES)
    return tmp_path


def _shaped(**spaces: str) -> str:
    return json.dumps({"id": "Shaped-v0", "module": "own_shaped", "kwargs": spaces})


OWN = """
import gymnasium

class Corridor(gymnasium.Env):
    observation_space = gymnasium.spaces.Dict(
        position=gymnasium.spaces.Discrete(5), text=gymnasium.spaces.Text(3)
    )
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length=5, render_mode=None):
        if length < 1:
            raise ValueError("length must be at least 1")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}

class Plain(Corridor):
    observation_space = gymnasium.spaces.Box(0, 1, (2,))

class Shout(gymnasium.Wrapper):
    def __init__(self, env, loud=False):
        super().__init__(env)

gymnasium.register("Corridor-v0", Corridor)
gymnasium.register("Plain-v0", Plain, max_episode_steps=9)
"""


@pytest.mark.parametrize(
    ("algorithm", "spaces"),
    [
        ("PPO", {"observation": "Discrete(3)"}),
        ("PPO", {"observation": "MultiDiscrete([2, 3])"}),
        ("PPO", {"observation": "Dict(a=spaces.Discrete(2), b=spaces.Box(0, 1, (2, 2)))"}),
        ("DQN", {"observation": "Tuple([spaces.Discrete(2), spaces.Box(0, 1, (2,))])"}),
        ("DQN", {"observation": "Box(0, 255, (84, 84, 3), 'uint8')"}),
        ("PPO", {"action": "MultiDiscrete([2, 3])"}),
        ("PPO", {"action": "Box(-1, 1, (2,))"}),
        ("PPO", {"action": "Box(0, float('inf'), ())"}),
        ("PPO", {"action": "Discrete(3, start=-1)"}),
        ("DQN", {"action": "Discrete(3, start=1)"}),
        ("PPO", {"action": "MultiDiscrete([2, 3], start=[0, 1])"}),
    ],
)
@pytest.mark.parametrize("backend", ["torch", "rllib"])
def test_both_backends_take_these_spaces(
    shaped: Path, backend: str, algorithm: str, spaces: dict[str, str]
) -> None:
    environment = _shaped(**spaces)
    plan = plan_of(shaped, algorithm=algorithm, backend=backend, environment=environment)
    assert plan.trials == 1


@pytest.mark.parametrize(
    ("backend", "spaces", "words"),
    [
        ("rllib", {"action": "Box(-1, 1, (2, 2))"},
         "actions are Box(-1.0, 1.0, (2, 2), float32); must be a vector: put a wrapper of your own "
         "around the environment that reshapes them"),
        ("torch", {"action": "MultiDiscrete([[2, 2], [2, 2]])"},
         "actions are MultiDiscrete([[2 2] [2 2]]); must be a vector: put a wrapper of your own "
         "around the environment that reshapes them"),
        ("torch", {"observation": "Dict({0: spaces.Discrete(2)})"},
         "observations are a Dict with the key 0; its keys must be texts"),
        ("rllib", {"observation": "Tuple([spaces.Dict({1: spaces.Discrete(2)})])"},
         "observations are a Dict with the key 1; its keys must be texts"),
        ("torch", {"observation": "Box(-1, 1, (0,))"},
         "observations of Box([], [], (0,), float32) are empty: there is nothing to see"),
        ("rllib", {"observation": "Dict({})"},
         "observations of Dict() are empty: there is nothing to see"),
        ("torch", {"observation": "MultiBinary(3)"},
         "PPO can't see observations of MultiBinary(3) on backend torch; backend: rllib can"),
        ("torch", {"observation": "MultiDiscrete([[2, 3], [2, 3]])"},
         "PPO can't see observations of MultiDiscrete([[2 3] [2 3]]); wrappers: "
         "[FlattenObservation] makes a vector of it"),
    ],
)  # fmt: skip
def test_spaces_that_the_backend_can_t_take_are_a_problem(
    shaped: Path, backend: str, spaces: dict[str, str], words: str
) -> None:
    assert problems_of(shaped, backend=backend, environment=_shaped(**spaces)) == [
        f"1: environment.id: Shaped-v0: {words}"
    ]


def test_sac_acts_in_vectors_only(shaped: Path) -> None:
    environment = _shaped(action="Box(-1, 1, ())")
    assert problems_of(shaped, algorithm="SAC", environment=environment) == [
        "1: environment.id: Shaped-v0: actions are Box(-1.0, 1.0, (), float32); must be a vector: "
        "put a wrapper of your own around the environment that reshapes them"
    ]


def test_an_evaluation_that_may_never_end_is_a_warning(shaped: Path) -> None:
    endless = "{id: Endless-v0, module: own_shaped}"
    (warning,) = plan_of(shaped, environment=endless, evaluation="{}").warnings
    assert warning == (
        "Endless-v0 has no time limit: an evaluation episode is cut after 10,000 steps and counts "
        "with what it has earned; set evaluation.max_episode_steps, or for training too "
        "environment.wrappers: [{TimeLimit: {max_episode_steps: 1000}}]"
    )
    limited = endless[:-1] + ", wrappers: [{TimeLimit: {max_episode_steps: 9}}]}"
    assert plan_of(shaped, environment=limited, evaluation="{}").warnings == ()
    asked = "{max_episode_steps: 50}"
    assert plan_of(shaped, environment=endless, evaluation=asked).warnings == ()


def test_an_environment_that_is_seen_to_end_its_episodes_is_not_warned_of(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, environment="Blackjack-v1", evaluation="{}")
    assert plan.warnings == ()
    assert plan.spec.evaluation is not None
    assert plan.spec.evaluation.max_episode_steps == 10_000


@pytest.mark.parametrize(
    ("env_id", "stop", "evaluation", "recorded", "applied"),
    [
        ("Endless-v0", 10_000, "{}", 10_000, 10_000),
        ("Endless-v0", 20, "{}", 1_000, 1_000),
        ("Endless-v0", 10**7, "{}", 27_000, 27_000),
        ("Endless-v0", 10_000, "{max_episode_steps: 50}", 50, 50),
        ("Shaped-v0", 10_000, "{}", None, None),  # its own limit is 9
        ("Shaped-v0", 10_000, "{max_episode_steps: 9}", 9, None),
        ("Shaped-v0", 10_000, "{max_episode_steps: 8}", 8, 8),
    ],
)
def test_evaluation_episodes_are_capped_where_the_environment_does_not_end_them(
    shaped: Path, env_id: str, stop: int, evaluation: str, recorded: int, applied: int
) -> None:
    environment = json.dumps({"id": env_id, "module": "own_shaped"})
    bound = f"{{{STEPS}: {stop}}}"
    plan = plan_of(shaped, environment=environment, stop=bound, evaluation=evaluation)
    # The run's spec records it for resumed launches and later evaluations.
    assert plan.spec.evaluation.max_episode_steps == recorded
    assert trial_settings(plan).evaluation.max_episode_steps == applied


def test_a_wrapper_that_hides_the_end_of_episodes_can_t_make_an_evaluation_endless(
    shaped: Path,
) -> None:
    """The environment's limit is 9, and is not what cuts: a wrapper may start anew there."""
    environment = json.dumps({"id": "Shaped-v0", "module": "own_shaped", "wrappers": ["Autoreset"]})
    plan = plan_of(shaped, environment=environment, evaluation="{}")
    assert plan.spec.evaluation.max_episode_steps is None
    assert trial_settings(plan).evaluation.max_episode_steps == 27_000
    confirmed = confirmation_settings(plan, seeds=(1,), episodes=3).confirmation
    assert confirmed.max_episode_steps == 27_000
    unwrapped = plan_of(
        shaped, environment=json.dumps({"id": "Shaped-v0", "module": "own_shaped"}), evaluation="{}"
    )
    assert trial_settings(unwrapped).evaluation.max_episode_steps is None
    # The evaluators watch over it, in the confirmation's episodes too.
    assert trial_settings(unwrapped).evaluation.time_limit == 9
    unseen = replace(unwrapped, spec=unwrapped.spec.model_copy(update={"evaluation": None}))
    for one in (unwrapped, unseen):
        confirmed = confirmation_settings(one, seeds=(1,), episodes=3).confirmation
        assert (confirmed.max_episode_steps, confirmed.time_limit) == (None, 9)


_LOW, _HIGH = "low=np.array([-1, -np.inf, -np.inf, 0])", "high=np.array([1, np.inf, 2, np.inf])"
_ALL = "Box(-np.inf, np.inf, (3,))"


@pytest.mark.parametrize(
    ("backend", "action", "space", "expected"),
    [
        ("torch", "Box(-1, 1, (2,))", "{}", []),
        ("torch", f"Box({_LOW}, {_HIGH})", "{}",
         ["action 2 of 4 has no bounds: it is sent as the policy draws it",
          "actions 3 and 4 of 4 have only one bound: they are clipped there, not scaled"]),
        ("torch", _ALL, "{}",
         ["all 3 actions have no bounds: they are sent as the policy draws them"]),
        ("torch", "Box(0, np.inf, (1,))", "{normalize_actions: false, clip_actions: true}",
         ["the action has only one bound: it is clipped there, not scaled"]),
        ("torch", "Box(np.array([-np.inf] * 8), np.array([np.inf] * 7 + [1.0]))", "{}",
         ["7 of 8 actions have no bounds: they are sent as the policy draws them",
          "action 8 of 8 has only one bound: it is clipped there, not scaled"]),
        ("torch", "Box(-1, 1, (2,))", "{normalize_actions: false}",
         ["where normalize_actions and clip_actions are both false, actions are clipped to their "
          "bounds all the same"]),
        ("torch", _ALL, "{normalize_actions: false}",
         ["all 3 actions have no bounds: they are sent as the policy draws them"]),
        ("rllib", "Box(-1, 1, (2,))", "{}", []),
        ("rllib", f"Box({_LOW}, {_HIGH})", "{}",
         ["action 2 of 4 has no bounds: it is sent as the policy draws it",
          "actions 3 and 4 of 4 have only one bound: they are clipped there, not scaled"]),
        ("rllib", "Box(-1, 1, (2,))", "{normalize_actions: {grid_search: [true, false]}}",
         ["where normalize_actions and clip_actions are both false, actions are clipped to their "
          "bounds all the same"]),
    ],
)  # fmt: skip
def test_actions_without_two_bounds_are_a_warning(
    shaped: Path, backend: str, action: str, space: str, expected: list[str]
) -> None:
    environment = _shaped(action=action)
    plan = plan_of(shaped, backend=backend, environment=environment, param_space=space)
    found = [one for one in plan.warnings if "action" in one]
    assert found == expected


LONG = """
import gymnasium, numpy

class Long(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), numpy.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return numpy.zeros(2, numpy.float32), {}

    def step(self, action):
        self.time += 1
        return numpy.zeros(2, numpy.float32), 0.0, False, self.time >= 400, {}

gymnasium.register("Long-v0", Long, max_episode_steps=1000)
gymnasium.register("Unlimited-v0", Long)
"""


@pytest.mark.parametrize(
    ("env", "stop", "envs", "words"),
    [
        ("Long-v0", f"{{{STEPS}: 390}}", 1,
         "episodes of Long-v0 last up to 1,000 env steps, and each environment of a trial is "
         "stepped 390 times: a trial in which no episode ends has no value; give evaluation: {}, "
         "or 1,000 env steps to a trial"),
        ("Unlimited-v0", f"{{{STEPS}: 1590}}", 4,
         "episodes of Unlimited-v0 have no time limit, and each environment of a trial is stepped "
         "397 times: a trial in which no episode ends has no value; give evaluation: {}, or more "
         "env steps to a trial, or fewer num_envs_per_env_runner than 4"),
        ("Long-v0", "{training_iteration: 3}", 1, "is stepped 384 times"),
    ],
)  # fmt: skip
def test_a_trial_that_may_be_too_short_for_an_episode_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: str, stop: str, envs: int, words: str
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_long", raising=False)
    (tmp_path / "own_long.py").write_text(LONG)
    space = f"{{num_envs_per_env_runner: {envs}, train_batch_size_per_learner: 128}}"
    changes = {"environment": f"{{id: {env}, module: own_long}}", "param_space": space}
    (warning,) = plan_of(tmp_path, **changes, stop=stop).warnings
    assert words in warning
    long_enough = plan_of(tmp_path, **changes, stop=f"{{{STEPS}: {400 * envs}}}")
    assert long_enough.warnings == ()  # a random agent ended an episode
    evaluated = plan_of(tmp_path, **changes, stop=stop, evaluation="{}")
    assert not [one for one in evaluated.warnings if "no value" in one]


def test_a_time_limit_beyond_a_trial_is_no_warning_where_episodes_end_sooner(
    tmp_path: Path,
) -> None:
    assert plan_of(tmp_path, stop=f"{{{STEPS}: 400}}", param_space=SMALL_BATCH).warnings == ()


def test_output_of_an_environment_goes_to_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own_loud.py").write_text(
        "import os\nprint('by print')\nos.write(1, b'by write')\nos.system('echo by child')\n"
        "import gymnasium\n"
        "gymnasium.register('Loud-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    os.write(1, b"before\n")
    plan_of(tmp_path, environment="{id: Loud-v0, module: own_loud}")
    os.write(1, b"after\n")
    out, err = capfd.readouterr()
    assert out == "before\nafter\n"
    assert all(words in err for words in ("by print", "by write", "by child"))


def test_a_custom_environment_is_found_next_to_the_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own_corridor.py").write_text(OWN)
    mapping = "{id: Plain-v0, module: own_corridor, kwargs: {length: 3}, wrappers: " \
              "[{own_corridor.Shout: {loud: true}}]}"  # fmt: skip
    plan = plan_of(tmp_path, environment=mapping)
    assert str(tmp_path) in trial_settings(plan).environment.search_paths
    assert problems_of(
        tmp_path, environment="{id: Plain-v0, module: own_corridor, kwargs: {length: 0}}"
    ) == [
        "1: environment.kwargs: environment Plain-v0 can't be built with {length: 0}: "
        "ValueError: length must be at least 1"
    ]
    (found,) = problems_of(tmp_path, environment="{id: Corridor-v0, module: own_corridor}")
    assert found.startswith("1: environment.id: Corridor-v0: PPO can't see observations of Text(")
    copied = tmp_path / "elsewhere" / "spec.yaml"
    copied.parent.mkdir()
    copied.write_text(dump_spec(plan.spec))
    assert build_plan(load_spec(copied)).spec == plan.spec


def test_a_failing_module_is_a_problem_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own_broken.py").write_text("import gymnasium\n1 / 0\n")
    (tmp_path / "own_needy.py").write_text("import sweeper_nowhere_at_all\n")
    assert problems_of(tmp_path, environment="{id: X-v0, module: own_broken}") == [
        "1: environment.module: importing module own_broken failed: ZeroDivisionError: division "
        "by zero"
    ]
    assert problems_of(tmp_path, environment="{id: X-v0, module: own_needy}") == [
        "1: environment.module: module own_needy needs sweeper_nowhere_at_all, which is not "
        "installed"
    ]


def test_a_module_with_the_name_of_a_loaded_one_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("")
    (found,) = problems_of(tmp_path, environment="{id: X-v0, module: json}")
    assert "another module named json is already loaded" in found


# --- training and trials ---------------------------------------------------------------------


def test_training_takes_the_defaults_of_searched_parameters(tmp_path: Path) -> None:
    network = "{fcnet_hiddens: {choice: [[64, 64]]}, fcnet_activation: relu}"
    spec = spec_of(
        tmp_path,
        param_space=f"{{gamma: 0.9, lr: {{loguniform: [1e-4, 1e-2]}}, model_config: {network}, "
        "num_epochs: {randint: [1, 31]}}",
        search="{num_samples: 8, points_to_evaluate: [{lr: 1.0e-3}]}",
    )
    plan = training_plan(spec)
    assert (plan.trials, plan.replicas, plan.env_steps) == (1, 5, 50000)
    assert plan.spec.param_space == {"gamma": 0.9, "model_config": {"fcnet_activation": "relu"}}
    assert plan.notes == (
        "lr is searched in {loguniform: [0.0001, 0.01]}, so PPO's default, 5e-05, which "
        "training takes, lies outside; for a value of the search's give one, as in "
        "param_space.lr=0.001",
        "model_config.fcnet_hiddens is searched in {choice: [[64, 64]]}, so PPO's default, "
        "[256, 256], which training takes, lies outside; for a value of the search's give one, as "
        "in 'param_space.model_config.fcnet_hiddens=[64, 64]'",
        "num_epochs is searched; training takes PPO's default, 30",
    )
    assert load_spec(_written(tmp_path, dump_spec(plan.spec))) == plan.spec


SCHEDULE = [[step * 1000, round(0.1 / (1 + step), 6)] for step in range(12)]


@pytest.mark.parametrize(
    ("name", "space"),
    [
        ("lr", f"{{choice: [{SCHEDULE}]}}"),
        ("lr", "{loguniform: [1.0e-4, 1.0e-2]}"),
        ("grad_clip", "{uniform: [0.1, 0.7]}"),
        ("model_config.fcnet_hiddens", f"{{choice: [{[64] * 20}, {[32] * 20}]}}"),
        ("model_config.fcnet_activation", "{choice: [relu]}"),
        ("model_config", "{choice: [{fcnet_hiddens: [64, 64], fcnet_activation: relu}]}"),
        ("use_kl_loss", "{choice: [false]}"),
        ("num_epochs", "{randint: [1, 4]}"),
    ],
)
def test_the_override_that_training_suggests_is_taken_as_a_shell_passes_it(
    tmp_path: Path, name: str, space: str
) -> None:
    *outer, last = name.split(".")
    nested = f"{{{last}: {space}}}"
    for key in reversed(outer):
        nested = f"{{{key}: {nested}}}"
    path = tmp_path / "spec.yaml"
    spec_of(tmp_path, param_space=nested, search="{num_samples: 2}")
    (note,) = load_plan(path, is_training=True).notes
    _, found, command = note.partition(", as in ")
    assert found, note
    (override,) = shlex.split(command)
    plan = load_plan(path, [override], is_training=True)
    assert plan.notes == ()
    given = plan.spec.param_space
    for key in name.split("."):
        given = given[key]
    (leaf,) = [leaf for _, leaf in distributions(load_spec(path).param_space)]
    assert given == leaf.middle


def test_training_needs_no_number_of_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(
        f"environment: CartPole-v1\nalgorithm: PPO\nstop: {{{STEPS}: 10000}}\n"
        "param_space: {lr: {loguniform: [1.0e-4, 1.0e-2]}}\n"
        "search: {points_to_evaluate: [{lr: 1.0e-3}, {lr: 2.0e-3}]}\n"
    )
    assert load_plan(path, is_training=True).trials == 1
    planned: list[SweepPlan] = []
    monkeypatch.setattr(api, "execute", lambda plan, **_: planned.append(plan))
    api.train(path)
    assert [plan.trials for plan in planned] == [1]
    with pytest.raises(SpecError, match=r"search\.num_samples: is missing"):
        load_plan(path)


def test_constants_that_contradict_the_defaults_can_t_be_trained(tmp_path: Path) -> None:
    spec = spec_of(
        tmp_path,
        param_space="{minibatch_size: 5000, train_batch_size_per_learner: {choice: [8000]}}",
        search="{num_samples: 8}",
    )
    with pytest.raises(SpecError, match="with searched parameters at their defaults"):
        training_plan(spec)


def test_trial_settings_are_the_spec_s(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        param_space="{lr: {choice: [0.1]}, gamma: 0.9}",
        search="{num_samples: 2}",
        evaluation="{episodes: 7}",
        seeds="[4, 2]",
        resources="{cpus: 0.5}",
    )
    settings = trial_settings(plan)
    assert settings.algorithm == "PPO"
    assert settings.constants == {"gamma": 0.9}
    assert settings.seeds == (4, 2)
    assert settings.stage == "search"
    assert settings.stop == {STEPS: 10000}
    assert settings.evaluation is not None
    assert (settings.evaluation.episodes, settings.evaluation.every_env_steps) == (7, 1000)
    assert settings.checkpoint_every_env_steps == 1000
    assert settings.cpus == 0.5


def _written(folder: Path, text: str) -> Path:
    path = folder / "written.yaml"
    path.write_text(text, encoding="utf-8")
    return path
