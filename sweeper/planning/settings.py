"""The settings of a plan's trials, as `SweepTrial` is given them."""

from __future__ import annotations

from dataclasses import replace

from sweeper.environments.vector import choose_vectorization
from sweeper.planning.episode_cap import default_episode_cap
from sweeper.planning.plan import SweepPlan
from sweeper.search.distributions import constants
from sweeper.states import Stage
from sweeper.trainables.contract import MAX_EPISODE_STEPS, EvaluationSettings, TrialSettings
from sweeper.trainables.plateau import Plateau

__all__ = ["confirmation_settings", "trial_settings"]

_MAX_NATIVE_ENVS = 1000


def confirmation_settings(
    plan: SweepPlan, *, seeds: tuple[int, ...], episodes: int
) -> TrialSettings:
    """The settings of confirmation's trials; their whole configuration comes from outside.

    They are evaluated while they train only if that can end them: it changes nothing else.
    """
    spec, settings = plan.spec, trial_settings(plan)
    watched = [*spec.stop, *([] if spec.plateau is None else [spec.plateau.metric])]
    is_watched = any(name.startswith("evaluation/") for name in watched)
    played = settings.evaluation or EvaluationSettings(
        max_episode_steps=_find_cap(plan, default_episode_cap(spec)), time_limit=plan.time_limit
    )
    # Each episode in a sub-environment of its own, where that is one array operation for all.
    is_native = spec.support.builds_vector_envs and (
        choose_vectorization(settings.environment, episodes, spec.support.min_native_envs)
        == "vector_entry_point"
    )
    envs = min(episodes, _MAX_NATIVE_ENVS) if is_native else played.max_envs
    return replace(
        settings,
        constants={},
        seeds=seeds,
        stage=Stage.CONFIRMATION,
        evaluation=settings.evaluation if is_watched else None,
        time_budget_s=None,
        env_steps_share=None,
        confirmation=replace(played, episodes=episodes, max_envs=envs),
    )


def trial_settings(plan: SweepPlan) -> TrialSettings:
    """The settings that all trials of the search share."""
    spec = plan.spec
    return TrialSettings(
        algorithm=spec.algorithm,
        backend=spec.backend,
        environment=spec.environment.settings(),
        constants=constants(spec.param_space),
        seeds=spec.seeds,
        stop=dict(spec.stop),
        plateau=None if spec.plateau is None else Plateau(**spec.plateau.model_dump()),
        evaluation=_evaluation(plan),
        checkpoint_every_env_steps=spec.checkpoint.every_env_steps,
        checkpoint_replay=spec.checkpoint.replay,
        time_budget_s=spec.budget.time_s,
        env_steps_share=None
        if spec.budget.env_steps is None
        else spec.budget.env_steps / (plan.concurrent * plan.replicas),
        objective=spec.objective,
        cpus=spec.resources.cpus,
        gpus=spec.resources.gpus,
    )


def _evaluation(plan: SweepPlan) -> EvaluationSettings | None:
    if plan.spec.evaluation is None:
        return None
    settings = EvaluationSettings(**plan.spec.evaluation.model_dump())
    cap = _find_cap(plan, settings.max_episode_steps)
    return replace(settings, max_episode_steps=cap, time_limit=plan.time_limit)


def _find_cap(plan: SweepPlan, asked: int | None) -> int | None:
    """Where evaluation episodes are cut; None if the environment's own limit ends them before.

    A wrapper can hide that it was reached, and go on for ever. What a registration brings along
    can, too, but a cap would slow down all others: the evaluators refuse such an episode.
    """
    limit = plan.time_limit
    if limit is None or (asked is not None and asked < limit):
        return asked
    return max(limit, MAX_EPISODE_STEPS) if plan.spec.environment.wrappers else None
