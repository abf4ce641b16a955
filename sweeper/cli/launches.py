"""Commands that start, resume and stop launches."""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

import click

from sweeper.cli import app
from sweeper.cli.completion import complete_run
from sweeper.cli.specs import plan as plan_command
from sweeper.errors import RunError, UserError
from sweeper.paths import run_reference
from sweeper.states import LaunchEnd, TrialState
from sweeper.storage.address import place_text

if TYPE_CHECKING:
    from sweeper.api import Run
    from sweeper.planning.plan import SweepPlan

__all__ = ["confirm", "resume", "run", "stop", "train"]


@app.cli.command()
@app.spec_argument
@app.overrides_argument
@click.option("--dry-run", is_flag=True, help="Only print the plan, like `sweeper plan`.")
@app.json_option
@app.quiet_option
@app.verbose_option
@click.pass_context
def run(
    context: click.Context,
    spec: str,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run a sweep: every trial, the confirmation, the selection, MLflow.

    KEY=VALUE sets a key of the spec: search.num_samples=8 'param_space.lr={choice: [1e-4, 1e-3]}'.
    The first Ctrl-C saves the running trials and ends the run; `sweeper resume` continues it. A
    second Ctrl-C ends it at once. Prints the run folder.
    """
    if dry_run:
        context.invoke(plan_command, spec=spec, overrides=overrides, as_json=as_json)
        return
    from sweeper.planning.plan import load_plan

    _execute(load_plan(spec, overrides), as_json=as_json, quiet=quiet)


@app.cli.command()
@app.spec_argument
@app.overrides_argument
@click.option(
    "--from",
    "origin",
    metavar="CHECKPOINT|RUN",
    help="Begin with the weights of a checkpoint, a champion's folder, or a run's champion.",
    shell_complete=complete_run,
)
@click.option(
    "--replica",
    metavar="SEED",
    type=int,
    help="All begin as this seed's replica of it.  [default: each as that of its own seed, else as "
    "the best]",
)
@app.trust_option
@app.json_option
@app.quiet_option
@app.verbose_option
def train(
    spec: str,
    overrides: tuple[str, ...],
    origin: str | None,
    replica: int | None,
    trust: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train one configuration, without a search.

    Constants keep the spec's values; searched parameters get the algorithm's defaults.
    KEY=VALUE sets a key of the spec. With --from it begins with another agent's weights, whose
    algorithm, spaces and network are the same; it says what is not taken over. Prints the run
    folder.
    """
    from sweeper.api import plan_training

    plan = plan_training(
        spec, overrides, from_checkpoint=origin, replica=replica, trust=trust, say=app.say
    )
    _execute(plan, as_json=as_json, quiet=quiet)


def _execute(plan: SweepPlan, *, as_json: bool, quiet: bool) -> None:
    from sweeper.api import execute
    from sweeper.views.progress import make_progress
    from sweeper.views.runs import headline

    if not quiet:
        for line in (headline(plan), *(f"note: {one}" for one in (*plan.notes, *plan.warnings))):
            app.say(_fold(line))
    _report(execute(plan, progress=False if quiet else make_progress), as_json=as_json, quiet=quiet)


@app.cli.command()
@app.run_argument
@app.storage_option
@click.option(
    "--num-samples", type=int, metavar="N", help="Total samples, including earlier launches."
)
@click.option("--time", "time_s", type=float, metavar="S", help="More seconds for the search.")
@click.option(
    "--stop",
    "stops",
    multiple=True,
    metavar="KEY=VALUE",
    help="A later stop criterion for the trials (finished ones with a checkpoint continue), or a "
    "larger number of the spec's budget, as in budget.trials=40.",
)
@click.option("--retry-errored", is_flag=True, help="Retry failed trials.")
@click.option(
    "--address",
    metavar="ADDRESS",
    help="Go on with this Ray cluster, auto or host:port; local: on this machine.",
)
@app.changed_environment_option
@app.trust_option
@app.json_option
@app.quiet_option
@app.verbose_option
def resume(
    reference: str,
    storage: str,
    num_samples: int | None,
    time_s: float | None,
    stops: tuple[str, ...],
    retry_errored: bool,
    address: str | None,
    allow_changed_environment: bool,
    trust: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Continue a run that was interrupted, or give it more to do.

    After an interruption or a crash, trials continue from their last checkpoint. The options give
    the run more to do. Prints the run folder.
    """
    from sweeper.api import Extension
    from sweeper.api import resume as resume_run
    from sweeper.views.progress import make_progress

    extension = Extension(
        num_samples,
        time_s,
        dict(_read_criterion(text) for text in stops),
        retry_errored,
        address=address,
    )
    finished = resume_run(
        reference,
        storage,
        extension=extension,
        allow_changed_environment=allow_changed_environment,
        trust=trust,
        progress=False if quiet else make_progress,
        say=(lambda _: None) if quiet else app.say,
    )
    _report(finished, as_json=as_json, quiet=quiet)


def _read_criterion(text: str) -> tuple[str, float]:
    key, _, value = text.partition("=")
    try:
        return key.strip(), float(value)
    except ValueError:
        raise UserError(
            f"--stop {text}: write KEY=NUMBER, as in num_env_steps_sampled_lifetime=200000"
        ) from None


@app.cli.command()
@app.run_argument
@app.storage_option
@click.option(
    "--finalists",
    type=click.IntRange(1),
    metavar="K",
    help="How many of the search's best trials.  [default: as in the spec, or 3]",
)
@click.option(
    "--seeds",
    type=click.IntRange(2),
    metavar="N",
    help="Seeds for each, earlier ones included.  [default: as in the spec, or 10]",
)
@click.option(
    "--trial", "trials", multiple=True, metavar="ID", help="Confirm this trial, whatever its score."
)
@app.changed_environment_option
@app.trust_option
@app.json_option
@app.quiet_option
@app.verbose_option
def confirm(
    reference: str,
    storage: str,
    finalists: int | None,
    seeds: int | None,
    trials: tuple[str, ...],
    allow_changed_environment: bool,
    trust: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train finalists and baseline again on fresh seeds.

    For a run that was not confirmed, or one whose verdict needs more seeds. Whatever was trained
    before counts. The champion is then chosen anew. Prints the run folder.
    """
    from sweeper.api import confirm as confirm_run
    from sweeper.views.progress import make_progress

    finished = confirm_run(
        reference,
        storage,
        finalists=finalists,
        seeds=seeds,
        trials=trials,
        allow_changed_environment=allow_changed_environment,
        trust=trust,
        progress=False if quiet else make_progress,
        say=(lambda _: None) if quiet else app.say,
    )
    _report(finished, as_json=as_json, quiet=quiet)


@app.cli.command()
@app.run_argument
@app.storage_option
def stop(reference: str, storage: str) -> None:
    """End a run from another shell, like its first Ctrl-C.

    The running trials are saved; `sweeper resume` continues the run.
    """
    from sweeper import stopping

    stopping.stop(reference, storage, say=app.say)


def _report(finished: Run, *, as_json: bool, quiet: bool) -> None:
    from sweeper.views.runs import summarise

    for warning in finished.warnings:
        if warning in finished.told:
            continue
        app.say(f"warning: {warning}")
    if not quiet:
        width = _width()
        app.say(summarise(finished, width))
    results = finished.results
    errored = results.counts().get(TrialState.ERROR, 0)
    if as_json:
        document = {
            "run": place_text(finished.paths.root),
            "state": results.state,
            "trials": len(results.trials),
            "errored": errored,
            "best": finished.best_trial,
        }
        app.print_json(document)
    else:
        app.tell_result(place_text(finished.paths.root))
    if results.state == LaunchEnd.INTERRUPTED:
        sys.exit(130)
    if results.state == LaunchEnd.DISK_FULL:
        raise RunError(
            "the disk is nearly full, so the trials were saved and the search ended; free some "
            f"space, then `sweeper resume {run_reference(finished.paths.root)}`"
        )
    if finished.failure is not None:
        raise RunError(finished.failure)


def _width() -> float:
    """Of the terminal that messages go to; infinite if they go elsewhere."""
    return shutil.get_terminal_size().columns if sys.stderr.isatty() else math.inf


def _fold(text: str) -> str:
    """A text folded between words, where the terminal would break it anywhere."""
    width = _width()
    if width == math.inf or len(text) <= width:
        return text
    return textwrap.fill(
        text, int(width), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
