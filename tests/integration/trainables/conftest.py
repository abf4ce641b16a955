"""Leaves tests to the acceptance tier whose module says so of them, by ``is_left``."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them."""
    for item in items:
        is_left = getattr(getattr(item, "module", None), "is_left", None)
        if is_left is not None and is_left(item):
            item.add_marker(pytest.mark.acceptance)
