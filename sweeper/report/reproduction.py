"""How to get a run's numbers again: command, spec, versions, machine, seeds."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from sweeper.formatting import short_path
from sweeper.markup import Child, Html, joined, tag
from sweeper.report.configuration import copied
from sweeper.report.elements import pairs
from sweeper.report.source import ReportSource
from sweeper.results.resuming import resume_command
from sweeper.states import LaunchEnd

__all__ = ["show_reproduction"]

_MAX_SPEC = 200_000
_MAX_SEEDS = 50


def show_reproduction(source: ReportSource) -> Html:
    """What the run was, and the commands that go on from it."""
    if source.is_tune:
        return tag(
            "p", "A Tune experiment records neither a spec nor versions that are known here."
        )
    return joined(_recorded(source), *_commands(source), _spec(source))


def _recorded(source: ReportSource) -> Html:
    try:
        document = source.environment
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        return tag(
            "p", f"Versions and machine can't be shown: environment.json: {why}", class_="note"
        )
    launches = document.get("resumed")
    later = len(launches) if isinstance(launches, list) else 0
    return joined(
        pairs(*_rows(document), is_narrow=True),
        tag("p", f"{later} later launches are recorded in environment.json.", class_="quiet")
        if later
        else None,
    )


def _rows(document: Mapping[str, Any]) -> Iterator[tuple[Child, Child]]:
    if command := _command(document.get("command")):
        yield "Command", tag("code", command)
    git = document.get("git")
    if isinstance(git, Mapping):
        dirty = " with changes that are not committed" if git.get("dirty") else ""
        yield "Git commit", joined(tag("code", str(git.get("commit", "-"))), dirty)
    else:
        yield "Git commit", "none: it was run outside a checkout"
    versions = document.get("versions")
    if isinstance(versions, Mapping):
        yield "Versions", ", ".join(f"{name} {number}" for name, number in versions.items())
    cpus = document.get("cpus")
    machine = [document.get("platform"), None if cpus is None else f"{cpus} cores"]
    if any(machine):
        yield "Machine", ", ".join(str(part) for part in machine if part)
    seeds = document.get("seeds")
    if isinstance(seeds, list):
        more = len(seeds) - _MAX_SEEDS
        words = ", ".join(map(str, seeds[:_MAX_SEEDS])) + (f" and {more} more" if more > 0 else "")
        yield "Training seeds of each trial", words


def _command(words: object) -> str | None:
    """The command line; of the program only its name, whose folder is nobody's business."""
    if not isinstance(words, list) or not words:
        return None
    program, *rest = map(str, words)
    name = PurePath(program).name
    return shlex.join(["sweeper" if name in ("sweeper", "__main__.py") else name, *rest])


def _commands(source: ReportSource) -> Iterator[Child]:
    run, results = source.reference, source.results
    rows: list[tuple[str, str]] = []
    if (again := resume_command(results.root, results.state, results.counts())) is not None:
        rows.append(("Go on", again))
    if source.spec is not None:
        rows.append(("Run it again", f"sweeper run {shlex.quote(short_path(source.paths.spec))}"))
    if source.selection is not None:
        if results.state in (LaunchEnd.FINISHED, *(one for one in LaunchEnd if one.is_budget)):
            rows.append(("Train finalists on fresh seeds, or on more", f"sweeper confirm {run}"))
        rows += [
            ("Play the champion's agent", f"sweeper evaluate {run}"),
            ("Take the agent along", f"sweeper export {run}"),
            ("Take the configuration along", f"sweeper export {run} --spec"),
        ]
    rows.append(("Write this page again", f"sweeper report {run}"))
    yield tag("h3", "Commands")
    yield pairs(*((words, tag("code", command)) for words, command in rows), is_narrow=True)


def _spec(source: ReportSource) -> Html:
    try:
        text = source.read_spec()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        return tag("p", f"The spec can't be shown: spec.yaml: {why}", class_="note")
    if len(text) > _MAX_SPEC:
        text = f"{text[:_MAX_SPEC]}\n… it is longer than is shown here"
    return tag("details", tag("summary", "The spec as run"), copied(joined(text)))
