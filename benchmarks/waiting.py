"""Whether a core waits for the search: part of `orchestration.py`.

A run that has thousands of trials goes on with two at a time, each of which sleeps a second. What
is measured is the time from a trial's end to the next trial's configuration, by the journal. With
random search, which does not think, it is what Tune needs; with a search that thinks while trials
run it must be the same. The first two are left out: nothing ran while they were chosen.

    python benchmarks/waiting.py            # TPE after 5,000 trials
    python benchmarks/waiting.py --short    # after 500
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asking
from idle import ENV_STEPS, make_trials_idle
from tables import print_head, print_row, verdict

from sweeper.paths import RunPaths

SPEC = """
name: waiting
environment: CartPole-v1
algorithm: PPO
backend: rllib
seeds: 1
param_space:
  lr: {{loguniform: [1.0e-5, 1.0e-2]}}
  gamma: {{uniform: [0.9, 0.999]}}
  num_epochs: {{randint: [1, 31]}}
  minibatch_size: {{choice: [64, 128, 256]}}
search: {{algorithm: {search}, num_samples: {trials}, max_concurrent: 2}}
stop: {{num_env_steps_sampled_lifetime: {steps}}}
selection: {{finalists: 0}}
checkpoint: {{every_env_steps: {steps}}}
storage: {storage}
tracking: null
"""
ITERATIONS = 5
TRIAL_S = 1.0
HISTORY, MORE = 5000, 40
SHORT_HISTORY, SHORT_MORE = 500, 10
SEARCHES = ("random", "tpe")
COLUMNS = ("choose_ms", "median_ms", "p95_ms", "most_ms", "all_ms")
MAX_WAIT_MS = 20.0  # more than random search's: two hundredths of a second of a core


def run(*, is_short: bool) -> None:
    """Measure both, each in a process of its own."""
    history, more = (SHORT_HISTORY, SHORT_MORE) if is_short else (HISTORY, MORE)
    print_head(
        "search", "trials before", "ms to choose", "end to next, median ms", "95 %", "most",
        "ms between trials, in all",
    )  # fmt: skip
    medians = {}
    for search in SEARCHES:
        measured = subprocess.run(
            [sys.executable, __file__, "--one", search, str(history), str(more)],
            capture_output=True,
            text=True,
        )
        if measured.returncode:
            sys.exit(measured.stderr)
        row = json.loads(measured.stdout.splitlines()[-1])
        medians[search] = row["median_ms"]
        print_row(search, f"{history:,}", *(f"{row[name]:.1f}" for name in COLUMNS))
    gap = medians["tpe"] - medians["random"]
    print_head("what", "asked", "reached", "met")
    print_row(
        f"ms that a core waits for TPE at {history:,} trials",
        f"at most {MAX_WAIT_MS:g}",
        f"{gap:.1f}",
        verdict(gap <= MAX_WAIT_MS),
    )


def measure(search: str, history: int, more: int) -> dict[str, float]:
    """Go on with a run of so many trials; milliseconds between an end and the next ask."""
    from sweeper.api import resume
    from sweeper.journal import TrialAsked, TrialEnded, read_journal

    make_trials_idle(TRIAL_S / ITERATIONS)
    with tempfile.TemporaryDirectory() as folder:
        paths = RunPaths(Path(folder) / "runs" / "waiting-1")
        prepare(paths, search, history, history + more)
        resume(paths.root)
        events = list(read_journal(paths.journal))
    new = [
        event
        for event in events
        if isinstance(event, TrialAsked | TrialEnded) and int(event.trial_id[1:]) > history
    ]
    waits = sorted(
        1000 * (after.time - before.time)
        for before, after in itertools.pairwise(new)
        if isinstance(before, TrialEnded) and isinstance(after, TrialAsked)
    )
    ends = [event.time for event in new if isinstance(event, TrialEnded)]
    # Of two trials at a time, every second end is the same core's.
    laps = [after - before for before, after in zip(ends, ends[2:], strict=False)]
    return {
        "choose_ms": choose_ms(search, history),
        "median_ms": statistics.median(waits),
        "p95_ms": waits[int(0.95 * (len(waits) - 1))],
        "most_ms": waits[-1],
        "all_ms": 1000 * (statistics.median(laps) - TRIAL_S),
    }


def prepare(paths: RunPaths, search: str, history: int, trials: int) -> None:
    """Write a run that was interrupted after so many trials."""
    from sweeper.journal import (
        Journal,
        LaunchEnded,
        LaunchStarted,
        TrialAsked,
        TrialEnded,
        TrialReported,
        TrialStarted,
    )
    from sweeper.planning.plan import build_plan
    from sweeper.spec import dump_spec, load_spec

    paths.root.mkdir(parents=True)
    steps = ITERATIONS * ENV_STEPS
    storage = paths.root.parent
    given = SPEC.format(search=search, trials=trials, steps=steps, storage=storage)
    paths.spec.write_text(given)
    spec = dump_spec(load_spec(paths.spec))
    paths.spec.write_text(spec)
    paths.plan.write_text(json.dumps(build_plan(load_spec(paths.spec)).to_json()))
    now, met = time.time(), f"num_env_steps_sampled_lifetime >= {steps}"
    journal = Journal(paths.journal, [])
    journal.append(LaunchStarted(now, 1, 1, ("sweeper", "run"), spec=spec))
    for number, parameters in enumerate(asking.draw(history), start=1):
        trial_id = f"t{number:04d}"
        row = {
            "training_iteration": ITERATIONS,
            "num_env_steps_sampled_lifetime": steps,
            "episode_return_mean": asking.worth(parameters),
            "time_total_s": TRIAL_S,
        }
        journal.append(TrialAsked(now, trial_id, parameters, parameters, (0,)))
        journal.append(TrialStarted(now, trial_id, "127.0.0.1"))
        journal.append(TrialReported(now, trial_id, row, met))
        journal.append(TrialEnded(now, trial_id, "TERMINATED", met))
    journal.append(LaunchEnded(now, "interrupted"))
    journal.close()


def choose_ms(search: str, history: int) -> float:
    """Milliseconds that the search itself takes to choose a configuration: a median."""
    step = asking.make_ours(search, list(asking.draw(history)), probes=10)
    times = []
    for _ in range(10):
        began = time.monotonic()
        step()
        times.append(1000 * (time.monotonic() - began))
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help=f"after {SHORT_HISTORY} trials")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        search, history, more = arguments.one
        print(json.dumps(measure(search, int(history), int(more))))
        return
    run(is_short=arguments.short)


if __name__ == "__main__":
    main()
