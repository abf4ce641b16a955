"""Which evaluation of an agent its run reported, and how to play the same episodes again.

Nothing of the run is executed for that: no environment is built, no module imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
from scipy import stats

from sweeper.agents.episodes import action_seeds, episode_seeds
from sweeper.agents.whereabouts import Whereabouts
from sweeper.environments.settings import EnvironmentSettings
from sweeper.environments.vector import choose_vectorization
from sweeper.errors import UserError
from sweeper.evidence.champions_runs import does_explore
from sweeper.evidence.record import load_selection
from sweeper.evidence.statistics import summarise_sample
from sweeper.json_values import to_json
from sweeper.metrics import EVALUATION, EXAMINED, IS_NEW_EVALUATION
from sweeper.planning.episode_cap import default_episode_cap
from sweeper.results.builder import load_results
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.results.scoring import env_steps_of, is_comparable, iteration_of
from sweeper.spec import ExperimentSpec, load_record
from sweeper.spec.keys.support import Support
from sweeper.trainables.contract import MAX_EPISODE_STEPS, EvaluationSettings
from sweeper.trainables.examination import AGENT_STAGE, CONFIGURATION_STAGE
from sweeper.trainables.seeding import Purpose, derive_seed, seed_sequence

__all__ = ["describe_evaluation", "lay_out"]

_NATIVE, _POOLED = "vector_entry_point", "envpool"
_RETURN = "episode_return_mean"
_EPISODES, _SEED, _ENVS = 100, 0, 20  # of an agent without a report: those of `sweeper evaluate`
_MAX_NATIVE_ENVS = 1000  # as planning.settings has it
_LEVEL = 0.95


@dataclass(frozen=True)
class _Source:
    """An evaluation that the run reported.

    Attributes:
        settings: how it was played.
        stage: whose environment seeds.
        of: whose it is, and over which episodes, in words.
        mean: of the returns.
        returns: one per episode; None if they are not recorded.
    """

    settings: EvaluationSettings
    stage: str
    of: str
    mean: float
    returns: tuple[float, ...] | None = None


def describe_evaluation(where: Whereabouts, seed: int | None) -> dict[str, Any]:
    """What ``evaluation.json`` holds: the episodes to play, and what they were reported to give.

    Args:
        where: of the agent.
        seed: that it was trained with, if it is known.

    Raises:
        UserError: its environment is not known.
    """
    environment = where.environment()[0]
    spec = None if where.run is None else load_record(where.run.spec)
    source = None if spec is None or seed is None else _find_source(where, spec, seed)
    if spec is None or source is None or seed is None:
        return _describe_others(where, environment, spec, seed)
    episodes = lay_out(environment, spec.support, source.settings, source.stage, seed)
    return {**episodes, "reported": _describe_report(source)}


def lay_out(
    environment: EnvironmentSettings,
    support: Support,
    settings: EvaluationSettings,
    stage: str,
    seed: int,
) -> dict[str, Any]:
    """The episodes that a trainer's evaluation played, for `standalone.episodes.play`.

    Args:
        environment: in which.
        support: of the trainer.
        settings: how they were played.
        stage: a key of `seeding.STAGES`.
        seed: that the replica was trained with.
    """
    mode = _find_mode(settings.fix_episodes(environment), support, len(settings.quotas))
    first = derive_seed(seed, stage, Purpose.EVALUATION_ENVIRONMENTS)
    actions = seed_sequence(seed, stage, Purpose.EVALUATION_ACTIONS)
    notes = []
    if mode == _POOLED:
        notes.append(
            "The evaluation was played in envpool. play.py plays gymnasium's implementation of the "
            "same task, where the same seeds begin other episodes."
        )
    if settings.explore and not support.builds_vector_envs:
        notes.append(
            "The evaluation sampled its actions with RLlib's random numbers. play.py samples with "
            "others, so its episodes are others."
        )
    return {
        "environment": _describe_environment(environment),
        "vectorization": _NATIVE if mode == _NATIVE else "sync",
        "seeds": [
            [first + index, *_later_seeds(first + index, quota - 1)]
            for index, quota in enumerate(settings.quotas)
        ],
        "max_episode_steps": settings.max_episode_steps,
        "actions": _describe_seeds(actions) if settings.explore else None,
        "quantile": _quantile(settings.episodes),
        "notes": notes,
    }


def _describe_environment(environment: EnvironmentSettings) -> dict[str, Any]:
    """What builds it, without folders of this machine: modules are looked for beside play.py."""
    parts = environment.to_json()
    return {name: to_json(parts[name]) for name in ("id", "kwargs", "wrappers", "module")}


def _describe_others(
    where: Whereabouts,
    environment: EnvironmentSettings,
    spec: ExperimentSpec | None,
    seed: int | None,
) -> dict[str, Any]:
    """The episodes of ``sweeper evaluate``, where none were reported."""
    seeds = episode_seeds(_SEED, _EPISODES)
    explores = spec is not None and does_explore(spec)
    return {
        "environment": _describe_environment(environment),
        "vectorization": "sync",
        "seeds": [seeds[index::_ENVS] for index in range(_ENVS)],
        "max_episode_steps": where.episode_cap(_find_limit(environment)),
        "actions": _describe_seeds(action_seeds(_SEED, seed)) if explores else None,
        "quantile": _quantile(_EPISODES),
        "notes": [],
        "reported": None,
    }


def _describe_report(source: _Source) -> dict[str, Any]:
    interval, reason = None, "the returns of its episodes are not recorded"
    if source.returns is not None:
        summary = summarise_sample(source.returns)
        interval, reason = summary.interval, summary.interval_reason or ""
    return {
        "of": source.of,
        "mean": source.mean,
        "interval": None if interval is None else list(interval),
        "interval_reason": None if interval is not None else reason,
        "returns": None if source.returns is None else list(source.returns),
    }


# --- the report ------------------------------------------------------------------------------


def _find_source(where: Whereabouts, spec: ExperimentSpec, seed: int) -> _Source | None:
    """The best that is known of the agent itself.

    Episodes that it was not chosen by come first, then those of the confirmation, then those of its
    trial's own evaluation at the checkpoint.
    """
    if where.run is None:
        return None
    results = load_results(where.run)
    found = _find_report(where, results)
    if found is None or seed not in found[0].seeds:
        return None
    trial, row = found
    index, name = trial.seeds.index(seed), f"this agent ({trial.trial_id}, seed {seed})"
    confirmed = None if results.confirmation is None else results.confirmation.episodes
    if confirmed is not None:
        settings = _confirmation_settings(spec, confirmed)
        returns = _numbers(row.get("agent/episode_returns"))
        if row.get("agent/replica") == index and len(returns) == confirmed:
            of = f"{name} over {confirmed} episodes that it was not chosen by"
            return _Source(settings, AGENT_STAGE, of, float(np.mean(returns)), returns)
        value = _value_of(row, f"replica/{EXAMINED}{_RETURN}", index)
        if value is not None:
            of = f"{name} over the {confirmed} episodes by which its configuration was judged"
            return _Source(settings, CONFIGURATION_STAGE, of, value)
    value = _value_of(row, f"replica/{EVALUATION}{_RETURN}", index)
    if spec.evaluation is None or value is None or not row.get(IS_NEW_EVALUATION, True):
        return None
    settings = _evaluation_settings(spec)
    of = f"{name} over the {settings.episodes} episodes of its trial's evaluation"
    return _Source(settings, trial.stage, of, value)


def _find_report(
    where: Whereabouts, results: SweepResults
) -> tuple[TrialRecord, Mapping[str, Any]] | None:
    """The agent's trial, and the report that was made with its weights."""
    run, described = where.run, where.description
    if run is None:
        return None
    if where.folder != run.champion:
        for trial in (*results.trials, *results.retrained):
            for checkpoint in trial.checkpoints:
                folder = (run.root / checkpoint.path).absolute()
                if folder in (where.folder, where.folder.parent):
                    made = iteration_of(checkpoint.metrics)
                    rows = [row for row in trial.reports if iteration_of(row) == made]
                    return None if made is None or not rows else (trial, rows[-1])
        return None
    retrained = described.get("retrained_as")
    try:
        trial = results.trial(str(retrained or described.get("trial_id")))
        if retrained is not None:
            return trial, trial.last_report
        selection = load_selection(run.selection)
    except (KeyError, UserError):
        return None
    if selection.trial_id != trial.trial_id or selection.checkpoint_note is not None:
        return None  # its weights are those of another report
    steps = described.get("env_steps")
    rows = [row for row in trial.reports if env_steps_of(row) == steps is not None]
    return (trial, rows[-1]) if rows else None


def _value_of(row: Mapping[str, Any], name: str, index: int) -> float | None:
    values = row.get(name)
    if not isinstance(values, list | tuple) or index >= len(values):
        return None
    return float(values[index]) if is_comparable(values[index]) else None


def _numbers(values: Any) -> tuple[float, ...]:
    is_list = isinstance(values, list | tuple)
    return tuple(map(float, values)) if is_list and all(map(is_comparable, values)) else ()


# --- how it was played -----------------------------------------------------------------------


def _evaluation_settings(spec: ExperimentSpec) -> EvaluationSettings:
    """As `planning.settings` has them, without building the environment."""
    if spec.evaluation is None:
        settings = EvaluationSettings(max_episode_steps=default_episode_cap(spec))
    else:
        settings = EvaluationSettings(**spec.evaluation.model_dump())
    limit, asked = _find_limit(spec.environment.settings()), settings.max_episode_steps
    if limit is not None and (asked is None or asked >= limit):
        asked = max(limit, MAX_EPISODE_STEPS) if spec.environment.wrappers else None
    return replace(settings, max_episode_steps=asked)


def _confirmation_settings(spec: ExperimentSpec, episodes: int) -> EvaluationSettings:
    settings, support = _evaluation_settings(spec), spec.support
    is_native = (
        support.builds_vector_envs
        and _find_mode(spec.environment.settings(), support, episodes) == _NATIVE
    )
    envs = min(episodes, _MAX_NATIVE_ENVS) if is_native else settings.max_envs
    return replace(settings, episodes=episodes, max_envs=envs)


def _find_mode(environment: EnvironmentSettings, support: Support, envs: int) -> str:
    """How the environments were stepped; gymnasium's native ones have no module of their own."""
    is_plain = environment.module is None and ":" not in environment.id
    if environment.vectorization != "auto":
        return environment.vectorization
    if not (is_plain and support.builds_vector_envs):
        return "sync"
    try:
        return choose_vectorization(environment, envs, support.min_native_envs)
    except gymnasium.error.Error:  # it is not installed here
        return "sync"


def _find_limit(environment: EnvironmentSettings) -> int | None:
    """The time limit of one of gymnasium's own; None where a module would have to tell."""
    if environment.module is not None or ":" in environment.id:
        return None
    given = environment.kwargs.get("max_episode_steps")
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return given
    try:
        limit: int | None = gymnasium.spec(environment.id).max_episode_steps
    except gymnasium.error.Error:
        return None
    return limit


def _later_seeds(first: int, number: int) -> list[int]:
    """Those that `environments.outcomes.SeededEpisodes` begins later episodes with."""
    sequences = (np.random.SeedSequence([first, episode]) for episode in range(1, number + 1))
    return [int(one.generate_state(1)[0] >> 1) for one in sequences]


def _describe_seeds(root: np.random.SeedSequence) -> dict[str, Any]:
    entropy = root.entropy
    words: Sequence[int] = [entropy] if isinstance(entropy, int) else list(entropy or ())
    return {"entropy": list(map(int, words)), "spawn_key": list(map(int, root.spawn_key))}


def _quantile(episodes: int) -> float | None:
    """Student's t: by how many standard errors the 95 % interval of a mean reaches to a side."""
    return None if episodes < 2 else float(stats.t.ppf(0.5 + _LEVEL / 2, episodes - 1))
