"""Where an agent lies, and in which environment it acts.

An agent is loaded without the spec's room, whose import takes a third of a second; what is asked
of the run imports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.agents.locate import read_description
from sweeper.environments.identity import EnvironmentIdentity
from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import UserError
from sweeper.journal import LaunchStarted, read_journal
from sweeper.paths import CheckpointPaths, RunPaths, find_run, is_run, run_reference
from sweeper.run_files import is_regular
from sweeper.trainables.contract import MAX_EPISODE_STEPS
from sweeper.trust import Trust, TrustLike, find_foreign_environment, find_foreign_pickles

__all__ = ["Whereabouts", "find_agent", "find_whereabouts", "space_layout"]


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
        trial = self.description.get("trial_id")
        if trial is not None or (self.run is not None and self.folder == self.run.champion):
            return f"champion {trial or ''}".rstrip()
        is_trial = self.run is not None and self.folder.parent.parent == self.run.trials
        return self.folder.parent.name if is_trial else self.folder.name

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
        raise UserError(
            f"{self.folder} does not say which environment it acts in: it has no agent.json and "
            "lies in no run; give a run, its champion/, or a checkpoint_… folder of one of its "
            "trials"
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
        places = (paths.root, paths.algorithm, *paths.replicas)
        holds_pickles = any(CheckpointPaths(place).is_rllib for place in places)
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


def find_agent(target: str, storage: str) -> Whereabouts:
    """Find what a user has named.

    Args:
        target: a run (name, path or ``last``), whose champion is meant; a trial's folder, whose
            newest checkpoint is meant; a trial's checkpoint, or the folder of a single agent.
        storage: the folder that holds the runs.

    Raises:
        UserError: there is nothing of the kind, or the run has no champion.
    """
    folder = Path(target)
    if folder.is_dir() and not is_run(folder):
        return find_whereabouts(_newest_checkpoint(folder) or folder)
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
    return replace(find_whereabouts(paths.champion), is_champion_of=paths)


def find_whereabouts(folder: Path) -> Whereabouts:
    """What is known of a folder that is said to hold agents.

    Raises:
        UserError: its ``agent.json`` is damaged.
    """
    absolute = folder.absolute()
    root = next((parent for parent in absolute.parents if is_run(parent)), None)
    run = None if root is None else RunPaths(root)
    return Whereabouts(absolute, read_description(absolute), run)


def _newest_checkpoint(folder: Path) -> Path | None:
    """The last whole checkpoint in a trial's folder; None if it is no such folder."""
    if CheckpointPaths(folder).agent.exists() or CheckpointPaths(folder).is_rllib:
        return None
    found = [one for one in folder.glob("checkpoint_*") if is_regular(CheckpointPaths(one).marker)]
    return max(found, key=lambda one: (len(one.name), one.name), default=None)


def space_layout(space: Mapping[str, Any]) -> Any:
    """What of a space the network's layers depend on, which its bounds are not."""
    parts = space.get("spaces")
    if isinstance(parts, Mapping):
        return {name: space_layout(part) for name, part in parts.items()}
    if isinstance(parts, list):
        return [space_layout(part) for part in parts]
    return {name: value for name, value in space.items() if name not in ("low", "high", "dtype")}
