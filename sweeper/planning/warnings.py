"""What a spec's author may not have meant: warnings of a plan, never errors."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sweeper.environments.building import EnvironmentDescription
from sweeper.environments.random_play import ends_within
from sweeper.hints import show
from sweeper.metrics import BOUNDS, ENV_STEPS
from sweeper.planning.action_bounds import find_unbounded_actions
from sweeper.planning.early_ends import warn_of_early_ends
from sweeper.planning.episode_cap import default_episode_cap
from sweeper.planning.feasibility import count_fitting
from sweeper.planning.population import find_population_warnings
from sweeper.planning.proposal import Proposal
from sweeper.planning.rungs import find_rung_warnings
from sweeper.planning.values import batch_steps, max_integer, possible_values
from sweeper.search.distributions import Distribution, distributions
from sweeper.spec import ExperimentSpec
from sweeper.spec.keys.names import default
from sweeper.spec.text.yaml import dotted

__all__ = ["find_warnings"]

_FAR = 10  # warn if a range is this many times above or below the default
_WIDE = 100  # warn if a range this wide is drawn evenly: few draws are small


def find_warnings(
    spec: ExperimentSpec, trials: int, environment: EnvironmentDescription | None = None
) -> Iterator[str]:
    """Find the warnings of a spec's plan, the most important first."""
    if environment is not None:
        yield from _endless_evaluation(spec, environment)
        yield from find_unbounded_actions(spec, environment.action_space)
        yield from (f"{spec.environment.id}: {note}" for note in environment.probe.notes)
        yield from _unfinished_episodes(spec, environment)
        yield from _unreachable_solution(spec, environment)
    yield from _bounds(spec, trials)
    yield from _areas(spec, trials)
    yield from _iterations(spec)
    yield from _repetitions(spec, trials)
    yield from _concurrency(spec, trials)
    yield from _ranges(spec)
    yield from find_rung_warnings(spec)
    yield from warn_of_early_ends(spec, min(trials, spec.budget.trials or trials))
    yield from find_population_warnings(spec, trials)


def _endless_evaluation(spec: ExperimentSpec, environment: EnvironmentDescription) -> Iterator[str]:
    """An environment without a time limit that is not seen to end an episode itself."""
    evaluation = spec.evaluation
    if evaluation is None or environment.max_episode_steps is not None:
        return
    cap = default_episode_cap(spec)
    if evaluation.max_episode_steps is None and not ends_within(spec.environment.settings(), cap):
        yield (
            f"{spec.environment.id} has no time limit: an evaluation episode is cut after "
            f"{cap:,} steps and counts with what it has earned; set "
            "evaluation.max_episode_steps, or for training too environment.wrappers: "
            "[{TimeLimit: {max_episode_steps: 1000}}]"
        )


def _unreachable_solution(
    spec: ExperimentSpec, environment: EnvironmentDescription
) -> Iterator[str]:
    """A return that counts as solved, but is beyond what the environment calls solved itself."""
    solved_at, threshold = spec.selection.solved_at, environment.reward_threshold
    is_return = spec.selection.metric.rpartition("/")[2].startswith("episode_return_")
    if solved_at is None or threshold is None or not is_return or spec.selection.mode != "max":
        return
    if solved_at > threshold:
        yield (
            f"selection.solved_at is {solved_at:g}; {spec.environment.id} itself counts as solved "
            f"from {threshold:g} on, so it may be that no run can reach that"
        )


def _unfinished_episodes(
    spec: ExperimentSpec, environment: EnvironmentDescription
) -> Iterator[str]:
    """Trials too short for an episode, where nothing but training's episodes judges them."""
    steps, limit = _env_steps_of_trial(spec), environment.max_episode_steps
    if steps is None or not spec.selection.metric.startswith(("episode_return_", "episode_len_")):
        return
    envs = _max_envs(spec)
    seen = steps // envs
    settings = spec.environment.settings()
    if (limit is not None and limit <= seen) or ends_within(settings, seen):
        return
    length = "have no time limit" if limit is None else f"last up to {limit:,} env steps"
    fewer = f", or fewer num_envs_per_env_runner than {envs}" if envs > 1 else ""
    needed = "more env steps" if limit is None else f"{limit * envs:,} env steps"
    yield (
        f"episodes of {spec.environment.id} {length}, and each environment of a trial is stepped "
        f"{seen:,} times: a trial in which no episode ends has no value; give evaluation: {{}}, or "
        f"{needed} to a trial{fewer}"
    )


def _env_steps_of_trial(spec: ExperimentSpec) -> int | None:
    """The env steps of a replica; None if they are not known."""
    bounds = [spec.stop.get(ENV_STEPS)]
    iterations, batch = spec.stop.get("training_iteration"), batch_steps(spec)
    if iterations is not None and batch is not None:
        bounds.append(iterations * batch)
    return min((int(bound) for bound in bounds if bound is not None), default=None)


def _max_envs(spec: ExperimentSpec) -> int:
    """How many environments step for one replica, at most."""
    numbers = {}
    for key in ("num_envs_per_env_runner", "num_env_runners"):
        usual = default(spec.algorithm, (key,), spec.backend)
        usual = usual if isinstance(usual, int) else 1
        numbers[key] = max_integer(possible_values(spec.param_space, (key,), usual), 1)
    return math.prod(numbers.values())


def _bounds(spec: ExperimentSpec, trials: int) -> Iterator[str]:
    if ENV_STEPS in spec.stop:
        return
    if not any(bound in spec.stop for bound in ("time_total_s", "training_iteration")):
        rivals = "" if trials == 1 else ", and the first ones may use it up"
        yield f"nothing but the search's budget ends a trial{rivals}; give stop.{ENV_STEPS} too"
    elif "training_iteration" not in spec.stop and trials > 1:
        yield (
            "the clock ends trials, so slower ones train less; for equal budgets "
            f"give stop.{ENV_STEPS}"
        )


def _areas(spec: ExperimentSpec, trials: int) -> Iterator[str]:
    """Areas under curves of different lengths: who ends early is judged by the beginning alone."""
    ends = [f"stop.{name}" for name in spec.stop if name not in BOUNDS]
    ends += [] if spec.plateau is None else ["stop.plateau"]
    if spec.selection.score == "auc" and ends and trials > 1:
        yield (
            f"selection.score is auc, and {' and '.join(ends)} may end trials at different env "
            "steps: means over curves of different lengths do not compare; leave that out, or "
            "take selection.score: last"
        )


def _iterations(spec: ExperimentSpec) -> Iterator[str]:
    steps, batch = spec.stop.get(ENV_STEPS), batch_steps(spec)
    if steps is None:
        return
    if batch is not None and steps < batch:
        yield (
            f"an iteration takes {batch:,} env steps, more than stop's {steps:,}: each trial "
            "trains once; lower train_batch_size_per_learner"
        )
    evaluation = spec.evaluation
    if evaluation is not None and (evaluation.every_env_steps or 0) > steps:
        yield (
            f"evaluation.every_env_steps ({evaluation.every_env_steps:,}) lies beyond a trial's "
            f"end ({steps:,} env steps): it is evaluated once, at the end"
        )
    plateau = spec.plateau
    if plateau is not None and evaluation is not None and evaluation.every_env_steps:
        number = int(steps // evaluation.every_env_steps)
        if plateau.metric.startswith("evaluation/") and number < plateau.num_results:
            yield (
                f"stop.plateau looks at {plateau.num_results} evaluations, and a trial has "
                f"{number}: it never ends one; lower evaluation.every_env_steps"
            )


def _repetitions(spec: ExperimentSpec, trials: int) -> Iterator[str]:
    leaves = [leaf for _, leaf in distributions(spec.param_space)]
    if not spec.support.trains_replicas_together and len(spec.seeds) > 1:
        yield (
            f"{len(spec.seeds)} replicas on {spec.backend} are {len(spec.seeds)} training runs a "
            f"trial, one after the other: {len(spec.seeds) * trials} in all"
        )
    if trials == 1 and leaves and spec.search.num_samples == 1:
        yield "only one configuration will be tried; raise search.num_samples"


def _concurrency(spec: ExperimentSpec, trials: int) -> Iterator[str]:
    asked, fits = spec.search.max_concurrent, count_fitting(Proposal.of_spec(spec))
    if spec.ray.address is None and asked != "auto" and min(asked, trials) > fits:
        yield f"max_concurrent {asked} is more than this machine has room for: {fits} will run"


def _ranges(spec: ExperimentSpec) -> Iterator[str]:
    for path, leaf in distributions(spec.param_space):
        name = dotted(path)
        ends = _ends(leaf)
        if ends is None:
            continue
        low, high = ends
        usual = default(spec.algorithm, path, spec.backend)
        if isinstance(usual, int | float) and not isinstance(usual, bool) and usual > 0:
            side = "above" if low > usual * _FAR else "below" if high * _FAR < usual else None
            if side is not None:
                yield (
                    f"{name} is searched from {low:g} to {high:g}, all of it more than {_FAR} "
                    f"times {side} {spec.algorithm}'s default, {show(usual)}"
                )
        if leaf.kind in ("uniform", "quniform") and high >= low * _WIDE and _is_rate(name):
            yield (
                f"{name} is drawn evenly from {low:g} to {high:g}: nine in ten draws lie above "
                f"{low + 0.1 * (high - low):g}; loguniform spreads them over the decades"
            )


def _is_rate(name: str) -> bool:
    return name.endswith("lr") or name in ("entropy_coeff", "kl_coeff", "tau")


def _ends(leaf: Distribution) -> tuple[float, float] | None:
    """The smallest and largest number of a positive range; None for other distributions."""
    values = leaf.values if leaf.values is not None else leaf.bounds or ()
    numbers = [one for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(numbers) < max(2, len(values)) or min(numbers) <= 0:
        return None
    return min(numbers), max(numbers)
