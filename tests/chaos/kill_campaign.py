"""Kills a sweep at random moments, resumes it each time, and holds it against an uninterrupted one.

The driver is killed by SIGKILL at moments of every kind: while it starts, while trials run, right
after a trial's last report, while its end is being written. Trial workers are killed beside a
driver that goes on. Afterwards every trial must be there exactly once, with its whole budget and
the configuration of the uninterrupted sweep; trials that no kill has touched must have reported
the same numbers, bit for bit.

With ``--learning`` the search is TPE's and the scheduler ASHA, one trial at a time. An interrupted
trial then begins anew, so the whole sweep must come to the same: the same configurations, the same
trials stopped for the same reasons, the same numbers.

With ``--bucket`` the storage is a bucket of an S3 server on loopback, and each launch after a kill
is that of another machine, which has nothing but the run's address. The lease of the one before is
deleted, as if its time were over.

    python tests/chaos/kill_campaign.py                              # 20 driver, 10 worker kills
    python tests/chaos/kill_campaign.py --learning                   # TPE and ASHA
    python tests/chaos/kill_campaign.py --driver-kills 2 --worker-kills 1 --trials 3 \\
        --steps 1000 --backend torch --step-s 0.004                  # a minute
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from bucket_runs import Storage, opened_storage

from sweeper.journal import (
    Event,
    LaunchStarted,
    TrialAsked,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
    read_journal,
)
from sweeper.paths import RunPaths
from sweeper.results.builder import load_results
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.states import TrialState

SPEC = """
name: chaos
environment: {{id: Paced-v0, module: paced, kwargs: {{step_s: {step_s}}}}}
algorithm: PPO
backend: {backend}
seeds: 1
param_space:
  lr: {{loguniform: [1.0e-4, 1.0e-2]}}
  train_batch_size_per_learner: {batch}
  minibatch_size: 50
  num_epochs: 1
  model_config: {{fcnet_hiddens: [8]}}
search: {{num_samples: {trials}, seed: 3, max_concurrent: {concurrent}, algorithm: {search}}}
scheduler: {scheduler}
stop: {{num_env_steps_sampled_lifetime: {steps}}}
selection: {{finalists: 0}}
checkpoint: {{every_env_steps: {checkpoint}}}
resources: {{retries: 50}}
tracking: {tracking}
"""
_BATCH = 100
ADDRESS = "s3://sweeps/chaos"
# Kills need time to fall into; where the training takes none, the environment does.
PACED = """
import time, gymnasium
from gymnasium.envs.classic_control import CartPoleEnv
class Paced(CartPoleEnv):
    def __init__(self, step_s):
        super().__init__()
        self.step_s = step_s
    def step(self, action):
        time.sleep(self.step_s)
        return super().step(action)
gymnasium.register("Paced-v0", entry_point=Paced, max_episode_steps=500)
"""
# Wall-clock numbers are the only ones that may differ between two equal trials.
CLOCKS = {"time_total_s", "env_steps_per_s"}


@dataclass
class Kill:
    """One kill: when it was meant, when it came, what the journal had by then."""

    kind: str
    after_s: float
    events: int
    ended: int


@dataclass
class Campaign:
    """A sweep that is killed and resumed until it is done."""

    folder: Path
    random: random.Random
    driver_kills: int
    worker_kills: int
    kills: list[Kill] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    printed: str = ""
    storage: Storage | None = None
    machine: int = 0
    name: str = ""
    launches: int = 0

    @property
    def run(self) -> RunPaths | None:
        """The run where the last launch worked on it."""
        at = "runs/*" if self.storage is None else f"{self._state.name}/sweeper/buckets/*/*/chaos/*"
        found = sorted(self.folder.glob(f"{at}/journal.jsonl"))
        if found:
            self.name = found[0].parent.name
        return RunPaths(found[0].parent) if found else None

    @property
    def place(self) -> str:
        """What a command calls the run."""
        if self.storage is not None:
            return f"{ADDRESS}/{self.name}"
        assert self.run is not None
        return str(self.run.root)

    @property
    def _state(self) -> Path:
        return self.folder / f"machine-{self.machine}"

    def _find_command(self) -> list[str]:
        if self.run is None and not self.name:
            return ["run", "chaos.yaml"]
        words = ["resume", self.place]
        if self.storage is not None:
            self.storage.delete(f"chaos/{self.name}/lease/")
            self.machine += 1
            words.append("--trust")
        return words

    def run_launch(self) -> SweepResults:
        """Kill and resume as often as was asked, then let the sweep end."""
        moments = [self._moment(index) for index in range(self.driver_kills)]
        workers = self.worker_kills
        while True:
            moment = moments.pop(0) if moments else None
            code = self._launch(moment, workers)
            workers = 0  # all in the first launch, while there is most to do
            if code is not None:
                assert code == 0, self.said[-1]
                break
        assert self.run is not None
        return load_results(self.run)

    def _moment(self, index: int) -> tuple[str, float]:
        kinds = ("running", "starting", "running", "last report", "running")
        kind = kinds[index % len(kinds)]
        if index == self.driver_kills - 1:
            kind = "last second"
        longest = {"starting": 7.0, "running": 4.0, "last report": 0.05, "last second": 1.0}[kind]
        return kind, self.random.uniform(0.0, longest)

    def _launch(self, moment: tuple[str, float] | None, workers: int) -> int | None:
        """Start or resume; kill workers, then the driver at its moment.

        Returns:
            The exit code, or None if the driver was killed.
        """
        known = len(self._lines())
        words = self._find_command()
        process = start(*words, cwd=self.folder, variables=self._variables())
        began = time.monotonic()
        try:
            self._kill_workers(process, workers)
            if moment is not None:
                kind, delay_s = moment
                if self._wait_for(kind, process, known):
                    self._wait(delay_s, process)
                if process.poll() is None:
                    os.kill(process.pid, signal.SIGKILL)
                    self.printed += process.communicate()[0]
                    lines = self._lines()
                    self.launches = self._count_stored_launches()
                    ended = sum(b'"trial_ended"' in line for line in lines)
                    after_s = time.monotonic() - began
                    self.kills.append(Kill(kind, after_s, len(lines), ended))
                    return None
            printed, said = process.communicate(timeout=600)
            self.printed += printed
            self.said.append(said)
            return process.returncode
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def _count_stored_launches(self) -> int:
        if self.storage is None:
            return 0
        keys = [key for key in self.storage.bucket.list_keys() if "/journal/0" in key]
        return sum(self.storage.read(key).count(b'"launch_started"') for key in keys)

    def _variables(self) -> dict[str, str]:
        if self.storage is None:
            return {}
        return {**self.storage.variables, "XDG_STATE_HOME": str(self._state)}

    def _wait_for(self, kind: str, process: subprocess.Popen[str], known: int) -> bool:
        """Wait for what the kind's delay counts from; False if the sweep ended first."""
        if kind == "starting":
            return True

        def is_there() -> bool:
            lines = self._lines()
            # What had not reached the bucket before the kill is not there again.
            launches = [n for n, line in enumerate(lines) if b'"launch_started"' in line]
            if self.storage is None:
                new = lines[known:]
            elif self.machine == 0 or len(launches) > self.launches:
                new = lines[launches[-1] :] if launches else []
            else:
                return False
            if kind == "running":
                return any(b'"trial_reported"' in line for line in new)
            if kind == "last report":
                return any(b'"stopped_by": "' in line for line in new)
            ended = sum(b'"trial_ended"' in line for line in lines)
            return ended >= self._trials() - 1

        while process.poll() is None:
            if is_there():
                return True
            time.sleep(0.005)
        return False

    def _trials(self) -> int:
        assert self.run is not None
        return int(json.loads(self.run.plan.read_text())["trials"])

    def _wait(self, delay_s: float, process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + delay_s
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)

    def _kill_workers(self, process: subprocess.Popen[str], left: int) -> None:
        while left and process.poll() is None:
            time.sleep(self.random.uniform(0.3, 2.0))
            workers = [pid for pid, name in descendants(process.pid) if "SweepTrial" in name]
            if not workers:
                continue
            os.kill(self.random.choice(workers), signal.SIGKILL)
            lines = self._lines()
            ended = sum(b'"trial_ended"' in line for line in lines)
            self.kills.append(Kill("worker", 0.0, len(lines), ended))
            left -= 1

    def _lines(self) -> list[bytes]:
        if self.run is None:
            return []
        return self.run.journal.read_bytes().split(b"\n")[:-1]


def start(
    *arguments: str, cwd: Path, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """A command of ours, as the leader of its own session."""
    return subprocess.Popen(
        [sys.executable, "-m", "sweeper", *arguments],
        cwd=cwd,
        env={**os.environ, **(variables or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def descendants(pid: int) -> Iterator[tuple[int, str]]:
    """The ids and command lines of all processes below one."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        below.setdefault(int(fields[1]), []).append(int(entry.name))
    waiting = list(below.get(pid, []))
    while waiting:
        child = waiting.pop()
        waiting += below.get(child, [])
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue
        yield child, command.decode(errors="replace")


def compare(
    reference: SweepResults, killed: SweepResults, events: list[Event], *, begins_anew: bool
) -> list[str]:
    """What is not as it must be, in words; empty if all is well.

    Args:
        reference: the uninterrupted sweep.
        killed: the other one.
        events: of the other one's journal.
        begins_anew: whether trials that were interrupted had no checkpoint to go on from.
    """
    problems = []
    ids = [record.trial_id for record in reference.trials]
    if [record.trial_id for record in killed.trials] != ids:
        problems.append(f"trials {[r.trial_id for r in killed.trials]}, not {ids}")
    asked = Counter(e.trial_id for e in events if isinstance(e, TrialAsked))
    ends = Counter(
        e.trial_id
        for e in events
        if isinstance(e, TrialEnded) and TrialState(e.state).has_succeeded
    )
    for name, counted in (("asked", asked), ("ended", ends)):
        if counted != Counter(ids):
            problems.append(f"{name} not exactly once each: {dict(counted)}")
    touched = set() if begins_anew else interrupted_trials(events)
    for left, right in zip(reference.trials, killed.trials, strict=False):
        problems += _compare_trials(left, right, was_touched=right.trial_id in touched)
    return problems


def interrupted_trials(events: list[Event]) -> set[str]:
    """Trials that were taken up more than once."""
    starts = Counter(e.trial_id for e in events if isinstance(e, TrialStarted))
    retried = {e.trial_id for e in events if isinstance(e, TrialRetried)}
    return {trial_id for trial_id, count in starts.items() if count > 1} | retried


def _compare_trials(
    reference: TrialRecord, killed: TrialRecord, *, was_touched: bool
) -> Iterator[str]:
    name = killed.trial_id
    if (killed.state, killed.reason) != (reference.state, reference.reason):
        yield f"{name} is {killed.state}: {killed.reason}"
    if (killed.configuration, killed.seeds) != (reference.configuration, reference.seeds):
        yield f"{name} has another configuration"
    if killed.env_steps != reference.env_steps:
        yield f"{name} has {killed.env_steps} env steps, not {reference.env_steps}"
    iterations = [report["training_iteration"] for report in killed.reports]
    if iterations != [report["training_iteration"] for report in reference.reports]:
        yield f"{name} reported iterations {iterations}"
    clock = [report["time_total_s"] for report in killed.reports]
    if clock != sorted(clock):
        yield f"{name}: its time went backwards"
    if killed.state == "PRUNED":
        pass  # it may have been stopped before its first checkpoint
    elif not killed.checkpoints:
        yield f"{name} has no checkpoint"
    elif killed.checkpoints[-1].metrics["training_iteration"] != iterations[-1]:
        yield f"{name}: its last checkpoint is not of its last report"
    if not was_touched and _numbers(killed) != _numbers(reference):
        yield f"{name} reported other numbers, and no checkpoint is to blame"


def _numbers(record: TrialRecord) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in report.items() if key not in CLOCKS}
        for report in record.reports
    ]


def run_campaign(
    folder: Path,
    *,
    trials: int,
    steps: int,
    step_s: float,
    backend: str,
    concurrent: int,
    driver_kills: int,
    worker_kills: int,
    seed: int,
    tracking: bool,
    is_learning: bool = False,
    in_bucket: bool = False,
    say: Callable[[str], None] = print,
) -> list[str]:
    """Both sweeps, one after the other; returns what is not as it must be."""
    spec = SPEC.format(
        trials=trials,
        concurrent=concurrent,
        batch=_BATCH,
        steps=steps,
        step_s=step_s,
        backend=backend,
        checkpoint=steps if is_learning else steps // 10,
        search="tpe, n_startup_trials: 3" if is_learning else "random",
        scheduler="{type: asha, reduction_factor: 2}" if is_learning else "fifo",
        tracking="{uri: 'sqlite:///runs/mlflow.db', experiment: chaos}" if tracking else "null",
    )
    for name in ("reference", "killed"):
        (folder / name).mkdir()
        (folder / name / "chaos.yaml").write_text(spec)
        (folder / name / "paced.py").write_text(PACED)
    if in_bucket:
        with (folder / "killed" / "chaos.yaml").open("a") as stream:
            stream.write(f"storage: {ADDRESS}\n")
    whole = Campaign(folder / "reference", random.Random(seed), 0, 0)  # noqa: S311
    reference = whole.run_launch()
    campaign = Campaign(folder / "killed", random.Random(seed), driver_kills, worker_kills)  # noqa: S311
    with opened_storage() if in_bucket else nullcontext() as campaign.storage:
        killed = campaign.run_launch()
    assert campaign.run is not None
    events = list(read_journal(campaign.run.journal))
    problems = compare(reference, killed, events, begins_anew=is_learning)
    if is_learning:
        stopped = sum(record.state == "PRUNED" for record in reference.trials)
        say(f"{stopped} of {len(reference.trials)} trials stopped early")
        if not stopped:
            problems.append("no trial was stopped early: give it more trials")
    elif any(record.state != "TERMINATED" for record in reference.trials):
        problems.append("not every trial of the uninterrupted sweep has run to its end")
    say("kind         after  journal lines  trials ended")
    for kill in campaign.kills:
        say(f"{kill.kind:<12} {kill.after_s:4.1f}s {kill.events:14d} {kill.ended:13d}")
    if len(campaign.kills) != driver_kills + worker_kills:
        problems.append(f"only {len(campaign.kills)} kills came in time: give it more trials")
    if set(campaign.printed.splitlines()) != {campaign.place}:
        problems.append(f"stdout is for the run's folder alone, and was {campaign.printed!r}")
    launches = sum(isinstance(event, LaunchStarted) for event in events)
    rows = sum(isinstance(event, TrialReported) for event in events)
    kept = sum(len(record.reports) for record in killed.trials)
    say(
        f"{len(killed.trials)} trials in {launches} launches, {len(interrupted_trials(events))} of "
        f"them interrupted, {rows - kept} of {rows} iterations done twice"
    )
    if tracking:
        problems += _check_mlflow(campaign.folder / "runs" / "mlflow.db", killed.trials)
    return problems


def _check_mlflow(file: Path, trials: Sequence[TrialRecord]) -> Iterator[str]:
    import sqlite3

    database = sqlite3.connect(file)
    statuses = Counter(database.execute("select status from runs").fetchall())
    if statuses != Counter({("FINISHED",): len(trials) + 1}):
        yield f"MLflow has runs {dict(statuses)}, not {len(trials) + 1} finished ones"
    wanted = {record.trial_id: len(record.reports) for record in trials}
    steps = database.execute(
        "select r.name, count(distinct m.step) from runs r join metrics m using (run_uuid) "
        "where m.key = 'episode_return_mean' group by r.name"
    ).fetchall()
    wrong = {name: count for name, count in steps if count != wanted.get(name.split()[0])}
    if wrong:
        yield f"MLflow has other numbers of steps: {wrong}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--driver-kills", type=int, default=20)
    parser.add_argument("--worker-kills", type=int, default=10)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--steps", type=int, default=5000, help="Env steps a trial.")
    parser.add_argument("--step-s", type=float, default=0.0, help="Seconds an env step sleeps.")
    parser.add_argument("--backend", choices=("rllib", "torch"), default="rllib")
    parser.add_argument("--concurrent", type=int, default=2)
    parser.add_argument("--learning", action="store_true", help="TPE and ASHA, one at a time.")
    parser.add_argument("--bucket", action="store_true", help="A bucket, and another machine each.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-tracking", action="store_true")
    parser.add_argument("--folder", type=Path, help="An empty one, kept; by default a temporary.")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        problems = run_campaign(
            arguments.folder or Path(temporary),
            trials=arguments.trials,
            steps=arguments.steps,
            step_s=arguments.step_s,
            backend=arguments.backend,
            concurrent=1 if arguments.learning else arguments.concurrent,
            driver_kills=arguments.driver_kills,
            worker_kills=arguments.worker_kills,
            seed=arguments.seed,
            tracking=not arguments.no_tracking,
            is_learning=arguments.learning,
            in_bucket=arguments.bucket,
        )
    print(f"took {time.monotonic() - began:.0f} s")  # noqa: T201
    if problems:
        sys.exit("\n".join(problems))
    print("every trial there exactly once, as in the uninterrupted sweep")  # noqa: T201


if __name__ == "__main__":
    main()
