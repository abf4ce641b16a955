"""A run that was copied, moved, or is resumed from elsewhere uses what lies with it now."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from sweeper.api import resume
from sweeper.errors import SpecError
from sweeper.journal import Journal, LaunchEnded, LaunchStarted
from sweeper.opened_run import open_run
from sweeper.paths import RunPaths
from sweeper.planning.plan import build_plan
from sweeper.relocation import describe_start, find_modules, relocate
from sweeper.spec import dump_spec, load_spec

MODULE = """\
import gymnasium
gymnasium.register("{id}-v0", "gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=9)
"""
SPEC = """\
name: mine
environment: {{id: {id}-v0, module: {module}{paths}}}
algorithm: PPO
stop: {{num_env_steps_sampled_lifetime: 100}}
"""


def make_project(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    more: str = "",
    *,
    modules: str = "",
    search_path: str = "",
) -> Path:
    """A project with a module, a spec and a finished run without trials; returns the run's folder.

    What was the working directory then is not any more.
    """
    Path(folder, modules).mkdir(parents=True)
    monkeypatch.chdir(folder)
    env_id = module.replace("_", "").title()
    Path(modules, f"{module}.py").write_text(MODULE.format(id=env_id))
    paths = f", search_paths: ['{search_path}']" if search_path else ""
    Path("spec.yaml").write_text(SPEC.format(id=env_id, module=module, paths=paths) + more)
    spec = load_spec("spec.yaml")
    paths = RunPaths(Path(spec.storage).absolute() / "mine-20260101-000000")
    paths.root.mkdir(parents=True)
    paths.spec.write_text(dump_spec(spec))
    paths.environment.write_text(json.dumps({"working_directory": str(folder)}))
    journal = Journal(paths.journal)
    journal.append(LaunchStarted(1.0, 1, 1, ("sweeper",), spec=dump_spec(spec)))
    journal.append(LaunchEnded(2.0, "interrupted"))
    journal.close()
    (folder.parent / "elsewhere").mkdir(exist_ok=True)
    monkeypatch.chdir(folder.parent / "elsewhere")
    return paths.root


@pytest.fixture(autouse=True)
def _a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def tracking_of(root: Path) -> str:
    spec = open_run(root).spec
    assert spec is not None
    assert spec.tracking is not None
    return spec.tracking.uri


def test_the_default_database_is_that_of_the_storage_where_the_run_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_project(tmp_path / "project", monkeypatch, "moved_default")
    assert "mlflow.db" not in (root / "spec.yaml").read_text()
    assert tracking_of(root) == f"sqlite:///{root.parent}/mlflow.db"
    moved = tmp_path / "what?" / root.name
    shutil.copytree(root, moved)
    assert tracking_of(moved) == f"sqlite:///{tmp_path}/what%3F/mlflow.db"
    # Earlier versions recorded the default.
    spec = (moved / "spec.yaml").read_text()
    recorded = f"sqlite:///{root.parent}/mlflow.db"
    (moved / "spec.yaml").write_text(
        spec.replace("tracking: {", f"tracking: {{uri: '{recorded}', ")
    )
    assert recorded in (moved / "spec.yaml").read_text()
    assert tracking_of(moved) == f"sqlite:///{tmp_path}/what%3F/mlflow.db"


@pytest.mark.parametrize("uri", ["https://mlflow.example", "sqlite:////srv/all.db"])
def test_a_database_that_was_asked_for_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    root = make_project(
        tmp_path / "project", monkeypatch, "moved_asked", f"tracking: {{uri: '{uri}'}}\n"
    )
    moved = tmp_path / "other" / root.name
    shutil.copytree(root, moved)
    assert tracking_of(moved) == uri


def test_modules_are_found_after_the_project_was_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path / "old", monkeypatch, "moved_project")
    (tmp_path / "old").rename(tmp_path / "new")
    (root,) = (tmp_path / "new" / "runs").iterdir()
    paths = RunPaths(root)
    spec = relocate(paths, load_spec(paths.spec))
    assert spec.environment.search_paths == [
        str(tmp_path / "new"),
        str(tmp_path / "old"),
        str(tmp_path / "elsewhere"),
    ]
    assert build_plan(spec).trials == 1
    settings = load_spec(paths.spec).environment.settings()
    found = find_modules(settings, paths, "runs")
    assert list(found.search_paths) == spec.environment.search_paths


SEARCH_PATHS = ("envs", "./envs/", "../project/envs", "~/project/envs", "{}/project/envs")


@pytest.mark.parametrize("number", range(len(SEARCH_PATHS)), ids=SEARCH_PATHS)
def test_a_folder_of_modules_that_the_spec_names_is_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written = SEARCH_PATHS[number].format(tmp_path)
    root = make_project(
        tmp_path / "project", monkeypatch, f"named_{number}", modules="envs", search_path=written
    )
    paths = RunPaths(root)
    recorded = load_spec(paths.spec)
    assert Path(recorded.environment.search_paths[0]).samefile(tmp_path / "project" / "envs")
    assert dump_spec(recorded) == paths.spec.read_text()
    assert build_plan(relocate(paths, recorded)).trials == 1
    (tmp_path / "project").rename(tmp_path / "moved")
    paths = RunPaths(tmp_path / "moved" / "runs" / root.name)
    moved = relocate(paths, load_spec(paths.spec)).environment.search_paths[0]
    assert moved == str(tmp_path / "moved" / "envs")


def test_a_copy_uses_its_own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(tmp_path / "old", monkeypatch, "moved_copy")
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    (root,) = (tmp_path / "new" / "runs").iterdir()
    spec = relocate(RunPaths(root), load_spec(RunPaths(root).spec))
    assert spec.environment.search_paths[0] == str(tmp_path / "new")


def test_the_working_directory_is_searched_last_and_a_resume_says_where_the_run_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_project(tmp_path / "project", monkeypatch, "moved_module")
    said: list[str] = []
    (tmp_path / "project").rename(tmp_path / "renamed")
    (tmp_path / "renamed" / "moved_module.py").unlink()
    root = tmp_path / "renamed" / "runs" / root.name
    with pytest.raises(SpecError) as refused:
        resume(root, trust=True, say=said.append)
    (problem,) = refused.value.problems
    looked = ", ".join(str(tmp_path / name) for name in ("renamed", "project", "elsewhere"))
    assert f"no module named moved_module; looked in {looked}, Python's path" in str(problem)
    assert said[1:] == [
        f"{root.name} was started in {tmp_path}/project, which is no longer there; its modules are "
        "looked for there and here"
    ]
    Path("moved_module.py").write_text(MODULE.format(id="Movedmodule"))
    spec = relocate(RunPaths(root), load_spec(RunPaths(root).spec))
    assert build_plan(spec).trials == 1


def test_from_the_folder_of_the_launch_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_project(tmp_path / "project", monkeypatch, "moved_not")
    monkeypatch.chdir(tmp_path / "project")
    paths = RunPaths(root)
    spec = load_spec(paths.spec)
    assert relocate(paths, spec) is spec
    assert describe_start(paths) is None
