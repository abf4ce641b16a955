from __future__ import annotations

import shlex
import shutil
import time
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from packaging.requirements import Requirement

from sweeper import machine
from sweeper.installation import install_extra, pip_install, requirements
from sweeper.results.builder import is_process_alive
from sweeper.upkeep import doctor
from sweeper.upkeep.doctor import Check, examine, is_fit


def check(name: str, folder: Path, **options: Any) -> Check:
    found = {item.name: item for item in examine(folder, **{"quick": True, **options})}
    return found[name]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Package versions that the test sets; None means not installed."""
    versions: dict[str, str | None] = {}
    real = metadata.version

    def version(name: str) -> str:
        found = versions[name] if name in versions else real(name)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, "version", version)
    return versions


def test_a_missing_package_fails_with_a_remedy(
    installed: dict[str, str | None], tmp_path: Path
) -> None:
    installed["ray"] = None
    assert check("ray", tmp_path) == Check(
        "ray",
        "failed",
        f"not installed (needs >=2.60,<2.61): {pip_install('ray[rllib,tune]>=2.60,<2.61')}",
    )


def test_a_remedy_keeps_every_extra_of_the_requirement(
    installed: dict[str, str | None], tmp_path: Path
) -> None:
    for needed in requirements():
        installed[needed.name] = None
        command = check(needed.name, tmp_path).detail.partition("): ")[2]
        named = Requirement(shlex.split(command)[-1])
        assert (named.name, named.extras, named.specifier) == (
            needed.name,
            needed.extras,
            needed.specifier,
        )


@pytest.mark.parametrize("name", ["lz4", "dm-tree", "tensorboardX"])
def test_a_package_that_only_an_extra_brings_is_missed(
    installed: dict[str, str | None], tmp_path: Path, name: str
) -> None:
    installed["ray"] = "2.60.0"
    assert check("ray", tmp_path).status == "ok"
    installed.update(dict.fromkeys((name, name.replace("-", "_")), None))
    found = check("ray", tmp_path)
    assert found.status == "failed"
    assert found.detail.replace("_", "-").startswith(f"2.60.0 without {name} (needs >=2.60")
    assert found.detail.endswith(pip_install("ray[rllib,tune]>=2.60,<2.61"))


def test_a_ray_without_what_tune_and_rllib_need_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A module that fails to import stands for a package that only Ray's extras bring."""
    (tmp_path / "tree.py").write_text("raise ImportError('No module named tree')")
    hide = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    monkeypatch.setattr(doctor, "_TORCH_PROBE", "pass")
    monkeypatch.setattr(doctor, "_RAY_PROBE", hide + doctor._RAY_PROBE)
    found = check("local Ray", tmp_path, quick=False)
    assert found.status == "failed"
    assert found.detail.startswith("ImportError: No module named tree: ")
    assert found.detail.endswith(pip_install("ray[rllib,tune]>=2.60,<2.61"))


def test_a_version_out_of_range_fails(installed: dict[str, str | None], tmp_path: Path) -> None:
    installed["gymnasium"] = "1.3.0"
    found = check("gymnasium", tmp_path)
    assert found.status == "failed"
    assert found.detail.startswith("1.3.0 does not fit (needs >=1.2.2,<1.3): ")
    assert not is_fit([found])


def test_a_missing_extra_is_not_a_failure(installed: dict[str, str | None], tmp_path: Path) -> None:
    installed["ale-py"] = None
    found = check("extra atari", tmp_path)
    command = install_extra("atari")
    assert found == Check("extra atari", "missing", f"the Atari games: {command}")
    assert is_fit([found])
    installed.update({"ale-py": "0.11.2", "opencv-python-headless": "4.12.0"})
    found = check("extra atari", tmp_path)
    assert found.status == "ok"
    assert found.detail.startswith("ale-py 0.11.2")
    assert found.detail.endswith(": the Atari games")


def test_an_extra_of_two_packages_needs_both(
    installed: dict[str, str | None], tmp_path: Path
) -> None:
    installed.update({"box2d": "2.3.10", "pygame": None})
    assert check("extra box2d", tmp_path).status == "missing"
    installed["pygame"] = "2.6.1"
    assert check("extra box2d", tmp_path).status == "ok"


def test_the_extras_are_those_that_users_need(tmp_path: Path) -> None:
    extras = {item.name for item in examine(tmp_path, quick=True) if "extra " in item.name}
    named = ("box2d", "atari", "envpool", "video", "onnx")
    assert extras == {f"extra {name}" for name in named}
    assert all(requirements(name.removeprefix("extra ")) for name in extras)


def test_a_storage_that_does_not_exist_will_be_made(tmp_path: Path) -> None:
    found = check("storage", tmp_path / "new" / "runs")
    assert found.status == "ok"
    assert found.detail.startswith(f"{tmp_path}/new/runs (will be made), writable, ")
    assert not (tmp_path / "new").exists()
    assert check("storage", tmp_path).detail.startswith(f"{tmp_path}, writable, ")


def test_little_disk_space_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    little = SimpleNamespace(total=10**10, used=0, free=5 * 10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: little)
    found = check("storage", tmp_path)
    assert found.status == "warning"
    assert "500 MB free: that is little" in found.detail


def test_a_gpu_that_torch_cannot_use_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "_gpus_of_driver", lambda: "NVIDIA H100, 81559 MiB")
    monkeypatch.setattr(doctor, "_TORCH_PROBE", "pass")
    monkeypatch.setattr(doctor, "_RAY_PROBE", "pass")
    found = check("GPU", tmp_path, quick=False)
    assert found.status == "warning"
    assert "install a CUDA build of torch" in found.detail
    monkeypatch.setattr(doctor, "_TORCH_PROBE", "print('NVIDIA H100')")
    assert check("GPU", tmp_path, quick=False).detail.startswith("NVIDIA H100; used where")


def test_a_failed_torch_import_shows_the_last_line_of_its_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "_TORCH_PROBE", "raise OSError('libgomp.so.1: no such file')")
    monkeypatch.setattr(doctor, "_RAY_PROBE", "pass")
    found = check("torch import", tmp_path, quick=False)
    assert found == Check("torch import", "failed", "OSError: libgomp.so.1: no such file")


def test_a_hanging_ray_is_killed_with_its_child_processes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child = tmp_path / "child"
    command = ["sh", "-c", f"echo $$ > {child}; exec sleep 60"]
    monkeypatch.setattr(doctor, "_TORCH_PROBE", "pass")
    monkeypatch.setattr(doctor, "_RAY_PROBE", f"import subprocess\nsubprocess.run({command!r})")
    monkeypatch.setattr(doctor, "_PROBE_S", 2.0)
    found = check("local Ray", tmp_path, quick=False)
    assert found == Check("local Ray", "failed", "no answer within 2 s")
    deadline = time.monotonic() + 10  # dying takes a moment
    while is_process_alive(int(child.read_text()), started_before=time.time()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("usable", "said"), [(4, "4"), (1, "1 of 4 may be used")], ids=["all", "some"]
)
def test_cores_are_those_that_the_plan_counts_with(
    usable: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "all_cores", lambda: 4)
    monkeypatch.setattr(machine, "usable_cores", lambda: usable)
    assert check("cores", tmp_path) == Check("cores", "ok", said)


@pytest.mark.parametrize(
    ("total", "free", "status", "detail"),
    [
        (3e9, 1.5e9, "warning", "3.0 GB, 1.5 GB free: a trial of RLlib takes about 1 GB"),
        (30e9, 15e9, "ok", "30 GB, 15 GB free"),
        (30e9, None, "ok", "30 GB"),
        (None, None, "warning", "unknown on this system"),
    ],
)
def test_little_free_memory_is_a_warning(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    total: float | None,
    free: float | None,
    status: str,
    detail: str,
) -> None:
    monkeypatch.setattr(machine, "total_bytes", lambda: total)
    monkeypatch.setattr(machine, "free_bytes", lambda: free)
    assert check("memory", tmp_path) == Check("memory", status, detail)


def test_a_tmpdir_that_is_too_long_for_ray_s_sockets_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = f"/scratch/{'x' * 80}"
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", long)
    found = check("Ray's session", tmp_path)
    assert found.status == "ok"
    assert found.detail.endswith(f"; TMPDIR, {long}, is too long for Ray's sockets")
    monkeypatch.setenv("RAY_TMPDIR", long)
    refused = check("Ray's session", tmp_path)
    assert refused.status == "failed"
    assert refused.detail.endswith("set RAY_TMPDIR to a shorter folder")
