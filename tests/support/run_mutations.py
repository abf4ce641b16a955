"""Seeded mutations of a run folder: of bytes, of values, of whole files."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from sweeper.journal_lines import encode_line
from sweeper.paths import RunPaths

DATA = Path(__file__).parents[1] / "data" / "old_runs"

# Values that damage, other programs and ill will leave.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 1000, 0.5, -0.0, 1e300, 1e-300, 2**31, 2**63, 10**40,
    10**400,
    float("inf"), float("-inf"), float("nan"), "", " ", "x", "nan", "null", "1", "a\nb", "é",
    "\ud800", "\u2028", "\x1b[2J\x1b]0;title\x07", "../../victim", "/", "..", "trials",
    "trials/t0001/checkpoint_000000", "t0001", "t0002", "t9999", "ERROR", "PAUSED", "TERMINATED",
    "RUNNING", "search", "torch", "rllib", "PPO", "DQN", "Box", "Discrete", "Dict", "Tuple",
    "float32", "object", "CartPole-v1", "Pendulum-v1", "NoSuch-v0", "relu", [], {}, [[]], [None],
    [0], [1, 2], [0.1, "x"], ["a"], [1e400], [-1], [10**9], [10**5, 10**5], {"a": 1},
    {"$float": "nan"}, {"$float": "inf"}, {"$float": "x"}, {"$float": 10**400}, {"$float": []},
    1e155, -1e200, 1.7e308, 10**308, -(10**400), [1e155, -1e200], [1.7e308, 1.7e308], [10**400],
    [float("nan"), 1.0], [float("inf"), float("-inf")], 1e11, 1e20, -1e11,
    {"type": "Discrete", "n": 10**18, "start": 0},
    {"type": "Box", "shape": [10**10], "dtype": "float32", "low": 0, "high": 1},
    "a\0b", "\0", "\udfff/x", "\udc80", "a" * 300, "a/" * 1200, "a." * 1200,
    {"a\0b": [1, 2]}, {"\ud800": [1, 2]}, {"a/" * 1200: 1},
    *(f"<{number} {kind}>" for number in (40, 60, 300, 500, 700, 900, 990) for kind in "[{"),
)  # fmt: skip
NUMBERS = (
    *(float("nan"), float("inf"), float("-inf"), 1e155, -1e200, 1.7e308, 1e11, 1e20, -1.0, 0),
    *(10**40, 10**308, 10**400, -(10**400), 2**63, {"$float": "nan"}, {"$float": "inf"}),
)
KEYS = (
    "event", "time", "trial_id", "metrics", "path", "state", "reason", "error", "configuration",
    "parameters", "seeds", "stage", "launch", "pid", "command", "spec", "changes", "environment",
    "version", "replaces", "stopped_by", "training_iteration", "episode_return_mean",
    "time_total_s", "num_env_steps_sampled_lifetime", "replica/diverged",
    "replica/diverged_because",
    "replica/evaluation/episode_return_mean", "replica/num_env_steps_sampled_lifetime",
    "evaluation/episode_return_mean", "stop.num_env_steps_sampled_lifetime", "trials", "concurrent",
    "network", "type", "shape", "low", "n", "hiddens", "id", "module", "kwargs", "versions", "git",
    "resumed", "lr", "", "a.b", "$float", "crc", "line", "files", "seal", "seals",
    "working_directory", "score", "judged", "excluded", "verdict", "agent", "deviation", "since",
    "host", "retrained_as",
    "search_paths", "wrappers", "name", "finalists", "baseline", "stop", "objective", "schedules",
    "agent/replica", "agent/episode_returns", "replica/confirmation/episode_return_mean",
    "env_steps_per_s", "decision", "stopped_by", "of",
)  # fmt: skip
FRAGMENTS = (
    *(b"\0", b"\xff", b"\n", b"{", b"}", b"[", b"]", b'"', b",", b":", b"9" * 30, b"\x1b[2J"),
    *(b"9" * 400, b"NaN", b"Infinity", b"-Infinity", b"1e999", b"\\ud800", b"\\u0000"),
)


@dataclass(frozen=True)
class Mutation:
    """What was done to a run folder; ``apply`` does it to a fresh copy."""

    file: str
    kind: str
    apply: Callable[[Path], None]

    def __str__(self) -> str:
        return f"{self.kind} of {self.file}"


def extract_run(storage: Path, name: str = "torch-ppo") -> Path:
    """A real run of an earlier version, with checksums in its journal."""
    with tarfile.open(DATA / f"{name}.tar.xz") as archive:
        archive.extractall(storage, filter="data")
    journal = storage / name / "journal.jsonl"
    documents = [json.loads(line) for line in journal.read_bytes().splitlines()]
    documents[0]["version"] = 1
    journal.write_bytes(b"".join(map(encode_line, documents)))
    return storage / name


def change_spec(run: Path, change: dict[str, str]) -> None:
    """Change texts in a run's spec and in its journal's, as who made the run could."""
    paths = RunPaths(run)
    documents = [json.loads(line) for line in paths.journal.read_bytes().splitlines()]
    for old, new in change.items():
        text = paths.spec.read_text()
        assert old in text
        paths.spec.write_text(text.replace(old, new))
        documents[0]["spec"] = documents[0]["spec"].replace(old, new)
    paths.journal.write_bytes(b"".join(map(encode_line, documents)))


def mutations(run: Path, number: int, seed: int, victim: Path) -> Iterator[Mutation]:
    """Mutations of a run folder, the same ones for the same seed.

    Args:
        run: the folder, which stays as it is.
        number: how many.
        seed: of the choices.
        victim: a folder that links lead to.
    """
    random = Random(seed)  # noqa: S311 - mutations, not secrets
    files = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if not path.is_dir())
    weights = [8 if name == "journal.jsonl" else 2 if "agent" in name else 1 for name in files]
    for _ in range(number):
        name = random.choices(files, weights)[0]
        data = (run / name).read_bytes()
        kind = random.random()
        if kind < 0.06:
            yield _mutate_place(name, victim, random)
        elif kind < 0.3 or not name.endswith((".json", ".jsonl")):
            yield _write(name, "bytes", _mutate_bytes(data, random))
        elif name.endswith(".jsonl"):
            yield _write(name, "lines", _mutate_lines(data, random))
        else:
            document = json.loads(data)
            for _ in range(random.choice((1, 1, 2))):
                (_mutate_number if random.random() < 0.3 else mutate_tree)(document, random)
            yield _write(name, "values", dump(document))


def _write(name: str, kind: str, data: bytes) -> Mutation:
    return Mutation(name, kind, lambda run: (run / name).write_bytes(data) and None)


def _mutate_place(name: str, victim: Path, random: Random) -> Mutation:
    """Something else in place of a file, or of a folder above it."""
    parts = name.split("/")
    place = "/".join(parts[: random.randint(1, len(parts))])
    kinds: dict[str, Callable[[Path], None]] = {
        "loss": lambda path: None,
        "link": lambda path: path.symlink_to(victim),
        "link to a file": lambda path: path.symlink_to(victim / "file"),
        "dangling link": lambda path: path.symlink_to(victim / "gone"),
        "pipe": lambda path: os.mkfifo(path),
        "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o644),
        "folder": lambda path: path.mkdir(),
        "folders without an end": _make_deep,
        "empty file": lambda path: path.touch(),
    }
    kind = random.choice(list(kinds))

    def apply(run: Path) -> None:
        path = run / place
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        kinds[kind](path)

    return Mutation(place, kind, apply)


def _make_deep(path: Path) -> None:
    for _ in range(1200):
        path.mkdir()
        path /= "a"


def _mutate_bytes(data: bytes, random: Random) -> bytes:
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(data) + 1)
        kind = random.randrange(6)
        if kind == 0:
            data = data[:at] + data[at + random.randint(1, 40) :]
        elif kind == 1:
            data = data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
        elif kind == 2:
            data = data[:at] + random.choice(FRAGMENTS) + data[at:]
        elif kind == 3:
            data = data[:at] + bytes(min(512, len(data) - at)) + data[at + 512 :]
        elif kind == 4:
            depth = random.choice((60, 500, 900, 3000))
            data = data[:at] + random.choice((b"[", b'{"a":')) * depth + data[at:]
        else:
            data = data[:at]
    return data


def _mutate_lines(data: bytes, random: Random) -> bytes:
    """Change values of some lines, whose checksums fit all the same, or their order."""
    lines = data.splitlines(keepends=True)
    for _ in range(random.choice((1, 1, 2, 4))):
        at = _choose_line(lines, random)
        kind = random.random()
        if kind < 0.08:
            del lines[at]
        elif kind < 0.16:
            lines.insert(random.randrange(len(lines) + 1), lines[at])
        elif kind < 0.22:
            other = random.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind < 0.26:
            del lines[at:]
        else:
            try:
                document = json.loads(lines[at])
            except RecursionError:  # it was changed already
                continue
            document.pop("crc", None)
            (_mutate_number if random.random() < 0.4 else mutate_tree)(document, random)
            lines[at] = _encode(document)
        if not lines:
            break
    return b"".join(lines)


def _choose_line(lines: list[bytes], random: Random) -> int:
    """Any line, or as often the last one of a kind: the last report decides more than others."""
    if random.random() < 0.5:
        return random.randrange(len(lines))
    last = {line.partition(b",")[0]: index for index, line in enumerate(lines)}
    return random.choice(list(last.values()))


def dump(document: Any) -> bytes:
    """A document as JSON, also with what JSON does not have and Python reads, as NaN.

    A text such as ``<500 [>`` becomes lists in lists, which are deeper than Python writes.
    """
    return _NESTED.sub(_nest, json.dumps(document)).encode()


def _nest(match: re.Match[str]) -> str:
    depth = int(match[1])
    return "[" * depth + "]" * depth if match[2] == "[" else '{"a":' * depth + "1" + "}" * depth


def _encode(document: Any) -> bytes:
    """A line whose checksum fits, whatever it holds."""
    text = dump(document)[:-1]
    return b'%s, "crc": "%08x"}\n' % (text, zlib.crc32(text))


def mutate_tree(tree: Any, random: Random) -> None:
    """Change, add, remove or rename one value of a document, anywhere in it."""
    holders = list(_holders(tree))
    # Those near the root are as likely as the many below.
    holder = random.choice(holders if random.random() < 0.6 else holders[:3])
    value = copy.deepcopy(random.choice(VALUES))
    if isinstance(holder, list):
        if holder and random.random() < 0.7:
            holder[random.randrange(len(holder))] = value
        else:
            holder.insert(random.randrange(len(holder) + 1), value)
        return
    kind = random.random()
    if kind < 0.65 and holder:
        holder[random.choice(list(holder))] = value
    elif kind < 0.8 and holder:
        del holder[random.choice(list(holder))]
    elif kind < 0.9 and holder:
        holder[random.choice(KEYS)] = holder.pop(random.choice(list(holder)))
    else:
        holder[random.choice(KEYS)] = value


_NESTED = re.compile(r'"<(\d+) ([\[{])>"')


def _mutate_number(tree: Any, random: Random) -> None:
    """Put one that no reader expects in the place of a number, or of all in a list."""
    places = [
        (holder, key)
        for holder in _holders(tree)
        for key, value in (holder.items() if isinstance(holder, dict) else enumerate(holder))
        if isinstance(value, int | float) or (isinstance(value, list) and value)
    ]
    if places:
        holder, key = random.choice(places)
        number = random.choice(NUMBERS)
        is_list = isinstance(holder[key], list) and random.random() < 0.7
        holder[key] = [number] * len(holder[key]) if is_list else number


def _holders(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict | list):
        yield tree
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from _holders(value)
