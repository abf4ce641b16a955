"""A wheel built from this tree has all that it needs, and works outside the checkout.

tests/acceptance/test_installed_quickstart.py installs it into an empty environment.
"""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path

import pytest
from wheels import ROOT, build_wheel, install, make_environment, without_checkout

SPEC = """\
environment: CartPole-v1
algorithm: PPO
seeds: 1
param_space:
  lr: {loguniform: [1.0e-4, 1.0e-2]}
  train_batch_size_per_learner: 128
  minibatch_size: 64
  num_epochs: 1
  model_config: {fcnet_hiddens: [8]}
search: {num_samples: 1}
stop: {num_env_steps_sampled_lifetime: 256}
selection: {finalists: 0}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    python = make_environment(tmp_path_factory.mktemp("environment") / "venv", sees_others=True)
    install(python, "--no-deps", "--no-index", str(wheel))
    return python.with_name("sweeper")


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    assert wheel.name.startswith("sweeper_rl-")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("sweeper/")}
    files = (path for path in (ROOT / "sweeper").rglob("*") if path.is_file())
    ours = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    assert packed == ours


def test_an_installed_wheel_plans_and_trains_outside_the_checkout(
    command: Path, tmp_path: Path
) -> None:
    def sweeper(*arguments: str) -> str:
        done = subprocess.run(
            [str(command), *arguments],
            cwd=tmp_path,
            env=without_checkout(),
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "tiny.yaml").write_text(SPEC)
    sweeper("init", "CartPole-v1", "--output", "first.yaml")
    assert json.loads(sweeper("plan", "first.yaml", "--json"))["trials"] == 30
    sweeper("init", "CartPole-v1", "--algorithm", "DQN", "--preset", "--output", "around.yaml")
    planned = json.loads(sweeper("plan", "around.yaml", "--json"))
    assert planned["confirmation"]["baseline"] == "zoo:cartpole_dqn"
    assert planned["confirmation"]["baseline_configuration"]["gamma"] == 0.99
    folder = Path(sweeper("run", "tiny.yaml").strip())
    assert folder.parent == tmp_path / "runs"
    record = json.loads((folder / "environment.json").read_text())
    assert record["versions"]["sweeper"] == sweeper("--version").split()[1]
    assert json.loads(sweeper("best", "--json"))["trial_id"] == "t0001"
