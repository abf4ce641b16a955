from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import sweeper_here

from sweeper.checkpoint_marker import mark_complete
from sweeper.errors import SpecError, UserError
from sweeper.journal import (
    Event,
    Journal,
    JournalError,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
)
from sweeper.paths import RunPaths
from sweeper.relocation import relocate
from sweeper.results.builder import ResultsBuilder
from sweeper.running.resume.extension import (
    Extension,
    complete_environment,
    extend_spec,
    load_recorded_spec,
)
from sweeper.running.resume.remaining import describe_missing
from sweeper.running.resume.state import (
    History,
    LaunchState,
    continue_trial,
    find_remaining,
    read_history,
)
from sweeper.spec import ExperimentSpec, dump_spec, load_spec
from sweeper.spec.schedulers import Asha, Scheduler
from sweeper.spec.sections import Plateau

STOP = {"num_env_steps_sampled_lifetime": 300}
MET = "num_env_steps_sampled_lifetime >= 300"
SPEC = """
name: tiny
environment: CartPole-v1
algorithm: PPO
backend: rllib
param_space:
  lr: {uniform: [0.1, 0.2]}
search: {num_samples: 4}
stop: {num_env_steps_sampled_lifetime: 300, episode_return_mean: 100}
budget: {env_steps: 1000}
tracking: null
"""


class RunFolder:
    """A run folder whose journal is written by hand; checkpoints are really there."""

    def __init__(self, root: Path) -> None:
        self.paths = RunPaths(root)
        self.events: list[Event] = []
        self.time = 0.0

    def tell(self, make: Callable[..., Event], *arguments: Any, **named: Any) -> None:
        self.time += 1.0
        self.events.append(make(self.time, *arguments, **named))

    def launch(self, number: int = 1, spec: str = "", **changes: Any) -> None:
        self.tell(LaunchStarted, number, 1, ("sweeper",), spec=spec, changes=changes)

    def begin(self, trial_id: str) -> None:
        self.tell(TrialAsked, trial_id, {"gamma": 0.9, "lr": 0.1}, {"lr": 0.1}, (0,))
        self.tell(TrialStarted, trial_id, "")

    def report(
        self, trial_id: str, iteration: int, stopped_by: str | None = None, **more: Any
    ) -> None:
        row = {
            "training_iteration": iteration,
            "num_env_steps_sampled_lifetime": 100 * iteration,
            "time_total_s": 2.0 * iteration,
        }
        self.tell(TrialReported, trial_id, row, stopped_by, **more)

    def save(self, trial_id: str, iteration: int, index: int) -> None:
        relative = f"trials/{trial_id}/checkpoint_{index:06d}"
        self.leave(relative)
        self.tell(TrialCheckpointed, trial_id, relative, {"training_iteration": iteration})

    def leave(self, relative: str, *, is_whole: bool = True) -> None:
        folder = self.paths.root / relative
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ("trainer.json" if is_whole else "half")).write_text("{}")

    def end(self, trial_id: str, state: str = "TERMINATED", reason: str = MET) -> None:
        self.tell(TrialEnded, trial_id, state, reason)

    def finish(self, trial_id: str) -> None:
        self.begin(trial_id)
        self.report(trial_id, 3, MET)
        self.save(trial_id, 3, 0)
        self.end(trial_id)

    def left(self, stop: dict[str, float] | None = None, **options: Any) -> LaunchState:
        history, builder = self.read()
        return find_remaining(history, builder.snapshot(is_live=False), stop or STOP, **options)

    def read(self) -> tuple[History, ResultsBuilder]:
        self.paths.journal.unlink(missing_ok=True)
        journal = Journal(self.paths.journal)
        for event in self.events:
            journal.append(event)
        journal.close()
        builder = ResultsBuilder(self.paths.root)
        return read_history(self.paths, [builder.apply]), builder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_finished_trials_stay_and_interrupted_ones_go_on_from_their_last_checkpoint(
    run: RunFolder,
) -> None:
    run.launch()
    run.finish("t0001")
    run.begin("t0002")
    run.report("t0002", 1)
    run.save("t0002", 1, 0)
    run.report("t0002", 2)
    run.begin("t0003")
    state = run.left()
    assert (state.launch, state.asked, state.ends, state.lost) == (2, 3, (), ())
    second, third = state.continuations
    assert second.trial_id == "t0002"
    assert second.parameters == {"lr": 0.1}
    assert second.checkpoint == run.paths.trial("t0002") / "checkpoint_000000"
    assert second.metrics == {"training_iteration": 1}
    assert second.last_report["time_total_s"] == 2.0
    assert (third.checkpoint, third.last_checkpoint, third.last_report) == (None, -1, {})


def test_a_new_trial_takes_no_id_that_another_had(run: RunFolder) -> None:
    run.launch()
    for trial_id in ("t0001", "t0003"):  # an earlier version's journal has lost the second
        run.finish(trial_id)
    assert run.left().asked == 3


def test_a_trial_whose_configuration_is_lost_keeps_the_run_from_going_on(run: RunFolder) -> None:
    run.launch()
    run.finish("t0001")
    for event in (TrialStarted, TrialReported, TrialEnded):
        kept = [one for one in run.events if not isinstance(one, TrialAsked)]
        run.events = [kept[0], *(one for one in kept[1:] if isinstance(one, event))]
        with pytest.raises(JournalError, match="configuration of t0001 is missing: resuming could"):
            run.read()
        run.events = []
        run.launch()
        run.finish("t0001")


def test_failed_trials_go_on_only_when_asked(run: RunFolder) -> None:
    run.launch()
    run.begin("t0001")
    run.end("t0001", "ERROR", "crashed")
    assert run.left().continuations == ()
    assert [again.trial_id for again in run.left(retry_errored=True).continuations] == ["t0001"]


def test_a_trial_killed_after_its_last_checkpoint_gets_the_end_that_nobody_wrote(
    run: RunFolder,
) -> None:
    run.launch()
    run.begin("t0001")
    run.report("t0001", 3, MET)
    run.save("t0001", 3, 0)
    state = run.left()
    assert state.continuations == ()
    assert [(end.trial_id, end.state, end.reason) for end in state.ends] == [
        ("t0001", "TERMINATED", MET)
    ]


def test_a_trial_killed_after_the_scheduler_stopped_it_gets_the_end_that_nobody_wrote(
    run: RunFolder,
) -> None:
    run.launch()
    run.begin("t0001")
    run.report("t0001", 1)
    run.save("t0001", 1, 0)
    run.report("t0001", 2, decision={"action": "stop", "reason": "1 < 2", "rung": 1})
    state = run.left()
    assert state.continuations == ()
    assert [(end.trial_id, end.state, end.reason) for end in state.ends] == [
        ("t0001", "PRUNED", "1 < 2")
    ]


def test_a_trial_killed_before_its_last_checkpoint_goes_on_so_that_its_score_has_an_agent(
    run: RunFolder,
) -> None:
    run.launch()
    run.begin("t0001")
    run.report("t0001", 2)
    run.save("t0001", 2, 4)
    run.report("t0001", 3, MET)
    state = run.left()
    assert state.ends == ()
    (again,) = state.continuations
    assert again.metrics == {"training_iteration": 2}
    assert again.last_report["training_iteration"] == 2


def test_no_checkpoint_is_overwritten_and_what_a_kill_left_half_written_is_deleted(
    run: RunFolder,
) -> None:
    run.launch()
    run.begin("t0001")
    run.report("t0001", 1)
    run.save("t0001", 1, 6)
    run.leave("trials/t0001/checkpoint_000007", is_whole=False)
    (again,) = run.left().continuations
    assert again.last_checkpoint == 7
    assert [path.name for path in run.paths.trial("t0001").iterdir()] == ["checkpoint_000006"]


def test_a_checkpoint_that_is_gone_or_damaged_is_passed_over(run: RunFolder) -> None:
    run.launch()
    run.begin("t0001")
    for iteration in (1, 2):
        run.report("t0001", iteration)
        run.save("t0001", iteration, iteration)
    (run.paths.trial("t0001") / "checkpoint_000002" / "trainer.json").unlink()
    (again,) = run.left().continuations
    assert again.metrics == {"training_iteration": 1}


def damage_checkpoint(run: RunFolder, trial_id: str, index: int) -> Path:
    """Mark a checkpoint complete, then cut a file of it short."""
    folder = run.paths.trial(trial_id) / f"checkpoint_{index:06d}"
    (folder / "weights").write_bytes(b"x" * 100)
    mark_complete(folder)
    (folder / "weights").write_bytes(b"x" * 99)
    return folder


def test_a_half_written_checkpoint_is_set_aside_and_the_one_before_taken(run: RunFolder) -> None:
    run.launch()
    run.begin("t0001")
    for iteration in (1, 2):
        run.report("t0001", iteration)
        run.save("t0001", iteration, iteration)
    damaged = damage_checkpoint(run, "t0001", 2)
    (again,) = run.left().continuations
    assert again.checkpoint == run.paths.trial("t0001") / "checkpoint_000001"
    assert again.last_checkpoint == 2
    assert describe_missing(again) == (
        "checkpoint_000002 is damaged (weights has 99 of 100 bytes), now damaged_checkpoint_000002"
    )
    assert not damaged.exists()
    assert (damaged.with_name("damaged_checkpoint_000002") / "weights").is_file()
    (later,) = run.left().continuations  # what was set aside stays
    assert later.checkpoint == again.checkpoint
    assert (damaged.with_name("damaged_checkpoint_000002") / "weights").is_file()


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_marker_that_names_no_file_is_damage(run: RunFolder, name: str) -> None:
    run.launch()
    run.begin("t0001")
    for iteration in (1, 2):
        run.report("t0001", iteration)
        run.save("t0001", iteration, iteration)
    folder = run.paths.trial("t0001") / "checkpoint_000002"
    (folder / "complete.json").write_text(json.dumps({"files": {name: [1, 2]}}))
    (again,) = run.left().continuations
    assert again.checkpoint == run.paths.trial("t0001") / "checkpoint_000001"
    assert "(complete.json: it is damaged), now damaged_checkpoint_000002" in str(
        describe_missing(again)
    )


def test_a_trial_whose_only_checkpoint_is_damaged_starts_over(run: RunFolder) -> None:
    run.launch()
    run.begin("t0001")
    run.report("t0001", 1)
    run.save("t0001", 1, 0)
    run.end("t0001", "ERROR", "crashed")
    damage_checkpoint(run, "t0001", 0)
    (again,) = run.left(retry_errored=True).continuations
    assert (again.checkpoint, again.missing, again.last_checkpoint) == (
        None,
        "checkpoint_000000",
        0,
    )


def test_checkpoints_of_trials_that_stay_as_they_are_are_not_set_aside(run: RunFolder) -> None:
    run.launch()
    run.finish("t0001")
    damaged = damage_checkpoint(run, "t0001", 0)
    assert run.left().continuations == ()
    assert damaged.is_dir()


def test_a_retry_goes_on_from_where_the_journal_says(run: RunFolder) -> None:
    run.launch()
    run.begin("t0001")
    run.report("t0001", 1)
    run.save("t0001", 1, 0)
    run.report("t0001", 2)
    run.tell(TrialRetried, "t0001", "boom")
    _, builder = run.read()
    again = continue_trial(builder.trial("t0001"), run.paths)
    assert again.metrics == {"training_iteration": 1}


def test_a_later_stop_has_finished_trials_go_on_where_their_checkpoint_was_kept(
    run: RunFolder,
) -> None:
    run.launch()
    run.finish("t0001")
    run.finish("t0002")
    run.finish("t0003")
    (run.paths.trial("t0002") / "checkpoint_000000" / "trainer.json").unlink()
    shutil.rmtree(run.paths.trial("t0003") / "checkpoint_000000")
    run.tell(LaunchEnded, "finished")
    later: dict[str, float] = {"num_env_steps_sampled_lifetime": 500}
    state = run.left(later, is_stop_extended=True)
    assert [again.trial_id for again in state.continuations] == ["t0001"]
    assert (state.trimmed, state.lost) == (("t0002",), ("t0003",))
    assert run.left(later).continuations == ()


def test_what_an_interrupted_extension_did_not_come_to_goes_on_at_the_next_launch(
    run: RunFolder,
) -> None:
    later: dict[str, float] = {"num_env_steps_sampled_lifetime": 500}
    run.launch()
    run.finish("t0001")
    run.finish("t0002")
    run.tell(LaunchEnded, "finished")
    run.launch(2, **{"stop.num_env_steps_sampled_lifetime": 500})
    assert [again.trial_id for again in run.left(later).continuations] == ["t0001", "t0002"]
    run.tell(TrialStarted, "t0001", "")
    run.report("t0001", 5, "num_env_steps_sampled_lifetime >= 500")
    run.save("t0001", 5, 1)
    run.end("t0001", reason="num_env_steps_sampled_lifetime >= 500")
    run.tell(LaunchEnded, "interrupted")
    run.launch(3)  # of which nothing is left
    assert [again.trial_id for again in run.left(later).continuations] == ["t0002"]
    run.launch(4, **{"search.num_samples": 3})
    assert [again.trial_id for again in run.left(later).continuations] == ["t0002"]


def test_a_later_stop_leaves_trials_that_ended_on_a_plateau_as_they_are(run: RunFolder) -> None:
    run.launch()
    run.begin("t0001")
    run.report("t0001", 3, "plateau of loss (std < 0.01 over 4 values)")
    run.save("t0001", 3, 0)
    run.end("t0001", reason="plateau of loss (std < 0.01 over 4 values)")
    run.tell(LaunchEnded, "finished")
    state = run.left({"num_env_steps_sampled_lifetime": 500}, is_stop_extended=True)
    assert (state.continuations, state.lost) == ((), ())


def test_the_time_spent_is_that_of_all_launches_without_their_start_up(run: RunFolder) -> None:
    run.launch()  # at 1
    run.time = 100.0
    run.begin("t0001")  # from 101
    run.time = 160.0
    run.tell(LaunchEnded, "interrupted")  # at 161
    run.time = 5000.0
    run.launch(2)
    run.time = 5100.0
    run.report("t0001", 1)  # from 5101
    run.time = 5108.0
    run.report("t0001", 2)  # at 5109
    history, _ = run.read()
    assert history.launches == 2
    assert history.spent_s == 60.0 + 8.0
    run.launch(3)
    run.end("t0001")  # which the launch before was killed in the middle of
    run.time = 6000.0
    run.tell(TrialAsked, "t0002", {}, {}, (0,))
    assert run.read()[0].spent_s == 68.0


def test_a_damaged_journal_is_not_gone_on_with(run: RunFolder) -> None:
    run.launch()
    run.finish("t0001")
    run.read()
    lines = run.paths.journal.read_bytes().split(b"\n")
    lines[1] = lines[1][:9]
    run.paths.journal.write_bytes(b"\n".join(lines))
    with pytest.raises(JournalError, match="damaged line"):
        read_history(run.paths)


@pytest.fixture
def spec(run: RunFolder) -> ExperimentSpec:
    run.paths.spec.write_text(SPEC)
    return load_spec(run.paths.spec)


def test_the_recorded_spec_is_the_one_that_counts(run: RunFolder, spec: ExperimentSpec) -> None:
    history = History(1, (dump_spec(spec),))
    assert load_recorded_spec(run.paths, history) == spec
    run.paths.spec.unlink()
    assert load_recorded_spec(run.paths, history) == spec
    assert load_spec(run.paths.spec) == spec, "it is written anew"


def test_a_changed_spec_is_refused_with_the_difference(
    run: RunFolder, spec: ExperimentSpec
) -> None:
    history = History(1, (dump_spec(spec),))
    run.paths.spec.write_text(SPEC.replace("0.2]", "0.3]"))
    with pytest.raises(UserError, match="was changed") as caught:
        load_recorded_spec(run.paths, history)
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert any(line.startswith("-") and "0.2" in line for line in lines)
    assert any(line.startswith("+") and "0.3" in line for line in lines)


def test_a_comment_is_no_change(run: RunFolder, spec: ExperimentSpec) -> None:
    run.paths.spec.write_text("# tried at night\n" + SPEC)
    assert load_recorded_spec(run.paths, History(1, (dump_spec(spec),))) == spec


def test_an_extension_whose_file_was_not_written_any_more_counts(
    run: RunFolder, spec: ExperimentSpec
) -> None:
    later, _ = extend_spec(run.paths, spec, Extension(num_samples=9), 0.0)
    history = History(2, (dump_spec(spec), dump_spec(later)))
    assert load_recorded_spec(run.paths, history) == later


def test_an_extension_changes_what_it_names_and_says_so(
    run: RunFolder, spec: ExperimentSpec
) -> None:
    extension = Extension(
        num_samples=6, time_s=30.0, stop={"num_env_steps_sampled_lifetime": 900.0}
    )
    extended, changes = extend_spec(run.paths, spec, extension, 12.5)
    assert changes == {
        "search.num_samples": 6,
        "budget.time_s": 42.5,
        "stop.num_env_steps_sampled_lifetime": 900.0,
    }
    assert extended.search.num_samples == 6
    assert extended.budget.time_s == 42.5
    assert extended.stop == {"num_env_steps_sampled_lifetime": 900, "episode_return_mean": 100}
    assert extended.param_space == spec.param_space


def test_a_run_goes_on_on_another_cluster_or_here_and_nothing_else_counts_as_changed(
    run: RunFolder, spec: ExperimentSpec
) -> None:
    there, changes = extend_spec(run.paths, spec, Extension(address="10.0.0.9:6379"), 0.0)
    assert (there.ray.address, changes) == ("10.0.0.9:6379", {"ray.address": "10.0.0.9:6379"})
    assert there.model_copy(update={"ray": spec.ray}) == spec
    here, changes = extend_spec(run.paths, there, Extension(address="local"), 0.0)
    assert (here, changes) == (spec, {"ray.address": None})
    assert extend_spec(run.paths, here, Extension(address="local"), 0.0) == (spec, {})
    with pytest.raises(UserError, match=r"ray\.address: must be null \(local\), auto or host:port"):
        extend_spec(run.paths, spec, Extension(address="head"), 0.0)


@pytest.mark.parametrize("max_t", [300, 200])
def test_a_trial_s_length_in_the_scheduler_is_extended_with_that_in_stop(
    run: RunFolder, spec: ExperimentSpec, max_t: int
) -> None:
    scheduler = Scheduler(type="asha").with_options(Asha(max_t=max_t))
    run.paths.spec.write_text(dump_spec(spec.model_copy(update={"scheduler": scheduler})))
    bounded = load_spec(run.paths.spec)
    assert bounded.stop["num_env_steps_sampled_lifetime"] == max_t
    extension = Extension(stop={"num_env_steps_sampled_lifetime": 900.0})
    extended, changes = extend_spec(run.paths, bounded, extension, 0.0)
    assert changes == {"stop.num_env_steps_sampled_lifetime": 900.0, "scheduler.max_t": 900}
    assert extended.stop["num_env_steps_sampled_lifetime"] == 900
    longer = bounded.scheduler.options.model_copy(update={"max_t": 900})
    assert extended.scheduler.options == longer
    same = Extension(stop={"num_env_steps_sampled_lifetime": float(max_t)})
    assert extend_spec(run.paths, bounded, same, 0.0) == (bounded, {})
    fewer = Extension(stop={"num_env_steps_sampled_lifetime": 100.0})
    with pytest.raises(UserError, match="is less than the run has already"):
        extend_spec(run.paths, bounded, fewer, 0.0)


def test_a_budget_is_extended_by_its_name(run: RunFolder, spec: ExperimentSpec) -> None:
    extension = Extension(stop={"budget.env_steps": 2e6})
    extended, changes = extend_spec(run.paths, spec, extension, 0.0)
    assert changes == {"budget.env_steps": 2_000_000}
    assert extended.budget.env_steps == 2_000_000
    assert extended.stop == spec.stop
    same = Extension(stop={"budget.env_steps": 1000.0})
    assert extend_spec(run.paths, spec, same, 0.0) == (spec, {})


def test_what_is_wrong_with_a_recorded_spec_names_the_runs_own_file(
    run: RunFolder, spec: ExperimentSpec
) -> None:
    broken = dump_spec(spec).replace("algorithm: PPO", "algorithm: PPPO")
    with pytest.raises(SpecError) as caught:
        load_recorded_spec(run.paths, History(1, (broken,)))
    line = broken.splitlines().index("algorithm: PPPO") + 1
    assert str(caught.value.problems[0]).startswith(f"{run.paths.spec}:{line}: algorithm: ")
    with pytest.raises(SpecError) as caught:
        extend_spec(run.paths, spec, Extension(num_samples=10**10), 0.0)
    assert str(caught.value).startswith("command line: search.num_samples: at most 1,000,000")


def test_an_environment_recorded_without_a_version_goes_on_with_the_newest(
    run: RunFolder, spec: ExperimentSpec
) -> None:
    assert complete_environment(spec) == (spec, None)
    unnamed = spec.environment.model_copy(update={"id": "CartPole"})
    old = spec.model_copy(update={"environment": unnamed})
    completed, note = complete_environment(old)
    assert completed == spec
    assert note is not None
    assert "CartPole has no version in its name; it goes on with CartPole-v1" in note
    unknown = spec.environment.model_copy(update={"id": "Nowhere", "module": "no_such_module"})
    lost = spec.model_copy(update={"environment": unknown})
    assert complete_environment(lost) == (lost, None)


def test_what_an_extension_leaves_as_it_is_is_no_change(
    run: RunFolder, spec: ExperimentSpec
) -> None:
    assert extend_spec(run.paths, spec, Extension(num_samples=4), 3.0) == (spec, {})


def test_a_run_is_resumed_into_the_storage_that_it_lies_in_now(
    run: RunFolder, spec: ExperimentSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert Path(relocate(run.paths, spec).storage) == run.paths.root.parent
    at_home = spec.model_copy(update={"storage": str(run.paths.root.parent)})
    assert relocate(run.paths, at_home) is at_home


@pytest.mark.parametrize(
    ("extension", "message"),
    [
        (Extension(num_samples=3), "--num-samples 3 is less than the run has already: 4"),
        (Extension(time_s=0.0), "--time is in seconds, above 0"),
        (Extension(stop={"episode_return_mean": 50.0}), "is less than .*: 100"),
        (Extension(stop={"training_iteration": 5.0}), "no such criterion; it has: num_env_steps"),
        (Extension(stop={"budget.trials": 5.0}), "no such budget; it has: budget.env_steps"),
        (Extension(stop={"budget.env_steps": 999.0}), "999 is less than the run has already: 1000"),
        (Extension(stop={"budget.env_steps": 1e3 + 0.5}), "must be a whole number; found 1000.5"),
        (Extension(stop={"budget.time_s": 5.0}), "more time with --time SECONDS"),
    ],
)
def test_an_extension_that_takes_away_or_names_nothing_is_a_mistake(
    run: RunFolder, spec: ExperimentSpec, extension: Extension, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        extend_spec(run.paths, spec, extension, 0.0)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, 10**400, -(10**400)])
@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("num_samples", "--num-samples"),
        ("time_s", "--time"),
        ("num_env_steps_sampled_lifetime", "--stop num_env_steps_sampled_lifetime"),
        ("budget.trials", "--stop budget.trials"),
    ],
)
def test_no_number_without_an_end_is_given(name: str, option: str, number: float) -> None:
    given = {name: number} if name in ("num_samples", "time_s") else {"stop": {name: number}}
    with pytest.raises(UserError, match=f"^{option}: must be a finite number; found "):
        Extension(**given)


@pytest.mark.parametrize("number", ["inf", "-Infinity", "nan", "1e999"])
@pytest.mark.parametrize("option", ["--time={}", "--stop=num_env_steps_sampled_lifetime={}"])
def test_the_command_refuses_it_before_it_looks_for_the_run(
    option: str, number: str, tmp_path: Path
) -> None:
    done = sweeper_here("resume", option.format(number), cwd=tmp_path)
    assert done.returncode == 2
    assert "must be a finite number; found " in done.stderr


@pytest.mark.parametrize(
    ("extension", "option"),
    [
        (Extension(num_samples=9), "--num-samples 9"),
        (Extension(stop={"budget.trials": 5.0}), r"--stop budget\.trials 5"),
    ],
)
def test_nobody_joins_a_population_that_has_begun(
    run: RunFolder, spec: ExperimentSpec, extension: Extension, option: str
) -> None:
    changes = ["scheduler=pbt", "budget.trials=4", "search.num_samples=6"]
    population = load_spec(run.paths.spec, changes, text=dump_spec(spec))
    with pytest.raises(UserError, match=f"{option}: the trials of pbt are compared .* new run"):
        extend_spec(run.paths, population, extension, 0.0)
    same = Extension(num_samples=6, stop={**STOP, "budget.trials": 4.0})
    assert extend_spec(run.paths, population, same, 0.0) == (population, {})
    longer = Extension(stop={"num_env_steps_sampled_lifetime": 900.0})
    extended, changes_made = extend_spec(run.paths, population, longer, 0.0)
    assert list(changes_made) == ["stop.num_env_steps_sampled_lifetime"]
    assert extended.perturbation_interval == population.perturbation_interval


def test_a_plateau_is_kept_by_an_extension_and_not_extended(
    run: RunFolder, spec: ExperimentSpec
) -> None:
    flat = spec.model_copy(update={"plateau": Plateau(metric="episode_return_mean", std=0.5)})
    extended, _ = extend_spec(run.paths, flat, Extension(num_samples=9), 0.0)
    assert extended.plateau == flat.plateau
    with pytest.raises(UserError, match=r"--stop plateau\.std: a plateau is not extended"):
        extend_spec(run.paths, flat, Extension(stop={"plateau.std": 1.0}), 0.0)
