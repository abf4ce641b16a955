"""Which configurations to rehearse: some from cheap to expensive, by a guess at their cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.planning.plan import SweepPlan
from sweeper.search.distinct import expand_distinct
from sweeper.search.expansion import Sample
from sweeper.spec import ExperimentSpec
from sweeper.spec.keys.names import default

__all__ = ["choose_probes", "draw_samples", "find_nearest", "has_unequal_costs", "read_number"]

_MAX_CONFIGURATIONS = 5_000  # later ones are taken to be like these

# Costs that don't depend on the network's size, in multiply-adds: of an update, and of a step of
# all environments. They only need to put configurations in order.
_UPDATE_COST = 1e6
_STEP_COST = 1e5


def draw_samples(spec: ExperimentSpec) -> list[Sample]:
    """The first configurations that the search will try, in its order."""
    search = spec.search
    points = search.points
    drawn = expand_distinct(spec.param_space, search.num_samples, search.seed, points)
    return list(itertools.islice(drawn, _MAX_CONFIGURATIONS))


def choose_probes(plan: SweepPlan) -> list[list[int]]:
    """Choose which configurations to rehearse, in rounds that train side by side.

    A round has as many as the sweep trains at a time, because they share the machine. If costs
    differ, the choice is spread evenly from cheap to expensive, so that its mean is the sweep's.
    The middle of the range comes first, in case time runs out.

    Returns:
        Indices of configurations in the search, for each round.
    """
    costs = _guess_costs(plan.spec)[: plan.max_trials]
    trials = len(costs)
    slots = min(plan.concurrent, trials)
    rounds = {1: 3, 2: 2}.get(slots, 1) if len(set(costs)) > 1 else 1
    number = slots * min(rounds, trials // slots)  # full rounds only: all share the machine alike
    ranked = _rank(costs)
    chosen = [ranked[(2 * place + 1) * trials // (2 * number)] for place in range(number)]
    middle = (number - 1) / 2
    order = sorted(range(number), key=lambda place: (abs(place - middle), place))
    return [
        [chosen[place] for place in order[start : start + slots]]
        for start in range(0, number, slots)
    ]


def has_unequal_costs(plan: SweepPlan) -> bool:
    """Whether some of the search's configurations cost more to train than others."""
    return len(set(_guess_costs(plan.spec)[: plan.max_trials])) > 1


def find_nearest(plan: SweepPlan, probes: Sequence[int]) -> list[int]:
    """For each configuration of the search, the one of ``probes`` that is nearest in cost."""
    ranks = {index: rank for rank, index in enumerate(_rank(_guess_costs(plan.spec)))}
    chosen = sorted(probes, key=ranks.__getitem__)
    ends = [(ranks[one] + ranks[other]) / 2 for one, other in itertools.pairwise(chosen)]
    return [chosen[sum(ranks[index] > end for end in ends)] for index in range(len(ranks))]


def read_number(
    spec: ExperimentSpec, configuration: Mapping[str, Any], key: str, otherwise: float = 0.0
) -> float:
    """A hyperparameter or its default; ``otherwise`` if it isn't a positive number."""
    value = configuration.get(key, default(spec.algorithm, (key,), spec.backend))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) and value > 0 else otherwise


def _guess_costs(spec: ExperimentSpec) -> list[float]:
    return [_guess_cost(spec, sample.configuration) for sample in draw_samples(spec)]


def _rank(costs: Sequence[float]) -> list[int]:
    """Indices of configurations, the cheapest first."""
    return sorted(range(len(costs)), key=costs.__getitem__)


def _guess_cost(spec: ExperimentSpec, configuration: Mapping[str, Any]) -> float:
    """Guess the cost of an env step in multiply-adds; good enough to order configurations."""
    network = configuration.get("model_config")
    hidden = network.get("fcnet_hiddens") if isinstance(network, Mapping) else None
    if not isinstance(hidden, Sequence):
        hidden = default(spec.algorithm, ("model_config", "fcnet_hiddens"), spec.backend) or ()
    sizes = [16, *(size for size in hidden if isinstance(size, int | float))]
    weights = sum(a * b for a, b in itertools.pairwise(sizes))
    envs = read_number(spec, configuration, "num_envs_per_env_runner", 1)
    train_batch = read_number(spec, configuration, "train_batch_size_per_learner", 1)
    batch = read_number(spec, configuration, "minibatch_size", train_batch)
    # How many rows are learned from for each env step.
    if spec.support.learns_from != "replay":
        rows = read_number(spec, configuration, "num_epochs", 1)
    else:
        fragment = read_number(spec, configuration, "rollout_fragment_length", 1)
        rows = read_number(spec, configuration, "training_intensity", batch / fragment)
    return weights + _STEP_COST / envs + rows * (3 * weights + _UPDATE_COST / max(1.0, batch))
