"""An agent of another's run, as `sweeper log` uploads it to MLflow."""

from __future__ import annotations

from pathlib import Path

from command_line import sweeper_here
from run_mutations import extract_run

from sweeper.paths import CheckpointPaths, RunPaths
from sweeper.tracking.destination import import_mlflow


def test_a_damaged_agent_costs_the_model_alone_and_a_whole_one_is_added(tmp_path: Path) -> None:
    paths = RunPaths(extract_run(tmp_path / "runs"))
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = import_mlflow().MlflowClient(tracking_uri=uri)
    weights = CheckpointPaths(paths.champion).weights
    whole = weights.read_bytes()

    def log(code: int) -> tuple[str, list[str]]:
        """What is said, and the states of the models that MLflow has then."""
        done = sweeper_here("log", paths.root.name, "--uri", uri, "--experiment", "e", cwd=tmp_path)
        assert done.returncode == code, done.stderr
        experiment = client.get_experiment_by_name("e").experiment_id
        tags = [run.data.tags for run in client.search_runs([experiment])]
        assert sorted(tag.get("sweeper.trial", "") for tag in tags)[:2] == ["", "t0001"]
        assert [tag["sweeper.champion"] for tag in tags if "sweeper.trial" not in tag] == ["t0002"]
        models = client.search_logged_models([experiment])
        return done.stderr, [str(model.status) for model in models]

    weights.write_bytes(whole[:-100])
    said, models = log(1)
    assert said.startswith(
        f"error: MLflow: the champion is not logged as a model: {paths.champion}"
    )
    assert "weights.safetensors is damaged or does not fit agent.json" in said
    assert said.count("\n") == 1
    assert models == []
    weights.write_bytes(whole)
    _, models = log(0)
    assert models == ["READY"]
