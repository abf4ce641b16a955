"""No text of a spec, a run or a log makes a terminal do anything but show it."""

from __future__ import annotations

import ast
import json
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text
from run_folders import make_run
from terminals import sweeper_on_a_terminal

import sweeper
from sweeper.journal import Journal, TrialAsked, TrialEnded
from sweeper.printable import PrintableFormatter, printable
from sweeper.views.console import PrintableConsole, make_table

PACKAGE = Path(sweeper.__file__).parent
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202egnp"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\x9b2J\u202egnp"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("lr=0.1 ü ✓ 日本", "lr=0.1 ü ✓ 日本"),
        ("a\tb\nc\r\nd", "a\tb\nc\nd"),
        (EVIL, SHOWN),
        ("\x1b[31mred\x1b[0m", "red"),
        ("10%\r20%", r"10%\x0d20%"),
        ("half \ud800", r"half \ud800"),
        ("", ""),
    ],
)
def test_what_a_terminal_would_act_on_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_is_left_and_twice_is_once(text: str) -> None:
    shown = printable(text)
    assert all(one in "\n\t" or ord(one) >= 32 for one in shown)
    assert not {"\x7f", "\x9b", "\u202e"} & set(shown)
    assert printable(shown) == shown


def test_tables_and_lines_are_shown_through_it(capsys: pytest.CaptureFixture[str]) -> None:
    console = PrintableConsole(width=200, force_terminal=True)
    table = make_table("lp", ("a", EVIL))
    table.add_row(EVIL, EVIL)
    console.print(table, style="red")
    console.print(Text(EVIL))
    out = capsys.readouterr().out
    assert out.count(SHOWN) == 3
    assert out.count(SHOWN.replace(r"\x07", "")) == 1  # rich leaves a bell out
    assert "\x1b]" not in out
    assert "\x1b[31m" in out  # our own colours stay


def test_log_records_are_shown_through_it() -> None:
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "bad %s", (EVIL,), None)
    assert PrintableFormatter("%(message)s").format(record) == f"bad {SHOWN}"


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("status",),
        ("results",),
        ("results", "--csv"),
        ("results", "--json"),
        ("best",),
        ("logs",),
        ("logs", "t0001"),
        ("logs", "t0001", "-n", "2"),
        ("clean", "--keep", "0"),
        ("plan", "evil.yaml"),
        ("status", EVIL),
    ],
    ids=lambda words: " ".join(words).replace(EVIL, "EVIL"),
)
def test_no_verb_sends_a_stranger_s_sequences(tmp_path: Path, words: tuple[str, ...]) -> None:
    paths = make_run(tmp_path / "runs", f"x{EVIL.replace('/', '')}-20260101-000000", ["ERROR"])
    journal = Journal(paths.journal)
    journal.append(TrialAsked(1.0, "t0009", {EVIL: EVIL}, {EVIL: EVIL}, (0,)))
    journal.append(TrialEnded(2.0, "t0009", "ERROR", EVIL, EVIL))
    journal.close()
    paths.trial_log("t0001").write_text(f"{EVIL}\n" * 3)
    (tmp_path / "evil.yaml").write_text(f"name: x\n{json.dumps(EVIL)}: {json.dumps(EVIL)}\n")
    _, shown = sweeper_on_a_terminal(*words, cwd=tmp_path, environment={"COLUMNS": "300"})
    assert "owned" in shown or words[0] == "clean"
    for sequence in ("\x1b]", "\x1b[2J", "\x9b", "\x07", "\u202e"):
        assert sequence not in shown


def test_nothing_is_printed_on_another_way() -> None:
    """Who prints is a short list; all others go through it."""
    allowed = {
        "cli.upkeep": {"echo"},  # a script of our own
        "views.trials": {"print"},
        "views.lines": {"print"},
        "trainables.trial": {"print"},  # into a log
        "trainables.trial_log": {"print"},  # into a log
        "rehearsal.worker": {"print"},  # to the process that started it, as JSON
    }
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found = {
            name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if (
                isinstance(node, ast.Call)
                and (name := getattr(node.func, "attr", getattr(node.func, "id", "")))
                in ("echo", "Console", "secho")
            )
            or (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and (name := node.func.id) == "print"
            )
        }
        assert found <= allowed.get(module, set()), module
