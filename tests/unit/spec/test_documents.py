"""YAML text becomes plain values with lines; problems are collected, never raised or executed."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
from effort import count_calls
from hypothesis import given
from hypothesis import strategies as st

from sweeper.search.distributions import is_distribution
from sweeper.spec.text.documents import Document, load_document
from sweeper.spec.text.scalars import parse_scalar
from sweeper.spec.text.yaml import parse_yaml


def load(path: Path, *overrides: str) -> Document:
    return load_document(path, overrides, shorthands={"environment": "id"}, is_leaf=is_distribution)


def write(folder: Path, text: str, name: str = "spec.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def messages(document: Document) -> list[str]:
    name = str(document.source)
    return [str(problem).replace(name, "FILE") for problem in document.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("0o17", 15),
        ("0x1F", 31),
        ("010", 10),
        ("-7", -7),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("~", None),
        ("null", None),
        ("", None),
        ("=", "="),
        ("inf", "inf"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: Any) -> None:
    parsed = parse_scalar(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(parse_scalar(".nan"))


def test_quoted_scalars_stay_text(tmp_path: Path) -> None:
    document = load(write(tmp_path, "a: '1'\nb: \"true\"\nc: |\n  1e5\n"))
    assert document.data == {"a": "1", "b": "true", "c": "1e5\n"}


def test_keys_are_always_text(tmp_path: Path) -> None:
    assert load(write(tmp_path, "on: 1\n2: 3\nnull: 4\n")).data == {"on": 1, "2": 3, "null": 4}


def test_every_key_and_item_has_its_line(tmp_path: Path) -> None:
    document = load(write(tmp_path, "a: 1\nb:\n  c: [1,\n    2]\n  d:\n    - x\n    - y: 3\n"))
    lines = {path: document.locate(path).line for path in document.locations}
    assert lines[("a",)] == 1
    assert lines[("b", "c")] == 3
    assert lines[("b", "c", 1)] == 4
    assert lines[("b", "d", 1, "y")] == 7
    assert document.locate(("b", "d", 1, "nowhere")).line == 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "FILE:3: a: the key is there twice, first on line 1; keep one"),
        (
            "a: {b: 1,\n b: 2}\n",
            "FILE:2: a.b: the key is there twice, first on line 1; keep one",
        ),
        (
            "a: !!python/object/apply:os.system [ls]\n",
            "FILE:1: a: tags (!!python/object/apply:os.system) are not allowed: a spec is plain "
            "data",
        ),
        (
            "a: !!str 3\n",
            "FILE:1: a: tags (!!str) are not allowed: a spec is plain data; quotes make a text",
        ),
        ("a: 1\nb: *x\n", "FILE:2: b: *x has no &x above"),
        ("a: &x [*x]\n", "FILE:1: a.0: *x refers to what it lies in"),
        (
            "a:\n\tb: 1\n",
            "FILE:2: a tab indents this line; YAML indents with spaces",
        ),
        ("a: 1\n---\nb: 2\n", "FILE:2: a second document starts here (---); a spec is one "
         "document"),
        ("[a]: 1\n", "FILE:1: a key must be plain text, not a list or a mapping"),
        ("? {a: 1}\n: 1\n", "FILE:1: a key must be plain text, not a list or a mapping"),
        ("- a\n- b\n", "FILE: the file is a list; a spec is a mapping, one `key: value` a line"),
        ("3\n", "FILE: the file is a single value; a spec is a mapping, one `key: value` a line"),
        ("", "FILE: the file is empty; a spec needs at least environment, algorithm and stop"),
        ("# only this\n", "FILE: the file is empty; a spec needs at least environment, algorithm "
         "and stop"),
        ("a: " + "9" * 5000, "FILE:1: a: a number of more digits than can be read"),
        ("x: &x {a: 1}\ny:\n  <<: *x\n", "FILE:3: y.<<: merge keys (<<) are not YAML 1.2; use "
         "extends, or write it out"),
        ("a: " + "[" * 100 + "]" * 100, "FILE:1: nested more than 50 levels deep"),
        ("a: 1\nb: x\0y\n", "FILE:2: this line holds a NUL byte: it is not text"),
        ("a: ${b.c}\nb: {cc: 1}\n",
         "FILE:1: a: ${b.c} refers to no key of this document; did you mean cc?"),
        ("a: ${b}\nb: ${a}\n", "FILE:1: a: the reference goes in a circle: b -> a -> b"),
        ("a: x${b}\nb: [1]\n",
         "FILE:1: a: ${b} is a list or a mapping, which can't be put inside a text"),
        ("a: ${env:SWEEPER_TEST_NOT_SET}\n",
         "FILE:1: a: the environment variable SWEEPER_TEST_NOT_SET is not set"),
    ],
)  # fmt: skip
def test_problems_of_a_text_have_their_line(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in messages(load(write(tmp_path, text)))


def test_a_truncated_file_is_a_problem_with_a_line(tmp_path: Path) -> None:
    (message,) = messages(load(write(tmp_path, "a: 1\nb: [1, 2\n")))
    assert message.startswith("FILE:3: not readable as YAML:")


def test_several_problems_are_found_at_once(tmp_path: Path) -> None:
    document = load(write(tmp_path, "a: 1\na: 2\nb: !!int 3\nc: ${d}\n"))
    assert [problem.location.line for problem in document.problems] == [2, 3, 4]


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    near = write(tmp_path, "a: 1\n", "cartpole.yaml")
    document = load(tmp_path / "cartpol.yaml")
    assert messages(document) == [f"FILE: there is no such file; did you mean {near}?"]


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert messages(load(tmp_path / "pipe")) == ["FILE: this is no regular file"]


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    with path.open("wb") as stream:
        stream.truncate(50 << 20)
    (message,) = messages(load(path))
    assert message == "FILE: the file has 52428800 bytes; a spec has at most 1 MiB"


def messages_at_once(folder: Path, lines: list[str]) -> list[str]:
    path, found = write(folder, "\n".join(lines)), list[str]()
    assert count_calls(lambda: found.extend(messages(load(path)))) < 5_000_000
    return found


def test_exploding_aliases_are_refused_quickly(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (message,) = messages_at_once(tmp_path, lines)
    assert "more than 10000 values" in message


def _quoted_reference(number: int) -> str:
    return f"'${{a{number}}}'"


def test_exploding_references_are_refused_quickly(tmp_path: Path) -> None:
    lines = ["a0: [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: [{', '.join([_quoted_reference(n - 1)] * 10)}]" for n in range(1, 12)]
    assert any("too large" in message for message in messages_at_once(tmp_path, lines))


def test_exploding_texts_are_refused_quickly(tmp_path: Path) -> None:
    lines = ["a0: " + "x" * 100]
    lines += [f"a{n}: " + f"${{a{n - 1}}}" * 10 for n in range(1, 12)]
    assert any("too large" in message for message in messages_at_once(tmp_path, lines))


def test_aliases_copy_what_they_stand_for(tmp_path: Path) -> None:
    document = load(write(tmp_path, "a: &x {k: [1]}\nb: *x\n"), "a.k=2")
    assert document.data == {"a": {"k": 2}, "b": {"k": [1]}}


# --- extends ---------------------------------------------------------------------------------


def test_extends_merges_key_by_key(tmp_path: Path) -> None:
    write(tmp_path, "search: {seed: 1, num_samples: 4}\nstop: {a: 1}\n", "base.yaml")
    child = write(tmp_path, "extends: base.yaml\nsearch: {num_samples: 8}\n")
    assert load(child).data == {"search": {"seed": 1, "num_samples": 8}, "stop": {"a": 1}}


def test_extends_is_found_beside_the_spec_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    write(tmp_path, "a: 1\n", "base/one.yaml")
    write(tmp_path, "extends: one.yaml\nb: 2\n", "base/two.yaml")
    assert load(write(tmp_path, "extends: base/two.yaml\nc: 3\n")).data == {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize(
    ("base", "child", "merged"),
    [
        ("{loguniform: [1, 2]}", "{choice: [1]}", {"choice": [1]}),
        ("{loguniform: [1, 2], when: {b: 1}}", "{loguniform: [3, 4]}", {"loguniform": [3, 4]}),
        ("{loguniform: [1, 2]}", "3", 3),
        ("3", "{loguniform: [1, 2]}", {"loguniform": [1, 2]}),
        ("[1, 2, 3]", "[4]", [4]),
        ("{x: 1}", "[4]", [4]),
        ("{choice: [1]}", "{x: 1}", {"x": 1}),
        ("{x: 1}", "{choice: [1]}", {"choice": [1]}),
    ],
)
def test_distributions_lists_and_scalars_replace_what_was_there(
    tmp_path: Path, base: str, child: str, merged: Any
) -> None:
    write(tmp_path, f"p: {base}\n", "base.yaml")
    assert load(write(tmp_path, f"extends: base.yaml\np: {child}\n")).data == {"p": merged}


def test_null_takes_a_key_away(tmp_path: Path) -> None:
    write(tmp_path, "a: {x: 1, y: 2}\nb: 1\n", "base.yaml")
    child = write(tmp_path, "extends: base.yaml\na: {x: null}\nb: null\n")
    assert load(child).data == {"a": {"y": 2}}


def test_tracking_null_switches_a_base_s_tracking_off(tmp_path: Path) -> None:
    write(tmp_path, "tracking: {experiment: x}\n", "base.yaml")
    assert load(write(tmp_path, "extends: base.yaml\ntracking: null\n")).data == {"tracking": None}


def test_a_shorthand_merges_with_the_long_form(tmp_path: Path) -> None:
    write(tmp_path, "environment: CartPole-v1\n", "base.yaml")
    child = write(tmp_path, "extends: base.yaml\nenvironment: {kwargs: {a: 1}}\n")
    assert load(child).data == {"environment": {"id": "CartPole-v1", "kwargs": {"a": 1}}}


def test_locations_name_the_file_whose_value_counts(tmp_path: Path) -> None:
    base = write(tmp_path, "a: {x: 1,\n y: 2}\nb:\n  c: 1\n", "base.yaml")
    child = write(tmp_path, "extends: base.yaml\n\na: {x: 3}\n")
    document = load(child)
    assert str(document.locate(("a", "x"))) == f"{child}:3"
    assert str(document.locate(("a", "y"))) == f"{base}:2"
    assert str(document.locate(("b", "c"))) == f"{base}:4"


def test_extends_in_a_circle_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path, "extends: spec.yaml\n", "base.yaml")
    document = load(write(tmp_path, "a: 1\nextends: base.yaml\n"))
    (problem,) = document.problems
    assert problem.message == "spec.yaml -> base.yaml -> spec.yaml goes in a circle"


def test_a_missing_base_is_a_problem_where_it_is_named(tmp_path: Path) -> None:
    document = load(write(tmp_path, "a: 1\nextends: nowhere.yaml\n"))
    missing = tmp_path / "nowhere.yaml"
    assert messages(document) == [f"FILE:2: extends: {missing}: there is no such file"]
    assert document.data == {"a": 1}


def test_extends_must_be_a_file_name(tmp_path: Path) -> None:
    document = load(write(tmp_path, "extends: [a]\n"))
    assert messages(document) == [
        "FILE:1: extends: must be the file of the spec to start from; found ['a']"
    ]


# --- references ------------------------------------------------------------------------------


def test_a_whole_reference_keeps_the_type(tmp_path: Path) -> None:
    document = load(write(tmp_path, "a: {n: 3, l: [1, 2]}\nb: ${a.n}\nc: ${a.l}\nd: ${a.l.1}\n"))
    assert document.data == {"a": {"n": 3, "l": [1, 2]}, "b": 3, "c": [1, 2], "d": 2}


def test_references_in_a_text_become_text(tmp_path: Path) -> None:
    document = load(write(tmp_path, "a: {n: 3, t: true}\nb: run-${a.n}-${a.t}\n"))
    assert document.data["b"] == "run-3-true"


def test_references_resolve_after_merging_and_overrides(tmp_path: Path) -> None:
    write(tmp_path, "name: ${algorithm}-${seed}\nseed: 1\nalgorithm: DQN\n", "base.yaml")
    child = write(tmp_path, "extends: base.yaml\nalgorithm: PPO\n")
    assert load(child, "seed=7").data["name"] == "PPO-7"


def test_references_go_through_references(tmp_path: Path) -> None:
    document = load(write(tmp_path, "a: ${b}\nb: ${c}\nc: 1e-3\n"))
    assert document.data == {"a": 1e-3, "b": 1e-3, "c": 1e-3}


def test_the_environment_is_read_as_yaml_would_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_TEST_N", "12")
    document = load(write(tmp_path, "a: ${env:SWEEPER_TEST_N}\nb: x/${env:SWEEPER_TEST_N}\n"))
    assert document.data == {"a": 12, "b": "x/12"}


def test_a_doubled_dollar_is_a_dollar(tmp_path: Path) -> None:
    assert load(write(tmp_path, "a: $${b}\nb: $5\n")).data == {"a": "${b}", "b": "$5"}


# --- overrides -------------------------------------------------------------------------------


def test_overrides_are_yaml(tmp_path: Path) -> None:
    document = load(
        write(tmp_path, "search: {num_samples: 4}\n"),
        "search.num_samples=64",
        "param_space.lr={loguniform: [1e-4, 1e-2]}",
        "stop.evaluation/episode_return_mean=475",
        "name=a=b",
        "x=null",
    )
    assert document.data == {
        "search": {"num_samples": 64},
        "param_space": {"lr": {"loguniform": [1e-4, 1e-2]}},
        "stop": {"evaluation/episode_return_mean": 475},
        "name": "a=b",
        "x": None,
    }
    assert str(document.locate(("param_space", "lr", "loguniform"))) == "command line"
    assert document.locate(("search",)).line == 1


def test_an_override_reaches_into_a_shorthand_and_a_list(tmp_path: Path) -> None:
    document = load(
        write(tmp_path, "environment: CartPole-v1\nl: [1, {a: 2}]\n"),
        "environment.kwargs.x=1",
        "l.1.a=5",
    )
    assert document.data == {
        "environment": {"id": "CartPole-v1", "kwargs": {"x": 1}},
        "l": [1, {"a": 5}],
    }


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seeds", "command line: 'seeds' is no override; write key.path=value"),
        ("=3", "command line: '=3' is no override; write key.path=value, in quotes where it has "
         "blanks"),
        ("[1e-4,", "command line: '[1e-4,' is no override; write key.path=value, in quotes where "
         "it has blanks"),
        ("x=", "command line: x: has no value; write x=null to leave it out"),
        ("x={loguniform:[1, 2]}", "command line: x: not readable as YAML: a colon without a blank "
         "after it; put one there, or quotes around"),
        ("a..b=3", "command line: 'a..b=3' is no override; write key.path=value"),
        ("extends=x.yaml", "command line: extends: can't be set here: it is composed before the "
         "overrides"),
        ("a=!!python/name:os.system x", "command line: a: tags (!!python/name:os.system) are not "
         "allowed: a spec is plain data"),
        ("l.5=1", "command line: l.5: 5 is no item of a list of 2"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_a_problem_of_the_command_line(
    tmp_path: Path, override: str, expected: str
) -> None:
    assert messages(load(write(tmp_path, "l: [1, 2]\n"), override)) == [expected]


@given(st.text(max_size=200))
def test_no_text_makes_the_parser_raise(text: str) -> None:
    parsed = parse_yaml(text, "f")
    assert parsed.value is None or not any(
        problem.location.file != "f" for problem in parsed.problems
    )


@given(
    st.lists(
        st.sampled_from(
            [
                "a",
                "&x",
                "*x",
                ":",
                "-",
                " ",
                "\n",
                "{",
                "}",
                "[",
                "]",
                ",",
                "!t",
                "'",
                '"',
                "|",
                "\t",
                "${a}",
                "#",
                "? ",
                "%",
            ]
        ),
        max_size=40,
    )
)
def test_no_shuffle_of_indicators_makes_the_parser_raise(tokens: list[str]) -> None:
    parse_yaml("".join(tokens), "f")
