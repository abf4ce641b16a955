"""A run as Optuna's own tools show it: all of optuna.visualization, and optuna-dashboard."""

from __future__ import annotations

import json
import warnings
from contextlib import closing
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna import visualization
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna_dashboard import wsgi
from run_folders import make_run

from sweeper.journal import Journal, TrialAsked, TrialEnded, TrialReported, TrialStarted
from sweeper.metrics import ENV_STEPS, ITERATION
from sweeper.opened_run import Run, open_run
from sweeper.states import TrialState

SPEC = """
name: made
environment: CartPole-v1
algorithm: PPO
backend: torch
param_space:
  lr: {loguniform: [0.01, 1]}
  gamma: {uniform: [0.9, 1]}
search: {num_samples: 6}
stop: {num_env_steps_sampled_lifetime: 1000}
tracking: null
"""
RETURN = "episode_return_mean"
ENDS = ["TERMINATED", "ERROR", "PRUNED", "TERMINATED", "TERMINATED", "RUNNING"]
# Of several objectives, which no run has.
OTHERS = {"plot_pareto_front", "plot_hypervolume_history"}
PLOTS = sorted({name for name in visualization.__all__ if name.startswith("plot_")} - OTHERS)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    paths = make_run(tmp_path / "runs", "made", [], spec=SPEC, reason=None)
    with closing(Journal(paths.journal)) as journal:
        for number, end in enumerate(ENDS, start=1):
            trial_id, now = f"t{number:04d}", 1e9 + number
            point = {"lr": number / 10, "gamma": 0.9 + number / 100}
            journal.append(TrialAsked(now, trial_id, point, point, (0,)))
            journal.append(TrialStarted(now, trial_id, "node"))
            for iteration in (1, 2):
                value = float(10 * number + iteration)
                row = {ITERATION: iteration, ENV_STEPS: 500 * iteration, RETURN: value}
                journal.append(TrialReported(now, trial_id, row))
            if end != "RUNNING":
                journal.append(TrialEnded(now + 1, trial_id, TrialState(end), "reason"))
    return open_run(paths.root)


@pytest.mark.parametrize("name", PLOTS)
def test_each_of_optuna_s_plots_draws_the_study(name: str, run: Run) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        figure = getattr(visualization, name)(run.to_optuna())
    assert figure.to_dict()["data"], name


def test_the_study_has_every_trial_with_its_state_and_its_values_on_the_way(run: Run) -> None:
    study = run.to_optuna()
    named = {"TERMINATED": "COMPLETE", "ERROR": "FAIL"}
    assert [one.state.name for one in study.trials] == [named.get(end, end) for end in ENDS]
    assert study.best_trial.user_attrs["trial_id"] == "t0005"  # the last one may yet go on
    pruned = study.trials[2]
    frame = study.trials_dataframe()
    assert list(frame["params_lr"]) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert pruned.intermediate_values == {500: 31.0, 1000: 32.0}


def test_the_dashboard_lists_the_study_and_its_trials(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "study.log"
    run.to_optuna(log)
    app = wsgi(JournalStorage(JournalFileBackend(str(log))))

    def get(path: str) -> dict[str, object]:
        status: list[str] = []
        environ = {"PATH_INFO": path}
        setup_testing_defaults(environ)
        body = b"".join(app(environ, lambda line, *_: status.append(line)))
        assert status[0].startswith("200"), (path, body)
        return json.loads(body)

    studies = get("/api/studies")["study_summaries"]
    assert [one["study_name"] for one in studies] == ["made"]
    found = get(f"/api/studies/{studies[0]['study_id']}")
    states = [one["state"] for one in found["trials"]]
    assert states == ["Complete", "Fail", "Pruned", "Complete", "Complete", "Running"]
    assert optuna.load_study(
        study_name="made", storage=JournalStorage(JournalFileBackend(str(log)))
    ).trials
