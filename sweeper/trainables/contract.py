"""The contract between a trial and the backend that trains its replicas. Knows no Ray.

A trainer gets `TrialSettings` and a configuration, gives `ReplicaProgress` and `EvaluationResult`,
and keeps the promises of `ReplicaTrainer`. `TrialMetrics` turns what the replicas report into a
trial's rows, so a metric means the same on every backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import numpy as np

from sweeper.environments.outcomes import EnvironmentFault, SeededEpisodes
from sweeper.environments.settings import EnvironmentSettings, WrapperSettings
from sweeper.errors import SweeperError
from sweeper.metrics import Objective
from sweeper.states import Stage
from sweeper.trainables.plateau import Plateau

__all__ = [
    "MAX_EPISODE_STEPS",
    "NON_FINITE_POLICY",
    "EnvironmentFailedError",
    "EvaluationResult",
    "EvaluationSettings",
    "Examination",
    "NetworkDescription",
    "ReplicaProgress",
    "ReplicaTrainer",
    "TrialDivergedError",
    "TrialSettings",
]

# The longest episode in common use, half an hour of Atari: Machado et al., 2018.
MAX_EPISODE_STEPS = 27_000
_MAX_EVALUATION_ENVS = 20
# Why a replica diverges in an evaluation, if its environments are not to blame.
NON_FINITE_POLICY = "its policy's outputs in an evaluation are not finite"


class TrialDivergedError(SweeperError):
    """More than half of the trial's replicas have non-finite weights or losses."""


class EnvironmentFailedError(SweeperError):
    """The environment returned what it must not; training again would not help."""


@dataclass(frozen=True)
class EvaluationSettings:
    """How replicas are evaluated.

    Attributes:
        episodes: episodes per replica and evaluation.
        every_env_steps: evaluate when a replica's env steps cross a multiple of this; None:
            at every tenth of the trial, see `milestones.tenths_done`.
        explore: sample actions instead of taking the greedy one.
        max_episode_steps: an episode is cut after so many steps and counts with what it has
            earned; None: the environment ends its episodes itself.
        max_envs: sub-environments of a replica, at most.
        time_limit: the environment's own, in steps; None: it has none.
    """

    episodes: int = 20
    every_env_steps: int | None = None
    explore: bool = False
    max_episode_steps: int | None = None
    max_envs: int = _MAX_EVALUATION_ENVS
    time_limit: int | None = None

    @property
    def quotas(self) -> list[int]:
        """How many episodes each sub-environment plays, fixed beforehand.

        An evaluation counts exactly these: the first episodes to finish would be the short ones.
        """
        envs = min(self.episodes, self.max_envs)
        return [self.episodes // envs + (env < self.episodes % envs) for env in range(envs)]

    def fix_episodes(self, environment: EnvironmentSettings) -> EnvironmentSettings:
        """The environment as evaluations play it: always the same episodes, cut where asked.

        A sub-environment that plays several episodes seeds each, or a policy would decide which
        come later. ``max_episode_steps`` is an outermost TimeLimit; up to there an episode stays
        the same. Native vector environments and envpool take no wrappers; such an evaluation
        steps gymnasium's single environments instead.
        """
        added = []
        if max(self.quotas) > 1:
            added.append(WrapperSettings(f"{SeededEpisodes.__module__}.{SeededEpisodes.__name__}"))
        if self.max_episode_steps is not None:
            limit = {"max_episode_steps": self.max_episode_steps}
            added.append(WrapperSettings("TimeLimit", limit))
        if not added:
            return environment
        takes_wrappers = environment.vectorization in ("auto", "async")
        return replace(
            environment,
            wrappers=(*environment.wrappers, *added),
            vectorization=environment.vectorization if takes_wrappers else "sync",
        )

    def refuse_endless(self, steps: int, environment: EnvironmentSettings) -> None:
        """Refuse an episode that goes on far beyond the environment's time limit.

        Args:
            steps: of the episode, so far.
            environment: as it is played.

        Raises:
            EnvironmentFault: something hides the limit, and the episode would never end.
        """
        limit = self.time_limit
        if limit is None or self.max_episode_steps is not None:
            return
        if steps <= max(limit, MAX_EPISODE_STEPS):
            return
        why = (
            "a wrapper of its registration hides that; give environment.wrappers: "
            f"[{{TimeLimit: {{max_episode_steps: {limit}}}}}]"
        )
        if environment.vectorization in ("vector_entry_point", "envpool"):
            why = "its vector version does not keep to that; use vectorization: sync"
        raise EnvironmentFault(
            f"an episode has not ended after {steps:,} steps, though the time limit is {limit:,}: "
            f"{why}"
        )


@dataclass(frozen=True)
class Examination:
    """Other episodes than those that a trial is followed by while it trains.

    Attributes:
        settings: how they are played.
        stage: a key of `seeding.STAGES`: whose environment seeds.
        replicas: indices of those that play; None: all.
    """

    settings: EvaluationSettings
    stage: str
    replicas: tuple[int, ...] | None = None

    def includes(self, replica: int) -> bool:
        """Whether a replica plays."""
        return self.replicas is None or replica in self.replicas


@dataclass(frozen=True)
class TrialSettings:
    """What all trials of a sweep have in common; plain data.

    Attributes:
        algorithm: RLlib's name, e.g. ``PPO``.
        backend: ``torch`` or ``rllib``.
        environment: the environment and how it is built.
        constants: the fixed part of the param space, nested.
        seeds: one per replica.
        stage: a key of `seeding.STAGES`; stages never share random numbers.
        stop: canonical metric name to value; a criterion is met when ``metric >= value``.
        plateau: a further stop criterion; None: none.
        evaluation: None: no evaluations.
        checkpoint_every_env_steps: as in `EvaluationSettings`.
        checkpoint_replay: whether checkpoints contain the replay memories.
        time_budget_s: the whole search's; its tenths count for trials without a bound of time.
        env_steps_share: a replica's share of the search's budget, used in the same way.
        objective: how trials are judged.
        confirmation: how replicas are judged once they are trained; None: not at all.
        cpus: cores of the trial's process.
        gpus: GPUs of the trial's process.
        start: the folder with the weights that trials begin with; None: they draw their own.
    """

    algorithm: str
    backend: str
    environment: EnvironmentSettings
    constants: Mapping[str, Any]
    seeds: tuple[int, ...]
    stage: str = Stage.SEARCH
    stop: Mapping[str, float] | None = None
    plateau: Plateau | None = None
    evaluation: EvaluationSettings | None = None
    checkpoint_every_env_steps: int | None = None
    checkpoint_replay: bool = False
    time_budget_s: float | None = None
    env_steps_share: float | None = None
    objective: Objective = field(default_factory=Objective)
    confirmation: EvaluationSettings | None = None
    cpus: float = 1
    gpus: float = 0
    start: str | None = None


@dataclass(frozen=True)
class NetworkDescription:
    """What weights must be like to fit the network of a configuration.

    Attributes:
        shapes: of every parameter by its name, without an axis of replicas.
        meaning: what else decides what a network makes of its weights, such as ``activation``; as
            JSON.
    """

    shapes: Mapping[str, tuple[int, ...]]
    meaning: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ReplicaProgress:
    """What one replica did in one iteration.

    Attributes:
        env_steps: real env steps since the replica's start.
        episode_returns: returns of the episodes that ended in this iteration, in order.
        episode_lengths: env steps of the same episodes.
        learner: the learner's finite scalars, under RLlib's names without a prefix.
        diverged: the weights or the loss are non-finite; the replica is frozen from now on.
        cause: why, where something else than the training is to blame, e.g. a reward of NaN.
    """

    env_steps: int
    episode_returns: tuple[float, ...] = ()
    episode_lengths: tuple[int, ...] = ()
    learner: Mapping[str, float] | None = None
    diverged: bool = False
    cause: str | None = None


@dataclass(frozen=True)
class EvaluationResult:
    """The return and length of every episode in one evaluation of one replica.

    Attributes:
        num_capped: how many of them reached ``max_episode_steps``; None if there is no cap.
        diverged: something was not finite: the environment's rewards or observations, or the
            policy's outputs. There are no episodes then, and the replica is frozen from now on.
        cause: what that was, in words.
    """

    episode_returns: tuple[float, ...]
    episode_lengths: tuple[int, ...]
    num_capped: int | None = None
    diverged: bool = False
    cause: str | None = None

    @classmethod
    def count(
        cls,
        finished: Sequence[Sequence[tuple[float, int]]],
        quotas: Sequence[int],
        max_episode_steps: int | None = None,
    ) -> EvaluationResult:
        """The result of each sub-environment's first episodes, as many as its quota.

        It diverged if their returns are so large that they, or their mean, are not finite.

        Args:
            finished: (return, length) of each sub-environment's episodes, in order.
            quotas: as `EvaluationSettings.quotas`.
            max_episode_steps: as in `EvaluationSettings`.
        """
        counted = [
            episode
            for played, quota in zip(finished, quotas, strict=True)
            for episode in played[:quota]
        ]
        returns = tuple(value for value, _ in counted)
        with np.errstate(all="ignore"):
            if not np.isfinite(np.mean(returns)):
                return cls.failed("its returns in an evaluation are too large for a finite mean")
        lengths = tuple(length for _, length in counted)
        cap = max_episode_steps
        num_capped = None if cap is None else sum(length >= cap for length in lengths)
        return cls(returns, lengths, num_capped)

    @classmethod
    def failed(cls, cause: str) -> EvaluationResult:
        """The result of a replica that diverged in the evaluation."""
        return cls((), (), diverged=True, cause=cause)


class ReplicaTrainer(Protocol):
    """Trains one configuration with all its replicas, in the order of the settings' seeds.

    Built from ``(settings, configuration)``; the configuration is complete and nested. A trainer
    must keep these promises; ``test_conformance.py`` checks them:

    - A replica's random numbers depend on its seed and stage only, not on the replicas beside it.
      A repeated run gives the same numbers bit for bit.
    - Env steps are those that the environments took; an autoreset is none.
    - A replica that diverges, in training or in an evaluation, is frozen and does not disturb the
      others.
    - Evaluations play the same held-out episodes every time and do not disturb training.
    - A restored trainer has the saved weights and counters, and begins new episodes. Its
      hyperparameters are those that it was built with, from the first update on.
    - A branch draws other random numbers than the trial that it comes from.
    - A trainer that begins with given weights acts as these do until its first update, and draws
      the random numbers that it would draw without them.
    - An unsupported key or value raises `ConfigurationRefusedError`.
    """

    def __init__(self, settings: TrialSettings, configuration: Mapping[str, Any]) -> None: ...

    def train(self) -> list[ReplicaProgress]:
        """Train one iteration; a diverged replica's entry repeats its last env steps."""
        ...

    def evaluate(self, examination: Examination | None = None) -> list[EvaluationResult | None]:
        """Evaluate every replica.

        Returns:
            One result per replica; None for one that had diverged before, or does not play. One
            that diverges in the evaluation is frozen, and says so in its result.
        """
        ...

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the replicas into an existing folder; returns further JSON for `restore`."""
        ...

    def restore(self, folder: Path, state: Mapping[str, Any], *, branch: int | None = None) -> None:
        """Continue from what `save` wrote and returned; called before any training.

        Args:
            folder: where `save` wrote.
            state: what it returned.
            branch: the number of a copy of another trial: its generators begin anew. None: the
                trial's own.
        """
        ...

    def begin(self, folder: Path) -> None:
        """Begin with the weights in a folder instead of random ones; called before any training.

        Everything else begins as without them.

        Args:
            folder: ``weights.safetensors`` there has the tensors of `describe_network`, of each
                replica in the order of the seeds, and statistics that the environment is
                normalised by as ``normalisation.…``, which a trainer takes over if it has them.

        Raises:
            SweeperError: they are damaged, or don't fit.
        """
        ...

    def close(self) -> None:
        """Free processes, environments and memory; the trainer is not used afterwards."""
        ...

    @classmethod
    def describe_network(
        cls,
        settings: TrialSettings,
        configuration: Mapping[str, Any],
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
    ) -> NetworkDescription:
        """What weights of a configuration must be like; builds no environment."""
        ...
