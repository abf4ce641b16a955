"""The param space expands as Tune expands it, and conditions drop what does not apply."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.search.distributions import (
    Distribution,
    constants,
    distributions,
    is_distribution,
    parse_space,
)
from sweeper.search.expansion import Sample, check_points, count, expand


def space_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    space, problems = parse_space(raw)
    assert problems == []
    return space


def configurations(
    raw: Mapping[str, Any],
    num_samples: int = 1,
    seed: int = 0,
    points: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    return [sample.configuration for sample in expand(space_of(raw), num_samples, seed, points)]


@pytest.mark.parametrize(
    ("raw", "middle"),
    [
        ({"choice": [64, 128, 256, 512]}, 128),
        ({"choice": [[64, 64]]}, [64, 64]),
        ({"uniform": [0.0, 1.0]}, 0.5),
        ({"loguniform": [1e-4, 1e-2]}, 0.001),
        ({"randint": [1, 31]}, 16),
        ({"randint": [1, 2]}, 1),
        ({"lograndint": [1, 101]}, 10),
        ({"quniform": [0.0, 1.0, 0.25]}, 0.5),
        ({"qrandint": [7, 15, 8]}, 8),
        ({"randn": [0.5, 0.1]}, 0.5),
    ],
)
def test_the_middle_of_a_distribution_can_be_drawn(raw: dict[str, Any], middle: object) -> None:
    leaf = space_of({"lr": raw})["lr"]
    assert leaf.middle == middle
    assert leaf.contains(middle)


# --- against Tune ----------------------------------------------------------------------------


def to_tune(value: Any) -> Any:
    from ray import tune

    if isinstance(value, Distribution):
        make = getattr(tune, value.kind)
        return make(list(value.args)) if value.values is not None else make(*value.args)
    if isinstance(value, Mapping):
        return {key: to_tune(item) for key, item in value.items()}
    return value


def tune_configurations(
    space: Mapping[str, Any], num_samples: int, seed: int, points: Sequence[Mapping[str, Any]]
) -> list[Any]:
    """What the trials of Tune's own generator would be given, without making trials."""
    from ray.tune.search.basic_variant import _TrialIterator
    from ray.tune.search.sample import _BackwardsCompatibleNumpyRng

    class Specs(_TrialIterator):  # type: ignore[misc]
        def create_trial(self, resolved_vars: Any, spec: Any) -> Any:
            return spec["config"]

    iterator = Specs(
        uuid_prefix="",
        num_samples=num_samples,
        unresolved_spec={"run": "x", "config": to_tune(space)},
        points_to_evaluate=list(points),
        random_state=_BackwardsCompatibleNumpyRng(seed),
    )
    return list(iterator)


numbers = st.integers(-50, 50)
floats = st.floats(-100, 100, allow_nan=False, width=32)
scalars = st.one_of(st.booleans(), numbers, floats, st.text("abc", max_size=3), st.none())
values = st.lists(st.one_of(scalars, st.lists(numbers, max_size=3)), min_size=1, max_size=3)


@st.composite
def ranges(draw: st.DrawFn) -> Distribution:
    kind = draw(
        st.sampled_from(
            ["uniform", "quniform", "loguniform", "qloguniform", "randint", "qrandint",
             "lograndint", "qlograndint", "randn", "qrandn"]
        )
    )  # fmt: skip
    if kind in {"randn", "qrandn"}:
        args = [draw(floats), draw(st.floats(0.1, 10))]
        return Distribution(kind, (*args, 0.5) if kind == "qrandn" else tuple(args))
    least = 1 if "log" in kind else -50
    if "int" in kind:
        q = draw(st.integers(1, 5))
        lower = draw(st.integers(least, 50))
        upper = lower + draw(st.integers(5, 100))
        return Distribution(kind, (lower, upper, q) if kind.startswith("q") else (lower, upper))
    if kind.startswith("q"):
        q = draw(st.sampled_from([0.1, 0.25, 2.0, 3]))
        first = draw(st.integers(least, 50))
        steps = draw(st.integers(1, 40))
        return Distribution(kind, (first * q, (first + steps) * q, q))
    low = draw(st.floats(1e-3, 10) if "log" in kind else floats)
    return Distribution(kind, (low, low + draw(st.floats(0.5, 100))))


leaves = st.one_of(
    scalars,
    st.lists(numbers, max_size=3),
    values.map(lambda items: Distribution("choice", tuple(items))),
    values.map(lambda items: Distribution("grid_search", tuple(items))),
    ranges(),
)
names = st.text("abcdefgh", min_size=1, max_size=2)
spaces = st.dictionaries(
    names, st.one_of(leaves, st.dictionaries(names, leaves, max_size=3)), max_size=5
)


def _canonical(configuration: Any) -> str:
    return repr(configuration)  # tells 1 from 1.0 from True, and is equal for nan


@given(spaces, st.integers(1, 3), st.integers(0, 2**32 - 1), st.data())
def test_configurations_are_those_of_tune_in_tune_s_order(
    space: dict[str, Any], num_samples: int, seed: int, data: st.DataObject
) -> None:
    points = []
    for _ in range(data.draw(st.integers(0, 2))):
        point: dict[str, Any] = {}
        for path, leaf in distributions(space):
            # Tune can't take a list where the space has a distribution.
            pool = [v for v in leaf.values or () if not isinstance(v, list)]
            if pool and data.draw(st.booleans()):
                inner = point
                for key in path[:-1]:
                    inner = inner.setdefault(key, {})
                inner[path[-1]] = data.draw(st.sampled_from(pool))
        points.append(point)
    ours = [sample.configuration for sample in expand(space, num_samples, seed, points)]
    theirs = tune_configurations(space, num_samples, seed, points)
    assert [_canonical(one) for one in ours] == [_canonical(one) for one in theirs]
    assert len(ours) == count(space, num_samples, points)


# --- expansion -------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 3))
def test_a_grid_s_size_is_the_product(sizes: list[int], num_samples: int) -> None:
    raw = {f"p{n}": {"grid_search": list(range(size))} for n, size in enumerate(sizes)}
    made = configurations(raw, num_samples)
    expected = [dict(zip(raw, point, strict=True)) for point in
                itertools.product(*(range(size) for size in sizes))]  # fmt: skip
    assert len(made) == num_samples * len(expected)
    assert all(made.count(point) == num_samples for point in expected)


def test_a_sample_separates_parameters_from_constants() -> None:
    raw = {"lr": {"choice": [0.1]}, "gamma": 0.9, "m": {"a": {"grid_search": [1]}, "b": [2]}}
    (sample,) = expand(space_of(raw), 1, 0)
    assert sample == Sample(
        configuration={"lr": 0.1, "gamma": 0.9, "m": {"a": 1, "b": [2]}},
        parameters={"lr": 0.1, "m": {"a": 1}},
    )


def test_a_space_without_distributions_is_one_configuration() -> None:
    assert configurations({"lr": 1e-3}) == [{"lr": 1e-3}]
    assert configurations({}) == [{}]


def test_expansion_is_lazy() -> None:
    raw = {f"p{n}": {"grid_search": list(range(10))} for n in range(12)}
    assert next(iter(expand(space_of(raw), 1, 0))).configuration["p0"] == 0
    assert count(space_of(raw), 1) == 10**12


def test_configurations_share_nothing() -> None:
    raw = {"a": {"choice": [[1, 2]]}, "b": [3]}
    first, second = configurations(raw, 2)
    first["a"].append(9)
    first["b"].append(9)
    assert second == {"a": [1, 2], "b": [3]}


def test_points_come_first_and_count_inside_num_samples() -> None:
    raw = {"a": {"uniform": [0, 1]}, "m": {"h": {"choice": [[64, 64], [8]]}}}
    points = [{"a": 0.5, "m": {"h": [8]}}, {"m": {"h": [64, 64]}}]
    made = configurations(raw, 3, 0, points)
    assert made[0] == {"a": 0.5, "m": {"h": [8]}}
    assert made[1]["m"] == {"h": [64, 64]}
    assert len(made) == count(space_of(raw), 3, points) == 3


def test_a_point_that_leaves_the_grid_open_takes_all_of_it() -> None:
    raw = {"a": {"grid_search": [1, 2]}, "b": {"choice": [3, 4]}}
    points = [{"b": 3}, {"a": 2, "b": 4}]
    made = configurations(raw, 3, 0, points)
    assert made[:3] == [{"a": 1, "b": 3}, {"a": 2, "b": 3}, {"a": 2, "b": 4}]
    assert len(made) == count(space_of(raw), 3, points) == 5


def test_other_seeds_draw_other_values() -> None:
    raw = {"a": {"uniform": [0, 1]}}
    assert configurations(raw, 3, 0) == configurations(raw, 3, 0)
    assert configurations(raw, 3, 0) != configurations(raw, 3, 1)


# --- conditions ------------------------------------------------------------------------------

CONDITIONAL = {
    "use_kl_loss": {"grid_search": [True, False]},
    "kl_coeff": {"uniform": [0.1, 0.3], "when": {"use_kl_loss": True}},
    "lr": {"uniform": [0, 1]},
}


def test_a_parameter_is_dropped_where_its_condition_does_not_hold() -> None:
    on, off = expand(space_of(CONDITIONAL), 1, 0)
    assert on.configuration["use_kl_loss"] is True
    assert "kl_coeff" in on.configuration
    assert "kl_coeff" in on.parameters
    assert "kl_coeff" not in off.configuration
    assert "kl_coeff" not in off.parameters


def test_a_condition_changes_no_other_value() -> None:
    free = {**CONDITIONAL, "kl_coeff": {"uniform": [0.1, 0.3]}}
    with_condition = [one["lr"] for one in configurations(CONDITIONAL, 3)]
    assert with_condition == [one["lr"] for one in configurations(free, 3)]


def test_a_grid_over_an_inactive_parameter_is_one_configuration() -> None:
    raw = {
        "use_kl_loss": {"grid_search": [True, False]},
        "kl_coeff": {"grid_search": [0.1, 0.2, 0.3], "when": {"use_kl_loss": True}},
    }
    made = configurations(raw)
    assert sorted(map(repr, made)) == sorted(
        map(
            repr,
            [
                {"use_kl_loss": True, "kl_coeff": 0.1},
                {"use_kl_loss": True, "kl_coeff": 0.2},
                {"use_kl_loss": True, "kl_coeff": 0.3},
                {"use_kl_loss": False},
            ],
        )
    )
    assert count(space_of(raw), 2) == 8


def test_a_condition_on_a_dropped_parameter_does_not_hold() -> None:
    raw = {
        "a": {"choice": [False]},
        "b": {"choice": [1], "when": {"a": True}},
        "c": {"choice": [5], "when": {"b": 1}},
    }
    _, problems = parse_space(raw)
    assert [problem.message for problem in problems] == ["a is never true, so this never applies"]
    raw["a"] = {"choice": [False, True]}
    made = configurations(raw, 30)
    assert {repr(one) for one in made} == {
        "{'a': False}",
        "{'a': True, 'b': 1, 'c': 5}",
    }


def test_a_condition_can_list_several_values_and_name_a_nested_key() -> None:
    raw = {
        "m": {"kind": {"grid_search": ["x", "y", "z"]}},
        "p": {"choice": [1], "when": {"m.kind": ["x", "y"]}},
    }
    assert ["p" in one for one in configurations(raw)] == [True, True, False]


@given(st.integers(0, 1000), st.integers(1, 4))
def test_counting_agrees_with_expanding_under_conditions(seed: int, num_samples: int) -> None:
    raw = {
        "a": {"grid_search": [1, 2]},
        "b": {"choice": [1, 2]},
        "c": {"grid_search": [1, 2, 3], "when": {"a": 1}},
        "d": {"grid_search": [1, 2], "when": {"b": 1}},
        "e": {"grid_search": [1, 2], "when": {"c": 2}},
    }
    space = space_of(raw)
    assert len(list(expand(space, num_samples, seed))) == count(space, num_samples)


def test_a_range_over_whole_numbers_past_64_bits_can_be_drawn_from() -> None:
    space = space_of({"lr": {"loguniform": [3e-4, 10**40]}})
    drawn = [sample.parameters["lr"] for sample in expand(space, 5, 0)]
    assert all(3e-4 <= value <= 1e40 for value in drawn)


# --- parsing ---------------------------------------------------------------------------------


def test_a_parsed_distribution_is_written_as_it_was() -> None:
    raw = {"lr": {"loguniform": [1e-5, 1e-2], "when": {"a": [1]}}, "a": {"choice": [1, [2]]}}
    space = space_of(raw)
    assert {name: leaf.to_plain() for name, leaf in space.items()} == raw


def test_constants_are_not_searched() -> None:
    space = space_of({"a": 1, "m": {"b": {"choice": [1]}, "c": 2}, "n": {"d": {"choice": [1]}}})
    assert constants(space) == {"a": 1, "m": {"c": 2}}


@pytest.mark.parametrize(
    ("leaf", "where", "message"),
    [
        ({"choice": []}, ("choice",), "choice has no values to take"),
        ({"grid_search": 3}, ("grid_search",),
         "grid_search takes a list: grid_search: [value, …]; found 3"),
        ({"uniform": [2, 1]}, ("uniform",),
         "an empty range: 2 is not below 1; did you mean [1, 2]?"),
        ({"randint": [1, 1]}, ("randint",), "an empty range: 1 is not below 1"),
        ({"uniform": [1]}, ("uniform",), "uniform takes [lower, upper]; found [1]"),
        ({"uniform": [1, "x"]}, ("uniform",),
         "uniform takes [lower, upper], all numbers; upper is 'x'"),
        ({"uniform": [True, 2]}, ("uniform",),
         "uniform takes [lower, upper], all numbers; lower is true"),
        ({"uniform": [0, float("inf")]}, ("uniform",),
         "uniform takes [lower, upper], all finite; upper is .inf"),
        ({"uniform": [float("nan"), 1]}, ("uniform",),
         "uniform takes [lower, upper], all finite; lower is .nan"),
        ({"loguniform": [0, 1]}, ("loguniform",), "a log range must lie above 0; lower is 0"),
        ({"lograndint": [-1, 5]}, ("lograndint",), "a log range must lie above 0; lower is -1"),
        ({"randint": [1.5, 3]}, ("randint",),
         "randint takes [lower, upper], all integers; lower is 1.5"),
        ({"quniform": [0, 1, 0.3]}, ("quniform",),
         "upper (1) is not a multiple of q=0.3; 0.9 and 1.2 are"),
        ({"quniform": [0, 1, 0]}, ("quniform",), "q must be above 0, found 0"),
        ({"qrandint": [1, 3, 5]}, ("qrandint",), "no multiple of q=5 lies between 1 and 3"),
        ({"randn": [0, 0]}, ("randn",), "randn takes [mean, sd]; sd must be above 0, found 0"),
        ({"logunifrom": [1, 2]}, (), "unknown distribution logunifrom; did you mean "
         "loguniform?"),
        ({"choice": [1], "lower": 3}, (),
         "a distribution stands alone, beside `when` at most; found also lower"),
        ({"choice": [1], "uniform": [1, 2]}, (),
         "a distribution stands alone, beside `when` at most; found also uniform"),
        ({"choice": [{"uniform": [1, 2]}]}, ("choice",),
         "a value of choice can't be a distribution itself; found {uniform: [1, 2]}"),
        ({"choice": [{"eval": "1/0"}]}, ("choice",),
         "eval is refused: a spec is data and runs no code; write values or a distribution"),
        ([1, {"uniform": [1, 2]}], (),
         "a distribution can't stand in a list; list whole values under choice"),
        ({"choice": [1], "when": 3}, ("choice",),
         "when is a mapping of other parameters to the values they must have"),
        ({"choice": [1], "when": {"othr": 1}}, ("when", "othr"),
         "othr is not in param_space; did you mean other?"),
        ({"choice": [1], "when": {"other": 7}}, ("when", "other"),
         "other is never 7, so this never applies"),
        ({"choice": [1], "when": {"x": 1}}, ("when", "x"), "the condition goes in a circle over x"),
    ],
)  # fmt: skip
def test_a_wrong_distribution_is_explained(leaf: Any, where: tuple[str, ...], message: str) -> None:
    _, problems = parse_space({"x": leaf, "other": 1})
    assert [(problem.path, problem.message) for problem in problems] == [(("x", *where), message)]


@pytest.mark.parametrize(
    ("point", "where", "message"),
    [
        ({"lrr": 1}, (0, "lrr"), "lrr is not searched in param_space; did you mean lr?"),
        ({"lr": 2.0}, (0, "lr"), "2.0 is outside of loguniform [0.1, 1]"),
        ({"lr": "x"}, (0, "lr"), "'x' is outside of loguniform [0.1, 1]"),
        ({"m": {"h": [9]}}, (0, "m", "h"), "[9] is outside of choice [[64], [8, 8]]"),
        ({"n": 5}, (0, "n"), "5 is outside of randint [1, 5]"),
        ({"n": True}, (0, "n"), "true is outside of randint [1, 5]"),
        ({"c": 1}, (0, "c"), "c is not searched in param_space"),
    ],
)
def test_points_outside_of_the_space_are_named(
    point: dict[str, Any], where: tuple[Any, ...], message: str
) -> None:
    space = space_of(
        {
            "lr": {"loguniform": [0.1, 1]},
            "m": {"h": {"choice": [[64], [8, 8]]}},
            "n": {"randint": [1, 5]},
            "c": 3,
        }
    )
    (problem,) = check_points(space, [point])
    assert (problem.path, problem.message) == (where, message)


def test_only_a_mapping_of_one_known_name_is_a_distribution() -> None:
    assert is_distribution({"choice": [1]})
    assert is_distribution({"choice": [1], "when": {}})
    assert not is_distribution({"when": {}})
    assert not is_distribution({"choice": [1], "uniform": [1, 2]})
    assert not is_distribution({"fcnet_hiddens": [1]})
    assert not is_distribution([1])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("othr", "did you mean other?"),
        ("use_kl", "did you mean use_kl_loss? set it there too"),
        ("use_kl_loss", "a condition names another key of param_space"),
        ("model_config.fcnet_hidens", "did you mean model_config.fcnet_hiddens? set it there too"),
        ("frobnicate", "a condition names another key of param_space"),
    ],
)
def test_a_condition_s_unknown_key_names_the_nearest_hyperparameter(name: str, hint: str) -> None:
    leaf = {"choice": [1], "when": {name: 1}}
    known = ["use_kl_loss", "model_config.fcnet_hiddens"]
    _, problems = parse_space({"x": leaf, "other": 1}, known)
    assert [problem.message for problem in problems] == [f"{name} is not in param_space; {hint}"]
