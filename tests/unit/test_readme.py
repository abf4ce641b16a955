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


def test_the_pages_name_no_verb_and_no_option_that_is_not_there() -> None:
    pages = [README, *(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))]
    pages += [path.read_text(encoding="utf-8") for path in (ROOT / "configs").glob("**/*.yaml")]
    commands = [one for page in pages for one in re.findall(r"\bsweeper ([a-z]+) ([^`|\n]*)", page)]
    checked = 0
    for verb, rest in commands:
        options = re.findall(r"(?<![\w-])--?[a-z][\w-]*", rest)
        if verb in cli.commands:
            known = {name for one in cli.commands[verb].params for name in one.opts}
            assert set(options) <= known | {"--help"}, (verb, rest)
            checked += len(options)
        else:
            assert not options, (verb, rest)
    assert checked > 10


def test_the_readme_leaves_nothing_to_fill_in() -> None:
    assert "@@" not in README


CONFIGS = [
    *sorted((ROOT / "configs").glob("*.yaml")),
    *sorted((ROOT / "configs/zoo").glob("*.yaml")),
]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_config_can_be_planned(path: Path) -> None:
    if path.stem.startswith("pong"):
        pytest.skip("needs an extra: tests/integration/environments/test_atari_run.py plans it")
    plan = build_plan(load_spec(path))
    assert plan.trials >= 1


def test_every_link_of_the_docs_leads_somewhere() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
