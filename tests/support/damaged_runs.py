"""Every verb on damaged run folders, as a user would call it, in one process."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from run_folders import add_confirmation
from run_mutations import extract_run, mutations

from sweeper import api
from sweeper.checkpoint_marker import mark_complete
from sweeper.cli.app import main
from sweeper.evidence.selection import write_selection
from sweeper.opened_run import open_run
from sweeper.paths import RunPaths
from sweeper.run_files import delete_tree
from sweeper.tracking.destination import import_mlflow

MAX_S = 10.0
SHORTLY = ("--episodes", "1", "--max-episode-steps", "5")
# `resume` and `train` are called as far as the launch, in which nothing of the folder is read
# any more.
VERBS: tuple[tuple[str, ...], ...] = (
    ("list",),
    ("list", "--json"),
    ("status", "RUN"),
    ("status", "RUN", "--json"),
    ("results", "RUN"),
    ("results", "RUN", "--json"),
    ("results", "RUN", "--csv"),
    ("results", "RUN", "--parquet", "OUT/trials.parquet"),
    ("results", "RUN", "--lineage"),
    ("results", "RUN", "--stage", "confirmation", "--json"),
    ("best", "RUN"),
    ("best", "RUN", "--threshold", "100", "--json"),
    ("advise", "RUN"),
    ("advise", "RUN", "--json"),
    ("report", "RUN"),
    ("report", "RUN", "-o", "OUT/report.html"),
    ("compare", "whole-20260101-000000", "RUN"),
    ("compare", "RUN", "whole-20260101-000000", "--json"),
    ("plan", "alike.yaml", "--json"),
    ("logs", "RUN"),
    ("logs", "RUN", "t0001"),
    ("logs", "RUN", "t0001", "-n", "3"),
    ("clean", "--keep", "0", "--json"),
    ("evaluate", "RUN", *SHORTLY),
    ("evaluate", "RUN/trials/t0002/checkpoint_000008", *SHORTLY),
    ("inspect", "RUN"),
    ("inspect", "RUN/trials/t0002/checkpoint_000008", "--json"),
    ("trace", "RUN", *SHORTLY, "-o", "OUT/steps.jsonl"),
    ("trace", "RUN/trials/t0002/checkpoint_000008", *SHORTLY, "-o", "OUT/steps.parquet"),
    ("video", "RUN", *SHORTLY, "-o", "OUT/film.gif"),
    ("export", "RUN", "-o", "OUT/agent", "--overwrite"),
    ("export", "RUN", "--spec", "-o", "OUT/spec.yaml", "--overwrite"),
    ("stack", "RUN"),
    ("train", "train.yaml", "--from", "RUN", "-q"),
    ("resume", "RUN", "-q"),
    ("resume", "RUN", "-q", "--stop", "budget.env_steps=900000", "--retry-errored"),
    ("confirm", "RUN", "-q"),
    ("stop", "RUN"),
)  # fmt: skip
TRAINED = """
environment: CartPole-v1
algorithm: PPO
param_space: {model_config: {fcnet_hiddens: [4]}}
stop: {num_env_steps_sampled_lifetime: 300}
"""
# It takes about a second, most of it in MLflow.
LOG = ("log", "RUN", "--uri", "sqlite:///OUT/mlflow.db", "--experiment", "fuzz")
_WRITING = ("resume", "confirm", "evaluate", "stop", "log")


class HangError(Exception):
    """A verb took longer than `MAX_S`."""


@dataclass
class Findings:
    """What went wrong, and how long the slowest call took."""

    wrong: list[str] = field(default_factory=list)
    codes: dict[Any, int] = field(default_factory=dict)
    slowest: float = 0.0


def run_campaign(
    place: Path,
    number: int,
    seed: int,
    patch: pytest.MonkeyPatch,
    *,
    verbs_each: int = len(VERBS),
    log_every: int | None = None,
) -> Findings:
    """Call verbs after each of a number of mutations.

    Args:
        place: an empty folder.
        number: of mutations.
        seed: of the mutations.
        patch: undone by the caller.
        verbs_each: how many verbs after each mutation, in turn; all by default.
        log_every: after how many mutations `LOG` is called, too; never by default.
    """
    pristine, confirmed = _make_pristine(place)
    storage, victim = place / "runs", place / "victim"
    shutil.copytree(confirmed, storage / "whole-20260101-000000")
    (place / "out").mkdir()
    victim.mkdir()
    (victim / "file").write_text("precious\n")
    run = storage / "damaged-20260102-000000"
    patch.chdir(place)
    patch.setattr(sys, "path", list(sys.path))
    patch.setattr(api, "run_launch", _end_before_the_launch)
    findings = Findings()
    if log_every:  # to make a database takes seconds
        import_mlflow().MlflowClient(tracking_uri="sqlite:///out/mlflow.db").search_experiments()
    before = _snapshot(place, run)
    generators = [mutations(one, number, seed, victim) for one in (pristine, confirmed)]
    with _alarm():
        for index in range(number):
            # The same files are changed in either, so each has its own changes.
            source, mutation = (pristine, confirmed)[index % 2], next(generators[index % 2])
            turn = itertools.islice(itertools.cycle(VERBS), index * verbs_each, None)
            verbs = [*itertools.islice(turn, verbs_each)]
            if log_every and index % log_every == 0:
                verbs.append(LOG)
            for words in verbs:
                if not run.is_dir():
                    shutil.copytree(source, run)
                    mutation.apply(run)
                _call(words, run, f"{index}: {mutation}", findings)
                if words[0] in _WRITING:
                    _remove(run)
            _remove(run)
            if _snapshot(place, run) != before:
                findings.wrong.append(f"{index}: {mutation}: something outside was touched")
                break
    return findings


def _make_pristine(place: Path) -> tuple[Path, Path]:
    """A run with all that one may hold, and the same with a confirmation; and a spec like its."""
    pristine = extract_run(place / "pristine")
    for checkpoint in pristine.glob("trials/*/checkpoint_*"):
        mark_complete(checkpoint)
    (pristine / ".lock").write_text(json.dumps({"pid": 7, "host": "here", "since": 1.0}))
    confirmed = place / "confirmed" / pristine.name
    shutil.copytree(pristine, confirmed)
    add_confirmation(RunPaths(confirmed), judged_by="evaluation/episode_return_mean")
    (checkpoint,) = pristine.glob("trials/t0002/checkpoint_*")
    retrained = confirmed / "trials" / "c0001" / "checkpoint_000000"
    shutil.copytree(checkpoint, retrained, dirs_exist_ok=True)
    selection = open_run(confirmed).selection
    assert selection.confirmed is not None
    write_selection(RunPaths(confirmed).selection, selection)
    shutil.copy(pristine / "spec.yaml", place / "alike.yaml")
    (place / "train.yaml").write_text(TRAINED)
    return pristine, confirmed


def _end_before_the_launch(*arguments: Any) -> Any:
    raise KeyboardInterrupt


def _call(words: tuple[str, ...], run: Path, mutation: str, findings: Findings) -> None:
    names = {"RUN": f"runs/{run.name}", "OUT": "out"}
    arguments = [re.sub("RUN|OUT", lambda found: names[found[0]], word) for word in words]
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    started = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, MAX_S)
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            _arguments(arguments),
        ):
            main()
    except SystemExit as stop:
        code = stop.code or 0
        findings.codes[code] = findings.codes.get(code, 0) + 1
        if code not in (0, 1, 2, 130):
            findings.wrong.append(f"{mutation}: {' '.join(words)}: exit code {code}")
        elif code and not err.getvalue().strip():
            findings.wrong.append(f"{mutation}: {' '.join(words)}: nothing was said")
    except BaseException as error:
        findings.wrong.append(f"{mutation}: {' '.join(words)}: {_where(error)}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    out.flush()
    printed = out.buffer.getvalue().decode("utf-8", "replace") + err.getvalue()  # type: ignore[attr-defined]
    if "Traceback" in printed:
        findings.wrong.append(f"{mutation}: {' '.join(words)}: {printed[-600:]}")
    findings.slowest = max(findings.slowest, time.perf_counter() - started)


def _where(error: BaseException) -> str:
    frames, at = [], error.__traceback__
    while at is not None:
        frames.append(f"{Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}")
        at = at.tb_next
    return f"{type(error).__name__}: {str(error)[:200]} at {' '.join(frames[-4:])}"


@contextlib.contextmanager
def _arguments(arguments: list[str]) -> Iterator[None]:
    before, sys.argv = sys.argv, ["sweeper", *arguments]
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        sys.argv = before
        signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise HangError(f"took longer than {MAX_S:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def _remove(run: Path) -> None:
    if run.is_dir():
        delete_tree(run)


def _snapshot(place: Path, run: Path) -> dict[str, Any]:
    """Names, sizes and times of everything but the damaged run, and what verbs are to write."""
    found: dict[str, Any] = {}
    for folder, _, names in os.walk(place):
        for name in names:
            path = Path(folder) / name
            if run not in path.parents and place / "out" not in path.parents:
                status = path.lstat()
                found[str(path)] = (status.st_size, status.st_mtime_ns, status.st_mode)
    return found
