"""What the README and the configs say is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sweeper.cli import cli
from sweeper.planning.plan import build_plan
from sweeper.spec import load_spec

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_shows_the_quickstart_spec_as_it_is() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert shown == (ROOT / "configs" / "quickstart.yaml").read_text(encoding="utf-8")


def test_the_readme_names_every_verb() -> None:
    for verb in cli.commands:
        assert f"sweeper {verb}" in README, verb


def test_the_readme_leaves_nothing_to_fill_in() -> None:
    assert "@@" not in README


# configs/atari needs an extra: tests/integration/environments/test_atari_run.py plans it.
CONFIGS = sorted(set((ROOT / "configs").rglob("*.yaml")) - set((ROOT / "configs/atari").iterdir()))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_config_can_be_planned(path: Path) -> None:
    plan = build_plan(load_spec(path))
    assert plan.trials >= 1


def test_every_link_of_the_docs_leads_somewhere() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
