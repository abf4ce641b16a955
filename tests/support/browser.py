"""A real browser for tests of pages: the system's Chromium, driven by Playwright.

Where it is missing, tests skip and say so; with `SWEEPER_REQUIRE_BROWSER=1` they fail instead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

REQUIRED = "SWEEPER_REQUIRE_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome")
# As root there is no sandbox; the rest keeps Chromium from calling home.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Visit:
    """A page that was opened, and what it did.

    Attributes:
        page: Playwright's.
        requests: the address of everything that it asked for.
        said: what it wrote to the console, errors and refusals of its policy among it.
    """

    page: Any
    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


@contextmanager
def open_browser() -> Iterator[Any]:
    """Start the browser, or skip the test; with `REQUIRED` set, fail it."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        _give_up(f"no browser is installed: none of {', '.join(NAMES)} is on the PATH")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _give_up("playwright is not installed: it comes with the extra `dev`")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=list(OPTIONS))
        try:
            yield started
        finally:
            started.close()


def _give_up(why: str) -> None:
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{why}, and {REQUIRED} is 1")
    pytest.skip(why)


@contextmanager
def visit(browser: Any, address: str | Path, **options: Any) -> Iterator[Visit]:
    """Open a page, and close it at the end of the block.

    Args:
        browser: of `open_browser`.
        address: a URL or a file.
        options: of Playwright's ``new_page``, such as ``viewport`` and ``color_scheme``.
    """
    page = browser.new_page(**options)
    found = Visit(page)
    page.on("request", lambda request: found.requests.append(request.url))
    page.on("console", lambda message: found.said.append(message.text))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.goto(address.resolve().as_uri() if isinstance(address, Path) else address)
    try:
        yield found
    finally:
        page.close()
