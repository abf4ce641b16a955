"""No standard stream ends a command: it may be closed, full, or lack a letter."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

import pytest
from run_folders import make_run

from sweeper.cli import main
from sweeper.journal import Journal, TrialAsked, TrialEnded, TrialReported
from sweeper.streams import PLAIN, forgiving

NAME = "made-20260101-000000"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run whose tables have a spread, an exchange and letters of several alphabets."""
    paths = make_run(tmp_path / "runs", NAME)
    journal = Journal(paths.journal)
    point = {"lr": 0.5, "note": "gru\u00df \u03b3 \u65e5\u672c \U0001f600"}
    journal.append(TrialAsked(1.0, "t0003", point, point, (0, 1)))
    row = {
        "training_iteration": 1,
        "episode_return_mean": 5.0,
        "num_env_steps_sampled_lifetime": 500,
        "replica/episode_return_mean": [4.0, 6.0],
    }
    decision = {"action": "copy", "donor": "t0001", "donor_env_steps": 500, "parameters": point}
    journal.append(TrialReported(2.0, "t0003", row, decision=decision))
    journal.append(TrialEnded(3.0, "t0003", "TERMINATED", "done"))
    journal.append(TrialAsked(4.0, "t0004", point, point, (0, 1)))
    journal.append(TrialEnded(5.0, "t0004", "ERROR", "crashed", "ValueError: \u03b3 \u2260 1"))
    journal.close()
    return tmp_path


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "cp1252", "utf-8"])
@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("status",),
        ("results",),
        ("results", "--lineage"),
        ("results", "--csv"),
        ("results", "--json"),
        ("best",),
        ("logs",),
        ("advise",),
        ("init", "CartPole-v1", "-o", "-"),
    ],
    ids=" ".join,
)
def test_what_an_encoding_lacks_is_spelled_out(
    runs: Path, words: tuple[str, ...], encoding: str
) -> None:
    code, shown = run_in(encoding, words, runs)
    assert not code
    if words == ("results",):
        assert ("5 \u00b11.414" if encoding != "ascii" else "5 +-1.414") in shown
        letter = r"\u03b3" if encoding != "utf-8" else "\u03b3"
        assert f"ValueError: {letter} " in shown
    if words == ("results", "--lineage"):
        assert ("\u2192" if encoding == "utf-8" else "->") in shown


def run_in(encoding: str, words: tuple[str, ...], folder: Path) -> tuple[object, str]:
    """A command's exit code, and what it writes to a stdout of an encoding."""
    written = io.BytesIO()
    stdout = io.TextIOWrapper(written, encoding=encoding, errors="strict")
    arguments, code = sys.argv, None
    try:
        sys.argv = ["sweeper", *words]
        with contextlib.chdir(folder), contextlib.redirect_stdout(stdout):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = arguments
    stdout.flush()
    return code, written.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        ("1 \u00b12 \u2192 3\u2026", "ascii", "1 +-2 -> 3..."),
        ("1 \u00b12 \u2192 3\u2026", "iso-8859-1", "1 \u00b12 -> 3..."),
        ("\u03b3\U0001f600\udc80", "ascii", r"\u03b3\U0001f600\udc80"),
        ("\udc80", "utf-8", r"\udc80"),
    ],
)
def test_letters_are_spelled_in_ascii(text: str, encoding: str, shown: str) -> None:
    assert text.encode(encoding, PLAIN).decode(encoding) == shown


def test_words_to_a_pipe_that_nobody_reads_are_dropped() -> None:
    reading, writing = os.pipe()
    stream = forgiving(writing, "utf-8", closes=True)
    print("read", file=stream)
    assert os.read(reading, 100) == b"read\n"
    os.close(reading)
    for _ in range(3):
        print("dropped" * 10_000, file=stream, flush=True)
    assert os.write(writing, b"what a library in C says") > 0
    stream.close()
    with pytest.raises(OSError, match="descriptor"):
        os.close(writing)


def test_words_to_a_full_disk_are_dropped() -> None:
    stream = forgiving(os.open("/dev/full", os.O_WRONLY), "utf-8", closes=True)
    print("dropped", file=stream, flush=True)
    stream.close()
