"""A sweep whose driver is killed at a moment that its journal shows."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import ray
from command_line import started

from sweeper.paths import RunPaths

__all__ = ["UNHURRIED", "kill_when"]

_TIMEOUT_S = 120

# Ten times it is best to choose 1, and a low learning rate never finds out. Once `ends` trials have
# ended, the others wait for the kill; a file beside the module ends that. Formatted with `name`.
UNHURRIED = """
import pathlib, time, gymnasium
HERE = pathlib.Path(__file__).parent
class Unhurried(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)
    def __init__(self, ends):
        self.ends = ends
    def reset(self, *, seed=None, options=None):
        if not (HERE / "hurry").exists():
            for journal in HERE.glob("runs/*/journal.jsonl"):
                if journal.read_text().count('"trial_ended"') >= self.ends:
                    time.sleep(0.2)
        self.count = 0
        return self.observation_space.high, {{}}
    def step(self, action):
        self.count += 1
        return self.observation_space.high, float(action), self.count >= 10, False, {{}}
gymnasium.register("{name}-v0", entry_point=Unhurried)
"""


def kill_when(is_time: Callable[[str], bool], *options: str, cwd: Path) -> RunPaths:
    """Run ``spec.yaml`` in a process of its own, on this process's Ray, and kill it.

    Args:
        is_time: whether to kill, by the text of the journal; asked again and again.
        options: more words for ``sweeper run``.
        cwd: where the spec lies; the only run below its ``runs`` is the one that is killed.

    Returns:
        The run's folder.
    """
    address = ray.get_runtime_context().gcs_address
    deadline = time.monotonic() + _TIMEOUT_S
    with started("run", "spec.yaml", f"ray.address={address}", *options, cwd=cwd) as process:
        while time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            for journal in cwd.glob("runs/*/journal.jsonl"):
                if is_time(journal.read_text(encoding="utf-8")):
                    os.kill(process.pid, signal.SIGKILL)
                    return RunPaths(journal.parent)
            time.sleep(0.02)
    raise AssertionError("the sweep did not come so far")
