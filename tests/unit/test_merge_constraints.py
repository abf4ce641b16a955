from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def merge(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("merge_constraints").merge_constraints


def test_installed_versions_win_and_pins_of_missing_packages_stay(merge: Any) -> None:
    old = "# comment\nenvpool-assets==0.3.0\nenvpool==1.2.5\nnumpy==2.0.0\n"
    assert merge(old, "numpy==2.4.6\nabsl-py==2.5.1\n") == (
        "# comment\nabsl-py==2.5.1\nenvpool-assets==0.3.0\nenvpool==1.2.5\nnumpy==2.4.6\n"
    )


def test_spellings_of_one_name_are_one_pin(merge: Any) -> None:
    assert merge("# c\nbox2d==2.3\nty_x==1\n", "Box2D==2.4\nty-x==2\n") == (
        "# c\nBox2D==2.4\nty-x==2\n"
    )


def test_the_cpu_build_of_torch_is_pinned_as_its_version(merge: Any) -> None:
    assert merge("# c\ntorch==2.12.0\n", "torch==2.13.0+cpu\n") == "# c\ntorch==2.13.0\n"
