"""A sweep by TPE on Ray: the same sequence again, also across a kill, and its Optuna journal."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from command_line import sweeper_here
from decisions import check_decisions
from killed_sweeps import kill_when

import sweeper
from sweeper.api import open_run
from sweeper.journal import read_journal
from sweeper.opened_run import Run
from sweeper.results.builder import ResultsBuilder
from sweeper.running.learners import Learners
from sweeper.schedulers.fifo import FIFOScheduler
from sweeper.search.sampling.search import SamplerSearch

SPEC = """
name: search
environment: CartPole-v1
algorithm: PPO
seeds: 2
param_space:
  lr: {loguniform: [1.0e-4, 1.0e-2]}
  gamma: {quniform: [0.9, 0.99, 0.01]}
  num_epochs: {randint: [1, 4]}
  use_kl_loss: {choice: [true, false]}
  kl_coeff: {uniform: [0.1, 1.0], when: {use_kl_loss: true}}
  train_batch_size_per_learner: 64
  minibatch_size: 64
  model_config: {fcnet_hiddens: {choice: [[4], [8, 8]]}}
search: {algorithm: tpe, num_samples: 7, n_startup_trials: 3, max_concurrent: 1}
stop: {num_env_steps_sampled_lifetime: 256}
selection: {finalists: 0}
tracking: null
"""


def asked(run: Run) -> list[Any]:
    return [trial.parameters for trial in run.results.trials]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Run:
    """A sweep that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "spec.yaml").write_text(SPEC)
    done = sweeper_here("run", "spec.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return open_run(Path(done.stdout.strip()))


def test_every_configuration_is_new_and_conditions_hold(whole: Run) -> None:
    assert len({repr(one) for one in asked(whole)}) == 7
    assert all(("kl_coeff" in one) == one["use_kl_loss"] for one in asked(whole))


def test_the_run_is_an_optuna_study_and_so_is_its_log(whole: Run, tmp_path: Path) -> None:
    study = whole.to_optuna(tmp_path / "again.log")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 7
    assert study.best_value == whole.selection.score
    assert study.best_trial.user_attrs["trial_id"] == whole.best_trial
    from optuna import load_study
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    for path in (whole.paths.optuna, tmp_path / "again.log"):
        storage = JournalStorage(JournalFileBackend(str(path)))
        logged = load_study(study_name=whole.paths.root.name, storage=storage).trials
        assert [(one.params, one.value, one.intermediate_values) for one in logged] == [
            (one.params, one.value, one.intermediate_values) for one in study.trials
        ]


def test_a_killed_sweep_goes_on_with_the_same_sequence(whole: Run, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    paths = kill_when(lambda journal: journal.count('"trial_asked"') >= 5, cwd=tmp_path)
    paths.optuna.unlink(missing_ok=True)
    done = sweeper_here("resume", paths.root.name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    resumed = open_run(paths.root)
    assert asked(resumed) == asked(whole)
    assert resumed.selection.score == whole.selection.score
    assert paths.optuna.is_file()


def run_as_a_notebook_does(folder: Path, *options: str) -> Run:
    """Run ``spec.yaml`` beside a running event loop, as a cell is, and in a thread of its own."""

    async def cell() -> Run:
        return sweeper.run(folder / "spec.yaml", [f"storage={folder / 'runs'}", *options])

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, cell()).result()


@pytest.mark.acceptance
def test_more_samples_go_on_where_a_notebook_s_sweep_of_two_trials_at_a_time_ended(
    tmp_path: Path, ray_cluster: None
) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    options = ["search.max_concurrent=2", "search.num_samples=4", "scheduler=asha"]
    before = run_as_a_notebook_does(tmp_path, *options)
    check_decisions(before.paths)
    root = before.paths.root
    done = sweeper_here("resume", root.name, "--num-samples", "6", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = asked(open_run(root))
    assert (len(asked(before)), after[:4]) == (4, asked(before))
    assert len({repr(one) for one in after}) == 6


@pytest.mark.acceptance
def test_the_generations_of_cmaes_are_known_again_from_the_journal_of_two_launches(
    tmp_path: Path, ray_cluster: None
) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    search = "{algorithm: cmaes, popsize: 4, max_concurrent: 2, num_samples: 9}"
    before = run_as_a_notebook_does(tmp_path, f"search={search}")
    root = before.paths.root
    done = sweeper_here("resume", root.name, "--num-samples", "14", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = open_run(root)
    assert run.spec is not None
    results = run.results
    again = SamplerSearch(
        run.spec.param_space,
        sampler="cmaes",
        num_samples=20,
        seed=run.spec.search.seed,
        asked=results.searched,
        known=results.known,
        objective=run.spec.objective,
        options=run.spec.search.given_options(),
    )
    builder = ResultsBuilder(root)
    for event in read_journal(run.paths.journal):
        builder.apply(event)
    Learners(again, FIFOScheduler(run.spec.objective), run.spec.objective, builder).replay(
        run.paths
    )
    assert again.ask(15) is not None
    (cell,) = again._cells.values()
    trials = cell.picture.study.get_trials(deepcopy=False)
    generations = [trial.system_attrs.get("cma:generation") for trial in trials]
    first = next(n for n, one in enumerate(generations) if one is not None)
    assert first < 6
    assert None not in generations[first:], "what is asked again is what was asked"
    assert max(generations[first:]) >= 1
