"""Runs opened and held against each other: the verb `compare` of notebook and command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import RunError, SpecError, UserError
from sweeper.evidence.comparing.comparison import RunComparison, compare_entries
from sweeper.evidence.comparing.entry import Entry
from sweeper.evidence.comparing.obstacles import find_obstacles
from sweeper.formatting import short_path
from sweeper.opened_run import Run, open_run
from sweeper.paths import RunPaths, find_run, is_run, run_reference
from sweeper.results.tune_import.experiments import is_tune_experiment

__all__ = ["RunComparison", "compare_runs"]


def compare_runs(
    *runs: str | Path | Run,
    storage: str | Path = "runs",
    allow_changed_environment: bool = False,
) -> RunComparison:
    """Hold the champions of several runs against that of the first.

    Scores with their intervals, learning curves, the probability that a training run of a later
    champion beats one of the first, cost, and the hyperparameters in which champions differ. Only
    files are read: no code of a run is run.

    Args:
        runs: two or more, each a path, a folder's name under ``storage``, ``last``, a champion's
            folder, which stands for its run, or a `Run`.
        storage: the folder that holds the runs.
        allow_changed_environment: compare although the code of the environment is another one; the
            difference is then in the notes.

    Returns:
        In a notebook its representation is a table; ``table`` is a DataFrame.

    Raises:
        UserError: there are less than two runs, one is not there or named twice, or they can't be
            compared: another environment, metric or way to play the episodes behind the scores.
        RunError: no trial of a run has a score.
        JournalError: a run's journal can't be read.
    """
    if len(runs) < 2:
        found = f"there is one: {_name_reference(runs[0])}" if runs else "there is none"
        raise UserError(f"a comparison takes two or more runs; {found}")
    opened = [_open(one, Path(storage)) for one in runs]
    _refuse_repeats(runs, opened)
    names = _name_runs([one.run for one in opened])
    entries = [_enter(one.run, name) for one, name in zip(opened, names, strict=True)]
    obstacles = find_obstacles(entries)
    _refuse(obstacles.lasting, "")
    notes = [f"As allowed: {one}." for one in obstacles.code]
    if not allow_changed_environment:
        remedy = "; if that changes nothing, accept it with --allow-changed-environment"
        _refuse(obstacles.code, remedy)
    notes += [
        f"{one.run.paths.champion} holds the agent of an earlier choice; compared is the champion "
        f"of now, {one.run.selection.trial_id}."
        for one in opened
        if one.is_champion and not one.run.is_champion_written
    ]
    return compare_entries(entries, notes)


@dataclass(frozen=True)
class _Opened:
    """A run, and whether the user named its champion."""

    run: Run
    is_champion: bool = False


def _open(reference: str | Path | Run, storage: Path) -> _Opened:
    if isinstance(reference, Run):
        return _Opened(reference)
    folder = Path(reference)
    for champion in (folder, storage / folder):
        root = RunPaths(champion.absolute().parent)
        if champion.name == root.champion.name and champion.is_dir() and is_run(root.root):
            return _Opened(_read(root.root), is_champion=True)
    if is_tune_experiment(folder):
        raise UserError(_explain_tune(folder))
    lies_in = next((one for one in folder.absolute().parents if is_run(one)), None)
    if lies_in is not None and folder.exists() and not is_run(folder):
        raise UserError(
            f"{reference} is a part of the run {lies_in.name}; give the run itself: "
            f"{run_reference(lies_in)}"
        )
    return _Opened(_read(find_run(str(reference), storage).root))


def _read(root: Path) -> Run:
    try:
        return open_run(root)
    except SpecError as error:  # in the run's copy of the spec
        raise UserError(f"the spec of {root.name} can't be read: {error.problems[0]}") from error


def _refuse_repeats(references: Sequence[str | Path | Run], opened: Sequence[_Opened]) -> None:
    roots = [one.run.results.root.resolve() for one in opened]
    for place, root in enumerate(roots):
        first = roots.index(root)
        if first < place:
            raise UserError(
                f"{_name_reference(references[first])} and {_name_reference(references[place])} "
                f"are the same run, {root}; give two or more different ones"
            )


def _name_reference(reference: str | Path | Run) -> str:
    return reference.results.root.name if isinstance(reference, Run) else str(reference)


def _name_runs(runs: Sequence[Run]) -> list[str]:
    """The names of the runs' folders; their paths where several have the same name."""
    names = [run.results.root.name for run in runs]
    return [
        name if names.count(name) == 1 else short_path(run.results.root)
        for name, run in zip(names, runs, strict=True)
    ]


def _enter(run: Run, name: str) -> Entry:
    if run.spec is None:
        raise UserError(_explain_tune(run.results.root))
    if (why := run.failure) is not None:
        raise RunError(f"{name} can't be compared: {why}")
    return Entry(name, run.results, run.objective, run.spec, run.selection)


def _explain_tune(folder: Path) -> str:
    return (
        f"{folder} is a Ray Tune experiment without a spec, so neither its environment nor how its "
        "episodes were played is known; only runs of sweeper can be compared"
    )


def _refuse(clauses: Sequence[str], remedy: str) -> None:
    if clauses:
        raise UserError(f"these runs can't be compared: {'; '.join(clauses)}{remedy}")
