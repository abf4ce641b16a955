"""Write the tables of docs/parity.md from the records that specs are checked against.

python tools/write_parity_table.py           # renew the file
python tools/write_parity_table.py --check   # exit 1 if it is out of date
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweeper.spec.keys.names import defaults, domain
from sweeper.spec.keys.support import REFERENCE_BACKEND, find_support, supports

DOCUMENT = Path(__file__).parents[1] / "docs" / "parity.md"
MARK = "<!-- made by tools/write_parity_table.py: do not edit below -->\n"
ALGORITHMS = ("PPO", "DQN")


def tables() -> str:
    """The Markdown of all tables."""
    parts = [_table(name) for name in ALGORITHMS if supports("torch", name)]
    return "\n".join(parts)


def _table(algorithm: str) -> str:
    lines = [
        f"## {algorithm}, key by key",
        "",
        "| key | default | torch | rllib |",
        "|---|---|---|---|",
    ]
    support = find_support("torch", algorithm)
    for path, value in _flat(defaults(algorithm)):
        is_network = path[0] == "model_config"
        supported = support.network if is_network else support.keys
        name = ".".join(path)
        if supported is not None and path[-1 if is_network else 0] not in supported:
            torch = f"an error that names `backend: {REFERENCE_BACKEND}`"
        elif name in support.fixed:
            torch = f"only `{_show(value)}`"
        else:
            torch = _describe(algorithm, path, "torch")
        is_fixed = name in find_support(REFERENCE_BACKEND, algorithm).fixed
        rllib = (
            f"only `{_show(value)}`" if is_fixed else _describe(algorithm, path, REFERENCE_BACKEND)
        )
        lines.append(f"| `{name}` | `{_show(value)}` | {torch} | {rllib} |")
    for key, value in support.extensions.items():
        rllib = "an error that names `backend: torch`"
        lines.append(f"| `model_config.{key}` | `{_show(value)}` | yes | {rllib} |")
    return "\n".join([*lines, ""])


def _flat(nested: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    for key, value in nested.items():
        # A replay buffer's settings count as one value.
        if isinstance(value, Mapping) and value and key == "model_config":
            yield from _flat(value, (*prefix, key))
        else:
            yield (*prefix, key), value


def _describe(algorithm: str, path: tuple[str, ...], backend: str) -> str:
    return "yes, or a schedule" if domain(algorithm, path, backend).has_schedule else "yes"


def _show(value: Any) -> str:
    return str(value).replace("|", "\\|")


def main() -> int:
    """Renew or check the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    head = text.partition(MARK)[0]
    renewed = f"{head}{MARK}\n{tables()}"
    if "--check" in sys.argv:
        return 0 if renewed == text else 1
    DOCUMENT.write_text(renewed, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
