from __future__ import annotations

from sweeper.search.configuration import merge_configuration


def test_parameters_are_merged_into_nested_constants() -> None:
    constants = {"lr": 0.1, "model_config": {"fcnet_hiddens": [64], "vf_share_layers": True}}
    merged = merge_configuration(constants, {"lr": 0.2, "model_config": {"fcnet_hiddens": [8]}})
    assert merged == {
        "lr": 0.2,
        "model_config": {"fcnet_hiddens": [8], "vf_share_layers": True},
    }
    assert constants["model_config"]["fcnet_hiddens"] == [64]
