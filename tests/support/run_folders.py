"""Make run folders like those of a launch, without a launch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeper.journal import (
    ConfirmationPlanned,
    Event,
    Journal,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    TrialStarted,
)
from sweeper.paths import RunPaths
from sweeper.results.builder import load_results
from sweeper.spec import dump_spec, load_spec
from sweeper.states import Stage, TrialState

CONFIRMED_VALUES = {
    "t0002": (28.0, 31.0, 29.0, 30.5, 30.0),
    "baseline": (9.0, 11.0, 10.0, 10.5, 9.5),
}
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
    spec: str = SPEC,
    environment: Mapping[str, Any] | None = None,
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
        spec: as YAML.
        environment: the identity that the launch records, as JSON; nothing by default.
    """
    paths = RunPaths((storage / name).absolute())
    paths.root.mkdir(parents=True)
    source = storage / f".{name}.yaml"
    source.write_text(spec)
    paths.spec.write_text(dump_spec(load_spec(source)))
    source.unlink()
    paths.plan.write_text(json.dumps({"trials": 4, "concurrent": 2}))
    then = time.time() - age_s
    events: list[Event] = [
        LaunchStarted(then - 60, 1, pid, ("sweeper", "run"), environment=environment or {})
    ]
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


def add_confirmation(
    paths: RunPaths,
    *,
    judged_by: str = "episode_return_mean",
    mode: str = "max",
    score: str = "last",
    values: Mapping[str, Sequence[float]] = CONFIRMED_VALUES,
    **metrics: Any,
) -> None:
    """Add the confirmation of t0002 to a run.

    Args:
        paths: the run's.
        judged_by: the metric of its search.
        mode: whether more of it is better.
        score: which of its values counts.
        values: of each run of ``t0002`` and of ``baseline``, as many for both.
        metrics: in the rows of its trials, beside those that are.
    """
    seeds = tuple(range(len(values["t0002"])))
    chosen = load_results(paths).trial("t0002")
    after = 4e9  # later than everything in the folder
    journal = Journal(paths.journal)
    journal.append(LaunchStarted(after, 2, 1, (), stage=Stage.CONFIRMATION))
    journal.append(
        ConfirmationPlanned(
            after, ("t0002",), {"name": "defaults", "configuration": {}}, seeds, None, 20,
            {"num_env_steps_sampled_lifetime": 1000},
            {"metric": judged_by, "mode": mode, "score": score}, "finished",
        )
    )  # fmt: skip
    for number, (of, runs) in enumerate(values.items(), start=1):
        trial_id = f"c{number:04d}"
        again = (chosen.configuration, chosen.parameters) if of == "t0002" else ({}, {})
        row: dict[str, Any] = {
            "training_iteration": 9,
            "num_env_steps_sampled_lifetime": 1000,
            "replica/num_env_steps_sampled_lifetime": [1000] * len(seeds),
            "confirmation/episode_return_mean": sum(runs) / len(seeds),
            "replica/confirmation/episode_return_mean": list(runs),
            "agent/replica": 1,
            "agent/episode_returns": [25.0, 27.0],
            **metrics,
        }
        relative = f"trials/{trial_id}/checkpoint_000000"
        (paths.root / relative).mkdir(parents=True)
        for event in (
            TrialAsked(after, trial_id, *again, seeds, Stage.CONFIRMATION, of),
            TrialReported(after, trial_id, row),
            TrialCheckpointed(after, trial_id, relative, row),
            TrialEnded(after, trial_id, TrialState.TERMINATED, "done"),
        ):
            journal.append(event)
    journal.append(LaunchEnded(after, "finished"))
    journal.close()
