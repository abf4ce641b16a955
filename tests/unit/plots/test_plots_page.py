"""docs/plots.md says of each kind what the catalogue says."""

from __future__ import annotations

from pathlib import Path

import sweeper
from sweeper.plots.catalogue import KINDS

PAGE = Path(sweeper.__file__).parents[1] / "docs" / "plots.md"


def test_the_page_has_each_kind_with_what_it_shows_and_its_options() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    found = {row[0].strip("`"): (row[1], row[2]) for row in rows}
    assert list(found) == list(KINDS)
    for name, (shows, options) in found.items():
        assert shows == KINDS[name].shows
        assert options == ", ".join(f"`{option}`" for option in KINDS[name].options)


def test_the_page_names_options_that_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(row.count("|") == 5 for row in text.splitlines() if row.startswith("| `"))
