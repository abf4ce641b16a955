from __future__ import annotations

import errno
import json
import logging
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from command_line import sweeper_here
from hypothesis import given
from hypothesis import strategies as st
from run_mutations import extract_run

from sweeper.journal import (
    VERSION,
    ConfirmationPlanned,
    Event,
    Journal,
    JournalError,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
    read_journal,
)
from sweeper.journal_events import encode_event
from sweeper.journal_lines import encode_line, find_checks
from sweeper.json_values import decode_json, encode_json
from sweeper.states import Stage

EVENTS: list[Event] = [
    LaunchStarted(1.0, launch=1, pid=7, command=("sweeper", "run", "ü.yaml")),
    TrialAsked(2.0, "t0001", {"lr": 0.1, "m": {"h": [64, 64]}}, {"lr": 0.1}, (0, 1), known=3),
    TrialStarted(3.0, "t0001", "10.0.0.1"),
    TrialReported(4.0, "t0001", {"episode_return_mean": 1.5, "replica/x": [1.0, None]}),
    TrialCheckpointed(5.0, "t0001", "trials/t0001/checkpoint_000000", {"training_iteration": 1}),
    TrialRetried(6.0, "t0001", "boom"),
    TrialReported(7.0, "t0001", {"episode_return_mean": 2.5}, stopped_by="x >= 2"),
    TrialReported(7.5, "t0001", {}, decision={"action": "stop", "reason": "1 < 2", "rung": 1}),
    TrialEnded(8.0, "t0001", "TERMINATED", "x >= 2"),
    LaunchEnded(9.0, "finished"),
]


def write(path: Path, events: list[Event]) -> None:
    journal = Journal(path)
    for event in events:
        journal.append(event)
    journal.close()


def test_what_is_appended_is_read_back_in_order(tmp_path: Path) -> None:
    write(tmp_path / "journal.jsonl", EVENTS)
    assert list(read_journal(tmp_path / "journal.jsonl")) == EVENTS


def test_a_second_writer_continues_where_the_first_ended(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, EVENTS[:4])
    write(path, EVENTS[4:])
    assert list(read_journal(path)) == EVENTS


def test_a_kill_at_any_byte_costs_at_most_the_last_event(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, EVENTS[:3])
    kept = path.stat().st_size
    write(path, EVENTS[3:4])
    whole = path.read_bytes()
    for size in range(kept, len(whole)):
        path.write_bytes(whole[:size])
        events = list(read_journal(path))
        assert events[:3] == EVENTS[:3]
        assert events[3:] in ([], EVENTS[3:4])


def test_after_a_kill_the_next_launch_writes_a_readable_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, EVENTS[:4])
    path.write_bytes(path.read_bytes()[:-9])
    second = LaunchStarted(10.0, launch=2, pid=8, command=("sweeper", "resume"))
    write(path, [second])
    with caplog.at_level(logging.WARNING):
        assert list(read_journal(path)) == [*EVENTS[:3], second]
    assert "journal.jsonl:4: dropped an incomplete line" in caplog.text


def test_a_damaged_line_in_the_middle_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, EVENTS)
    lines = path.read_bytes().split(b"\n")
    lines[3] = lines[3][:20]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(JournalError, match=r"journal\.jsonl:4: damaged"):
        list(read_journal(path))


def test_a_missing_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="can't read the journal"):
        list(read_journal(tmp_path / "journal.jsonl"))


def test_fields_of_a_later_version_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event": "launch_ended", "time": 1.0, "reason": "finished", "new": 1}\n')
    assert list(read_journal(path)) == [LaunchEnded(1.0, "finished")]


def test_events_of_a_later_version_are_skipped_with_a_warning_each_kind_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.jsonl"
    events = [replace(EVENTS[0], version=VERSION + 1), *EVENTS[1:]]
    write(path, events[:2])
    cloned = encode_line({"event": "trial_cloned", "time": 2.5, "trial_id": "t0001"})
    with path.open("ab") as stream:
        stream.write(cloned * 2)
    write(path, events[2:])
    with caplog.at_level(logging.WARNING):
        assert list(read_journal(path)) == events
    assert caplog.text.count("trial_cloned") == 1
    assert "damaged" not in caplog.text


@pytest.mark.parametrize("version", [0, VERSION])
def test_an_unknown_event_in_a_journal_of_ours_is_damage(tmp_path: Path, version: int) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, [replace(EVENTS[0], version=version)])
    with path.open("ab") as stream:
        stream.write(encode_line({"event": "trial_asced", "time": 2.5, "trial_id": "t0001"}))
    with pytest.raises(JournalError, match=r"jsonl:2: damaged .*unknown event 'trial_asced'"):
        list(read_journal(path))
    assert len(list(read_journal(path, strict=False))) == 1


DAMAGED_NEWS = {
    "no checksum": (b'{"event": "news", "time": 2.5}', "its checksum is missing"),
    "another checksum": (b'{"event": "news", "crc": "00000000"}', "its checksum does not fit"),
    "neither": (b'{"event": "news", "time": 1, "line": "x"}', "its checksum is missing"),
    **{
        f"number {number!r}": (encode_line({"event": "news", "line": number}), "line: no number")
        for number in ("x", 0, True, 1.5, [], {})
    },
}


@pytest.mark.parametrize(("line", "what"), DAMAGED_NEWS.values(), ids=DAMAGED_NEWS)
def test_a_damaged_event_of_a_later_version_is_damage(
    tmp_path: Path, line: bytes, what: str
) -> None:
    path = tmp_path / "journal.jsonl"
    first = replace(EVENTS[0], version=VERSION + 1)
    write(path, [first])
    path.write_bytes(path.read_bytes() + line.strip() + b"\n")
    with pytest.raises(JournalError, match=rf"jsonl:2: damaged .*{what}"):
        list(read_journal(path))
    assert list(read_journal(path, strict=False)) == [first]


VERBS = (
    "list",
    "status RUN",
    "results RUN",
    "best RUN",
    "logs RUN",
    "clean --keep 0 --json",
    "resume RUN",
)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_in_a_sentence_that_a_later_version_s_journal_is_damaged(
    tmp_path: Path, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = extract_run(tmp_path / "runs")
    first = replace(EVENTS[0], version=VERSION + 1)
    line, what = DAMAGED_NEWS["neither"]
    (run / "journal.jsonl").write_bytes(encode_event(first, 1) + line + b"\n")
    done = sweeper_here(*verb.replace("RUN", f"runs/{run.name}").split(), cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    said = caplog.text + done.stderr
    assert f"journal.jsonl:2: damaged line in the middle of the journal ({what})" in said
    if verb == "list":
        assert run.name in done.stdout


def test_reading_without_strict_skips_damage_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, EVENTS)
    lines = path.read_bytes().split(b"\n")
    lines[3] = lines[3][:20]
    lines[5] = b"\x00\xff"
    path.write_bytes(b"\n".join(lines))
    with caplog.at_level(logging.WARNING):
        assert list(read_journal(path, strict=False)) == [*EVENTS[:3], EVENTS[4], *EVENTS[6:]]
    assert "journal.jsonl:4: damaged" in caplog.text
    assert "journal.jsonl:6: damaged" in caplog.text


def test_an_event_that_the_disk_has_no_room_for_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append(EVENTS[0])
    write_some, room = os.write, 10

    def full_disk(descriptor: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written, room = write_some(descriptor, data[:room]), 0
        return written

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full_disk)
        with pytest.raises(JournalError, match="No space left"):
            journal.append(EVENTS[1])
    assert journal.failure is not None
    journal.append(EVENTS[2])
    journal.close()
    assert list(read_journal(path)) == [EVENTS[0], EVENTS[2]]


def test_a_missing_folder_is_an_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="can't write the journal"):
        Journal(tmp_path / "gone" / "journal.jsonl")


def test_a_launch_records_its_spec_host_and_changes(tmp_path: Path) -> None:
    event = LaunchStarted(
        1.0, 2, 7, ("sweeper",), host="h", spec="name: x\n", changes={"stop.a": 3}
    )
    write(tmp_path / "journal.jsonl", [event])
    assert list(read_journal(tmp_path / "journal.jsonl")) == [event]


def test_non_finite_numbers_survive_and_stay_apart_from_text(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    metrics = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": "nan", "e": [math.nan, 1.0]}
    write(path, [TrialReported(1.0, "t0001", metrics)])
    (event,) = read_journal(path)
    assert isinstance(event, TrialReported)
    assert math.isnan(event.metrics["a"])
    assert event.metrics["b"] == math.inf
    assert event.metrics["c"] == -math.inf
    assert event.metrics["d"] == "nan"
    assert math.isnan(event.metrics["e"][0])
    assert "NaN" not in path.read_text()


def test_text_that_can_not_be_written_elsewhere_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, [TrialRetried(1.0, "t0001", "no file b\udcff\U0001f600")])
    assert list(read_journal(path)) == [TrialRetried(1.0, "t0001", "no file b?\U0001f600")]


def test_numpys_values_become_pythons() -> None:
    row = {"f": np.float32(1.5), "i": np.int64(3), "b": np.bool_(True), "a": np.arange(3)}
    assert encode_json(row) == {"f": 1.5, "i": 3, "b": True, "a": [0, 1, 2]}
    assert type(encode_json(np.float64(1.5))) is float


def test_listeners_are_called_once_the_event_is_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    called: list[tuple[Event, int]] = []
    journal = Journal(path)
    journal.listeners.append(lambda event: called.append((event, len(list(read_journal(path))))))
    for event in EVENTS[:3]:
        journal.append(event)
    journal.close()
    assert called == [(EVENTS[0], 1), (EVENTS[1], 2), (EVENTS[2], 3)]


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    metrics=st.dictionaries(st.text(), _values, max_size=4),
    trial_id=st.from_regex(r"[tc][0-9]{1,9}", fullmatch=True),
)
def test_any_metrics_survive_the_journal(
    tmp_path_factory: pytest.TempPathFactory, metrics: dict[str, object], trial_id: str
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    event = TrialReported(1.0, trial_id, metrics)
    write(path, [event])
    assert list(read_journal(path)) == [event]


@given(_values)
def test_decoding_undoes_encoding(value: object) -> None:
    assert decode_json(encode_json(value)) == value


def lines_without_checksums(path: Path) -> bytes:
    """What a version without checksums would have written."""
    documents = [json.loads(line) for line in path.read_bytes().splitlines()]
    old = [
        {key: value for key, value in document.items() if key not in ("crc", "version", "line")}
        for document in documents
    ]
    return b"".join(json.dumps(document).encode() + b"\n" for document in old)


def test_a_journal_without_checksums_is_read_and_continued_with_them(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, EVENTS)
    path.write_bytes(lines_without_checksums(path))
    second = LaunchStarted(10.0, launch=2, pid=8, command=("sweeper", "resume"))
    write(path, [second])
    old = [replace(EVENTS[0], version=0), *EVENTS[1:]]
    assert list(read_journal(path)) == [*old, second]


def test_an_earlier_version_may_have_continued_a_journal_with_checksums(tmp_path: Path) -> None:
    path, later = tmp_path / "journal.jsonl", tmp_path / "later.jsonl"
    write(path, EVENTS)
    write(later, EVENTS)
    path.write_bytes(path.read_bytes() + lines_without_checksums(later))
    assert list(read_journal(path)) == [*EVENTS, replace(EVENTS[0], version=0), *EVENTS[1:]]


def test_no_flipped_bit_passes_unseen(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, EVENTS)
    whole = path.read_bytes()
    random = Random(1)  # noqa: S311 - flips, not secrets
    for _ in range(500):
        at, bit = random.randrange(len(whole)), random.randrange(8)
        damaged = bytearray(whole)
        damaged[at] ^= 1 << bit
        path.write_bytes(damaged)
        assert list(read_journal(path, strict=False)) != EVENTS
        last_line = whole.rindex(b"\n", 0, -1)
        if at < last_line:
            with pytest.raises(JournalError, match="damaged line"):
                list(read_journal(path))


# -- lost lines --------------------------------------------------------------------------------


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("at", range(len(EVENTS) - 1))
def test_a_lost_line_is_noticed(
    at: int, count: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, EVENTS)
    count = min(count, len(EVENTS) - 1 - at)  # nobody can tell that the last one is missing
    lines = lines_of(path)
    path.write_bytes(b"".join([*lines[:at], *lines[at + count :]]))
    words = rf"journal\.jsonl:{at + 1}: lines are missing .*\({count} before this one\)"
    with pytest.raises(JournalError, match=words):
        list(read_journal(path))
    with caplog.at_level(logging.WARNING):
        assert list(read_journal(path, strict=False)) == [*EVENTS[:at], *EVENTS[at + count :]]
    assert caplog.text.count("lines are missing") == 1


@pytest.mark.parametrize(("first", "last"), [(0, 1), (2, 3), (2, 5), (9, 10)])
def test_a_repeated_line_is_noticed_and_read_once(
    first: int, last: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, EVENTS)
    lines = lines_of(path)
    path.write_bytes(b"".join([*lines[:last], *lines[first:]]))
    with pytest.raises(JournalError, match=rf"journal\.jsonl:{last + 1}: a line .* twice:"):
        list(read_journal(path))
    with caplog.at_level(logging.WARNING):
        assert list(read_journal(path, strict=False)) == EVENTS
    assert caplog.text.count("twice: skipped") == last - first


def test_a_damaged_line_is_told_once_and_not_as_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, EVENTS)
    lines = lines_of(path)
    lines[0], lines[4], lines[7] = lines[0].replace(b"7", b"8"), b"\0\n", b"{\n"
    path.write_bytes(b"".join(lines))
    kept = [event for number, event in enumerate(EVENTS) if number not in (0, 4, 7)]
    with caplog.at_level(logging.WARNING):
        assert list(read_journal(path, strict=False)) == kept
    assert "missing in the middle" not in caplog.text
    assert caplog.text.count("damaged line") == 3


def test_a_whole_line_before_a_launch_that_was_damaged_later_was_not_cut_off(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.jsonl"
    second = LaunchStarted(10.0, launch=2, pid=8, command=("sweeper", "resume"))
    write(path, [*EVENTS[:4], second])
    lines = lines_of(path)
    path.write_bytes(b"".join([*lines[:3], lines[3][:-9] + b"\n", lines[4]]))
    with pytest.raises(JournalError, match=r"journal\.jsonl:4: damaged"):
        list(read_journal(path))


def test_the_numbers_go_on_where_a_journal_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, EVENTS)
    path.write_bytes(b"".join(lines_of(path)[:6]))
    second = LaunchStarted(10.0, launch=2, pid=8, command=("sweeper", "resume"))
    write(path, [second])
    assert list(read_journal(path)) == [*EVENTS[:6], second]
    assert json.loads(lines_of(path)[6])["line"] == 7


def test_an_unwritten_line_uses_no_number_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(JournalError, match="full"):
            journal.append(EVENTS[0])
    journal.append(EVENTS[0])
    journal.close()
    assert json.loads((tmp_path / "journal.jsonl").read_text())["line"] == 1


@pytest.mark.parametrize("size", [10, 70_000, 300_000])
def test_only_the_end_of_a_journal_is_read_for_its_last_number(size: int, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, [*EVENTS[:3], TrialRetried(4.0, "t0001", "x" * size)])
    write(path, [EVENTS[3]])
    assert [json.loads(line)["line"] for line in lines_of(path)] == [1, 2, 3, 4, 5]


def test_numbers_begin_where_an_earlier_version_ended(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, EVENTS[:5])
    path.write_bytes(lines_without_checksums(path))
    write(path, [LaunchStarted(10.0, 2, 8, ("sweeper", "resume")), *EVENTS[5:]])
    assert [json.loads(line).get("line") for line in lines_of(path)][4:7] == [None, 1, 2]
    assert len(list(read_journal(path))) == len(EVENTS) + 1
    lines = lines_of(path)
    path.write_bytes(b"".join([*lines[:5], *lines[6:]]))
    with pytest.raises(JournalError, match="lines are missing"):
        list(read_journal(path))


@pytest.mark.parametrize("number", [0, -1, True, "1", 1.5, [], 10**400])
def test_a_number_that_is_none_is_damage(number: Any, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    document = {"event": "launch_ended", "time": 1.0, "reason": "finished", "line": number}
    path.write_bytes(encode_line(document) * 2)
    with pytest.raises(JournalError):
        list(read_journal(path))
    list(read_journal(path, strict=False))
    Journal(path).close()


WRONG: list[tuple[type[Event], str, Any]] = [
    (TrialReported, "metrics", 3),
    (TrialReported, "metrics", None),
    (TrialReported, "metrics", {"replica/diverged": 1}),
    (TrialReported, "metrics", {"a": json.loads("[" * 60 + "]" * 60)}),
    (TrialReported, "time", "now"),
    (TrialReported, "time", True),
    (TrialReported, "time", {"$float": "nan"}),
    (TrialReported, "time", 1e300),
    (TrialReported, "time", 10**400),
    (TrialReported, "replaces", 1),
    (TrialReported, "stopped_by", []),
    (TrialReported, "trial_id", "../../victim"),
    (TrialReported, "trial_id", "/home"),
    (TrialReported, "trial_id", ".."),
    (TrialReported, "trial_id", "t0001\n"),
    (TrialReported, "trial_id", ""),
    (TrialReported, "trial_id", 7),
    (TrialCheckpointed, "path", "/home/you/x"),
    (TrialCheckpointed, "path", "trials/t0001/../../../x"),
    (TrialCheckpointed, "path", "trials/t0001"),
    (TrialCheckpointed, "path", "trials/t0002/checkpoint_000000"),
    (TrialCheckpointed, "path", "spec.yaml"),
    (TrialAsked, "configuration", []),
    (TrialAsked, "seeds", "01"),
    (TrialAsked, "seeds", [0.5]),
    (TrialAsked, "seeds", [10**30]),
    (TrialAsked, "stage", "lunch"),
    (TrialAsked, "known", 0.5),
    (TrialEnded, "state", "HAPPY"),
    (TrialEnded, "state", ["ERROR"]),
    (TrialEnded, "reason", None),
    (LaunchStarted, "pid", "7"),
    (LaunchStarted, "pid", None),
    (LaunchStarted, "command", "sweeper"),
    (LaunchStarted, "command", [1]),
    (LaunchStarted, "environment", []),
    (LaunchStarted, "version", "x"),
    (LaunchEnded, "reason", {}),
]


@pytest.mark.parametrize(("kind", "name", "value"), WRONG)
def test_a_field_of_another_type_is_damage(
    tmp_path: Path, kind: type[Event], name: str, value: Any
) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, EVENTS)
    lines = path.read_bytes().splitlines()
    number = next(index for index, event in enumerate(EVENTS) if isinstance(event, kind))
    document = json.loads(lines[number])
    del document["crc"]
    path.write_bytes(
        b"\n".join([*lines[:number], encode_line({**document, name: value}), *lines[number + 1 :]])
    )
    with pytest.raises(JournalError, match=rf"jsonl:{number + 1}: damaged .*\("):
        list(read_journal(path))
    assert list(read_journal(path, strict=False)) == [*EVENTS[:number], *EVENTS[number + 1 :]]


@pytest.mark.parametrize("line", [b"[" * 5000, b"[" * 900 + b"]" * 900, b"9" * 5000, b"[1]", b"7"])
def test_json_that_is_no_event_is_damage(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, EVENTS)
    path.write_bytes(line + b"\n" + path.read_bytes())
    assert list(read_journal(path, strict=False)) == EVENTS


def test_a_line_without_a_needed_field_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(encode_line({"event": "trial_started", "time": 1.0, "trial_id": "t0001"}))
    with pytest.raises(JournalError, match="a field is missing"):
        list(read_journal(path))


def test_a_field_without_a_check_can_not_be_declared() -> None:
    @dataclass(frozen=True)
    class Strange:
        when: complex

    with pytest.raises(TypeError, match="no check for the type"):
        find_checks(Strange)


PLANNED = ConfirmationPlanned(
    1.0,
    finalists=("t0002", "t0001"),
    baseline={"name": "defaults", "configuration": {"lr": 0.1}},
    seeds=(0, 1),
    step=None,
    episodes=5,
    stop={"time_total_s": 1.0},
    objective={"metric": "m", "mode": "max", "score": "last"},
    search_ended_by="finished",
    schedules={"t0002": {"lr": [[0, 0.1], [10, 0.2]]}},
)
COPIED = TrialReported(
    1.0,
    "t0002",
    {"agent/replica": 1, "agent/episode_returns": [1.0], "replica/diverged_because": [None, "x"]},
    decision={
        "action": "copy",
        "reason": "ranks last",
        "rung": 1,
        "donor": "t0001",
        "parameters": {"lr": 0.2},
        "donor_env_steps": 100,
        "scores": [1.0, 1e300],
    },
)
CONFIRMING = TrialAsked(1.0, "c0001", {}, {}, (0, 1), Stage.CONFIRMATION, "baseline")


@pytest.mark.parametrize(
    "event", [PLANNED, replace(PLANNED, step=5, baseline={}), CONFIRMING, COPIED]
)
def test_what_a_confirmation_and_a_population_write_is_read(tmp_path: Path, event: Event) -> None:
    write(tmp_path / "journal.jsonl", [event])
    assert list(read_journal(tmp_path / "journal.jsonl")) == [event]


@pytest.mark.parametrize(
    ("event", "field", "value"),
    [
        (PLANNED, "finalists", ["../t0001"]),
        (PLANNED, "finalists", "t0001"),
        (PLANNED, "baseline", {"name": "defaults"}),
        (PLANNED, "baseline", {"name": "defaults", "configuration": 3}),
        (PLANNED, "seeds", []),
        (PLANNED, "seeds", [0.5]),
        (PLANNED, "step", -1),
        (PLANNED, "step", "5"),
        (PLANNED, "objective", {"metric": "m", "mode": "max"}),
        (PLANNED, "objective", {"metric": "m", "mode": "up", "score": "last"}),
        (PLANNED, "objective", {"metric": [], "mode": "max", "score": "last"}),
        (PLANNED, "schedules", {"t0001": 3}),
        (CONFIRMING, "of", "../../t0001"),
        (CONFIRMING, "of", None),
        (CONFIRMING, "trial_id", "a"),
        (COPIED, "decision", {"action": "copy", "donor": "/etc"}),
        (COPIED, "decision", {"action": "copy", "donor": "t0001", "donor_env_steps": "x"}),
        (COPIED, "decision", {"action": "copy", "donor": "t0001", "parameters": [1]}),
        (COPIED, "decision", {"action": "copy", "donor": "t0001", "scores": [1.0]}),
        (COPIED, "decision", {"action": "copy", "donor": "t0001", "scores": [1.0, None]}),
        (COPIED, "decision", {"action": ["stop"]}),
        (COPIED, "decision", {"rung": 1.5}),
        (COPIED, "decision", "stop"),
        (COPIED, "metrics", {"agent/replica": -1}),
        (COPIED, "metrics", {"agent/replica": 1.0}),
        (COPIED, "metrics", {"agent/episode_returns": 3}),
        (COPIED, "metrics", {"replica/confirmation/episode_return_mean": ["x"]}),
        (COPIED, "metrics", {"replica/episode_return_mean": [10**400]}),
    ],
)
def test_what_does_not_belong_into_one_is_damage(
    tmp_path: Path, event: Event, field: str, value: object
) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, [event])
    document = json.loads(path.read_bytes())
    del document["crc"]
    path.write_bytes(encode_line({**document, field: value}))
    with pytest.raises(JournalError, match="jsonl:1: damaged"):
        list(read_journal(path))
    assert list(read_journal(path, strict=False)) == []
