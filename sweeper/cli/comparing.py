"""The command that holds runs against each other."""

from __future__ import annotations

import click

from sweeper.cli import app
from sweeper.cli.completion import complete_run

__all__ = ["compare"]


@app.cli.command()
@click.argument(
    "references", metavar="RUN RUN...", nargs=-1, required=True, shell_complete=complete_run
)
@app.storage_option
@app.json_option
@click.option(
    "--allow-changed-environment",
    is_flag=True,
    help="Compare although the environment's code is not the same.",
)
def compare(
    references: tuple[str, ...], storage: str, as_json: bool, allow_changed_environment: bool
) -> None:
    """Hold the champions of runs against that of the first.

    Scores with intervals, learning curves, how often a training run of one beats one of the first,
    what each run cost, in which hyperparameters they differ. A champion's folder stands for its
    run. Runs of another environment or metric are refused.
    """
    from sweeper.compared_runs import compare_runs
    from sweeper.views.compare import print_comparison

    compared = compare_runs(
        *references, storage=storage, allow_changed_environment=allow_changed_environment
    )
    app.show(compared, print_comparison, as_json)
