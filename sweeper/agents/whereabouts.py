"""Where an agent lies, and in which environment it acts.

An agent is loaded without the spec's room, whose import takes a third of a second; what is asked
of the run imports it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.agents.locate import read_description
from sweeper.agents.old_stack import refuse_old_stack
from sweeper.checkpoint_marker import find_damage
from sweeper.environments.identity import EnvironmentIdentity
from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import UserError
from sweeper.journal import LaunchStarted, read_journal
from sweeper.paths import (
    CheckpointPaths,
    RunPaths,
    find_run,
    is_run,
    is_trial_id,
    run_reference,
)
from sweeper.storage.address import parse_address, storage_folder
from sweeper.storage.checkpoints import bring_folder, has_file, list_folders, stored_sizes
from sweeper.storage.working_copy import bring_run
from sweeper.trainables.contract import MAX_EPISODE_STEPS
from sweeper.trust import Trust, TrustLike, find_foreign_environment, find_foreign_pickles

__all__ = ["Whereabouts", "find_agent", "find_whereabouts", "space_layout"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Whereabouts:
    """A checkpoint's folder, or a champion's, and what is known of where it came from.

    Attributes:
        folder: absolute.
        description: the contents of ``agent.json``; empty for RLlib's own checkpoint.
        run: that the folder lies in, if any.
        is_champion_of: the run that was named, if its champion is meant.
    """

    folder: Path
    description: Mapping[str, Any]
    run: RunPaths | None
    is_champion_of: RunPaths | None = None

    @property
    def is_torch(self) -> bool:
        """Whether it is an agent of the torch backend, which is loaded without running code."""
        return self.description.get("backend") == "torch"

    @property
    def algorithm(self) -> str:
        """As a spec names it: by the agent's description, else by its run; ``?`` if unknown."""
        if "algorithm" in self.description or self.run is None:
            return str(self.description.get("algorithm", "?"))
        from sweeper.spec import load_record

        return load_record(self.run.spec).algorithm

    @property
    def title(self) -> str:
        """What it is, in two words at most: ``champion t0003``, ``t0003``, or the folder's name.

        It is untrusted text.
        """
        is_champion = self.run is not None and self.folder == self.run.champion
        if is_champion or self.description.get("trial_id") is not None:
            return f"champion {self.trial or ''}".rstrip()
        return self.trial or self.folder.name

    @property
    def trial(self) -> str | None:
        """The trial that the agent is of: that in whose folder it lies, or that of a champion."""
        if self.run is not None and self.run.trials in self.folder.parents:
            return self.folder.relative_to(self.run.trials).parts[0]
        trial = self.description.get("trial_id")
        return None if trial is None else str(trial)

    def environment(self) -> tuple[EnvironmentSettings, EnvironmentSettings]:
        """The environment of the agent's own description, else of the run's spec.

        Returns:
            The environment as recorded, and with the folders where its modules may lie now.

        Raises:
            UserError: neither is there.
        """
        from sweeper.relocation import find_modules, relocate
        from sweeper.spec import load_record

        run = self.run
        if "environment" in self.description:
            recorded = EnvironmentSettings.from_json(self.description["environment"])
            storage = "" if run is None else load_record(run.spec).storage
            return recorded, find_modules(recorded, run, storage)
        if run is not None:
            spec = load_record(run.spec)
            return spec.environment.settings(), relocate(run, spec).environment.settings()
        lacks = "no agent.json"
        if self.description:
            lacks = "an agent.json without an environment"
        raise UserError(
            f"{self.folder} does not say which environment it acts in: it has {lacks} and lies in "
            "no run; give a run, its champion/, or a checkpoint_… folder of one of its trials"
        )

    def foreign_environment(self, trust: TrustLike = Trust.OWN) -> list[str]:
        """What its environment imports and is told that is not this user's own, in words."""
        recorded, settings = self.environment()
        return find_foreign_environment(
            settings, self.run, self.folder, recorded=recorded, trust=trust
        )

    def foreign_pickles(self, trust: TrustLike = Trust.OWN) -> list[str]:
        """What loading the agent unpickles that is not this user's own, in words."""
        paths = CheckpointPaths(self.folder)
        holds_pickles = any(CheckpointPaths(place).is_rllib for place in _rllib_places(paths))
        if self.is_torch or not holds_pickles:
            return []
        return find_foreign_pickles([self.folder], trust)

    def episode_cap(self, limit: int | None, asked: int | None = None) -> int | None:
        """After how many steps an episode is cut; None if the environment's limit is shorter.

        Args:
            limit: of the environment; None if it has none.
            asked: what counts instead of the run's own.
        """
        from sweeper.spec import load_record

        cap = asked or self.description.get("max_episode_steps")
        if cap is None and self.run is not None:
            evaluation = load_record(self.run.spec).evaluation
            cap = None if evaluation is None else evaluation.max_episode_steps
        if limit is None:
            return cap or MAX_EPISODE_STEPS
        return cap if cap is not None and cap < limit else None

    def identity(self, now: EnvironmentIdentity) -> EnvironmentIdentity:
        """The environment as the run's last launch recorded it.

        An agent outside of its run knows the spaces at most, and a run of an earlier version has
        no record; what is not known is as it is now.
        """
        found = None
        if self.run is not None:
            for event in read_journal(self.run.journal, strict=False):
                if isinstance(event, LaunchStarted):
                    found = EnvironmentIdentity.from_json(event.environment) or found
        if found is not None or not self.is_torch:
            return found or now
        others = {
            key: self.description[key]
            for key in ("observation_space", "action_space")
            if space_layout(self.description[key]) != space_layout(getattr(now, key))
        }
        return replace(now, **others)


def find_agent(
    target: str, storage: str, *, say: Callable[[str], None] = _logger.info
) -> Whereabouts:
    """Find what a user has named.

    Args:
        target: a run (name, path or ``last``), whose champion is meant; a trial's folder, whose
            newest whole checkpoint is meant; a trial's checkpoint, or the folder of a single agent.
        storage: the folder that holds the runs.
        say: receives, in words, which damaged checkpoints of a trial were passed over.

    Raises:
        UserError: there is nothing of the kind, it is damaged, or the run has no champion.
    """
    folder = _bring(target) or Path(target)
    if folder.is_dir() and not is_run(folder):
        newest = _find_newest(folder, say)
        if newest is None:
            _refuse_damaged(folder)
        return find_whereabouts(newest or folder)
    try:
        paths = find_run(target, Path(storage))
    except UserError as error:
        if not folder.is_file():
            raise
        raise UserError(
            f"{target} is a file; give the folder of an agent: a run, its champion/, or a "
            "checkpoint_… folder of one of its trials"
        ) from error
    if not paths.champion.is_dir():
        folders = list_folders(paths.trials, "")
        if not any(list_folders(trial, "checkpoint_") for trial in folders):
            raise UserError(
                f"{paths.root.name} has no champion, and no checkpoint is left to make one of; "
                f"`sweeper best {run_reference(paths.root)}` has the winner's configuration, to be "
                "trained again"
            )
        raise UserError(
            f"{paths.root.name} has no champion; give a checkpoint of one of its trials: "
            f"{paths.trials}/<trial>/<checkpoint>"
        )
    return replace(find_whereabouts(paths.champion), is_champion_of=paths)


def _bring(target: str) -> Path | None:
    """The folder here of a trial or a checkpoint in a bucket; None if the target is none."""
    address = parse_address(target)
    if address is None:
        return None
    folder = storage_folder(target)
    root = next((parent for parent in folder.parents if bring_run(parent)), None)
    if root is None or not stored_sizes(folder):
        return None
    if not is_trial_id(folder.name):
        bring_folder(folder.parent if folder.name.startswith("replica_") else folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def find_whereabouts(folder: Path) -> Whereabouts:
    """What is known of a folder that is said to hold agents.

    Raises:
        UserError: its ``agent.json`` is damaged, or RLlib's old API stack wrote it.
    """
    absolute = folder.absolute()
    root = next((parent for parent in absolute.parents if is_run(parent)), None)
    run = None if root is None else RunPaths(root)
    where = Whereabouts(absolute, read_description(absolute), run)
    if not where.is_torch:
        for place in _rllib_places(CheckpointPaths(absolute)):
            refuse_old_stack(place)
    return where


def _rllib_places(paths: CheckpointPaths) -> tuple[Path, ...]:
    """Where checkpoints of RLlib's own can be."""
    return paths.root, paths.algorithm, *paths.replicas


def _find_newest(folder: Path, say: Callable[[str], None]) -> Path | None:
    """The last whole checkpoint in a trial's folder; None if it is no such folder.

    Runs of earlier versions have no markers. Where there are some, a checkpoint without one is
    still being written.

    Raises:
        UserError: all its checkpoints are damaged.
    """
    if CheckpointPaths(folder).agent.exists() or CheckpointPaths(folder).is_rllib:
        return None
    found = list_folders(folder, "checkpoint_")
    marked = [one for one in found if has_file(CheckpointPaths(one).marker)]
    damaged: list[str] = []
    for one in sorted(marked or found, key=lambda one: (len(one.name), one.name), reverse=True):
        damage = find_damage(one)
        if damage is None:
            if damaged:
                say(f"taking {one.name} of {folder}, because {' and '.join(damaged)}")
            return one
        damaged.append(f"{one.name} is damaged ({damage})")
    if damaged:
        raise UserError(f"{folder} has no checkpoint that is whole: {', '.join(damaged)}")
    return None


def _refuse_damaged(folder: Path) -> None:
    """Refuse files that are not those of the checkpoint's marker, if it has one.

    Raises:
        UserError: some have changed since.
    """
    is_replica = CheckpointPaths(folder).is_rllib and folder.name.startswith("replica_")
    checkpoint = folder.absolute().parent if is_replica else folder
    if not os.path.lexists(CheckpointPaths(checkpoint).marker):
        return
    damage = find_damage(checkpoint)
    if damage is not None:
        raise UserError(
            f"{checkpoint} is damaged: {damage}; take another checkpoint of its trial, or put its "
            "files back"
        )


def space_layout(space: Mapping[str, Any]) -> Any:
    """What of a space the network's layers depend on, which its bounds are not."""
    parts = space.get("spaces")
    if isinstance(parts, Mapping):
        return {name: space_layout(part) for name, part in parts.items()}
    if isinstance(parts, list):
        return [space_layout(part) for part in parts]
    return {name: value for name, value in space.items() if name not in ("low", "high", "dtype")}
