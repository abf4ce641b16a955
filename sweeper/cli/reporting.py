"""The command that writes a run down as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from sweeper.cli import app
from sweeper.errors import UserError

__all__ = ["report"]


@app.cli.command()
@app.run_argument
@app.storage_option
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The file.  [default: report.html in the run folder]",
)
def report(reference: str, storage: str, output: Path | None) -> None:
    """Write a run's report: one HTML file that opens from disk.

    The verdict and its evidence, the champion's configuration, charts, advice, every trial, what
    it cost and how to reproduce it. A launch writes it at its end. Also of a Ray Tune experiment.
    Prints the file.
    """
    try:
        opened = app.open_reference(reference, storage)
    except UserError as error:
        from sweeper.paths import find_run
        from sweeper.report.writing import write_damaged

        paths = find_run(reference, Path(storage))
        file = write_damaged(paths, str(error), output)
        app.say(f"{error}; the report says so, and has the rest")
    else:
        file = opened.report(output)
    app.tell_result(str(file))
