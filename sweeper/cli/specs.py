"""Verbs about a spec: write one, check it, complete it in an editor."""

from __future__ import annotations

from pathlib import Path

import click

from sweeper.cli.frame import cli, json_option, overrides_argument, print_json, say, spec_argument

__all__ = ["init", "plan", "schema"]


@cli.command()
@click.argument("env", metavar="ENV")
@click.option("--algorithm", metavar="NAME", help="RLlib's name of it.  [default: PPO]")
@click.option("--backend", metavar="NAME", help="torch or rllib.")
@click.option("-o", "--output", metavar="FILE", help="Where to write; - is stdout.")
def init(env: str, algorithm: str | None, backend: str | None, output: str | None) -> None:
    """Write a first spec for an environment, with a search space."""
    from sweeper.spec.starter import make_starter, write_new

    starter = make_starter(env, algorithm, backend)
    if output == "-":
        click.echo(starter.text, nl=False)
        return
    path = Path(output or f"{starter.name}.yaml")
    write_new(path, starter.text)
    say(f"wrote {path}; see what it does: sweeper plan {path}")
    click.echo(str(path))


@cli.command()
def schema() -> None:
    """Print the JSON Schema of a spec, for editors."""
    from sweeper.spec.schema import spec_schema

    print_json(spec_schema())


@cli.command()
@spec_argument
@overrides_argument
@json_option
def plan(spec: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check a spec and say what it will do; start nothing."""
    from sweeper.planning.estimates import estimate_plan
    from sweeper.planning.plan import load_plan

    made = estimate_plan(load_plan(spec, overrides))
    if as_json:
        print_json(made.to_json())
    else:
        from sweeper.planning.plan_text import print_plan

        print_plan(made)
