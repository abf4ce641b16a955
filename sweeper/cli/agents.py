"""Commands that use an agent: look into it, write down how it plays, and film it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from sweeper.cli import app
from sweeper.cli.completion import complete_run
from sweeper.errors import UserError

__all__ = ["agent_argument", "episodes_options", "inspect", "replica_option", "trace", "video"]

_Command = TypeVar("_Command", bound=Callable[..., Any])

agent_argument = click.argument(
    "target", metavar="[CHECKPOINT|RUN]", default="last", shell_complete=complete_run
)
replica_option = click.option(
    "--replica",
    metavar="SEED",
    type=int,
    help="The replica of a checkpoint that was trained with this seed.  [default: the best]",
)


def episodes_options(default: int) -> Callable[[_Command], _Command]:
    """The options of a command that plays episodes.

    Args:
        default: how many.
    """

    def add(command: _Command) -> _Command:
        options = (
            click.option(
                "--episodes",
                metavar="N",
                type=click.IntRange(1),
                default=default,
                help="How many episodes.",
            ),
            click.option(
                "--seed",
                metavar="N",
                type=click.IntRange(0),
                default=0,
                help="Which episodes; the same as `sweeper evaluate --seed`.",
            ),
            click.option(
                "--max-episode-steps",
                metavar="N",
                type=click.IntRange(1),
                help="Cut an episode after N steps.  [default: as in the run]",
            ),
            click.option("--explore", is_flag=True, help="Sample actions, not the best ones."),
        )
        for option in reversed(options):
            command = option(command)
        return command

    return add


@app.cli.command()
@agent_argument
@app.storage_option
@app.json_option
@replica_option
@click.option(
    "--observation",
    metavar="JSON",
    help="Also show what the agent makes of this observation, as in '[0.1, 0, 0, 0]'; of a Dict "
    "an object. A list of observations is a batch.",
)
@app.trust_option
def inspect(
    target: str,
    storage: str,
    as_json: bool,
    replica: int | None,
    observation: str | None,
    trust: str,
) -> None:
    """Show what an agent is made of, and how it sees an observation.

    Of a RUN it is the champion; of a trial's folder its newest checkpoint. Shows versions, the
    network layer by layer and its weights; for an observation the distribution of actions, the
    value and the Q-values, as far as the algorithm has them.
    """
    from sweeper.agents.inspection import Answer, Inspection
    from sweeper.agents.locate import find_agents, find_diverged
    from sweeper.opened_agent import load_agent
    from sweeper.views.agents import print_inspection

    given = None if observation is None else _read_observation(observation)
    agent = load_agent(target, replica=replica, storage=storage, trust=trust, say=app.say)
    where = agent.where
    places = [] if where is None else find_agents(where.folder, where.description, None)
    answer = None if observation is None else Answer.of(agent, given)
    diverged = () if where is None else find_diverged(where.folder, where.description)
    inspection = Inspection(agent, tuple(place.seed for place in places), answer, diverged)
    app.show(inspection, print_inspection, as_json)


def _read_observation(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"--observation is no JSON ({error}); give a list such as '[0.1, 0, 0, 0]', or an "
            "object for a Dict"
        ) from error


@app.cli.command()
@agent_argument
@app.storage_option
@app.json_option
@episodes_options(10)
@replica_option
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A .parquet or .jsonl file.  [default: trace-NAME.parquet]",
)
@app.changed_environment_option
@app.trust_option
def trace(
    target: str,
    storage: str,
    as_json: bool,
    episodes: int,
    seed: int,
    max_episode_steps: int | None,
    explore: bool,
    replica: int | None,
    output: Path | None,
    allow_changed_environment: bool,
    trust: str,
) -> None:
    """Write an agent's episodes to a file, a row a step.

    The columns are episode, step, observation, action, reward, terminated, truncated, log_prob (of
    the action, under the policy that explores), value and, of DQN, q_values. The episodes are
    those of `sweeper evaluate` with the same seed.
    """
    from sweeper.agents.episodes import action_generator, walk_episodes
    from sweeper.agents.playing import small_batches
    from sweeper.agents.traces import check_trace, trace_rows, write_trace
    from sweeper.opened_agent import open_playing_agent
    from sweeper.views.agents import name_output, print_trace

    if output is not None:
        check_trace(output)
    playing = open_playing_agent(
        target,
        storage,
        replica=replica,
        max_episode_steps=max_episode_steps,
        allow_changed_environment=allow_changed_environment,
        trust=trust,
        say=app.say,
    )
    agent = playing.agent
    file = output or Path(f"trace-{name_output(agent)}.parquet")
    check_trace(file)
    steps = walk_episodes(
        agent,
        playing.settings,
        episodes=episodes,
        seed=seed,
        max_episode_steps=playing.max_episode_steps,
        generator=action_generator(seed, agent.seed) if explore else None,
    )
    with small_batches(agent.description):
        written = write_trace(trace_rows(agent, steps), file)
    app.show(written, print_trace, as_json)


@app.cli.command()
@agent_argument
@app.storage_option
@app.json_option
@app.quiet_option
@episodes_options(3)
@replica_option
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A .gif file, or an .mp4 file, which needs ffmpeg.  [default: video-NAME.gif]",
)
@click.option(
    "--fps",
    metavar="N",
    type=float,
    help="Frames a second; of more than 50 (an MP4: 60) some are left out.  [default: as the "
    "environment says]",
)
@click.option(
    "--width",
    metavar="PIXELS",
    type=int,
    help="How wide the pictures are.  [default: as the frames, at most 600]",
)
@app.changed_environment_option
@app.trust_option
def video(
    target: str,
    storage: str,
    as_json: bool,
    quiet: bool,
    episodes: int,
    seed: int,
    max_episode_steps: int | None,
    explore: bool,
    replica: int | None,
    output: Path | None,
    fps: float | None,
    width: int | None,
    allow_changed_environment: bool,
    trust: str,
) -> None:
    """Film an agent's episodes, as a GIF or an MP4.

    The environment must be able to draw itself (render_mode rgb_array). The title has the trial,
    the episode and its return so far, at the end the final one. The episodes are those of
    `sweeper evaluate` with the same seed.
    """
    from sweeper.agents.episodes import action_generator
    from sweeper.agents.playing import small_batches
    from sweeper.agents.video.record import VideoSettings, check_video, record_video
    from sweeper.opened_agent import open_playing_agent
    from sweeper.views.agents import name_output, print_video

    asked = VideoSettings(output or Path("video.gif"), (), fps, width)
    check_video(asked)
    playing = open_playing_agent(
        target,
        storage,
        replica=replica,
        max_episode_steps=max_episode_steps,
        allow_changed_environment=allow_changed_environment,
        trust=trust,
        say=app.say,
    )
    agent = playing.agent
    file = output or Path(f"video-{name_output(agent)}.gif")
    with small_batches(agent.description):
        filmed = record_video(
            agent,
            playing.settings,
            replace(asked, file=file, title=agent.title),
            episodes=episodes,
            seed=seed,
            max_episode_steps=playing.max_episode_steps,
            generator=action_generator(seed, agent.seed) if explore else None,
            say=(lambda _: None) if quiet else app.say,
        )
    app.show(filmed, print_video, as_json)
