"""Commands that show runs and change nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import webbrowser
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from sweeper.cli import app
from sweeper.cli.completion import complete_run
from sweeper.errors import UserError
from sweeper.paths import is_trial_id
from sweeper.sqlite_address import default_tracking_uri

if TYPE_CHECKING:
    import pandas

    from sweeper.api import Run

mode_option = click.option(
    "--mode", type=click.Choice(["max", "min"]), help="Whether to maximise or minimise."
)

__all__ = ["best", "evaluate", "list_command", "logs", "results", "status", "ui"]


@app.cli.command()
@app.run_argument
@app.storage_option
@app.json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV on stdout.")
@click.option(
    "--parquet", metavar="FILE", type=click.Path(path_type=Path), help="Write a Parquet file."
)
@click.option("--lineage", is_flag=True, help="Show who copied whom in a population (pbt).")
@click.option("--metric", metavar="NAME", help="Score by this metric, not the spec's.")
@mode_option
@click.option(
    "--stage",
    type=click.Choice(["search", "confirmation"]),
    default="search",
    help="Whose trials.",
)
@click.option(
    "--rows",
    type=click.Choice(["trials", "reports", "replicas"]),
    default="trials",
    help="A row per trial, per report, or per report and replica; with --csv or --parquet.",
)
def results(
    reference: str,
    storage: str,
    as_json: bool,
    as_csv: bool,
    parquet: Path | None,
    lineage: bool,
    metric: str | None,
    mode: str | None,
    stage: str,
    rows: str,
) -> None:
    """Show the trials of a run, or of a Ray Tune experiment."""
    if rows != "trials" and (lineage or not (as_csv or parquet)):
        raise UserError(f"--rows {rows} is for --csv and --parquet, without --lineage")
    opened = app.open_reference(reference, storage, metric=metric, mode=mode)
    if stage == "confirmation":
        opened = opened.retrained
    if as_json:
        app.print_json(opened.lineage_rows if lineage else opened.rows)
    elif as_csv:
        app.print_data(_find_table(opened, lineage, rows).to_csv(index=False))
    elif parquet:
        from sweeper.results.frames import write_parquet

        if not parquet.parent.is_dir():
            raise UserError(f"{parquet} can't be written: there is no folder {parquet.parent}")
        try:
            write_parquet(_find_table(opened, lineage, rows), parquet)
        except (OSError, ValueError) as error:
            number = error.errno if isinstance(error, OSError) else None
            # pyarrow's message names a temporary file.
            reason = os.strerror(number) if number else str(error)
            raise UserError(f"{parquet} can't be written: {reason}") from error
        app.say(f"wrote {parquet}")
    elif lineage:
        from sweeper.views.lineage import print_lineage

        print_lineage(opened)
    else:
        from sweeper.views.trials import print_trials

        print_trials(opened)


def _find_table(opened: Run, lineage: bool, rows: str) -> pandas.DataFrame:
    if lineage:
        return opened.lineage
    tables = {"trials": "trials", "reports": "history", "replicas": "replicas"}
    return cast("pandas.DataFrame", getattr(opened, tables[rows]))


@app.cli.command()
@app.run_argument
@app.storage_option
@app.json_option
@click.option("--metric", metavar="NAME", help="Choose by this metric, not the spec's.")
@mode_option
@click.option(
    "--threshold",
    metavar="RETURN",
    type=float,
    help="Say how soon its runs reached this.  [default: selection.solved_at]",
)
def best(
    reference: str,
    storage: str,
    as_json: bool,
    metric: str | None,
    mode: str | None,
    threshold: float | None,
) -> None:
    """Show the champion: configuration, score, checkpoint."""
    from sweeper.views.runs import print_best

    opened = app.open_reference(reference, storage, metric=metric, mode=mode)
    if as_json:
        learning = opened.learning(threshold)
        document = opened.best
        app.print_json(document if learning is None else {**document, "learning": learning})
    else:
        print_best(opened, threshold)


@app.cli.command()
@app.run_argument
@app.storage_option
@app.json_option
def status(reference: str, storage: str, as_json: bool) -> None:
    """Show the progress of a run, live or not."""
    from sweeper.upkeep.overview import describe_run
    from sweeper.views.status import print_status

    app.show(describe_run(app.open_reference(reference, storage)), print_status, as_json)


@app.cli.command("list")
@app.storage_option
@app.json_option
def list_command(storage: str, as_json: bool) -> None:
    """List the runs under the storage."""
    from sweeper.upkeep.overview import describe_runs
    from sweeper.views.runs import print_runs

    app.show(describe_runs(Path(storage)), partial(print_runs, storage=storage), as_json)


@app.cli.command()
@app.run_argument
@click.argument("trial", metavar="[TRIAL]", required=False)
@app.storage_option
@app.json_option
@click.option("-f", "--follow", is_flag=True, help="Print new lines until the end.")
@click.option(
    "-n",
    "--lines",
    metavar="N",
    type=click.IntRange(min=0),
    help="Print the last N lines only.  [default: all, or 10]",
)
def logs(
    reference: str, trial: str | None, storage: str, as_json: bool, follow: bool, lines: int | None
) -> None:
    """Show what the trials of a run printed.

    Without TRIAL, list the logs and show the last lines of failed trials; with -f, follow all
    running trials. A trial's id alone means a trial of the last run.
    """
    from sweeper.paths import RunPaths
    from sweeper.run_files import open_reading
    from sweeper.storage.address import address_of
    from sweeper.storage.checkpoints import bring_logs
    from sweeper.views.logs import describe_log, find_log, follow_logs, tail_lines
    from sweeper.views.runs import print_logs

    tail = 10 if lines is None else lines
    if trial is None and is_trial_id(reference):
        reference, trial = "last", reference
    results = app.open_reference(reference, storage).results
    if follow and (trial is not None or results.is_live):
        if trial is not None:
            find_log(results, trial)
        root = str(address_of(results.root) or results.root)
        load = lambda: app.open_reference(root, storage).results  # noqa: E731
        for name, line in follow_logs(load, trial, tail=tail):
            app.tell(line if trial is not None else f"{name}  {line}")
        return
    if trial is None:
        records = (*results.trials, *results.retrained)
        bring_logs(RunPaths(results.root).trials)
        found = [describe_log(record, results) for record in records]
        app.show(found, partial(print_logs, run=results.root.name, lines=tail), as_json)
        return
    log = find_log(results, trial)
    if as_json:
        app.print_json(log)
    elif lines is not None:
        for line in tail_lines(log.path, lines):
            app.tell(line)
    else:
        with open_reading(log.path) as stream:
            if not sys.stdout.isatty():
                shutil.copyfileobj(stream, sys.stdout.buffer)
                return
            for raw in stream:
                # A progress bar is written over itself; its last state is what stays.
                app.tell(raw.decode("utf-8", "replace").rstrip("\r\n").rpartition("\r")[2])


@app.cli.command()
@click.argument("target", metavar="[CHECKPOINT|RUN]", default="last", shell_complete=complete_run)
@app.storage_option
@app.json_option
@click.option(
    "--episodes", metavar="N", type=click.IntRange(1), default=100, help="Episodes of each agent."
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(0), default=0, help="Seed of the episodes."
)
@click.option(
    "--replica", metavar="SEED", type=int, help="Play only this seed's agent of a checkpoint."
)
@click.option(
    "--max-episode-steps",
    metavar="N",
    type=click.IntRange(1),
    help="Cut an episode after N steps.  [default: as in the run]",
)
@click.option(
    "--explore/--greedy",
    default=None,
    help="Sample actions, or take the best ones.  [default: as evaluations of the run]",
)
@app.changed_environment_option
@app.trust_option
def evaluate(
    target: str,
    storage: str,
    as_json: bool,
    episodes: int,
    seed: int,
    replica: int | None,
    max_episode_steps: int | None,
    explore: bool | None,
    allow_changed_environment: bool,
    trust: str,
) -> None:
    """Evaluate agents on episodes that training never saw.

    For a RUN its champion plays; for a trial's checkpoint all its replicas that did not diverge.
    Shows the mean, the interquartile mean (IQM) and an interval; of several replicas also where
    one more training run would land.
    """
    from sweeper.evidence import evaluation
    from sweeper.views.evaluation import print_evaluation

    evaluated = evaluation.evaluate(
        target,
        storage,
        episodes=episodes,
        seed=seed,
        replica=replica,
        max_episode_steps=max_episode_steps,
        explore=explore,
        allow_changed_environment=allow_changed_environment,
        trust=trust,
        say=app.say,
    )
    app.show(evaluated, print_evaluation, as_json)


@app.cli.command()
@app.run_argument
@app.storage_option
@click.option(
    "--port",
    metavar="PORT",
    type=int,
    help="Port on the loopback interface.  [default: 5000, or a free one if that is taken]",
)
@click.option("--open", "is_opened", is_flag=True, help="Open the page in a browser.")
@app.trust_option
def ui(reference: str, storage: str, port: int | None, is_opened: bool, trust: str) -> None:
    """Open the MLflow UI on a run's tracking database.

    It shows the run's trials, the best first. Ctrl-C ends it.
    """
    opened = app.open_reference(reference, storage)
    tracking = None if opened.spec is None else opened.spec.tracking
    if tracking is None:
        raise UserError(f"{opened.results.root.name} was run without tracking; nothing to show")
    from sweeper.tracking.moved_files import follow_move
    from sweeper.tracking.ui import open_ui
    from sweeper.trust import find_foreign_servers, refuse_foreign

    servers = {} if opened.spec is None else opened.spec.servers
    foreign = [
        one
        for one in find_foreign_servers(opened.paths, servers, trust=trust)
        if one.endswith("(tracking.uri)")
    ]
    refuse_foreign(foreign, name=opened.paths.root.name, trust=trust, say=app.say)
    database = opened.paths.root.parent / "mlflow.db"
    if tracking.uri == default_tracking_uri(str(database.parent)):
        with suppress(sqlite3.Error):  # then the UI shows what it can
            follow_move(database, tracking.experiment)
    server = open_ui(
        tracking.uri,
        port=port,
        experiment=tracking.experiment,
        run_name=opened.paths.root.name,
        mode=opened.objective.mode,
    )
    try:
        app.say(f"MLflow UI on {server.url} (Ctrl-C ends it)")
        if server.run_url is not None:
            app.say(f"the sweep: {server.run_url}")
        if is_opened and not webbrowser.open(server.url):
            app.say("no browser could be opened; the address is above")
        sys.exit(server.process.wait())
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()
