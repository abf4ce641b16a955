"""What `best --json` prints as a configuration is accepted as a param space as it is."""

from __future__ import annotations

import json
import math
from pathlib import Path

from sweeper.json_values import to_json
from sweeper.spec import load_spec

SPEC = "environment: CartPole-v1\nalgorithm: PPO\nstop: {training_iteration: 3}\n"


def test_an_infinity_comes_back_from_json(tmp_path: Path) -> None:
    configuration = {
        "grad_clip": math.inf,
        "vf_clip_param": math.inf,
        "grad_clip_by": "global_norm",
        "model_config": {"fcnet_hiddens": [64], "fcnet_activation": "relu"},
    }
    printed = json.dumps(to_json(configuration))
    assert '"grad_clip": "inf"' in printed
    path = tmp_path / "spec.yaml"
    path.write_text(f"{SPEC}param_space: {printed}\n")
    assert load_spec(path).param_space == configuration


def test_it_does_so_in_a_choice_too(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(f'{SPEC}param_space: {{grad_clip: {{grid_search: ["inf", 0.5]}}}}\n')
    (leaf,) = load_spec(path).param_space.values()
    assert list(leaf.args) == [math.inf, 0.5]
