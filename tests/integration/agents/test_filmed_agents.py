"""Champions of real runs, of both backends, are filmed as they are evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import sweeper_here
from PIL import Image
from run_mutations import extract_run


@pytest.mark.parametrize("name", ["torch-ppo", "torch-dqn", "rllib-ppo", "rllib-dqn"])
def test_a_champion_is_filmed_as_it_is_evaluated(name: str, tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs", name)
    words = ("--episodes", "2", "--seed", "3", "--max-episode-steps", "40", "--trust", "--json")
    evaluated = sweeper_here("evaluate", name, *words, cwd=tmp_path)
    filmed = sweeper_here("video", name, *words, cwd=tmp_path)
    assert filmed.returncode == 0, filmed.stderr
    document = json.loads(filmed.stdout)
    (agent,) = json.loads(evaluated.stdout)["agents"]
    assert document["returns"] == pytest.approx(agent["returns"], rel=1e-6)
    assert document["lengths"] == agent["lengths"]
    trial = json.loads((run / "champion" / "agent.json").read_text())["trial_id"]
    assert Path(document["file"]).name.startswith(f"video-{name}-{trial}-seed")
    with Image.open(document["file"]) as image:
        assert image.n_frames == document["frames"] == sum(agent["lengths"]) + 2
