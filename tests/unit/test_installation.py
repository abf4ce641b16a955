"""Hints about extras say what works from where the user stands: a checkout, or installed files."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from sweeper import installation
from sweeper.installation import (
    install_extra,
    pip_install,
    python_needed,
    requirements,
    version,
)

ROOT = Path(__file__).parents[2]

METADATA = """\
Metadata-Version: 2.4
Name: sweeper-rl
Version: 7.8.9
Requires-Python: >=3.11
Requires-Dist: numpy>=2.0
Requires-Dist: tomli; python_version < "3"
Requires-Dist: ale-py>=0.11; extra == "atari"
Requires-Dist: numpy>=2.0; extra == "atari"
Provides-Extra: atari
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as a wheel leaves it: no checkout around it, metadata beside it; its own pip."""
    monkeypatch.setattr(installation, "_find_pip", lambda: "pip")
    record = tmp_path / "sweeper_rl-7.8.9.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(METADATA)
    monkeypatch.setattr(installation, "_PACKAGE", tmp_path / "sweeper")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def test_the_distribution_has_a_name_of_its_own_and_the_package_keeps_its_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == installation.DISTRIBUTION == "sweeper-rl"
    assert project["scripts"] == {"sweeper": "sweeper.cli:main"}
    assert version() == project["version"]
    assert python_needed() == project["requires-python"]
    assert {one.name for one in requirements("box2d")} == {"box2d", "pygame"}
    assert "ray" in {one.name for one in requirements()}


def test_in_a_checkout_an_extra_is_installed_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "_find_pip", lambda: "pip")
    monkeypatch.chdir(ROOT)
    assert install_extra("box2d") == "pip install -e '.[box2d]'"
    monkeypatch.chdir(tmp_path)
    assert install_extra("box2d") == f"pip install -e '{ROOT}[box2d]'"


def test_without_a_checkout_an_extra_comes_from_the_index(installed: Path) -> None:
    assert install_extra("box2d") == "pip install 'sweeper-rl[box2d]'"
    assert (version(), python_needed()) == ("7.8.9", ">=3.11")
    assert [str(one) for one in requirements()] == ["numpy>=2.0"]
    assert [one.name for one in requirements("atari")] == ["ale-py", "numpy"]


def test_the_pyproject_of_another_project_is_none_of_ours(installed: Path) -> None:
    (installed / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "1"\n')
    assert version() == "7.8.9"
    assert install_extra("atari") == "pip install 'sweeper-rl[atari]'"


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A virtual environment that runs this, another one that is first on the path, a cwd."""
    real = Path(sys.executable).resolve()
    for name in ("ours", "other"):
        programs = tmp_path / name / "bin"
        programs.mkdir(parents=True)
        (programs / "python").symlink_to(real)
        (programs / "python3.11").symlink_to("python")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "ours" / "bin" / "python"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'other' / 'bin'}:/nowhere")
    return tmp_path


def write_pip(programs: Path, text: str) -> None:
    (programs / "pip").write_text(f"{text}\nprint('pip')\n")
    (programs / "pip").chmod(0o755)


@pytest.mark.parametrize(
    ("text", "is_ours"),
    [
        ("#!{}/ours/bin/python", True),
        ("#!{}/ours/bin/python3.11", True),
        ("#!/bin/sh\n'''exec' \"{}/ours/bin/python\" \"$0\" \"$@\"\n' '''", True),
        ("#!{}/other/bin/python", False),
        ("#!/usr/bin/env python", False),
        ("#!/bin/bash", False),
        ("#!/bin/sh\nexec something 'open", False),
        ("#!{}/gone/bin/python", False),
        ("", False),
        ("\0binary", False),
    ],
)
def test_pip_is_named_alone_only_if_it_is_this_python_s(
    environment: Path, text: str, is_ours: bool
) -> None:
    write_pip(environment / "other" / "bin", text.format(environment))
    whole = f"{environment}/ours/bin/python -m pip install 'x[y]'"
    assert pip_install("x[y]") == ("pip install 'x[y]'" if is_ours else whole)


def test_the_python_is_named_as_shortly_as_it_is_found(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = f"{environment}/ours/bin/python -m pip install x"
    assert pip_install("x") == whole  # no pip at all
    monkeypatch.chdir(environment)
    assert pip_install("x") == "ours/bin/python -m pip install x"
    monkeypatch.setenv("PATH", f"{environment}/ours/bin:/nowhere")
    assert pip_install("x") == "python -m pip install x"
    write_pip(environment / "ours" / "bin", "#!/usr/bin/env python")
    assert pip_install("x") == "pip install x"


@pytest.mark.parametrize(
    ("missing", "has_uv", "begin"),
    [
        (("pip",), True, "uv pip install --python {}"),
        (("pip",), False, "{} -m ensurepip && {} -m pip install"),
        (("pip", "ensurepip"), False, "{} -m pip install"),
        ((), True, "{} -m pip install"),
    ],
)
def test_a_python_without_pip_is_helped_by_what_there_is(
    environment: Path,
    monkeypatch: pytest.MonkeyPatch,
    missing: tuple[str, ...],
    has_uv: bool,
    begin: str,
) -> None:
    """Virtual environments of uv's have none."""
    monkeypatch.setattr(
        installation, "find_spec", lambda name: None if name in missing else "there"
    )
    write_pip(environment / "other" / "bin", f"#!{environment}/other/bin/python")
    if has_uv:
        uv = environment / "other" / "bin" / "uv"
        uv.write_text("#!/bin/sh\n")
        uv.chmod(0o755)
    python = f"{environment}/ours/bin/python"
    assert pip_install("x[y]") == f"{begin.format(python, python)} 'x[y]'"
    monkeypatch.chdir(environment)
    assert pip_install("x") == f"{begin.format('ours/bin/python', 'ours/bin/python')} x"


def test_the_command_installs_for_this_python() -> None:
    """As a shell runs it here, whatever pip the path has."""
    command = pip_install("x").removesuffix(" install x")
    done = subprocess.run(
        ["sh", "-c", f"{command} --version"], capture_output=True, text=True, check=True
    )
    assert str(Path(sys.prefix) / "lib") in done.stdout


def test_another_program_called_sweeper_is_not_taken_for_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str) -> None:
        assert name == "sweeper-rl"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(installation, "_PACKAGE", tmp_path / "sweeper")
    for asked in ("version", "metadata", "requires"):
        monkeypatch.setattr(metadata, asked, find)
    assert (version(), python_needed(), requirements()) == ("unknown", "", [])


def test_no_hint_names_the_other_distribution() -> None:
    found = subprocess.run(
        ["grep", "-rnE", r"sweeper\[", "sweeper", "docs", "README.md", "Makefile", "notebooks"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert found.stdout == ""
