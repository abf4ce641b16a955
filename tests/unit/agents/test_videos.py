"""What `record` and `sweeper video` write is read back, picture by picture."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import sweeper_here
from PIL import Image

import sweeper
from sweeper.agents.agent import Agent
from sweeper.agents.episodes import walk_episodes
from sweeper.agents.video.mp4 import find_ffmpeg
from sweeper.agents.video.pictures import Painter
from sweeper.agents.video.record import Video, VideoSettings, record_video
from sweeper.environments.settings import EnvironmentSettings, WrapperSettings
from sweeper.errors import SweeperError, UserError
from sweeper.evidence.evaluation import evaluate
from sweeper.installation import install_extra
from sweeper.seals import seal_folder
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.torch_backend.ppo.trainer import TorchPPOTrainer

SUPPORT = str(Path(__file__).parents[2] / "support")
HELD_MS = 500
has_ffmpeg = shutil.which("ffmpeg") or importlib.util.find_spec("imageio_ffmpeg")
needs_ffmpeg = pytest.mark.skipif(not has_ffmpeg, reason="ffmpeg is not installed")


def drawing(kind: str = "right", env: str = "Kaleidoscope-v0", **more: Any) -> EnvironmentSettings:
    kwargs = {"kind": kind, **more} if env == "Kaleidoscope-v0" else more
    return EnvironmentSettings(env, kwargs=kwargs, module="drawing_envs", search_paths=(SUPPORT,))


def save(folder: Path, environment: EnvironmentSettings) -> Path:
    settings = TrialSettings("PPO", "torch", environment, {}, (3, 8))
    keys: Mapping[str, Any] = {
        "train_batch_size_per_learner": 32,
        "minibatch_size": 32,
        "num_epochs": 1,
        "model_config": {"fcnet_hiddens": [4]},
    }
    trainer = TorchPPOTrainer(settings, keys)
    trainer.train()
    folder.mkdir(parents=True, exist_ok=True)
    trainer.save(folder)
    trainer.close()
    seal_folder(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("trial") / "agent", drawing())


@pytest.fixture(scope="module")
def agent(checkpoint: Path) -> Agent:
    return sweeper.load_agent(checkpoint, replica=8)


def film(
    agent: Agent,
    file: Path,
    environment: EnvironmentSettings | None = None,
    *,
    title: Sequence[str] = ("t0003", "seed 8"),
    episodes: int = 1,
    seed: int = 0,
    **looks: Any,
) -> Video:
    settings = VideoSettings(file, tuple(title), **looks)
    return record_video(agent, environment or drawing(), settings, episodes=episodes, seed=seed)


def read(file: Path) -> tuple[list[np.ndarray[Any, Any]], list[int]]:
    """The pictures of a GIF, and for how many milliseconds each is shown."""
    pictures, shown_ms = [], []
    with Image.open(file) as image:
        assert image.format == "GIF"
        assert image.info["loop"] == 0
        for number in range(image.n_frames):
            image.seek(number)
            pictures.append(np.asarray(image.convert("RGB")))
            shown_ms.append(image.info["duration"])
    return pictures, shown_ms


def bar_height(pictures: Sequence[np.ndarray[Any, Any]], frame_height: int) -> int:
    return pictures[0].shape[0] - frame_height


# -- pictures and titles -----------------------------------------------------------------------


def test_a_gif_shows_each_step_of_each_episode(agent: Agent, tmp_path: Path) -> None:
    filmed = film(agent, tmp_path / "a.gif", episodes=3, seed=5)
    pictures, shown_ms = read(filmed.file)
    assert filmed.file == tmp_path / "a.gif"
    assert filmed.lengths == (12, 12, 12)
    assert filmed.returns == (81.0, 81.0, 81.0)
    assert filmed.frames == len(pictures) == 3 * 13
    assert (filmed.width, filmed.height) == (pictures[0].shape[1], pictures[0].shape[0])
    assert filmed.width == 100
    # Three hundredths would be 33.3 frames a second, four 25.
    assert shown_ms[:3] == [30, 40, 30]
    assert sum(shown_ms[:12]) == 400
    assert [shown_ms[at] for at in (12, 25, 38)] == [HELD_MS] * 3
    assert filmed.duration_s == pytest.approx(sum(shown_ms) / 1000)
    bar = bar_height(pictures, 60)
    steps = list(
        walk_episodes(
            agent,
            replace(drawing(), kwargs={"kind": "right", "render_mode": "rgb_array"}),
            episodes=3,
            seed=5,
            camera=lambda env, step=0, *, is_last=False: env.render(),
        )
    )
    expected = [frame for step in steps for frame in (step.frame, step.last_frame)]
    expected = [frame for frame in expected if frame is not None]
    for picture, frame in zip(pictures, expected, strict=True):
        assert np.array_equal(picture[bar:], frame)
    titles = [picture[:bar].tobytes() for picture in pictures]
    assert titles[0] != titles[13] != titles[26]  # another episode
    assert len(set(titles[:13])) == 13  # the return changes at each step
    assert not {tuple(one) for one in pictures[11][0]} & {tuple(one) for one in pictures[12][0]}


def test_the_same_episodes_are_the_same_file_and_a_title_makes_it_another(
    agent: Agent, tmp_path: Path
) -> None:
    names = ("one", "two", "other", "seed")
    titles = (("t0003", "seed 8"), ("t0003", "seed 8"), ("t0004", "seed 8"), ("t0003", "seed 9"))
    for name, title in zip(names, titles, strict=True):
        film(agent, tmp_path / f"{name}.gif", title=title)
    contents = [(tmp_path / f"{name}.gif").read_bytes() for name in names]
    assert contents[0] == contents[1]
    assert len(set(contents)) == 3


def test_an_environment_may_draw_into_one_array(agent: Agent, tmp_path: Path) -> None:
    right = film(agent, tmp_path / "right.gif")
    same = film(agent, tmp_path / "same.gif", drawing("one array"))
    assert same.file.read_bytes() == right.file.read_bytes()


@pytest.mark.parametrize(
    ("fps", "every", "shown_ms"),
    [
        (None, 1, {30, 40}),
        (50, 1, {20}),
        (40, 1, {20, 30}),
        (60, 2, {30, 40}),
        (125, 3, {20, 30}),
        (1000, 20, {20}),
        (2, 1, {500}),
    ],
)
def test_no_picture_is_shorter_than_viewers_honour(
    agent: Agent, tmp_path: Path, fps: float | None, every: int, shown_ms: set[int]
) -> None:
    filmed = film(agent, tmp_path / "a.gif", drawing(length=45), fps=fps)
    pictures, found = read(filmed.file)
    assert len(pictures) == math.ceil(45 / every) + 1
    assert set(found[:-1]) == shown_ms
    assert found[-1] == HELD_MS
    assert filmed.fps == pytest.approx((fps or 30) / every)
    exact_ms = 1000 * math.ceil(45 / every) / filmed.fps
    assert sum(found[:-1]) == pytest.approx(exact_ms, abs=5)


@pytest.mark.parametrize(
    ("fps", "used"),
    [(20, 20), (0, 30), (-1, 30), ("fast", 30), (None, 30), (math.nan, 30), (math.inf, 30)],
)
def test_a_frame_rate_of_the_environment_that_is_none_is_30(
    agent: Agent, tmp_path: Path, fps: Any, used: float
) -> None:
    assert film(agent, tmp_path / "a.gif", drawing(fps=fps)).fps == used


@pytest.mark.parametrize(
    ("size", "width", "scaled"),
    [
        ((1200, 300), None, (600, 150)),
        ((600, 400), None, (600, 400)),
        ((100, 60), None, (100, 60)),
        ((9, 6), None, (81, 54)),
        ((100, 60), 80, (80, 48)),
        ((100, 60), 250, (250, 150)),
        ((1500, 6), 80, (80, 1)),
    ],
)
def test_frames_are_scaled_to_what_can_be_read(
    agent: Agent, tmp_path: Path, size: tuple[int, int], width: int | None, scaled: tuple[int, int]
) -> None:
    filmed = film(agent, tmp_path / "a.gif", drawing(size=size, length=3), width=width)
    pictures, _ = read(filmed.file)
    assert pictures[0].shape == (filmed.height, filmed.width, 3)
    assert filmed.width == scaled[0]
    painter = Painter((size[1], size[0], 3), ("t0003", "seed 8"), 1, width)
    assert painter.size == (filmed.width, filmed.height)
    assert bar_height(pictures, scaled[1]) in range(15, 80)
    if size == (9, 6):  # pixels stay sharp
        assert {tuple(one) for row in pictures[0][-54:] for one in row} == {
            tuple(one) for row in pictures[0][-54::9] for one in row[::9]
        }


@pytest.mark.parametrize("width", [80, 100, 150, 200, 300, 450, 600])
@pytest.mark.parametrize("title", [(), ("t0003",), ("champion t0003", "seed 123456"), ("x" * 99,)])
def test_a_return_can_be_told_at_every_width(width: int, title: tuple[str, ...]) -> None:
    painter = Painter((100, width, 3), title, 1000)
    frame = np.zeros((100, width, 3), np.uint8)

    def bar(value: float, episode: int = 999) -> bytes:
        picture = painter.paint(frame, episode, value, is_last=True)
        assert picture.size == painter.size
        return picture.crop((0, 0, width, picture.height - 100)).tobytes()

    assert bar(-1.234e9) != bar(-1.235e9)
    assert bar(-1.234e9) != bar(-1.234e8)
    assert bar(1.0) != bar(1.0, 998)


@pytest.mark.parametrize(
    ("foreign", "drawn"),
    [
        ("f\u00fcr", "fur"),
        ("a\n\tb", "a b"),
        ("\x1b[31mred", "red"),
        ("a\x07b", "a\\x07b"),
        ("\u202eevil", "\\u202eevil"),
        ("\0return", "\\x00return"),
        ("\u4e2d\U0001f600", "??"),
        ("x" * 100_000, "x" * 40),
        ("  ", ""),
    ],
)
def test_a_title_from_elsewhere_is_drawn_in_letters_that_there_are(
    foreign: str, drawn: str
) -> None:
    frame = np.zeros((100, 600, 3), np.uint8)
    found, known = (
        Painter(frame.shape, (text, "seed 8"), 1).paint(frame, 0, 0.0, is_last=False)
        for text in (foreign, drawn)
    )
    assert found.tobytes() == known.tobytes()


def test_memory_does_not_grow_with_an_episode(agent: Agent, tmp_path: Path) -> None:
    note = tmp_path / "memory"
    environment = drawing(size=(400, 400), length=350, note=str(note))
    filmed = film(agent, tmp_path / "a.gif", environment)
    assert filmed.frames == 351
    _, _, *used = map(int, note.read_text().split())  # of the first frames, libraries are loaded
    assert len(used) >= 6
    # Together these frames take 168 MB.
    assert max(used) - used[0] < 50e6


# -- what can't be filmed ----------------------------------------------------------------------

REFUSALS = [
    (drawing("nothing"), "render() returned None; with render_mode rgb_array a frame is an array"),
    (drawing("text"), "render() returned a str;"),
    (drawing("list"), "render() returned a list of 1, as with rgb_array_list;"),
    (drawing("fractions"), "an array of float64, shape [60, 100, 3]"),
    (drawing("fractions"), "(255 * frame).astype(np.uint8) would make it one"),
    (drawing("floats"), "frame.astype(np.uint8) would make it one"),
    (drawing("transparent"), "shape [60, 100, 4]"),
    (drawing("transparent"), "frame[..., :3] would make it one"),
    (drawing("grey"), "np.stack([frame] * 3, axis=-1) would make it one"),
    (drawing("one channel"), "np.repeat(frame, 3, axis=2) would make it one"),
    (drawing("channels first"), "frame.transpose(1, 2, 0) would make it one"),
    (drawing("empty"), "render() returned a frame of 100 x 0 pixels"),
    (drawing("fails"), "render() failed: RuntimeError: no paint"),
    (drawing("fails at first"), "RuntimeError: no light"),
    (drawing("no pygame"), "pygame is not installed, run `pip install"),
    (drawing("no pygame"), f"; or {install_extra('video')}"),
    (drawing("no pygame at first"), f"; or {install_extra('video')}"),
    (
        drawing(env="Woodblock-v0", ink=4),
        "Woodblock-v0 can't be filmed: its constructor takes no render_mode; its metadata[\"render_"
        'modes"] names none',
    ),
    (drawing(env="Inkwell-v0"), "its constructor takes no render_mode;"),
    (
        drawing(env="Marionette-v0"),
        "it has no render mode rgb_array; its render modes are human and ansi",
    ),
    (
        drawing(env="Lantern-v0"),
        'it has no render mode rgb_array; its metadata["render_modes"] names none',
    ),
    (
        replace(drawing(), wrappers=(WrapperSettings("RenderCollection"),)),
        "render() returned a list of 1, as with rgb_array_list;",
    ),
]


@pytest.mark.parametrize(("environment", "said"), REFUSALS)
def test_an_environment_that_can_t_draw_itself_is_one_clear_sentence(
    agent: Agent, tmp_path: Path, environment: EnvironmentSettings, said: str
) -> None:
    with pytest.raises(UserError) as caught:
        film(agent, tmp_path / "a.gif", environment)
    message = str(caught.value)
    assert said in message
    assert message.startswith(f"{environment.id} can't be filmed: ")
    assert "\n" not in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("grows", "a frame of 100 x 120 pixels after step 7, and before frames of 100 x 60 pixels"),
        ("nothing", "render() returned None;"),
        ("fails", "environment Kaleidoscope-v0 failed: RuntimeError: no paint"),
    ],
)
def test_what_goes_wrong_later_leaves_the_file_that_was_there(
    agent: Agent, tmp_path: Path, kind: str, said: str
) -> None:
    file = tmp_path / "a.gif"
    file.write_text("before")
    with pytest.raises(UserError, match=re.escape(said)):
        film(agent, file, drawing(kind, after=7))
    assert [one.name for one in tmp_path.iterdir()] == ["a.gif"]
    assert file.read_text() == "before"


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ({"file": Path("a.webm")}, "a.webm must end in .gif or .mp4"),
        ({"file": Path("a")}, "a must end in .gif or .mp4"),
        ({"file": Path("gone/a.gif")}, "there is no folder"),
        ({"fps": math.nan}, "fps is nan; it must be a number from 0.1 to 1000"),
        ({"fps": 0.0}, "fps is 0.0"),
        ({"fps": 1e9}, "fps is 1000000000.0"),
        ({"width": 79}, "width is 79; it must be from 80 to 3840 pixels"),
        ({"width": 100_000}, "width is 100000"),
    ],
)
def test_a_video_that_can_t_be_is_refused_before_anything_is_played(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: Any, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=re.escape(said)):
        film(agent, **{"file": Path("a.gif"), "environment": drawing("nothing"), **looks})


def test_pictures_that_would_be_too_tall_are_refused(agent: Agent, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="would be 80 x 16000 pixels, and at most 8000 are"):
        film(agent, tmp_path / "a.gif", drawing(size=(6, 1200)), width=80)


def test_a_name_that_the_disk_refuses_is_said(agent: Agent, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be written: File name too long"):
        film(agent, tmp_path / f"{'x' * 250}.gif")
    assert not list(tmp_path.iterdir())


# -- around it ---------------------------------------------------------------------------------


def test_the_working_directory_and_the_variables_are_as_before(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    film(agent, Path("a.gif"), drawing("moves"))
    assert (tmp_path / "a.gif").is_file()
    assert Path.cwd() == tmp_path
    assert dict(os.environ) == before
    with pytest.raises(UserError):
        film(agent, Path("b.gif"), drawing("fails", after=3))
    assert dict(os.environ) == before


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "LunarLander-v3"])
def test_the_returns_are_those_of_an_evaluation(name: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "agent", EnvironmentSettings(name))
    (played,) = evaluate(
        str(folder), "runs", episodes=2, seed=4, replica=8, max_episode_steps=40
    ).agents
    filmed = sweeper.load_agent(folder, replica=8).record(
        tmp_path / "a.gif", 2, 4, max_episode_steps=40, width=120
    )
    # One observation at a time, or several at once: that rounds differently.
    assert filmed.returns == pytest.approx(played.returns, rel=1e-6)
    assert filmed.lengths == played.lengths
    pictures, _ = read(filmed.file)
    assert len(pictures) == sum(filmed.lengths) + 2
    assert len({picture[80:].tobytes() for picture in pictures}) > 10
    with pytest.raises(UserError, match="episodes is 0"):
        sweeper.load_agent(folder).record(tmp_path / "b.gif", 0)


# -- the verb ----------------------------------------------------------------------------------


def test_the_verb_says_what_it_has_filmed(checkpoint: Path) -> None:
    place = checkpoint.parent
    words = ("video", "agent", "--replica", "8", "--seed", "2", "--episodes", "2")
    done = sweeper_here(*words, "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert done.stderr.splitlines() == [
        "episode 1 of 2: return 81 in 12 steps",
        "episode 2 of 2: return 81 in 12 steps",
    ]
    (played,) = evaluate(str(checkpoint), "runs", episodes=2, seed=2, replica=8).agents
    file = place / "video-agent-seed8.gif"
    pictures, shown_ms = read(file)
    assert document == {
        "file": str(file),
        "format": "gif",
        "episodes": 2,
        "returns": list(played.returns),
        "lengths": list(played.lengths),
        "frames": len(pictures),
        "fps": 30.0,
        "duration_s": pytest.approx(sum(shown_ms) / 1000),
        "width": pictures[0].shape[1],
        "height": pictures[0].shape[0],
    }
    done = sweeper_here(*words, "-q", "-o", "other.GIF", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^video +other\.GIF \(\d", done.stdout, re.MULTILINE)
    assert re.search(r"^shows +2 episodes, 24 steps$", done.stdout, re.MULTILINE)
    size = f"{pictures[0].shape[1]} x {pictures[0].shape[0]}"
    looks = rf"^holds +26 pictures of {size} pixels, 2s at 30 a second$"
    assert re.search(looks, done.stdout, re.MULTILINE)
    assert (place / "other.GIF").read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "x.avi"), "error: x.avi must end in .gif or .mp4"),
        (("--fps", "0"), "error: fps is 0.0; it must be"),
        (("--width", "8"), "error: width is 8; it must be"),
        (("--replica", "5"), "error: no replica 5"),
    ],
)
def test_the_verb_s_refusals_are_the_user_s_mistakes(
    checkpoint: Path, words: tuple[str, ...], said: str
) -> None:
    before = set(checkpoint.parent.iterdir())
    done = sweeper_here("video", "agent", *words, cwd=checkpoint.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(said)
    assert set(checkpoint.parent.iterdir()) == before


def test_an_environment_without_pictures_is_the_users_mistake_too(tmp_path: Path) -> None:
    save(tmp_path / "agent", drawing(env="Marionette-v0"))
    done = sweeper_here("video", "agent", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: Marionette-v0 can't be filmed: it has no render mode rgb_array; its render modes "
        "are human and ansi\n"
    )


def test_a_stranger_s_agent_is_filmed_only_if_trusted(checkpoint: Path, tmp_path: Path) -> None:
    stranger = shutil.copytree(checkpoint, tmp_path / "stranger")
    (stranger / "seal.json").unlink()
    words = ("video", "stranger", "--episodes", "1")
    done = sweeper_here(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert "import drawing_envs" in done.stderr
    assert sweeper_here(*words, "--trust", "none", cwd=tmp_path).returncode == 2
    assert not list(tmp_path.glob("*.gif"))
    assert sweeper_here(*words, "--trust", cwd=tmp_path).returncode == 0
    assert [one.name for one in tmp_path.glob("*.gif")] == ["video-stranger-seed3.gif"]


def test_a_hostile_trial_does_not_say_where_the_file_goes(checkpoint: Path, tmp_path: Path) -> None:
    stranger = shutil.copytree(checkpoint, tmp_path / "stranger")
    document = json.loads((stranger / "agent.json").read_text())
    document["trial_id"] = "/../../\x1b[2Jx"
    (stranger / "agent.json").write_text(json.dumps(document))
    done = sweeper_here("video", "stranger", "--episodes", "1", "--trust", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    (file,) = tmp_path.rglob("*.gif")
    assert re.fullmatch(r"video-[\w-]+-seed3\.gif", file.name)
    assert file.parent == tmp_path


@pytest.mark.parametrize("ending", ["gif", pytest.param("mp4", marks=needs_ffmpeg)])
def test_an_interruption_leaves_nothing_behind(tmp_path: Path, ending: str) -> None:
    save(tmp_path / "agent", drawing("interrupted", after=9))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    done = sweeper_here("video", "agent", "-o", f"a.{ending}", cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr.endswith("\ninterrupted\n")
    assert [one.name for one in tmp_path.iterdir()] == ["agent"]


# -- MP4 ---------------------------------------------------------------------------------------


@needs_ffmpeg
@pytest.mark.parametrize(("fps", "every"), [(None, 1), (125, 3)])
def test_an_mp4_has_the_same_pictures(
    agent: Agent, tmp_path: Path, fps: float | None, every: int
) -> None:
    environment = drawing(size=(101, 61))
    place = tmp_path / "odd:%d -name.mp4"
    filmed = film(agent, place, environment, episodes=2, fps=fps)
    assert filmed.width % 2 == filmed.height % 2 == 0
    assert filmed.fps == pytest.approx((fps or 30) / every)
    held = round(HELD_MS / 1000 * filmed.fps)
    assert filmed.frames == 2 * (12 // every + held)
    assert filmed.duration_s == pytest.approx(filmed.frames / filmed.fps)
    raw = subprocess.run(
        [find_ffmpeg(), "-v", "error", "-i", f"file:{place}", "-f", "rawvideo", "-pix_fmt",
         "rgb24", "-fps_mode", "passthrough", "pipe:1"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    pictures = np.frombuffer(raw, np.uint8).reshape(-1, filmed.height, filmed.width, 3)
    assert len(pictures) == filmed.frames
    as_gif, _ = read(film(agent, tmp_path / "a.gif", environment, width=100, fps=fps).file)
    assert np.abs(pictures[0, -40:].mean((0, 1)) - as_gif[0][-40:].mean((0, 1))).max() < 12
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


def without_ffmpeg(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """A path that holds nothing."""
    programs = folder / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    return programs


def test_without_ffmpeg_an_mp4_is_refused_with_what_helps(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ffmpeg(monkeypatch, tmp_path)
    with pytest.raises(UserError) as caught:
        film(agent, tmp_path / "a.mp4")
    assert "an MP4 needs ffmpeg, which is not installed" in str(caught.value)
    assert install_extra("video") in str(caught.value)
    assert ".gif needs nothing more" in str(caught.value)


@pytest.mark.parametrize("reads", [False, True])
def test_what_ffmpeg_says_of_its_failure_is_said(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    program = without_ffmpeg(monkeypatch, tmp_path) / "ffmpeg"
    # One that ends at once, and one that reads all before it fails.
    reading = "/bin/cat > /dev/null\n" if reads else ""
    program.write_text(f"#!/bin/sh\n{reading}echo 'no such\nencoder \x1b[2J' >&2\nexit 3\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(SweeperError, match="ffmpeg failed: encoder"):
        film(agent, tmp_path / "a.mp4", drawing(length=200))
    assert [one.name for one in tmp_path.iterdir()] == ["programs"]


def test_an_error_beside_the_file_is_not_told_as_one_of_it(agent: Agent, tmp_path: Path) -> None:
    def fail(_: str) -> None:
        raise OSError(5, "the terminal is gone")

    with pytest.raises(OSError, match="the terminal is gone"):
        record_video(
            agent,
            drawing(),
            VideoSettings(tmp_path / "film.gif"),
            episodes=1,
            seed=0,
            max_episode_steps=2,
            say=fail,
        )
    assert list(tmp_path.iterdir()) == []
