"""A run's folder and its bucket: what is written in one is found in the other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path

import pytest
from bucket_runs import Storage
from faulty_proxy import answering

from sweeper.errors import UserError
from sweeper.journal import Journal, LaunchEnded, TrialStarted
from sweeper.locks import is_locked
from sweeper.paths import RunPaths, create_run_folder, find_run, list_runs
from sweeper.storage.checkpoints import (
    has_file,
    list_folders,
    patiently,
    put_aside,
    remove_folder,
    upload_folder,
)
from sweeper.storage.mirror import mirror_of, mirrored, write_now
from sweeper.storage.objects import StorageError
from sweeper.storage.working_copy import bring_run, delete_stored_run

_NOW = datetime(2026, 1, 2, 3, 4, 5)


@pytest.fixture
def paths(address: str) -> RunPaths:
    """A new run."""
    return create_run_folder(Path(address), "run", _NOW)


def _drive(stack: ExitStack, paths: RunPaths, said: list[str] | None = None) -> Journal:
    """Mirror a run until the stack is left; returns its journal."""
    heard: list[str] = [] if said is None else said
    stack.enter_context(mirrored(paths.root, namespace="ns", stop=heard.append, say=heard.append))
    return stack.enter_context(closing(Journal(paths.journal)))


def _write(journal: Journal, number: int) -> None:
    for _ in range(number):
        journal.append(TrialStarted(time=time.time(), trial_id="t0001", node=""))


def _champion(paths: RunPaths, text: str) -> None:
    paths.champion.mkdir(exist_ok=True)
    for name in ("weights.safetensors", "agent.json"):
        (paths.champion / name).write_text(f"{name} {text}")


def test_what_a_driver_writes_is_found_elsewhere(
    paths: RunPaths, address: str, elsewhere: Callable[[str], None], storage: Storage
) -> None:
    with ExitStack() as stack:
        journal = _drive(stack, paths)
        _write(journal, 3)
        paths.spec.write_text("name: run\n")
        _champion(paths, "1")
        (paths.root / ".lock").write_text("{}")
        write_now(paths.root)
        journal.append(LaunchEnded(time=time.time(), reason="finished"))
        text = paths.journal.read_bytes()
        elsewhere("there")
        there = find_run(f"{address}/{paths.root.name}", Path("runs"))
        assert there.root != paths.root
        assert text.startswith(there.journal.read_bytes())
        assert is_locked(there.lock)
        assert (there.champion / "agent.json").read_text() == "agent.json 1"
        elsewhere("here")
        _champion(paths, "2")
    elsewhere("there")
    assert [run.root for run in list_runs(Path(address))] == [there.root]
    assert there.journal.read_bytes() == text
    assert (there.champion / "weights.safetensors").read_text() == "weights.safetensors 2"
    assert there.spec.read_text() == "name: run\n"
    assert not is_locked(there.lock)
    assert not [key for key in storage.bucket.list_keys() if key.endswith(".lock")]
    delete_stored_run(there.root)
    assert not there.root.exists()
    assert list_runs(Path(address)) == []


def test_a_second_driver_is_refused_and_a_stranger_can_ask_for_the_end(
    paths: RunPaths, elsewhere: Callable[[str], None], address: str
) -> None:
    from sweeper.storage.mirror import request_stop

    said: list[str] = []
    with ExitStack() as stack:
        journal = _drive(stack, paths, said)
        _write(journal, 1)
        write_now(paths.root)
        elsewhere("there")
        there = find_run(f"{address}/{paths.root.name}", Path("runs"))
        with (
            pytest.raises(UserError, match=r"is being run by process .*its lease is over in"),
            ExitStack() as other,
        ):
            _drive(other, there)
        request_stop(there.root)
        deadline = time.monotonic() + 30
        while "" not in said:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        elsewhere("here")


def test_a_bucket_that_is_away_for_a_while_costs_a_line(
    paths: RunPaths,
    storage: Storage,
    elsewhere: Callable[[str], None],
    address: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING), ExitStack() as stack:
        journal = _drive(stack, paths)
        _write(journal, 1)
        write_now(paths.root)
        storage.proxy.fault = answering(503, "<Error/>", "application/xml")
        _write(journal, 5)
        deadline = time.monotonic() + 60
        while not caplog.messages:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        _write(journal, 5)
        storage.proxy.fault = None
    lines = [line for line in caplog.messages if "is written there when" in line]
    assert len(lines) == 1
    elsewhere("there")
    there = find_run(f"{address}/{paths.root.name}", Path("runs"))
    assert there.journal.read_bytes() == paths.journal.read_bytes()


def test_the_longer_journal_stays_and_one_that_has_parted_is_put_aside(
    paths: RunPaths, elsewhere: Callable[[str], None], address: str
) -> None:
    with ExitStack() as stack:
        _write(_drive(stack, paths), 2)
    with closing(Journal(paths.journal)) as journal:
        _write(journal, 3)  # which a kill kept from the bucket
    ahead = paths.journal.read_bytes()
    assert bring_run(paths.root)
    assert paths.journal.read_bytes() == ahead
    elsewhere("there")
    there = find_run(f"{address}/{paths.root.name}", Path("runs"))
    with ExitStack() as stack:
        _write(_drive(stack, there), 1)
    elsewhere("here")
    assert bring_run(paths.root)
    assert paths.journal.read_bytes() == there.journal.read_bytes()
    assert (paths.root / "journal_parted_1.jsonl").read_bytes() == ahead


def test_checkpoints_lie_in_the_bucket(
    paths: RunPaths, tmp_path: Path, elsewhere: Callable[[str], None]
) -> None:
    from sweeper.checkpoint_marker import find_damage, mark_complete
    from sweeper.storage.address import address_of

    made = tmp_path / "made"
    (made / "inner").mkdir(parents=True)
    (made / "trainer.json").write_text("{}")
    (made / "inner" / "data").write_bytes(b"x" * 100)
    mark_complete(made)
    folder = paths.trial("t0001") / "checkpoint_000000"
    place = address_of(folder)
    assert place is not None
    upload_folder(made, place, "complete.json")
    with ExitStack() as stack:
        journal = _drive(stack, paths)
        assert list_folders(paths.trial("t0001"), "checkpoint_") == [folder]
        assert has_file(folder / "trainer.json")
        assert not folder.exists()
        assert find_damage(folder, reads_all=False) is None
        assert not (folder / "inner").exists()
        assert find_damage(folder) is None
        assert (folder / "inner" / "data").read_bytes() == b"x" * 100
        # What the journal still names is deleted only once the bucket's journal says more.
        _write(journal, 1)
        mirror = mirror_of(paths.root)
        assert mirror is not None
        remove_folder(folder, below=paths.trials)
        assert not folder.exists()
        write_now(paths.root)
        assert list_folders(paths.trial("t0001"), "checkpoint_") == []


@pytest.mark.parametrize("lost", ["complete.json", "inner/data", "trainer.json"])
def test_a_half_uploaded_checkpoint_is_damaged(
    paths: RunPaths, tmp_path: Path, storage: Storage, lost: str
) -> None:
    from sweeper.checkpoint_marker import find_damage, mark_complete
    from sweeper.storage.address import address_of

    made = tmp_path / "made"
    (made / "inner").mkdir(parents=True)
    (made / "trainer.json").write_text("{}")
    (made / "trainer.safetensors").write_text("t")
    (made / "inner" / "data").write_bytes(b"x" * 100)
    mark_complete(made)
    folder = paths.trial("t0001") / "checkpoint_000000"
    place = address_of(folder)
    assert place is not None
    upload_folder(made, place, "complete.json")
    storage.delete(f"{place.path}/{lost}")
    for reads_all in (False, True):
        damage = find_damage(folder, reads_all=reads_all)
        # Without its trainer's files it is an agent still.
        assert (damage is None) is (lost == "trainer.json"), damage
    aside = put_aside(folder, below=paths.trials)
    assert list_folders(paths.trial("t0001"), "") == [aside]


def test_a_worker_waits_for_its_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeper.storage.checkpoints._PAUSE_S", 0.01)
    left = [3]

    def do() -> str:
        if left[0]:
            left[0] -= 1
            raise StorageError("away")
        return "done"

    assert patiently(do) == "done"
    left[0] = 10**9
    with pytest.raises(StorageError, match="away"):
        patiently(do, patience_s=0.1)
