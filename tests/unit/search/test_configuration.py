from __future__ import annotations

from sweeper.search.configuration import find_changes, merge_configuration


def test_parameters_are_merged_into_nested_constants() -> None:
    constants = {"lr": 0.1, "model_config": {"fcnet_hiddens": [64], "vf_share_layers": True}}
    merged = merge_configuration(constants, {"lr": 0.2, "model_config": {"fcnet_hiddens": [8]}})
    assert merged == {
        "lr": 0.2,
        "model_config": {"fcnet_hiddens": [8], "vf_share_layers": True},
    }
    assert constants["model_config"]["fcnet_hiddens"] == [64]


def test_changes_are_named_with_both_values() -> None:
    before = {"lr": 0.1, "model_config": {"depth": 2}, "kl_coeff": 0.2}
    after = {"lr": 0.2, "model_config": {"depth": 2}}
    assert find_changes(before, after) == {"lr": [0.1, 0.2], "kl_coeff": [0.2, None]}
