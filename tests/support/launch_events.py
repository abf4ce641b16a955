"""A launch made up of events, as the views see one: a plan, a results builder, a clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.journal import (
    Event,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialEnded,
    TrialReported,
    TrialStarted,
)
from sweeper.metrics import ENV_STEPS
from sweeper.planning.plan import SweepPlan
from sweeper.results.builder import ResultsBuilder
from sweeper.spec import load_spec
from sweeper.views.watch import LaunchWatch

SPEC = """
name: {name}
environment: CartPole-v1
algorithm: PPO
backend: rllib
param_space: {{lr: {{loguniform: [1.0e-5, 1.0e-2]}}}}
search: {{num_samples: {trials}, max_concurrent: {concurrent}}}
stop: {{num_env_steps_sampled_lifetime: 1000}}
selection: {{metric: {metric}, mode: {mode}}}
tracking: null
"""


def make_plan(
    folder: Path,
    *,
    trials: int = 32,
    concurrent: int = 2,
    metric: str = "episode_return_mean",
    mode: str = "max",
    name: str = "cartpole",
    more: str = "",
) -> SweepPlan:
    file = folder / "spec.yaml"
    text = SPEC.format(name=name, trials=trials, concurrent=concurrent, metric=metric, mode=mode)
    file.write_text(text + more)
    spec = load_spec(file)
    return SweepPlan(
        spec=spec,
        trials=trials,
        replicas=1,
        env_steps=1000 * trials,
        concurrent=concurrent,
    )


@dataclass
class Launch:
    """Feeds a watch and the results behind it; ``now`` is the time of all of them."""

    plan: SweepPlan
    root: Path = Path("/runs/cartpole")
    now: float = 1_000_000.0
    seeds: tuple[int, ...] = (0,)
    watch: LaunchWatch = field(init=False)
    results: ResultsBuilder = field(init=False)
    heard: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.results = ResultsBuilder(self.root)
        self.watch = LaunchWatch(self.plan, self.results, clock=lambda: self.now)
        self.to = self.watch.receive

    def feed(self, event: Event) -> None:
        self.results.apply(event)
        self.to(event)

    def begin(self) -> None:
        self.feed(LaunchStarted(self.now, 1, 1, ("sweeper", "run")))

    def start(self, trial_id: str, **parameters: Any) -> None:
        self.feed(TrialAsked(self.now, trial_id, parameters, parameters, self.seeds))
        self.feed(TrialStarted(self.now, trial_id, "127.0.0.1"))

    def report(
        self,
        trial_id: str,
        share: float,
        value: float,
        decision: Mapping[str, Any] | None = None,
        **metrics: Any,
    ) -> None:
        """A trial of 1000 steps and 100 s, so far along, with a return."""
        row: Mapping[str, Any] = {
            "training_iteration": round(100 * share),
            "episode_return_mean": value,
            "num_env_steps_sampled_lifetime": round(1000 * share),
            "time_total_s": 100.0 * share,
            "env_steps_per_s": 10.0,
            **metrics,
        }
        self.feed(TrialReported(self.now, trial_id, row, decision=decision))

    def end(self, trial_id: str, state: str = "TERMINATED", error: str | None = None) -> None:
        is_pruned = state == "PRUNED"
        whole = "9 < 120.5, the cut-off of rung 1" if is_pruned else f"{ENV_STEPS} >= 1000"
        reason = "crashed" if error else whole
        self.feed(TrialEnded(self.now, trial_id, state, reason, error))

    def over(self, reason: str = "finished") -> None:
        self.feed(LaunchEnded(self.now, reason))
