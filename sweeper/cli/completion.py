"""Shell completion: the script that enables it, and candidates for RUN and SPEC.

It runs at every press of the tab key, so it only lists folders and opens no files.
"""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from sweeper.paths import list_runs
from sweeper.storage.address import storage_folder

__all__ = ["SHELLS", "complete_run", "complete_spec", "completion_script"]

SHELLS = ("bash", "zsh", "fish")
_PROGRAM = "sweeper"
_SPEC_SUFFIXES = (".yaml", ".yml")


def completion_script(command: click.Command, shell: str) -> str:
    """The script that enables completion; a shell reads it when it starts."""
    found = get_completion_class(shell)
    assert found is not None, shell  # noqa: S101 - click has all of `SHELLS`
    variable = f"_{_PROGRAM.upper()}_COMPLETE"
    script = found(command, {}, _PROGRAM, variable).source()
    # The fish script of click 8.5 cuts descriptions at their first comma.
    return script.replace('string split ","', 'string split --max 1 ","')


def complete_run(
    context: click.Context,
    parameter: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Complete ``last`` and the names of runs, newest first; paths are left to the shell."""
    if "/" in incomplete or incomplete.startswith((".", "~")):
        return [CompletionItem(incomplete, type="dir")]
    try:
        runs = list_runs(storage_folder(context.params.get("storage") or "runs"))
    except OSError:
        runs = []
    names = [run.root.name for run in reversed(runs)]
    if runs:
        names.insert(0, "last")
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_spec(
    context: click.Context,  # noqa: ARG001 - click's signature
    parameter: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[CompletionItem]:
    """Complete YAML files; if folders match too, leave it to the shell."""
    prefix = incomplete[: incomplete.rfind("/") + 1]
    begun = incomplete.removeprefix(prefix)
    try:
        entries = [
            entry
            for entry in sorted(Path(prefix or ".").iterdir())
            if entry.name.startswith(begun) and (begun or not entry.name.startswith("."))
        ]
    except OSError:
        return []
    if any(entry.is_dir() for entry in entries) or incomplete.startswith("~"):
        return [CompletionItem(incomplete, type="file")]
    return [
        CompletionItem(prefix + entry.name) for entry in entries if entry.suffix in _SPEC_SUFFIXES
    ]
