"""Play episodes with trained agents, on environment seeds that nothing else uses."""

from __future__ import annotations

import contextlib
import logging
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweeper.agents.agent import load_agent
from sweeper.agents.locate import find_agents, find_diverged, read_description
from sweeper.environments.building import describe
from sweeper.environments.identity import EnvironmentIdentity, identify, refuse_changes
from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import UserError
from sweeper.evidence.champions_runs import ChampionsRuns, describe_champion, does_explore
from sweeper.evidence.current import is_written, select_current
from sweeper.evidence.episodes import action_generator, play_episodes
from sweeper.evidence.played import AgentEvaluation, Evaluation, Yardstick
from sweeper.evidence.record import Selection, load_selection
from sweeper.evidence.selection import NothingToSelect
from sweeper.journal import LaunchStarted, read_journal
from sweeper.metrics import examined_metric
from sweeper.paths import RunPaths, find_run, is_run, run_reference
from sweeper.relocation import find_modules, relocate
from sweeper.results.builder import load_results
from sweeper.spec import ExperimentSpec, load_record
from sweeper.trainables.contract import MAX_EPISODE_STEPS
from sweeper.trust import find_foreign_environment, find_foreign_pickles, refuse_foreign

__all__ = ["AgentEvaluation", "Evaluation", "evaluate", "play_episodes"]

_logger = logging.getLogger(__name__)

_RETURN = "episode_return_mean"  # what is played for


def evaluate(
    target: str,
    storage: str,
    *,
    episodes: int = 100,
    seed: int = 0,
    replica: int | None = None,
    max_episode_steps: int | None = None,
    explore: bool | None = None,
    allow_changed_environment: bool = False,
    trust: bool = False,
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
        say: receives, in words, what that is.

    Raises:
        UserError: there is nothing to evaluate, the environment is another one, whoever made it is
            not trusted, or the run's champion is another one than the agent that is there.
    """
    folder, run = _find_folder(target, storage)
    description = read_description(folder)
    does_sample = _find_explore(folder) if explore is None else explore
    agents = find_agents(folder, description, replica)
    recorded, settings = _find_environment(folder, description)
    foreign = find_foreign_environment(settings, _find_run_of(folder), folder, recorded=recorded)
    if description.get("backend") != "torch":
        foreign += find_foreign_pickles([folder])
    refuse_foreign(foreign, name=str(folder), trust=trust, say=say)
    champion = None if run is None else _find_champions_runs(run, description)
    described = describe(settings)
    cap = _find_episode_cap(folder, description, described.max_episode_steps, max_episode_steps)
    now = identify(settings, described)
    before = _find_identity(folder, description, now)
    changes = refuse_changes(before, now, allows_code=allow_changed_environment)
    evaluated = []
    with _small_batches(description):
        for agent in agents:
            player = load_agent(agent.folder, agent.index, trust=True)  # it was asked above
            # Wrappers can hide that the environment's own limit was reached.
            guard = cap or max(described.max_episode_steps or 0, MAX_EPISODE_STEPS)
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
        environment_changes=changes,
        champion=champion,
        explore=does_sample,
        diverged=()
        if replica is not None
        else tuple(f"replica_{one}" for one in find_diverged(folder, description)),
        yardstick=_find_yardstick(folder, explore=does_sample),
    )


def _small_batches(description: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
    """More threads than one would only wait for each other."""
    if description.get("backend") != "torch":
        return contextlib.nullcontext()
    from sweeper.agents.torch_policy import one_thread

    return one_thread()


def _find_folder(target: str, storage: str) -> tuple[Path, RunPaths | None]:
    """The folder of the agents, and the run whose champion is meant."""
    folder = Path(target)
    if folder.is_dir() and not is_run(folder):
        return folder.absolute(), None
    paths = find_run(target, Path(storage))
    if not paths.champion.is_dir():
        if next(paths.trials.glob("*/checkpoint_*"), None) is None:
            raise UserError(
                f"{paths.root.name} has no champion, and no checkpoint is left to make one of; "
                f"`sweeper best {run_reference(paths.root)}` has the winner's configuration, to be "
                "trained again"
            )
        raise UserError(
            f"{paths.root.name} has no champion; give a checkpoint of one of its trials: "
            f"{paths.trials}/<trial>/<checkpoint>"
        )
    return paths.champion, paths


def _find_champions_runs(paths: RunPaths, description: Mapping[str, Any]) -> ChampionsRuns | None:
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


def _find_explore(folder: Path) -> bool:
    """Whether the evaluations of the run explore; greedy where there is no run."""
    run = _find_run_of(folder)
    return run is not None and does_explore(load_record(run.spec))


def _find_yardstick(folder: Path, *, explore: bool) -> Yardstick:
    """By what the run of a checkpoint weighs returns.

    Of other training runs only those count whose episodes were played in the same way.
    """
    run = _find_run_of(folder)
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


def _find_environment(
    folder: Path, description: Mapping[str, Any]
) -> tuple[EnvironmentSettings, EnvironmentSettings]:
    """The environment of the agent's own description, else of the run's spec.

    Returns:
        The environment as recorded, and with the folders where its modules may lie now.
    """
    run = _find_run_of(folder)
    if "environment" in description:
        recorded = EnvironmentSettings.from_json(description["environment"])
        storage = "" if run is None else load_record(run.spec).storage
        return recorded, find_modules(recorded, run, storage)
    if run is not None:
        spec = load_record(run.spec)
        return spec.environment.settings(), relocate(run, spec).environment.settings()
    raise UserError(
        f"{folder} is no checkpoint: it has no agent.json and lies in no run; give a run, its "
        "champion/, or a checkpoint_… folder of one of its trials"
    )


def _find_run_of(folder: Path) -> RunPaths | None:
    """The run that a checkpoint lies in, if any."""
    root = next((parent for parent in folder.parents if is_run(parent)), None)
    return None if root is None else RunPaths(root)


def _find_episode_cap(
    folder: Path,
    description: Mapping[str, Any],
    limit: int | None,
    asked: int | None,
) -> int | None:
    """What was asked for, else the cap of the run; None if the environment's limit is shorter."""
    cap = asked or description.get("max_episode_steps")
    run = _find_run_of(folder)
    if cap is None and run is not None:
        evaluation = load_record(run.spec).evaluation
        cap = None if evaluation is None else evaluation.max_episode_steps
    if limit is None:
        return cap or MAX_EPISODE_STEPS
    return cap if cap is not None and cap < limit else None


def _find_identity(
    folder: Path, description: Mapping[str, Any], now: EnvironmentIdentity
) -> EnvironmentIdentity:
    """The environment as the run's last launch recorded it.

    An agent outside of its run knows the spaces at most, and a run of an earlier version has no
    record; what is not known is as it is now.
    """
    found = None
    run = _find_run_of(folder)
    if run is not None:
        for event in read_journal(run.journal, strict=False):
            if isinstance(event, LaunchStarted):
                found = EnvironmentIdentity.from_json(event.environment) or found
    if found is not None or description.get("backend") != "torch":
        return found or now
    others = {
        key: description[key]
        for key in ("observation_space", "action_space")
        if _shape(description[key]) != _shape(getattr(now, key))
    }
    return replace(now, **others)


def _shape(space: Mapping[str, Any]) -> Any:
    """What of a space the network's layers depend on, which its bounds are not."""
    parts = space.get("spaces")
    if isinstance(parts, Mapping):
        return {name: _shape(part) for name, part in parts.items()}
    if isinstance(parts, list):
        return [_shape(part) for part in parts]
    return {name: value for name, value in space.items() if name not in ("low", "high", "dtype")}
