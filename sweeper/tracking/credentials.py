"""The password of a tracking URI: kept out of every record, put in place when connecting."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, unquote

from sweeper.errors import UserError
from sweeper.references import UnsetError, resolve
from sweeper.spec.uris import find_password, split_login
from sweeper.tracking.variables import variables_added
from sweeper.veil import remember

__all__ = ["Address", "find_address"]

# MLflow's own.
_USER, _PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
_TOKEN = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, repr=False)
class Address:
    """Where to connect to, and as whom.

    Attributes:
        uri: for a server without a login, for a database with it.
        user: of a server; None if the URI names none.
        password: the user's, if known.
    """

    uri: str
    user: str | None = None
    password: str | None = None

    @contextmanager
    def login(self) -> Iterator[None]:
        """Log in to a server by MLflow's variables; those that are set stay as they are."""
        with variables_added({_USER: self.user, _PASSWORD: self.password}):
            _remember_login()
            yield


def _remember_login() -> None:
    """Hide what MLflow sends, which a server or a proxy may say again in its answer."""
    user, password, token = (os.environ.get(name, "") for name in (_USER, _PASSWORD, _TOKEN))
    sent = base64.b64encode(f"{user}:{password}".encode()).decode() if password else ""
    for secret in filter(None, (password, token, sent)):
        remember(secret)


def _put_in(text: str) -> str:
    return str(resolve(f"-{text}", remember))[1:]  # or `007` alone would become the number 7


def find_address(uri: str) -> Address:
    """The address that a recorded tracking URI stands for.

    Variables in it are put in place. A password that the spec had is known to the process that
    read it; to others MLflow's own variable has it.

    Raises:
        UserError: a variable is not set.
    """
    try:
        # First as it is written: the value of a variable in a login may hold any character.
        scheme, login, rest = split_login(uri)
        if login is None:
            scheme, login, rest = split_login(_put_in(uri))
        else:
            scheme, login, rest = _put_in(scheme), _put_in(login), _put_in(rest)
    except UnsetError as unset:
        raise UserError(f"tracking.uri: the environment variable {unset} is not set") from None
    if login is None:
        return Address(_put_in(uri))
    user, _, password = login.partition(":")
    password = unquote(password) or find_password(uri) or os.environ.get(_PASSWORD, "")
    if password:
        remember(password)
    if scheme in ("http", "https"):
        # A login in the URI would end in MLflow's error messages, and hide its variables.
        return Address(f"{scheme}://{rest}", unquote(user), password or None)
    secret = f":{quote(password, safe='')}" if password else ""
    return Address(f"{scheme}://{user}{secret}@{rest}")
