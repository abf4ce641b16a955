"""The command that draws plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from sweeper.cli import app
from sweeper.cli.completion import complete_run
from sweeper.errors import UserError

__all__ = ["plot"]


class _PlotCommand(click.Command):
    """Lists the kinds of plots below the help."""

    def format_epilog(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write a line for each kind."""
        from sweeper.plots.catalogue import KINDS

        with formatter.section("Kinds"):
            formatter.write_dl([(kind.name, kind.shows) for kind in KINDS.values()])


def _complete_kind(
    context: click.Context,  # noqa: ARG001 - click's signature
    parameter: click.Parameter,  # noqa: ARG001
    incomplete: str,
) -> list[str]:
    from sweeper.plots.catalogue import KINDS

    return [name for name in KINDS if name.startswith(incomplete)]


@app.cli.command(cls=_PlotCommand)
@click.argument("reference", metavar="RUN", required=False, shell_complete=complete_run)
@click.argument("kind", metavar="KIND", required=False, shell_complete=_complete_kind)
@app.storage_option
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A file that ends in .png, .svg, .pdf, .html or .json (plotly's).  [default: KIND.png]",
)
@click.option("--metric", metavar="NAME", help="Whose curves.  [default: the run's]")
@click.option("--trials", metavar="ID,ID", multiple=True, help="Which trials; may be repeated.")
@click.option("--top", metavar="N", type=int, help="How many of the best trials.")
@click.option("--by", metavar="NAME", help="Average by a parameter, or by `configuration`.")
@click.option("--bins", metavar="N", type=int, help="Into how many groups numbers are parted.")
@click.option("--param", metavar="NAME,NAME", multiple=True, help="Which parameters; likewise.")
@click.option("--replicas", is_flag=True, default=None, help="Draw each replica, too.")
@click.option("--band", metavar="interval|range", help="The mean's interval, or lowest to highest.")
@click.option("--style", metavar="strips|deviation", help="How replica_spread shows replicas.")
@click.option("--list", "lists", is_flag=True, help="List the kinds with their options.")
@app.json_option
def plot(
    reference: str | None,
    kind: str | None,
    storage: str,
    output: Path | None,
    lists: bool,
    as_json: bool,
    trials: Sequence[str],
    param: Sequence[str],
    **options: Any,
) -> None:
    """Draw a plot of a run, or of a Ray Tune experiment, into a file.

    RUN may be left out: `sweeper plot timeline` is of the last run.
    """
    from sweeper.plots.catalogue import KINDS, draw, find_kind
    from sweeper.plots.saving import check_file, save_chart

    if lists:
        app.show([_describe(name) for name in KINDS], _print_kinds, as_json)
        return
    if reference is None:
        raise UserError("name the kind of plot; `sweeper plot --list` lists them")
    if kind is None:
        reference, kind = ("last", reference) if _is_kind(reference) else (reference, None)
    if kind is None:
        raise UserError(
            f"name the kind of plot: sweeper plot {reference} KIND; "
            "`sweeper plot --list` lists them"
        )
    name = find_kind(kind).name
    file = output or Path(f"{name}.png")
    check_file(file)
    given = {
        **options,
        "trials": _split(trials) or None,
        "params": _split(param) or None,
    }
    source = app.open_reference(reference, storage).plot.source
    chart = draw(name, source, **{key: value for key, value in given.items() if value is not None})
    save_chart(chart, file)
    if as_json:
        app.print_json(
            {"kind": name, "file": str(file), "missing": chart.missing, "notes": list(chart.notes)}
        )
    else:
        app.tell_result(f"{name} written to {file}")
    if chart.missing is not None:
        app.say(f"it shows only why there is nothing to show: {chart.missing}")


def _is_kind(word: str) -> bool:
    from sweeper.plots.catalogue import KINDS

    return word.replace("-", "_") in KINDS


def _split(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(part.strip() for word in words for part in word.split(",") if part.strip())


def _describe(name: str) -> dict[str, Any]:
    from sweeper.plots.catalogue import KINDS

    kind = KINDS[name]
    return {"kind": kind.name, "shows": kind.shows, "options": dict(kind.options)}


def _print_kinds(kinds: Sequence[dict[str, Any]]) -> None:
    for kind in kinds:
        app.tell(f"{kind['kind']}\n    {kind['shows']}")
        for option, words in kind["options"].items():
            app.tell(f"    --{'param' if option == 'params' else option}: {words}")
