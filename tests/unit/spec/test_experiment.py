"""A spec's defaults, its problems with their exact messages, and its round trip through YAML."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.errors import SpecError
from sweeper.search.distributions import Distribution
from sweeper.spec import ExperimentSpec, dump_spec, load_record, load_spec, parse

CONFIGS = Path(__file__).parents[3] / "configs"
STEPS = "num_env_steps_sampled_lifetime"
LEAST = {"environment": "CartPole-v1", "algorithm": "PPO", "stop": "{time_total_s: 60}"}


def write(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def text_of(**changes: str | None) -> str:
    """A right spec with some keys changed or (None) left out, one key a line."""
    lines = {**LEAST, **changes}
    return "".join(f"{key}: {value}\n" for key, value in lines.items() if value is not None)


def load(folder: Path, **changes: str | None) -> ExperimentSpec:
    return load_spec(write(folder, text_of(**changes)))


def problems_of(folder: Path, **changes: str | None) -> list[str]:
    path = write(folder, text_of(**changes))
    with pytest.raises(SpecError) as raised:
        load_spec(path)
    return [str(problem).removeprefix(f"{path}:") for problem in raised.value.problems]


# --- defaults --------------------------------------------------------------------------------


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    spec = load(tmp_path)
    assert (spec.name, spec.backend, spec.storage) == ("spec", "torch", "runs")
    assert spec.seeds == (0, 1, 2, 3, 4)
    assert spec.param_space == {}
    assert (spec.search.algorithm, spec.search.num_samples, spec.search.seed) == ("grid", 1, 0)
    assert (spec.search.max_concurrent, spec.search.points_to_evaluate) == ("auto", [])
    assert spec.scheduler.type == "fifo"
    assert spec.budget.time_s is None
    assert spec.evaluation is None
    assert spec.selection.model_dump() == {
        "metric": "episode_return_mean",
        "mode": "max",
        "score": "last",
        "finalists": 0,
        "confirm_seeds": {"step": 5, "max": 30},
        "confirm_episodes": 100,
        "baseline": "defaults",
        "solved_at": None,
    }
    assert spec.checkpoint.model_dump() == {
        "keep": 1,
        "keep_trials": 20,
        "every_env_steps": None,
        "trainer": False,
        "replay": False,
    }
    assert spec.resources.model_dump() == {"cpus": 1, "gpus": 0, "retries": 1, "timeout_s": None}
    assert spec.ray.address is None
    assert spec.tracking is not None
    assert spec.tracking.uri == f"sqlite:///{Path.cwd()}/runs/mlflow.db"
    assert (spec.tracking.experiment, spec.tracking.register_as) == ("spec", None)


def test_evaluation_and_checkpoints_come_every_tenth_of_the_budget(tmp_path: Path) -> None:
    spec = load(tmp_path, stop=f"{{{STEPS}: 1e5}}", evaluation="{}")
    assert spec.evaluation is not None
    assert spec.evaluation.model_dump() == {
        "episodes": 20,
        "every_env_steps": 10000,
        "explore": False,
        "max_episode_steps": None,
    }
    assert spec.checkpoint.every_env_steps == 10000
    assert spec.selection.metric == "evaluation/episode_return_mean"


def test_a_mixed_space_is_searched_at_random(tmp_path: Path) -> None:
    space = "{lr: {loguniform: [1e-4, 1e-2]}, gamma: {grid_search: [0.9, 0.99]}}"
    spec = load(tmp_path, param_space=space, search="{num_samples: 3}")
    assert spec.search.algorithm == "random"
    assert spec.param_space["lr"] == Distribution("loguniform", (1e-4, 1e-2))


def test_a_pure_grid_is_a_grid_search(tmp_path: Path) -> None:
    spec = load(tmp_path, param_space="{lr: {grid_search: [1e-4, 1e-2]}}")
    assert (spec.search.algorithm, spec.search.num_samples) == ("grid", 1)


def test_the_name_comes_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "my ünusual spec.yaml"
    path.write_text(text_of(), encoding="utf-8")
    assert load_spec(path).name == "my-unusual-spec"


def test_rllib_s_metric_names_become_ours(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        stop="{env_runners/episode_return_mean: 150, time_total_s: 5, "
        "evaluation/env_runners/episode_return_mean: 3, learners/default_policy/entropy: 1}",
        selection="{metric: evaluation/env_runners/episode_return_mean}",
        evaluation="{}",
    )
    assert spec.stop == {
        "episode_return_mean": 150,
        "time_total_s": 5,
        "evaluation/episode_return_mean": 3,
        "learner/entropy": 1,
    }
    assert spec.selection.metric == "evaluation/episode_return_mean"


def test_seeds_are_a_number_or_a_list(tmp_path: Path) -> None:
    assert load(tmp_path, seeds="3").seeds == (0, 1, 2)
    assert load(tmp_path, seeds="[7, 5]").seeds == (7, 5)


def test_tracking_null_is_off(tmp_path: Path) -> None:
    assert load(tmp_path, tracking="null").tracking is None
    assert load_spec(write(tmp_path, text_of()), ["tracking=null"]).tracking is None


def test_null_elsewhere_means_left_out(tmp_path: Path) -> None:
    assert load(tmp_path, seeds="null", search="{seed: null}", evaluation="null") == load(tmp_path)


def test_an_environment_can_be_a_mapping(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        environment="{id: CartPole-v1, kwargs: {sutton_barto_reward: true}, wrappers: "
        "[ClipAction, {TimeLimit: {max_episode_steps: 5}}]}",
    )
    settings_ = spec.environment.settings()
    assert settings_.kwargs == {"sutton_barto_reward": True}
    assert [(w.name, dict(w.kwargs)) for w in settings_.wrappers] == [
        ("ClipAction", {}),
        ("TimeLimit", {"max_episode_steps": 5}),
    ]
    assert settings_.search_paths == ()


def test_an_environment_s_module_is_looked_up_beside_the_spec_then_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    spec = load(tmp_path, environment="{id: X-v0, module: my_envs}")
    assert spec.environment.search_paths == [str(tmp_path), str(tmp_path / "here")]


def test_overrides_are_part_of_the_spec(tmp_path: Path) -> None:
    path = write(tmp_path, text_of(param_space="{gamma: 0.9}"))
    spec = load_spec(
        path,
        ["param_space.lr={loguniform: [1e-4, 1e-2]}", "search.num_samples=64", "scheduler=fifo"],
    )
    assert spec.search.num_samples == 64
    assert list(spec.param_space) == ["gamma", "lr"]


def test_plain_values_can_be_parsed() -> None:
    spec = parse({"environment": "CartPole-v1", "algorithm": "DQN", "stop": {STEPS: 1000}})
    assert (spec.name, spec.algorithm, spec.source) == ("sweep", "DQN", None)


def test_a_spec_can_t_be_changed(tmp_path: Path) -> None:
    spec = load(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        spec.name = "other"


@pytest.mark.parametrize(
    ("algorithm", "backend", "seeds"), [("DQN", "torch", 5), ("SAC", "rllib", 1)]
)
def test_the_default_backend_is_the_first_that_has_the_algorithm(
    tmp_path: Path, algorithm: str, backend: str, seeds: int
) -> None:
    spec = load(tmp_path, algorithm=algorithm)
    assert (spec.backend, len(spec.seeds)) == (backend, seeds)
    assert len(load(tmp_path, algorithm=algorithm, backend="rllib").seeds) == 1


def test_storage_and_tracking_do_not_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    spec = load(tmp_path, storage="~/runs")
    assert spec.storage == str(tmp_path / "home" / "runs")
    assert spec.tracking is not None
    assert spec.tracking.uri == f"sqlite:///{tmp_path}/home/runs/mlflow.db"
    for written, recorded in [
        ("sqlite:///all/mlflow.db", f"sqlite:///{tmp_path}/all/mlflow.db"),
        ("sqlite:///~/mlflow.db", f"sqlite:///{tmp_path}/home/mlflow.db"),
        ("sqlite:////srv/mlflow.db", "sqlite:////srv/mlflow.db"),
        ("https://mlflow.example", "https://mlflow.example"),
    ]:
        tracking = load(tmp_path, tracking=f"{{uri: {written!r}}}").tracking
        assert tracking is not None
        assert tracking.uri == recorded


# --- odd but right ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"name": '"1"'},
        {"name": "no"},
        {"name": "a" * 100},
        {"stop": "{training_iteration: 3}"},
        {"stop": f"{{{STEPS}: 1e6, episode_return_mean: -110}}"},
        {"stop": None, "budget": "{time_s: 10}"},
        {"seeds": "[1000000]"},
        {"param_space": "{vf_clip_param: .inf, grad_clip: null, lr: [[0, 1e-3], [1e5, 0]]}"},
        {"param_space": "{lr: [[0, 1e-3], [100000, 0.0]], entropy_coeff: 0}"},
        {"param_space": "{num_epochs: {qrandint: [2, 10, 2]}}", "search": "{num_samples: 2}"},
        {"param_space": "{model_config: {choice: [{fcnet_hiddens: [64]}, {use_lstm: true}]}}",
         "backend": "rllib", "search": "{num_samples: 2}"},
        {"param_space": "{lr: {choice: [1e-3, [[0, 1e-3], [1000, 1e-4]]]}}",
         "search": "{num_samples: 2}"},
        {"param_space": "{use_kl_loss: {choice: [true, false]}, kl_coeff: {uniform: [0.1, 1], "
         "when: {use_kl_loss: true}}}", "search": "{num_samples: 2}"},
        {"param_space": "{lr: {loguniform: [1e-4, 1e-2]}}",
         "search": "{num_samples: 2, points_to_evaluate: [{lr: 1e-3}]}"},
        {"param_space": "{lr: {choice: [1e-3]}}", "search": "{algorithm: random, num_samples: 1}"},
        {"param_space": "{minibatch_size: null}"},
        {"algorithm": "DQN", "param_space": "{n_step: [2, 5], epsilon: [[0, 1], [500, 0.1]]}"},
        {"algorithm": "SAC", "param_space": "{target_entropy: -1.5, actor_lr: 1e-3}"},
        {"algorithm": "IMPALA", "param_space": "{vtrace_clip_rho_threshold: 1.0}"},
        {"ray": "{address: auto}"},
        {"ray": "{address: '10.0.0.1:6379'}"},
        {"resources": "{cpus: 0.5, gpus: 0.25}"},
        {"evaluation": "{episodes: 5, every_env_steps: 2e3, explore: true}"},
        {"selection": "{metric: episode_len_mean, mode: min, score: auc}"},
        {"scheduler": "fifo"},
        {"environment": '"my_module:Env-v0"'},
    ],
)  # fmt: skip
def test_odd_but_right_specs_pass(tmp_path: Path, changes: dict[str, str | None]) -> None:
    load(tmp_path, **changes)


# --- problems: their words are in specs/*.cases ----------------------------------------------


def test_every_problem_is_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "environment: {id: 3, kwargz: {}}\n"
        "algorithm: PPO\n"
        "algorithm: DQN\n"
        "backend: torch\n"
        "param_space:\n"
        "  learning_rate: 1\n"
        "  gamma: 2\n"
        "  model_config: {fcnet_hiddens: [0]}\n"
        "search: {num_samples: x}\n"
        "stop: {reward: 3}\n"
        "foo: ${bar}\n"
        "checkpoint: !!map {}\n",
    )
    with pytest.raises(SpecError) as raised:
        load_spec(path, ["seeds=0", "nonsense"])
    lines = [str(p).split(": ")[0].removeprefix(f"{path}:") for p in raised.value.problems]
    assert lines == [
        "1", "1", "3", "6", "7", "8", "9", "10", "11", "11", "12",
        "command line", "command line",
    ]  # fmt: skip


def test_a_hyperparameter_s_problem_names_the_base_file_that_it_is_in(tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text("param_space:\n  gamma: 7\n", encoding="utf-8")
    path = write(tmp_path, text_of() + "extends: base.yaml\nparam_space: {lr: -1}\n")
    with pytest.raises(SpecError) as raised:
        load_spec(path)
    assert [str(problem.location) for problem in raised.value.problems] == [
        f"{base}:2",
        f"{path}:5",
    ]


def test_a_missing_file_is_the_user_s_mistake(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no such file") as raised:
        load_spec(tmp_path / "nowhere.yaml")
    assert raised.value.exit_code == 2


def test_an_eval_mapping_is_refused_and_never_run(tmp_path: Path) -> None:
    found = problems_of(tmp_path, param_space="{lr: {eval: \"__import__('os').getcwd()\"}}")
    assert found[0].startswith("4: param_space.lr")


# --- there and back --------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_survives_the_round_trip(path: Path, tmp_path: Path) -> None:
    spec = load_spec(path)
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_spec(spec), encoding="utf-8")
    assert load_spec(copy) == spec
    assert dump_spec(load_spec(copy)) == dump_spec(spec)


def test_a_full_spec_survives_the_round_trip(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
name: full
environment: {id: X-v0, module: my_envs, kwargs: {a: [1, {b: "no"}], c: "1e5", d: null},
              wrappers: [ClipAction, {my.Wrapper: {x: "${env:HOME}"}}], vectorization: async}
algorithm: PPO
seeds: [3, 1]
param_space:
  use_kl_loss: {choice: [true, false]}
  kl_coeff: {uniform: [0.1, 0.2], when: {use_kl_loss: true}}
  lr: [[0, 1.0e-3], [1000, 0.0]]
  vf_clip_param: .inf
  grad_clip: null
  model_config: {fcnet_hiddens: {choice: [[64, 64], [256]]}}
search: {num_samples: 5, seed: 3, max_concurrent: 2, points_to_evaluate: [{kl_coeff: 0.15}]}
stop: {num_env_steps_sampled_lifetime: 1e6, episode_return_mean: -3.5}
budget: {time_s: 60}
evaluation: {episodes: 3, explore: true}
selection: {mode: min, score: best}
checkpoint: {keep: 2, every_env_steps: 77}
resources: {cpus: 0.5}
storage: "some where/${env:HOME}"
ray: {address: auto}
tracking: null
""",
    )
    spec = load_spec(path)
    copy = tmp_path / "elsewhere" / "copy.yaml"
    copy.parent.mkdir()
    copy.write_text(dump_spec(spec), encoding="utf-8")
    assert load_spec(copy) == spec


texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=("Cs",)), max_size=20
) | st.sampled_from(
    ["no", "1e-4", "0o17", "12:30", "${a}", "$${a}", "~", "", " x ", "a: b", "- a", "#", "1_0",
     ".inf", "null", "0x1F", "010", "!!str", "&a", "*a", "\t", "\x85", "\u2028", "%", "'", '"'],
)  # fmt: skip
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abcno1~.", min_size=1, max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), plain, max_size=4), texts)
def test_any_values_survive_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, kwargs: dict[str, Any], env_id: str
) -> None:
    data = {
        "environment": {"id": env_id or "x", "kwargs": kwargs},
        "algorithm": "PPO",
        "stop": {STEPS: 10},
        "tracking": None,
    }
    spec = parse(data)
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    path.write_text(dump_spec(spec), encoding="utf-8")
    loaded = load_spec(path, ["name=sweep"])
    assert repr(loaded.environment.kwargs) == repr(spec.environment.kwargs)
    assert loaded.environment.id == spec.environment.id


def test_loading_a_spec_imports_no_environment(tmp_path: Path) -> None:
    (tmp_path / "sweeper_test_side_effect.py").write_text("raise RuntimeError('imported')")
    load(tmp_path, environment="{id: X-v0, module: sweeper_test_side_effect}")
    assert "sweeper_test_side_effect" not in sys.modules


# --- hostile texts ---------------------------------------------------------------------------

FRAGMENTS = (
    "null", "[]", "{}", "-1", "0", "1e999", ".nan", ".inf", "'x'", "true", "no", "[1,[2]]",
    "{a: 1}", "{choice: []}", "{choice: [1]}", "{when: {a: 1}}", "*a", "&a", "!!x", "${a}",
    "${environment}", "\t", "\n", "  ", ":", "- ", "'", '"', "{uniform: [0, 1]}", "9" * 25,
    "{grid_search: [1], when: {lr: 1}}", "DQN", "\x85", "[[0, 1], [2, 3]]", "auto", "<<: 1",
)  # fmt: skip


def _mutate(text: str, random: Random) -> str:
    for _ in range(random.randint(1, 4)):
        start = random.randrange(len(text) + 1)
        if random.random() < 0.3:
            text = text[:start] + text[start + random.randint(1, 12) :]
        elif random.random() < 0.5:
            text = text[:start] + random.choice(FRAGMENTS) + text[start:]
        else:
            words = text.split(" ")
            words[random.randrange(len(words))] = random.choice((*FRAGMENTS, *words))
            text = " ".join(words)
    return text


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_a_mutated_spec_runs_or_is_refused_with_a_message(path: Path, tmp_path: Path) -> None:
    random = Random(7)  # noqa: S311 - mutations, not secrets
    original = path.read_text(encoding="utf-8")
    for base in CONFIGS.glob("*.yaml"):  # a config may extend another
        shutil.copy(base, tmp_path)
    accepted = 0
    for _ in range(100):
        mutated = write(tmp_path, _mutate(original, random))
        try:
            spec = load_spec(mutated)
        except SpecError as error:
            if not error.problems:
                raise
            continue
        accepted += 1
        mutated.write_text(dump_spec(spec), encoding="utf-8")
        assert load_spec(mutated) == spec
    assert 0 < accepted < 100


# --- as written ------------------------------------------------------------------------------


def test_the_spec_is_kept_as_it_was_written_with_what_it_extends(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(f"# shared by all\n{text_of(algorithm=None)}")
    text = "# which learning rate?\nextends: base.yaml\nalgorithm:   PPO  # not DQN\n\n\n"
    spec = load_spec(write(tmp_path, text), ["seeds=3"])
    assert spec.as_written == (
        "# which learning rate?\nextends: base.yaml\nalgorithm:   PPO  # not DQN\n"
        "---\n# base.yaml, which is extended\n# shared by all\n"
        "environment: CartPole-v1\nstop: {time_total_s: 60}\n"
    )


def test_what_was_read_from_no_file_of_its_user_was_not_written(tmp_path: Path) -> None:
    spec = load(tmp_path)
    assert load_record(write(tmp_path, dump_spec(spec))).as_written == ""
    assert parse({**LEAST, "stop": {"time_total_s": 60}}).as_written == ""
