"""Commands for upkeep: delete runs, log them again, check the machine, enable completion."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from sweeper.cli import app
from sweeper.cli.completion import SHELLS, complete_run, completion_script
from sweeper.errors import RunError, UserError
from sweeper.formatting import count_noun

__all__ = ["clean", "completion", "doctor", "log_command"]


@app.cli.command()
@click.argument("references", metavar="[RUN]...", nargs=-1, shell_complete=complete_run)
@click.option(
    "--older-than", metavar="AGE", help="Only runs whose last event is this old: 12h, 7d."
)
@click.option(
    "--failed",
    is_flag=True,
    help="Only failed runs: every trial failed, or the launch did, or it can't be read.",
)
@click.option("--keep", metavar="N", type=click.IntRange(min=0), help="All but the newest N.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@app.storage_option
@click.option(
    "--json", "as_json", is_flag=True, help="Print the runs as JSON; delete only with --yes."
)
def clean(
    references: tuple[str, ...],
    older_than: str | None,
    failed: bool,
    keep: int | None,
    yes: bool,
    storage: str,
    as_json: bool,
) -> None:
    """Delete old runs, after asking.

    Choose runs by name or by options; a run must match all of them. Running runs and folders that
    are not runs are never deleted. MLflow's record of the runs stays.
    """
    from sweeper.upkeep.cleaning import choose_runs, delete_run, parse_age

    if not references and older_than is None and not failed and keep is None:
        raise UserError(
            "choose runs by name, --older-than 7d, --failed or --keep N "
            "(--keep 0: all); nothing was deleted"
        )
    age_s = None if older_than is None else parse_age(older_than)
    chosen = choose_runs(
        Path(storage), names=references, older_than_s=age_s, only_failed=failed, keep=keep
    )
    if as_json:
        app.print_json(chosen)
    elif not chosen:
        app.say(f"no run in {storage} to delete")
    else:
        from sweeper.views.runs import print_old_runs

        print_old_runs(chosen)
    if not chosen or (as_json and not yes):
        return
    if not yes and not _confirm(len(chosen), sum(run.size_bytes for run in chosen)):
        app.say("nothing was deleted")
        return
    for run in chosen:
        delete_run(run.run)
        app.say(f"deleted {run.run}")
    app.say("MLflow's record of them stays")


def _confirm(count: int, size: int) -> bool:
    from sweeper.formatting import format_bytes

    if not sys.stdin.isatty():
        raise UserError("no terminal to ask on; add --yes to delete them")
    question = (
        f"Delete {count_noun(count, 'run')}, {format_bytes(size)}, for good? "
        "(MLflow's record of them stays)"
    )
    return click.confirm(question, err=True)


@app.cli.command()
@app.storage_option
@app.json_option
@click.option("--quick", is_flag=True, help="Skip torch and Ray, which take seconds.")
@click.option(
    "--address",
    metavar="ADDRESS",
    help="Check the nodes of this Ray cluster instead: auto or host:port.",
)
def doctor(storage: str, as_json: bool, quick: bool, address: str | None) -> None:
    """Check what is installed and whether a sweep can run here.

    With --address: whether the nodes of a cluster are alike, share the storage, and have what a
    sweep needs.
    """
    if address is not None:
        _check_cluster(address, Path(storage), as_json=as_json)
        return
    from sweeper.upkeep.doctor import examine, is_fit

    checks = []
    for check in examine(Path(storage), quick=quick):
        checks.append(check)
        if not as_json:
            from sweeper.views.runs import print_check

            print_check(check)
    if as_json:
        app.print_json({"fit": is_fit(checks), "checks": checks})
    elif is_fit(checks):
        app.say("fit")
    if not is_fit(checks):
        count = sum(check.status == "failed" for check in checks)
        raise RunError(f"not fit for a sweep: {count} of {len(checks)} checks failed")


def _check_cluster(address: str, storage: Path, *, as_json: bool) -> None:
    from sweeper.running.tune.cluster import survey_cluster

    surveys = survey_cluster(address, storage)
    unfit = [one for one in surveys if one.status == "failed"]
    if as_json:
        nodes = [{**asdict(one), "status": one.status} for one in surveys]
        app.print_json({"fit": not unfit, "nodes": nodes})
    else:
        from sweeper.views.nodes import print_nodes

        print_nodes(surveys)
        if not unfit:
            has_room = any(one.runs_trials for one in surveys)
            app.say("fit" if has_room else "fit, but no node has CPUs for trials yet")
    if unfit:
        raise RunError(f"not fit for a sweep: {len(unfit)} of {count_noun(len(surveys), 'node')}")


@app.cli.command("log")
@app.run_argument
@app.storage_option
@click.option("--uri", metavar="URI", help="Tracking server or database, if not the spec's.")
@click.option("--experiment", metavar="NAME", help="Experiment, if not the spec's.")
@app.trust_option
@app.verbose_option
def log_command(
    reference: str, storage: str, uri: str | None, experiment: str | None, trust: str
) -> None:
    """Write a run to MLflow again; existing records stay."""
    from sweeper.upkeep.relog import log_run

    opened = app.open_reference(reference, storage)
    place = log_run(opened, uri=uri, experiment=experiment, trust=trust, say=app.say)
    app.say(f"{opened.results.root.name} is in {place}")


@app.cli.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that enables completion in a shell.

    \b
    bash: echo 'eval "$(sweeper completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(sweeper completion zsh)"' >> ~/.zshrc
    fish: sweeper completion fish > ~/.config/fish/completions/sweeper.fish
    """  # noqa: D301 - click needs the character \\b
    click.echo(completion_script(app.cli, shell))
