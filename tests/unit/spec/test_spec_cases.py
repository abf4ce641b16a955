"""Every mistake in the catalogue gets its exact message; odd but right specs pass."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from spec_cases import FOLDER, LEAST, Case, read_cases

from sweeper.errors import SpecError
from sweeper.installation import install_extra
from sweeper.planning import feasibility, replay_memory
from sweeper.planning.plan import load_plan
from sweeper.spec import dump_spec, load_spec

CASES = [
    pytest.param(case, id=f"{path.stem}: {case.title}")
    for path in sorted(FOLDER.glob("*.cases"))
    if path.stem != "right"
    for case in read_cases(path.stem)
]
RIGHT = [pytest.param(case, id=case.title) for case in read_cases("right")]


@pytest.fixture(autouse=True)
def _a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cores, 16 GB, no GPU, a folder of one's own."""
    monkeypatch.setattr(replay_memory, "total_bytes", lambda: 16 * 10**9)
    monkeypatch.setattr(feasibility, "usable_cores", lambda: 4)
    monkeypatch.setattr(feasibility, "gpus", lambda: 0)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("SWEEPER_NOBODY_SETS_THIS", raising=False)
    monkeypatch.chdir(tmp_path)


def said(folder: Path, overrides: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(SpecError) as raised:
        load_plan("spec.yaml", overrides)
    assert raised.value.exit_code == 2
    texts = (str(problem).replace(str(folder), "<here>") for problem in raised.value.problems)
    return [text.replace(install_extra("atari"), "<install atari>") for text in texts]


@pytest.mark.parametrize("case", CASES)
def test_every_mistake_gets_its_message(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    assert said(tmp_path, case.overrides) == list(case.says)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("case", RIGHT)
def test_odd_but_right_specs_pass(case: Case, tmp_path: Path) -> None:
    case.write(tmp_path)
    plan = load_plan("spec.yaml", case.overrides)
    (tmp_path / "copy.yaml").write_text(dump_spec(plan.spec), encoding="utf-8")
    assert load_spec("copy.yaml") == plan.spec


def test_the_catalogue_is_large() -> None:
    assert len(CASES) >= 60
    assert len(RIGHT) >= 15
    assert len({case.values[0].title for case in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (
            b"",
            "spec.yaml: the file is empty; a spec needs at least environment, algorithm and stop",
        ),
        (
            LEAST.encode() + b"name: caf\xe9\n",
            "spec.yaml:4: not UTF-8 text (byte 0xe9); save the file as UTF-8",
        ),
        (
            LEAST.encode("utf-16"),
            "spec.yaml:1: not UTF-8 text (byte 0xff); save the file as UTF-8",
        ),
        (
            LEAST.encode() + b"name: a\0b\n",
            "spec.yaml:4: this line holds a NUL byte: it is not text",
        ),
        (b"\0" * 50, "spec.yaml:1: this line holds a NUL byte: it is not text"),
        (
            LEAST.encode() + b"name: a\x07b\n",
            "spec.yaml:4: this line holds the character '\\x07': it is not text",
        ),
    ],
)
def test_bytes_that_are_not_text_are_refused(data: bytes, answer: str, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_bytes(data)
    assert said(tmp_path) == [answer]


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbf" + LEAST.encode(), LEAST.encode().replace(b"\n", b"\r\n")]
)
def test_a_byte_order_mark_and_windows_line_ends_are_fine(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_bytes(data)
    assert load_plan("spec.yaml").trials == 1


def test_a_folder_is_no_spec(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").mkdir()
    assert said(tmp_path) == ["spec.yaml: this is a folder; give the spec's file"]


def test_a_file_that_can_t_be_read_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spec.yaml").write_text(LEAST)

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert said(tmp_path) == ["spec.yaml: can't be read: Permission denied"]


def test_a_hundred_mistakes_are_enough(tmp_path: Path) -> None:
    keys = "".join(f"zzz{number}: 1\n" for number in range(300))
    (tmp_path / "spec.yaml").write_text(LEAST + keys)
    found = said(tmp_path)
    assert len(found) == 101
    assert found[-1] == "spec.yaml: and 200 more problems"
