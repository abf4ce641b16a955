"""The command that says what a sweep suggests for the next one."""

from __future__ import annotations

from sweeper.cli import app

__all__ = ["advise"]


@app.cli.command()
@app.run_argument
@app.storage_option
@app.json_option
def advise(reference: str, storage: str, as_json: bool) -> None:
    """Say what a run suggests for the next one, with the numbers.

    Which bound the best configurations lean on, which parameters mattered, whether more seeds or
    more configurations pay, why trials failed, and whether learning was cut off: only what the
    data bear.
    """
    from sweeper.views.advice import print_advice

    app.show(app.open_reference(reference, storage).advise(), print_advice, as_json)
