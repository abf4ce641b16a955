"""Check whether a sweep can run here: packages, extras, hardware, folders, Ray.

This module imports nothing heavy. Torch and Ray are tried in separate processes, which may hang
or crash without harm.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sweeper import installation, machine
from sweeper.errors import UserError
from sweeper.formatting import format_bytes
from sweeper.paths import DEFAULT_STORAGE
from sweeper.running.ray_folder import RAY_FOLDER, choose_ray_folder
from sweeper.storage.address import parse_address
from sweeper.storage.objects import Objects

__all__ = ["Check", "examine", "is_fit"]

# The purpose of each extra that a verb uses; those for developers are not checked.
_EXTRAS = {
    "box2d": "LunarLander, BipedalWalker, CarRacing",
    "atari": "the Atari games",
    "envpool": "environment.vectorization: envpool",
    "video": "MP4 files, and gymnasium's classic tasks drawn",
    "onnx": "sweeper export --onnx",
}
_PROBE_S = 90.0
_LITTLE_DISK_BYTES = 2 * 10**9
# The size of the object store that `runner` gives Ray; /dev/shm in a container is often smaller.
_SHARED_MEMORY_BYTES = 200 * 2**20
_LITTLE_MEMORY_BYTES = 2 * 10**9

_TORCH_PROBE = """
import torch
if torch.cuda.is_available():
    print(", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())))
"""
_RAY_PROBE = """
import logging, ray, ray.rllib, ray.tune
ray.init(
    address="local", num_cpus=1, include_dashboard=False, log_to_driver=False,
    logging_level=logging.CRITICAL, object_store_memory=100 * 2**20,
)
@ray.remote
def answer():
    return 42
assert ray.get(answer.remote(), timeout=60) == 42
ray.shutdown()
print("ok")
"""


@dataclass(frozen=True)
class Check:
    """The outcome of one check. The fields are the keys of `sweeper doctor --json`.

    Attributes:
        name: what was checked.
        status: ``ok``; ``warning``; ``missing``: an optional extra is not installed; ``failed``:
            a sweep can't run.
        detail: what was found and, unless it is fine, what to do.
    """

    name: str
    status: str
    detail: str


def is_fit(checks: Sequence[Check]) -> bool:
    """Whether a sweep can run here."""
    return all(check.status != "failed" for check in checks)


def examine(storage: Path, *, quick: bool = False) -> Iterator[Check]:
    """Run all checks, one after the other.

    Args:
        storage: the folder for runs; it need not exist.
        quick: skip what takes seconds: importing torch, starting Ray.
    """
    yield _check_python()
    yield from _check_packages()
    yield from _check_extras()
    yield _check_cores()
    yield _check_memory()
    yield _check_gpu(quick=quick)
    yield _check_storage(storage)
    yield from _check_ray_folders()
    yield Check("local Ray", "ok", "not tried (--quick)") if quick else _check_ray()


def _check_python() -> Check:
    needed = installation.python_needed()
    found = platform.python_version()
    fits = SpecifierSet(needed).contains(found, prereleases=True)
    return Check("python", "ok" if fits else "failed", f"{found} (needs {needed})")


def _check_packages() -> Iterator[Check]:
    yield Check("sweeper", "ok", installation.version())
    yield from map(_check_package, installation.requirements())


def _check_package(requirement: Requirement) -> Check:
    needed, name = _bounds(requirement), requirement.name
    remedy = f"(needs {needed}): {_install(requirement)}"
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(name, "failed", f"not installed {remedy}")
    if not requirement.specifier.contains(found, prereleases=True):
        return Check(name, "failed", f"{found} does not fit {remedy}")
    if missing := installation.missing_of_extras(requirement):
        return Check(name, "failed", f"{found} without {', '.join(missing)} {remedy}")
    return Check(name, "ok", f"{found} (needs {needed})")


def _bounds(requirement: Requirement) -> str:
    """The versions as pyproject.toml has them: the lower bound first."""
    return ",".join(sorted(map(str, requirement.specifier), reverse=True))


def _install(requirement: Requirement) -> str:
    """The command that installs a requirement with its extras."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return installation.pip_install(f"{requirement.name}{extras}{_bounds(requirement)}")


def _check_extras() -> Iterator[Check]:
    for extra, purpose in _EXTRAS.items():
        found = [_check_package(part) for part in installation.requirements(extra)]
        if found and all(check.status == "ok" for check in found):
            versions = ", ".join(f"{check.name} {check.detail.split()[0]}" for check in found)
            yield Check(f"extra {extra}", "ok", f"{versions}: {purpose}")
        else:
            command = installation.install_extra(extra)
            yield Check(f"extra {extra}", "missing", f"{purpose}: {command}")


def _check_cores() -> Check:
    everything, usable = machine.all_cores(), machine.usable_cores()
    detail = str(usable) if usable == everything else f"{usable} of {everything} may be used"
    return Check("cores", "ok", detail)


def _check_memory() -> Check:
    total, free = machine.total_bytes(), machine.free_bytes()
    if total is None:
        return Check("memory", "warning", "unknown on this system")
    detail = format_bytes(total) + ("" if free is None else f", {format_bytes(free)} free")
    if free is not None and free < _LITTLE_MEMORY_BYTES:
        return Check("memory", "warning", f"{detail}: a trial of RLlib takes about 1 GB")
    return Check("memory", "ok", detail)


def _check_gpu(*, quick: bool) -> Check:
    driver = _gpus_of_driver()
    if quick:
        return Check("GPU", "ok", driver or "none found; runs on the CPU")
    works, answer = _probe(_TORCH_PROBE)
    if not works:
        return Check("torch import", "failed", answer)
    if answer:
        return Check("GPU", "ok", f"{answer}; used where resources.gpus is above 0")
    if not driver:
        return Check("GPU", "ok", "none found; runs on the CPU")
    return Check(
        "GPU",
        "warning",
        f"{driver}, but this torch ({metadata.version('torch')}) can't use it: "
        "install a CUDA build of torch",
    )


def _gpus_of_driver() -> str:
    """The GPUs that NVIDIA's driver lists; empty without a driver."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        listed = subprocess.check_output(  # noqa: S603
            command, stderr=subprocess.DEVNULL, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return "; ".join(line.strip() for line in listed.splitlines() if line.strip())


def _check_storage(storage: Path) -> Check:
    """Check the folder for runs and MLflow's database, or its nearest parent that exists."""
    try:
        if (address := parse_address(storage)) is not None:
            Objects(address).check()
            return Check("storage", "ok", f"{address} can be read and written")
    except UserError as error:
        return Check("storage", "failed", str(error).removeprefix("storage "))
    where = storage.absolute()
    if where.exists() and not where.is_dir():
        return Check("storage", "failed", f"{where} is a file; give a folder with storage=PATH")
    there = next(folder for folder in (where, *where.parents) if folder.is_dir())
    option = "" if storage == Path(DEFAULT_STORAGE) else f" --storage {shlex.quote(str(storage))}"
    advice = f": that is little; `sweeper clean{option}` makes room"
    return _check_folder("storage", where, "give another folder with storage=PATH", there, advice)


def _check_ray_folders() -> Iterator[Check]:
    """Check where Ray keeps its session files, its authentication token, its object store."""
    try:
        folder, why = choose_ray_folder(os.environ)
    except UserError as error:
        yield Check("Ray's session", "failed", str(error))
    else:
        found = _check_folder("Ray's session", Path(folder), f"set {RAY_FOLDER}")
        yield replace(found, detail=f"{found.detail}; {why}") if why else found
    yield _check_home()
    shared = Path("/dev/shm")  # noqa: S108
    if shared.is_dir():
        size = shutil.disk_usage(shared).free
        detail = f"{format_bytes(size)} free in {shared}"
        if size < _SHARED_MEMORY_BYTES:
            detail += ": Ray will use /tmp, which is slower; in a container, --shm-size=256m"
        yield Check("shared memory", "warning" if size < _SHARED_MEMORY_BYTES else "ok", detail)


def _check_home() -> Check:
    """Check the folder where Ray keeps its token, and we the key that runs are sealed with."""
    remedy = "set HOME to a folder that can be written"
    try:
        return _check_folder("Ray's token", Path.home(), remedy)
    except RuntimeError:  # no HOME, and no entry among the system's users
        return Check("Ray's token", "failed", f"this user has no home folder; {remedy}")


def _check_folder(
    name: str, folder: Path, remedy: str, there: Path | None = None, advice: str = ""
) -> Check:
    """Check that a folder, or ``there`` where it will be made, can be written and has room."""
    there = there or folder
    try:
        with tempfile.TemporaryFile(dir=there) as stream:
            stream.write(b"x")
    except OSError as error:
        return Check(name, "failed", f"{folder}: can't be written: {error.strerror}; {remedy}")
    free = shutil.disk_usage(there).free
    new = "" if there == folder else " (will be made)"
    detail = f"{folder}{new}, writable, {format_bytes(free)} free"
    if free < _LITTLE_DISK_BYTES:
        return Check(name, "warning", detail + advice)
    return Check(name, "ok", detail)


def _check_ray() -> Check:
    works, answer = _probe(_RAY_PROBE)
    if works:
        return Check("local Ray", "ok", "starts and answers")
    if "ImportError" in answer or "ModuleNotFoundError" in answer:
        ray = [one for one in installation.requirements() if one.name == "ray"]
        answer = ": ".join([answer, *map(_install, ray)])
    return Check("local Ray", "failed", answer)


def _probe(code: str) -> tuple[bool, str]:
    """Whether the code works in a process of its own, and its output or why it failed."""
    environment = {
        **os.environ,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    with contextlib.suppress(UserError):  # which the check of its folder says
        environment[RAY_FOLDER] = choose_ray_folder(os.environ)[0]
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=_PROBE_S)
        except subprocess.TimeoutExpired:
            return False, f"no answer within {_PROBE_S:g} s"
        finally:
            # Also end the processes that it started.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode == 0:
        return True, out.strip()
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    return False, lines[-1] if lines else f"ended with exit code {process.returncode}"
