"""What goes wrong with a tracking server or database, in our words: one sentence each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from sweeper.veil import veil

__all__ = [
    "DeniedError",
    "RefusedError",
    "UnreachableError",
    "translated_failures",
]

# The server refuses this request; trying again later won't help.
_REFUSALS = frozenset(
    {
        "BAD_REQUEST",
        "ENDPOINT_NOT_FOUND",
        "INVALID_PARAMETER_VALUE",
        "INVALID_STATE",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_DOES_NOT_EXIST",
    }
)
_DENIALS = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED"})
_TOKEN = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 - the name of a variable
_USER_PASSWORD = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"  # noqa: S105 - two names
_MAX_BODY = 120

# MLflow's words (mlflow/utils/rest_utils.py), which have the status of an answer nowhere else.
_STATUS = re.compile(r"failed with error code (\d{3}) != \d+(?:\. Response body: '(.*)')?", re.S)
_RETRIED = re.compile(r"too many (\d{3}) error responses")
_NO_JSON = "not in a valid JSON format"
_FAILED = re.compile(r"^API request to \S+ failed with (?:timeout )?exception ", re.S)
# What lies under it: of requests and urllib3.
_REASONS = (
    (re.compile(r"timed out|timeout", re.I), "did not answer in time"),
    (re.compile(r"certificate|SSLError", re.I), "has a certificate that is not accepted"),
    (re.compile(r"NameResolution|getaddrinfo"), "has a name that can't be resolved"),
    (re.compile(r"refused|NewConnectionError", re.I), "does not answer"),
    (re.compile(r"IncompleteRead|ChunkedEncoding|broken"), "broke off its answer"),
    (re.compile(r"aborted|RemoteDisconnected|reset", re.I), "closed the connection"),
)

_SQLITE_ERROR = re.compile(r"\(sqlite3\.\w+\) ([^\[\n]*)")
# SQLite's words (src/main.c, sqlite3ErrStr) when the file is another one, or none.
_LOST = re.compile(
    r"no such table|readonly database|unable to open database|malformed|not a database|disk I/O"
)


class UnreachableError(Exception):
    """The destination does not answer now, but may later."""


class RefusedError(Exception):
    """MLflow refuses a request, now and later."""


class DeniedError(RefusedError):
    """MLflow refuses whatever it is asked by this login."""


@contextmanager
def translated_failures(place: str = "the tracking server") -> Iterator[None]:
    """Raise MLflow's exceptions as ours, each with one sentence that holds no secret.

    Args:
        place: what a sentence about the server begins with.

    Raises:
        DeniedError: MLflow refuses this login.
        RefusedError: MLflow refuses the request.
        UnreachableError: MLflow can't be reached, or can't answer now.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except MlflowException as error:
        message = veil(_explain(str(error).strip() or type(error).__name__, place))
        if error.error_code in _DENIALS:
            raise DeniedError(message) from error
        if error.error_code in _REFUSALS:
            raise RefusedError(message) from error
        raise UnreachableError(message) from error
    except (OSError, SQLAlchemyError) as error:
        raise UnreachableError(veil(_explain(str(error), place))) from error
    except ImportError as error:
        message = f"{place} needs a package that is not installed: {error}"
        raise RefusedError(message) from error


def _explain(text: str, place: str) -> str:
    """MLflow's words for a failure in ours; its first line where there are none."""
    if answer := _STATUS.search(text):
        return _explain_status(int(answer[1]), answer[2] or "", place)
    if status := _RETRIED.search(text):
        return _explain_status(int(status[1]), "", place)
    if _NO_JSON in text:
        return f"{place} answers, but not as MLflow does (a proxy or a login page may be between)"
    if _FAILED.match(text):
        reasons = (said for pattern, said in _REASONS if pattern.search(text))
        words = next(reasons, f"failed: {_first_line(_FAILED.sub('', text))}")
        return f"{place} {words}"
    return _explain_database(text)


def _explain_status(status: int, body: str, place: str) -> str:
    known = {one.value: one.phrase for one in HTTPStatus}
    answer = f"{status} {known[status]}" if status in known else str(status)
    match status:
        case 401 if os.environ.get(_TOKEN):
            return f"{place} does not accept the login by {_TOKEN} ({answer})"
        case 401 if os.environ.get("MLFLOW_TRACKING_PASSWORD"):
            return (
                f"{place} does not accept this user and password ({answer}); they are in "
                f"{_USER_PASSWORD}, or in tracking.uri"
            )
        case 401:
            return f"{place} wants a login ({answer}); set {_USER_PASSWORD}, or {_TOKEN}"
        case 403:
            said = f" ({answer}{_quote(body, known[status])})"
            return f"{place} does not allow this login to write the record{said}"
        case 404:
            return f"{place} has no MLflow at this address ({answer})"
    return f"{place} answers {answer}{_quote(body, known.get(status, ''))}"


def _quote(body: str, phrase: str) -> str:
    """A short answer in plain words, unless it says no more than its status does."""
    words = " ".join(body.split())
    is_plain = words and len(words) <= _MAX_BODY and "<" not in words
    return f": {words}" if is_plain and words.lower() != phrase.lower() else ""


def _explain_database(text: str) -> str:
    """SQLAlchemy's words for a database that is not what it was, in ours."""
    found = _SQLITE_ERROR.search(_first_line(text))
    if found is None or not _LOST.search(found[1]):
        return _first_line(text)
    return (
        f"the tracking database was deleted, moved or replaced ({found[1].strip()}); if it can't "
        "be put back, delete what is left of it, and a new one is made"
    )


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].rstrip(". ")
