"""What a notebook shows of a run, a plan, a spec, a selection and an agent: whole, and inert."""

from __future__ import annotations

from pathlib import Path

import pytest
from comparable_runs import make_confirmed
from run_folders import SPEC, make_run

import sweeper
from sweeper import space
from sweeper.markup import joined, table, tag
from sweeper.opened_run import Run, open_run

HOSTILE = "<script>alert(1)</script>\x1b[2J&\"'"


def test_markup_escapes_every_text_and_attribute_but_not_its_own_elements() -> None:
    inner = tag("b", HOSTILE, title=HOSTILE)
    page = joined(HOSTILE, inner, table((HOSTILE, "x"), [(HOSTILE, inner)])).text
    assert "<script" not in page
    assert "\x1b" not in page
    assert page.count("<b title=") == 2
    assert page.count("&lt;script&gt;") == 7
    assert 'title="&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[2J&amp;&quot;&#x27;"' in page


@pytest.mark.parametrize("ends", [[], ["ERROR"], ["ERROR", "ERROR"], ["RUNNING"], ["TERMINATED"]])
def test_a_run_shows_itself_whatever_came_of_it(tmp_path: Path, ends: list[str]) -> None:
    run = open_run(make_run(tmp_path, "made", ends).root)
    page, line = run._repr_html_(), repr(run)
    assert "<b>made</b>" in page
    assert "\n" not in line
    assert len(line) < 200
    assert line.startswith(f"<Run made: {run.state}")
    if run.best_trial is None:
        assert run.failure is not None
        assert joined(run.failure).text in page
    else:
        assert run.best_trial in page


def test_a_run_shows_its_verdict_its_evidence_and_its_ten_best(tmp_path: Path) -> None:
    run = open_run(make_confirmed(tmp_path, "a").root)
    page = run._repr_html_()
    assert joined(run.selection.verdict_text).text in page
    assert page.count("<table>") == 2
    assert "baseline" in page
    many = open_run(make_run(tmp_path, "many", ["TERMINATED"] * 14).root)._repr_html_()
    assert many.count('<th scope="row">') == 10
    assert "and 4 trials more" in many


def test_names_and_errors_of_a_run_are_inert(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "<img src=x onerror=alert(1)>", ["ERROR"])
    journal = paths.journal.read_bytes()
    assert b"ERROR" in journal
    run = open_run(paths.root)
    assert "<img" not in run._repr_html_()
    assert "&lt;img" in run._repr_html_()


def test_a_spec_and_a_plan_show_themselves(tmp_path: Path) -> None:
    spec = sweeper.load_spec(tmp_path / "spec.yaml", text=SPEC)
    assert repr(spec) == "<ExperimentSpec made: PPO on CartPole-v1, rllib, 1 seed>"
    assert joined(spec.to_yaml()).text in spec._repr_html_()
    plan = spec.plan()
    assert repr(plan) == "<SweepPlan made: 4 x 1 replica, 4,000 env steps>"
    assert "tries 4 configurations of PPO" in plan._repr_html_()


def test_a_selection_shows_itself_like_the_champion_and_results_in_a_line(tmp_path: Path) -> None:
    run = open_run(make_confirmed(tmp_path, "a").root)
    assert repr(run.selection) == repr(run.champion)
    assert run.selection._repr_html_() == run.champion._repr_html_()
    assert repr(run.results) == "<SweepResults a: finished, 2 trials>"
    assert len(repr(run.results.trials[0])) < 2000


def test_a_dictionary_is_a_spec_and_is_saved_as_one(tmp_path: Path) -> None:
    import numpy as np

    spec = sweeper.load_spec(
        {
            "name": "built",
            "environment": "CartPole-v1",
            "algorithm": "PPO",
            "seeds": (3, np.int64(5)),
            "param_space": {
                "lr": space.loguniform(1e-5, np.float64(1e-2)),
                "use_kl_loss": space.choice([True, False]),
                "kl_coeff": space.uniform(0.1, 0.5, when={"use_kl_loss": True}),
                "model_config": {"fcnet_hiddens": space.grid_search([(64, 64)])},
            },
            "search": {"num_samples": 4, "algorithm": "random"},
            "stop": {"num_env_steps_sampled_lifetime": 1000},
            "storage": tmp_path / "runs",
        }
    )
    assert spec.seeds == (3, 5)
    file = spec.save(tmp_path / "built.yaml")
    assert sweeper.load_spec(file) == spec
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(sweeper.UserError, match="can't be written"):
        spec.save(tmp_path / "missing" / "built.yaml")


def test_all_of_a_dictionary_s_problems_are_named_by_key(tmp_path: Path) -> None:
    wrong = {
        "environment": "CartPole-v1",
        "algoritm": "PPO",
        "param_space": {"lr": space.uniform(1, 0)},
    }
    with pytest.raises(sweeper.SpecError) as caught:
        sweeper.load_spec(wrong)
    keys = {problem.key for problem in caught.value.problems}
    assert {"algoritm", "param_space.lr.uniform", "stop"} <= keys
    with pytest.raises(sweeper.UserError, match="overrides go with"):
        sweeper.load_spec(wrong, ["seeds=2"])
    with pytest.raises(sweeper.UserError, match="overrides go with"):
        sweeper.run(wrong, ["seeds=2"])


KINDS = ["choice", "grid_search", "uniform", "quniform", "loguniform", "qloguniform", "randint"]
KINDS += ["qrandint", "lograndint", "qlograndint", "randn", "qrandn"]


def test_there_is_a_function_for_every_kind_of_distribution() -> None:
    from sweeper.search.distributions import KINDS as ALL

    assert set(space.__all__) == set(ALL) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_of_space_makes_what_the_file_would_have(kind: str) -> None:
    from sweeper.search.distributions import KINDS as ALL

    names = ALL[kind]
    arguments = {"lower": 2, "upper": 8, "q": 2, "mean": 0, "sd": 1}
    given = [[64, 128]] if names is None else [arguments[name] for name in names]
    made = getattr(space, kind)(*given, when={"x": 1})
    assert made == {kind: given[0] if names is None else given, "when": {"x": 1}}
    assert list(getattr(space, kind)(*given)) == [kind]


def test_runs_are_listed_as_a_table_the_damaged_ones_with_their_reason(tmp_path: Path) -> None:
    make_run(tmp_path, "a-20260101-000000", ["TERMINATED", "ERROR"])
    make_confirmed(tmp_path, "b-20260101-000001")
    damaged = make_run(tmp_path, "c-20260101-000002", ["TERMINATED"])
    damaged.spec.write_text("]")
    frame = sweeper.list_runs(tmp_path).set_index("run")
    assert frame.loc["a-20260101-000000", ["trials", "done", "failed"]].tolist() == [4, 1, 1]
    assert frame.loc["b-20260101-000001", "verdict"] == "better"
    assert frame.loc["c-20260101-000002", "state"] == "damaged"
    assert frame.loc["c-20260101-000002", "problem"]
    assert str(frame["started"].dtype).startswith("datetime64")
    assert len(sweeper.list_runs(tmp_path / "nothing")) == 0


def test_the_environment_of_a_run_is_built_with_what_the_spec_gave_it(tmp_path: Path) -> None:
    spec = SPEC.replace(
        "environment: CartPole-v1",
        "environment: {id: CartPole-v1, wrappers: [gymnasium.wrappers.TimeAwareObservation]}",
    )
    run = open_run(make_run(tmp_path, "w", ["TERMINATED"], spec=spec).root)
    with pytest.raises(sweeper.UserError, match=r"import gymnasium\.wrappers"):
        run.make_env()  # this user did not make the run
    env = run.make_env(render_mode="rgb_array", trust=True)
    assert env.observation_space.shape == (5,)
    assert env.render_mode == "rgb_array"
    env.close()
    with pytest.raises(sweeper.UserError, match="no spec"):
        Run(run.results, run.objective).make_env()
