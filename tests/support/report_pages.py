"""Read a report as a browser's parser would: its elements, their attributes, their text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = ("br", "col", "hr", "input", "meta")


@dataclass
class Element:
    """An element of a page."""

    name: str
    attributes: dict[str, str | None] = field(default_factory=dict)
    children: list[Element | str] = field(default_factory=list)

    def walk(self) -> Iterator[Element]:
        """It and all that is in it."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()

    def find(self, name: str, **attributes: str) -> list[Element]:
        """The elements in it of a name, with these attributes."""
        wanted = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        return [
            one
            for one in self.walk()
            if one.name == name
            and all(one.attributes.get(key) == value for key, value in wanted.items())
        ]

    @property
    def text(self) -> str:
        """All text in it."""
        return "".join(one if isinstance(one, str) else one.text for one in self.children)

    @property
    def numbers(self) -> list[float]:
        """The whole numbers behind what is shown, in their order."""
        return [float(one.attributes["value"] or "") for one in self.find("data")]


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("page")
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"{tag} ends in {self.open[-1].name}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read_page(text: str) -> Element:
    """Parse a page; every element must be closed where it was opened."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert len(reader.open) == 1, reader.open
    return reader.root


def section(page: Element, anchor: str) -> Element:
    """A section of a report."""
    (found,) = page.find("section", id=anchor)
    return found
