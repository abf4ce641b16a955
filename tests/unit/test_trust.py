"""A run from somebody else runs no code unless the user trusts it, whatever the verb.

The code that such a run brings leaves a file behind, so that it shows whether it ran.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import sweeper_here
from run_mutations import change_spec, extract_run

from sweeper.api import confirm, resume
from sweeper.environments.settings import EnvironmentSettings, WrapperSettings
from sweeper.errors import UserError
from sweeper.journal import JournalError
from sweeper.journal_lines import encode_line
from sweeper.opened_agent import load_agent
from sweeper.paths import RunPaths
from sweeper.relocation import relocate
from sweeper.running.launch import write_provenance
from sweeper.running.provenance import describe_environment
from sweeper.seals import is_folder_sealed, seal_folder
from sweeper.spec import load_spec
from sweeper.trust import (
    find_foreign_baseline,
    find_foreign_environment,
    find_foreign_servers,
    make_seals,
)

EVIL = """
from pathlib import Path
Path({mark!r}).touch()
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv
gymnasium.register("{module}-v0", entry_point=CartPoleEnv, max_episode_steps=500)
"""
READING = (
    ("list",),
    ("status", "RUN"),
    ("results", "RUN"),
    ("results", "RUN", "--csv"),
    ("best", "RUN"),
    ("best", "RUN", "--json"),
    ("logs", "RUN"),
    ("clean", "RUN", "--json"),
    ("evaluate", "--help"),
)
RUNNING = (
    ("evaluate", "RUN", "--episodes", "1"),
    ("evaluate", "RUN/trials/t0002/checkpoint_000008", "--episodes", "1"),
    ("resume", "RUN", "-q"),
    ("confirm", "RUN", "-q"),
)


class _Touch:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the run of somebody else whose environment is a module in it."""
    run = extract_run(tmp_path / "runs")
    module = f"evil_{tmp_path.name}".replace("-", "_").replace("[", "_").replace("]", "_")[:60]
    (run / f"{module}.py").write_text(EVIL.format(mark=str(tmp_path / "mark"), module=module))
    brought = f"environment: {{id: {module}-v0, module: {module}, search_paths: [{run}]}}"
    change_spec(run, {"environment: {id: CartPole-v1}": brought})
    for agent in run.rglob("agent.json"):
        document = json.loads(agent.read_text())
        document["environment"] |= {
            "id": f"{module}-v0",
            "module": module,
            "search_paths": [str(run)],
        }
        agent.write_text(json.dumps(document))
    return tmp_path


def run_verb(words: tuple[str, ...], place: Path) -> tuple[int, str]:
    done = sweeper_here(*(word.replace("RUN", "runs/torch-ppo") for word in words), cwd=place)
    return done.returncode, done.stdout + done.stderr


def test_a_module_that_came_with_a_moved_run_is_foreign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("project", "moved", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    folders = (str(tmp_path / "project"),)
    recorded = EnvironmentSettings(id="X-v0", module="mine.envs", search_paths=folders)
    paths = RunPaths(tmp_path / "moved" / "runs" / "x-20260101-000000")
    paths.root.mkdir(parents=True)
    paths.environment.write_text(json.dumps({"seals": make_seals(recorded, {})}))
    now = replace(recorded, search_paths=(str(tmp_path / "moved"), *folders, str(Path.cwd())))
    (tmp_path / "project" / "mine.py").touch()
    assert find_foreign_environment(now, paths, recorded=recorded) == []  # where it was recorded
    (tmp_path / "elsewhere" / "mine").mkdir()
    assert find_foreign_environment(now, paths, recorded=recorded) == []  # which comes first
    (tmp_path / "moved" / "mine.py").touch()
    (action,) = find_foreign_environment(now, paths, recorded=recorded)
    assert action.startswith(f"import mine.envs (looked up in {tmp_path}/moved, ")
    (tmp_path / "moved" / "mine.py").unlink()
    (tmp_path / "project" / "mine.py").unlink()
    # Now only in the working folder.
    assert find_foreign_environment(now, paths, recorded=recorded) != []


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_reading_runs_no_code(words: tuple[str, ...], place: Path) -> None:
    code, said = run_verb(words, place)
    assert code == 0, said
    assert not (place / "mark").exists()


@pytest.mark.parametrize("words", RUNNING, ids=" ".join)
def test_a_verb_that_runs_code_refuses_and_names_it(words: tuple[str, ...], place: Path) -> None:
    code, said = run_verb(words, place)
    assert code == 2
    assert "was not made by this user on this machine" in said
    assert f"import evil_{place.name}"[:20] in said
    assert "add --trust" in said
    assert not (place / "mark").exists()


@pytest.mark.parametrize("words", RUNNING[:3], ids=" ".join)
def test_with_trust_none_not_even_ones_own_code_is_run(words: tuple[str, ...], place: Path) -> None:
    run = place / "runs" / "torch-ppo"
    settings = EnvironmentSettings.from_json(
        json.loads((run / "champion" / "agent.json").read_text())["environment"]
    )
    document = json.loads((run / "environment.json").read_text())
    marks = make_seals(settings, {})
    (run / "environment.json").write_text(json.dumps({**document, "seals": marks}))
    seal_folder(run / "champion")
    for folder in run.glob("trials/*/checkpoint_*"):
        seal_folder(folder)
    code, said = run_verb((*words, "--trust", "none"), place)
    assert code == 2
    assert "with --trust none nothing of" in said
    assert "import evil_" in said
    assert not (place / "mark").exists()


def test_a_trusted_run_says_what_it_imports_and_goes_on(place: Path) -> None:
    code, said = run_verb(("evaluate", "RUN", "--episodes", "1", "--trust"), place)
    assert code == 0, said
    assert "is trusted, so this is done as it says:\n  import evil_" in said
    assert (place / "mark").exists()


def test_a_run_without_code_of_its_own_needs_no_trust(tmp_path: Path) -> None:
    extract_run(tmp_path / "runs")
    code, said = run_verb(("evaluate", "RUN", "--episodes", "1"), tmp_path)
    assert code == 0, said


def hostile_rllib_checkpoint(folder: Path, mark: Path) -> None:
    module = folder / "learner_group" / "learner" / "rl_module" / "default_policy"
    module.mkdir(parents=True)
    (folder / "rllib_checkpoint.json").write_text("{}")
    (module / "class_and_ctor_args.pkl").write_bytes(pickle.dumps(_Touch(mark)))


@pytest.fixture
def pickled(tmp_path: Path) -> Iterator[Path]:
    """A torch run whose champion is one of RLlib's checkpoints, with a pickle that acts."""
    run = extract_run(tmp_path / "runs")
    shutil.rmtree(run / "champion")
    hostile_rllib_checkpoint(run / "champion", tmp_path / "mark")
    yield tmp_path
    assert not (tmp_path / "mark").exists()


def test_a_pickle_in_a_torch_run_is_not_loaded(pickled: Path) -> None:
    code, said = run_verb(("evaluate", "RUN"), pickled)
    assert code == 2
    assert f"unpickle {pickled / 'runs' / 'torch-ppo' / 'champion'}" in said


def test_an_agent_is_loaded_in_python_under_the_same_condition(pickled: Path) -> None:
    champion = pickled / "runs" / "torch-ppo" / "champion"
    with pytest.raises(UserError, match=r"unpickle .*champion\n(.|\n)*trust=True"):
        load_agent(champion)
    shutil.move(champion / "learner_group", champion / "checkpoint" / "learner_group")
    shutil.move(champion / "rllib_checkpoint.json", champion / "checkpoint")
    (champion / "agent.json").write_text('{"backend": "rllib"}')
    with pytest.raises(UserError, match="unpickle"):
        load_agent(champion)


def test_the_pickles_of_an_rllib_run_are_named_before_it_goes_on(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs", "rllib-ppo")
    shutil.move(run, run.with_name("torch-ppo"))
    code, said = run_verb(("resume", "RUN", "--stop", "budget.env_steps=1000000"), tmp_path)
    assert code == 2
    assert "unpickle " in said
    assert "trials/t0002/checkpoint_" in said


def test_a_server_that_somebody_else_named_is_not_connected_to(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")
    change_spec(run, {"tracking: null": "tracking: {uri: 'http://127.0.0.1:9', experiment: x}"})
    for verb in ("resume", "log", "ui"):
        code, said = run_verb((verb, "RUN"), tmp_path)
        assert code == 2, said
        assert "connect to http://127.0.0.1:9 (tracking.uri)" in said
    change_spec(run, {"http://127.0.0.1:9": f"sqlite:///{tmp_path}/mine.db"})
    code, said = run_verb(("log", "RUN"), tmp_path)
    assert code == 2, said
    assert not (tmp_path / "mine.db").exists()


CALL = {"type": "subprocess.call", "args": ["touch", "mark"]}


def change_event(run: Path, kind: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the first event of a kind, with a checksum that fits, as who made the run could."""
    journal = RunPaths(run).journal
    documents = [json.loads(line) for line in journal.read_bytes().splitlines()]
    change(next(one for one in documents if one["event"] == kind))
    journal.write_bytes(b"".join(map(encode_line, documents)))


@pytest.mark.parametrize(
    "change",
    [
        lambda event: event["parameters"].update(replay_buffer_config=CALL),
        lambda event: event["configuration"].update(replay_buffer_config=CALL),
        lambda event: event["configuration"].update(replay_buffer_config={**CALL, "capacity": 9}),
        lambda event: event["parameters"].update(callbacks_class="evil.Callbacks"),
        lambda event: event["parameters"].update(grad_clip_by="evil"),
        lambda event: event["parameters"].update(model_config={"custom": ["evil"]}),
        lambda event: event["configuration"].update(lr=["evil"]),
    ],
)
@pytest.mark.parametrize("name", ["rllib-dqn", "torch-ppo"])
@pytest.mark.parametrize("verb", [resume, confirm])
def test_a_recorded_configuration_is_one_that_a_spec_can_have(
    verb: Callable[..., object],
    name: str,
    change: Callable[[dict[str, Any]], object],
    tmp_path: Path,
) -> None:
    run = extract_run(tmp_path / "runs", name)
    change_event(run, "trial_asked", change)
    with pytest.raises(JournalError, match=r"t0001: [a-z_.]+: .*restore the file from a copy"):
        verb(run, trust=True)


def test_a_champion_is_no_way_around_the_seals(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")
    module = f"evil_{tmp_path.name}"[:40].replace("-", "_")
    (run / f"{module}.py").write_text(EVIL.format(mark=str(tmp_path / "mark"), module=module))
    for agent in (run / "trials").rglob("agent.json"):
        document = json.loads(agent.read_text())
        document["environment"] |= {
            "id": f"{module}-v0",
            "module": module,
            "search_paths": [str(run)],
            "wrappers": [{"name": "RecordVideo", "kwargs": {"video_folder": str(tmp_path / "x")}}],
        }
        agent.write_text(json.dumps(document))
    (run / "selection.json").unlink()
    shutil.rmtree(run / "champion")
    resume(run)  # which writes both again
    assert json.loads((run / "champion" / "agent.json").read_text())["environment"]["id"] == (
        "CartPole-v1"
    )
    assert not is_folder_sealed(run / "champion"), "it is somebody else's as before"
    code, said = run_verb(("evaluate", "RUN", "--episodes", "1"), tmp_path)
    assert code == 0, said
    assert not (tmp_path / "mark").exists()
    assert not (tmp_path / "x").exists()


def test_a_recorded_number_may_be_any(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")
    change_event(run, "trial_asked", lambda event: event["parameters"].update(lr=-1.0))
    resume(run)  # there is nothing left to do


# -- arguments that may be paths ---------------------------------------------------------------


def record_video(run: Path, folder: Path) -> None:
    """Have the run's environment write videos to a folder, as who made the run could."""
    wrapped = "environment:\n  id: CartPole-v1\n  kwargs: {render_mode: rgb_array}\n  wrappers:\n"
    wrapped += f"  - RecordVideo: {{video_folder: {folder}}}"
    change_spec(run, {"environment: {id: CartPole-v1}": wrapped})
    for agent in run.rglob("agent.json"):
        document = json.loads(agent.read_text())
        document["environment"] |= {
            "kwargs": {"render_mode": "rgb_array"},
            "wrappers": [{"name": "RecordVideo", "kwargs": {"video_folder": str(folder)}}],
        }
        agent.write_text(json.dumps(document))


@pytest.mark.parametrize("words", RUNNING, ids=" ".join)
def test_a_wrapper_writes_to_no_folder_that_somebody_else_named(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    victim = tmp_path / "home" / "x"
    record_video(extract_run(tmp_path / "runs"), victim)
    code, said = run_verb(words, tmp_path)
    assert code == 2, said
    assert f"give the wrapper RecordVideo video_folder: '{str(victim)[:20]}" in said
    assert "give CartPole-v1 render_mode: 'rgb_array', which may be a path" in said
    assert "add --trust" in said
    assert not victim.parent.exists()


@pytest.mark.parametrize(
    ("value", "is_named"),
    [
        *(("x", True), ("", True), (["a"], True), ({"a": 1}, True), ([[{"b": [None, "c"]}]], True)),
        *((1, False), (0.5, False), (True, False), (None, False), ([1, [2.0, None]], False)),
        *(([], False), ({}, False)),
    ],
)
@pytest.mark.parametrize("place", ["environment", "wrapper"])
def test_an_argument_that_holds_a_text_is_named(place: str, value: Any, is_named: bool) -> None:
    given = {"n": 1, "there": value}
    if place == "wrapper":
        settings = EnvironmentSettings("CartPole-v1", {}, (WrapperSettings("Clip", given),))
    else:
        settings = EnvironmentSettings("CartPole-v1", given, (WrapperSettings("Flatten"),))
    found = find_foreign_environment(settings, None)
    assert len(found) == is_named
    owner = "CartPole-v1" if place == "environment" else "the wrapper Clip"
    assert all(one.startswith(f"give {owner} there: ") for one in found)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("b.yaml", "read the spec RUN/b.yaml (selection.baseline)"),
        # The copy that a launch keeps, which is read as the run's own spec is.
        ("baseline.yaml", "is for another environment: '${env:PRIVATE}'"),
    ],
)
def test_a_baseline_that_somebody_else_named_reads_no_variable(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIVATE", "s3cr3t-Zq9")
    run = extract_run(tmp_path / "runs")
    (run / name).write_text(
        "environment: {id: '${env:PRIVATE}'}\nalgorithm: PPO\nstop: {time_total_s: 1}\n"
    )
    change_spec(
        run, {"finalists: 0": "finalists: 1", "baseline: defaults": f"baseline: {run / 'b.yaml'}"}
    )
    code, said = run_verb(("resume", "RUN", "-q"), tmp_path)
    assert code == 2
    assert words.replace("RUN", str(run)) in " ".join(said.split())
    assert "s3cr3t" not in said


def test_a_preset_that_somebody_else_named_is_ours_and_needs_no_trust(tmp_path: Path) -> None:
    paths = RunPaths(extract_run(tmp_path / "runs"))
    assert find_foreign_baseline(paths, "zoo:cartpole_ppo") == []
    assert find_foreign_baseline(paths, "/srv/zoo:cartpole_ppo") != []
    # What is none leads nowhere.
    changes = {"finalists: 0": "finalists: 1", "baseline: defaults": "baseline: 'zoo:../b'"}
    (paths.root.parent / "b.yaml").write_text("environment: CartPole-v1")
    change_spec(paths.root, changes)
    code, said = run_verb(("resume", "RUN", "-q"), tmp_path)
    assert code == 2
    assert "there is no preset 'zoo:../b'" in " ".join(said.split())


# -- what this user made -----------------------------------------------------------------------

OWN = EnvironmentSettings(
    "Mine-v0",
    kwargs={"size": 3},
    wrappers=(WrapperSettings("my_wrappers.Noise", {"scale": 0.1}),),
    module="my_envs",
    search_paths=("/home/me/project", "envs"),
)
SERVERS = {"ray.address": "10.0.0.1:6379", "tracking.uri": "http://mlflow:5000"}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPaths:
    """A run of this user's, as a launch records it."""
    monkeypatch.chdir(tmp_path)
    paths = RunPaths(tmp_path / "runs" / "own")
    paths.root.mkdir(parents=True)
    record = {**describe_environment(("sweeper",), (0,)), "seals": make_seals(OWN, SERVERS)}
    paths.environment.write_text(json.dumps(record))
    return paths


def test_an_own_run_needs_no_trust_wherever_it_lies(own: RunPaths, tmp_path: Path) -> None:
    moved = RunPaths(Path(shutil.copytree(own.root, tmp_path / "elsewhere" / "renamed")))
    for paths in (own, moved):
        assert find_foreign_environment(OWN, paths) == []
        assert find_foreign_servers(paths, SERVERS) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"module": "evil"},
        {"id": "evil:Mine-v0"},
        {"search_paths": ("/srv/evil", "envs")},
        {"wrappers": (WrapperSettings("evil.Noise", {"scale": 0.1}),)},
        {"kwargs": {"size": "/home/me"}},
    ],
    ids=str,
)
def test_an_own_run_that_was_changed_needs_trust(changed: dict[str, Any], own: RunPaths) -> None:
    settings = EnvironmentSettings(**{**vars(OWN), **changed})
    assert find_foreign_environment(settings, own) != []


def test_a_relative_folder_counts_where_the_run_was_made(
    own: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own.root)
    assert find_foreign_environment(OWN, own) != []


@pytest.mark.parametrize("key", SERVERS)
def test_another_server_needs_trust(key: str, own: RunPaths) -> None:
    changed = {**SERVERS, key: "http://evil"}
    assert f"connect to http://evil ({key})" in find_foreign_servers(own, changed)


@pytest.mark.parametrize("more", ["", "tracking: {uri: http://mlflow:5000}\n"])
def test_the_servers_of_an_own_run_stay_its_own_where_it_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    """With the default database, too, which is another one there."""
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text(
        "environment: CartPole-v1\nalgorithm: PPO\nbackend: rllib\nray: {address: auto}\n"
        f"stop: {{training_iteration: 1}}\n{more}"
    )
    plan = load_spec("spec.yaml").plan()
    paths = RunPaths(tmp_path / "runs" / "x-20260101-000000")
    paths.root.mkdir(parents=True)
    write_provenance(plan, paths)
    moved = RunPaths(Path(shutil.copytree(paths.root, tmp_path / "elsewhere" / "renamed")))
    for here in (paths, moved):
        servers = relocate(here, load_spec(here.spec)).servers
        assert find_foreign_servers(here, servers) == []
        for place in ("http://evil", f"sqlite:///{tmp_path}/evil.db"):
            changed = {**servers, "tracking.uri": place}
            assert f"connect to {place} (tracking.uri)" in find_foreign_servers(here, changed)
            changed = {**servers, "ray.address": "10.0.0.66:6379"}
            named = "connect to 10.0.0.66:6379 (ray.address)"
            assert named in find_foreign_servers(here, changed)


def test_a_sealed_agent_brings_its_environment_with_it(tmp_path: Path) -> None:
    (tmp_path / "agent.json").write_text(json.dumps({"environment": OWN.to_json()}))
    assert find_foreign_environment(OWN, None, tmp_path) != []
    seal_folder(tmp_path)
    assert find_foreign_environment(OWN, None, tmp_path) == []
    (tmp_path / "agent.json").write_text(json.dumps({"environment": {**OWN.to_json(), "id": "x"}}))
    assert find_foreign_environment(OWN, None, tmp_path) != []
