"""The command line: words in, words and exit codes out.

Each verb imports what it needs when it runs, so that ``--help`` answers at once.
Data goes to stdout, words and progress to stderr.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from sweeper.errors import RunError, SpecError, SweeperError, UserError

if TYPE_CHECKING:
    from sweeper.api import Run
    from sweeper.plan import SweepPlan

__all__ = ["cli", "main"]

_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

_storage = click.option(
    "--storage", default="runs", show_default=True, help="The folder that holds the runs."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="No progress.")
_run = click.argument("reference", metavar="[RUN]", default="last")
_spec = click.argument("spec", metavar="SPEC")
_overrides = click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)


def main() -> NoReturn:
    """Entry point of the console script: every error becomes a line and an exit code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except SpecError as error:
        _say("\n".join(str(problem) for problem in error.problems))
        count = len(error.problems)
        _say(f"{count} problem{'s' if count != 1 else ''}; nothing was started")
        code = error.exit_code
    except SweeperError as error:
        _say(f"error: {error}")
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        code = 130
    except BrokenPipeError:
        # Whoever read our output left; nothing more can be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _print_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from sweeper.provenance import package_versions

        versions = package_versions()
        click.echo(f"sweeper {versions.pop('sweeper')}")
        click.echo(", ".join(f"{name} {version}" for name, version in versions.items()))
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Let Ray, RLlib and MLflow speak (INFO).")
@click.option(
    "--log-level",
    type=click.Choice(_LOG_LEVELS, case_sensitive=False),
    help="The same, by level.  [default: ERROR]",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print versions and exit.",
)
def cli(verbose: bool, log_level: str | None) -> None:
    """Hyperparameter sweeps for reinforcement learning, with evidence.

    A spec is one YAML file; RUN is a path, a folder's name under the storage, or `last`.
    """
    level = log_level or ("INFO" if verbose else "ERROR")
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    # Our own warnings are always worth a line.
    ours = "WARNING" if level == "ERROR" else level
    logging.getLogger("sweeper").setLevel(ours)


@cli.command()
@_spec
@_overrides
@_json
def plan(spec: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check a spec and say what it will do; start nothing."""
    from sweeper.plan import build_plan
    from sweeper.spec import load_spec

    made = build_plan(load_spec(spec, overrides))
    if as_json:
        _print_json(made.to_json())
    else:
        from sweeper.tables import print_plan

        print_plan(made)


@cli.command()
@_spec
@_overrides
@click.option("--dry-run", is_flag=True, help="As `plan`.")
@_json
@_quiet
@click.pass_context
def run(
    context: click.Context,
    spec: str,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run a sweep: every trial, the selection, MLflow. Prints the run folder."""
    if dry_run:
        context.invoke(plan, spec=spec, overrides=overrides, as_json=as_json)
        return
    from sweeper.plan import build_plan
    from sweeper.spec import load_spec

    _execute(build_plan(load_spec(spec, overrides)), as_json=as_json, quiet=quiet)


@cli.command()
@_spec
@_overrides
@_json
@_quiet
def train(spec: str, overrides: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Train one configuration: searched parameters at the algorithm's defaults."""
    from sweeper.plan import training_plan
    from sweeper.spec import load_spec

    _execute(training_plan(load_spec(spec, overrides)), as_json=as_json, quiet=quiet)


def _execute(made: SweepPlan, *, as_json: bool, quiet: bool) -> NoReturn:
    from sweeper.api import execute
    from sweeper.progress import make_progress
    from sweeper.tables import headline, summarise

    if not quiet:
        _say(headline(made))
        for note in (*made.notes, *made.warnings):
            _say(f"note: {note}")
    finished = execute(made, progress=None if quiet else make_progress)
    for warning in finished.warnings:
        _say(f"warning: {warning}")
    if not quiet:
        _say(summarise(finished))
    results = finished.results
    errored = results.counts().get("ERROR", 0)
    if as_json:
        _print_json(
            {
                "run": str(finished.paths.root),
                "state": results.state,
                "trials": len(results.trials),
                "errored": errored,
                "best": finished.best_trial,
            }
        )
    else:
        click.echo(str(finished.paths.root))
    if results.state == "interrupted":
        sys.exit(130)
    if errored and errored == len(results.trials):
        first = results.trials[0]
        raise RunError(
            f"every trial failed; the first, {first.trial_id}: {first.error}; "
            f"its log: {finished.paths.trial_log(first.trial_id)}"
        )
    sys.exit(0)


@cli.command()
@_run
@_storage
@_json
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV on stdout.")
@click.option("--parquet", type=click.Path(path_type=Path), help="Write a Parquet file.")
@click.option("--metric", help="Score by another metric than the spec's.")
@click.option("--mode", type=click.Choice(["max", "min"]))
def results(
    reference: str,
    storage: str,
    as_json: bool,
    as_csv: bool,
    parquet: Path | None,
    metric: str | None,
    mode: str | None,
) -> None:
    """The trials of a run, or of any Ray Tune experiment's folder."""
    opened = _open(reference, storage, metric=metric, mode=mode)
    if as_json:
        _print_json(opened.rows)
    elif as_csv:
        click.echo(opened.results.trials_frame().to_csv(index=False), nl=False)
    elif parquet:
        opened.results.write_parquet(parquet)
        _say(f"wrote {parquet}")
    else:
        from sweeper.tables import print_trials

        print_trials(opened)


@cli.command()
@_run
@_storage
@_json
@click.option("--metric", help="Choose by another metric than the spec's.")
@click.option("--mode", type=click.Choice(["max", "min"]))
def best(reference: str, storage: str, as_json: bool, metric: str | None, mode: str | None) -> None:
    """The champion: configuration, score, checkpoint."""
    opened = _open(reference, storage, metric=metric, mode=mode)
    if as_json:
        _print_json(opened.best)
    else:
        from sweeper.tables import print_best

        print_best(opened)


@cli.command()
@_run
@_storage
@_json
def status(reference: str, storage: str, as_json: bool) -> None:
    """How far a run is, live or not."""
    from sweeper.api import describe_run

    described = describe_run(_open(reference, storage))
    if as_json:
        _print_json(described)
    else:
        from sweeper.tables import print_status

        print_status(described)


@cli.command("list")
@_storage
@_json
def list_command(storage: str, as_json: bool) -> None:
    """The runs under the storage."""
    from sweeper.api import list_described

    rows = list_described(Path(storage))
    if as_json:
        _print_json(rows)
    else:
        from sweeper.tables import print_runs

        print_runs(rows, storage)


@cli.command()
@click.argument("reference", metavar="[RUN]", default="last")
@_storage
@click.option("--port", default=5000, show_default=True, help="On loopback.")
def ui(reference: str, storage: str, port: int) -> None:
    """Open the MLflow UI on the tracking database of a run."""
    opened = _open(reference, storage)
    if opened.spec is None or opened.spec.tracking is None:
        raise UserError(f"{opened.results.root.name} was run without tracking; nothing to show")
    from sweeper.tracking import open_ui

    server = open_ui(
        opened.spec.tracking.uri, port=port, experiment=opened.spec.tracking.experiment
    )
    _say(f"MLflow UI on {server.url} (Ctrl-C ends it)")
    try:
        sys.exit(server.process.wait())
    except KeyboardInterrupt:
        server.stop()
        sys.exit(0)


def _open(reference: str, storage: str, metric: str | None = None, mode: str | None = None) -> Run:
    from sweeper.api import open_run

    return open_run(reference, storage, metric=metric, mode=mode)


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, allow_nan=False))
