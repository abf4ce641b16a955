"""A confirmation on real Ray: killed, resumed, and later given more seeds."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import started, sweeper_here

from sweeper.journal import ConfirmationPlanned, LaunchStarted, TrialAsked, read_journal
from sweeper.opened_run import open_run
from sweeper.states import Stage

SPEC = """
name: small
environment: CartPole-v1
algorithm: PPO
seeds: 2
param_space:
  lr: {grid_search: [1.0e-3, 1.0e-4]}
  train_batch_size_per_learner: 100
  minibatch_size: 50
  num_epochs: 1
  num_envs_per_env_runner: 2
  model_config: {fcnet_hiddens: [8]}
stop: {num_env_steps_sampled_lifetime: 3000}
checkpoint: {every_env_steps: 300}
selection: {finalists: 1, confirm_seeds: 2, confirm_episodes: 4}
tracking: null
"""


def wait_for_checkpoint(folder: Path, prefix: str) -> Path:
    """Wait until a trial whose id begins so has saved itself; returns the run's folder."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        for journal in folder.glob("runs/*/journal.jsonl"):
            text = journal.read_text()
            if '"trial_checkpointed"' in text and f"trials/{prefix}" in text:
                return journal.parent
        time.sleep(0.05)
    raise AssertionError("no checkpoint came")


def asked(root: Path) -> Iterator[TrialAsked]:
    for event in read_journal(root / "journal.jsonl"):
        if isinstance(event, TrialAsked):
            yield event


def best(folder: Path) -> dict[str, Any]:
    done = sweeper_here("best", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run whose driver was killed while its finalist was trained again."""
    folder = tmp_path_factory.mktemp("confirmation")
    (folder / "small.yaml").write_text(SPEC)
    with started("run", "small.yaml", cwd=folder) as process:
        root = wait_for_checkpoint(folder, "c0001")
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    return folder, root


def test_a_killed_confirmation_is_resumed_and_then_given_more_seeds(
    killed: tuple[Path, Path],
) -> None:
    folder, root = killed
    before = best(folder)
    assert before["verdict"] == "unconfirmed"
    assert "the confirmation is not complete" in before["verdict_text"]

    resumed = sweeper_here("resume", cwd=folder)
    assert resumed.returncode == 0, resumed.stderr
    after = best(folder)
    assert after["verdict"] in {"better", "undecided", "worse"}
    assert [len(after[name]["runs"]) for name in ("confirmation", "baseline")] == [2, 2]
    assert after["confirmation"]["seeds"] == [0, 1]
    # The search is as it was, and its trials are not mixed with the others.
    found = open_run(root)
    assert [one.trial_id for one in found.results.trials] == ["t0001", "t0002"]
    assert [one.of for one in found.results.retrained] == [after["trial_id"], "baseline"]
    assert len(json.loads(sweeper_here("results", "--json", cwd=folder).stdout)) == 2
    rows = json.loads(
        sweeper_here("results", "--json", "--stage", "confirmation", cwd=folder).stdout
    )
    assert [(row["trial_id"], row["of"]) for row in rows] == [
        ("c0001", after["trial_id"]),
        ("c0002", "baseline"),
    ]
    agent = json.loads((root / "champion" / "agent.json").read_text())
    assert (agent["trial_id"], agent["retrained_as"]) == (after["trial_id"], "c0001")
    assert after["evaluation"]["episodes"] == 4
    # The optimiser's state went once the trials had ended.
    checkpoints = [path for path in (root / "trials" / "c0001").iterdir() if path.is_dir()]
    assert [(path / "trainer.json").exists() for path in checkpoints] == [False]

    again = sweeper_here("resume", cwd=folder)
    assert "nothing left to do" in again.stderr

    more = sweeper_here("confirm", "--seeds", "4", cwd=folder)
    assert more.returncode == 0, more.stderr
    confirmed = best(folder)
    assert confirmed["confirmation"]["runs"][:2] == after["confirmation"]["runs"]
    assert [len(confirmed[name]["runs"]) for name in ("confirmation", "baseline")] == [4, 4]
    events = list(asked(root))
    assert [(one.trial_id, one.of, one.seeds) for one in events if one.of] == [
        ("c0001", after["trial_id"], (0, 1)),
        ("c0002", "baseline", (0, 1)),
        ("c0003", after["trial_id"], (2, 3)),
        ("c0004", "baseline", (2, 3)),
    ]
    journal = list(read_journal(root / "journal.jsonl"))
    plans = [event for event in journal if isinstance(event, ConfirmationPlanned)]
    assert [plan.seeds for plan in plans] == [(0, 1), (0, 1, 2, 3)]
    launches = [event for event in journal if isinstance(event, LaunchStarted)]
    assert [launch.stage for launch in launches] == [
        Stage.SEARCH,
        Stage.CONFIRMATION,
        Stage.CONFIRMATION,
    ]


def test_what_can_not_be_confirmed_is_said(killed: tuple[Path, Path]) -> None:
    folder, _ = killed
    for option, words in (
        (("--trial", "t0009"), "has no trial t0009"),
        (("--finalists", "3"), "must not be more than the trials"),
        (("--seeds", "2"), "some were trained on 4 already"),
    ):
        done = sweeper_here("confirm", *option, cwd=folder)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
