"""The champion's model among others: aliases, evidence, and models of former champions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_folders import add_confirmation, make_run
from run_mutations import extract_run

from sweeper.opened_run import open_run
from sweeper.paths import CheckpointPaths, RunPaths
from sweeper.tracking.champion import log_champion
from sweeper.tracking.description import describe_sweep
from sweeper.tracking.destination import import_mlflow
from sweeper.tracking.model_card import EVIDENCE_TAG, describe_evidence
from sweeper.tracking.registry import RUN_TAG, is_better, register

ALIASES = ("champion", "challenger")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of one database for the module, because creating one takes seconds."""
    file = tmp_path_factory.mktemp("registry") / "mlflow.db"
    uri = f"sqlite:///{file}"
    made = import_mlflow().MlflowClient(tracking_uri=uri, registry_uri=uri)
    made.create_experiment("e", artifact_location=(file.parent / "files").as_uri())
    return made


def _evidence(*runs: float, **more: Any) -> str:
    alike = {"metric": "m", "mode": "max", "environment": {"id": "E"}, "episodes": 100}
    return json.dumps({**alike, "finalists": 1, "runs": runs, **more})


GOOD, BAD = (9.0, 9.5, 10.0, 10.5, 11.0), (1.0, 1.5, 2.0, 2.5, 3.0)


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (_evidence(*GOOD), _evidence(*BAD), True),
        (_evidence(*BAD), _evidence(*GOOD), False),
        (_evidence(*BAD, mode="min"), _evidence(*GOOD, mode="min"), True),
        (_evidence(*GOOD), _evidence(*GOOD), False),
        (_evidence(*GOOD[:2]), _evidence(*BAD[:2]), False),
        (_evidence(*GOOD, finalists=3), _evidence(*BAD), True),
        (_evidence(*GOOD, episodes=20), _evidence(*BAD), False),
        (_evidence(*GOOD, environment={"id": "F"}), _evidence(*BAD), False),
        (_evidence(*GOOD), _evidence(), False),
        (_evidence(*GOOD), "", False),
    ],
)
def test_a_champion_is_better_only_where_chance_can_t_explain_it(
    new: str, old: str, expected: bool
) -> None:
    assert is_better(new, old) is expected


@pytest.fixture
def add(client: Any, request: pytest.FixtureRequest) -> Callable[..., dict[str, int]]:
    """Register a model of a sweep; returns who has which alias."""
    experiment = client.get_experiment_by_name("e").experiment_id
    name, models = request.node.name, {}

    def add(sweep: str, *runs: float, trial: str = "t0001") -> dict[str, int]:
        key = sweep, trial
        if key not in models:
            run = client.create_run(experiment, run_name=sweep).info.run_id
            logged = client.create_logged_model(experiment, name="champion", source_run_id=run)
            models[key] = client.finalize_logged_model(logged.model_id, "READY"), run
        model, run = models[key]
        tags = {RUN_TAG: sweep, EVIDENCE_TAG: _evidence(*runs)}
        register(client, name, model, run, tags=tags, card=f"of {trial}")
        found = client.get_registered_model(name).aliases
        return {alias: int(number) for alias, number in found.items()}

    return add


def test_the_alias_moves_to_what_is_better_on_the_same_evaluation(
    add: Callable[..., dict[str, int]], client: Any, request: pytest.FixtureRequest
) -> None:
    assert add("first", *BAD) == {"champion": 1}
    assert add("equal", *BAD) == {"champion": 1, "challenger": 2}
    assert add("better", *GOOD) == {"champion": 3, "challenger": 2}
    for again in ("first", "equal", "better"):
        runs = GOOD if again == "better" else BAD
        assert add(again, *runs) == {"champion": 3, "challenger": 2}
    assert len(client.search_model_versions(f"name = '{request.node.name}'")) == 3
    version = client.get_model_version_by_alias(request.node.name, "champion")
    assert version.tags[RUN_TAG] == "better"
    assert version.description == "of t0001"


def test_a_sweep_s_newer_choice_and_newer_evidence_take_the_alias(
    add: Callable[..., dict[str, int]],
) -> None:
    assert add("first", *BAD) == {"champion": 1}
    assert add("first", *BAD, trial="t0002") == {"champion": 2}
    assert add("other", *GOOD[:2]) == {"champion": 2, "challenger": 3}
    assert add("other", *GOOD) == {"champion": 3}, "it has been confirmed on more seeds"


def test_the_evidence_is_that_of_a_complete_confirmation(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "a-20260101-000000", ["TERMINATED", "TERMINATED"])
    unconfirmed = json.loads(describe_evidence(open_run(paths.root).selection, {"id": "E"}))
    assert unconfirmed["runs"] == []
    add_confirmation(paths)
    confirmed = json.loads(describe_evidence(open_run(paths.root).selection, {"id": "E"}))
    assert confirmed["runs"] == [28.0, 31.0, 29.0, 30.5, 30.0]
    assert confirmed["episodes"] == open_run(paths.root).selection.confirmed_on.episodes  # type: ignore[union-attr]


def test_a_former_champion_s_model_says_that_it_is_superseded(tmp_path: Path, client: Any) -> None:
    paths = RunPaths(extract_run(tmp_path / "runs"))
    opened = open_run(paths.root)
    assert opened.spec is not None
    experiment = client.get_experiment_by_name("e").experiment_id
    run = client.create_run(experiment).info.run_id
    sweep = describe_sweep(opened.spec.plan(), paths)

    def log() -> str:
        model_id, warnings = log_champion(
            client,
            experiment_id=experiment,
            run_id=run,
            selection=opened.selection,
            folder=paths.champion,
            register_as=None,
            sweep=sweep,
        )
        assert warnings == []
        return model_id

    first = log()
    assert log() == first
    card = client.get_logged_model(first).tags["mlflow.note.content"]
    assert opened.selection.verdict_text in card
    assert "model.predict(observation)" in card
    weights = CheckpointPaths(paths.champion).agent
    weights.write_text(weights.read_text() + " ")  # another agent
    second = log()
    assert second != first
    former = client.get_logged_model(first).tags
    assert former["sweeper.current"] == "false"
    assert f"**Superseded** by {second}" in former["mlflow.note.content"]
    assert client.get_logged_model(second).tags["sweeper.current"] == "true"
