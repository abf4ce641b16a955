"""Which runs can be held against each other: what differs is named, and between which runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from comparable_runs import HIGH, IDENTITY, open_confirmed
from run_folders import SPEC, make_run

from sweeper import compare_runs
from sweeper.errors import UserError
from sweeper.opened_run import Run, open_run

MAZE = SPEC.replace("CartPole-v1", "{id: Maze-v0, module: my_envs, kwargs: {size: 9}}")
EVALUATED = SPEC + "evaluation: {episodes: 20}\nselection: {metric: episode_return_mean}\n"


def refusal(*runs: Run, **options: Any) -> str:
    with pytest.raises(UserError, match=r"^these runs can't be compared: ") as refused:
        compare_runs(*runs, **options)
    return str(refused.value).partition(": ")[2]


def make(storage: Path, name: str, spec: str = SPEC, **more: Any) -> Run:
    return open_confirmed(storage, name, HIGH, spec=spec, **more)


# --- the environment ---------------------------------------------------------------------------


def test_another_environment_is_refused_and_nothing_else_is_said_of_it(tmp_path: Path) -> None:
    a, b = make(tmp_path, "a"), make(tmp_path, "b")
    c = make(tmp_path, "c", SPEC.replace("CartPole-v1", "{id: Acrobot-v1, kwargs: {x: 1}}"))
    words = "the environment is CartPole-v1 in a and b, Acrobot-v1 in c"
    assert refusal(a, b, c) == words
    assert refusal(a, b, c, allow_changed_environment=True) == words


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ("{size: 11}", "the environment's argument size is 9 in a, 11 in b"),
        ("{}", "the environment's argument size is 9 in a, left out in b"),
        (
            "{size: 9, wind: true}",
            "the environment's argument wind is left out in a, true in b",
        ),
    ],
)
def test_other_arguments_are_refused_by_their_names(
    tmp_path: Path, kwargs: str, words: str
) -> None:
    a = make(tmp_path, "a", MAZE)
    b = make(tmp_path, "b", MAZE.replace("{size: 9}", kwargs))
    assert refusal(a, b) == words


def wrapped(wrappers: str) -> str:
    return SPEC.replace("CartPole-v1", f"{{id: CartPole-v1, wrappers: {wrappers}}}")


def test_wrappers_that_change_the_task_are_refused(tmp_path: Path) -> None:
    a = make(tmp_path, "a")
    b = make(tmp_path, "b", wrapped("[{TimeLimit: {max_episode_steps: 50}}]"))
    c = make(tmp_path, "c", wrapped("[my_envs.Slippery]"))
    assert refusal(a, b, c) == (
        "environment.wrappers is none in a, TimeLimit {max_episode_steps: 50} in b, "
        "my_envs.Slippery in c"
    )


def test_wrappers_that_change_what_the_agent_sees_are_noted(tmp_path: Path) -> None:
    a = make(tmp_path, "a")
    # Other observations than a's, as four frames are.
    four = {**IDENTITY, "observation_space": {"type": "Discrete", "n": 16, "start": 0}}
    stacked = "[{gymnasium.wrappers.FrameStackObservation: {stack_size: 4}}]"
    b = make(tmp_path, "b", wrapped(stacked), environment=four)
    assert (
        "What wraps the same environment is none in A, FrameStackObservation {stack_size: 4} in B."
    ) in compare_runs(a, b).notes


def changed(**parts: Any) -> Mapping[str, Any]:
    return {**IDENTITY, **parts}


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            changed(sources={"maze.py": "b" * 64, "walls.py": "c" * 64}),
            "the environment's code is not the same (maze.py and walls.py): a against b",
        ),
        (changed(packages={"gymnasium": "1.2.3"}), "gymnasium is 1.2.2 in a, 1.2.3 in b"),
        (changed(packages={}), "gymnasium is 1.2.2 in a, not used in b"),
        (
            changed(action_space={"type": "Discrete", "n": 3, "start": 0}),
            "the action space is Discrete(2) in a, Discrete(3) in b",
        ),
        (
            changed(observation_space={"type": "Discrete", "n": 5, "start": 0}),
            "the observation space is Discrete(4) in a, Discrete(5) in b",
        ),
    ],
    ids=["sources", "packages", "a package less", "actions", "observations"],
)
def test_other_code_is_refused_unless_the_user_allows_it(
    tmp_path: Path, environment: Mapping[str, Any], words: str
) -> None:
    a, b = make(tmp_path, "a"), make(tmp_path, "b", environment=environment)
    assert refusal(a, b) == (
        f"{words}; if that changes nothing, accept it with --allow-changed-environment"
    )
    compared = compare_runs(a, b, allow_changed_environment=True)
    assert f"As allowed: {words}." in compared.notes


def test_a_run_without_a_record_of_its_code_is_compared_by_its_settings(tmp_path: Path) -> None:
    a, b = make(tmp_path, "a"), make(tmp_path, "b", environment=None)
    (note,) = (one for one in compare_runs(a, b).notes if one.startswith("Without a record"))
    assert "spaces: B;" in note


def test_a_hostile_record_of_a_space_is_shown_as_text(tmp_path: Path) -> None:
    strange = changed(action_space={"type": ["\x1b[2J", {}]})
    a, b = make(tmp_path, "a"), make(tmp_path, "b", environment=strange)
    assert 'in a, {"type": ["\\u001b[2J", {}]} in b' in refusal(a, b)


# --- what is measured --------------------------------------------------------------------------


def test_another_metric_or_mode_is_refused(tmp_path: Path) -> None:
    a = open_run(make_run(tmp_path, "a").root)
    spec = SPEC + "selection: {metric: time_total_s, mode: min}\n"
    b = open_run(make_run(tmp_path, "b", spec=spec).root)
    assert refusal(a, b) == (
        "the metric is episode_return_mean in a, time_total_s in b; the mode is max in a, min in b"
    )


def test_scores_of_another_kind_are_refused_unless_all_runs_are_confirmed(tmp_path: Path) -> None:
    best = SPEC + "selection: {score: best}\n"
    a = open_run(make_run(tmp_path, "a").root)
    b = open_run(make_run(tmp_path, "b", spec=best).root)
    assert refusal(a, b) == "selection.score is last in a, best in b"
    c = make(tmp_path, "c")
    assert refusal(a, b, c) == "selection.score is last in a and c, best in b"
    d = make(tmp_path, "d", best, score="best")
    assert "selection.score is last in A, best in B." in compare_runs(c, d).notes


def test_exploring_and_greedy_episodes_are_refused(tmp_path: Path) -> None:
    exploring = EVALUATED.replace("episodes: 20", "explore: true")
    a, b = make(tmp_path, "a", EVALUATED), make(tmp_path, "b", exploring)
    assert refusal(a, b) == "evaluation.explore is false in a, true in b"


def test_evaluations_do_not_matter_where_training_tells_the_scores(tmp_path: Path) -> None:
    exploring = EVALUATED.replace("episodes: 20", "explore: true")
    a, b = (
        open_run(make_run(tmp_path, name, spec=spec).root)
        for name, spec in (("a", EVALUATED), ("b", exploring))
    )
    assert len(compare_runs(a, b).runs) == 2


def test_episodes_that_are_cut_elsewhere_are_refused(tmp_path: Path) -> None:
    cut = EVALUATED.replace("episodes: 20", "max_episode_steps: 100")
    a, b = make(tmp_path, "a", EVALUATED), make(tmp_path, "b", cut)
    assert refusal(a, b) == "evaluation.max_episode_steps is none in a, 100 in b"


def test_a_cut_beyond_the_environments_own_limit_changes_nothing(tmp_path: Path) -> None:
    # CartPole's episodes end after 500 steps.
    specs = (
        SPEC,
        EVALUATED,
        EVALUATED.replace("episodes: 20", "max_episode_steps: 500"),
        EVALUATED.replace("episodes: 20", "max_episode_steps: 9000"),
    )
    runs = [make(tmp_path, f"run{place}", spec) for place, spec in enumerate(specs)]
    assert len(compare_runs(*runs).runs) == 4


def told_by(run: Run, metric: str, episodes: int) -> Run:
    """The run as if this metric had judged it, of so many episodes."""
    planned = run.results.confirmation
    assert planned is not None
    planned = replace(planned, episodes=episodes, objective={**planned.objective, "metric": metric})
    trials = tuple(
        replace(one, reports=({**one.last_report, metric: 1.0},)) for one in run.results.trials
    )
    results = replace(run.results, trials=trials, confirmation=planned)
    return replace(run, results=results, objective=replace(run.objective, metric=metric))


def test_the_extreme_of_more_episodes_is_another_one(tmp_path: Path) -> None:
    metric = "episode_return_min"
    judged = {f"replica/confirmation/{metric}": [1.0, 2.0, 3.0, 4.0, 5.0]}
    a, b = make(tmp_path, "a", **judged), make(tmp_path, "b", **judged)
    few, many = told_by(a, metric, 5), told_by(b, metric, 50)
    assert refusal(few, many) == "selection.confirm_episodes is 5 in a, 50 in b"
    few, many = (
        told_by(one, "episode_return_mean", episodes) for one, episodes in ((a, 5), (b, 50))
    )
    assert "selection.confirm_episodes is 5 in A, 50 in B." in compare_runs(few, many).notes


# --- what is only noted ------------------------------------------------------------------------


def test_another_budget_is_noted(tmp_path: Path) -> None:
    a = make(tmp_path, "a")
    b = make(tmp_path, "b", SPEC.replace("1000}", "2000, episode_return_mean: 475}"))
    c = make(tmp_path, "c", SPEC + "budget: {time_s: 60}\n")
    assert compare_runs(a, b, c).notes[0].startswith("Shares of pairs")
    assert (
        "They were given different amounts of training: stop.num_env_steps_sampled_lifetime is "
        "1000 in A and C, 2000 in B; stop.episode_return_mean is none in A and C, 475 in B; "
        "budget.time_s is none in A and B, 60 in C."
    ) in compare_runs(a, b, c).notes


def test_normalisation_and_seeds_are_noted(tmp_path: Path) -> None:
    normal = SPEC.replace("backend: rllib", "backend: torch")
    a = make(tmp_path, "a", normal)
    b = make(
        tmp_path,
        "b",
        normal.replace("CartPole-v1", "{id: CartPole-v1, normalize: {observations: true}}")
        + "seeds: 7\n",
    )
    notes = compare_runs(a, b).notes
    assert (
        "environment.normalize is {observations: false, rewards: false, images: false} in A, "
        "{observations: true, rewards: false, images: false} in B."
    ) in notes
    assert "The number of seeds in the search is 5 in A, 7 in B." in notes


def test_envpools_simulator_is_noted_where_gymnasiums_judges_and_refused_elsewhere(
    tmp_path: Path,
) -> None:
    plain = SPEC.replace("backend: rllib", "backend: torch")
    pool = plain.replace("CartPole-v1", "{id: CartPole-v1, vectorization: envpool}")
    a, b = make(tmp_path, "a", plain), make(tmp_path, "b", pool)
    note = "The simulator of the training is gymnasium's in A, envpool's in B."
    assert note in compare_runs(a, b).notes
    c = open_run(make_run(tmp_path, "c", spec=plain).root)
    d = open_run(make_run(tmp_path, "d", spec=pool).root)
    assert refusal(c, d).startswith("the simulator is gymnasium's in c, envpool's in d; if ")
