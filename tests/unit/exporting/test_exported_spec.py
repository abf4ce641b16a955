"""The spec of a champion, or of a trial, is one that ``train`` takes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from command_line import sweeper_here
from run_folders import make_run
from run_mutations import change_spec, extract_run

import sweeper
from sweeper.errors import UserError
from sweeper.exporting.spec import export_spec
from sweeper.journal import read_journal
from sweeper.journal_lines import encode_line
from sweeper.planning.plan import load_plan


def export(target: Path, **more: Any) -> Any:
    said: list[str] = []
    return export_spec(str(target), "runs", **more, say=said.append), said


def test_it_has_the_champion_s_values_and_nothing_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = extract_run(tmp_path / "runs")
    done = sweeper_here("export", "torch-ppo", "--spec", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    file = Path(done.stdout.strip())
    assert file == tmp_path / "torch-ppo-t0002.yaml"
    assert "train it: sweeper train torch-ppo-t0002.yaml" in done.stderr
    assert "# The configuration of t0002, the champion of torch-ppo." in file.read_text()
    champion = sweeper.open_run(run).champion
    spec, recorded = sweeper.load_spec(file), sweeper.load_spec(run / "spec.yaml")
    assert spec.param_space == champion.configuration
    assert spec.param_space["lr"] == 0.01
    assert (spec.seeds, spec.stop, spec.evaluation) == (
        recorded.seeds, recorded.stop, recorded.evaluation
    )  # fmt: skip
    assert spec.budget.env_steps is None  # it was the whole search's
    plan = load_plan(file, is_training=True)
    assert (plan.trials, plan.replicas, plan.notes) == (1, 2, ())
    again = sweeper_here("export", "torch-ppo", "--spec", cwd=tmp_path)
    assert again.returncode == 2
    assert "is there already; give another --output, or --overwrite" in again.stderr
    written = sweeper_here("export", "torch-ppo", "--spec", "--overwrite", "--json", cwd=tmp_path)
    assert json.loads(written.stdout) == {
        "spec": str(file), "run": str(run), "trial_id": "t0002"
    }  # fmt: skip


@pytest.mark.parametrize("place", ["trials/t0001", "champion", "checkpoint"])
def test_a_trial_s_folder_and_a_checkpoint_mean_their_trial(tmp_path: Path, place: str) -> None:
    run = extract_run(tmp_path / "runs")
    if place == "checkpoint":
        (folder,) = run.glob("trials/t0001/checkpoint_*")
    else:
        folder = run / place
    exported, _ = export(folder, file=tmp_path / "x.yaml")
    expected = "t0002" if place == "champion" else "t0001"
    assert exported.trial_id == expected
    lr = {"t0001": 0.001, "t0002": 0.01}[expected]
    assert sweeper.load_spec(tmp_path / "x.yaml").param_space["lr"] == lr


def _rewrite(run: Path, change: Any) -> None:
    journal = run / "journal.jsonl"
    documents = [json.loads(line) for line in journal.read_bytes().splitlines()]
    for document in documents:
        change(document)
    journal.write_bytes(b"".join(map(encode_line, documents)))


def test_an_infinity_a_schedule_and_a_nested_value_survive(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")
    given = {
        "lr": [[0, 0.01], [20_000, 0.001]],
        "vf_clip_param": {"$float": "inf"},
        "model_config": {"fcnet_hiddens": [4], "fcnet_activation": "relu"},
        "train_batch_size_per_learner": 2048,
    }

    def change(document: dict[str, Any]) -> None:
        if document["event"] == "trial_asked":
            document["configuration"] = given

    _rewrite(run, change)
    exported, _ = export(run, file=tmp_path / "x.yaml")
    assert "vf_clip_param: .inf" in exported.text
    space = sweeper.load_spec(tmp_path / "x.yaml").param_space
    assert space["vf_clip_param"] == math.inf
    assert space["lr"] == given["lr"]
    assert space["model_config"] == given["model_config"]
    assert load_plan(tmp_path / "x.yaml", is_training=True).trials == 1


def test_a_secret_stays_a_reference_and_modules_are_found_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "very-secret-value")
    run = extract_run(tmp_path / "runs")
    given = "{id: CartPole-v1, kwargs: {render_mode: '${env:TOKEN}'}, module: my_envs, "
    given += f"search_paths: [{tmp_path}]}}"
    change_spec(run, {"{id: CartPole-v1}": given})
    (tmp_path / "my_envs.py").write_text("open('imported', 'w').close()")
    monkeypatch.chdir(tmp_path)
    exported, said = export(run, file=tmp_path / "x.yaml")
    assert "${env:TOKEN}" in exported.text
    assert "very-secret-value" not in exported.text
    spec = sweeper.load_spec(tmp_path / "x.yaml")
    assert str(tmp_path) in spec.environment.search_paths
    assert not (tmp_path / "imported").exists()
    # Nobody has sealed it: what training would do is said.
    assert "training x.yaml will do what whoever made it has chosen" in said[0]
    assert "import my_envs" in said[0]


def test_a_configuration_that_no_spec_can_have_is_refused(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")

    def change(document: dict[str, Any]) -> None:
        if document["event"] == "trial_asked":
            document["configuration"] = {"callbacks_class": "os.system"}

    _rewrite(run, change)
    with pytest.raises(UserError, match="recorded for t0002 is none that a spec can have"):
        export(run, file=tmp_path / "x.yaml")
    assert not (tmp_path / "x.yaml").exists()


def test_what_has_no_configuration_is_refused(tmp_path: Path) -> None:
    run = extract_run(tmp_path / "runs")
    copied = (run / "champion").rename(tmp_path / "away")
    with pytest.raises(UserError, match="lies in no run, whose spec it needs"):
        export(copied)
    with pytest.raises(UserError, match="is no trial's folder of torch-ppo"):
        export(run / "trials")
    (run / "trials" / "t0099").mkdir()
    with pytest.raises(UserError, match="torch-ppo has no trial t0099"):
        export(run / "trials" / "t0099")
    failed = make_run(tmp_path / "runs", "failed", ["ERROR"])
    done = sweeper_here("export", str(failed.root), "--spec", cwd=tmp_path)
    assert done.returncode == 1
    assert "no champion" in done.stderr
    assert sum(1 for _ in read_journal(failed.journal)) > 2
    with pytest.raises(UserError, match="there is no folder"):
        export(run, file=tmp_path / "no" / "x.yaml")
    (tmp_path / "x.yaml").mkdir()
    with pytest.raises(UserError, match="is a folder; give a file in it"):
        export(run, file=tmp_path / "x.yaml", overwrite=True)
    with pytest.raises(UserError, match=r"must end in \.yaml or \.yml"):
        export(run, file=tmp_path / "x.json")
