"""No text from a run becomes part of the page's structure."""

from __future__ import annotations

import pytest
from hostile_runs import ATTACK, MARKER, open_hostile
from hypothesis import given
from hypothesis import strategies as st
from report_pages import Element, Reader, read_page, section

from sweeper.markup import Html, joined, tag
from sweeper.report.elements import pairs, raw_script, wide_table
from sweeper.report.writing import _guarded
from sweeper.veil import HIDDEN, remember

ALLOWED = {
    "page", "html", "head", "meta", "title", "style", "body", "nav", "div", "a", "main", "header",
    "p", "h1", "h2", "h3", "span", "dl", "dt", "dd", "section", "table", "thead", "tbody", "tr",
    "th", "td", "data", "code", "pre", "button", "mark", "details", "summary", "ul", "li", "strong",
    "label", "input", "select", "option", "output", "figure", "figcaption", "footer", "script",
    "noscript",
}  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = open_hostile(tmp_path_factory.mktemp("runs"))
    return run.report().read_text()


@pytest.fixture(scope="module")
def page(text: str) -> Element:
    return read_page(text)


def test_hostile_texts_add_no_element_and_no_attribute(page: Element) -> None:
    for element in page.walk():
        assert element.name in ALLOWED, element.name
        for name in element.attributes:
            assert not name.startswith("on"), name
            assert name not in ("src", "style", "srcdoc"), name


def test_hostile_texts_are_shown_as_they_are(page: Element) -> None:
    for anchor in ("configuration", "trials", "excluded", "reproduce"):
        assert MARKER in section(page, anchor).text, anchor
    assert MARKER in page.find("header")[0].text


def test_no_script_holds_a_text_of_the_run_that_it_would_run(page: Element) -> None:
    for script in page.find("script"):
        if "type" not in script.attributes:
            assert MARKER not in script.text


def test_the_page_holds_no_control_character(text: str) -> None:
    own = text.replace("\n", "").replace("\t", "")
    assert not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in own)
    assert "\u202e" not in text
    assert "\\x1b" in text


def test_passwords_in_addresses_are_hidden() -> None:
    shown = tag("p", "at mysql://me:secret@host/x", title="mysql://me:secret@host/x")
    assert "secret" not in shown.text
    assert HIDDEN in shown.text


def test_words_of_the_page_stay_though_a_variable_has_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Values of variables are hidden where they enter the records, not in what is made of these."""
    monkeypatch.setattr("sweeper.veil._values", {})
    monkeypatch.setattr("sweeper.veil._pattern", [])
    remember("trials")
    assert tag("a", "2 trials", href="#trials").text == '<a href="#trials">2 trials</a>'
    failed = _guarded("The trials", _fail, None)
    assert "the token of ***" in failed.text


def _fail(_: object) -> Html:
    raise ValueError("the token of trials")


@given(st.text(), st.text())
def test_any_text_comes_back_as_text(words: str, title: str) -> None:
    shown = read_page(joined(tag("p", words, title=title), pairs((words, title))).text)
    names = [one.name for one in shown.walk()]
    assert names == ["page", "p", "dl", "div", "dt", "dd"]


@given(st.lists(st.text(), min_size=2, max_size=2))
def test_any_cell_stays_in_its_cell(cells: list[str]) -> None:
    shown = read_page(wide_table(("a", "b"), [(cells[0], cells[1])]).text)
    assert len(shown.find("td")) == 1
    assert len(shown.find("th", scope="row")) == 1


@pytest.mark.parametrize("end", ["</script>", "</SCRIPT >", "<!--"])
def test_a_script_can_t_end_its_own_element(end: str) -> None:
    with pytest.raises(ValueError, match="end of its element"):
        raw_script(f"let a = '{end}';")


def test_the_attack_would_work_if_it_were_not_escaped() -> None:
    assert {"img", "script"} <= {one.name for one in _loose(ATTACK).walk()}


def _loose(text: str) -> Element:
    reader = Reader()
    reader.handle_endtag = lambda tag: None  # type: ignore[method-assign]
    reader.feed(text)
    return reader.root
