"""How long a search algorithm thinks for a configuration, beside plain Optuna's own loop.

Both have the same history of random trials. Then they ask and tell in turn, trial by trial, and the
processor time of each is taken.
"""

from __future__ import annotations

import math
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tables import print_head, print_row, verdict

SIZES: Mapping[str, tuple[int, ...]] = {
    "qmc": (100, 1000, 5000),
    "tpe": (100, 1000, 5000),
    "cmaes": (100, 1000, 5000),
    "gp": (50, 100),
}
SHORT: Mapping[str, tuple[int, ...]] = {"qmc": (100,), "tpe": (100,), "cmaes": (100,), "gp": (20,)}
PROBES = {"gp": 5}
MAX_RATIO = 1.1  # ours to plain Optuna's; the rest is noise

SPACE = {
    "lr": {"loguniform": [1e-5, 1e-2]},
    "gamma": {"uniform": [0.9, 0.999]},
    "num_epochs": {"randint": [1, 31]},
    "minibatch_size": {"choice": [64, 128, 256]},
}
Step = Callable[[], None]


def run(*, is_short: bool) -> None:
    """Measure every algorithm at every size, printing each row at once."""
    warnings.filterwarnings("ignore", ".*is experimental.*")
    print_head("search", "trials before", "ours, ms", "plain Optuna, ms", "ratio", "met")
    for name, sizes in (SHORT if is_short else SIZES).items():
        for size in sizes:
            ours_ms, plain_ms = measure(name, size, PROBES.get(name, 50))
            ratio = ours_ms / plain_ms
            numbers = (f"{ours_ms:.2f}", f"{plain_ms:.2f}", f"{ratio:.2f}")
            print_row(name, f"{size:,}", *numbers, verdict(ratio <= MAX_RATIO))


def measure(name: str, size: int, probes: int) -> tuple[float, float]:
    """Milliseconds of an ask and a tell after so many trials, ours and plain Optuna's: medians."""
    history = list(draw(size))
    steps = make_ours(name, history, probes), make_plain(name, history)
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(probes):
        for step, times in zip(steps, taken, strict=True):
            began = time.process_time()
            step()
            times.append(1000 * (time.process_time() - began))
    ours, plain = (statistics.median(times[1:]) for times in taken)  # the first one imports
    return ours, plain


def draw(size: int) -> Iterator[dict[str, Any]]:
    """Random parameters."""
    generator = random.Random(0)  # noqa: S311
    for _ in range(size):
        yield {
            "lr": math.exp(generator.uniform(math.log(1e-5), math.log(1e-2))),
            "gamma": generator.uniform(0.9, 0.999),
            "num_epochs": generator.randint(1, 30),
            "minibatch_size": generator.choice([64, 128, 256]),
        }


def worth(parameters: Mapping[str, Any]) -> float:
    """A value with one optimum."""
    misses = abs(math.log10(parameters["lr"]) + 3.3), abs(parameters["num_epochs"] - 11) / 10
    return -sum(misses) - (parameters["minibatch_size"] != 128) - parameters["gamma"]


def make_ours(name: str, history: list[dict[str, Any]], probes: int) -> Step:
    """Our search after a history; a step asks for a configuration and tells its value."""
    from sweeper.metrics import Objective
    from sweeper.search.base import Observation
    from sweeper.search.distributions import parse_space
    from sweeper.search.registry import build_search
    from sweeper.states import TrialState

    space, _ = parse_space(SPACE)
    number = 0
    total = len(history) + probes
    search = build_search(
        name, space, num_samples=total, seed=0, points=history, objective=Objective()
    )

    def step() -> None:
        nonlocal number
        number += 1
        sample = search.ask(number)
        if sample is None:
            raise RuntimeError("no configuration is left")
        value = worth(sample.parameters)
        done = TrialState.TERMINATED
        search.tell(Observation(number, sample.parameters, done, ((1000, value),), value))

    for _ in history:
        step()
    return step


def make_plain(name: str, history: list[dict[str, Any]]) -> Step:
    """An Optuna study after a history; a step is one turn of its usual loop."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    quiet = {"warn_independent_sampling": False}
    sampler = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=0),
        "gp": lambda: optuna.samplers.GPSampler(seed=0, **quiet),
        "cmaes": lambda: optuna.samplers.CmaEsSampler(seed=0, **quiet),
        "qmc": lambda: optuna.samplers.QMCSampler(seed=0, scramble=True, **quiet),
    }[name]()
    study = optuna.create_study(direction="maximize", sampler=sampler)
    forms = {
        "lr": optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True),
        "gamma": optuna.distributions.FloatDistribution(0.9, 0.999),
        "num_epochs": optuna.distributions.IntDistribution(1, 30),
        "minibatch_size": optuna.distributions.CategoricalDistribution([64, 128, 256]),
    }
    for parameters in history:
        study.add_trial(
            optuna.trial.create_trial(
                params=parameters, distributions=forms, value=worth(parameters)
            )
        )

    def step() -> None:
        trial = study.ask()
        parameters = {
            "lr": trial.suggest_float("lr", 1e-5, 1e-2, log=True),
            "gamma": trial.suggest_float("gamma", 0.9, 0.999),
            "num_epochs": trial.suggest_int("num_epochs", 1, 30),
            "minibatch_size": trial.suggest_categorical("minibatch_size", [64, 128, 256]),
        }
        value = worth(parameters)
        trial.report(value, 1000)
        study.tell(trial, value)

    return step
