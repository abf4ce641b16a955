"""A plan in words, as a colleague would sum it up before starting it."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from sweeper.environments.envpool import has_envpool, is_faster_in_envpool
from sweeper.formatting import count_noun, format_bytes, format_duration, format_number, short_path
from sweeper.hints import show
from sweeper.metrics import ENV_STEPS
from sweeper.planning.feasibility import cores
from sweeper.planning.plan import SweepPlan
from sweeper.search.distributions import Distribution, constants, distributions, flatten
from sweeper.spec.keys.names import default
from sweeper.spec.text.yaml import dotted
from sweeper.trainables.torch_backend.dqn.memory import ReplayMemory
from sweeper.views.rehearsal import (
    describe_memory,
    describe_probes,
    describe_time,
    roughly,
    summarise_rehearsal,
)

__all__ = ["describe_distribution", "describe_plan", "print_plan"]

_INDENT = "  "
_WIDEST = 100  # longer lines are hard to read
_MAX_VALUES = 8
_VECTORIZATIONS = {
    "sync": "one after the other (sync)",
    "async": "in processes of their own (async)",
    "vector_entry_point": "as one, by gymnasium's own vector version (vector_entry_point)",
    "envpool": "with those of the others as one pool, in envpool's own implementation",
}


def print_plan(plan: SweepPlan) -> None:
    """The plan on stdout, as wide as the terminal."""
    console = Console()
    for line in describe_plan(plan, min(console.width, _WIDEST)):
        is_heading = bool(line) and not line.startswith(" ")
        console.print(Text(line, style="bold" if is_heading else ""), soft_wrap=True)


def describe_plan(plan: SweepPlan, width: int = 80) -> list[str]:
    """The plan's lines; only a path may be wider than ``width``."""
    lines = textwrap.wrap(_summary(plan), width)
    for heading, body in (
        ("Searched", _searched(plan, width)),
        ("Fixed", _fixed(plan, width)),
        ("Training", _training(plan, width)),
        ("Judged by", _judged(plan, width)),
        ("Cost", _cost(plan, width)),
        ("Rehearsed", _rehearsed(plan, width)),
        ("Written", _written(plan)),
        ("Noted", _listed(plan.notes, width)),
        ("Mind", _listed(plan.warnings, width)),
    ):
        found = list(body)
        if found:
            lines += ["", heading, *found]
    return [line.replace("\u00a0", " ") for line in lines]


def _summary(plan: SweepPlan) -> str:
    spec = plan.spec
    what = f"{spec.algorithm} on {spec.environment.id}"
    if not list(distributions(spec.param_space)):
        return f"{spec.name} trains one configuration of {what}; nothing is searched."
    seed = f"seed\u00a0{spec.search.seed}"  # kept on one line
    how = {
        "grid": "every point of a grid",
        "random": f"drawn at random ({seed})",
    }.get(spec.search.algorithm, f"chosen by {spec.search.algorithm} ({seed})")
    leaves = [leaf for _, leaf in distributions(spec.param_space)]
    if spec.search.algorithm == "random" and any(leaf.is_grid for leaf in leaves):
        grid = (
            "a grid" if spec.search.num_samples == 1 else f"a grid {spec.search.num_samples} times"
        )
        how = f"{grid}, the rest drawn at random ({seed})"
    points = len(spec.search.points_to_evaluate)
    first = f", beginning with {count_noun(points, 'point')} of yours" if points else ""
    tried = count_noun(plan.trials, "configuration")
    return f"{spec.name} tries {tried} of {what}: {how}{first}."


# --- what is tried ---------------------------------------------------------------------------


def _searched(plan: SweepPlan, width: int) -> Iterator[str]:
    spec = plan.spec
    rows = []
    for path, leaf in distributions(spec.param_space):
        usual = default(spec.algorithm, path, spec.backend)
        rows.append((dotted(path), f"{describe_distribution(leaf)} (default {_value(usual)})"))
    yield from _pairs(rows, width)


def _fixed(plan: SweepPlan, width: int) -> Iterator[str]:
    spec = plan.spec
    given = []
    for path, value in flatten(constants(spec.param_space)):
        words = f"{dotted(path)} {_value(value)}"
        fits = len(words) + 2 * len(_INDENT) < width
        given.append(words.replace(" ", "\u00a0") if fits else words)
    rest = f"RLlib's defaults of {spec.algorithm}"
    text = f"{', '.join(given)}; all else at {rest}" if given else f"everything at {rest}"
    yield from _wrapped(text, width)


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


def _training(plan: SweepPlan, width: int) -> Iterator[str]:
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
    yield from _wrapped(
        f"{count_noun(plan.trials, 'trial')} of {replicas} ({seed} {seeds}): "
        f"{count_noun(runs, 'training run')} with {spec.backend}",
        width,
    )
    where = (
        f"on the Ray cluster at {spec.ray.address}, whose size is not asked here"
        if spec.ray.address
        else f"on this machine's {count_noun(cores(), 'core')}"
    )
    most = "at most " if spec.ray.address else ""
    yield from _wrapped(f"{most}{count_noun(plan.concurrent, 'trial')} at a time {where}", width)
    if plan.vectorization:
        ways = " or ".join(_VECTORIZATIONS[mode] for mode in plan.vectorization)
        by = ", by their number" if len(plan.vectorization) > 1 else ""
        yield from _wrapped(f"a replica's environments are stepped {ways}{by}", width)
        yield from _wrapped(_faster(plan), width)
    yield from _wrapped(_ends(plan), width)
    if spec.scheduler.type != "fifo":
        given = spec.scheduler.given_options()
        options = (f"{key} {_value(value)}" for key, value in given.items())
        text = ", ".join([f"bad trials are stopped early by {spec.scheduler.type}", *options])
        yield from _wrapped(text, width)
    yield from _wrapped(_budget(plan), width)


def _faster(plan: SweepPlan) -> str:
    """That envpool would help: where the simulator, not the learner, takes most of the time."""
    environment, is_batched = plan.spec.environment, plan.spec.support.learns_from == "batch"
    if not (is_batched and "sync" in plan.vectorization):
        return ""
    if not is_faster_in_envpool(environment.settings()):
        return ""
    install = "" if has_envpool() else ", after pip install 'sweeper[envpool]'"
    return (
        f"environment.vectorization: envpool would step them several times as fast{install}, in "
        f"its own implementation of {environment.id}"
    )


def _budget(plan: SweepPlan) -> str:
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
    return f"all of it {', '.join(parts)}" if parts else ""


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


def _judged(plan: SweepPlan, width: int) -> Iterator[str]:
    spec = plan.spec
    score = {"last": "the last", "best": "the best", "auc": "the area under the curve of"}
    more = "more" if spec.selection.mode == "max" else "less"
    yield from _wrapped(
        f"{score[spec.selection.score]} {spec.selection.metric}; {more} is better", width
    )
    evaluation = spec.evaluation
    if evaluation is None:
        yield from _wrapped("no evaluation: returns are those of training, exploring", width)
        return
    every = evaluation.every_env_steps
    tenths = "at every tenth of the way and at the end"
    rhythm = tenths if every is None else f"every {every:,} env steps and at the end"
    how = "exploring" if evaluation.explore else "greedy"
    yield from _wrapped(
        f"evaluated over {evaluation.episodes} {how} episodes on seeds of their own, {rhythm}",
        width,
    )


# --- what it takes and leaves ----------------------------------------------------------------


def _cost(plan: SweepPlan, width: int) -> Iterator[str]:
    estimate = plan.estimate or {}
    time_s, disk, basis = (estimate.get(key) for key in ("time_s", "disk_bytes", "based_on"))
    if time_s is None:
        text = "not known: nothing like it has run under this storage; try --rehearse"
    elif "rehearsal" in estimate:
        text = describe_time(estimate)
    elif estimate.get("is_limit"):
        text = f"at most {format_duration(time_s)}, by {estimate['limit']}"
    else:
        bound = "at most about" if estimate["is_upper_bound"] else "about"
        text = f"{bound} {roughly(time_s)}, by {basis}"
        if estimate["limit"] is not None:
            text += f"; {estimate['limit']} is used up then"
        if estimate["is_upper_bound"]:
            text += "; less where trials end early"
    kept = plan.spec.checkpoint
    trials = min(plan.max_trials, kept.keep_trials)
    last = "the last checkpoint" if kept.keep == 1 else f"the last {kept.keep} checkpoints"
    of_which = "the trial" if plan.max_trials == 1 else f"each of the {plan.max_trials} trials"
    if trials < plan.max_trials:
        of_which = f"each of the best {trials} trials"
    finished = ", once finished the agent only"
    if plan.max_trials > 1:
        finished = ", of finished ones the agent only"
    what = f"{last} of {of_which}{'' if plan.spec.keeps_trainer else finished}"
    size = f"about {format_bytes(disk)}" if disk is not None else "size not known yet"
    rows = [("time", text), ("disk", f"{size}: {what}")]
    if plan.replay is not None:
        if kept.replay:
            saved = format_bytes(plan.replay.saved_bytes)
            rows[-1] = ("disk", f"{size}: {what}, with up to {saved} of replay")
        rows.append(("replay", _replay(plan, plan.replay)))
    if "rehearsal" in estimate:
        rows[1] = ("disk", f"{rows[1][1]}, and the run's records")
        rows.append(("memory", describe_memory(plan, estimate)))
    yield from _pairs(rows, width)


def _replay(plan: SweepPlan, replay: ReplayMemory) -> str:
    shape = f"{replay.observation_dtype}{list(replay.observation_shape)}"
    at_once = plan.concurrent * replay.replay_bytes
    together = "" if plan.concurrent == 1 else f", {format_bytes(at_once)} of all at a time"
    places = (
        f"{replay.places:,} places a replica"
        if replay.most_steps is None
        else "a place for every env step of a replica and every episode's end"
    )
    return (
        f"up to {format_bytes(replay.replay_bytes)} of memory a trial{together}: {places}, "
        f"observations as {shape}"
    )


def _rehearsed(plan: SweepPlan, width: int) -> Iterator[str]:
    estimate = plan.estimate or {}
    if "rehearsal" in estimate:
        yield from _wrapped(summarise_rehearsal(plan, estimate), width)
        yield from _pairs(list(describe_probes(plan, estimate)), width)


def _written(plan: SweepPlan) -> Iterator[str]:
    spec = plan.spec
    folder = f"{spec.storage}/{spec.name}-<date>-<time>/"
    yield f"{_INDENT}{folder}: journal, logs, checkpoints, champion"
    if spec.tracking is None:
        yield f"{_INDENT}MLflow is off"
        return
    uri = spec.tracking.uri
    place = (
        f"sqlite:///{short_path(uri.removeprefix('sqlite:///'))}"
        if uri.startswith("sqlite:///")
        else uri
    )
    model = f", model {spec.tracking.register_as}" if spec.tracking.register_as else ""
    yield f"{_INDENT}{place}: MLflow, experiment {spec.tracking.experiment}{model}"


# --- lines -----------------------------------------------------------------------------------


def _wrapped(
    text: str, width: int, first: str = _INDENT, rest: str = _INDENT + _INDENT
) -> list[str]:
    return textwrap.wrap(
        _hold_together(text, width // 2),
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _hold_together(text: str, most: int) -> str:
    """Keep on one line a number with its unit, and a list of at most so many characters."""
    text = re.sub(r"(\d) (B|kB|MB|GB|TB|s)\b", "\\1\u00a0\\2", text)
    depth, held, start = 0, list(text), 0
    for place, character in enumerate(text):
        if character == "[":
            start = place if depth == 0 else start
            depth += 1
        elif character == "]":
            depth -= 1
            if depth == 0 and place - start < most:
                held[start:place] = text[start:place].replace(" ", "\u00a0")
    return "".join(held)


def _pairs(rows: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    column = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        if column > width // 2:  # too long for two columns
            yield from _wrapped(name, width)
            yield from _wrapped(text, width, 3 * _INDENT, 4 * _INDENT)
            continue
        rest = " " * (len(_INDENT) + column + 2)
        yield from _wrapped(text, width, f"{_INDENT}{name:<{column}}  ", rest)


def _listed(texts: Sequence[str], width: int) -> Iterator[str]:
    for text in texts:
        yield from _wrapped(text, width, f"{_INDENT}- ", f"{_INDENT}  ")
