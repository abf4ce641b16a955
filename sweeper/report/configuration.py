"""The champion's configuration in a report: a spec to copy, its searched values marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from sweeper.exporting.spec import make_spec
from sweeper.formatting import format_value
from sweeper.json_values import to_json
from sweeper.markup import Child, Html, joined, tag
from sweeper.printable import printable
from sweeper.report.elements import pairs
from sweeper.report.source import ReportSource
from sweeper.search.configuration import flatten_parameters
from sweeper.spec import dump_spec, load_record

__all__ = ["as_yaml", "copied", "show_configuration"]

_SPACE = "param_space"


def show_configuration(source: ReportSource) -> Html:
    """What the winner was trained with."""
    selection = source.selection
    if selection is None:
        return tag("p", "There is no champion, so there is no configuration of it.")
    searched = flatten_parameters(source.results.trial(selection.trial_id).parameters)
    found = pairs(*((name, format_value(value)) for name, value in searched.items()))
    what = "" if found else "Nothing was searched: the run has one configuration."
    named = tag("h3", "Searched values") if found else tag("p", what)
    return joined(named, found, *_spec(source, selection.trial_id, list(searched)))


def _spec(source: ReportSource, trial_id: str, searched: list[str]) -> Iterator[Child]:
    if source.spec is None:
        configuration = source.results.trial(trial_id).configuration
        text = as_yaml(configuration)
        yield tag("h3", "All of it")
        yield copied(_marked(text, searched, ()))
        return
    recorded = load_record(source.paths.spec)
    spec, notes = make_spec(source.paths, recorded, source.results, trial_id)
    yield tag("h3", "As a spec")
    yield tag(
        "p",
        "A file with this text is what ",
        tag("code", "sweeper train"),
        " takes; ",
        tag("code", f"sweeper export {source.reference} --spec"),
        " writes it. The searched values are marked.",
    )
    if notes:
        yield tag(
            "p",
            "Its values changed while it trained. ",
            " ".join(notes),
            class_="note",
        )
    yield copied(_marked(dump_spec(spec), searched, (_SPACE,)))


def as_yaml(configuration: Mapping[str, Any]) -> str:
    """A configuration as a spec has it, lists in one line."""
    return str(
        yaml.safe_dump(
            to_json(configuration), sort_keys=False, allow_unicode=True, default_flow_style=None
        )
    )


def copied(code: Html) -> Html:
    """A block of code with a button that copies it."""
    button = tag("button", "Copy", type="button", class_="copy", hidden=True)
    return tag("div", button, tag("pre", tag("code", code), tabindex="0"), class_="copied")


def _marked(text: str, searched: list[str], below: tuple[str, ...]) -> Html:
    """The text of a YAML document, with the values of the searched parameters marked."""
    pieces: list[Child] = []
    end = 0
    for start, stop in sorted(_find_values(text, searched, below)):
        if start >= end:
            pieces += [text[end:start], *_mark_lines(text[start:stop])]
            end = stop
    return joined(*pieces, text[end:])


def _mark_lines(value: str) -> Iterator[Child]:
    """A value with its lines marked, but not the space around them."""
    for line in value.splitlines(keepends=True):
        words = line.strip()
        before, _, after = line.partition(words) if words else (line, "", "")
        yield before
        if words:
            yield tag("mark", words)
        yield after


def _find_values(
    text: str, searched: list[str], below: tuple[str, ...]
) -> Iterator[tuple[int, int]]:
    if printable(text) != text:  # its places would not be those of what is shown
        return
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for name in searched:
        node: yaml.Node | None = root
        for key in (*below, *name.split(".")):
            node = _child(node, key)
        if node is not None:
            yield node.start_mark.index, node.end_mark.index


def _child(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)
