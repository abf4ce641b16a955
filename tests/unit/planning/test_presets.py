"""The presets are what RL Baselines3 Zoo published, and `init --preset` searches around them."""

from __future__ import annotations

import copy
import math
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sweeper.cli import cli
from sweeper.errors import SpecError, UserError
from sweeper.planning.plan import SweepPlan, load_plan
from sweeper.planning.presets import Preset, load_presets
from sweeper.planning.starter import make_starter
from sweeper.presets.catalogue import find_preset_file, nearest_preset, preset_names
from sweeper.search.distributions import constants, distributions, flatten
from sweeper.spec import load_spec

ROOT = Path(__file__).parents[3]
PRESETS = {one.name: one for one in load_presets()}
NORMALIZED = {"normalize": {"observations": True, "rewards": True}}

# RL Baselines3 Zoo's hyperparams/ppo.yml and dqn.yml, in Stable-Baselines3's names, on top of that
# library's defaults: environment, env steps, published return, hyperparameters.
PPO = {
    "n_envs": 1, "n_steps": 2048, "batch_size": 64, "n_epochs": 10, "gamma": 0.99,
    "gae_lambda": 0.95, "learning_rate": 3e-4, "clip_range": 0.2, "ent_coef": 0.0, "vf_coef": 0.5,
    "max_grad_norm": 0.5, "normalize": False,
}  # fmt: skip
LANDER = {
    "n_envs": 16, "n_steps": 1024, "gae_lambda": 0.98, "gamma": 0.999, "n_epochs": 4,
    "ent_coef": 0.01,
}  # fmt: skip
PUBLISHED_PPO: dict[str, tuple[str, int, str, dict[str, Any]]] = {
    "zoo:cartpole_ppo": (
        "CartPole-v1", 100_000, "500.0 ± 0.0",
        {"n_envs": 8, "n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98,
         "n_epochs": 20, "learning_rate": "lin_1e-3", "clip_range": "lin_0.2"},
    ),
    "zoo:acrobot_ppo": (
        "Acrobot-v1", 1_000_000, "-73.5 ± 18.2",
        {"normalize": True, "n_envs": 16, "n_steps": 256, "gae_lambda": 0.94, "n_epochs": 4},
    ),
    "zoo:mountaincar_ppo": (
        "MountainCar-v0", 1_000_000, "-110.4 ± 19.5",
        {"normalize": True, "n_envs": 16, "n_steps": 16, "gae_lambda": 0.98, "n_epochs": 4},
    ),
    "zoo:lunarlander_ppo": ("LunarLander-v3", 1_000_000, "242.1 ± 31.8", LANDER),
    "zoo:lunarlander_continuous_ppo": (
        "LunarLanderContinuous-v3", 1_000_000, "270.9 ± 32.1", LANDER
    ),
    "zoo:pendulum_ppo": (
        "Pendulum-v1", 100_000, "-172.2 ± 104.2",
        {"n_envs": 4, "n_steps": 1024, "gamma": 0.9, "learning_rate": 1e-3},
    ),
    "zoo:mountaincar_continuous_ppo": (
        "MountainCarContinuous-v0", 20_000, "88.3 ± 2.6",
        # Of a batch of 256, 8 steps are all that there is.
        {"normalize": True, "n_steps": 8, "batch_size": 8, "gae_lambda": 0.9, "gamma": 0.9999,
         "learning_rate": 7.77e-5, "clip_range": 0.1, "ent_coef": 0.00429, "vf_coef": 0.19,
         "max_grad_norm": 5.0},
    ),
}  # fmt: skip
# Of "atari": an AtariWrapper, four frames stacked, the network of the Atari papers.
PONG = "ALE/Pong-v5"
PUBLISHED_PPO["zoo:pong_ppo"] = (
    PONG, 10_000_000, "21.0 ± 0.1",
    {"n_envs": 8, "n_steps": 128, "n_epochs": 4, "batch_size": 256, "learning_rate": "lin_2.5e-4",
     "clip_range": "lin_0.1", "ent_coef": 0.01},
)  # fmt: skip
FILTERS = [[32, 8, 4, "valid"], [64, 4, 2, "valid"], [64, 3, 1, "valid"], [512, 7, 1, "valid"]]
DQN = {
    "learning_rate": 1e-4, "batch_size": 32, "buffer_size": 1_000_000, "learning_starts": 100,
    "gamma": 0.99, "target_update_interval": 10_000, "train_freq": 4, "gradient_steps": 1,
    "exploration_fraction": 0.1, "exploration_final_eps": 0.05,
}  # fmt: skip
ACROBOT = {
    "learning_rate": 6.3e-4, "batch_size": 128, "buffer_size": 50_000, "learning_starts": 0,
    "target_update_interval": 250, "gradient_steps": 4, "exploration_fraction": 0.12,
    "exploration_final_eps": 0.1,
}  # fmt: skip
PUBLISHED_DQN: dict[str, tuple[str, int, str, dict[str, Any]]] = {
    "zoo:cartpole_dqn": (
        "CartPole-v1", 50_000, "500.0 ± 0.0",
        {"learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000,
         "learning_starts": 1000, "target_update_interval": 10, "train_freq": 256,
         "gradient_steps": 128, "exploration_fraction": 0.16, "exploration_final_eps": 0.04},
    ),
    "zoo:acrobot_dqn": ("Acrobot-v1", 100_000, "-76.6 ± 11.8", ACROBOT),
    "zoo:mountaincar_dqn": (
        "MountainCar-v0", 120_000, "-100.8 ± 9.9",
        {"learning_rate": 4e-3, "batch_size": 128, "buffer_size": 10_000, "learning_starts": 1000,
         "gamma": 0.98, "target_update_interval": 600, "train_freq": 16, "gradient_steps": 8,
         "exploration_fraction": 0.2, "exploration_final_eps": 0.07},
    ),
    "zoo:lunarlander_dqn": ("LunarLander-v3", 100_000, "154.4 ± 79.2", ACROBOT),
    "zoo:pong_dqn": (
        PONG, 10_000_000, "20.6 ± 0.6",
        {"buffer_size": 100_000, "learning_starts": 100_000, "target_update_interval": 1000,
         "exploration_final_eps": 0.01},
    ),
}  # fmt: skip


def scheduled(value: Any, steps: int) -> Any:
    """``lin_x`` is x falling to 0."""
    is_linear = isinstance(value, str)
    return [[0, float(value.removeprefix("lin_"))], [steps, 0.0]] if is_linear else value


def ppo_in_our_words(given: dict[str, Any], steps: int) -> dict[str, Any]:
    return {
        "lr": scheduled(given["learning_rate"], steps),
        "clip_param": scheduled(given["clip_range"], steps),
        "num_envs_per_env_runner": given["n_envs"],
        "train_batch_size_per_learner": given["n_envs"] * given["n_steps"],
        "minibatch_size": given["batch_size"],
        "num_epochs": given["n_epochs"],
        "gamma": given["gamma"],
        "lambda_": given["gae_lambda"],
        "entropy_coeff": given["ent_coef"],
        "vf_loss_coeff": given["vf_coef"],
        "grad_clip": given["max_grad_norm"],
        # What Stable-Baselines3 does in any case.
        "grad_clip_by": "global_norm",
        "vf_clip_param": math.inf,
        "use_kl_loss": False,
    }


def dqn_in_our_words(given: dict[str, Any], steps: int) -> dict[str, Any]:
    replayed = given["gradient_steps"] * given["batch_size"] / given["train_freq"]
    last = round(given["exploration_fraction"] * steps)
    return {
        "lr": given["learning_rate"],
        "gamma": given["gamma"],
        "train_batch_size_per_learner": given["batch_size"],
        "rollout_fragment_length": given["train_freq"],
        "training_intensity": replayed,
        "num_steps_sampled_before_learning_starts": given["learning_starts"],
        "target_network_update_freq": given["target_update_interval"],
        "epsilon": [[0, 1.0], [last, given["exploration_final_eps"]]],
        "replay_buffer_config": {
            "type": "EpisodeReplayBuffer",
            "capacity": given["buffer_size"],
        },
        "grad_clip": 10.0,
        "grad_clip_by": "global_norm",
        "tau": 1.0,
        "double_q": False,
        "dueling": False,
        "td_error_loss_fn": "huber",
        "model_config": {"fcnet_hiddens": [256, 256], "fcnet_activation": "relu"},
    }


def check_published(
    preset: Preset, algorithm: str, env_id: str, steps: int, published: str
) -> dict[str, Any]:
    spec = preset.spec
    assert (spec.algorithm, spec.environment.id) == (algorithm, env_id)
    assert spec.stop == {"num_env_steps_sampled_lifetime": steps}
    assert preset.about[0].startswith(f"Published: {published} at {steps:,} env steps")
    assert spec.evaluation is not None
    # Zoo's figures are of greedy agents, but those of Atari.
    assert (spec.evaluation.episodes, spec.evaluation.explore) == (100, env_id == PONG)
    if env_id == PONG:
        assert [one.name for one in spec.environment.wrappers] == [
            "AtariPreprocessing", "FrameStackObservation",
        ]  # fmt: skip
        assert spec.environment.normalize.images
    return copy.deepcopy(spec.param_space)


def test_every_published_pair_has_a_preset_and_no_other() -> None:
    assert set(PRESETS) == PUBLISHED_PPO.keys() | PUBLISHED_DQN.keys() == set(preset_names())
    pairs = {(one.spec.algorithm, one.env_id) for one in PRESETS.values()}
    assert len(pairs) == len(PRESETS)


@pytest.mark.parametrize("name", PUBLISHED_PPO)
def test_a_ppo_preset_has_the_published_hyperparameters(name: str) -> None:
    env_id, steps, published, given = PUBLISHED_PPO[name]
    preset = PRESETS[name]
    space = check_published(preset, "PPO", env_id, steps, published)
    network = space.pop("model_config")
    is_continuous = "Continuous" in env_id or env_id == "Pendulum-v1"
    # Actions beyond their bounds are clipped, not unsquashed, and the deviation is a parameter.
    clipped = {key: space.pop(key, None) for key in ("normalize_actions", "clip_actions")}
    assert list(clipped.values()) == ([False, True] if is_continuous else [None, None])
    assert network.pop("free_log_std", False) is is_continuous
    assert space == ppo_in_our_words(PPO | given, steps)
    normalize = preset.spec.environment.normalize.model_dump()
    assert normalize.pop("images") is (env_id == PONG)
    assert normalize == dict.fromkeys(("observations", "rewards"), bool(given.get("normalize")))
    assert (network.pop("fcnet_hiddens"), network.pop("fcnet_activation")) == ([64, 64], "tanh")
    if name == "zoo:mountaincar_continuous_ppo":
        assert network == {"log_std_init": -3.29}  # ortho_init: false
        return
    heads = {"policy_head_gain": 0.01, "value_head_gain": 1.0}
    if env_id == PONG:
        assert network.pop("conv_kernel_initializer") == "orthogonal_"
        gain = network.pop("conv_kernel_initializer_kwargs")["gain"]
        assert gain == pytest.approx(math.sqrt(2))
        assert network.pop("conv_bias_initializer") == "zeros_"
        assert network.pop("conv_filters") == FILTERS
        assert (network.pop("conv_activation"), network.pop("vf_share_layers")) == ("relu", True)
    assert network == {
        "fcnet_kernel_initializer": "orthogonal_",
        "fcnet_kernel_initializer_kwargs": {"gain": pytest.approx(math.sqrt(2))},
        "fcnet_bias_initializer": "zeros_",
        **(heads if name in ("zoo:pendulum_ppo", "zoo:pong_ppo") else {}),  # docs/zoo.md: why
    }


@pytest.mark.parametrize("name", PUBLISHED_DQN)
def test_a_dqn_preset_has_the_published_hyperparameters(name: str) -> None:
    env_id, steps, published, given = PUBLISHED_DQN[name]
    space = check_published(PRESETS[name], "DQN", env_id, steps, published)
    if env_id == PONG:
        network = space["model_config"]
        assert network.pop("conv_filters") == FILTERS
        assert network.pop("conv_activation") == "relu"
    assert space == dqn_in_our_words(DQN | given, steps)


@pytest.mark.parametrize("name", PRESETS)
def test_the_page_has_a_row_for_every_preset(name: str) -> None:
    stem = name.removeprefix("zoo:")
    page = (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {stem} \|(.*)$", page, re.MULTILINE)
    published = re.match(r"Published: (\S+ ± \S+)", PRESETS[name].about[0])
    assert published is not None
    assert published[1] in row
    # The readable place is the package's folder, and no copy.
    readable = ROOT / "configs" / "zoo" / f"{stem}.yaml"
    file = find_preset_file(name)
    assert file is not None
    assert readable.samefile(file)
    here, there = load_spec(readable), load_spec(file)
    if here.environment.module is not None:  # it is looked for beside each spec
        paths = {"search_paths": there.environment.search_paths}
        environment = here.environment.model_copy(update=paths)
        here = here.model_copy(update={"environment": environment})
    assert here == there


@pytest.mark.parametrize(
    "name",
    ["zoo:", "zoo:cartpole", "zoo:../zoo/cartpole_ppo", "zoo:base/ppo", "zoo:cartpole_ppo.yaml",
     "zoo:*", "cartpole_ppo", "/etc/passwd"],
)  # fmt: skip
def test_only_a_whole_name_finds_a_file(name: str) -> None:
    assert find_preset_file(name) is None


def test_a_wrong_name_has_a_nearest_one() -> None:
    assert nearest_preset("zoo:cartpole") == "zoo:cartpole_ppo"
    assert nearest_preset("zoo:montaincar_dqn") == "zoo:mountaincar_dqn"
    assert nearest_preset("Pendulum_PPO") == "zoo:pendulum_ppo"
    assert nearest_preset("zoo:q") is None


# -- a spec around a preset ---------------------------------------------------------------------


def plan_around(preset: Preset) -> tuple[str, SweepPlan]:
    starter = make_starter(preset.env_id, preset.spec.algorithm, from_preset=True)
    Path("spec.yaml").write_text(starter.text)
    return starter.text, load_plan("spec.yaml")


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
def test_the_spec_around_a_preset_differs_in_what_it_searches_alone(preset: Preset) -> None:
    if preset.env_id == PONG:
        pytest.skip("tests/integration/environments/test_atari_run.py writes and plans these")
    text, plan = plan_around(preset)
    assert plan.warnings == ()
    assert plan.trials == 16
    assert max(len(line) for line in text.splitlines()) <= 100
    written, theirs = plan.spec, preset.spec
    for key in ("environment", "algorithm", "backend", "stop", "evaluation"):
        assert getattr(written, key) == getattr(theirs, key), key
    searched = dict(distributions(written.param_space))
    fixed = {path: one for path, one in flatten(theirs.param_space) if path not in searched}
    assert dict(flatten(constants(written.param_space))) == fixed
    expected = {
        "PPO": {"lr", "gamma", "lambda_", "entropy_coeff", "num_epochs"},
        "DQN": {"lr", "gamma", "epsilon", "target_network_update_freq"},
    }
    assert {".".join(path) for path in searched} == expected[theirs.algorithm]
    for path, leaf in searched.items():
        usual = theirs.param_space[path[0]]
        assert leaf.contains(usual), path
        assert "# the preset's: " in text
        if leaf.bounds is not None:
            assert leaf.kind == "loguniform"
            assert leaf.bounds == pytest.approx((usual / 3, 3 * usual), rel=0.05)
        else:
            assert len({str(one) for one in leaf.values or ()}) == 3
    planned = plan.confirmation
    assert planned is not None
    assert planned.baseline is not None
    assert planned.baseline.name == preset.name
    assert planned.baseline.configuration == theirs.param_space


def test_a_schedule_varies_in_where_it_begins_or_ends() -> None:
    assert (
        """\
  lr:  # the preset's: [[0, 0.001], [100000, 0.0]]
    choice:
      - [[0, 0.00033], [100000, 0.0]]
      - [[0, 0.001], [100000, 0.0]]
      - [[0, 0.003], [100000, 0.0]]
"""
        in make_starter("CartPole-v1", from_preset=True).text
    )
    assert (
        """\
  epsilon:  # the preset's: [[0, 1.0], [8000, 0.04]]
    choice:
      - [[0, 1.0], [4000, 0.04]]
      - [[0, 1.0], [8000, 0.04]]
      - [[0, 1.0], [16000, 0.04]]
"""
        in make_starter("CartPole-v1", "DQN", from_preset=True).text
    )


def test_the_command_line_writes_it_and_says_what_was_published() -> None:
    runner = CliRunner()
    done = runner.invoke(cli, ["init", "LunarLander-v3", "--algorithm", "DQN", "--preset"])
    assert done.exit_code == 0, done.output
    assert done.stdout == "lunarlander-dqn.yaml\n"
    text = Path("lunarlander-dqn.yaml").read_text()
    assert "a sweep around the preset zoo:lunarlander_dqn" in text
    assert "# Published: 154.4 ± 79.2 at 100,000 env steps of LunarLander-v2, which is v3" in text
    assert load_plan("lunarlander-dqn.yaml").spec.selection.solved_at == 200


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Pendlum-v1",), ["no preset of PPO for Pendlum-v1; there are ALE/Pong-v5, Acrobot-v1, "
                           "CartPole-v1, LunarLander-v3, LunarLanderContinuous-v3, MountainCar-v0, "
                           "MountainCarContinuous-v0, Pendulum-v1", "did you mean Pendulum-v1?"]),
        (("LunarLander-v2",), ["LunarLander-v3 is the version that gymnasium has now"]),
        (("LunarLanderContinuous-v2", "PPO"), ["LunarLanderContinuous-v3 is the version"]),
        (("Pendulum-v1", "DQN"), ["no preset of DQN for Pendulum-v1; there are ALE/Pong-v5, "
                                  "Acrobot-v1, CartPole-v1, LunarLander-v3, MountainCar-v0",
                                  "PPO has one for Pendulum-v1: --algorithm PPO"]),
        (("Pendulum-v1", "SAC"), ["no preset of SAC; DQN and PPO have some", "--algorithm PPO"]),
        (("Humanoid-v5",), ["no preset of PPO for Humanoid-v5", "without --preset, init writes"]),
        (("CartPole-v1", "PPO", "rllib"), ["zoo:cartpole_ppo is for backend torch, not rllib"]),
        (("CartPole-v1", "ppo"), ["did you mean PPO"]),
    ],
)  # fmt: skip
def test_where_there_is_no_preset_one_error_says_which_there_are(
    arguments: tuple[str, ...], words: list[str]
) -> None:
    with pytest.raises(UserError) as refused:
        make_starter(*arguments, from_preset=True)
    for one in words:
        assert one in str(refused.value)


# -- a preset as the baseline -------------------------------------------------------------------

SPEC = """
environment: CartPole-v1
algorithm: PPO
param_space: {lr: {grid_search: [0.1, 0.2, 0.3]}}
stop: {num_env_steps_sampled_lifetime: 1000}
selection: {baseline: BASELINE}
"""


def plan_against(baseline: str, spec: str = SPEC) -> SweepPlan:
    Path("spec.yaml").write_text(spec.replace("BASELINE", baseline))
    return load_plan("spec.yaml")


def test_a_preset_is_a_baseline_by_its_name() -> None:
    plan = plan_against("zoo:cartpole_ppo")
    assert plan.spec.selection.baseline == "zoo:cartpole_ppo"
    planned = plan.confirmation
    assert planned is not None
    assert planned.baseline is not None
    assert planned.baseline.configuration == PRESETS["zoo:cartpole_ppo"].spec.param_space
    assert plan.to_json()["confirmation"]["baseline"] == "zoo:cartpole_ppo"
    # What the run keeps is whole: it extends nothing.
    Path("kept.yaml").write_text(planned.baseline.spec)
    assert load_spec("kept.yaml").param_space == planned.baseline.configuration


def test_a_file_of_a_preset_s_name_is_given_by_its_path() -> None:
    Path("zoo:cartpole_ppo").write_text(SPEC.replace("BASELINE", "none").replace("0.1, ", ""))
    planned = plan_against("./zoo:cartpole_ppo").confirmation
    assert planned is not None
    assert planned.baseline is not None
    assert planned.baseline.name == str(Path("zoo:cartpole_ppo").absolute())
    assert planned.baseline.configuration == {}


@pytest.mark.parametrize(
    ("baseline", "changes", "words"),
    [
        ("zoo:cartpole", {}, "there is no preset 'zoo:cartpole'; did you mean zoo:cartpole_ppo?"),
        ("zoo:x", {}, "there is no preset 'zoo:x'; there are zoo:acrobot_dqn, "),
        ("zoo:../zoo/cartpole_ppo", {}, "there is no preset"),
        ("cartpole_ppo", {}, "did you mean the preset zoo:cartpole_ppo?"),
        ("zoo/cartpole_ppo.yaml", {}, "did you mean the preset zoo:cartpole_ppo?"),
        ("zoo:acrobot_ppo", {}, "zoo:acrobot_ppo is for another environment: {id: 'Acrobot-v1'"),
        ("zoo:acrobot_ppo", {}, "in the same way; zoo:cartpole_ppo does"),
        ("zoo:cartpole_dqn", {}, "zoo:cartpole_dqn is for another algorithm: 'DQN'"),
        ("zoo:acrobot_ppo", {"CartPole-v1": "Acrobot-v1"},
         "it needs environment: {id: Acrobot-v1, normalize: {observations: true, rewards: true}}"),
        ("zoo:cartpole_ppo", {"algorithm: PPO": "algorithm: PPO\nbackend: rllib\nseeds: 1",
                              "selection: {": "selection: {finalists: 2, "},
         "zoo:cartpole_ppo is for another backend: 'torch', and the sweep is of 'rllib'"),
    ],
)  # fmt: skip
def test_a_preset_that_will_not_do_is_refused(
    baseline: str, changes: dict[str, str], words: str
) -> None:
    text = SPEC
    for old, new in changes.items():
        text = text.replace(old, new)
    with pytest.raises(SpecError) as refused:
        plan_against(baseline, text)
    assert "selection.baseline" in str(refused.value)
    assert words in str(refused.value)
