"""Where a storage is: a folder of this machine, or one in a bucket, with a working copy here.

A run in a bucket is worked on in a folder of this user's, its working copy; all that reads or
writes a run does so there. The folder's own place says which bucket it belongs to: nothing in a
run, which may come from someone else, can name another one.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import UserError

__all__ = ["Address", "address_of", "parse_address", "place_text", "storage_folder", "working_copy"]

_PROVIDERS = {"s3": "S3", "gs": "Google Cloud Storage", "az": "Azure Blob Storage"}
# `Path` makes one slash of two.
_FORM = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}([^/].*)?$", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ENDPOINTS: Mapping[str, tuple[str, ...]] = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gs": ("STORAGE_EMULATOR_HOST",),
    "az": ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"),
}


@dataclass(frozen=True)
class Address:
    """A folder in a bucket.

    Attributes:
        scheme: ``s3``, ``gs`` or ``az``.
        bucket: its name; with ``az`` the container's.
        path: below it, without slashes at its ends; may be empty.
    """

    scheme: str
    bucket: str
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __truediv__(self, name: str) -> Address:
        return Address(self.scheme, self.bucket, f"{self.path}/{name}".strip("/"))

    @property
    def parent(self) -> Address:
        """The folder that it lies in."""
        return Address(self.scheme, self.bucket, self.path.rpartition("/")[0])

    @property
    def key(self) -> str:
        """Bucket and path, as pyarrow's file systems take them."""
        return f"{self.bucket}/{self.path}".rstrip("/")

    @property
    def provider(self) -> str:
        """Who keeps it, for people."""
        return _PROVIDERS[self.scheme]

    @property
    def endpoint(self) -> str | None:
        """The server, or with ``az`` the account, that the environment names; None by default."""
        values = (os.environ.get(name, "") for name in _ENDPOINTS[self.scheme])
        return next((value for value in values if value), None)


def parse_address(text: str | Path) -> Address | None:
    """The folder in a bucket that a text names; None if it is a path of this machine.

    Raises:
        UserError: it is an address, but none of a bucket.
    """
    found = _FORM.match(str(text))
    if found is None:
        return None
    scheme, rest = found[1].lower(), found[2] or ""
    if scheme not in _PROVIDERS:
        if isinstance(text, Path) and text.exists():  # a folder whose name has a colon
            return None
        near = difflib.get_close_matches(scheme, _PROVIDERS, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}://?" if near else ""
        raise UserError(
            f"storage '{scheme}://{rest}': {scheme}:// can't hold runs; give a folder, or s3://, "
            f"gs:// or az:// with a bucket and a path{hint}"
        )
    bucket, _, path = rest.partition("/")
    if "@" in bucket:
        raise UserError(
            f"storage {scheme}://…: credentials in the address would be recorded; leave them to "
            f"the environment variables of {_PROVIDERS[scheme]}"
        )
    parts = [part for part in path.split("/") if part]
    if not _NAME.fullmatch(bucket):
        raise UserError(
            f"storage {str(text)!r}: {bucket!r} is no bucket's name; give s3://BUCKET/PATH"
        )
    if any(part in (".", "..") or re.search(r"[\x00-\x1f?#\\]", part) for part in parts):
        raise UserError(
            f"storage {str(text)!r}: the path may have no `.`, `..`, `?`, `#` or backslash"
        )
    return Address(scheme, bucket, "/".join(parts))


def _base() -> Path:
    given = os.environ.get("XDG_STATE_HOME", "")
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".local" / "state"
    return base / "sweeper" / "buckets"


def _server(scheme: str, endpoint: str | None) -> str:
    """The name of the folder with the working copies of one server's buckets."""
    if endpoint is None:
        return scheme
    return f"{scheme}@{re.sub(r'[^A-Za-z0-9.-]', '_', endpoint.partition('://')[2] or endpoint)}"


def working_copy(address: Address) -> Path:
    """The folder of this machine that stands for one in a bucket.

    Raises:
        UserError: this user has no home folder.
    """
    try:
        base = _base()
    except RuntimeError as error:
        raise UserError(
            f"storage {address}: runs in a bucket need a folder of this machine, too, and this "
            "user has no home; set XDG_STATE_HOME"
        ) from error
    return base.joinpath(
        _server(address.scheme, address.endpoint), address.bucket, *address.path.split("/")
    )


def address_of(path: Path) -> Address | None:
    """The folder in a bucket that a path of this machine stands for; None if it is none's."""
    try:
        inner = path.absolute().relative_to(_base())
    except (ValueError, RuntimeError):
        return None
    if len(inner.parts) < 2 or ".." in inner.parts:
        return None
    server, bucket, *rest = inner.parts
    address = Address(server.partition("@")[0], bucket, "/".join(rest))
    if address.scheme not in _PROVIDERS or server != _server(address.scheme, address.endpoint):
        return None
    return address


def place_text(path: str | Path) -> str:
    """How to name a folder from any machine: by its address if it stands for one in a bucket."""
    return str(address_of(Path(path)) or path)


def storage_folder(storage: str | Path) -> Path:
    """The folder of this machine in which a storage's runs are worked on.

    Raises:
        UserError: as `parse_address` and `working_copy`.
    """
    address = parse_address(storage)
    return Path(storage) if address is None else working_copy(address)
