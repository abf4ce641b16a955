"""The objects of a bucket: list, read, write and delete them, with bounded tries.

pyarrow's file systems do the work. What goes wrong is said in one sentence, without credentials.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.errors import SweeperError, UserError
from sweeper.storage.address import Address, parse_address

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["Entry", "Objects", "StorageError", "check_bucket", "file_system"]

_TRIES = 4
_CONNECT_S = 5.0
_REQUEST_S = 30.0
_CHUNK_BYTES = 2**20

_ACCESS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`",
    "az": "set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY, or run `az login`",
}
_WORDS = (
    (
        re.compile(r"NO_SUCH_BUCKET|bucket does not exist|ContainerNotFound", re.IGNORECASE),
        "there is no bucket {bucket}; make it, or give another storage",
    ),
    (
        re.compile(
            r"ACCESS_DENIED|FORBIDDEN|INVALID_ACCESS_KEY|SIGNATURE|UNRECOGNIZED_CLIENT|"
            r"PERMISSION_DENIED|UNAUTHENTICATED|AuthenticationFailed|AuthenticationException|"
            r"HTTP (401|403)|Anonymous",
            re.IGNORECASE,
        ),
        "access is denied; {access}",
    ),
    (
        re.compile(r"NETWORK_CONNECTION|curl|UNAVAILABLE|Connection|resolve|timed? ?out", re.I),
        "{server} does not answer",
    ),
    (
        re.compile(r"SLOW_DOWN|THROTTL|INTERNAL_FAILURE|SERVICE_UNAVAILABLE|HTTP 5\d\d", re.I),
        "{server} is overloaded or failing",
    ),
)
_NOISE = re.compile(r"\s*\((?:of type|Request ID|Details)[^)]*\)|\s*Request ID: \S+", re.I)


class StorageError(SweeperError):
    """A bucket can't be reached, read or written; the message is one sentence."""


@dataclass(frozen=True)
class Entry:
    """An object.

    Attributes:
        size: bytes.
        time: when it was written by the server's clock, nanoseconds since the epoch.
    """

    size: int
    time: int


@functools.cache
def _connect(scheme: str, bucket: str, endpoint: str | None) -> Any:
    try:
        from pyarrow import fs
    except ImportError as error:
        raise UserError(
            f"storage {scheme}://…: the package pyarrow, which reads buckets, is not installed"
        ) from error
    kind = {"s3": "S3FileSystem", "gs": "GcsFileSystem", "az": "AzureFileSystem"}[scheme]
    try:
        made = getattr(fs, kind)
    except (AttributeError, ImportError) as error:
        raise UserError(
            f"storage {scheme}://…: this build of pyarrow has no {kind}; install pyarrow from PyPI"
        ) from error
    if scheme == "gs":
        limit = timedelta(seconds=_REQUEST_S)
        if endpoint is None:
            return made(retry_time_limit=limit)
        # An emulator, as Google's own clients take it.
        return made(retry_time_limit=limit, anonymous=True, **_split_endpoint(endpoint))
    if scheme == "az":
        if endpoint is None:
            raise UserError("storage az://…: no account is named; set AZURE_STORAGE_ACCOUNT")
        key = os.environ.get("AZURE_STORAGE_KEY") or os.environ.get("AZURE_STORAGE_ACCOUNT_KEY")
        return made(account_name=endpoint, account_key=key or None)
    options: dict[str, Any] = {}
    if endpoint is not None:
        options.update(_split_endpoint(endpoint))
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region is None and endpoint is None:
        with contextlib.suppress(OSError):  # the first use of the bucket says what is wrong
            region = fs.resolve_s3_region(bucket)
    return made(
        **options,
        region=region,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES),
        connect_timeout=_CONNECT_S,
        request_timeout=_REQUEST_S,
        allow_delayed_open=True,  # a small object is one request, not three
    )


def _split_endpoint(endpoint: str) -> dict[str, str]:
    protocol, mark, host = endpoint.partition("://")
    if not mark:
        protocol, host = "https", endpoint
    return {"scheme": protocol, "endpoint_override": host.rstrip("/")}


def file_system(address: Address) -> FileSystem:
    """The file system of a bucket, pyarrow's; credentials are the environment's, where it is used.

    Raises:
        UserError: pyarrow lacks it, or no account is named.
    """
    return _connect(address.scheme, address.bucket, address.endpoint)


class Objects:
    """The objects below an address, by their names relative to it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._fs = file_system(address)

    def find(self, below: str = "", *, recursive: bool = True) -> dict[str, Entry]:
        """The objects below a folder; none if there is no such folder.

        Raises:
            StorageError: the bucket can't be read.
        """
        found = self._select(below, recursive=recursive)
        return {
            name: Entry(int(info.size), int(info.mtime_ns or 0))
            for name, info in found
            if info.is_file
        }

    def folders(self, below: str = "") -> list[str]:
        """The names of the folders directly below one.

        Raises:
            StorageError: the bucket can't be read.
        """
        if self.address.scheme == "gs":  # where pyarrow lists no folder that nobody has made
            prefix = f"{below}/" if below else ""
            inner = (name[len(prefix) :].split("/") for name in self.find(below))
            return sorted({f"{prefix}{parts[0]}" for parts in inner if len(parts) > 1})
        return [name for name, info in self._select(below, recursive=False) if not info.is_file]

    def _select(self, below: str, *, recursive: bool) -> list[tuple[str, Any]]:
        from pyarrow import fs

        root = self._key(below)
        with self._explained("list"):
            selector = fs.FileSelector(root, recursive=recursive, allow_not_found=True)
            infos = self._fs.get_file_info(selector)
            if not infos and not below:
                self._check_bucket()
        start = len(self.address.key) + 1
        return [(info.path[start:], info) for info in infos]

    def _check_bucket(self) -> None:
        """Raise what it would if there is no such bucket, which has no folders either."""
        from pyarrow import fs

        if self._fs.get_file_info(self.address.bucket).type == fs.FileType.NotFound:
            raise OSError("NO_SUCH_BUCKET")

    def read(self, name: str) -> bytes:
        """The contents of an object.

        Raises:
            FileNotFoundError: there is none of this name.
            StorageError: it can't be read.
        """
        with self._explained("read"), self._fs.open_input_stream(self._key(name)) as stream:
            return bytes(stream.read())

    def download(self, name: str, path: Path) -> None:
        """Write an object to a file, completely or not at all.

        Raises:
            FileNotFoundError: there is no object of this name.
            StorageError: it can't be read.
            OSError: the file can't be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as target:
                with self._explained("read"):
                    source = self._fs.open_input_stream(self._key(name))
                with source:
                    while True:
                        with self._explained("read"):
                            chunk = source.read(_CHUNK_BYTES)
                        if not chunk:
                            break
                        target.write(chunk)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def write(self, name: str, data: bytes) -> None:
        """Write an object, which has its name once it is whole.

        Raises:
            StorageError: it can't be written.
        """
        with self._explained("write"), self._fs.open_output_stream(self._key(name)) as stream:
            stream.write(data)

    def upload(self, path: Path, name: str) -> None:
        """Write a file as an object.

        Raises:
            OSError: the file can't be read.
            StorageError: the object can't be written.
        """
        with path.open("rb") as source, self._explained("write"):
            target = self._fs.open_output_stream(self._key(name))
            try:
                with target:
                    while chunk := source.read(_CHUNK_BYTES):
                        target.write(chunk)
            except BaseException:
                # Closing it gave the object its name, with what had been written.
                with contextlib.suppress(OSError, SweeperError):
                    self.delete(name)
                raise

    def delete(self, name: str) -> None:
        """Delete an object, if it is there.

        Raises:
            StorageError: it can't be deleted.
        """
        with contextlib.suppress(FileNotFoundError), self._explained("write"):
            self._fs.delete_file(self._key(name))

    def delete_folder(self, name: str) -> None:
        """Delete all objects below a folder.

        Raises:
            StorageError: one can't be deleted.
        """
        with contextlib.suppress(FileNotFoundError), self._explained("write"):
            self._fs.delete_dir(self._key(name))

    def move_folder(self, name: str, to: str) -> None:
        """Give all objects below a folder another one; the bucket copies them itself.

        Raises:
            StorageError: one can't be moved.
        """
        with self._explained("write"):
            for one in self.find(name):
                self._fs.copy_file(self._key(one), self._key(to + one.removeprefix(name)))
        self.delete_folder(name)

    def check(self) -> None:
        """Check that objects can be written, read, listed and deleted here.

        Raises:
            UserError: they can't.
        """
        name = f".sweeper-probe-{os.urandom(6).hex()}"
        try:
            self.find(recursive=False)
            self.write(name, b"probe")
            if self.read(name) != b"probe":
                raise StorageError(f"{self.address}: what was written there is not what is read")
            self.delete(name)
        except (StorageError, FileNotFoundError) as error:
            raise UserError(f"storage {error}") from error

    def _key(self, name: str) -> str:
        return f"{self.address.key}/{name}".rstrip("/")

    @contextlib.contextmanager
    def _explained(self, verb: str) -> Any:
        from pyarrow import ArrowException

        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, ValueError, ArrowException) as error:
            raise StorageError(
                f"{self.address} can't be {_PARTICIPLES[verb]}: {self._why(error)}"
            ) from error

    def _why(self, error: Exception) -> str:
        text = str(error)
        server = self.address.endpoint or self.address.provider
        for pattern, words in _WORDS:
            if pattern.search(text):
                return words.format(
                    bucket=self.address.bucket, access=_ACCESS[self.address.scheme], server=server
                )
        return _NOISE.sub("", text.splitlines()[0] if text else type(error).__name__)[:200]


def check_bucket(storage: str) -> None:
    """Check that runs can be kept in a storage if it is in a bucket; else do nothing.

    Raises:
        UserError: it can't be used.
    """
    address = parse_address(storage)
    if address is not None:
        Objects(address).check()


_PARTICIPLES = {"list": "read", "read": "read", "write": "written"}
