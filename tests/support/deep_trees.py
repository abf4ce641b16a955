"""Folders in folders in folders, deeper than Python may call a function from itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def deep_tree(folder: Path, depth: int = 1200) -> Iterator[None]:
    """Make ``a/a/a/…`` with a file at its end, and delete it, which pytest can't.

    From a depth of about 2,000 on its path is longer than a path may be.
    """
    place = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(depth):
            os.mkdir("a", dir_fd=place)
            inner = os.open("a", os.O_RDONLY, dir_fd=place)
            os.close(place)
            place = inner
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=place))
        yield
    finally:
        os.close(place)
        subprocess.run(["rm", "-rf", folder / "a"], check=True)
