"""The command that carries an agent, or its configuration, away from its run."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from sweeper.cli import app
from sweeper.cli.agents import agent_argument, replica_option
from sweeper.errors import UserError

__all__ = ["export"]


@app.cli.command()
@agent_argument
@app.storage_option
@app.json_option
@replica_option
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="The folder, or with --spec the file.  [default: agent-NAME, NAME.yaml]",
)
@click.option("--onnx", is_flag=True, help="Write the agent as an ONNX model, too.")
@click.option(
    "--spec", "as_spec", is_flag=True, help="Write the configuration instead, as a spec to train."
)
@click.option("--overwrite", is_flag=True, help="Replace what was exported there before.")
@app.trust_option
def export(
    target: str,
    storage: str,
    as_json: bool,
    replica: int | None,
    output: Path | None,
    onnx: bool,
    as_spec: bool,
    overwrite: bool,
    trust: str,
) -> None:
    """Write an agent as a folder that acts on its own, or as a spec.

    The folder acts with numpy and gymnasium alone, on images also with torch. Its play.py plays
    the reported evaluation again and says whether it lands in the reported interval. An RLlib
    agent is converted and held against itself first. Of a RUN it is the champion.
    """
    if as_spec:
        for option, given in (("--onnx", onnx), ("--replica", replica is not None)):
            if given:
                raise UserError(f"--spec writes a configuration, which has no {option}; drop one")
        _export_spec(target, storage, output, overwrite=overwrite, as_json=as_json)
        return
    from sweeper.exporting.export import check_folder, export_agent
    from sweeper.opened_agent import load_agent
    from sweeper.views.agents import name_output
    from sweeper.views.exporting import print_export

    if output is not None:
        check_folder(output, overwrite=overwrite)
    agent = load_agent(target, replica=replica, storage=storage, trust=trust, say=app.say)
    folder = output or Path(f"agent-{name_output(agent)}")
    exported = export_agent(agent, folder, onnx=onnx, overwrite=overwrite, say=app.say)
    app.show(exported, print_export, as_json)


def _export_spec(
    target: str, storage: str, output: Path | None, *, overwrite: bool, as_json: bool
) -> None:
    from sweeper.exporting.spec import ExportedSpec, export_spec

    def tell(exported: ExportedSpec) -> None:
        app.tell(str(exported.file))

    exported = export_spec(target, storage, output, overwrite=overwrite, say=app.say)
    shown = shlex.quote(str(output or exported.file.name))
    app.say(f"wrote {shown}; train it: sweeper train {shown}")
    app.show(exported, tell, as_json)
