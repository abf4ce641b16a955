"""Compare two runs of one sweep, `backend: torch` and `backend: rllib`, trial by trial.

The searcher draws the same configurations for both, so a configuration has the same trial id in
both runs. Prints, for every trial that both runs have finished, the two samples of seeds, whether
their intervals overlap, and the seconds; then the winner and the speed of each run. Trains
nothing:

    sweeper run configs/cartpole_dqn.yaml search.max_concurrent=1
    sweeper run configs/cartpole_dqn.yaml search.max_concurrent=1 backend=rllib
    python benchmarks/backends.py runs/TORCH runs/RLLIB
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from learning_curves import Comparison, describe
from scipy import stats
from tables import print_head, print_row

import sweeper
from sweeper.evidence.statistics import Summary, summarise_sample
from sweeper.json_values import encode_json
from sweeper.metrics import ENV_STEPS


@dataclass(frozen=True)
class Side:
    """A trial on one backend.

    Attributes:
        seeds: the metric's last value for each seed.
        seconds: training time of the trial.
        env_steps: total of all seeds.
    """

    seeds: tuple[float, ...]
    seconds: float
    env_steps: int

    @property
    def summary(self) -> Summary:
        """The sample of seeds."""
        return summarise_sample(list(self.seeds))


@dataclass(frozen=True)
class Pair:
    """A configuration on both backends.

    Attributes:
        trial_id: the same in both runs.
        parameters: the searched parameters.
        sides: the trial in the first run, then in the second.
    """

    trial_id: str
    parameters: Mapping[str, Any]
    sides: tuple[Side, Side]

    @property
    def overlaps(self) -> bool:
        """Whether the 95 % intervals have a value in common."""
        first, second = (side.summary for side in self.sides)
        return Comparison(self.trial_id, (first, second)).overlaps

    @property
    def p_value(self) -> float:
        """Of Welch's t test of equal means, which is sharper than comparing intervals."""
        return float(stats.ttest_ind(*(side.seeds for side in self.sides), equal_var=False).pvalue)


def pair_trials(runs: Sequence[sweeper.Run], metric: str) -> list[Pair]:
    """Pair the trials that both runs have finished, sorted by id.

    Raises:
        SystemExit: a trial has different configurations in the two runs.
    """
    first, second = ({trial.trial_id: trial for trial in run.results.trials} for run in runs)
    pairs = []
    for trial_id in sorted(first.keys() & second.keys()):
        trials = first[trial_id], second[trial_id]
        if any(trial.state != "TERMINATED" for trial in trials):
            continue
        # As JSON, where a tuple equals a list.
        mine, other = (encode_json(dict(trial.configuration)) for trial in trials)
        if mine != other:
            raise SystemExit(f"{trial_id} is {mine} in one run, {other} in the other")
        sides = [
            Side(
                seeds=tuple(trial.reports[-1][f"replica/{metric}"]),
                seconds=float(trial.reports[-1]["time_total_s"]),
                env_steps=sum(trial.reports[-1][f"replica/{ENV_STEPS}"]),
            )
            for trial in trials
        ]
        pairs.append(Pair(trial_id, trials[0].parameters, (sides[0], sides[1])))
    return pairs


def by_chance(seeds: int, *, draws: int = 200_000) -> float:
    """The probability that the intervals of two samples of one distribution don't overlap."""
    samples = np.random.default_rng(0).normal(size=(draws, 2, seeds))
    half = stats.t.ppf(0.975, seeds - 1) * samples.std(axis=-1, ddof=1) / np.sqrt(seeds)
    return float((np.abs(np.diff(samples.mean(axis=-1))[:, 0]) > half.sum(axis=-1)).mean())


def _describe_parameters(parameters: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in parameters.items()
    )


def main() -> None:
    """Print the table in Markdown, then a summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs=2, metavar="RUN", help="folders of runs")
    parser.add_argument("--metric", help="the specs' own, if none is given")
    arguments = parser.parse_args()
    runs = [sweeper.open_run(run) for run in arguments.runs]
    backends = [str(run.spec.backend) if run.spec else "-" for run in runs]
    metric = arguments.metric or runs[0].objective.metric
    pairs = pair_trials(runs, metric)
    columns = [f"{backend}{column}" for backend in backends for column in ("", ": 95 % interval")]
    print(f"{metric}, {len(pairs[0].sides[0].seeds)} seeds")
    print_head("trial", *columns, "meet", "p", *(f"{backend} s" for backend in backends))
    for pair in pairs:
        print_row(
            f"{pair.trial_id}: {_describe_parameters(pair.parameters)}",
            *(describe(side.summary) for side in pair.sides),
            "yes" if pair.overlaps else "NO",
            f"{pair.p_value:.2g}",
            *(f"{side.seconds:.0f}" for side in pair.sides),
        )
    apart = [pair.trial_id for pair in pairs if not pair.overlaps]
    expected = len(pairs) * by_chance(len(pairs[0].sides[0].seeds))
    print(f"\n{len(apart)} of {len(pairs)} apart {apart}; by chance {expected:.2f}")
    for index, backend in enumerate(backends):
        sides = [pair.sides[index] for pair in pairs]
        seconds, env_steps = sum(side.seconds for side in sides), sum(s.env_steps for s in sides)
        means = {pair.trial_id: pair.sides[index].summary.mean for pair in pairs}
        print(
            f"{backend}: {max(means, key=means.__getitem__)} is best of these; {seconds:.0f} s, "
            f"{env_steps:,} env steps of all seeds, {env_steps / seconds:,.0f} a second"
        )


if __name__ == "__main__":
    main()
