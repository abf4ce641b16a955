"""Which cases of a test every `make test` runs, and which are left to `make acceptance`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

__all__ = ["leave_after"]


def leave_after(number: int, cases: Iterable[Any]) -> list[Any]:
    """Parameters of a test: all but the first so many belong to the acceptance tier.

    Put the cases that differ most at the front.

    Args:
        number: how many every run tries.
        cases: tuples for several arguments, anything else for one.
    """
    parameters = []
    for index, case in enumerate(cases):
        values = case if isinstance(case, tuple) else (case,)
        marks = [pytest.mark.acceptance] if index >= number else []
        parameters.append(pytest.param(*values, marks=marks))
    return parameters
