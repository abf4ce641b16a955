"""Make run folders like those of a launch, without a launch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from sweeper.journal import (
    Event,
    Journal,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialEnded,
    TrialReported,
    TrialStarted,
)
from sweeper.paths import RunPaths
from sweeper.spec import dump_spec, load_spec

NOBODY = 2**22 + 1  # above Linux's largest process id
SPEC = """
name: made
environment: CartPole-v1
algorithm: PPO
backend: rllib
param_space: {lr: {grid_search: [0.1, 0.2, 0.3, 0.4]}}
stop: {num_env_steps_sampled_lifetime: 1000}
tracking: null
"""


def make_run(
    storage: Path,
    name: str,
    ends: Sequence[str] = ("TERMINATED", "ERROR"),
    *,
    reason: str | None = "finished",
    pid: int = NOBODY,
    age_s: float = 0.0,
    logs: bool = True,
) -> RunPaths:
    """Make a run with one trial for each of ``ends``.

    Args:
        storage: created if it does not exist.
        name: of the run's folder.
        ends: state of each trial; ``RUNNING`` for one that has not ended.
        reason: how the launch ended; None if the journal has no end.
        pid: of the driver.
        age_s: age of the last event.
        logs: whether the trials have logs.
    """
    paths = RunPaths((storage / name).absolute())
    paths.root.mkdir(parents=True)
    source = storage / f".{name}.yaml"
    source.write_text(SPEC)
    paths.spec.write_text(dump_spec(load_spec(source)))
    source.unlink()
    paths.plan.write_text(json.dumps({"trials": 4, "concurrent": 2}))
    then = time.time() - age_s
    events: list[Event] = [LaunchStarted(then - 60, 1, pid, ("sweeper", "run"))]
    for number, state in enumerate(ends, start=1):
        trial_id = f"t{number:04d}"
        point = {"lr": number / 10}
        events += [
            TrialAsked(then - 59, trial_id, point, point, (0,)),
            TrialStarted(then - 58, trial_id, "127.0.0.1"),
            TrialReported(
                then - 30,
                trial_id,
                {
                    "training_iteration": 1,
                    "episode_return_mean": 10.0 * number,
                    "num_env_steps_sampled_lifetime": 500,
                    "time_total_s": 20.0,
                    "env_steps_per_s": 25.0,
                },
            ),
        ]
        if state != "RUNNING":
            error = "ValueError: no such luck" if state == "ERROR" else None
            why = "crashed" if error else "num_env_steps_sampled_lifetime >= 1000"
            events.append(TrialEnded(then, trial_id, state, why, error))
        if logs:
            paths.trial(trial_id).mkdir(parents=True)
            lines = [f"{trial_id} line {line}" for line in range(1, 31)]
            paths.trial_log(trial_id).write_text("\n".join(lines) + "\n")
    if reason is not None:
        events.append(LaunchEnded(then, reason))
    journal = Journal(paths.journal)
    for event in events:
        journal.append(event)
    journal.close()
    os.utime(paths.journal, (then, then))
    return paths
