"""MLflow's own pages of a real sweep, in a real browser, from the addresses of `sweeper ui`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser import open_browser
from mlflow_pages import SCORE, Pages, column_of, count_colours, opened, rows_of, run_sweep, serve

from sweeper.states import TrialState
from sweeper.tracking.naming import describe_parameters


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as started:
        yield started


@pytest.fixture(scope="module")
def pages(
    browser: Any, ray_cluster: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pages]:
    folder = tmp_path_factory.mktemp("pages")
    with serve(folder, run_sweep(folder)) as served:
        yield served


def _champion(pages: Pages) -> str:
    selection = pages.run.selection
    assert selection is not None
    return selection.trial_id


def _failed(pages: Pages) -> str:
    (failed,) = (one.trial_id for one in pages.run.results.trials if one.state is TrialState.ERROR)
    return failed


def _id_of(name: str) -> str:
    return name.split()[0]


def test_the_address_opens_on_the_trials_the_best_first_with_what_was_searched(
    browser: Any, pages: Pages
) -> None:
    with opened(browser, pages.trials_url) as page:
        names = rows_of(page, 12)
        headings = page.locator(".ag-header-cell-text, .ag-header-cell").all_inner_texts()
        for wanted in ("Decision/score", "Decision/score_confirmed", "lr", "entropy_coeff"):
            assert wanted in headings
        scores = column_of(page, SCORE, 12)
        assert scores[-1] is None
        assert _id_of(names[-1]) == _failed(pages)
        finite = [score for score in scores if score is not None]
        assert finite == sorted(finite, reverse=True)
        assert len(finite) == 11
        rows = {row["trial_id"]: row["score"] for row in pages.run.rows}
        for name, score in zip(names, finite, strict=False):
            assert score == pytest.approx(rows[_id_of(name)], rel=1e-3)
        assert [_id_of(name) for name in names if "★" in name] == [_champion(pages)]
        assert (
            sum(value is not None for value in column_of(page, f"{SCORE[:-1]}_confirmed`", 12)) == 2
        )
        # The view is one of the experiment's, by the run's name.
        assert page.get_by_test_id("saved-views-trigger").inner_text() == pages.run.paths.root.name


def test_the_chart_view_draws_curves_parallel_coordinates_and_the_score_over_each_parameter(
    browser: Any, pages: Pages
) -> None:
    from playwright.sync_api import expect

    with opened(browser, f"{pages.trials_url}&compareRunsMode=CHART") as page:
        cards = page.get_by_test_id("experiment-view-compare-runs-card")
        expect(cards).to_have_count(4)
        curves, parallel, over_lr, over_entropy = (cards.nth(number) for number in range(4))
        expect(curves.locator("g.scatterlayer path.js-line")).not_to_have_count(0)
        expect(curves.locator("g.xtitle, text.xtitle")).to_contain_text("Step")
        for chart, parameter in ((over_lr, "lr"), (over_entropy, "entropy_coeff")):
            chart.scroll_into_view_if_needed()
            expect(chart.locator("text.xtitle")).to_have_text(parameter)
            expect(chart.locator("g.points path")).to_have_count(11)
        parallel.scroll_into_view_if_needed()
        expect(parallel.locator("canvas").first).to_be_visible()
        for label in ("lr", "entropy_coeff", "Decision/score"):
            expect(parallel.locator("text", has_text=label).first).to_be_attached()


def test_the_experiment_lists_the_sweep_with_its_trials_folded(browser: Any, pages: Pages) -> None:
    with opened(browser, pages.experiment_url) as page:
        (name,) = rows_of(page, 1)
        assert name == pages.run.paths.root.name
        page.locator('.ag-row[row-index="0"]').get_by_role("button").first.click()
        names = rows_of(page, 1 + 12 + 1)
        assert names[0] == pages.run.paths.root.name
        assert sorted(map(_id_of, names[1:])) == sorted(
            ["confirmation", *(trial.trial_id for trial in pages.run.results.trials)]
        )


def test_a_column_of_a_searched_parameter_sorts(browser: Any, pages: Pages) -> None:
    from playwright.sync_api import expect

    tried = {one.trial_id: describe_parameters(one.parameters) for one in pages.run.results.trials}
    by_lr = sorted(tried, key=lambda trial_id: float(tried[trial_id]["lr"]))
    with opened(browser, pages.trials_url) as page:
        assert [_id_of(name) for name in rows_of(page, 12)] != by_lr
        for order in (by_lr[::-1], by_lr):
            page.get_by_test_id("sort-header-lr").click()
            first = page.locator('.ag-row[row-index="0"] [col-id="attributes.`Run Name`"]')
            expect(first).to_contain_text(order[0])
            assert [_id_of(name) for name in rows_of(page, 12)] == order


def test_ten_trials_are_compared_by_parallel_coordinates(browser: Any, pages: Pages) -> None:
    from playwright.sync_api import expect

    with opened(browser, pages.trials_url) as page:
        rows_of(page, 12)
        for row in range(10):
            box = page.locator(f'.ag-row[row-index="{row}"] input[type=checkbox]').first
            box.check(force=True)
        page.get_by_role("button", name="Compare").click()
        expect(
            page.get_by_role("heading", name="Comparing 10 Runs from 1 Experiment")
        ).to_be_visible()
        plot = page.locator(".js-plotly-plot")
        expect(plot.locator("g.axis-title, text.axis-title")).to_have_count(3)
        dimensions = plot.evaluate(
            "one => one.data[0].dimensions.map(axis => [axis.label, axis.values.length])"
        )
        # What was searched, and what ranks: nobody has to choose.
        assert dimensions == [["entropy_coeff", 10], ["lr", 10], ["Decision/score", 10]]
        assert count_colours(plot) > 2000


def test_the_sweep_s_page_says_who_won_how_sure_that_is_and_how_to_load_it(
    browser: Any, pages: Pages
) -> None:
    from playwright.sync_api import expect

    champion, selection = _champion(pages), pages.run.selection
    assert selection is not None
    with opened(browser, pages.sweep_url) as page:
        description = page.get_by_test_id("note-editor-preview-content")
        expect(description).to_contain_text(f"Champion: {champion}")
        page.get_by_text("Show more").click()
        words = description.inner_text()
        assert " ".join(selection.verdict_text.split()) in " ".join(words.split())
        assert "model = mlflow.pyfunc.load_model('models:/m-" in words
        assert "12 trials: 11 done, 1 failed." in words
        assert f"{_failed(pages)} (error: crashed: OSError: the simulator is gone)" in words
        with page.context.expect_page() as tab:
            description.get_by_role("link", name=champion, exact=True).first.click()
        tab.value.get_by_text("The champion of its sweep.").wait_for()
        expect(tab.value.get_by_role("heading", name=f"{champion} ★ lr=")).to_be_visible()


def test_the_sweep_s_artifacts_have_the_spec_as_it_was_written_and_as_resolved(
    browser: Any, pages: Pages
) -> None:
    with opened(browser, pages.sweep_url) as page:
        page.get_by_text("Artifacts", exact=True).click()
        page.get_by_text("spec_as_written.yaml", exact=True).click()
        page.get_by_text("# Twelve configurations, of which one fails.").wait_for()
        page.get_by_text("spec.yaml", exact=True).click()
        page.get_by_text("keep_trials").first.wait_for()  # by default, so nobody wrote it


def test_a_trial_s_curve_is_over_its_env_steps(browser: Any, pages: Pages) -> None:
    from playwright.sync_api import expect

    champion = _champion(pages)
    trial = pages.run.results.trial(champion)
    made = {row["num_env_steps_sampled_lifetime"] for row in trial.reports}
    with opened(browser, pages.trials_url) as page:
        rows_of(page, 12)
        page.get_by_role("link", name=f"{champion} ★").click()
        page.get_by_role("tab", name="Model metrics").click()
        card = page.get_by_test_id("experiment-view-compare-runs-card").first
        expect(card).to_contain_text("score")
        expect(card.locator("text.xtitle")).to_have_text("Step")
        steps = card.locator(".js-plotly-plot").evaluate("one => [...one.data[0].x]")
        assert set(steps) <= made
        assert steps[-1] == trial.env_steps == max(made)


def test_a_failed_trial_s_page_says_what_was_raised(browser: Any, pages: Pages) -> None:
    with opened(browser, pages.trials_url) as page:
        rows_of(page, 12)
        page.get_by_role("link", name=_failed(pages)).click()
        page.get_by_text("Failed", exact=True).wait_for()
        first = page.get_by_text("failed (crashed): OSError: the simulator is gone")
        first.wait_for()
        assert first.is_visible()
        page.get_by_text("Show more").click()
        page.get_by_text("The end of its log:").wait_for()
        assert 'raise OSError("the simulator is gone")' in page.locator("pre").first.inner_text()


def test_the_model_s_page_has_its_card_and_its_version_the_signature_and_the_alias(
    browser: Any, pages: Pages
) -> None:
    champion = _champion(pages)
    with opened(browser, pages.sweep_url) as page:
        page.get_by_role("link", name="cartpole agent").first.wait_for()
        page.get_by_role("link", name="champion", exact=True).first.click()
        card = f"PPO on ShakyCartPole-v0: the champion {champion} of the sweep"
        page.get_by_text(card).wait_for()
        assert page.get_by_role("link", name="cartpole agent").is_visible()
        page.get_by_text("Artifacts", exact=True).click()
        page.get_by_text("MLmodel", exact=True).wait_for()
    with opened(browser, pages.version_url) as page:
        page.get_by_text(card).wait_for()
        assert page.get_by_text("@ champion").is_visible()
        for part, tensor in (
            ("Inputs", "float32, shape: [-1,4]"),
            ("Outputs", "int64, shape: [-1]"),
        ):
            page.get_by_text(f"{part} (1)").click()
            page.get_by_text(f"Tensor (dtype: {tensor})").wait_for()
