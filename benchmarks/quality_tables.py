"""What `search_quality.py` prints: regrets of every method, beside random search's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from regret import difference, foresee, make_judge, worth
from result_table import ResultTable
from tables import print_head, print_row

__all__ = [
    "CONTROL",
    "Measured",
    "print_duels",
    "print_regrets",
    "print_summary",
    "print_table",
]

CONTROL = "random"
_REFERENCES = (8, 32)  # the control's budgets whose regret the others have to reach
_RUNGS = (0.1, 0.3, 0.5)


@dataclass(frozen=True)
class Measured:
    """The sweeps of one method on one table.

    Attributes:
        budgets: in trials that run to their end, increasing.
        regrets: ``float64[repeats, budgets]``.
    """

    budgets: tuple[float, ...]
    regrets: NDArray[np.float64]

    def at(self, budget: float) -> NDArray[np.float64]:
        """``float64[repeats]`` at one of the budgets."""
        return self.regrets[:, self.budgets.index(budget)]


Results = Mapping[str, Measured]  # by method


def print_table(table: ResultTable, held_out: int) -> None:
    """Say what there is to find in a table, and how early it shows."""
    means = table.scores().mean(axis=1)
    quarters = ", ".join(f"{np.quantile(means, share):.4g}" for share in (0.25, 0.5, 0.75, 1))
    span = make_judge(table, held_out, 0).span
    print(f"\n## {table.name}\n")
    print(
        f"{len(table.curves)} configurations of {table.replicas} seeds, {table.budget:,} env steps."
        f" Mean scores, quartiles and best: {quarters}. A regret of 1 is {span:.4g} of return."
    )
    for share in _RUNGS:
        correlation, lost = foresee(table, share)
        print(
            f"At {share:.0%} of the env steps the rank correlation with the score is "
            f"{correlation:.2f}; the best quarter there lacks {lost:.0%} of the best 5%."
        )


def print_regrets(results: Results, budgets: Sequence[float]) -> None:
    """Print a row for each method: its regret, the difference to random search's, its worth."""
    control = results[CONTROL]
    references = [reference for reference in _REFERENCES if reference in budgets]
    saved = (f"fewer env steps to {CONTROL}'s {reference}" for reference in references)
    print_head("method", *_heads(budgets), *saved)
    for name, measured in results.items():
        cells = [_compare(measured, control, budget, is_same=name == CONTROL) for budget in budgets]
        factors = [
            worth(measured.regrets, control.regrets, budgets=control.budgets, reference=reference)
            for reference in references
        ]
        print_row(name, *cells, *map(_factor, factors))


def print_summary(everything: Mapping[str, Sequence[Results]], budgets: Sequence[float]) -> None:
    """Print each method's mean difference to random search over all tables.

    Args:
        everything: for each table the results with one number of trials at a time after the other.
        budgets: that the table shows.
    """
    print(f"\n## All tables: mean difference to {CONTROL}'s regret")
    print_head("method", *_heads(budgets))
    for name in next(iter(everything.values()))[0]:
        if name != CONTROL:
            print_row(name, *(_pool(everything, name, CONTROL, budget) for budget in budgets))


def print_duels(
    everything: Mapping[str, Sequence[Results]],
    budgets: Sequence[float],
    duels: Sequence[tuple[str, str]],
) -> None:
    """Print by how much the regret of one method is above another's, by table and over all."""
    first = next(iter(everything.values()))[0]
    duels = [duel for duel in duels if set(duel) <= first.keys()]
    if not duels:
        return
    print("\n## Mean difference of regret, one method to another")
    print_head("methods", "table", *_heads(budgets))
    for one, other in duels:
        groups = {name: {name: results} for name, results in everything.items()}
        for name, part in {**groups, "all": everything}.items():
            cells = (_pool(part, one, other, budget) for budget in budgets)
            print_row(f"{one} to {other}", name, *cells)


def _heads(budgets: Sequence[float]) -> list[str]:
    return [f"{budget:g} trials" for budget in budgets]


def _compare(measured: Measured, control: Measured, budget: float, *, is_same: bool) -> str:
    if budget not in measured.budgets:
        return ""
    mean = f"{measured.at(budget).mean():.3f}"
    return mean if is_same else f"{mean} ({_mark(difference(_pair(measured, control, budget)))})"


def _pool(everything: Mapping[str, Sequence[Results]], one: str, other: str, budget: float) -> str:
    if any(
        budget not in results[one].budgets for table in everything.values() for results in table
    ):
        return ""
    # The sweeps with several numbers of trials at a time share their seeds: they are one sample.
    paired = [
        np.mean([_pair(results[one], results[other], budget) for results in table], axis=0)
        for table in everything.values()
    ]
    found = difference(*paired)
    return f"{found[0]:+.3f} ({_mark(found)})"


def _pair(one: Measured, other: Measured, budget: float) -> NDArray[np.float64]:
    """``float64[repeats]``: a slow method has fewer repeats than another."""
    repeats = min(len(one.regrets), len(other.regrets))
    return np.asarray(one.at(budget)[:repeats] - other.at(budget)[:repeats])


def _mark(found: tuple[float, float, float]) -> str:
    """The interval of a difference; bold if it is on one side of 0."""
    _, low, high = found
    text = f"{low:+.3f} to {high:+.3f}"
    return f"**{text}**" if high < 0 or low > 0 else text


def _factor(found: tuple[float, float, float]) -> str:
    middle, low, high = (f"{one:.1f}" if one else "never" for one in found)
    return f"{middle} x ({low} to {high})"
