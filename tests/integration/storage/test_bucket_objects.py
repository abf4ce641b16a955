"""Objects, growing files and leases in a real S3 server, also one that fails."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from bucket_runs import Storage
from faulty_proxy import answering, cut, half_answered, on_writes

from sweeper.errors import UserError
from sweeper.storage import lease as leases
from sweeper.storage.address import parse_address
from sweeper.storage.lease import Lease, LeaseHeldError, find_holder
from sweeper.storage.objects import Objects, StorageError, check_bucket
from sweeper.storage.parts import PART_BYTES, list_parts, read_parts, write_parts

_FAILING = answering(503, "<Error/>", "application/xml")


@pytest.fixture
def objects(address: str) -> Objects:
    parsed = parse_address(f"{address}/run")
    assert parsed is not None
    return Objects(parsed)


def test_objects_are_written_listed_moved_and_deleted(objects: Objects, tmp_path: Path) -> None:
    objects.write("a/one.txt", b"1")
    objects.write("a/b/two.txt", b"22")
    objects.write("top", b"")
    assert {name: entry.size for name, entry in objects.find().items()} == {
        "a/one.txt": 1,
        "a/b/two.txt": 2,
        "top": 0,
    }
    assert set(objects.find(recursive=False)) == {"top"}
    assert objects.folders() == ["a"]
    objects.move_folder("a", "c")
    assert set(objects.find()) == {"c/one.txt", "c/b/two.txt", "top"}
    assert objects.read("c/b/two.txt") == b"22"
    objects.download("c/one.txt", tmp_path / "new" / "one.txt")
    assert (tmp_path / "new" / "one.txt").read_bytes() == b"1"
    objects.delete("c/one.txt")
    objects.delete("c/one.txt")  # a missing one is fine
    objects.delete_folder("c")
    objects.delete_folder("c")
    assert set(objects.find()) == {"top"}
    with pytest.raises(FileNotFoundError):
        objects.read("c/one.txt")


def test_a_bucket_that_cannot_be_used_is_said_in_a_sentence(
    storage: Storage, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_bucket(address)
    check_bucket("runs")  # a folder
    with pytest.raises(UserError, match="there is no bucket missing; make it"):
        check_bucket("s3://missing/x")
    denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    storage.proxy.fault = on_writes(answering(403, denied, "application/xml"))
    with pytest.raises(UserError, match="can't be written: access is denied; set AWS_ACCESS"):
        check_bucket(address)
    storage.proxy.fault = None
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9 does not answer") as refused:
        check_bucket(address)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(refused.value)


@pytest.mark.parametrize("fault", [_FAILING, cut, half_answered])
def test_a_server_that_fails_twice_costs_nothing(
    storage: Storage, objects: Objects, fault: object
) -> None:
    objects.write("x", b"before" * 1000)
    left = [2]

    def fail(request: object) -> None:
        if left[0] > 0:
            left[0] -= 1
            fault(request)  # type: ignore[operator]
        else:
            request.forward()  # type: ignore[attr-defined]

    storage.proxy.fault = fail
    assert objects.read("x") == b"before" * 1000
    left[0] = 2
    objects.write("x", b"after")
    left[0] = 2
    assert objects.find()["x"].size == 5
    assert left[0] == 0


def test_a_server_that_goes_on_failing_is_a_sentence(storage: Storage, objects: Objects) -> None:
    storage.proxy.fault = _FAILING
    with pytest.raises(StorageError, match=r"can't be (read|written): .*failing|answer"):
        objects.write("x", b"1")
    storage.proxy.fault = None
    assert objects.find() == {}


def test_a_file_that_grows_is_written_in_parts(objects: Objects, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    data = os.urandom(2 * PART_BYTES + 1000)
    path.write_bytes(data[:10])
    sent = write_parts(objects, "journal", path, 0)
    for size in (PART_BYTES, PART_BYTES + 5, len(data)):
        path.write_bytes(data[:size])
        sent = write_parts(objects, "journal", path, sent)
        assert sent == list_parts(objects, "journal") == size
        assert read_parts(objects, "journal", 0, size) == data[:size]
    assert (
        read_parts(objects, "journal", PART_BYTES - 3, PART_BYTES + 3)
        == data[PART_BYTES - 3 : PART_BYTES + 3]
    )
    objects.delete("journal/00000001")
    with pytest.raises(StorageError, match="a part is missing"):
        list_parts(objects, "journal")


def test_a_lease_has_one_owner(objects: Objects, tmp_path: Path) -> None:
    mine = Lease(objects, "ns", tmp_path)
    assert mine.take() is None
    with pytest.raises(LeaseHeldError) as held:
        Lease(objects, "ns", tmp_path / "other").take(is_free=True)
    assert held.value.holder.pid == os.getpid()
    assert mine.renew()[0]
    # The lock of the same working copy shows that its owner has ended.
    again = Lease(objects, "ns", tmp_path)
    taken_from = again.take(is_free=True)
    assert taken_from is not None
    assert taken_from.folder == str(tmp_path)
    mine._renewed -= leases.BEAT_S
    assert not mine.renew()[0]
    again._renewed -= leases.BEAT_S
    assert again.renew()[0]
    again.release()
    assert find_holder(objects) is None


def test_a_silent_owner_is_replaced_after_its_time(
    objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Lease(objects, "ns", tmp_path).take()
    monkeypatch.setattr(leases, "LEASE_S", 3.0)
    with pytest.raises(LeaseHeldError):
        Lease(objects, "ns", tmp_path / "other").take()
    time.sleep(4.0)
    holder = find_holder(objects)
    assert holder is not None
    assert not holder.is_live
    assert Lease(objects, "ns", tmp_path / "other").take() is not None


def test_of_many_that_come_at_once_one_has_it(objects: Objects, tmp_path: Path) -> None:
    won: list[int] = []

    def take(number: int) -> None:
        try:
            Lease(objects, "ns", tmp_path / str(number)).take()
        except LeaseHeldError:
            return
        won.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
