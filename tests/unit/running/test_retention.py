from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.journal import TrialAsked, TrialCheckpointed, TrialEnded, TrialReported
from sweeper.metrics import Objective
from sweeper.paths import CheckpointPaths, RunPaths
from sweeper.results.builder import ResultsBuilder
from sweeper.running.retention import CheckpointRetention

AGENT = {"agent.json", "weights.safetensors"}
TRAINER_FILES = CheckpointPaths.TRAINER_FILES


class Sweep:
    """Feeds events to a builder and to the retention, as a journal does."""

    def __init__(
        self,
        root: Path,
        *,
        score: str = "last",
        mode: str = "max",
        keep: int = 1,
        trials: int = 20,
        keep_trainer: bool = True,
    ) -> None:
        self.paths = RunPaths(root)
        self.builder = ResultsBuilder(root)
        self.retention = CheckpointRetention(
            self.paths,
            self.builder,
            Objective("episode_return_mean", mode, score),
            keep=keep,
            keep_trials=trials,
            keep_trainer=keep_trainer,
        )

    def tell(self, event: object) -> None:
        self.builder.apply(event)  # type: ignore[arg-type]
        self.retention(event)  # type: ignore[arg-type]

    def train(self, trial_id: str, values: list[float], *, steps: int = 100) -> None:
        self.tell(TrialAsked(0.0, trial_id, {}, {}, (0,)))
        for index, value in enumerate(values):
            metrics = {
                "training_iteration": index + 1,
                "num_env_steps_sampled_lifetime": steps * (index + 1),
                "episode_return_mean": value,
            }
            self.tell(TrialReported(1.0, trial_id, metrics))
            relative = f"trials/{trial_id}/checkpoint_{index:06d}"
            (self.paths.root / relative).mkdir(parents=True)
            for name in (*AGENT, *TRAINER_FILES):
                (self.paths.root / relative / name).write_text("x")
            self.tell(TrialCheckpointed(1.0, trial_id, relative, metrics))

    def end(self, trial_id: str, state: str = "TERMINATED") -> None:
        self.tell(TrialEnded(2.0, trial_id, state, "done"))

    def files(self, trial_id: str) -> list[set[str]]:
        folders = sorted(self.paths.trial(trial_id).iterdir())
        return [{file.name for file in folder.iterdir()} for folder in folders]

    def kept(self, trial_id: str) -> list[int]:
        return sorted(int(path.name[-6:]) for path in self.paths.trial(trial_id).iterdir())


def test_the_newest_checkpoints_of_a_trial_stay(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, keep=2)
    sweep.train("t0001", [1.0, 9.0, 3.0, 4.0])
    assert sweep.kept("t0001") == [2, 3]


@pytest.mark.parametrize(("mode", "best"), [("max", 1), ("min", 0)])
def test_with_the_best_score_the_checkpoint_that_earned_it_stays_too(
    tmp_path: Path, mode: str, best: int
) -> None:
    sweep = Sweep(tmp_path, score="best", mode=mode)
    sweep.train("t0001", [1.0, 9.0, float("nan"), 4.0])
    assert sweep.kept("t0001") == [best, 3]


def test_only_the_best_finished_trials_keep_a_checkpoint(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, trials=2)
    for trial_id, value in (("t0001", 1.0), ("t0002", 3.0), ("t0003", 2.0)):
        sweep.train(trial_id, [value])
        sweep.end(trial_id)
    assert sweep.kept("t0001") == []
    assert sweep.kept("t0002") == sweep.kept("t0003") == [0]


def test_of_equal_trials_the_one_that_selection_prefers_keeps_its_checkpoint(
    tmp_path: Path,
) -> None:
    sweep = Sweep(tmp_path, trials=1)
    for trial_id, steps in (("t0001", 200), ("t0002", 100), ("t0003", 200)):
        sweep.train(trial_id, [5.0], steps=steps)
        sweep.end(trial_id)
    assert sweep.kept("t0002") == [0]
    assert sweep.kept("t0001") == sweep.kept("t0003") == []


def test_a_pruned_trial_loses_its_checkpoint_before_any_that_ran_to_its_end(
    tmp_path: Path,
) -> None:
    sweep = Sweep(tmp_path, trials=2)
    for trial_id, value, state in (
        ("t0001", 90.0, "PRUNED"),
        ("t0002", 1.0, "TERMINATED"),
        ("t0003", 2.0, "TERMINATED"),
    ):
        sweep.train(trial_id, [value])
        sweep.end(trial_id, state)
    assert sweep.kept("t0001") == []
    assert sweep.kept("t0002") == sweep.kept("t0003") == [0]


def test_a_trial_that_can_go_on_keeps_its_checkpoint(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, trials=1)
    sweep.train("t0001", [1.0])
    sweep.end("t0001", "PAUSED")
    sweep.train("t0002", [2.0])
    for trial_id, value in (("t0003", 8.0), ("t0004", 9.0)):
        sweep.train(trial_id, [value])
        sweep.end(trial_id)
    assert sweep.kept("t0001") == sweep.kept("t0002") == sweep.kept("t0004") == [0]
    assert sweep.kept("t0003") == []


def test_a_later_launch_knows_what_earlier_ones_finished_and_spares_what_goes_on(
    tmp_path: Path,
) -> None:
    first = Sweep(tmp_path, trials=2)
    for trial_id, value in (("t0001", 1.0), ("t0002", 2.0)):
        first.train(trial_id, [value])
        first.end(trial_id)
    second = Sweep(tmp_path, trials=2)
    second.builder = second.retention.results = first.builder
    second.retention.catch_up({"t0001"})
    for trial_id, value in (("t0003", 3.0), ("t0004", 4.0)):
        second.train(trial_id, [value])
        second.end(trial_id)
    assert second.kept("t0001") == second.kept("t0003") == second.kept("t0004") == [0]
    assert second.kept("t0002") == []


@pytest.mark.parametrize("state", ["TERMINATED", "PRUNED"])
def test_of_a_finished_trial_the_agent_alone_stays_unless_the_trainer_is_kept(
    tmp_path: Path, state: str
) -> None:
    sweep = Sweep(tmp_path, keep=2, keep_trainer=False)
    sweep.train("t0001", [1.0, 2.0])
    assert sweep.files("t0001") == [{*AGENT, *TRAINER_FILES}] * 2
    sweep.end("t0001", state)
    assert sweep.files("t0001") == [AGENT] * 2
    whole = Sweep(tmp_path, keep=2, keep_trainer=True)
    whole.train("t0002", [1.0, 2.0])
    whole.end("t0002", state)
    assert whole.files("t0002") == [{*AGENT, *TRAINER_FILES}] * 2


@pytest.mark.parametrize("state", ["PAUSED", "ERROR"])
def test_a_trial_that_may_be_tried_again_keeps_its_trainer(tmp_path: Path, state: str) -> None:
    sweep = Sweep(tmp_path, keep_trainer=False)
    sweep.train("t0001", [1.0])
    sweep.end("t0001", state)
    assert sweep.files("t0001") == [{*AGENT, *TRAINER_FILES}]


def test_what_a_kill_left_untrimmed_a_later_launch_trims(tmp_path: Path) -> None:
    first = Sweep(tmp_path)
    for trial_id in ("t0001", "t0002"):
        first.train(trial_id, [1.0])
        first.end(trial_id)
    second = Sweep(tmp_path, keep_trainer=False)
    second.builder = second.retention.results = first.builder
    second.retention.catch_up({"t0001"})
    assert second.files("t0001") == [{*AGENT, *TRAINER_FILES}], "it goes on"
    assert second.files("t0002") == [AGENT]


def test_an_end_that_is_written_late_does_not_cost_the_best_trial_its_checkpoint(
    tmp_path: Path,
) -> None:
    first = Sweep(tmp_path, trials=1)
    first.train("t0001", [1.0])
    first.end("t0001")
    first.train("t0002", [2.0])
    met = first.builder.trial("t0002").last_report
    first.builder.apply(TrialReported(1.0, "t0002", met, "episode_return_mean >= 2"))
    # Killed here; its checkpoint, rewritten by nobody, is as good as before.
    first.builder.apply(TrialCheckpointed(1.0, "t0002", "trials/t0002/checkpoint_000000", met))
    first.builder.snapshot(is_live=False)
    second = Sweep(tmp_path, trials=1)
    second.builder = second.retention.results = first.builder
    second.retention.catch_up()
    second.end("t0002")
    assert second.kept("t0002") == [0]
    assert second.kept("t0001") == []
