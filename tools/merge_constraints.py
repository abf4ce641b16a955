"""Write installed versions into constraints.txt. Pins of packages that are not installed stay.

python -m pip freeze --exclude-editable | python tools/merge_constraints.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from packaging.utils import canonicalize_name

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


def merge_constraints(constraints: str, installed: str) -> str:
    """Return ``constraints`` with the versions of ``installed``, sorted.

    Args:
        constraints: a comment in the first line, then one ``name==version`` per line.
        installed: output of ``pip freeze``.
    """
    comment, *pins = constraints.splitlines()
    # PyPI does not have torch's CPU build under its local version, e.g. 2.13.0+cpu.
    versions = [line.removesuffix("+cpu") for line in installed.splitlines()]
    merged = {canonicalize_name(pin.partition("==")[0]): pin for pin in [*pins, *versions]}
    return "\n".join([comment, *sorted(merged.values(), key=str.lower)]) + "\n"


if __name__ == "__main__":
    merged = merge_constraints(CONSTRAINTS.read_text(encoding="utf-8"), sys.stdin.read())
    CONSTRAINTS.write_text(merged, encoding="utf-8")
