"""Send drawn sweeps through `sweeper run`, to show that the simulation chooses as it does.

`champion_quality.py` makes records and judges them. Here the same returns come from a trainer that
draws them, and everything else is real: the spec, the plan, Ray Tune, the trials' processes, the
journal, the confirmation in groups of seeds, the selection, the champion's record. Both must name
the same finalists, champion, verdict and ties, after as many runs of the confirmation.

    python benchmarks/drawn_launches.py              # 5 sweeps of each of three spaces, ~10 minutes
    python benchmarks/drawn_launches.py --short      # one sweep
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from champion_quality import (
    DESIGNS,
    FINALISTS,
    OBJECTIVE,
    REPORTS,
    SEARCH_SEEDS,
    SPACES,
    Space,
    draw_curve,
    draw_return,
    judge_drawn,
    search,
)
from conditions import Conditions
from tables import print_head, print_row, verdict

from sweeper.evidence.confirmation import choose_finalists

SPEC = """
name: drawn
environment: CartPole-v1
algorithm: PPO
backend: rllib
seeds: {seeds}
param_space:
  lr: {{grid_search: {values}}}
stop: {{num_env_steps_sampled_lifetime: {env_steps}}}
evaluation: {{episodes: 1, every_env_steps: {step}}}
selection:
  finalists: {finalists}
  confirm_seeds: {{step: 5, max: 30}}
  confirm_episodes: 1
storage: {storage}
tracking: null
"""
STEP = 1000  # env steps an iteration
LOOKS = DESIGNS["5 to 30"]
LEARNER = dict.fromkeys(("policy_loss", "vf_loss", "entropy", "mean_kl_loss", "total_loss"), 0.5)

Numbers = Mapping[tuple[str, int, int], Any]


class Chosen(NamedTuple):
    """What a sweep came to."""

    finalists: tuple[str, ...]
    champion: str
    verdict: str
    tied: tuple[str, ...]
    runs: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=5, help="of each space (5)")
    parser.add_argument("--short", action="store_true", help="one sweep of the first space")
    arguments = parser.parse_args()
    # Nothing was trained, so there is no agent, which a launch warns of.
    logging.getLogger("sweeper").setLevel("ERROR")
    conditions = Conditions(("ray", "numpy", "scipy"))
    spaces = SPACES[:1] if arguments.short else (SPACES[0], SPACES[2], SPACES[3])
    print_head("space", "sweep", "finalists", "champion", "verdict", "tied", "runs", "the same")
    is_same = True
    for space in spaces:
        for seed in range(1 if arguments.short else arguments.sweeps):
            with tempfile.TemporaryDirectory() as folder:
                real = launch(space, seed, Path(folder))
            simulated = simulate(space, seed)
            is_same &= real == simulated
            print_row(
                space.name,
                str(seed),
                " ".join(real.finalists),
                real.champion,
                real.verdict,
                " ".join(real.tied) or "-",
                str(real.runs),
                verdict(real == simulated)
                if real == simulated
                else f"{verdict(False)}: simulated {simulated}",
            )
    print(f"\n{conditions.describe()}")
    if not is_same:
        sys.exit("a launch and its simulation differ")


def simulate(space: Space, seed: int) -> Chosen:
    """What the simulation chooses."""
    results = search(space, seed)
    judged, runs = judge_drawn(space, results, seed, LOOKS)
    finalists = choose_finalists(results, OBJECTIVE, FINALISTS)
    return Chosen(finalists, judged.champion, judged.verdict, tuple(sorted(judged.tied)), runs)


def launch(space: Space, seed: int, folder: Path) -> Chosen:
    """What `sweeper run` chooses."""
    from sweeper.api import execute
    from sweeper.planning.plan import build_plan
    from sweeper.running.tune import stage
    from sweeper.spec import load_spec

    number = len(space.configurations)
    numbers: dict[tuple[str, int, int], Any] = {
        ("search", index, run): draw_curve(space, seed, index, run)
        for index in range(number)
        for run in range(SEARCH_SEEDS)
    }
    numbers |= {
        ("confirmation", index, run): draw_return(space, seed, 1, index, run)
        for index in range(number + 1)
        for run in range(LOOKS[-1])
    }
    rates = [round(1e-3 * (index + 1), 6) for index in range(number)]
    stage.trial_class = drawn_trial_class(numbers, rates)
    file = folder / "drawn.yaml"
    file.write_text(
        SPEC.format(
            seeds=SEARCH_SEEDS,
            values=rates,
            env_steps=STEP * REPORTS,
            step=STEP,
            finalists=FINALISTS,
            storage=folder / "runs",
        )
    )
    run = execute(build_plan(load_spec(file)))
    selection = run.selection
    made = selection.verdict
    planned = run.results.confirmation
    if made is None or planned is None:
        sys.exit(f"nothing was confirmed: {selection.verdict_text}")
    return Chosen(
        planned.finalists,
        selection.trial_id,
        selection.word,
        tuple(sorted(selection.tied)),
        sum(len(one.runs) for one in made.evidence.values()),
    )


def drawn_trial_class(numbers: Numbers, rates: list[float]) -> Any:
    """Replaces `trial_class`: its trials draw instead of training.

    Local classes are pickled by value, so the workers need not know this file.
    """
    from sweeper.trainables.contract import EvaluationResult, ReplicaProgress
    from sweeper.trainables.trial import SweepTrial

    env_steps_each, learner = STEP, LEARNER

    class DrawnTrainer:
        def __init__(self, settings: Any, configuration: Mapping[str, Any]) -> None:
            rate = configuration.get("lr")
            # The baseline leaves it at its default.
            index = rates.index(rate) if rate in rates else len(rates)
            self.numbers = [numbers[settings.stage, index, run] for run in settings.seeds]
            self.is_search = settings.stage == "search"
            self.iteration = 0

        def train(self) -> list[Any]:
            self.iteration += 1
            steps = env_steps_each * self.iteration
            return [ReplicaProgress(steps, (20.0,), (20,), learner) for _ in self.numbers]

        def evaluate(self, examination: Any = None) -> list[Any]:
            found: list[Any] = []
            for replica, value in enumerate(self.numbers):
                if examination is not None and not examination.includes(replica):
                    found.append(None)
                    continue
                number = value[self.iteration - 1] if self.is_search else value
                found.append(EvaluationResult((float(number),), (20,)))
            return found

        def save(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002
            return {"iteration": self.iteration}

        def restore(self, folder: Path, state: Mapping[str, Any], **_: Any) -> None:  # noqa: ARG002
            self.iteration = state["iteration"]

        def close(self) -> None: ...

    def trial_class(settings: Any, run_root: Path) -> Any:
        class DrawnTrial(SweepTrial):
            def _built(self) -> Any:
                if self._trainer is None:
                    self._trainer = DrawnTrainer(self.settings, self._configuration)
                return self._trainer

        DrawnTrial.settings = settings
        DrawnTrial.log_root = str(run_root)
        return DrawnTrial

    return trial_class


if __name__ == "__main__":
    main()
