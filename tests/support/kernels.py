"""A real kernel of Jupyter, for what a notebook's cells do and show."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.manager import KernelManager

_READY_S, _CELL_S = 60, 200


@dataclass
class Cell:
    """What a cell showed.

    Attributes:
        displays: the HTML (or else the text) of each display and of each update, in order.
        result: of the last expression.
        text: what it printed.
        error: name and value of the exception that ended it.
    """

    displays: list[str] = field(default_factory=list)
    result: str | None = None
    text: str = ""
    error: tuple[str, str] | None = None


@dataclass
class Kernel:
    """A running kernel."""

    manager: Any
    client: Any

    def run(self, code: str, on_display: Callable[[Kernel, Cell], None] | None = None) -> Cell:
        """Execute a cell.

        Args:
            code: of the cell.
            on_display: called after each display, for instance to interrupt.
        """
        request, cell, end = self.client.execute(code), Cell(), time.monotonic() + _CELL_S
        while time.monotonic() < end:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                return cell
            if kind in ("display_data", "update_display_data"):
                cell.displays.append(_text_of(content["data"]))
                if on_display is not None:
                    on_display(self, cell)
            elif kind == "execute_result":
                cell.result = _text_of(content["data"])
            elif kind == "stream":
                cell.text += content["text"]
            elif kind == "error":
                cell.error = (content["ename"], content["evalue"])
        raise TimeoutError(f"the cell did not end:\n{code}")

    def interrupt(self) -> None:
        """As the stop button does."""
        self.manager.interrupt_kernel()


def _text_of(data: dict[str, str]) -> str:
    return data.get("text/html") or data.get("text/plain", "")


@contextmanager
def started_kernel(folder: Path) -> Iterator[Kernel]:
    """A kernel in a folder; it ends with the block."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(folder))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=_READY_S)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
