"""The frame of the command line: options, the group of all verbs, errors as lines and codes.

Each verb imports what it needs when it runs, so that ``--help`` answers at once.
Data goes to stdout, words and progress to stderr.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from sweeper.cli.completion import complete_run, complete_spec
from sweeper.errors import SpecError, SweeperError, UserError

if TYPE_CHECKING:
    from sweeper.api import Run

__all__ = [
    "cli",
    "json_option",
    "main",
    "open_reference",
    "overrides_argument",
    "print_json",
    "quiet_option",
    "run_argument",
    "say",
    "spec_argument",
    "storage_option",
]

_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

storage_option = click.option(
    "--storage", default="runs", show_default=True, help="The folder that holds the runs."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress.")
run_argument = click.argument(
    "reference", metavar="[RUN]", default="last", shell_complete=complete_run
)
spec_argument = click.argument("spec", metavar="SPEC", shell_complete=complete_spec)
overrides_argument = click.argument("overrides", metavar="[KEY=VALUE]...", nargs=-1)


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
        say("\n".join(str(problem) for problem in error.problems))
        count = len(error.problems)
        say(f"{count} problem{'s' if count != 1 else ''}; nothing was started")
        code = error.exit_code
    except SweeperError as error:
        say(f"error: {error}")
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("interrupted")
        code = 130
    except BrokenPipeError:
        # Whoever read our output left; nothing more can be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:  # a file or folder that is not ours to read or write, a full disk
        where = f"{error.filename}: " if error.filename else ""
        say(f"error: {where}{error.strerror or error}")
        code = 1
    sys.exit(code)


def say(text: str) -> None:
    """Write words to stderr."""
    click.echo(text, err=True)


def _print_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from sweeper.running.provenance import package_versions

        versions = package_versions()
        click.echo(f"sweeper {versions.pop('sweeper')}")
        click.echo(", ".join(f"{name} {version}" for name, version in versions.items()))
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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


def open_reference(
    reference: str, storage: str, metric: str | None = None, mode: str | None = None
) -> Run:
    """Open the run, or the experiment of Ray Tune, that a user named."""
    from sweeper.api import open_run

    try:
        return open_run(reference, storage, metric=metric, mode=mode)
    except SpecError as error:  # not the user's spec, but the run's own record of it
        raise UserError(f"the run's spec can't be read: {error.problems[0]}") from error


def print_json(document: Any) -> None:
    """Write data to stdout."""
    click.echo(json.dumps(document, indent=2, allow_nan=False))
