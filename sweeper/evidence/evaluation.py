"""Play episodes with trained agents, on environment seeds that nothing else uses."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sweeper.agents.episodes import action_generator, play_episodes
from sweeper.agents.locate import find_agents, find_diverged
from sweeper.agents.playing import open_playground, small_batches
from sweeper.agents.reading import read_agent
from sweeper.agents.whereabouts import Whereabouts, find_agent
from sweeper.errors import UserError
from sweeper.evidence.champions_runs import ChampionsRuns, describe_champion, does_explore
from sweeper.evidence.current import is_written, select_current
from sweeper.evidence.played import AgentEvaluation, Evaluation, Yardstick
from sweeper.evidence.record import Selection, load_selection
from sweeper.evidence.selection import NothingToSelect
from sweeper.metrics import examined_metric
from sweeper.paths import DEFAULT_STORAGE, RunPaths, run_reference
from sweeper.relocation import relocate
from sweeper.results.builder import load_results
from sweeper.spec import ExperimentSpec, load_record
from sweeper.trust import Trust, TrustLike

__all__ = ["AgentEvaluation", "Evaluation", "evaluate", "find_champions_runs"]

_logger = logging.getLogger(__name__)

_RETURN = "episode_return_mean"  # what is played for


def evaluate(
    target: str | Path = "last",
    storage: str | Path = DEFAULT_STORAGE,
    *,
    episodes: int = 100,
    seed: int = 0,
    replica: int | None = None,
    max_episode_steps: int | None = None,
    explore: bool | None = None,
    allow_changed_environment: bool = False,
    trust: TrustLike = False,
    say: Callable[[str], None] = _logger.info,
) -> Evaluation:
    """Play episodes with a run's champion, or with a checkpoint.

    Args:
        target: a run (name, path or ``last``), whose champion plays; a trial's checkpoint, all
            of whose replicas play, but for those that diverged; or the folder of a single agent.
        storage: the folder that holds the runs.
        episodes: how many each agent plays.
        seed: which episodes; the same for every agent, so that results can be compared.
        replica: only the replica that was trained with this seed.
        max_episode_steps: an episode is cut after so many steps and counts with what it has
            earned; None: as in the run, whose default holds where there is no run.
        explore: whether actions are sampled as in evaluations that explore, and not the greedy
            ones; None: as in the run's evaluations, greedy where there is no run.
        allow_changed_environment: play although the code of the environment has changed since the
            training.
        trust: import and unpickle what this user did not make on this machine.
        say: receives, in words, what that is, and which checkpoints are passed over.

    Raises:
        UserError: there is nothing to evaluate, the environment is another one, whoever made it is
            not trusted, or the run's champion is another one than the agent that is there.
    """
    Trust.of(trust)
    where = find_agent(str(target), str(storage), say=say)
    folder, description = where.folder, where.description
    does_sample = _does_explore(where) if explore is None else explore
    agents = find_agents(folder, description, replica)
    playground = open_playground(
        where,
        max_episode_steps=max_episode_steps,
        allow_changed_environment=allow_changed_environment,
        trust=trust,
        say=say,
        unpickled=where.foreign_pickles(trust),
    )
    run = where.is_champion_of
    champion = None if run is None else find_champions_runs(run, description)
    settings, guard, cap = playground.settings, playground.guard, playground.cap
    evaluated = []
    with small_batches(description):
        for agent in agents:
            player = read_agent(agent.folder, agent.index, trust=True)  # it was asked above
            try:
                returns, lengths = play_episodes(
                    player,
                    settings,
                    episodes=episodes,
                    seed=seed,
                    max_episode_steps=guard,
                    generator=action_generator(seed, agent.seed) if does_sample else None,
                )
            except ValueError as error:  # of the policy
                raise UserError(f"{agent.folder}: {error}") from error
            cap = guard if max(lengths) >= guard else cap
            evaluated.append(AgentEvaluation(agent.name, tuple(returns), tuple(lengths)))
    return Evaluation(
        folder,
        settings.id,
        episodes,
        seed,
        tuple(evaluated),
        max_episode_steps=cap,
        environment_changes=playground.changes,
        champion=champion,
        explore=does_sample,
        diverged=()
        if replica is not None
        else tuple(f"replica_{one}" for one in find_diverged(folder, description)),
        yardstick=_find_yardstick(where.run, explore=does_sample),
    )


def find_champions_runs(paths: RunPaths, description: Mapping[str, Any]) -> ChampionsRuns | None:
    """What stands beside the value of a run's champion; None if the run says nothing of it.

    Raises:
        UserError: ``champion/`` holds the agent of an earlier champion.
    """
    spec = relocate(paths, load_record(paths.spec))
    selection = _find_selection(paths, spec)
    if selection is None:
        return None
    if not is_written(selection, paths.champion):
        raise UserError(_explain_stale(paths, selection))
    return describe_champion(selection, spec, description)


def _find_selection(paths: RunPaths, spec: ExperimentSpec) -> Selection | None:
    """By what the journal has now, or else as it was recorded."""
    try:
        return select_current(load_results(paths), spec.objective, spec)
    except NothingToSelect:
        return _read_selection(paths)


def _read_selection(paths: RunPaths) -> Selection | None:
    try:
        return load_selection(paths.selection)
    except UserError:
        return None


def _explain_stale(paths: RunPaths, selection: Selection) -> str:
    name, chosen = paths.root.name, selection.agent
    checkpoint = selection.checkpoint if chosen is None else chosen.checkpoint
    seed = selection.seed if chosen is None else chosen.seed
    remedy = (
        f"and no checkpoint of it is left; `sweeper best {run_reference(paths.root)}` has its "
        "configuration, to be trained again"
    )
    if checkpoint is not None:
        replica = "" if seed is None else f" --replica {seed}"
        place = shlex.quote(str(checkpoint))
        remedy = f"whose agent is in its checkpoint: `sweeper evaluate {place}{replica}`"
    return (
        f"champion/ of {name} holds the agent of an earlier choice; now the champion is "
        f"{selection.trial_id}, {remedy}"
    )


def _does_explore(where: Whereabouts) -> bool:
    """Whether the evaluations of the run explore; greedy where there is no run."""
    return where.run is not None and does_explore(load_record(where.run.spec))


def _find_yardstick(run: RunPaths | None, *, explore: bool) -> Yardstick:
    """By what the run of a checkpoint weighs returns.

    Of other training runs only those count whose episodes were played in the same way.
    """
    if run is None:
        return Yardstick()
    spec = load_record(run.spec)
    if examined_metric(spec.objective.metric) != examined_metric(_RETURN):
        return Yardstick()
    selection = _read_selection(run)
    others: list[tuple[float, ...]] = []
    if selection is not None and selection.verdict is not None and explore == does_explore(spec):
        known = (one.undiverged for one in selection.verdict.evidence.values())
        others = [values for values in known if values]
    return Yardstick(spec.objective.mode, spec.selection.solved_at, tuple(others))
