"""An S3 server of a test's own, as the program reaches it, with faults on request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from databases import Bucket, opened_bucket
from faulty_proxy import FaultyProxy, opened_proxy

__all__ = ["Storage", "opened_storage"]


@dataclass
class Storage:
    """A bucket behind a proxy.

    Attributes:
        bucket: what lies in it.
        proxy: stands between it and the program.
        variables: of a process that is to reach it.
    """

    bucket: Bucket
    proxy: FaultyProxy
    variables: dict[str, str]

    def read(self, key: str) -> bytes:
        """The contents of an object."""
        return bytes(self.bucket.client.get_object(Bucket="sweeps", Key=key)["Body"].read())

    def delete(self, prefix: str) -> None:
        """Delete all objects whose names begin so."""
        for key in self.bucket.list_keys():
            if key.startswith(prefix):
                self.bucket.client.delete_object(Bucket="sweeps", Key=key)


@contextmanager
def opened_storage() -> Iterator[Storage]:
    """A bucket called ``sweeps`` for a block."""
    with opened_bucket() as bucket:
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
        with opened_proxy(bucket.variables["MLFLOW_S3_ENDPOINT_URL"]) as proxy:
            variables = {name: bucket.variables[name] for name in names}
            yield Storage(bucket, proxy, {**variables, "AWS_ENDPOINT_URL": proxy.url})
