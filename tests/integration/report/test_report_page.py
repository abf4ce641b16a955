"""The report in a real browser: from disk, without a network, under its own policy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import open_browser, visit
from comparable_runs import make_confirmed
from hostile_runs import open_hostile
from made_results import draw_sweep

from sweeper.opened_run import open_run
from sweeper.report.source import ReportSource
from sweeper.report.writing import write_report

PHONE = {"width": 390, "height": 844}
SHOWN = "[...document.querySelectorAll('#trials-table tbody tr')].filter(row => !row.hidden)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as started:
        yield started


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("runs")
    return open_run(make_confirmed(storage, "confirmed-20260101-000000").root).report()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of 1,000 trials, of which some failed and many were pruned."""
    folder = tmp_path_factory.mktemp("large")
    plots = draw_sweep(1000)
    source = ReportSource(
        results=replace(plots.results, root=folder),
        judged_by=plots.objective,
        spec=None,
        selection=plots.selection,
        failure=None,
        plots=plots,
        problems=(),
        now=time.time(),
    )
    return write_report(source, folder / "report.html")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return open_hostile(tmp_path_factory.mktemp("hostile")).report()


def _wait(page: Any) -> None:
    # Not `wait_for_function`, which evaluates texts: the page's policy forbids it.
    page.locator("html[data-ready]").wait_for(state="attached")


def _scroll_through(page: Any) -> None:
    _wait(page)
    for number, chart in enumerate(page.locator("div.chart").all()):
        chart.scroll_into_view_if_needed()
        page.locator("div.chart").nth(number).locator("svg.main-svg").first.wait_for()


def _rows(page: Any) -> list[str]:
    return list(page.evaluate(f"{SHOWN}.map(row => row.cells[0].textContent.trim().split(' ')[0])"))


@pytest.mark.parametrize("which", ["confirmed", "large", "hostile"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_draws_every_chart_asks_for_nothing_and_breaks_no_rule(
    which: str, scheme: str, browser: Any, request: pytest.FixtureRequest
) -> None:
    file = request.getfixturevalue(which)
    with visit(browser, file, color_scheme=scheme) as seen:
        _scroll_through(seen.page)
        drawn = seen.page.locator("div.chart[data-drawn] svg.main-svg").count()
        assert drawn >= seen.page.locator("div.chart").count() >= 2
        assert seen.requests == [file.resolve().as_uri()]
        assert seen.said == []


def test_hostile_texts_do_nothing(browser: Any, hostile: Path) -> None:
    with visit(browser, hostile) as seen:
        _scroll_through(seen.page)
        for trial in ("t0001", "t0002"):
            assert trial in seen.page.locator("#trials-table").inner_text()
        assert seen.page.evaluate("window.attacked === undefined")
        assert seen.page.locator("img").count() == 0
        assert "evil.test" in seen.page.content()
        assert "evil.test" not in " ".join(seen.requests)


def test_the_policy_would_stop_a_script_that_came_in(browser: Any, confirmed: Path) -> None:
    with visit(browser, confirmed) as seen:
        _wait(seen.page)
        seen.page.evaluate(
            "() => { const one = document.createElement('script');"
            " one.textContent = 'window.attacked = 1'; document.body.append(one); }"
        )
        assert seen.page.evaluate("window.attacked === undefined")
        assert any("Content Security Policy" in words for words in seen.said)


def test_a_column_sorts_both_ways_by_mouse_and_by_keyboard(browser: Any, large: Path) -> None:
    with visit(browser, large) as seen:
        page = seen.page
        first = _rows(page)
        heading = page.locator("#trials-table").get_by_role("columnheader", name="Env steps")
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "ascending"
        column = heading.evaluate("one => one.cellIndex")
        values = (
            f"{SHOWN}.map(row => row.cells[{column}].dataset.value).filter(Boolean).map(Number)"
        )
        steps = page.evaluate(values)
        assert steps == sorted(steps)
        assert len(steps) > 900
        heading.get_by_role("button").focus()
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == "descending"
        assert page.evaluate(values) == steps[::-1]
        # What has no number is last in either direction.
        last = page.evaluate(f"{SHOWN}.at(-1).cells[{column}].dataset.value ?? null")
        assert last is None
        page.locator("#trials-table").get_by_role("columnheader", name="Trial").get_by_role(
            "button"
        ).click()
        assert _rows(page) == first


def test_the_filter_takes_words_and_conditions(browser: Any, large: Path) -> None:
    with visit(browser, large) as seen:
        page = seen.page
        box = page.locator("#filter")
        box.fill("score>400 lr<0.001")
        cells = f"{SHOWN}.map(row => [2, 3].map(at => Number(row.cells[at].dataset.value)))"
        kept = page.evaluate(cells)
        box.fill("")
        every = page.evaluate(cells)
        assert len(every) == 1000
        expected = [pair for pair in every if pair[0] > 400 and pair[1] < 0.001]
        assert kept == expected
        assert 0 < len(kept) < 500
        box.fill("no such luck")
        page.locator("#state").select_option("failed")
        failed = len(_rows(page))
        assert page.locator("#shown").inner_text() == f"{failed} of 1000 trials"
        box.fill("")
        assert len(_rows(page)) == failed > 10


@pytest.mark.parametrize("has_clipboard", [True, False])
def test_the_copy_button_copies_the_spec(
    has_clipboard: bool, browser: Any, confirmed: Path
) -> None:
    with visit(browser, confirmed) as seen:
        page = seen.page
        if not has_clipboard:
            page.evaluate("delete Navigator.prototype.clipboard")
        block = page.locator("#configuration .copied")
        block.get_by_role("button", name="Copy").click()
        block.get_by_text("Copied").wait_for()
        page.locator("#filter").focus()
        page.keyboard.press("Control+V")
        pasted = page.locator("#filter").input_value()
        assert pasted.split() == block.locator("code").inner_text().split()


def test_dark_mode_changes_the_page_and_its_charts(browser: Any, confirmed: Path) -> None:
    from playwright.sync_api import expect

    ink = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    paper = "getComputedStyle(document.body).backgroundColor"
    with visit(browser, confirmed, color_scheme="light") as seen:
        _scroll_through(seen.page)
        light = [seen.page.evaluate(one) for one in (ink, paper)]
        seen.page.emulate_media(color_scheme="dark")
        expect(seen.page.locator(".plot .xtick text").first).not_to_have_css("fill", light[0])
        dark = [seen.page.evaluate(one) for one in (ink, paper)]
    assert [_brightness(one) > 128 for one in light] == [False, True]
    assert [_brightness(one) > 128 for one in dark] == [True, False]


def _brightness(colour: str) -> float:
    numbers = colour[colour.index("(") + 1 : -1].split(",")[:3]
    return sum(map(float, numbers)) / 3


def test_on_paper_every_chart_is_drawn_and_the_controls_are_gone(
    browser: Any, large: Path, tmp_path: Path
) -> None:
    with visit(browser, large) as seen:
        page = seen.page
        _wait(page)
        file = tmp_path / "page.pdf"
        page.pdf(path=str(file), format="A4")
        assert file.stat().st_size > 50_000
        undrawn = "[...document.querySelectorAll('div.chart')].filter(one => !one.dataset.drawn)"
        assert page.evaluate(f"{undrawn}.length") == 0
        page.emulate_media(media="print")
        assert not page.locator("nav").is_visible()
        assert not page.locator("#filter").is_visible()
        rows = page.locator("#trials-table tbody tr")
        assert rows.nth(99).is_visible()
        assert not rows.nth(100).is_visible()


@pytest.mark.parametrize("which", ["confirmed", "large", "hostile"])
def test_on_a_phone_the_page_does_not_scroll_sideways(
    which: str, browser: Any, request: pytest.FixtureRequest
) -> None:
    with visit(browser, request.getfixturevalue(which), viewport=PHONE) as seen:
        _scroll_through(seen.page)
        for details in seen.page.locator("details").all():
            details.evaluate("one => { one.open = true; }")
        assert seen.page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_without_scripts_all_but_the_charts_can_be_read(browser: Any, confirmed: Path) -> None:
    with visit(browser, confirmed, java_script_enabled=False) as seen:
        assert seen.page.locator("#trials-table tbody tr").count() == 2
        assert not seen.page.locator("#filter").is_visible()
        assert not seen.page.locator("button.copy").first.is_visible()
        assert seen.page.get_by_text("This chart is drawn by a script").first.is_visible()
