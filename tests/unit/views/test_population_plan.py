"""What a plan says of a population."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.planning.plan import SweepPlan
from sweeper.planning.population import population_options
from sweeper.planning.warnings import find_warnings
from sweeper.spec import ExperimentSpec, load_spec
from sweeper.views.population import describe_population

SPEC = """
environment: CartPole-v1
algorithm: {algorithm}
stop: {{num_env_steps_sampled_lifetime: 100000}}
param_space:
  lr: {{loguniform: [1.0e-5, 1.0e-2]}}
  gamma: {{uniform: [0.9, 1]}}
  {more}
search: {{num_samples: 8}}
scheduler: {scheduler}
"""


def read(folder: Path, **parts: str) -> ExperimentSpec:
    given = {"algorithm": "PPO", "more": "num_epochs: 4", "scheduler": "pbt", **parts}
    (folder / "spec.yaml").write_text(SPEC.format(**given))
    return load_spec(folder / "spec.yaml")


def describe(spec: ExperimentSpec, concurrent: int = 8) -> list[str]:
    return list(describe_population(SweepPlan(spec, 8, 5, 4_000_000, concurrent)))


def test_the_plan_says_who_copies_what_may_vary_and_where_that_is_saved(tmp_path: Path) -> None:
    assert describe(read(tmp_path)) == [
        "a population of 8 trials (pbt): every 10,000 env steps the worst 2 take over the "
        "checkpoints of the best 2, all replicas together",
        "it goes on with other values of lr and gamma: times 1.2 or 0.8 or the next in a list, and "
        "with 25% drawn anew; always inside the range",
        "a checkpoint every 10,000 env steps, for the exchanges",
    ]


def test_it_names_what_goes_with_the_weights_and_who_waits(tmp_path: Path) -> None:
    more = "model_config: {vf_share_layers: {choice: [true, false]}}"
    scheduler = "{type: pbt, burn_in_period: 20000, quantile_fraction: 0.15}"
    lines = describe(read(tmp_path, more=more, scheduler=scheduler), concurrent=2)
    assert "every 10,000 env steps from 20,000 on the worst one takes over" in lines[0]
    assert lines[2] == (
        "copied with the weights and never varied: model_config.vf_share_layers (the weights "
        "belong to their network)"
    )
    assert lines[-1] == (
        "only 2 of 8 run at a time, so a trial that reaches an exchange is saved and waits until "
        "each of the others is there, too, or runs"
    )


def test_it_names_what_decides_over_what_goes_with_the_weights(tmp_path: Path) -> None:
    more = (
        "use_kl_loss: {choice: [true, false]}\n"
        "  kl_coeff: {uniform: [0.1, 1], when: {use_kl_loss: true}}\n"
        "  vf_loss_coeff: {choice: [1.0]}"
    )
    lines = describe(read(tmp_path, more=more))
    assert "with other values of lr and gamma: times" in lines[1]
    assert lines[2] == (
        "copied with the weights and never varied: use_kl_loss (kl_coeff depends on it); kl_coeff "
        "(it adapts while a trial trains, and goes on from the checkpoint); vf_loss_coeff (it has "
        "one value only)"
    )


def test_another_scheduler_is_no_population(tmp_path: Path) -> None:
    spec = read(tmp_path, scheduler="fifo")
    assert describe(spec) == []
    assert population_options(spec, population=8) is None
    assert spec.perturbation_interval is None


def test_the_exchanges_have_the_rhythm_of_the_checkpoints_and_the_other_way_round(
    tmp_path: Path,
) -> None:
    assert read(tmp_path).perturbation_interval == 10_000
    spec = read(tmp_path, scheduler="{type: pbt, perturbation_interval: 5000}")
    assert spec.perturbation_interval == spec.checkpoint.every_env_steps == 5000
    text = (tmp_path / "spec.yaml").read_text()
    (tmp_path / "spec.yaml").write_text(text + "evaluation: {}\n")
    evaluation = load_spec(tmp_path / "spec.yaml").evaluation
    assert evaluation is not None
    assert evaluation.every_env_steps == 5000


def test_its_values_go_with_the_rest_of_the_configuration(tmp_path: Path) -> None:
    spec = read(tmp_path, more="minibatch_size: {randint: [100, 4001]}")
    options = population_options(spec, population=8)
    assert options is not None
    assert options["allows"]({"lr": 1e-3, "minibatch_size": 4000})
    assert not options["allows"]({"lr": 1e-3, "minibatch_size": 4001})
    assert not options["allows"]({"lr": -1.0})


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"algorithm": "DQN", "more": "tau: 1.0"}, "fills its replay memory anew"),
        ({"scheduler": "{type: pbt, perturbation_interval: 4000}"}, "an iteration or less"),
    ],
)
def test_the_plan_warns_of_what_an_exchange_costs(
    tmp_path: Path, parts: dict[str, str], said: str
) -> None:
    spec = read(tmp_path, **parts)
    assert any(said in warning for warning in find_warnings(spec, 8))
    assert not any(said in warning for warning in find_warnings(read(tmp_path), 8))
    assert any("loses its variety" in warning for warning in find_warnings(spec, 4))
