"""The confirmation of a launch: finalists and baseline, one group of seeds after the other."""

from __future__ import annotations

import logging
from collections.abc import Generator
from dataclasses import dataclass

from sweeper.evidence.confirmation import Group, Member
from sweeper.planning.settings import confirmation_settings
from sweeper.results.records import last_number
from sweeper.running.confirmation import choose_confirmation, find_next_group
from sweeper.running.limits import Limits
from sweeper.running.resume.state import continue_trial
from sweeper.running.tune.queue import TrialQueue
from sweeper.running.tune.relay import StageTrials
from sweeper.running.tune.stage import Launch, find_nodes, find_room, record_asked
from sweeper.running.tune.trial_storage import trial_storage
from sweeper.schedulers.fifo import FIFOScheduler
from sweeper.search.base import Observation, SearchAlgorithm
from sweeper.search.expansion import Sample
from sweeper.spec.sections import Budget
from sweeper.states import LaunchEnd, Stage

__all__ = ["carry_out_confirmation"]

_logger = logging.getLogger(__name__)

_PREFIX = "c"  # of the trials' ids


def carry_out_confirmation(launch: Launch, search_end: str) -> Generator[StageTrials, None, str]:
    """Confirm the finalists of a search, as far as that is not done yet.

    Args:
        launch: within a Ray session.
        search_end: how the search ended.

    Yields:
        The trials of one group of seeds after the other.

    Returns:
        The same, or why the confirmation ended before it was complete.
    """
    plan, state, results = launch.plan, launch.state, launch.results
    again = set(state.reopened)
    planned = choose_confirmation(plan, results.snapshot(), state, search_end)
    if planned is None:
        if plan.confirmation is not None and search_end in (LaunchEnd.FINISHED, *_BUDGETS):
            _logger.warning(
                "no confirmation: no trial ran to its own end with a score, so there is no finalist"
            )
        return search_end
    launch.drain.begin_stage()
    if planned is not results.confirmation:
        launch.journal.append(planned)
    while group := find_next_group(plan, results.snapshot(), state, search_end, again):
        if launch.drain.reason is not None:
            return launch.drain.reason
        yield _make_trials(launch, group, episodes=planned.episodes)
        again -= set(group.begun)
        if launch.drain.reason is not None and _is_open(launch, group):
            return launch.drain.reason
    return search_end


_BUDGETS = tuple(end for end in LaunchEnd if end.is_budget)


def _is_open(launch: Launch, group: Group) -> bool:
    """Whether a trial of the group is not over."""
    retrained = launch.results.snapshot().retrained
    trials = [one for one in retrained if one.seeds == group.seeds and not one.is_outdated]
    asked = {one.of for one in trials}
    is_begun = all(member.of in asked for member in group.members)
    return not is_begun or not all(one.state.is_over for one in trials)


def _make_trials(launch: Launch, group: Group, *, episodes: int) -> StageTrials:
    plan, results, drain = launch.plan, launch.results, launch.drain
    spec = plan.spec
    # The search's budget is the search's.
    limits = Limits(
        launch.paths, results, spec.objective, Budget(), spec.resources.timeout_s, drain
    )
    placement = find_nodes(launch)
    settings = confirmation_settings(plan, seeds=group.seeds, episodes=episodes)
    begun = last_number(results.snapshot().retrained)  # outdated ones included

    def note_asked(trial_id: str, sample: Sample) -> None:  # noqa: ARG001
        member = group.members[int(trial_id.removeprefix(_PREFIX)) - begun - 1]
        asked = Sample(dict(member.configuration), dict(member.parameters))
        stage = Stage.CONFIRMATION
        record_asked(launch, trial_id, asked, seeds=group.seeds, stage=stage, of=member.of)

    planned = plan.confirmation
    at_once = 1 if planned is None else planned.concurrent
    queue = TrialQueue(
        _Members(group.members, begun),
        trials=begun + len(group.members),
        on_ask=note_asked,
        max_concurrent=len(group.members) if spec.follows_cluster else at_once,
        checkpoints=trial_storage(launch.paths),
        drain=drain,
        asked=begun,
        continuations=[
            continue_trial(results.trial(trial_id), launch.paths) for trial_id in group.begun
        ],
        find_avoided=placement.find_avoided,
        find_room=find_room(launch, settings, placement),
        prefix=_PREFIX,
    )
    return StageTrials(
        settings,
        queue,
        placement=placement,
        scheduler=FIFOScheduler(spec.objective),
        limits=limits,
    )


@dataclass(frozen=True)
class _Members(SearchAlgorithm):
    """Hands out the members of a group; each trial is given its whole configuration."""

    members: tuple[Member, ...]
    begun: int

    def ask(self, number: int) -> Sample | None:
        """The ``number``-th trial of the confirmation."""
        configuration = dict(self.members[number - self.begun - 1].configuration)
        return Sample(configuration, configuration)

    def tell(self, observation: Observation) -> None:
        """Nothing is learned from trials."""
