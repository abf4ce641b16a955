"""A run all of whose texts are an attack on the page that shows them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from run_folders import make_run

from sweeper.metrics import ENV_STEPS
from sweeper.opened_run import Run, open_run

ATTACK = (
    '"\'><img src=http://evil.test/x onerror="window.attacked=1">'
    "</script></style><script>window.attacked=1</script>${alert(1)}%{x}\x1b[31m\u202e&lt;"
)
MARKER = "window.attacked"


def open_hostile(storage: Path) -> Run:
    """Make and open it: names, values, reasons, errors, records."""
    paths = make_run(storage, "<b>hostile-20260101-000000", ["TERMINATED", "ERROR", "PRUNED"])
    paths.environment.write_text(
        json.dumps(
            {
                "command": [ATTACK, ATTACK],
                "versions": {ATTACK: ATTACK},
                "platform": ATTACK,
                "cpus": ATTACK,
                "seeds": [ATTACK],
                "git": {"commit": ATTACK, "dirty": ATTACK},
            }
        )
    )
    paths.spec.write_text(f"{paths.spec.read_text()}# {json.dumps(ATTACK)}\n")
    run = open_run(paths.root)
    searched = {ATTACK: ATTACK, "nested": {ATTACK: [ATTACK]}}
    trials = []
    for number, trial in enumerate(run.results.trials, start=1):
        rows = tuple(
            {
                "training_iteration": step,
                "episode_return_mean": float(number * step),
                ENV_STEPS: 100 * step,
                "time_total_s": 1.0,
                "replica/episode_return_mean": [float(number), float(number * step)],
                "replica/diverged": [False, True],
                "replica/diverged_because": [None, ATTACK],
                ATTACK: ATTACK,
            }
            for step in (1, 2, 3)
        )
        trials.append(
            replace(
                trial,
                configuration=searched,
                parameters=searched,
                reports=rows,
                reason=ATTACK,
                error=ATTACK,
                node=ATTACK,
                seeds=(0, 1),
            )
        )
    return replace(run, results=replace(run.results, trials=tuple(trials)), warnings=(ATTACK,))
