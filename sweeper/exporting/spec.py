"""A champion's configuration, or a trial's, as a spec that ``train`` takes."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.agents.outputs import check_output
from sweeper.agents.whereabouts import find_whereabouts
from sweeper.errors import SpecError, UserError
from sweeper.evidence.current import select_current
from sweeper.evidence.schedule import trace_schedule
from sweeper.paths import RunPaths, find_run, is_run, is_trial_id, write_atomically
from sweeper.planning.starter import write_new
from sweeper.printable import printable
from sweeper.relocation import relocate
from sweeper.results.builder import load_results
from sweeper.results.records import SweepResults
from sweeper.spec import ExperimentSpec, dump_spec, load_record, load_spec
from sweeper.spec.training import for_training
from sweeper.trust import find_foreign_environment

__all__ = ["ExportedSpec", "export_spec", "make_spec"]

_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True)
class ExportedSpec:
    """A spec's file.

    Attributes:
        file: absolute.
        run: whose configuration it has.
        trial_id: the same.
        text: of the file.
    """

    file: Path
    run: Path
    trial_id: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """The object that ``sweeper export --spec --json`` prints."""
        return {"spec": str(self.file), "run": str(self.run), "trial_id": self.trial_id}


def export_spec(
    target: str,
    storage: str,
    file: Path | None = None,
    *,
    overwrite: bool = False,
    say: Callable[[str], None],
) -> ExportedSpec:
    """Write the spec of one configuration; runs no code of the run.

    Args:
        target: a run, whose champion is meant; its ``champion/``, a trial's folder or a checkpoint.
        storage: the folder that holds the runs.
        file: where to; by default ``NAME.yaml`` in the working directory.
        overwrite: replace the file if it is there.
        say: receives, in words, what training would run that this user did not make.

    Raises:
        UserError: there is no such run or trial, its configuration is not known, or the file is
            there already.
        NothingToSelect: the run has no champion.
    """
    run, trial_id = _find_trial(target, storage)
    recorded, results = load_record(run.spec), load_results(run)
    lines: list[str] = []
    if trial_id is None:
        trial_id = select_current(results, recorded.objective, recorded).trial_id
        lines.append(f"The configuration of {trial_id}, the champion of {run.root.name}.")
    else:
        lines.append(f"The configuration of {trial_id} of {run.root.name}.")
    spec, more = make_spec(run, recorded, results, trial_id)
    written = (file or Path(f"{spec.name}.yaml")).absolute()
    check_output(written, _ENDINGS)
    lines += [*more, f"sweeper train {shlex.quote(written.name)}"]
    text = "".join(f"# {_in_one_line(line)}\n" for line in lines) + dump_spec(spec)
    try:
        load_spec(written, text=text)
    except SpecError as error:
        raise UserError(
            f"the configuration that {run.root.name} recorded for {trial_id} is none that a spec "
            f"can have: {error.problems[0].message}"
        ) from error
    _write(written, text, overwrite=overwrite)
    settings = spec.environment.settings()
    foreign = find_foreign_environment(settings, run, recorded=recorded.environment.settings())
    if foreign:
        steps = "\n".join(f"  {step}" for step in foreign)
        say(
            f"{run.root.name} was not made by this user on this machine; training {written.name} "
            f"will do what whoever made it has chosen:\n{steps}"
        )
    return ExportedSpec(written, run.root, trial_id, text)


def _find_trial(target: str, storage: str) -> tuple[RunPaths, str | None]:
    """The run, and the trial in it; None: its champion."""
    folder = Path(target)
    if not folder.is_dir() or is_run(folder):
        return find_run(target, Path(storage)), None
    where = find_whereabouts(folder)
    if where.run is None:
        raise UserError(
            f"{folder} lies in no run, whose spec it needs; give a run, its champion/, or a "
            "checkpoint of one of its trials"
        )
    parts = where.folder.relative_to(where.run.root).parts
    if parts[:1] == (where.run.champion.name,):
        return where.run, None
    if len(parts) < 2 or parts[0] != where.run.trials.name or not is_trial_id(parts[1]):
        raise UserError(f"{folder} is no trial's folder of {where.run.root.name}, nor in one")
    return where.run, parts[1]


def make_spec(
    run: RunPaths, recorded: ExperimentSpec, results: SweepResults, trial_id: str
) -> tuple[ExperimentSpec, list[str]]:
    """The spec that trains a trial's configuration, and what is to be said of it.

    Args:
        run: of the trial.
        recorded: the run's spec, as it was recorded.
        results: of the run.
        trial_id: whose configuration.

    Raises:
        UserError: there is no such trial, or its configuration is lost.
    """
    # Where the modules lie now; what else relocation changes belongs to the run.
    environment = relocate(run, recorded).environment
    spec = recorded.model_copy(update={"environment": environment})
    try:
        trial = results.trial(trial_id)
    except KeyError:
        raise UserError(f"{run.root.name} has no trial {trial_id}") from None
    if not trial.is_asked or not trial.configuration:
        raise UserError(f"the configuration of {trial_id} is lost: the journal lacks that line")
    schedule = trace_schedule(spec, results, trial_id)
    if schedule is not None:
        return schedule.spec, schedule.describe()
    return for_training(spec, trial.configuration, trial_id), []


def _in_one_line(text: str) -> str:
    return " ".join(printable(text).split())


def _write(file: Path, text: str, *, overwrite: bool) -> None:
    if not overwrite:
        write_new(file, text, remedy="give another --output, or --overwrite")
        return
    try:
        write_atomically(file, text)
    except OSError as error:
        raise UserError(f"{file} can't be written: {error.strerror or error}") from error
