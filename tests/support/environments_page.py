"""Reading docs/environments.md: its files, what its commands print, and its tables of code.

The first line of a block of Python or YAML names its file. A block of ``console`` has one command,
and what that prints among other lines; a line that goes on is indented.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import yaml

PAGE = (Path(__file__).parents[2] / "docs" / "environments.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(python|yaml|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# (\w+\.(?:py|yaml))\b")
# What most examples leave out.
_REST = {"algorithm": "PPO", "stop": {"training_iteration": 3}}


@dataclass(frozen=True)
class Command:
    """A command of the page and, a text each, the lines that it prints."""

    words: tuple[str, ...]
    says: tuple[str, ...]


def read_files() -> dict[str, str]:
    """The page's files by their names."""
    return dict(_read_named())


def read_specs() -> list[str]:
    """The names of the page's specs, in its order."""
    return [name for name, _ in _read_named() if name.endswith(".yaml")]


def read_commands(verb: str) -> list[Command]:
    """The commands of one verb, without ``sweeper``, in the page's order."""
    found = []
    for kind, text in _BLOCK.findall(PAGE):
        if kind == "console":
            command, *lines = text.splitlines()
            words = tuple(command.removeprefix("$ sweeper ").split())
            assert command.startswith("$ sweeper "), command
            if words[0] == verb:
                joined = "\n".join(lines).replace("\n  ", " ")
                found.append(Command(words, tuple(joined.splitlines())))
    return found


def read_table(head: str) -> list[tuple[str, ...]]:
    """The rows of every table whose first heading it is; their cells as they are written."""
    tables = re.findall(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert tables, head
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for table in tables
            for row in table.splitlines()]  # fmt: skip


def read_code(cell: str) -> list[str]:
    """The pieces of code in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def flatten(text: str) -> str:
    """Without line breaks: the terminal's width decides about those."""
    return " ".join(text.split())


@contextmanager
def written(folder: Path) -> Iterator[Path]:
    """The page's files in a folder; afterwards Python has forgotten what was imported from it."""
    for name, text in read_files().items():
        (folder / name).write_text(text, encoding="utf-8")
    path, ids, modules = list(sys.path), dict(gymnasium.registry), set(sys.modules)
    try:
        yield folder
    finally:
        sys.path[:] = path
        gymnasium.registry.clear()
        gymnasium.registry.update(ids)
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(folder):
                del sys.modules[name]


def _read_named() -> Iterator[tuple[str, str]]:
    for kind, text in _BLOCK.findall(PAGE):
        if kind == "console":
            continue
        name = _FILE.match(text)
        assert name is not None, text
        if kind == "yaml":
            missing = {key: one for key, one in _REST.items() if key not in yaml.safe_load(text)}
            text += yaml.safe_dump(missing) if missing else ""
        yield name[1], text
