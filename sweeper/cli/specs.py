"""Commands for specs: write one, check it, get its JSON Schema."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from sweeper.cli import app

__all__ = ["init", "plan", "schema"]


@app.cli.command()
@click.argument("env", metavar="ENV")
@click.option("--algorithm", metavar="NAME", help="PPO, DQN, SAC, APPO or IMPALA.  [default: PPO]")
@click.option("--backend", metavar="NAME", help="torch or rllib.  [default: torch where it can]")
@click.option(
    "--preset", is_flag=True, help="Search around RL Baselines3 Zoo's hyperparameters for ENV."
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to write; - for stdout.  [default: ENV-ALGORITHM.yaml]",
)
def init(
    env: str, algorithm: str | None, backend: str | None, preset: bool, output: str | None
) -> None:
    """Write a first spec for an environment, with a search space.

    ENV is gymnasium's id, or module:id with a module of yours or of another package:
    my_envs:Maze-v0. With --preset it is CartPole-v1, or another that Zoo has tuned.
    """
    from sweeper.planning.starter import make_starter, write_new

    file = None if output == "-" else output
    starter = make_starter(env, algorithm, backend, file=file, from_preset=preset)
    if output == "-":
        app.print_data(starter.text)
        return
    path = Path(output or f"{starter.name}.yaml")
    write_new(path, starter.text)
    app.say(f"wrote {path}; see what it does: sweeper plan {shlex.quote(str(path))}")
    app.tell(str(path))


@app.cli.command()
def schema() -> None:
    """Print the JSON Schema of a spec, for editors."""
    from sweeper.spec.schema import spec_schema

    app.print_json(spec_schema())


@app.cli.command()
@app.spec_argument
@app.overrides_argument
@click.option(
    "--rehearse", is_flag=True, help="Train some trials for a few seconds and estimate from that."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    metavar="S",
    help="How long a rehearsal trains.",
)
@app.json_option
def plan(
    spec: str, overrides: tuple[str, ...], rehearse: bool, seconds: float, as_json: bool
) -> None:
    """Check a spec and print what it will do; start nothing."""
    from sweeper.planning.estimates import estimate_plan
    from sweeper.planning.plan import load_plan
    from sweeper.views.plan import print_plan

    made = load_plan(spec, overrides)
    if rehearse:
        from sweeper.rehearsal.forecast import estimate_rehearsed
        from sweeper.rehearsal.process import rehearse_plan

        made = estimate_rehearsed(made, rehearse_plan(made, seconds, say=app.say))
    else:
        made = estimate_plan(made)
    app.show(made, print_plan, as_json)
