"""What both renderers share: colours, symbols, thinning, texts, files."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_results import draw_sweep, report, source_of, trial

from sweeper.errors import UserError
from sweeper.opened_plots import BACKENDS, RunPlots
from sweeper.plots.catalogue import KINDS, draw, find_kind
from sweeper.plots.colours import CIVIDIS, PALETTE, STATE_LOOKS, colour_on_scale, series_style
from sweeper.plots.plotly_figure import THEMES, to_plotly
from sweeper.plots.saving import ENDINGS, save_chart
from sweeper.plots.texts import label_parameters, plain, shorten
from sweeper.plots.thinning import join_lines, keep_extremes
from sweeper.states import TrialState

# Machado et al. 2009, severity 1: linear RGB as a reader without red or green cones sees it.
DEUTERANOPIA = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
PROTANOPIA = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])


@pytest.mark.parametrize("eyes", [np.eye(3), DEUTERANOPIA, PROTANOPIA])
def test_the_palette_can_be_told_apart_by_colour_blind_readers(eyes: object) -> None:
    seen = [np.asarray(eyes) @ rgb(one) ** 2.2 for one in PALETTE]
    distances = [float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)]
    assert min(distances) > 0.09


def test_the_scale_grows_lighter_all_the_way() -> None:
    light = [rgb(one) @ [0.2126, 0.7152, 0.0722] for one in CIVIDIS]
    assert light == sorted(light)
    assert (colour_on_scale(0.0), colour_on_scale(1.0)) == (CIVIDIS[0], CIVIDIS[-1])


def test_states_differ_by_symbol_and_colour_and_word() -> None:
    assert set(STATE_LOOKS) == set(TrialState)
    for name in ("word", "colour", "symbol"):
        assert len({getattr(one, name) for one in STATE_LOOKS.values()}) == len(STATE_LOOKS)


def test_eighteen_series_differ() -> None:
    assert len({series_style(number) for number in range(18)}) == 18


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=600), st.integers(4, 100))
def test_thinning_keeps_ends_and_extremes(values: list[float], most: int) -> None:
    kept = keep_extremes(values, most)
    assert len(kept) <= max(most, 4)
    assert {0, len(values) - 1} <= set(kept.tolist())
    assert min(values) == min(values[place] for place in kept)
    assert max(values) == max(values[place] for place in kept)
    assert list(kept) == sorted(set(kept.tolist()))


def test_a_spike_survives_thinning_among_gaps() -> None:
    values = np.zeros(5000)
    values[1000:1200] = np.nan
    values[3333] = 7.0
    assert 3333 in keep_extremes(values, 50)


def test_joined_lines_have_a_gap_between_them() -> None:
    one = np.array([0.0, 1.0])
    x, y = join_lines([(one, one), (one, one + 5)])
    assert np.isnan(x).tolist() == np.isnan(y).tolist() == [False, False, True, False, False]


def test_long_names_are_shortened_to_labels_that_differ() -> None:
    names = [f"model_config.{'very_' * 20}long.{end}" for end in ("a" * 60, "a" * 61)]
    labels = label_parameters(names)
    assert len(set(labels.values())) == 2
    assert all(len(one) <= 36 for one in labels.values())
    assert shorten("a.b.c" * 20, 10).startswith("…")


def test_text_is_one_line_without_control_characters() -> None:
    assert plain("a\nb\x1b[31mc\x00\u202e") == "a bc\\x00\\u202e"


def test_a_kind_may_be_written_with_hyphens() -> None:
    assert find_kind("learning-curves").name == "learning_curves"


@pytest.mark.parametrize("name", ["learning_curve", "importance", "paralell_coordinates"])
def test_an_unknown_kind_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(UserError, match="did you mean"):
        draw(name, source_of([]))


def test_an_option_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="timeline has no option 'metric'"):
        draw("timeline", source_of([]), metric="x")


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_kind_has_a_method_that_takes_its_options(backend: str) -> None:
    plots = RunPlots(draw_sweep(3, reports=4))
    for kind in KINDS.values():
        figure = getattr(plots, kind.name)(backend=backend)
        assert type(figure).__module__.split(".")[0] == backend
    assert all(f".{name}()" in repr(plots) for name in KINDS)


def test_methods_have_the_options_of_the_catalogue() -> None:
    import inspect

    for kind in KINDS.values():
        parameters = list(inspect.signature(getattr(RunPlots, kind.name)).parameters)
        assert parameters == ["self", *kind.options, "backend"]


def test_an_unknown_backend_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean matplotlib"):
        RunPlots(source_of([])).timeline(backend="matplotlip")


@pytest.mark.parametrize("theme", THEMES)
def test_a_page_s_background_shows_through(theme: str) -> None:
    layout = to_plotly(draw("timeline", draw_sweep(3)), theme=theme).to_plotly_json()["layout"]
    assert layout["paper_bgcolor"] == layout["plot_bgcolor"] == "rgba(0,0,0,0)"
    assert len(json.dumps(layout)) < 3000  # without plotly's own template


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_chart_becomes_a_file_of_each_kind(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"a{ending}"
    save_chart(draw("learning_curves", draw_sweep(3)), file)
    head = file.read_bytes()[:15]
    if ending == ".svg":
        root = ElementTree.parse(file).getroot()  # noqa: S314 - our own
        assert root.tag.endswith("svg")
    elif ending == ".json":
        assert json.loads(file.read_text())["data"]
    else:
        begins = {".png": b"\x89PNG", ".pdf": b"%PDF", ".html": b"<!DOCTYPE html>"}
        assert head.startswith(begins[ending])
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("ending", [".png", ".pdf", ".json"])  # names in an SVG are random
def test_a_file_is_the_same_each_time(tmp_path: Path, ending: str) -> None:
    chart = draw("timeline", draw_sweep(3))
    for name in ("a", "b"):
        save_chart(chart, tmp_path / f"{name}{ending}")
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.pgn", r"did you mean \.png"),
        ("a", "it has none"),
        ("none/a.png", "there is no folder"),
        ("", "ending|folder"),
    ],
)
def test_a_file_that_can_t_be_is_one_clear_error(tmp_path: Path, name: str, said: str) -> None:
    chart = draw("timeline", source_of([trial(1, [report(1, [1.0])])]))
    with pytest.raises(UserError, match=said):
        save_chart(chart, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_figure_that_can_t_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_text("before")
    tmp_path.chmod(0o500)
    try:
        save_chart(draw("timeline", source_of([])), file)
    except UserError as error:
        assert "can't be written" in str(error)  # noqa: PT017 - root may write all the same
        assert file.read_text() == "before"
    finally:
        tmp_path.chmod(0o700)
