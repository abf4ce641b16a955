"""What a node of a cluster says of itself; runs there.

It is sent by value, since the node may lack this package. So it needs nothing but Python's own
library, takes and returns plain data, and imports what it asks about within its functions.
"""

from __future__ import annotations

from typing import Any

__all__ = ["probe_node"]


def probe_node(wanted: dict[str, Any]) -> dict[str, Any]:
    """Look at the node.

    Args:
        wanted: ``packages``, names of distributions; ``modules``, names of modules to import from
            ``search_paths`` as a trial does; ``folder``, one that this node should share, or None,
            with a file ``asked`` in it that holds ``token``; ``answer``, the file to write there;
            ``bucket``, the address of one that this node should reach, or None.

    Returns:
        ``versions`` of Python and the packages by name, None for what is missing, and what is
        wrong in words, None if nothing is: ``sweeper`` can't be imported, the ``storage`` is not
        shared, the ``bucket`` not reached, a ``module`` can't be imported.
    """
    version, why = _find_sweeper()
    return {
        "versions": {**_find_versions(wanted["packages"]), "sweeper": version},
        "sweeper": why,
        "storage": None if wanted["folder"] is None else _try_storage(wanted),
        "bucket": None if why or wanted["bucket"] is None else _try_bucket(wanted["bucket"]),
        "module": None if why else _try_modules(wanted["modules"], wanted["search_paths"]),
    }


def _find_versions(packages: list[str]) -> dict[str, str | None]:
    import platform
    from importlib import metadata

    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _find_sweeper() -> tuple[str | None, str | None]:
    """The version of this package here, and why it can't be imported."""
    try:
        from sweeper import installation
        from sweeper.environments import modules  # noqa: F401
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    return installation.version(), None


def _try_storage(wanted: dict[str, Any]) -> str | None:
    """Why the driver's file can't be read, or none written beside it."""
    from pathlib import Path

    folder, token = Path(wanted["folder"]), wanted["token"]
    try:
        if (folder / wanted["asked"]).read_text(encoding="utf-8") != token:
            return "another folder has that path there"
        (folder / wanted["answer"]).write_text(token, encoding="utf-8")
    except FileNotFoundError:
        return "what is written here is not found there"
    except OSError as error:
        return f"it can't be used there: {error.strerror}"
    return None


def _try_bucket(address: str) -> str | None:
    from sweeper.errors import SweeperError
    from sweeper.storage.objects import check_bucket

    try:
        check_bucket(address)
    except SweeperError as error:
        return str(error)
    return None


def _try_modules(names: list[str], search_paths: list[str]) -> str | None:
    from sweeper.environments.modules import import_module
    from sweeper.errors import SweeperError

    for name in names:
        try:
            import_module(name, search_paths)
        except SweeperError as error:
            return str(error)
    return None
