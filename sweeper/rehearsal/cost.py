"""Which configurations of a sweep are cheap to train and which dear, and which to rehearse."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.planning.plan import SweepPlan
from sweeper.search.expansion import Sample, expand
from sweeper.spec import ExperimentSpec
from sweeper.spec.keys.names import default

__all__ = [
    "choose_probes",
    "does_cost_differ",
    "find_nearest",
    "read_number",
    "samples_of",
]

# So many configurations are told apart; later ones are taken to be like these.
_MAX_CONFIGURATIONS = 5_000

# Multiply-adds that take as long as what an update, or a step of all environments, costs
# whatever the network's size. They only put configurations in an order.
_UPDATE_WORK = 1e6
_STEP_WORK = 1e5


def samples_of(spec: ExperimentSpec) -> list[Sample]:
    """The configurations that the search will try, in its order, up to a number."""
    search = spec.search
    drawn = expand(spec.param_space, search.num_samples, search.seed, search.points_to_evaluate)
    return list(itertools.islice(drawn, _MAX_CONFIGURATIONS))


def choose_probes(plan: SweepPlan) -> list[list[int]]:
    """Which of the search's configurations are rehearsed: rounds of those that go side by side.

    As many go side by side as will in the sweep, for they share the machine. Where cost can
    differ between configurations they are spread evenly from the cheapest to the dearest, so
    that their mean is the sweep's; the middle of the range comes first, in case there is no
    time for the rest.

    Returns:
        Places in the search, from 0.
    """
    samples = samples_of(plan.spec)
    trials = min(plan.max_trials, len(samples))
    slots = min(plan.concurrent, trials)
    rounds = {1: 3, 2: 2}.get(slots, 1) if does_cost_differ(plan) else 1
    number = slots * min(rounds, trials // slots)  # nobody trains with less company than others
    ranked = [place for place in _rank(plan) if place < trials]
    chosen = [ranked[(2 * place + 1) * trials // (2 * number)] for place in range(number)]
    middle = (number - 1) / 2
    order = sorted(range(number), key=lambda place: (abs(place - middle), place))
    return [
        [chosen[place] for place in order[start : start + slots]]
        for start in range(0, number, slots)
    ]


def does_cost_differ(plan: SweepPlan) -> bool:
    """Whether some of the search's configurations are dearer to train than others."""
    samples = samples_of(plan.spec)[: plan.max_trials]
    return len({_work(plan.spec, sample.configuration) for sample in samples}) > 1


def read_number(
    spec: ExperimentSpec, configuration: Mapping[str, Any], key: str, otherwise: float = 0.0
) -> float:
    """A hyperparameter that is a positive number, by the algorithm's default if need be.

    Args:
        spec: whose algorithm it is.
        configuration: nested.
        key: of the hyperparameter.
        otherwise: where it is a schedule, a word or not there.
    """
    value = configuration.get(key, default(spec.algorithm, (key,), spec.backend))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) and value > 0 else otherwise


def find_nearest(plan: SweepPlan, places: Sequence[int]) -> list[int]:
    """For every configuration of the search, which of some others is nearest to it in cost.

    Args:
        plan: of the search.
        places: those others, by their places in the search.
    """
    ranked = _rank(plan)
    rank = {index: place for place, index in enumerate(ranked)}
    chosen = sorted(places, key=rank.__getitem__)
    ends = [(rank[one] + rank[other]) / 2 for one, other in itertools.pairwise(chosen)]
    return [chosen[sum(rank[index] > end for end in ends)] for index in range(len(ranked))]


def _work(spec: ExperimentSpec, configuration: Mapping[str, Any]) -> float:
    """A guess at what an env step costs, which only has to order configurations."""
    network = configuration.get("model_config")
    hidden = network.get("fcnet_hiddens") if isinstance(network, Mapping) else None
    if not isinstance(hidden, Sequence):
        hidden = default(spec.algorithm, ("model_config", "fcnet_hiddens"), spec.backend) or ()
    sizes = [16, *(size for size in hidden if isinstance(size, int | float))]
    weights = sum(a * b for a, b in itertools.pairwise(sizes))
    envs = read_number(spec, configuration, "num_envs_per_env_runner", 1)
    train_batch = read_number(spec, configuration, "train_batch_size_per_learner", 1)
    batch = read_number(spec, configuration, "minibatch_size", train_batch)
    if spec.support.learns_from != "replay":
        rows = read_number(spec, configuration, "num_epochs", 1)
    else:  # of replay: rows learned from for each env step
        fragment = read_number(spec, configuration, "rollout_fragment_length", 1)
        rows = read_number(spec, configuration, "training_intensity", batch / fragment)
    return weights + _STEP_WORK / envs + rows * (3 * weights + _UPDATE_WORK / max(1.0, batch))


def _rank(plan: SweepPlan) -> list[int]:
    """The configurations' places in the search, the cheapest one first."""
    works = [_work(plan.spec, sample.configuration) for sample in samples_of(plan.spec)]
    return sorted(range(len(works)), key=lambda index: (works[index], index))
