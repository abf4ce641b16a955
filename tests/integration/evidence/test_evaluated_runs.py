"""Agents of a run: which ones play, how, and what stands beside their values."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_mutations import extract_run

from sweeper.errors import UserError
from sweeper.evidence.champions_runs import describe_champion
from sweeper.evidence.evaluation import evaluate
from sweeper.evidence.played import AgentEvaluation, Evaluation, Yardstick
from sweeper.evidence.record import load_selection, write_selection
from sweeper.evidence.samples import Sample
from sweeper.evidence.verdict import judge
from sweeper.paths import run_reference
from sweeper.spec import load_spec
from sweeper.views.evaluation import print_evaluation


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return extract_run(tmp_path)


def change_spec(run: Path, before: str, after: str) -> None:
    text = (run / "spec.yaml").read_text()
    assert before in text
    (run / "spec.yaml").write_text(text.replace(before, after))


def describe_frozen(checkpoint: Path, *seeds: int) -> None:
    path = checkpoint / "agent.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "diverged": seeds}))


def evaluated(folder: Path, **asked: Any) -> Evaluation:
    return evaluate(str(folder), "runs", episodes=2, trust=True, **asked)


def text_of(evaluation: Evaluation, capsys: pytest.CaptureFixture[str]) -> str:
    print_evaluation(evaluation)
    return " ".join(capsys.readouterr().out.split())


# --- greedy or exploring ---------------------------------------------------------------------


def test_an_evaluation_explores_as_the_run_does_unless_asked(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = run / "trials/t0002/checkpoint_000008"
    assert not evaluated(run).explore
    change_spec(run, "explore: false", "explore: true")
    for target in (run, checkpoint, run / "champion"):
        done = evaluated(target)
        assert done.explore
        assert done.to_json()["explore"] is True
        assert "2 each, exploring, seed 0" in text_of(done, capsys)
        assert "2 each, greedy, seed 0" in text_of(evaluated(target, explore=False), capsys)


def test_a_mean_of_other_episodes_beside_it_is_named_as_such(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "over 2 replicas; of greedy" in text_of(evaluated(run, explore=True), capsys)
    same = evaluated(run)
    assert "over 2 replicas" in text_of(same, capsys)
    assert "episodes" not in text_of(same, capsys).partition("its trial")[2]
    assert same.to_json()["champion"]["explore"] is False
    selection, spec = load_selection(run / "selection.json"), load_spec(run / "spec.yaml")
    trained = describe_champion(replace(selection, metric="episode_return_mean"), spec, {})
    assert trained.explore, "as episodes while training are"


# --- who diverged ----------------------------------------------------------------------------


def test_replicas_that_diverged_do_not_play_and_are_named(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = run / "trials/t0002/checkpoint_000008"
    assert [agent.name for agent in evaluated(checkpoint).agents] == ["replica_0", "replica_1"]
    whole = evaluated(checkpoint).agents[1]
    describe_frozen(checkpoint, 0)
    done = evaluated(checkpoint)
    assert done.agents == (whole,)
    assert done.to_json()["diverged"] == ["replica_0"]
    assert "replica_0 diverged, so it did not play" in text_of(done, capsys)
    assert evaluated(checkpoint, replica=1).agents == (whole,)
    with pytest.raises(UserError, match=r"replica 0 in .* diverged and is frozen; .* seeds 1$"):
        evaluated(checkpoint, replica=0)
    describe_frozen(checkpoint, 0, 1)
    with pytest.raises(UserError, match="no agent to play: 2 replicas diverged"):
        evaluated(checkpoint)


def test_rllibs_replicas_that_diverged_are_named_by_the_trials_state(tmp_path: Path) -> None:
    from sweeper.agents.locate import find_agents, find_diverged

    state = {"seeds": [0, 1, 2], "metrics": {"diverged": [False, True, False]}}
    (tmp_path / "trainer.json").write_text(json.dumps(state))
    for seed in (0, 2):
        (tmp_path / f"replica_{seed}").mkdir()
    assert find_diverged(tmp_path, {}) == (1,)
    assert [place.seed for place in find_agents(tmp_path, {}, None)] == [0, 2]
    with pytest.raises(UserError, match=r"replica 1 in .* diverged and is frozen"):
        find_agents(tmp_path, {}, 1)
    for damaged in ("{", "[]", '{"seeds": 3}', '{"seeds": [1], "metrics": {"diverged": []}}'):
        (tmp_path / "trainer.json").write_text(damaged)
        assert find_diverged(tmp_path, {}) == ()


# --- several replicas, as a confirmation would weigh them --------------------------------------


def of_means(*means: float, **given: Any) -> Evaluation:
    agents = tuple(AgentEvaluation(f"replica_{n}", (mean,), (1,)) for n, mean in enumerate(means))
    return Evaluation(Path("/x"), "E-v0", 1, 0, agents, yardstick=Yardstick(**given))


@pytest.mark.parametrize(
    "means",
    [
        (480.0, 470.0, 490.0, 485.0, 477.0, 482.0),
        (500.0, 500.0, 9.0, 500.0, 498.0, 12.0),
        (500.0, 500.0, 500.0, 490.0, 480.0, 485.0),
        (500.0, 500.0),
    ],
    ids=["normal", "success or stuck", "at a limit", "equal"],
)
def test_several_replicas_are_weighed_as_the_runs_of_a_confirmation(
    means: tuple[float, ...],
) -> None:
    verdict = judge([Sample("t0001", means, env_steps=1.0)], None, solved_at=475.0)
    expected = verdict.evidence["t0001"].to_json()
    found = of_means(*means, solved_at=475.0).to_json()
    shared = set(expected) & set(found) - {"runs", "diverged"}
    assert {"mean", "iqm", "interval", "prediction", "solved", "in_lower_group"} <= shared
    assert {key: found[key] for key in shared} == {key: expected[key] for key in shared}


def test_that_runs_get_stuck_shows_in_other_runs_too() -> None:
    lucky = (500.0, 498.0, 499.0, 500.0, 497.0)
    stuck = (500.0, 9.0, 499.0, 11.0, 500.0)
    alone, known = of_means(*lucky), of_means(*lucky, others=(stuck,))
    assert alone.summary.interval[0] > 490
    assert known.summary.interval[0] < 300
    assert known.to_json()["interval_method"] == "shares of two groups"


def test_one_agent_says_nothing_of_another_training_run() -> None:
    document = of_means(480.0, solved_at=475.0).to_json()
    assert (document["prediction"], document["solved"]) == (None, None)
    assert document["prediction_reason"] == "one agent says nothing of another training run"


def test_where_one_more_run_would_land_and_how_many_solved_it_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = text_of(of_means(480.0, 470.0, 490.0, 485.0, 300.0, solved_at=475.0), capsys)
    assert re.search(r"one more run 300 to 490 \(67 %; 5 runs .* allow no higher level\)", out)
    assert "solved 3 of 5 runs at 475 or better; in the long run 15 to 95 % (95 %)" in out
    assert "one more run no interval: all 2 values are equal" in text_of(of_means(3, 3), capsys)


def test_a_checkpoint_is_weighed_by_what_its_run_says(run: Path) -> None:
    checkpoint = run / "trials/t0002/checkpoint_000008"
    assert evaluated(checkpoint).yardstick == Yardstick()
    change_spec(run, "score: last", "score: last, solved_at: 475")
    runs = Sample("t0002", (5.0, 1.0, 6.0), env_steps=1.0, diverged=(1,))
    verdict = judge([runs], None)
    selection = replace(load_selection(run / "selection.json"), verdict=verdict)
    write_selection(run / "selection.json", selection)
    assert evaluated(checkpoint).yardstick == Yardstick("max", 475.0, ((5.0, 6.0),))
    assert evaluated(checkpoint, explore=True).yardstick == Yardstick("max", 475.0)
    change_spec(run, "evaluation/episode_return_mean", "evaluation/episode_len_mean")
    assert evaluated(checkpoint).yardstick == Yardstick()


# --- champion/ and the champion ----------------------------------------------------------------


@pytest.mark.parametrize(
    "written", [{"trial_id": "t0001"}, {"seed": 0}, {"retrained_as": "c0001"}, {"env_steps": 5}]
)
def test_an_earlier_champion_is_not_played_under_the_new_ones_name(
    run: Path, written: dict[str, Any]
) -> None:
    path = run / "champion" / "agent.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **written}))
    checkpoint = run / "trials/t0002/checkpoint_000008"
    words = (
        "champion/ of torch-ppo holds the agent of an earlier choice; now the champion is t0002, "
        f"whose agent is in its checkpoint: `sweeper evaluate {checkpoint} --replica 1`"
    )
    with pytest.raises(UserError, match=f"^{re.escape(words)}$"):
        evaluated(run)
    assert evaluated(checkpoint, replica=1).agents[0].name == "replica_1"
    assert evaluated(run / "champion").champion is None  # by its own name it can be played


def test_where_no_checkpoint_of_the_champion_is_left_it_says_so(run: Path) -> None:
    path = run / "champion" / "agent.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "trial_id": "t0001"}))
    shutil.rmtree(run / "trials/t0002/checkpoint_000008")
    command = f"`sweeper best {run_reference(run)}`"
    with pytest.raises(UserError, match=f"no checkpoint of it is left; {re.escape(command)}"):
        evaluated(run)
