"""The tracking URI of a spec: its form, and the password that must not be recorded with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from sweeper.hints import show
from sweeper.references import is_unresolved
from sweeper.sqlite_address import place_in
from sweeper.veil import remember

__all__ = ["absolute_path", "check_tracking_uri", "find_password", "split_login"]

_STORES = "sqlite:///FILE, http(s)://HOST:PORT, or a database's URI"
_DATABASES = {"postgresql", "mysql", "mssql", "http", "https"}
_SECRET = re.compile(r"pass|token|secret|key", re.IGNORECASE)
_VARIABLE = r"\$\{[^${}]*\}"  # has a colon, but not the one between user and password
_USER = re.compile(rf"(?:{_VARIABLE}|[^:])*")
_NAME = rf"(?:{_VARIABLE}|[^:/@])*"
# After such a beginning an @ is part of a path. A port counts for servers only: in a database's
# URI SQLAlchemy takes the same for a password.
_HOST = re.compile(rf"https?://{_NAME}(:[0-9]+)?/|[^:/]+://{_NAME}/")

_passwords: dict[str, str] = {}
"""The passwords of the URIs that this process has read, by what is recorded of the URI."""


def check_tracking_uri(value: Any) -> Any:
    """A tracking URI as it is recorded: without its password, its file from any working directory.

    Raises:
        ValueError: it is no URI of a server or a database.
    """
    if not isinstance(value, str) or not value:
        return value
    if value.startswith("${"):  # whole, or at least its scheme, from a variable
        return value
    scheme, colon, rest = value.partition("://")
    is_file = scheme == "sqlite" and rest.startswith("/") and len(rest) > 1
    if not (colon and rest and (is_file or scheme.split("+")[0] in _DATABASES)):
        raise ValueError(f"must be {_STORES}; found {show(value)}")
    if is_file:
        if rest == "/:memory:" or rest[1:].startswith("${"):
            return value
        return _from_anywhere(rest[1:])
    secrets = [name for name, text in _query(value) if _SECRET.search(name) and text]
    if any(not is_unresolved(dict(_query(value))[name]) for name in secrets):
        raise ValueError(
            f"has a secret in {secrets[0]}=…, which would be recorded; write ${{env:NAME}} in its "
            "place"
        )
    return _without_password(value)


def _from_anywhere(path: str) -> str:
    """The URI of a database's file that is the same from any working directory."""
    home, _, rest = path.partition("/")
    if home.startswith("~"):
        return place_in(absolute_path(home), rest.lstrip("/"))
    return place_in(Path.cwd(), path)


def _query(uri: str) -> list[tuple[str, str]]:
    return parse_qsl(uri.partition("?")[2])


def _without_password(uri: str) -> str:
    """The URI without a password that is written out; this process remembers it."""
    scheme, login, rest = split_login(uri)
    if login is None:
        return uri
    found = _USER.match(login)
    user = found[0] if found is not None else ""
    password = login[len(user) + 1 :]
    if not password or is_unresolved(password):
        return uri
    recorded = f"{scheme}://{user}@{rest}"
    _passwords[recorded] = unquote(password)
    remember(password)
    remember(unquote(password))
    return recorded


def find_password(uri: str) -> str | None:
    """The password that this process has taken out of a URI; None if there was none."""
    return _passwords.get(uri)


def split_login(uri: str) -> tuple[str, str | None, str]:
    """Scheme, ``user:password`` (None if there is no login) and the rest of a URI.

    A path may hold an @, too; that of an SQLite database is all there is.
    """
    scheme, _, rest = uri.partition("://")
    place, mark, query = rest.partition("?")
    login, at, host = place.rpartition("@")
    if not at or _HOST.match(uri):
        return scheme, None, rest
    return scheme, login, f"{host}{mark}{query}"


def absolute_path(path: str) -> Path:
    """The same file from any working directory.

    Raises:
        ValueError: it has a home that can't be found.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"has a home that can't be found: {show(path)}") from error
