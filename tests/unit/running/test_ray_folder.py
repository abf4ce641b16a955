"""Ray's sockets fit where its session lies, or the user is told what to set."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweeper.api import execute
from sweeper.errors import UserError
from sweeper.planning.plan import load_plan
from sweeper.running import ray_folder
from sweeper.running.ray_folder import check_ray_folder, choose_ray_folder

LONG = "/scratch/" + "x" * 31
ROOM = "/scratch/" + "x" * 30
USUAL = ray_folder._USUAL
UMLAUTS = "/" + "ä" * 20
SPEC = "environment: CartPole-v1\nalgorithm: PPO\nstop: {num_env_steps_sampled_lifetime: 100}\n"
SOCKET = "ray/session_2026-11-29_14-04-20_883156_4194304/sockets/plasma_store"


def test_the_longest_folder_is_the_longest_that_a_socket_allows() -> None:
    assert len(f"{ROOM}/{SOCKET}") == 107
    assert choose_ray_folder({"TMPDIR": ROOM}) == (ROOM, "")


@pytest.mark.parametrize(
    ("environ", "folder", "why"),
    [
        ({}, USUAL, ""),
        ({"TMPDIR": "/scratch"}, "/scratch", ""),
        ({"RAY_TMPDIR": "/r", "TMPDIR": LONG}, "/r", ""),
        ({"TMPDIR": LONG}, USUAL, f"TMPDIR, {LONG}, is too long for Ray's sockets"),
        ({"TMPDIR": UMLAUTS}, USUAL, f"TMPDIR, {UMLAUTS}, is too long for Ray's sockets"),
    ],
)
def test_a_long_tmpdir_gives_way(environ: dict[str, str], folder: str, why: str) -> None:
    assert choose_ray_folder(environ) == (folder, why)


def test_what_can_t_be_replaced_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "with 40 bytes; .* it may have 39: set RAY_TMPDIR to a shorter folder"
    with pytest.raises(UserError, match=f"RAY_TMPDIR is {LONG}, {words}"):
        choose_ray_folder({"RAY_TMPDIR": LONG})
    monkeypatch.setattr(ray_folder, "_USUAL", "/nowhere-at-all")
    with pytest.raises(UserError, match=f"TMPDIR is {LONG}, {words}"):
        choose_ray_folder({"TMPDIR": LONG})


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR"])
def test_a_refused_folder_leaves_no_run_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_folder, "_USUAL", "/nowhere-at-all")
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(name, LONG)
    # Ray may be running in this process, for other tests.
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    Path("spec.yaml").write_text(SPEC)
    with pytest.raises(UserError, match=f"{name} is {LONG}"):
        execute(load_plan("spec.yaml"))
    assert not Path("runs").exists()


def test_a_ray_that_runs_already_has_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", LONG)
    running = SimpleNamespace(is_initialized=lambda: True)
    monkeypatch.setitem(sys.modules, "ray", running)
    check_ray_folder()
    running.is_initialized = lambda: False
    with pytest.raises(UserError, match="RAY_TMPDIR is"):
        check_ray_folder()


def test_ray_takes_what_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rule may change with its version."""
    from ray._common.utils import get_default_system_temp_dir

    for environ in ({}, {"TMPDIR": "/scratch"}, {"RAY_TMPDIR": "/r", "TMPDIR": "/scratch"}):
        for name in ("RAY_TMPDIR", "TMPDIR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        assert get_default_system_temp_dir() == choose_ray_folder(os.environ)[0]


def test_ray_s_longest_socket_is_the_one_that_was_counted() -> None:
    from ray._private import node

    source = Path(node.__file__).read_text()
    assert 'default_prefix="plasma_store"' in source
    assert 'os.path.join(self._session_dir, "sockets")' in source
