"""Addresses of folders in buckets, and the folders of this machine that stand for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.errors import UserError
from sweeper.storage.address import (
    Address,
    address_of,
    parse_address,
    place_text,
    storage_folder,
    working_copy,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://bucket/team/runs", Address("s3", "bucket", "team/runs")),
        ("S3://bucket", Address("s3", "bucket", "")),
        ("gs://my.bucket-1//a//b/", Address("gs", "my.bucket-1", "a/b")),
        ("az://box/x y", Address("az", "box", "x y")),
    ],
)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address
    assert parse_address(Path(text)) == address  # which merges the slashes


@pytest.mark.parametrize("text", ["runs", "./runs", "/srv/runs", "C:\\runs", "a:b", "", "x/s3://y"])
def test_a_path_is_no_address(text: str) -> None:
    assert parse_address(text) is None
    assert storage_folder(text) == Path(text)


def test_a_folder_with_a_colon_in_its_name_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nfs:" / "runs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert parse_address(Path("nfs:/runs")) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("s4://bucket/x", "did you mean s3://"),
        ("hdfs://name/x", "hdfs:// can't hold runs; give a folder, or s3://, gs:// or az://"),
        ("s3://", "no bucket's name"),
        ("s3://key:secret@bucket/x", "credentials in the address would be recorded"),
        ("s3://bucket/../x", "may have no"),
        ("s3://bucket/x?endpoint_override=y", "may have no"),
        ("s3://buc ket/x", "no bucket's name"),
    ],
)
def test_what_is_no_bucket_is_said(text: str, words: str) -> None:
    with pytest.raises(UserError, match="storage") as refused:
        parse_address(text)
    assert words in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_working_copy_knows_its_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    address = Address("s3", "bucket", "team/runs")
    folder = working_copy(address)
    assert address_of(folder / "run-1" / "trials") == Address(
        "s3", "bucket", "team/runs/run-1/trials"
    )
    assert place_text(folder) == "s3://bucket/team/runs"
    assert address_of(Path("runs")) is None
    assert address_of(folder / ".." / "x") is None
    assert place_text("runs") == "runs"


def test_a_working_copy_belongs_to_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    address = Address("s3", "bucket", "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    one = working_copy(address)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9001")
    assert working_copy(address) != one
    assert address_of(one) is None
