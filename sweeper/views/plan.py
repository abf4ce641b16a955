"""A plan in words: what is tried, how it is trained and judged, what it takes and writes."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.text import Text

from sweeper.environments.envpool import has_envpool, is_faster_in_envpool
from sweeper.formatting import count_noun, format_bytes, format_duration, format_number, short_path
from sweeper.hints import show
from sweeper.installation import install_extra
from sweeper.machine import usable_cores
from sweeper.metrics import ENV_STEPS
from sweeper.planning.plan import Estimate, SweepPlan
from sweeper.rehearsal.forecast import RehearsedEstimate
from sweeper.search.distributions import Distribution, constants, distributions, flatten
from sweeper.search.registry import ENUMERATIONS
from sweeper.spec.keys.names import default
from sweeper.spec.text.yaml import dotted
from sweeper.sqlite_address import sqlite_path, sqlite_uri
from sweeper.trainables.torch_backend.replay.memory import ReplayMemory
from sweeper.veil import hide_references
from sweeper.views import rehearsal
from sweeper.views.confirmation import describe_confirmation
from sweeper.views.console import PrintableConsole
from sweeper.views.population import describe_population

__all__ = ["describe_distribution", "describe_plan", "print_plan"]

_INDENT = "  "
_MAX_WIDTH = 100  # longer lines are hard to read
_MAX_VALUES = 8
_NBSP = "\u00a0"  # textwrap doesn't break lines here
_UNIT = re.compile(r"(?<=\d) (?=(?:B|kB|MB|GB|TB|s)\b)")
_LIST = re.compile(r"\[(?:[^][]|\[[^][]*\])*\]")  # with lists of scalars in it
_VECTORIZATIONS = {
    "sync": "one after the other (sync)",
    "async": "in separate processes (async)",
    "vector_entry_point": "as one, by gymnasium's own vector version (vector_entry_point)",
    "envpool": "with those of the others as one pool, in envpool's own implementation",
}


def print_plan(plan: SweepPlan) -> None:
    """Print the plan, as wide as the terminal."""
    console = PrintableConsole()
    for line in describe_plan(plan, min(console.width, _MAX_WIDTH)):
        is_heading = bool(line) and not line.startswith(" ")
        console.print(Text(line, style="bold" if is_heading else ""), soft_wrap=True)


def describe_plan(plan: SweepPlan, width: int = 80) -> list[str]:
    """The plan's lines; only those with a path may be wider than ``width``."""
    lines = textwrap.wrap(_summarise(plan), width)
    for heading, section in (
        ("Searched", _fill_columns(_searched(plan), width)),
        ("Fixed", _fill(_fixed(plan, width), width)),
        ("Training", _fill_all(_training(plan), width)),
        ("Judged by", _fill_all(_judged(plan), width)),
        ("Confirmation", _fill_all(describe_confirmation(plan), width)),
        ("Cost", _fill_columns(_cost(plan), width)),
        ("Rehearsed", _rehearsed(plan, width)),
        ("Written", _written(plan)),
        ("Notes", _fill_all(plan.notes, width, bullet="- ")),
        ("Warnings", _fill_all(plan.warnings, width, bullet="- ")),
    ):
        found = list(section)
        if found:
            lines += ["", heading, *found]
    return [line.replace(_NBSP, " ") for line in lines]


def _summarise(plan: SweepPlan) -> str:
    spec = plan.spec
    what = f"{spec.algorithm} on {spec.environment.id}"
    if not list(distributions(spec.param_space)):
        return f"{spec.name} trains one configuration of {what}; nothing is searched."
    search, seed = spec.search, f"seed{_NBSP}{spec.search.seed}"
    how = {
        "grid": "every point of a grid",
        "random": f"drawn at random ({seed})",
    }.get(search.algorithm, f"chosen by {search.algorithm} ({seed})")
    has_grid = any(leaf.is_grid for _, leaf in distributions(spec.param_space))
    if search.algorithm == "random" and has_grid:
        times = "" if search.num_samples == 1 else f" {search.num_samples} times"
        how = f"a grid{times}, the rest drawn at random ({seed})"
    if search.algorithm not in ENUMERATIONS and has_grid:
        each = count_noun(search.num_samples, "configuration")
        how = f"{each} for each point of a grid, {how}"
    points = len(search.points)
    first = f", beginning with {count_noun(points, 'point')} of yours" if points else ""
    tried = count_noun(plan.trials, "configuration")
    return f"{spec.name} tries {tried} of {what}: {how}{first}."


# --- what is tried ---------------------------------------------------------------------------


def _searched(plan: SweepPlan) -> Iterator[tuple[str, str]]:
    spec = plan.spec
    for path, leaf in distributions(spec.param_space):
        usual = default(spec.algorithm, path, spec.backend)
        yield dotted(path), f"{describe_distribution(leaf)} (default {_value(usual)})"


def _fixed(plan: SweepPlan, width: int) -> str:
    spec, given = plan.spec, []
    for path, value in flatten(constants(spec.param_space)):
        words = f"{dotted(path)} {_value(value)}"
        fits = len(words) + 2 * len(_INDENT) < width
        given.append(words.replace(" ", _NBSP) if fits else words)
    rest = f"RLlib's defaults of {spec.algorithm}"
    return f"{', '.join(given)}; all else at {rest}" if given else f"everything at {rest}"


def describe_distribution(leaf: Distribution) -> str:
    """``0.0001 to 0.01 on a log scale``, ``64, 128 or 256``, ``1 to 30, whole``."""
    if leaf.values is not None:
        shown = [_value(value) for value in leaf.values[:_MAX_VALUES]]
        more = len(leaf.values) - len(shown)
        if more:
            text = f"{', '.join(shown)} and {more} more"
        else:
            joint = " and " if leaf.is_grid else " or "
            text = joint.join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
        text = f"all of {text}" if leaf.is_grid and len(leaf.values) > 1 else text
    elif leaf.bounds is None:
        mean, sd = [*map(_value, leaf.args[:2]), "0", "1"][:2] if leaf.args else ("0", "1")
        text = f"normal, mean {mean}, deviation {sd}"
    else:
        text = " to ".join(_value(bound) for bound in leaf.bounds)
        text += ", whole" if leaf.is_integer else ""
        text += ", on a log scale" if leaf.is_log else ""
    if leaf.values is None and leaf.kind.startswith("q") and len(leaf.args) > 2:
        text += f", in steps of {_value(leaf.args[2])}"
    if leaf.when:
        conditions = (f"{name} is {_value(value)}" for name, value in leaf.when.items())
        text += f", where {' and '.join(conditions)}"
    return text


def _value(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return show(value)
    return format_number(value)


# --- how it is trained and judged ------------------------------------------------------------


def _training(plan: SweepPlan) -> Iterator[str]:
    spec = plan.spec
    first, last = spec.seeds[0], spec.seeds[-1]
    if plan.replicas > 2 and spec.seeds == tuple(range(first, last + 1)):
        seeds = f"{first} to {last}"
    else:
        seeds = ", ".join(str(seed) for seed in spec.seeds[:_MAX_VALUES])
        seeds += ", …" if plan.replicas > _MAX_VALUES else ""
    runs = plan.trials * plan.replicas
    replicas = count_noun(plan.replicas, "replica")
    seed = "seed" if plan.replicas == 1 else "seeds"
    yield (
        f"{count_noun(plan.trials, 'trial')} of {replicas} ({seed} {seeds}): "
        f"{count_noun(runs, 'training run')} with {spec.backend}"
    )
    at_once = f"{count_noun(plan.concurrent, 'trial')} at a time on"
    cluster = f"the Ray cluster at {spec.ray.address}"
    if spec.ray.address is None:
        yield f"{at_once} this machine's {count_noun(usable_cores(), 'core')}"
    elif spec.follows_cluster:
        yield f"as many trials at a time as fit {cluster}; {plan.concurrent} are assumed below"
    else:
        yield f"at most {at_once} {cluster}, whose size is unknown"
    if plan.vectorization:
        ways = " or ".join(_VECTORIZATIONS[mode] for mode in plan.vectorization)
        by = ", by their number" if len(plan.vectorization) > 1 else ""
        yield f"a replica's environments are stepped {ways}{by}"
    # With a replay memory the learner takes most of the time, not the simulator.
    has_slow_simulator = spec.support.learns_from == "batch" and "sync" in plan.vectorization
    if has_slow_simulator and is_faster_in_envpool(spec.environment.settings()):
        install = "" if has_envpool() else f", after {install_extra('envpool')}"
        yield (
            f"environment.vectorization: envpool would step them several times as fast{install}, "
            f"in its own implementation of {spec.environment.id}"
        )
    yield _ends(plan)
    yield from describe_population(plan)
    if spec.scheduler.type not in ("fifo", "pbt"):
        options = spec.scheduler.given_options().items()
        early = f"bad trials are stopped early by {spec.scheduler.type}"
        given = ", ".join([early, *(f"{key} {_value(value)}" for key, value in options)])
        yield plan.stopping or given
        yield from _expected(plan)
    yield from _budget(plan)


def _expected(plan: SweepPlan) -> Iterator[str]:
    """What stopping early will save, as far as that can be foreseen."""
    if plan.env_steps is None or not plan.rungs or plan.max_trials < 2:
        return
    if plan.expected_share is None:
        least = plan.rungs[0] * plan.replicas * plan.max_trials
        yield (
            f"how many end there depends on how much they differ: at least {least:,} env steps in "
            "all"
        )
    else:
        yield (
            f"about {plan.expected_share:.0%} of {plan.env_steps:,} env steps in all, if trials' "
            "values come in random order"
        )


def _budget(plan: SweepPlan) -> Iterator[str]:
    budget = plan.spec.budget
    parts = []
    if budget.time_s is not None:
        parts.append(f"within {format_duration(budget.time_s)}")
    if budget.env_steps is not None:
        parts.append(f"within {budget.env_steps:,} env steps")
    if budget.trials is not None:
        parts.append(f"for at most {count_noun(budget.trials, 'trial')}")
    if budget.no_improvement_trials is not None:
        trials = count_noun(budget.no_improvement_trials, "trial")
        parts.append(f"until {trials} in a row bring no better score")
    if parts:
        yield f"all of it {', '.join(parts)}"


def _ends(plan: SweepPlan) -> str:
    ends = [
        f"{format_number(value)} env steps a replica"
        if name == ENV_STEPS
        else f"{format_duration(value)} of training"
        if name == "time_total_s"
        else f"{name} of {format_number(value)}"
        for name, value in plan.spec.stop.items()
    ]
    plateau = plan.spec.plateau
    if plateau is not None:
        ends.append(
            f"{plateau.metric} no longer moves (deviation below {plateau.std:g} over "
            f"{plateau.num_results} values)"
        )
    until = f"each until {' or '.join(ends)}" if ends else "each until the budget is used up"
    if plan.env_steps is None:
        return f"{until}; env steps are not bounded"
    most = "at most " if len(ends) > 1 else ""
    return f"{until}: {most}{plan.env_steps:,} env steps in all"


def _judged(plan: SweepPlan) -> Iterator[str]:
    chosen, evaluation = plan.spec.selection, plan.spec.evaluation
    score = {"last": "the last", "best": "the best", "auc": "the area under the curve of"}
    more = "more" if chosen.mode == "max" else "less"
    yield f"{score[chosen.score]} {chosen.metric}; {more} is better"
    if evaluation is None:
        yield "no evaluation: returns are those of training, exploring"
        return
    every = evaluation.every_env_steps
    rhythm = "at every tenth of the way" if every is None else f"every {every:,} env steps"
    how = "exploring" if evaluation.explore else "greedy"
    cap = evaluation.max_episode_steps
    cut = "" if plan.time_limit is not None or cap is None else f", cut after {cap:,} steps"
    yield (
        f"evaluated over {evaluation.episodes} {how} episodes on separate seeds{cut}, {rhythm} "
        "and at the end"
    )


# --- what it takes and writes ----------------------------------------------------------------


def _cost(plan: SweepPlan) -> Iterator[tuple[str, str]]:
    estimate, replay = plan.estimate, plan.replay
    rehearsed = estimate if isinstance(estimate, RehearsedEstimate) else None
    yield "time", _time(estimate)
    if estimate is not None and estimate.confirmation_s is not None:
        yield (
            "",
            f"and about {rehearsal.roughly(estimate.confirmation_s)} for the training of the "
            "confirmation",
        )
    disk = "size unknown"
    if estimate is not None and estimate.disk_bytes is not None:
        disk = f"about {format_bytes(estimate.disk_bytes)}"
    disk += f": {_kept(plan)}"
    if replay is not None and plan.spec.checkpoint.replay:
        disk += f", with up to {format_bytes(replay.saved_bytes)} of replay"
    yield "disk", f"{disk}, and the run's records" if rehearsed else disk
    if replay is not None:
        yield "replay", _replay(plan, replay)
    if rehearsed is not None:
        yield "memory", rehearsal.describe_memory(plan, rehearsed)


def _time(estimate: Estimate | None) -> str:
    if estimate is None or estimate.time_s is None:
        return "unknown: no similar run in this storage; try --rehearse"
    if isinstance(estimate, RehearsedEstimate):
        return rehearsal.describe_time(estimate)
    if estimate.is_clock:
        return f"at most {format_duration(estimate.time_s)}, by {estimate.limit}"
    bound = "at most about" if estimate.is_upper_bound else "about"
    text = f"{bound} {rehearsal.roughly(estimate.time_s)}, by {estimate.based_on}"
    if estimate.trial_share is not None:
        text += f", whose trials took {estimate.trial_share:.0%} of their env steps"
    if estimate.limit is not None:
        text += f"; {estimate.limit} ends it"
    return f"{text}; less where trials end early" if estimate.is_upper_bound else text


def _kept(plan: SweepPlan) -> str:
    """``the last checkpoint of each of the best 20 trials, of finished ones the agent only``."""
    keep, is_one = plan.spec.checkpoint.keep, plan.max_trials == 1
    last = "the last checkpoint" if keep == 1 else f"the last {keep} checkpoints"
    trials = "the trial" if is_one else f"each of the {plan.max_trials} trials"
    if plan.kept_trials < plan.max_trials:
        trials = f"each of the best {plan.kept_trials} trials"
    if plan.spec.keeps_trainer:
        return f"{last} of {trials}"
    return f"{last} of {trials}, {'once finished' if is_one else 'of finished ones'} the agent only"


def _replay(plan: SweepPlan, replay: ReplayMemory) -> str:
    shape = f"{replay.observation_dtype}{list(replay.observation_shape)}"
    at_once = plan.concurrent * replay.replay_bytes
    together = "" if plan.concurrent == 1 else f", {format_bytes(at_once)} of all at a time"
    slots = (
        f"{replay.slots:,} slots a replica"
        if replay.max_steps is None
        else "a slot for every env step of a replica and every episode's end"
    )
    return (
        f"up to {format_bytes(replay.replay_bytes)} of memory a trial{together}: {slots}, "
        f"observations as {shape}"
    )


def _rehearsed(plan: SweepPlan, width: int) -> Iterator[str]:
    if isinstance(plan.estimate, RehearsedEstimate):
        yield from _fill(rehearsal.summarise(plan, plan.estimate), width)
        yield from _fill_columns(rehearsal.describe_probes(plan, plan.estimate), width)


def _written(plan: SweepPlan) -> Iterator[str]:
    spec = plan.spec
    folder = f"{spec.storage}/{spec.name}-<date>-<time>/"
    yield f"{_INDENT}{folder}: journal, logs, checkpoints, champion"
    if spec.tracking is None:
        yield f"{_INDENT}MLflow is off"
        return
    uri = hide_references(spec.tracking.uri)
    if (database := sqlite_path(uri)) is not None:
        uri = sqlite_uri(Path(short_path(database)))
    model = f", model {spec.tracking.register_as}" if spec.tracking.register_as else ""
    yield f"{_INDENT}{uri}: MLflow, experiment {spec.tracking.experiment}{model}"


# --- lines -----------------------------------------------------------------------------------


def _fill(text: str, width: int, first: str = _INDENT, rest: str = 2 * _INDENT) -> list[str]:
    """Wrap a text, but not between a number and its unit, nor in a list of half a line."""

    def hold_together(found: re.Match[str]) -> str:
        return found[0].replace(" ", _NBSP) if len(found[0]) <= width // 2 else found[0]

    return textwrap.wrap(
        _LIST.sub(hold_together, _UNIT.sub(_NBSP, text)),
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _fill_all(texts: Iterable[str], width: int, bullet: str = "") -> Iterator[str]:
    for text in texts:
        yield from _fill(text, width, _INDENT + bullet, 2 * _INDENT)


def _fill_columns(rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    rows = list(rows)
    column = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        if column > width // 2:  # too long for two columns
            yield from _fill(name, width)
            yield from _fill(text, width, 3 * _INDENT, 4 * _INDENT)
        else:
            first = f"{_INDENT}{name:<{column}}  "
            yield from _fill(text, width, first, " " * len(first))
