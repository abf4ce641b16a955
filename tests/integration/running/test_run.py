"""Whole runs by the command line: real Ray, real RLlib, real MLflow."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import pytest
from command_line import started, sweeper, sweeper_here
from tiers import leave_after

from sweeper.api import open_run
from sweeper.journal import TrialEnded, TrialReported, read_journal
from sweeper.opened_agent import load_agent

TINY = """
name: tiny
environment: CartPole-v1
algorithm: PPO
backend: rllib
seeds: 2
param_space:
  lr: {grid_search: [1.0e-3, 1.0e-4]}
  train_batch_size_per_learner: 200
  minibatch_size: 100
  num_epochs: 2
  model_config: {fcnet_hiddens: [16]}
stop: {num_env_steps_sampled_lifetime: 600}
selection: {finalists: 0}
evaluation: {episodes: 3, every_env_steps: 400}
checkpoint: {every_env_steps: 400}
"""
# What does not depend on the backend is tried on the one that starts faster.
FAST = TINY.replace("backend: rllib", "backend: torch")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A finished run of two trials: working directory, run folder, what was said."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(TINY)
    done = sweeper("run", "tiny.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, Path(done.stdout.strip()), done.stderr


def test_run_prints_the_run_folder_and_nothing_else_on_stdout(
    finished: tuple[Path, Path, str],
) -> None:
    folder, run, said = finished
    assert run.parent == folder / "runs"
    for name in ("spec.yaml", "plan.json", "environment.json", "journal.jsonl", "selection.json"):
        assert (run / name).is_file(), name
    assert "best        t000" in said
    assert "MLflow UI   sweeper ui" in said


def test_nothing_chatters_unless_asked(finished: tuple[Path, Path, str]) -> None:
    _, _, said = finished
    for word in ("WARNING", "Deprecat", "INFO", "Traceback", "(raylet)", "ray.", "mlflow."):
        assert word not in said, said


def test_every_trial_reports_the_metrics_of_the_vocabulary(
    finished: tuple[Path, Path, str],
) -> None:
    _, run, _ = finished
    reports = [
        event for event in read_journal(run / "journal.jsonl") if isinstance(event, TrialReported)
    ]
    assert {event.trial_id for event in reports} == {"t0001", "t0002"}
    for trial_id in ("t0001", "t0002"):
        rows = [event.metrics for event in reports if event.trial_id == trial_id]
        assert [row["num_env_steps_sampled_lifetime"] for row in rows] == [200, 400, 600]
        assert "evaluation/episode_return_mean" not in rows[0]
        assert "evaluation/episode_return_mean" in rows[1]
        assert "evaluation/episode_return_mean" in rows[2]
        assert len(rows[2]["replica/episode_return_mean"]) == 2
        for key in ("learner/policy_loss", "env_steps_per_s", "time_total_s", "num_episodes"):
            assert key in rows[2]
        assert not {"config", "hostname", "pid"} & rows[2].keys()


def test_results_best_status_and_list_agree(finished: tuple[Path, Path, str]) -> None:
    folder, run, _ = finished
    rows = json.loads(sweeper_here("results", "last", "--json", cwd=folder).stdout)
    best = json.loads(sweeper_here("best", run.name, "--json", cwd=folder).stdout)
    status = json.loads(sweeper_here("status", str(run), "--json", cwd=folder).stdout)
    listed = json.loads(sweeper_here("list", "--json", cwd=folder).stdout)
    assert [row["trial_id"] for row in rows] == ["t0001", "t0002"]
    assert {row["state"] for row in rows} == {"TERMINATED"}
    assert [row["configuration"]["lr"] for row in rows] == [1e-3, 1e-4]
    winner = max(rows, key=lambda row: row["score"])
    assert best["trial_id"] == status["best"] == listed[0]["best"] == winner["trial_id"]
    assert best["score"] == winner["score"]
    assert best["metric"] == "evaluation/episode_return_mean"
    assert best["configuration"]["model_config"] == {"fcnet_hiddens": [16]}
    assert best["verdict"] == "unconfirmed"
    assert status["state"] == "finished"
    assert status["trials"] == 2


def test_the_tables_are_readable(finished: tuple[Path, Path, str]) -> None:
    folder, _, _ = finished
    table = sweeper("results", cwd=folder).stdout
    assert "t0001" in table
    assert "lr" in table
    assert "checkpoint" in sweeper_here("best", cwd=folder).stdout
    assert "finished" in sweeper_here("status", cwd=folder).stdout
    assert "tiny-" in sweeper_here("list", cwd=folder).stdout
    assert sweeper_here("results", "--csv", cwd=folder).stdout.startswith("trial_id,state")


def test_only_the_newest_checkpoint_stays(finished: tuple[Path, Path, str]) -> None:
    _, run, _ = finished
    for trial_id in ("t0001", "t0002"):
        folders = [path.name for path in (run / "trials" / trial_id).glob("checkpoint_*")]
        assert len(folders) == 1
        assert (run / "trials" / trial_id / "log.txt").is_file()


def test_the_champion_plays_without_sweeper(finished: tuple[Path, Path, str]) -> None:
    folder, _, _ = finished
    best = json.loads(sweeper_here("best", "--json", cwd=folder).stdout)
    module = Path(best["agent"], "checkpoint/learner_group/learner/rl_module/default_policy")
    code = (
        "import sys; sys.modules['sweeper'] = None\n"
        "import gymnasium, torch\n"
        "from ray.rllib.core.rl_module import RLModule\n"
        f"module = RLModule.from_checkpoint({str(module)!r})\n"
        "env = gymnasium.make('CartPole-v1')\n"
        "obs, _ = env.reset(seed=0)\n"
        "done, total = False, 0.0\n"
        "while not done:\n"
        "    out = module.forward_inference({'obs': torch.as_tensor(obs)[None]})\n"
        "    action = int(out['action_dist_inputs'].argmax())\n"
        "    obs, reward, terminated, truncated, _ = env.step(action)\n"
        "    total += reward\n"
        "    done = terminated or truncated\n"
        "print(total)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    agent = load_agent(best["agent"])
    total, over = 0.0, False
    with gymnasium.make("CartPole-v1") as env:
        observation, _ = env.reset(seed=0)
        while not over:
            observation, reward, terminated, truncated, _ = env.step(agent.act(observation))
            total += float(reward)
            over = terminated or truncated
    assert float(done.stdout) == total


def test_mlflow_has_the_sweep_and_its_trials(finished: tuple[Path, Path, str]) -> None:
    folder, run, _ = finished
    database = sqlite3.connect(folder / "runs" / "mlflow.db")
    found = database.execute("select name, status from runs").fetchall()
    runs = {name.split()[0]: status for name, status in found}
    assert runs.pop(run.name) == "FINISHED"
    assert runs == {"t0001": "FINISHED", "t0002": "FINISHED"}
    steps = database.execute(
        "select distinct step from metrics where key = 'episode_return_mean' order by step"
    )
    assert [step for (step,) in steps] == [200, 400, 600]


def test_a_bad_configuration_is_a_row_and_the_sweep_goes_on(
    ray_cluster: None, tmp_path: Path
) -> None:
    (tmp_path / "picky.py").write_text(
        "import gymnasium\n"
        "class Picky(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(-1, 1, (2,))\n"
        "    action_space = gymnasium.spaces.Discrete(2)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        super().reset(seed=seed)\n"
        "        self.count = 0\n"
        "        return self.observation_space.low, {}\n"
        "    def step(self, action):\n"
        "        import torch\n"
        "        self.count += 1\n"
        "        if torch.get_num_threads() < 0 or BROKEN():\n"
        "            raise RuntimeError('the simulator broke')\n"
        "        return self.observation_space.low, 1.0, self.count >= 5, False, {}\n"
        "CALLS = 0\n"
        "def BROKEN():\n"
        "    global CALLS\n"
        "    CALLS += 1\n"
        "    return 300 < CALLS < 900\n"
        "gymnasium.register('Picky-v0', entry_point=Picky)\n"
    )
    (tmp_path / "tiny.yaml").write_text(
        FAST.replace("environment: CartPole-v1", "environment: {id: Picky-v0, module: picky}")
        .replace("seeds: 2", "seeds: 1")
        .replace("1.0e-3, 1.0e-4", "1.0e-3, 1.0e-4, 1.0e-5")
        .replace("evaluation: {episodes: 3, every_env_steps: 400}\n", "")
        .replace("steps_sampled_lifetime: 600", "steps_sampled_lifetime: 200")
        + "resources: {retries: 0}\nsearch: {max_concurrent: 1}\ntracking: null\n"
    )
    done = sweeper_here("run", "tiny.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    rows = json.loads(sweeper_here("results", "--json", cwd=tmp_path).stdout)
    states = [row["state"] for row in rows]
    assert "ERROR" in states
    assert "TERMINATED" in states
    assert summary["errored"] == states.count("ERROR")
    failed = next(row for row in rows if row["state"] == "ERROR")
    assert "the simulator broke" in failed["error"]
    log = Path(summary["run"]) / "trials" / failed["trial_id"] / "log.txt"
    assert "RuntimeError: the simulator broke" in log.read_text()
    assert str(log) in done.stderr
    best = json.loads(sweeper_here("best", "--json", cwd=tmp_path).stdout)
    assert best["excluded"][0]["trial_id"] == failed["trial_id"]


def test_when_every_trial_fails_the_exit_code_is_1_and_the_reason_is_printed(
    tmp_path: Path,
) -> None:
    (tmp_path / "envs.py").write_text(
        "import gymnasium\n"
        "class Broken(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(-1, 1, (2,))\n"
        "    action_space = gymnasium.spaces.Discrete(2)\n"
        "    steps = 0\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        return self.observation_space.low, {}\n"
        "    def step(self, action):\n"
        "        self.steps += 1\n"
        "        if self.steps > 20:\n"  # not yet in the plan's probe
        "            raise RuntimeError('no simulator licence')\n"
        "        return self.observation_space.low, 0.0, False, False, {}\n"
        "gymnasium.register('Broken-v0', entry_point=Broken)\n"
    )
    (tmp_path / "tiny.yaml").write_text(
        FAST.replace("CartPole-v1", "{id: Broken-v0, module: envs}")
        + "resources: {retries: 0}\ntracking: null\n"
    )
    done = sweeper("run", "tiny.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert "every trial failed" in done.stderr
    assert "no simulator licence" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.acceptance
def test_a_run_in_which_no_trial_has_a_value_exits_1_and_so_does_its_resumption(
    ray_cluster: None, tmp_path: Path
) -> None:
    (tmp_path / "envs.py").write_text(
        "import gymnasium\n"
        "class Endless(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(-1, 1, (2,))\n"
        "    action_space = gymnasium.spaces.Discrete(2)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        super().reset(seed=seed)\n"
        "        return self.observation_space.low, {}\n"
        "    def step(self, action):\n"
        "        return self.observation_space.low, 0.0, False, False, {}\n"
        "gymnasium.register('Endless-v0', entry_point=Endless)\n"
    )
    (tmp_path / "tiny.yaml").write_text(
        FAST.replace("CartPole-v1", "{id: Endless-v0, module: envs}").replace(
            "evaluation: {episodes: 3, every_env_steps: 400}\n", "tracking: null\n"
        )
    )
    done = sweeper_here("run", "tiny.yaml", cwd=tmp_path)
    assert "each environment of a trial is stepped 600 times" in done.stderr
    again = sweeper_here("resume", cwd=tmp_path)
    for one in (done, again):
        assert one.returncode == 1
        assert "within the trial's 600 env steps; with evaluation: {} trials" in one.stderr
    assert open_run("last", tmp_path / "runs").failure is not None


@pytest.mark.parametrize(
    ("number", "spec"),
    leave_after(1, [(signal.SIGTERM, FAST), (signal.SIGINT, TINY)]),
    ids=["SIGTERM", "SIGINT"],
)
def test_an_interrupted_run_saves_its_trials_and_exits_130(
    tmp_path: Path, number: signal.Signals, spec: str
) -> None:
    (tmp_path / "tiny.yaml").write_text(
        spec.replace("steps_sampled_lifetime: 600", "steps_sampled_lifetime: 1000000")
    )
    with started("run", "tiny.yaml", cwd=tmp_path) as process:
        run = _wait_for_reports(tmp_path, process)
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out.strip() == str(run)
    ended = [
        event for event in read_journal(run / "journal.jsonl") if isinstance(event, TrialEnded)
    ]
    assert {event.state for event in ended} == {"PAUSED"}
    assert {event.reason for event in ended} == {"interrupted"}
    rows = json.loads(sweeper_here("results", "--json", cwd=tmp_path).stdout)
    for row in rows:
        (checkpoint,) = (run / "trials" / row["trial_id"]).glob("checkpoint_*")
        state = json.loads((checkpoint / "trainer.json").read_text())
        assert state["trainer"]["env_steps"][0] == row["num_env_steps_sampled_lifetime"]
    statuses = sqlite3.connect(tmp_path / "runs" / "mlflow.db").execute("select status from runs")
    assert {status for (status,) in statuses} == {"KILLED"}


def test_the_search_ends_with_its_time_budget(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(
        FAST.replace("stop: {num_env_steps_sampled_lifetime: 600}", "budget: {time_s: 3600}")
        + "tracking: null\n"
    )

    def now() -> float:
        """The hour is over as soon as both trials have reported, however slow the machine is."""
        (journal,) = tmp_path.glob("runs/*/journal.jsonl")
        reports = [event for event in read_journal(journal) if isinstance(event, TrialReported)]
        is_over = len({event.trial_id for event in reports}) == 2
        return time.monotonic() + (3600 if is_over else 0)

    monkeypatch.setattr("sweeper.running.drain.time", SimpleNamespace(monotonic=now))
    done = sweeper_here("run", "tiny.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "budget.time_s"
    rows = json.loads(sweeper_here("results", "--json", cwd=tmp_path).stdout)
    assert {row["state"] for row in rows} == {"PAUSED"}


def test_train_runs_one_configuration_with_searched_parameters_at_their_defaults(
    ray_cluster: None, tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(FAST)
    done = sweeper_here("train", "tiny.yaml", "tracking=null", "seeds=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "lr" in done.stderr
    (row,) = json.loads(sweeper_here("results", "--json", cwd=tmp_path).stdout)
    assert "lr" not in row["configuration"]
    assert row["configuration"]["num_epochs"] == 2
    assert row["state"] == "TERMINATED"


def _wait_for_reports(folder: Path, process: subprocess.Popen[str]) -> Path:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        for journal in folder.glob("runs/*/journal.jsonl"):
            text = journal.read_text()
            if text.count("trial_reported") >= 4 and text.count("trial_checkpointed") >= 2:
                return journal.parent
        time.sleep(0.2)
    raise AssertionError("no reports")
