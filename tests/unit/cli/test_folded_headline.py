"""What a launch says first, on a terminal that is narrower than it is long."""

from __future__ import annotations

import io

import pytest

from sweeper.cli import launches

TEXT = "cartpole-ppo: PPO on CartPole-v1 (torch), 3 trials x 2 seeds, 2 at a time; then 1 finalist"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [30, 80])
def test_it_is_folded_between_words(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", _Terminal())
    monkeypatch.setenv("COLUMNS", str(width))
    lines = launches._fold(TEXT).splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= width
    assert " ".join(line.strip() for line in lines) == TEXT


def test_it_stays_one_line_where_it_fits_or_goes_into_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert launches._fold(TEXT) == TEXT
    monkeypatch.setattr("sys.stderr", _Terminal())
    monkeypatch.setenv("COLUMNS", "120")
    assert launches._fold(TEXT) == TEXT
