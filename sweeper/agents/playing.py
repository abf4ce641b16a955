"""Where an agent plays: its environment, looked at before, and when an episode is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from sweeper.environments.building import describe
from sweeper.environments.identity import identify, refuse_changes
from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import UserError
from sweeper.trainables.contract import MAX_EPISODE_STEPS
from sweeper.trust import TrustLike, refuse_foreign

if TYPE_CHECKING:
    from sweeper.agents.whereabouts import Whereabouts

__all__ = ["Playground", "open_playground", "small_batches"]


@dataclass(frozen=True)
class Playground:
    """The environment of an agent, after whose code it is was looked at.

    Attributes:
        settings: with the folders where its modules lie now.
        guard: after how many steps an episode is cut; wrappers can hide that the environment's own
            limit was reached.
        cap: the same where it cuts episodes that the environment would go on with; else None.
        changes: of the environment's code since the training, in words.
    """

    settings: EnvironmentSettings
    guard: int
    cap: int | None
    changes: tuple[str, ...] = ()


def open_playground(
    where: Whereabouts,
    *,
    max_episode_steps: int | None,
    allow_changed_environment: bool,
    trust: TrustLike,
    say: Callable[[str], None],
    unpickled: Sequence[str] = (),
) -> Playground:
    """Build an agent's environment once, if its code is trusted, and compare it with the run's.

    Args:
        where: the agent's.
        max_episode_steps: an episode is cut after so many steps; None: as in the run.
        allow_changed_environment: accept other code than that of the training.
        trust: import what this user did not make on this machine.
        say: receives, in words, what that is.
        unpickled: what else is done that needs trust, in words.

    Raises:
        UserError: the environment is not known, not trusted, another one, or can't be built.
    """
    if max_episode_steps is not None and max_episode_steps < 1:
        raise UserError(f"max_episode_steps is {max_episode_steps}; it must be at least 1")
    settings = where.environment()[1]
    foreign = [*where.foreign_environment(trust), *unpickled]
    refuse_foreign(foreign, name=str(where.folder), trust=trust, say=say)
    described = describe(settings)
    now = identify(settings, described)
    changes = refuse_changes(where.identity(now), now, allows_code=allow_changed_environment)
    cap = where.episode_cap(described.max_episode_steps, max_episode_steps)
    guard = cap or max(described.max_episode_steps or 0, MAX_EPISODE_STEPS)
    return Playground(settings, guard, cap, changes)


@contextmanager
def small_batches(description: Mapping[str, Any]) -> Iterator[None]:
    """Within the block a torch agent has one thread: more would only wait for each other.

    Args:
        description: the agent's.
    """
    if description.get("backend") != "torch":
        yield
        return
    of_torch = _one_torch_thread if description["network"]["convolutions"] else nullcontext
    with threadpool_limits(limits=1, user_api="blas"), of_torch():
        yield


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
