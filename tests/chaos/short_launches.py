"""Starts many short sweeps under load, and checks that each one comes to its end.

The end of a launch is where most happens at once: the last trials are saved, the champion is
written, MLflow is completed, Ray is shut down. Something that goes wrong there once in a hundred
times shows only if it is tried often, while the machine is busy. For each launch: exit code 0, a
champion, the journal's end, MLflow's runs FINISHED, no process left behind.

    python tests/chaos/short_launches.py                        # 200 launches, half an hour or more
    python tests/chaos/short_launches.py --launches 10 --load 2
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sweeper.journal import LaunchEnded, read_journal
from sweeper.opened_run import open_run
from sweeper.paths import list_runs

SPEC = """
name: short
environment: CartPole-v1
algorithm: PPO
seeds: 1
param_space:
  lr: {grid_search: [0.001, 0.002]}
  train_batch_size_per_learner: 100
  minibatch_size: 50
  num_epochs: 1
  model_config: {fcnet_hiddens: [8]}
stop: {num_env_steps_sampled_lifetime: 300}
selection: {finalists: 0}
tracking: {uri: "sqlite:///runs/mlflow.db", experiment: short}
"""


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Keep the machine busy with so many processes, which make and collect objects."""
    busy = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(processes)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.join()


def _spin() -> None:
    parent = os.getppid()
    while os.getppid() == parent:  # which may be killed
        sum(len(str(number)) for number in range(10_000))


def launch(folder: Path, timeout_s: float) -> list[str]:
    """Run a sweep; returns what is not as it must be, in words."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeper", "run", "short.yaml", "-q"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, said = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return [f"it hung for {timeout_s:.0f} s"]
    problems = []
    if process.returncode:
        problems.append(f"exit code {process.returncode}: {said.strip()[-500:]}")
    run = Path(printed.strip() or list_runs(folder / "runs")[-1].root)
    opened = open_run(run)
    ends = [event.reason for event in read_journal(opened.paths.journal) if _is_end(event)]
    if ends != ["finished"]:
        problems.append(f"the journal's ends are {ends}")
    if not opened.is_champion_written:
        problems.append("there is no champion")
    statuses = _statuses(folder / "runs" / "mlflow.db", run.name)
    if statuses != Counter(FINISHED=3):
        problems.append(f"MLflow's runs are {dict(statuses)}")
    if left := _left_behind(process.pid):
        problems.append(f"processes are left: {left}")
    return problems


def _is_end(event: object) -> bool:
    return isinstance(event, LaunchEnded)


def _statuses(database: Path, run: str) -> Counter[str]:
    query = (
        "SELECT status FROM runs JOIN tags ON runs.run_uuid = tags.run_uuid "
        "WHERE key = 'sweeper.run' AND value = ?"
    )
    with closing(sqlite3.connect(database)) as connection:
        return Counter(status for (status,) in connection.execute(query, (run,)))


def _left_behind(session: int) -> list[str]:
    """Processes of a launch's session that live five seconds after its end."""
    for _ in range(50):
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(command[:80])
        if not found:
            return []
        time.sleep(0.1)
    return found


def run_campaign(folder: Path, *, launches: int, processes: int, timeout_s: float) -> list[str]:
    """All launches, one after the other; returns what is not as it must be."""
    (folder / "short.yaml").write_text(SPEC)
    problems, took = [], []
    with load(processes):
        for number in range(1, launches + 1):
            began = time.monotonic()
            found = launch(folder, timeout_s)
            took.append(time.monotonic() - began)
            problems += [f"launch {number}: {problem}" for problem in found]
            say(f"{number:4} {took[-1]:6.1f} s  {'; '.join(found) or 'as it must be'}")
    say(f"{launches} launches, {sum(took) / len(took):.1f} s each, {len(problems)} problems")
    return problems


def say(text: str) -> None:
    """Print a line at once, even into a pipe."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--launches", type=int, default=200)
    parser.add_argument("--load", type=int, default=4, help="busy processes beside them")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for a launch")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sweeper-short-") as folder:
        problems = run_campaign(
            Path(folder),
            launches=options.launches,
            processes=options.load,
            timeout_s=options.timeout,
        )
    say("\n".join(problems))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
