"""Real stores behind a tracking server: a cluster of PostgreSQL, and a bucket that speaks S3.

PostgreSQL is the system's. Where it is missing, tests skip and say so; with
`SWEEPER_REQUIRE_POSTGRESQL=1` they fail instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tracking_servers import free_port

__all__ = ["Bucket", "Cluster", "opened_bucket", "opened_cluster"]

REQUIRED = "SWEEPER_REQUIRE_POSTGRESQL"
# Debian keeps the server's programs off the PATH.
_DEBIAN = Path("/usr/lib/postgresql")
_START_S = 60


@dataclass
class Cluster:
    """A cluster of PostgreSQL, with one empty database.

    Attributes:
        uri: of the database, with its password.
        password: in it.
    """

    uri: str
    password: str


@contextmanager
def opened_cluster() -> Iterator[Cluster]:
    """A cluster for a block, on the loopback; skips the test where PostgreSQL is missing."""
    programs = _find_programs()
    if programs is None:
        why = "PostgreSQL is not installed: Debian's package is `postgresql`"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{why}, and {REQUIRED} is 1")
        pytest.skip(why)
    # Short, for its socket's path may have a hundred characters; below no folder that another
    # user can't enter, for PostgreSQL refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    port, password = free_port(), "sentinel-pg-5d02"
    (folder / "password").write_text(password)
    as_user: list[str] = []
    if os.geteuid() == 0:
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres", "postgres")
    data, output = folder / "data", folder / "log"
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off"

    def call(program: str, *arguments: str) -> None:
        subprocess.run(
            [*as_user, str(programs / program), *arguments],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=_START_S,
        )

    try:
        login = ("-U", "sweeper", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}")
        call("initdb", "-D", str(data), "-E", "UTF8", "--locale=C", *login)
        call("pg_ctl", "-D", str(data), "-w", "-l", str(output), "-o", options, "start")
        try:
            address = f"127.0.0.1:{port}/postgres"
            yield Cluster(f"postgresql+psycopg2://sweeper:{password}@{address}", password)
        finally:
            call("pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _find_programs() -> Path | None:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


@dataclass
class Bucket:
    """An empty bucket.

    Attributes:
        uri: ``s3://…``.
        variables: by which a server reaches it.
        client: boto3's, of the same.
    """

    uri: str
    variables: dict[str, str]
    client: Any

    def list_keys(self) -> list[str]:
        """What lies in it."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="sweeps")
        return [one["Key"] for page in pages for one in page.get("Contents", ())]


@contextmanager
def opened_bucket() -> Iterator[Bucket]:
    """A bucket for a block, of an S3 server in a process of its own."""
    import boto3

    url = f"http://127.0.0.1:{(port := free_port())}"
    variables = {
        "MLFLOW_S3_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "sweeper",
        "AWS_SECRET_ACCESS_KEY": "sentinel-s3-77aa",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-P", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
            region_name=variables["AWS_DEFAULT_REGION"],
        )
        deadline = time.monotonic() + _START_S
        while True:
            assert process.poll() is None, "the S3 server ended"
            with suppress(OSError, Exception):
                client.create_bucket(Bucket="sweeps")
                break
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.2)
        yield Bucket("s3://sweeps", variables, client)
    finally:
        process.kill()
        process.wait()
