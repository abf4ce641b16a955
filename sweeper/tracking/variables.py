"""Environment variables that MLflow reads, set for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["variables_added"]


@contextmanager
def variables_added(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables that have a text; those that the user has set stay as they are."""
    added = {name: text for name, text in variables.items() if text and name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
