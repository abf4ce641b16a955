"""Commands that show runs and change nothing."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import click

from sweeper.cli.app import (
    cli,
    json_option,
    open_reference,
    print_json,
    run_argument,
    say,
    storage_option,
)
from sweeper.cli.completion import complete_run
from sweeper.errors import UserError

mode_option = click.option(
    "--mode", type=click.Choice(["max", "min"]), help="Whether to maximise or minimise."
)

__all__ = ["best", "evaluate", "list_command", "logs", "results", "status", "ui"]


@cli.command()
@run_argument
@storage_option
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV on stdout.")
@click.option(
    "--parquet", metavar="FILE", type=click.Path(path_type=Path), help="Write a Parquet file."
)
@click.option("--metric", metavar="NAME", help="Score by this metric, not the spec's.")
@mode_option
def results(
    reference: str,
    storage: str,
    as_json: bool,
    as_csv: bool,
    parquet: Path | None,
    metric: str | None,
    mode: str | None,
) -> None:
    """Show the trials of a run, or of a Ray Tune experiment."""
    opened = open_reference(reference, storage, metric=metric, mode=mode)
    if as_json:
        print_json(opened.rows)
    elif as_csv:
        click.echo(opened.trials.to_csv(index=False), nl=False)
    elif parquet:
        from sweeper.results.frames import write_parquet

        if not parquet.parent.is_dir():
            raise UserError(f"{parquet} can't be written: there is no folder {parquet.parent}")
        try:
            write_parquet(opened.trials, parquet)
        except OSError as error:  # pyarrow's message names a temporary file
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise UserError(f"{parquet} can't be written: {reason}") from error
        say(f"wrote {parquet}")
    else:
        from sweeper.views.trials import print_trials

        print_trials(opened)


@cli.command()
@run_argument
@storage_option
@json_option
@click.option("--metric", metavar="NAME", help="Choose by this metric, not the spec's.")
@mode_option
def best(reference: str, storage: str, as_json: bool, metric: str | None, mode: str | None) -> None:
    """Show the champion: configuration, score, checkpoint."""
    opened = open_reference(reference, storage, metric=metric, mode=mode)
    if as_json:
        print_json(opened.best)
    else:
        from sweeper.views.runs import print_best

        print_best(opened)


@cli.command()
@run_argument
@storage_option
@json_option
def status(reference: str, storage: str, as_json: bool) -> None:
    """Show the progress of a run, live or not."""
    from sweeper.upkeep.overview import describe_run

    overview = describe_run(open_reference(reference, storage))
    if as_json:
        print_json(overview.to_json())
    else:
        from sweeper.views.runs import print_status

        print_status(overview)


@cli.command("list")
@storage_option
@json_option
def list_command(storage: str, as_json: bool) -> None:
    """List the runs under the storage."""
    from sweeper.upkeep.overview import describe_runs

    overviews = describe_runs(Path(storage))
    if as_json:
        print_json([overview.to_json() for overview in overviews])
    else:
        from sweeper.views.runs import print_runs

        print_runs(overviews, storage)


@cli.command()
@run_argument
@click.argument("trial", metavar="[TRIAL]", required=False)
@storage_option
@json_option
@click.option("-f", "--follow", is_flag=True, help="Print new lines until the end.")
@click.option(
    "-n",
    "--lines",
    metavar="N",
    type=click.IntRange(min=0),
    help="Print the last N lines only.  [default: all, or 10]",
)
def logs(
    reference: str,
    trial: str | None,
    storage: str,
    as_json: bool,
    follow: bool,
    lines: int | None,
) -> None:
    """Show what the trials of a run printed.

    Without TRIAL, list the logs and show the last lines of failed trials; with -f, follow all
    running trials. A trial's id alone means a trial of the last run.
    """
    from sweeper.views.logs import find_log, follow_logs, list_logs, tail_lines

    if trial is None and re.fullmatch(r"t\d{4,}", reference):
        reference, trial = "last", reference
    results = open_reference(reference, storage).results
    if follow and (trial is not None or results.is_live):
        if trial is not None:
            find_log(results, trial)
        root = str(results.root)
        load = lambda: open_reference(root, storage).results  # noqa: E731
        for name, line in follow_logs(load, trial, tail=10 if lines is None else lines):
            click.echo(line if trial is not None else f"{name}  {line}")
        return
    if trial is None:
        found = list_logs(results)
        if as_json:
            print_json([log.to_json() for log in found])
            return
        from sweeper.views.runs import print_logs

        print_logs(found, results.root.name, 10 if lines is None else lines)
        return
    log = find_log(results, trial)
    if as_json:
        print_json(log.to_json())
    elif lines is not None:
        for line in tail_lines(log.path, lines):
            click.echo(line)
    else:
        with log.path.open("rb") as stream:
            shutil.copyfileobj(stream, sys.stdout.buffer)


@cli.command()
@click.argument("target", metavar="CHECKPOINT|RUN", shell_complete=complete_run)
@storage_option
@json_option
@click.option(
    "--episodes",
    metavar="N",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Episodes of each agent.",
)
@click.option(
    "--seed",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the episodes.",
)
@click.option(
    "--replica", metavar="SEED", type=int, help="Play only this seed's agent of a checkpoint."
)
def evaluate(
    target: str, storage: str, as_json: bool, episodes: int, seed: int, replica: int | None
) -> None:
    """Evaluate agents on episodes that training never saw.

    For a RUN its champion plays; for a trial's checkpoint all its replicas. Shows the mean, the
    interquartile mean (IQM) and an interval.
    """
    from sweeper.evidence import evaluation

    evaluated = evaluation.evaluate(target, storage, episodes=episodes, seed=seed, replica=replica)
    if as_json:
        print_json(evaluated.to_json())
    else:
        from sweeper.views.runs import print_evaluation

        print_evaluation(evaluated)


@cli.command()
@run_argument
@storage_option
@click.option(
    "--port",
    metavar="PORT",
    default=5000,
    show_default=True,
    help="Port on the loopback interface.",
)
def ui(reference: str, storage: str, port: int) -> None:
    """Open the MLflow UI on a run's tracking database."""
    opened = open_reference(reference, storage)
    if opened.spec is None or opened.spec.tracking is None:
        raise UserError(f"{opened.results.root.name} was run without tracking; nothing to show")
    from sweeper.tracking.ui import open_ui

    server = open_ui(
        opened.spec.tracking.uri, port=port, experiment=opened.spec.tracking.experiment
    )
    say(f"MLflow UI on {server.url} (Ctrl-C ends it)")
    try:
        sys.exit(server.process.wait())
    except KeyboardInterrupt:
        server.stop()
        sys.exit(0)
