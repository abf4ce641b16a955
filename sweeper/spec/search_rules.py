"""Rules about the search and the space that it searches, each a function over the draft."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from sweeper.hints import join_words
from sweeper.search.distributions import Distribution, distributions
from sweeper.search.expansion import check_points, list_values
from sweeper.spec.draft import Draft
from sweeper.spec.search import CMAES, BestOf, Search
from sweeper.spec.text.yaml import KeyPath, dotted

__all__ = [
    "find_modelled_ranges",
    "points_lie_in_space",
    "search_fits_space",
    "sweep_is_finite",
]

Finding = tuple[KeyPath, str]

_MAX_GRID = 100_000
_MAX_TRIALS = 1_000_000
_MAX_NAMED = 4
# Those that model the space by its numbers.
_NUMERIC = {"gp": "tpe, random or qmc", "cmaes": "tpe, random or qmc"}


def search_fits_space(draft: Draft) -> Iterator[Finding]:
    """Whether the algorithm can search the space."""
    search = draft.get(Search)
    if search is None:
        return
    name, leaves = search.algorithm, list(distributions(draft.space))
    if name == "grid":
        for path, leaf in leaves:
            if not leaf.is_grid:
                remedy = "use search.algorithm: random, or grid_search here"
                what = f"a grid search tries grid_search values only, not {leaf.kind}"
                yield ("param_space", *path), f"{what}; {remedy}"
        return
    free = [(path, leaf) for path, leaf in leaves if not leaf.is_grid]
    if name == "random" or not leaves:
        return
    if not free:
        what = f"{name} has nothing to choose, since every distribution is grid_search"
        yield ("search", "algorithm"), f"{what}; use search.algorithm: grid, or choice and ranges"
    elif name in _NUMERIC and not find_modelled_ranges(draft.space):
        yield ("search", "algorithm"), f"{_explain_discrete(name, free)}; use {_NUMERIC[name]}"
    if isinstance(search.options, CMAES):
        yield from _generations_fill(search, search.options)
        dimensions = find_modelled_ranges(draft.space)
        if search.options.use_separable_cma and len(dimensions) == 1:
            what = f"adapts each dimension alone, and {dotted(dimensions[0])} is the only one here"
            yield ("search", "use_separable_cma"), f"{what}; leave it out"


def _generations_fill(search: Search, options: CMAES) -> Iterator[Finding]:
    if options.popsize is not None and options.popsize > search.num_samples:
        message = (
            f"must not be more than search.num_samples, which is {search.num_samples:,}, else no "
            f"generation is ever whole; found {options.popsize:,}"
        )
        yield ("search", "popsize"), message


def find_modelled_ranges(space: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The dimensions of CMA-ES: ranges of numbers that every configuration has."""
    return [path for path, leaf in distributions(space) if _is_number(leaf) and leaf.when is None]


def _is_number(leaf: Distribution) -> bool:
    """Whether values are numbers of a range that has more than one."""
    listed = None if leaf.values is not None else list_values(leaf, 2)
    return leaf.values is None and (listed is None or len(listed) > 1)


def _explain_discrete(name: str, free: list[tuple[tuple[str, ...], Distribution]]) -> str:
    words = [
        f"{dotted(path)} is a {leaf.kind}"
        if leaf.values is not None
        else f"{dotted(path)} has one value"
        if not _is_number(leaf)
        else f"{dotted(path)} has a condition"
        for path, leaf in free
    ]
    shown = words[:_MAX_NAMED] + [f"{len(words) - _MAX_NAMED} more"] * (len(words) > _MAX_NAMED)
    return f"{name} needs a range of numbers that every configuration has: {join_words(shown)}"


def sweep_is_finite(draft: Draft) -> Iterator[Finding]:
    """Whether there are few enough trials to be made."""
    sizes = [len(leaf.args) for _, leaf in distributions(draft.space) if leaf.is_grid]
    points = math.prod(sizes)
    search = draft.get(Search)
    samples = 1 if search is None else search.num_samples
    if points > _MAX_GRID:
        product = " x ".join(str(size) for size in sizes[:8])
        yield (
            ("param_space",),
            f"a grid of {product}{' x …' if len(sizes) > 8 else ''} has more than "
            f"{_MAX_GRID:,} points; use choice and search.num_samples",
        )
    elif points * samples > _MAX_TRIALS:
        message = f"at most {_MAX_TRIALS:,} trials can be made; these are {points * samples:,}"
        yield ("search", "num_samples"), message


def points_lie_in_space(draft: Draft) -> Iterator[Finding]:
    """Whether each point to evaluate can be drawn, and there are samples enough for all."""
    given = draft.raw.get("search", {})
    points = given.get("points_to_evaluate") if isinstance(given, Mapping) else None
    if isinstance(points, list):
        # The section reports points that are no mappings; an empty one keeps the numbering.
        mappings = [point if isinstance(point, Mapping) else {} for point in points]
        for problem in check_points(draft.space, mappings):
            yield ("search", "points_to_evaluate", *problem.path), problem.message
    search = draft.get(Search)
    if search is None or "search" in draft.broken or draft.is_training:
        return
    wanted = search.points_to_evaluate
    number = wanted.top if isinstance(wanted, BestOf) else len(wanted)
    if number > search.num_samples:
        message = f"{number} points count inside num_samples, which is {search.num_samples}"
        yield ("search", "points_to_evaluate"), message
