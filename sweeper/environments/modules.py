"""Import a user's module from its folder, and never another one of the same name."""

from __future__ import annotations

import ast
import contextlib
import filecmp
import functools
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from sweeper.environments.containment import USER_ERRORS, settings_restored
from sweeper.environments.settings import EnvironmentBuildError
from sweeper.veil import veil

__all__ = ["PACKED", "find_folder", "import_module", "summarise"]

PACKED = "sweeper_packed_modules"
"""The name of the folder that has the modules for a cluster's nodes; in it one folder for each of
the search paths that has some, named by its index."""

_added: list[str] = []  # the folders that are on Python's path because of us


def import_module(name: str, search_paths: Sequence[str] = ()) -> ModuleType:
    """Import a module from the first folder that has it, else from Python's path.

    The folder comes to the end of ``sys.path``. So the module can import its neighbours, and a
    neighbour called ``mlflow.py`` is not taken for the library. A module that would be hidden by
    a library is refused, and so is one that imports such a neighbour.

    A node of a cluster may have been sent a copy of the folder. It takes the folder's place unless
    that is there, too, with the same code.

    Raises:
        EnvironmentBuildError: there is no such module, it fails to import or ends the process,
            or another one of its name comes first or is already loaded.
    """
    top = name.partition(".")[0]
    folder = find_folder(name, search_paths)
    if folder is not None:
        loaded = sys.modules.get(top)
        if loaded is None:
            _check_names(name, Path(folder))
        elif not _lies_in(loaded, Path(folder)):
            place = getattr(loaded, "__file__", None) or "Python itself"
            clash = f"another module named {top} is already loaded from {place}; rename yours"
            message = f"module {name} was found in {folder}, but {clash}"
            raise EnvironmentBuildError(("module",), message)
        _add_to_path(folder)
    importlib.invalidate_caches()
    try:
        with settings_restored():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            looked = ", ".join([*search_paths, "Python's path"])
            message = f"no module named {name}; looked in {looked}"
        else:
            message = f"module {name} needs {error.name}, which is not installed"
        raise EnvironmentBuildError(("module",), message) from error
    except USER_ERRORS as error:
        message = f"importing module {name} failed: {summarise(error)}"
        if isinstance(error, SystemExit):
            message += '; what it does as a script belongs under if __name__ == "__main__":'
        raise EnvironmentBuildError(("module",), message) from error


def find_folder(name: str, search_paths: Sequence[str]) -> str | None:
    """The first folder that has a module, or the copy that was sent of it; None if none has it."""
    sent = _find_packed()
    for index, path in enumerate(search_paths):
        copy = None if sent is None else sent / str(index)
        if copy is not None and _has_module(copy, name):
            return path if _has_same_code(copy, Path(path)) else str(copy)
        if _has_module(Path(path), name):
            return path
    return None


def summarise(error: BaseException) -> str:
    """Describe another code's exception in one line, without secrets."""
    if isinstance(error, SystemExit):
        code = "" if error.code is None else veil(repr(error.code))
        return f"it ends the process with sys.exit({code})"
    # gymnasium.make appends where it was raised, with all its arguments.
    text = " ".join(veil(str(error)).split())
    text = text.partition(" was raised from the environment creator")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@functools.cache
def _find_packed() -> Path | None:
    """Where the launch's copy of its modules lies, on a node that was sent one."""
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    places = (Path(entry) / PACKED for entry in entries if entry)
    return next((place for place in places if place.is_dir()), None)


@functools.cache
def _has_same_code(copy: Path, folder: Path) -> bool:
    """Whether a folder has each source file of a copy of it, as it was."""
    files = [path.relative_to(copy) for path in copy.rglob("*.py")]
    try:
        return all(filecmp.cmp(copy / file, folder / file, shallow=False) for file in files)
    except OSError:
        return False


def _add_to_path(folder: str) -> None:
    if folder not in sys.path:
        # Before the folders of other specs that this process has read.
        place = next((sys.path.index(one) for one in reversed(_added) if one in sys.path), None)
        sys.path.insert(len(sys.path) if place is None else place, folder)
        _added.append(folder)


def _check_names(name: str, folder: Path) -> None:
    """Refuse a module that Python finds elsewhere first, or that imports such a neighbour.

    Raises:
        EnvironmentBuildError: there is one.
    """
    top = name.partition(".")[0]
    elsewhere = _find_elsewhere(top, folder)
    if elsewhere is not None:
        raise EnvironmentBuildError(
            ("module",),
            f"module {name} was found in {folder}, but {top} is also the name of {elsewhere}; "
            "rename yours",
        )
    checked, files = {top}, list(_files_of(name, folder))
    while files:
        file = files.pop()
        for imported in sorted(_imported_names(file) - checked):
            checked.add(imported)
            neighbours = [one for one in _files_of(imported, folder) if one.is_file()]
            if not neighbours:
                continue
            elsewhere = _find_elsewhere(imported, folder)
            if elsewhere is not None:
                raise EnvironmentBuildError(
                    ("module",),
                    f"{file} imports {imported}, but that is the name both of {neighbours[0]} "
                    f"and of {elsewhere}; rename yours",
                )
            files += neighbours


def _find_elsewhere(top: str, folder: Path) -> str | None:
    """What Python would import under a name if the folder were the last on its path."""
    if top in sys.stdlib_module_names:
        return "a module of Python's own library"
    before = [path for path in sys.path if path not in _added and not _is_same(path, folder)]
    found = PathFinder.find_spec(top, before)
    # Folders without an __init__.py (whose origin is None) give way to any module.
    if found is None or found.origin is None:
        return None
    own = (folder / f"{top}.py", folder / top / "__init__.py")
    if any(_is_same(found.origin, file) for file in own):
        return None
    return f"the installed {found.origin}"


def _imported_names(file: Path) -> set[str]:
    """The top-level modules that a file imports; none if it can't be read."""
    names: set[str] = set()
    with contextlib.suppress(OSError, SyntaxError, ValueError):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names


def _files_of(name: str, folder: Path) -> Iterator[Path]:
    """The files that importing a dotted name would execute, whether they exist or not."""
    for part in name.split("."):
        yield folder / f"{part}.py"
        folder /= part
        yield folder / "__init__.py"


def _has_module(folder: Path, name: str) -> bool:
    path = folder.joinpath(*name.split("."))
    return path.with_name(f"{path.name}.py").is_file() or path.is_dir()


def _lies_in(module: ModuleType, folder: Path) -> bool:
    """Whether a module was loaded from a folder, as it is called there or behind its links."""
    paths = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    folders = {Path(os.path.abspath(folder)), folder.resolve()}  # noqa: PTH100 - keeps links
    return any(
        Path(one).is_relative_to(place)
        for path in paths
        if path is not None
        for one in (os.path.abspath(path), Path(path).resolve())  # noqa: PTH100
        for place in folders
    )


def _is_same(path: str, other: Path) -> bool:
    try:
        return Path(path).samefile(other)  # "" is the working directory
    except OSError:
        return False
