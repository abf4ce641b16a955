"""A run's own spec may come from somebody else: it reads no other file, and no variable."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import sweeper_here
from run_folders import make_run
from run_mutations import change_spec, extract_run

from sweeper.errors import SpecError
from sweeper.paths import RunPaths
from sweeper.planning.plan import load_plan
from sweeper.spec import dump_spec, load_record, load_spec

SECRET = "s3cr3t-Zq9-reader"  # noqa: S105 - no real one
READING = (
    ("list",),
    ("status", "RUN"),
    ("results", "RUN"),
    ("results", "RUN", "--json"),
    ("best", "RUN"),
    ("best", "RUN", "--json"),
    ("advise", "RUN"),
    ("logs", "RUN"),
    ("evaluate", "RUN", "--episodes", "1"),
)
VERBS = (*READING, ("resume", "RUN", "-q"), ("confirm", "RUN", "-q"), ("log", "RUN"), ("ui", "RUN"))
SPEC = """
name: received
environment: CartPole-v1
algorithm: SAC
backend: rllib
seeds: [0, 1]
stop: {num_env_steps_sampled_lifetime: 1024}
selection: {metric: METRIC, finalists: 0, baseline: defaults}
tracking: null
"""
TRACKED = "tracking: {uri: 'http://127.0.0.1:9', experiment: '${env:PRIVATE}'}"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRIVATE", SECRET)
    return extract_run(tmp_path / "runs")


def run_verb(words: tuple[str, ...], place: Path) -> tuple[int, str]:
    done = sweeper_here(*(word.replace("RUN", "runs/torch-ppo") for word in words), cwd=place)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
@pytest.mark.parametrize(
    "change",
    [
        # SAC's trials may report any metric of the learner.
        {"METRIC": '"learner/${env:PRIVATE}"'},
        {"METRIC": '"learner/a${ env:PRIVATE }"'},
        {"name: received": 'name: "${env:PRIVATE}"'},
        {"baseline: defaults": 'baseline: "${env:PRIVATE}"'},
        {"tracking: null": TRACKED},
    ],
    ids=lambda change: next(iter(change)).partition(":")[0],
)
def test_no_verb_puts_the_reader_s_variables_in_place(
    words: tuple[str, ...],
    change: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PRIVATE", SECRET)
    run = extract_run(tmp_path / "runs", "rllib-ppo")
    shutil.move(run, run := run.with_name("torch-ppo"))
    change_spec(run, {(run / "spec.yaml").read_text(): SPEC})
    change_spec(run, {**change, "METRIC": change.get("METRIC", "episode_return_mean")})
    code, said = run_verb(words, tmp_path)
    assert code in (0, 1, 2), said
    assert "Traceback" not in said
    assert SECRET not in said
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in left if SECRET.encode() in path.read_bytes()] == []


def test_a_reference_stays_the_text_that_it_is(run: Path) -> None:
    change_spec(run, {"tracking: null": TRACKED})
    paths = RunPaths(run)
    spec = load_record(paths.spec)
    assert spec.tracking is not None
    assert spec.tracking.experiment == "${env:PRIVATE}"
    again = load_record(paths.spec, text=dump_spec(spec))
    assert again == spec
    assert "$${env:PRIVATE}" in dump_spec(again)


def test_what_a_launch_records_is_read_back_the_same(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(
        "name: a\nenvironment: {id: CartPole-v1, kwargs: {t: '${env:PRIVATE}', u: '$${x}'}}\n"
        "algorithm: PPO\nstop: {num_env_steps_sampled_lifetime: 100}\n"
        "tracking: {experiment: '$${env:X}'}\n"
    )
    spec = load_spec(file)
    text = dump_spec(spec)
    assert load_record(file, text=text) == load_spec(file, text=text) == spec
    assert load_record(file, text=text).environment.kwargs == {"t": "${env:PRIVATE}", "u": "$${x}"}


# -- other files -------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [*READING, ("resume", "RUN", "-q")], ids=" ".join)
@pytest.mark.parametrize("kind", ["link", "pipe", "extends"])
def test_no_verb_reads_another_file_for_the_spec(
    words: tuple[str, ...], kind: str, run: Path, tmp_path: Path
) -> None:
    private = tmp_path / "private.yaml"
    shutil.copy(run / "spec.yaml", private)
    private.write_text(private.read_text().replace("torch-ppo", SECRET))
    if kind == "extends":
        change_spec(run, {"name: torch-ppo": f"extends: {private}"})
    else:
        (run / "spec.yaml").unlink()
        if kind == "link":
            (run / "spec.yaml").symlink_to(private)
        else:
            os.mkfifo(run / "spec.yaml")
    code, said = run_verb(words, tmp_path)
    assert SECRET not in said
    assert "Traceback" not in said
    if words[0] in ("list", "logs", "evaluate"):
        return  # which need no more of the run than they can read
    if (words[0], kind) == ("resume", "pipe"):
        return  # the spec is written again
    assert code == 2, said
    words_of = {"link": "it is a link to", "pipe": "it is a named pipe", "extends": "extends no"}
    assert words_of[kind] in " ".join(said.split())


def test_what_is_no_spec_is_said_in_a_sentence(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "a-20260101-000000")
    cases: dict[str, Any] = {
        "a run's record extends no other file": f"extends: x.yaml\n{paths.spec.read_text()}",
        "the file has more than 1 MiB": "#" * (1 << 20) + "\n",
        "not UTF-8 text": b"\xff",
    }
    for words, content in cases.items():
        data = content if isinstance(content, bytes) else content.encode()
        paths.spec.write_bytes(data)
        with pytest.raises(SpecError, match=words):
            load_record(paths.spec)


def test_a_plan_of_one_s_own_learns_from_no_stranger_s_variables(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change_spec(run, {"metric: evaluation/episode_return_mean": 'metric: "learner/${env:PRIVATE}"'})
    file = tmp_path / "own.yaml"
    file.write_text(
        "environment: CartPole-v1\nalgorithm: PPO\nparam_space: {lr: {uniform: [0.001, 0.1]}}\n"
        "search: {num_samples: 2, points_to_evaluate: {from: torch-ppo, top: 1}}\n"
        "stop: {num_env_steps_sampled_lifetime: 100}\ntracking: null\n"
    )
    with pytest.raises(SpecError) as refused:
        load_plan(file)
    assert SECRET not in str(refused.value)
    assert json.loads((run / "plan.json").read_text())
