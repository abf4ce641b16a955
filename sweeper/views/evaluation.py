"""An evaluation for people to read."""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.evidence.champions_runs import ChampionsRuns
from sweeper.evidence.figures import describe_solved
from sweeper.evidence.played import Evaluation
from sweeper.evidence.samples import Evidence
from sweeper.formatting import count_noun, format_number, short_path
from sweeper.views.console import make_console, print_pairs
from sweeper.views.scores import diverged_words, spread_words

__all__ = ["describe_cap", "print_evaluation"]


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the mean, IQM and interval of an evaluation, and the mean of each agent."""
    summary, how = evaluation.summary, _describe_actions(evaluation.explore)
    rows = [
        ("checkpoint", short_path(evaluation.folder)),
        ("environment", evaluation.environment),
        *(("", f"{change} since the training") for change in evaluation.environment_changes),
        ("episodes", f"{evaluation.episodes} each, {how}, seed {evaluation.seed}"),
        ("mean", format_number(summary.mean)),
        ("IQM", format_number(summary.iqm)),
        ("interval", _describe_interval(evaluation)),
    ]
    if evaluation.evidence is not None:
        rows += _describe_evidence(evaluation.evidence)
    if evaluation.num_capped:
        played = evaluation.episodes * len(evaluation.agents)
        words = describe_cap(evaluation.max_episode_steps)
        rows.append(("cut", f"{evaluation.num_capped} of {played} episodes {words}"))
    if len(evaluation.agents) > 1:
        rows += [(agent.name, format_number(agent.mean)) for agent in evaluation.agents]
    rows += [(name, "diverged, so it did not play") for name in evaluation.diverged]
    if evaluation.champion is not None:
        rows += _describe_champion(evaluation.champion, explore=evaluation.explore)
    print_pairs(make_console(), rows)


def describe_cap(cap: int | None) -> str:
    """What became of episodes that were cut after so many steps."""
    if cap is None:
        return "went on beyond the environment's time limit and count with what they had earned"
    return f"reached max_episode_steps ({cap:,}) and count with what they had earned"


def _describe_actions(explore: bool) -> str:
    return "exploring" if explore else "greedy"


def _describe_interval(evaluation: Evaluation) -> str:
    summary = evaluation.summary
    if summary.interval is None:
        return f"none: {summary.interval_reason}"
    low, high = map(format_number, summary.interval)
    return f"{low} to {high} (95 %, over {evaluation.unit})"


def _describe_evidence(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Where one more training run would land, and how many solved the task."""
    if evidence.prediction is None:
        yield "one more run", f"no interval: {evidence.prediction_reason}"
    else:
        low, high = map(format_number, (evidence.prediction.low, evidence.prediction.high))
        why = "" if evidence.prediction_reason is None else f"; {evidence.prediction_reason}"
        yield "one more run", f"{low} to {high} ({100 * evidence.prediction.level:.0f} %{why})"
    if evidence.solved is not None:
        yield "solved", describe_solved(evidence.solved)


def _describe_champion(champion: ChampionsRuns, *, explore: bool) -> Iterator[tuple[str, str]]:
    """Which replica has played, and what its configuration comes to."""
    seed = "" if champion.seed is None else f"seed {champion.seed} of "
    yield "played", f"one replica: {seed}{champion.played}, the agent in champion/"
    mean, spread = format_number(champion.mean), ""
    how = ""
    diverged = diverged_words(champion.diverged)
    if champion.explore != explore:  # so the two numbers are of different kinds
        how = f"; of {_describe_actions(champion.explore)} episodes"
    if not champion.is_confirmed:
        spread = spread_words(champion.deviation, champion.replicas) or " over all its replicas"
        yield "its trial", f"{champion.trial_id}: {champion.metric} {mean}{spread}{diverged}{how}"
        return
    if champion.deviation is not None:
        spread = f" ±{format_number(champion.deviation)}"
    runs = ", ".join(format_number(value) for value in champion.runs)
    number = count_noun(len(champion.runs), "training run") + diverged
    yield "configuration", f"{champion.trial_id}: {mean}{spread} over {number}: {runs}{how}"
