"""The frame of a report: one HTML file that asks for nothing outside itself.

The policy in its head forbids all but what the file holds: no network, no frames, no forms, and
no script but those whose hashes it names. plotly sets styles from its script, so inline styles are
allowed.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources, util
from pathlib import Path

from sweeper import installation
from sweeper.markup import Html, joined, tag
from sweeper.report.elements import raw_script

__all__ = ["Section", "build_page"]

_PLOTLY = ("package_data", "plotly.min.js")
_LEVEL = 5  # a higher one takes longer and saves little


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: by which links find it.
        title: above it, and in the line of links.
        content: its body.
    """

    anchor: str
    title: str
    content: Html


def build_page(
    title: str, head: Html, sections: Sequence[Section], *, written: str, has_charts: bool
) -> str:
    """The whole file.

    Args:
        title: of the page, plain.
        head: what stands first.
        sections: in their order.
        written: when, in words.
        has_charts: whether it needs plotly's script, which is most of the file; it is packed.
    """
    scripts = [_own("table.js"), _own("page.js")]
    plotly = _read_plotly() if has_charts else b""
    allowed = [*(script.encode() for script in scripts), *([plotly] if has_charts else [])]
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in allowed)
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    top = joined(
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="generator", content=f"sweeper {installation.version()}"),
        tag("title", title),
        Html(f"<style>{_own('page.css')}</style>"),
    )
    links = [tag("a", one.title, href=f"#{one.anchor}") for one in sections]
    parts = [tag("section", tag("h2", one.title), one.content, id=one.anchor) for one in sections]
    foot = tag("footer", f"Written by sweeper {installation.version()} on {written}.")
    body = joined(
        tag("nav", tag("div", *links), aria_label="Sections"),
        tag("main", tag("header", head), *parts, foot),
        raw_script(_pack(plotly), type="text/plain", id="plotly") if has_charts else None,
        *(raw_script(script) for script in scripts),
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>{top.text}</head>\n'
        f"<body>{body.text}</body>\n</html>\n"
    )


def _own(name: str) -> str:
    return (resources.files("sweeper.report") / name).read_text("utf-8")


def _read_plotly() -> bytes:
    """The script of plotly, read without its import."""
    found = util.find_spec("plotly")
    if found is None or found.origin is None:
        raise FileNotFoundError("plotly is not installed")
    return Path(found.origin).parent.joinpath(*_PLOTLY).read_bytes()


def _pack(script: bytes) -> str:
    """A script as the page's own unpacks it: three fifths of the file are saved."""
    return base64.b64encode(gzip.compress(script, _LEVEL, mtime=0)).decode()


def _digest(script: bytes) -> str:
    return base64.b64encode(hashlib.sha256(script).digest()).decode()
