"""The command that shows what the processes of a running run are doing."""

from __future__ import annotations

import click

from sweeper.cli import app
from sweeper.paths import is_trial_id

__all__ = ["stack"]


@app.cli.command()
@app.run_argument
@click.argument("trial", metavar="[TRIAL]", required=False)
@app.storage_option
@app.json_option
def stack(reference: str, trial: str | None, storage: str, as_json: bool) -> None:
    """Show the stack traces of a running run: where each process is now.

    Of the driver, the worker of each running trial, and the processes that they have forked. No
    rights but yours are needed, and nothing is stopped. A trial's id alone means a trial of the
    last run. A hang in an environment shows by its file and line.
    """
    from sweeper.upkeep.stacks import find_stacks
    from sweeper.views.stacks import describe_stacks

    if trial is None and is_trial_id(reference):
        reference, trial = "last", reference
    found = find_stacks(reference, storage, trial)
    if as_json:
        app.print_json(found.processes)
    else:
        for line in describe_stacks(found):
            app.tell(line)
    for note in found.notes:
        app.say(note)
