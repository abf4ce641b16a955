"""A chart as a file: an image, a page, or plotly's JSON; written whole or not at all."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

from sweeper.errors import UserError
from sweeper.hints import did_you_mean, join_words, show
from sweeper.plots.chart import Chart
from sweeper.plots.texts import plain

__all__ = ["ENDINGS", "check_file", "save_chart"]

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ margin: 1em auto; max-width: 1100px; font-family: sans-serif }}
@media (prefers-color-scheme: dark) {{ body {{ background: #16181c }} }}
</style>
</head>
<body>
{figure}
</body>
</html>
"""


def check_file(path: Path) -> None:
    """Check that a chart can be written to a file, before it takes the time to draw it.

    Raises:
        UserError: the name has no known ending, or its folder is not there.
    """
    if path.suffix.lower() not in ENDINGS:
        listed = join_words(list(ENDINGS), "or")
        found = f"it ends in {show(path.suffix)}" if path.suffix else "it has none"
        raise UserError(
            f"{path} needs an ending that says what to write: {listed}; "
            f"{found}{did_you_mean(path.suffix.lower(), ENDINGS)}"
        )
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file")
    if not path.parent.is_dir():
        raise UserError(f"{path} can't be written: there is no folder {path.parent}")


def save_chart(chart: Chart, path: Path) -> None:
    """Write a chart to a file, in the form that its ending says.

    Args:
        chart: what to show.
        path: ending in one of `ENDINGS`; a file that is there is replaced.

    Raises:
        UserError: `check_file` finds something wrong, or the file can't be written.
    """
    check_file(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        ENDINGS[path.suffix.lower()](chart, temporary)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _save_image(form: str) -> Callable[[Chart, Path], None]:
    def save(chart: Chart, path: Path) -> None:
        from sweeper.plots.matplotlib_figure import to_matplotlib

        # Without a date two files of the same run are the same.
        dates = {"svg": "Date", "pdf": "CreationDate"}
        metadata = {dates[form]: None} if form in dates else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # letters that the font lacks are drawn as boxes
            to_matplotlib(chart).savefig(path, format=form, dpi=150, metadata=metadata)

    return save


def _save_page(chart: Chart, path: Path) -> None:
    from sweeper.plots.plotly_figure import to_html

    figure = to_html(chart)
    path.write_text(_PAGE.format(title=escape(plain(chart.title)), figure=figure), encoding="utf-8")


def _save_json(chart: Chart, path: Path) -> None:
    from sweeper.plots.plotly_figure import to_json

    path.write_text(to_json(chart) + "\n", encoding="utf-8")


ENDINGS: Mapping[str, Callable[[Chart, Path], None]] = {
    ".png": _save_image("png"),
    ".svg": _save_image("svg"),
    ".pdf": _save_image("pdf"),
    ".html": _save_page,
    ".json": _save_json,
}
