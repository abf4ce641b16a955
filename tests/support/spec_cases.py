"""Reading the catalogue of specs under ``specs/``.

A file of cases is text::

    === a title
    $ key=value           an override, any number of them
    ...                   the three lines that every spec needs
    the spec's other lines
    +++ base.yaml         another file beside the spec, any number of them
    its lines
    --- says              the expected problems, one a line; the spec is called spec.yaml
    spec.yaml:4: seeds: …
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "data" / "specs"
LEAST = "environment: CartPole-v1\nalgorithm: PPO\nstop: {training_iteration: 3}\n"


@dataclass(frozen=True)
class Case:
    title: str
    files: dict[str, str]
    overrides: tuple[str, ...] = ()
    says: tuple[str, ...] = field(default=())

    def write(self, folder: Path) -> Path:
        """Put the files into a folder; the spec's path."""
        for name, text in self.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        return folder / "spec.yaml"


def read_cases(name: str) -> Iterator[Case]:
    """The cases of one file, in its order."""
    text = (FOLDER / f"{name}.cases").read_text(encoding="utf-8")
    for block in text.split("\n=== ")[1:] if not text.startswith("=== ") else text.split("=== "):
        title, _, body = block.partition("\n")
        yield _read_case(title.strip(), body if body.endswith("\n") else f"{body}\n")


def _read_case(title: str, body: str) -> Case:
    body, _, says = body.partition("--- says\n")
    files: dict[str, str] = {}
    overrides = []
    current = "spec.yaml"
    for line in body.splitlines(keepends=True):
        if line.startswith("$ ") and current == "spec.yaml":
            overrides.append(line[2:].rstrip("\n"))
        elif line.startswith("+++ "):
            current = line[4:].strip()
            files[current] = ""
        else:
            text = LEAST if line == "...\n" and current == "spec.yaml" else line
            files[current] = files.get(current, "") + text
    files.setdefault("spec.yaml", "")
    return Case(title, files, tuple(overrides), tuple(says.splitlines()))
